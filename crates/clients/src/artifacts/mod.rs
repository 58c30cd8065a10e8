//! Files that a run leaves, in a folder of its own: readable by their owner only, since an export holds phone numbers.
//!
//! A file is written under a temporary name, synced, and renamed: under its own name it is whole or not there.

#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use allclear_core::ports::{Artifact, ArtifactWriter, Artifacts};
use allclear_core::{PortError, Service};
use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use crate::hex::hex;

/// The folder.
#[derive(Debug, Clone)]
pub struct ArtifactFolder {
    folder: PathBuf,
}

impl ArtifactFolder {
    /// Files go here; the folder is made when the first one is.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }
}

#[async_trait]
impl Artifacts for ArtifactFolder {
    async fn create(&self, name: &str) -> Result<Box<dyn ArtifactWriter>, PortError> {
        check_name(name)?;
        let open = || {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            sweep(&self.folder, name)?;
            open_part(&self.folder, name)
        };
        let (part, file) = open().map_err(|error| failed(&self.folder.join(name), &error))?;
        Ok(Box::new(Writer {
            folder: self.folder.clone(),
            name: name.to_owned(),
            part,
            file,
            digest: Sha256::new(),
            bytes: 0,
            published: false,
        }))
    }

    async fn find(&self, name: &str) -> Result<Option<Artifact>, PortError> {
        check_name(name)?;
        match read_back(&self.folder.join(name)) {
            Ok((bytes, sha256)) => Ok(Some(Artifact { name: name.to_owned(), bytes, sha256 })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&self.folder.join(name), &error)),
        }
    }
}

struct Writer {
    folder: PathBuf,
    name: String,
    part: PathBuf,
    file: File,
    digest: Sha256,
    bytes: u64,
    published: bool,
}

impl Drop for Writer {
    /// What was given up must not stay behind: it may hold phone numbers.
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_file(&self.part);
        }
    }
}

/// A temporary file of this writer alone: two writers of one name (a resumed run and its predecessor that is not quite
/// dead) each publish a whole file, and the last one stays. It is locked as long as it is being written.
fn open_part(folder: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let part = folder.join(format!("{}{}-{number}.part", part_prefix(name), std::process::id()));
        let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part) {
            Ok(file) => file,
            // Left by a process that had our number before us.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        };
        file.lock()?;
        // A sweep may have taken it away between the two calls.
        if file.metadata()?.nlink() > 0 {
            return Ok((part, file));
        }
    }
}

/// Removes what killed writers of this name left behind: what nobody has locked.
fn sweep(folder: &Path, name: &str) -> io::Result<()> {
    let prefix = part_prefix(name);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str() else { continue };
        if !file_name.starts_with(&prefix) {
            continue;
        }
        // Somebody else may publish or sweep it at the same time.
        let Ok(file) = File::open(entry.path()) else { continue };
        if file.try_lock().is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// No file's own name begins with a dot or holds a tilde, so no name's parts are taken for those of another.
fn part_prefix(name: &str) -> String {
    format!(".{name}~")
}

#[async_trait]
impl ArtifactWriter for Writer {
    async fn append(&mut self, bytes: &[u8]) -> Result<(), PortError> {
        self.file.write_all(bytes).map_err(|error| failed(&self.folder.join(&self.name), &error))?;
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    async fn finish(&mut self) -> Result<Artifact, PortError> {
        let mut publish = || {
            self.file.sync_all()?;
            fs::rename(&self.part, self.folder.join(&self.name))?;
            self.published = true;
            // The name itself must survive a power cut too.
            File::open(&self.folder)?.sync_all()
        };
        publish().map_err(|error| failed(&self.folder.join(&self.name), &error))?;
        let sha256 = hex(&std::mem::take(&mut self.digest).finalize());
        Ok(Artifact { name: self.name.clone(), bytes: self.bytes, sha256 })
    }
}

fn read_back(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hex(&digest.finalize())));
        }
        digest.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// A name is a name and no path.
fn check_name(name: &str) -> Result<(), PortError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is_empty() && !name.starts_with('.') && name.chars().all(plain) {
        return Ok(());
    }
    let detail = format!("`{name}` is no file name; use letters, digits, `-`, `_` and `.`");
    Err(PortError::Rejected {
        service: Service::Artifacts,
        call: "name a file".to_owned(),
        code: None,
        detail,
    })
}

fn failed(path: &Path, error: &io::Error) -> PortError {
    let what = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; it is this machine's disk: free space there"
        }
        _ => "; check the folder's permissions",
    };
    let detail = format!("{error}{what}, then resume");
    let call = format!("write {}", path.display());
    PortError::Rejected { service: Service::Artifacts, call, code: None, detail }
}
