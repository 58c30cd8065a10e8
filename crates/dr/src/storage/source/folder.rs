//! Files below a folder.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read as _};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use allclear_core::{Clock, PortError, Service};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{Listed, Pool, Read, Unread};

/// A file whose times are younger than this, in nanoseconds, may change once more within the same tick and look the same.
const SETTLED_AFTER: i128 = 2_000_000_000;

#[derive(Debug)]
pub(super) struct Folder {
    pub(super) root: PathBuf,
    pub(super) names: Vec<String>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) pool: Pool,
}

/// A file and the stamp it had when it was opened.
#[derive(Debug, Clone)]
pub(in crate::storage) struct OpenFile {
    file: Arc<File>,
    path: PathBuf,
    stamp: String,
}

impl Folder {
    pub(super) fn list(&self) -> Result<Vec<Listed>, PortError> {
        let mut found = Vec::new();
        for (bucket, name) in self.names.iter().enumerate() {
            let top = self.root.join(name);
            if !top.is_dir() {
                let what = format!("folder {} for bucket {name}", top.display());
                return Err(PortError::NotFound { service: Service::ObjectStore, what });
            }
            self.walk(&top, "", bucket as u16, &mut found)?;
        }
        Ok(found)
    }

    fn walk(
        &self,
        folder: &Path,
        prefix: &str,
        bucket: u16,
        found: &mut Vec<Listed>,
    ) -> Result<(), PortError> {
        for entry in std::fs::read_dir(folder).map_err(|error| refused(folder, &error.to_string()))? {
            let entry = entry.map_err(|error| refused(folder, &error.to_string()))?;
            let path = entry.path();
            let name = entry
                .file_name()
                .into_string()
                .map_err(|_| refused(&path, "its name is not UTF-8, which object names are; rename it"))?;
            let name = format!("{prefix}{name}");
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                // It went between two looks, as any file may.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(refused(&path, &error.to_string())),
            };
            if meta.is_dir() {
                self.walk(&path, &format!("{name}/"), bucket, found)?;
            } else if meta.is_file() {
                let version = self.version(&meta);
                found.push(Listed { bucket, name: name.into(), size: meta.len(), version });
            } else {
                return Err(refused(&path, "it is neither a file nor a folder; put there what it points to"));
            }
        }
        Ok(())
    }

    /// `None` while the file is so young that a later change could look the same.
    fn version(&self, meta: &Metadata) -> Option<Box<str>> {
        let changed =
            nanoseconds(meta.mtime(), meta.mtime_nsec()).max(nanoseconds(meta.ctime(), meta.ctime_nsec()));
        let settled = self.clock.now().as_nanosecond() - changed > SETTLED_AFTER;
        settled.then(|| stamp(meta).into())
    }

    fn path_of(&self, listed: &Listed) -> PathBuf {
        self.root.join(&self.names[usize::from(listed.bucket)]).join(&*listed.name)
    }

    pub(super) fn read_small(&self, listed: Listed, limit: u64) -> Result<Read, Unread> {
        let path = self.path_of(&listed);
        // A file that is written to while it is read is read again, a few times.
        for _ in 0..3 {
            let mut file = File::open(&path).map_err(|error| unread(&path, &error))?;
            let before = file.metadata().map_err(|error| unread(&path, &error))?;
            if before.len() > limit {
                let version = self.version(&before);
                return Err(Unread::Grown(Listed { size: before.len(), version, ..listed }));
            }
            let content =
                read_all(&mut file, before.len() as usize).map_err(|error| unread(&path, &error))?;
            let after = file.metadata().map_err(|error| unread(&path, &error))?;
            if content.len() as u64 == before.len() && stamp(&before) == stamp(&after) {
                let version = self.version(&before);
                let sha256 = Sha256::digest(&content).into();
                let now = Listed { size: before.len(), version, ..listed.clone() };
                let changed = now.is_other_than(&listed);
                return Ok(Read { listed: now, content: content.into(), sha256, changed });
            }
        }
        Err(Unread::Changed)
    }

    pub(super) fn open(&self, listed: &Listed) -> Result<(Listed, OpenFile), Unread> {
        let path = self.path_of(listed);
        let file = File::open(&path).map_err(|error| unread(&path, &error))?;
        let meta = file.metadata().map_err(|error| unread(&path, &error))?;
        let now = Listed { size: meta.len(), version: self.version(&meta), ..listed.clone() };
        Ok((now, OpenFile { file: Arc::new(file), path, stamp: stamp(&meta) }))
    }

    pub(super) fn read_part(&self, of: &OpenFile, range: Range<u64>) -> Result<Bytes, Unread> {
        let length = (range.end - range.start) as usize;
        let mut buffer = self.pool.take(length);
        buffer.resize(length, 0);
        match of.file.read_exact_at(&mut buffer, range.start) {
            Ok(()) => Ok(self.pool.lend(buffer)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(Unread::Changed),
            Err(error) => Err(unread(&of.path, &error)),
        }
    }
}

impl OpenFile {
    pub(super) fn check(&self) -> Result<(), Unread> {
        let meta = self.file.metadata().map_err(|error| unread(&self.path, &error))?;
        if stamp(&meta) == self.stamp { Ok(()) } else { Err(Unread::Changed) }
    }
}

fn read_all(file: &mut File, size: usize) -> std::io::Result<Vec<u8>> {
    // One byte more than it has: so one read tells that it has not grown.
    let mut content = vec![0; size + 1];
    let mut filled = 0;
    while filled < content.len() {
        match file.read(&mut content[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    content.truncate(filled);
    Ok(content)
}

fn nanoseconds(seconds: i64, rest: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(rest)
}

/// What changes when the file does. The time of the last status change cannot be set back by hand as the other one can.
fn stamp(meta: &Metadata) -> String {
    let (modified, changed) =
        (nanoseconds(meta.mtime(), meta.mtime_nsec()), nanoseconds(meta.ctime(), meta.ctime_nsec()));
    format!("{:x}.{:x}.{modified:x}.{changed:x}", meta.ino(), meta.len())
}

fn unread(path: &Path, error: &std::io::Error) -> Unread {
    if error.kind() == ErrorKind::NotFound {
        Unread::Vanished
    } else {
        Unread::Failed(refused(path, &error.to_string()))
    }
}

fn refused(path: &Path, why: &str) -> PortError {
    let call = format!("read {}", path.display());
    PortError::Rejected { service: Service::ObjectStore, call, code: None, detail: why.to_owned() }
}
