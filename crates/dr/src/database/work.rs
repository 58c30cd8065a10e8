//! The folder on this machine in which dumps and downloads lie while they are needed. Nobody else can read it.

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use allclear_core::recovery::BackupId;

use super::error::DatabaseError;

/// A folder of one backup's own.
pub(crate) struct WorkFolder {
    path: PathBuf,
}

impl WorkFolder {
    /// Opens or makes it.
    pub(crate) fn open(root: &Path, id: &BackupId, use_for: &str) -> Result<Self, DatabaseError> {
        let path = root.join(id.as_str()).join(use_for);
        make(&path)?;
        let private = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700));
        private.map_err(|error| DatabaseError::file(&path, &error))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A file's content; `None` where there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
        let path = self.path.join(name);
        match std::fs::read(&path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DatabaseError::file(path, &error)),
        }
    }

    /// Writes a file whole or not at all.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<(), DatabaseError> {
        let (path, part) = (self.path.join(name), self.path.join(format!("{name}.part")));
        let written = std::fs::write(&part, content)
            .and_then(|()| std::fs::File::open(&part)?.sync_all())
            .and_then(|()| std::fs::rename(&part, &path));
        written.map_err(|error| DatabaseError::file(part, &error))
    }

    /// Empties it.
    pub(crate) fn clear(&self) -> Result<(), DatabaseError> {
        std::fs::remove_dir_all(&self.path).map_err(|error| DatabaseError::file(&self.path, &error))?;
        make(&self.path)
    }
}

fn make(path: &Path) -> Result<(), DatabaseError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| DatabaseError::file(path, &error))
}

/// How many bytes a folder's files have by now.
pub(crate) fn size_of(folder: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(folder) else { return 0 };
    files.flatten().filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum()
}
