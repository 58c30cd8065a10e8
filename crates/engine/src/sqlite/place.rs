//! Whether the files that a process has open are still the ones that others find: a folder that was removed or replaced
//! under a running process would take what it records with it.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::seam::SeamError;

/// Which file it is, on which disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(found: &std::fs::Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }

    /// The file at `path`; `None` where there is none or it cannot be told.
    fn at(path: &Path) -> Option<Self> {
        // By name and never by opening: a process that closes a database file loses the locks that it has on it.
        std::fs::metadata(path).ok().map(|found| Self::of(&found))
    }
}

/// The files of a store, as this process found them.
#[derive(Debug)]
pub(super) struct Place {
    files: Vec<(PathBuf, Identity)>,
}

impl Place {
    /// The database and the files beside it, once it has been read.
    pub(super) fn of(database: &Path) -> Result<Self, SeamError> {
        let beside = |end: &str| {
            let mut name = database.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        let mut files = Vec::with_capacity(3);
        for path in [database.to_path_buf(), beside("-wal"), beside("-shm")] {
            let identity = Identity::at(&path).ok_or_else(|| gone(&path))?;
            files.push((path, identity));
        }
        Ok(Self { files })
    }

    /// The database.
    pub(super) fn database(&self) -> &Path {
        &self.files[0].0
    }

    /// Refuses when one of them is another by now.
    pub(super) fn check(&self) -> Result<(), SeamError> {
        match self.files.iter().find(|(path, identity)| Identity::at(path) != Some(*identity)) {
            Some((path, _)) => Err(gone(path)),
            None => Ok(()),
        }
    }
}

/// Refuses when `path` is not the open file any more.
pub(super) fn check_open(path: &Path, file: &File) -> Result<(), SeamError> {
    let open = file.metadata().ok().map(|found| Identity::of(&found));
    if open.is_some() && Identity::at(path) == open { Ok(()) } else { Err(gone(path)) }
}

fn gone(path: &Path) -> SeamError {
    SeamError::Gone { path: path.display().to_string() }
}
