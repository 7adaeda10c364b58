//! What is served, kept on disk: a restart serves it at once, whatever became of the source, and goes on with the
//! versions that SDKs were told.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use common::{disk, drain::Drain};
use serde::{Deserialize, Serialize};
use tokio::{task::spawn_blocking, time};

use crate::{
    environment::{Environment, History},
    secret::KeyHash,
    shape::{self, FeatureConfig, Segment, Target},
    store::{Store, Update},
};

/// The folder in the data folder.
const FOLDER: &str = "environments";
const FORMAT: u32 = 1;
/// How long what cannot be kept waits for the next try.
const AGAIN: Duration = Duration::from_secs(10);

#[derive(Serialize, Deserialize)]
struct Kept {
    format: u32,
    id: String,
    name: String,
    /// Whether it was served; the versions of what is gone are kept as well.
    is_served: bool,
    keys: Vec<String>,
    flags: Vec<FeatureConfig>,
    groups: Vec<Segment>,
    targets: Vec<Target>,
    history: History,
}

/// The files of all environments.
#[derive(Clone, Debug)]
pub struct Keep(PathBuf);

impl Keep {
    /// In this data folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join(FOLDER);
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// What was kept. A file that cannot be read is told and passed over: the source has it all, and better.
    pub fn read(&self) -> Vec<Update> {
        let mut updates = Vec::new();
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|ending| ending != "json") {
                continue;
            }
            match fs::read(&path).map_err(anyhow::Error::from).and_then(|bytes| parse(&bytes)) {
                Ok(update) => updates.push(update),
                Err(error) => {
                    tracing::warn!(file = %path.display(), "what was kept cannot be read: {error:#}");
                }
            }
        }
        updates
    }

    /// Keeps everything that changes, until the drain starts; then once more.
    pub async fn run(self, store: Arc<Store>, drain: Drain) {
        loop {
            let ids = tokio::select! {
                biased;
                ids = store.to_keep() => ids,
                () = drain.started() => return,
            };
            let (own, from) = (self.clone(), Arc::clone(&store));
            let kept = spawn_blocking(move || {
                let mut unkept = BTreeSet::new();
                for id in ids {
                    if let Err(error) = own.write(&from, &id) {
                        tracing::warn!(%error, "what is served cannot be kept now; a restart would begin with older flags");
                        unkept.insert(id);
                    }
                }
                unkept
            });
            let unkept = kept.await.unwrap_or_default();
            if !unkept.is_empty() {
                tokio::select! {
                    () = drain.started() => return,
                    () = time::sleep(AGAIN) => store.keep_again(unkept),
                }
            }
        }
    }

    fn write(&self, store: &Store, id: &str) -> io::Result<()> {
        let world = store.world();
        let kept = match world.environments.get(id) {
            Some(environment) => encode(environment)?,
            None => gone(id, world.past(id))?,
        };
        disk::replace_private(&self.0.join(file_name(id)), &kept)
    }
}

/// Ids are texts of others; only their hashes become names of files.
fn file_name(id: &str) -> String {
    format!("{}.json", KeyHash::of(id))
}

fn encode(environment: &Environment) -> io::Result<Vec<u8>> {
    let told = environment.as_told();
    let kept = Kept {
        format: FORMAT,
        id: told.id,
        name: told.name,
        is_served: true,
        keys: told.keys.iter().map(ToString::to_string).collect(),
        flags: told.flags,
        groups: told.segments,
        targets: told.targets,
        history: environment.history.clone(),
    };
    Ok(serde_json::to_vec(&kept)?)
}

fn gone(id: &str, history: Option<&History>) -> io::Result<Vec<u8>> {
    let kept = Kept {
        format: FORMAT,
        id: id.to_owned(),
        name: String::new(),
        is_served: false,
        keys: Vec::new(),
        flags: Vec::new(),
        groups: Vec::new(),
        targets: Vec::new(),
        history: history.cloned().unwrap_or_default(),
    };
    Ok(serde_json::to_vec(&kept)?)
}

/// What a file of an environment says.
///
/// # Errors
/// When it is none of ours.
pub(crate) fn parse(bytes: &[u8]) -> anyhow::Result<Update> {
    let kept: Kept = serde_json::from_slice(bytes)?;
    anyhow::ensure!(kept.format == FORMAT, "it is of another format: {}", kept.format);
    if !kept.is_served {
        return Ok(Update::Past(kept.id, kept.history));
    }
    let keys = kept.keys.iter().map(|key| KeyHash::parse(key)).collect::<Option<Vec<_>>>();
    let told = shape::Environment {
        id: kept.id,
        name: kept.name,
        keys: keys.ok_or_else(|| anyhow::anyhow!("a key is none"))?,
        flags: kept.flags,
        segments: kept.groups,
        targets: kept.targets,
    };
    Ok(Update::Kept(told, kept.history))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::example::{environment, serving};

    #[test]
    fn what_was_kept_comes_back_with_its_versions() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::open(folder.path()).unwrap();
        let store = Store::default();
        let with = |variation| Update::Environment(environment("../e", vec![serving("f", variation)]));
        store.apply(vec![with("true")]);
        store
            .apply(vec![with("false"), Update::Environment(environment("gone", vec![serving("g", "true")]))]);
        store.apply(vec![Update::Remove("gone".to_owned())]);
        for id in ["../e", "gone"] {
            keep.write(&store, id).unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is written beside the folder");
        fs::write(folder.path().join(FOLDER).join("broken.json"), "{").unwrap();
        fs::write(folder.path().join(FOLDER).join("torn.new"), "{").unwrap();
        let again = Store::default();
        let applied = again.apply(keep.read());
        assert!(applied.refused.is_empty() && applied.changes.is_empty());
        let (old, new) = (store.environment("../e").unwrap(), again.environment("../e").unwrap());
        assert_eq!((new.flags.all(), &new.history, &new.keys), (old.flags.all(), &old.history, &old.keys));
        assert!(again.environment("gone").is_none());
        let before = store.world().past("gone").cloned();
        assert!(before.is_some() && again.world().past("gone").cloned() == before);
        assert_eq!(Arc::strong_count(&new), 2, "the store and this test");
    }
}
