//! Where sealed segments are: a folder or a bucket.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use common::disk;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _};
use url::Url;

use super::checkpoint::Segment;

/// A folder or a bucket with what stands before each name.
#[derive(Clone, Debug)]
pub struct Place {
    /// Reads and writes.
    pub objects: Arc<dyn ObjectStore>,
    prefix: Key,
    /// The folder, if it is one.
    folder: Option<PathBuf>,
}

impl Place {
    /// The place that the options name; makes the folder if it is one and is not there.
    ///
    /// # Errors
    /// When the URL names nothing that is known, or the folder cannot be made.
    pub fn make(data_dir: &Path, url: Option<&Url>) -> anyhow::Result<Self> {
        if let Some(folder) = folder(data_dir, url)? {
            fs::create_dir_all(&folder).context("make the folder of the segments")?;
            disk::sync_parent(&folder).context("make the folder of the segments")?;
        }
        Self::open(data_dir, url)
    }

    /// The place that the options name, which is there.
    ///
    /// # Errors
    /// When the URL names nothing that is known, or the folder cannot be read.
    pub fn open(data_dir: &Path, url: Option<&Url>) -> anyhow::Result<Self> {
        match (folder(data_dir, url)?, url) {
            (Some(folder), _) => {
                let objects =
                    LocalFileSystem::new_with_prefix(&folder).context("open the folder of the segments")?;
                Ok(Self { objects: Arc::new(objects), prefix: Key::default(), folder: Some(folder) })
            }
            (None, Some(url)) => {
                // The variables that every S3 client knows: keys, region, endpoint.
                let variables = std::env::vars_os()
                    .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                    .filter(|(name, _)| name.starts_with("AWS_"))
                    .map(|(name, value)| (name.to_ascii_lowercase(), value));
                let (objects, prefix) =
                    object_store::parse_url_opts(url, variables).context("understand the store URL")?;
                Ok(Self { objects: Arc::from(objects), prefix, folder: None })
            }
            (None, None) => anyhow::bail!("no place for segments"),
        }
    }

    /// The key of a segment.
    pub fn key(&self, path: &str) -> Key {
        self.prefix.parts().chain(Key::from(path).parts()).collect()
    }

    /// Every key below the prefix begins with this many parts that are not ours.
    pub fn prefix(&self) -> &Key {
        &self.prefix
    }

    /// Writes an object and makes it durable; overwrites what has the same name.
    ///
    /// # Errors
    /// What the place says.
    pub async fn put(&self, path: &str, bytes: Vec<u8>) -> anyhow::Result<()> {
        self.objects.put(&self.key(path), bytes.into()).await.context("write a segment")?;
        if let Some(folder) = self.folder.clone() {
            let path = path.to_owned();
            tokio::task::spawn_blocking(move || sync_file(&folder, &path))
                .await?
                .context("sync a segment")?;
        }
        Ok(())
    }

    /// Removes an object; that it is gone already is fine.
    ///
    /// # Errors
    /// What the place says.
    pub async fn remove(&self, path: &str) -> object_store::Result<()> {
        match self.objects.delete(&self.key(path)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            other => other,
        }
    }

    /// Looks at the length and both ends of a segment in a folder; what is in a bucket is believed.
    ///
    /// # Errors
    /// What the system says, [`io::ErrorKind::InvalidData`] when it is cut short or overwritten.
    pub fn check(&self, segment: &Segment) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut file = File::open(folder.join(&segment.path))?;
        let mut ends = [0; 8];
        let (start, end) = ends.split_at_mut(4);
        file.read_exact(start)?;
        file.seek(SeekFrom::End(-4))?;
        file.read_exact(end)?;
        if file.metadata()?.len() != segment.bytes || &ends != b"PAR1PAR1" {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }

    /// Moves a damaged segment out of the way; one in a bucket stays where it is.
    ///
    /// # Errors
    /// What the system says.
    pub fn quarantine(&self, segment: &Segment, quarantine: &Path) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let from = folder.join(&segment.path);
        match fs::rename(&from, quarantine.join(segment.path.replace('/', "_"))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => disk::sync_parent(&from),
        }
    }
}

fn folder(data_dir: &Path, url: Option<&Url>) -> anyhow::Result<Option<PathBuf>> {
    match url {
        None => Ok(Some(data_dir.join("segments"))),
        Some(url) if url.scheme() == "file" => {
            url.to_file_path().map(Some).map_err(|()| anyhow::anyhow!("the store URL names no folder"))
        }
        Some(_) => Ok(None),
    }
}

/// Makes a file and the names on the way to it durable.
fn sync_file(root: &Path, path: &str) -> io::Result<()> {
    let file = root.join(path);
    File::open(&file)?.sync_all()?;
    for folder in file.ancestors().skip(1).take_while(|folder| folder.starts_with(root)) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
