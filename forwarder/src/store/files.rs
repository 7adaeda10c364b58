//! The one thing that the log asks of a disk beyond its files, so that a test can make it fail.

use std::{fs::File, io, path::Path};

use common::disk::{FileSystem, LogFile, sync_parent};

/// Where files of the log are made.
pub trait Files: Send {
    /// Makes a new file, which must not exist, and makes its name durable.
    ///
    /// # Errors
    /// What the system says.
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn LogFile>>;
}

impl Files for FileSystem {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let file = File::create_new(path)?;
        sync_parent(path)?;
        Ok(Box::new(file))
    }
}
