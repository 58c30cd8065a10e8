//! The team's documents, in a folder: usually a checkout of the repository that holds the runbooks.
//!
//! * A document is written beside its place, synced, and renamed: it is whole or as it was.
//! * It is written only when it still is as it was read: what somebody edited meanwhile is not lost.
//! * A path stays below the folder. A link on the way out of it is refused as well.

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};

use allclear_core::ports::Documents;
use allclear_core::{PortError, Service};
use async_trait::async_trait;

/// The folder.
#[derive(Debug, Clone)]
pub struct DocumentFolder {
    folder: PathBuf,
}

impl DocumentFolder {
    /// Documents are below this folder, which must be there.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where a document is, once its path is known to stay below the folder.
    fn place(&self, path: &str) -> Result<PathBuf, PortError> {
        let relative = Path::new(path);
        let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || !plain {
            return Err(rejected(path, "it must be a path below the folder of documents, without `..`"));
        }
        let place = self.folder.join(relative);
        let root = self.folder.canonicalize().map_err(|error| failed(path, &error))?;
        let nearest = place.ancestors().find(|one| one.exists()).unwrap_or(&self.folder);
        let real = nearest.canonicalize().map_err(|error| failed(path, &error))?;
        if real.starts_with(&root) {
            Ok(place)
        } else {
            Err(rejected(path, "a link on the way leads out of the folder of documents"))
        }
    }
}

#[async_trait]
impl Documents for DocumentFolder {
    async fn read(&self, path: &str) -> Result<Option<String>, PortError> {
        let place = self.place(path)?;
        match fs::read_to_string(&place) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(path, &error)),
        }
    }

    async fn write(&self, path: &str, expected: Option<String>, content: &str) -> Result<(), PortError> {
        if self.read(path).await? != expected {
            return Err(PortError::Rejected {
                service: Service::Documents,
                call: format!("write {path}"),
                code: Some("changed".to_owned()),
                detail:
                    "somebody changed it since it was read, and nothing was written; look at it and try again"
                        .to_owned(),
            });
        }
        publish(&self.place(path)?, content).map_err(|error| failed(path, &error))
    }
}

fn publish(place: &Path, content: &str) -> io::Result<()> {
    let folder = place.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let part = folder.join(format!(".{name}~{}.part", std::process::id()));
    let written = File::create(&part)
        .and_then(|mut file| file.write_all(content.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&part, place))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

fn rejected(path: &str, detail: &str) -> PortError {
    PortError::Rejected {
        service: Service::Documents,
        call: format!("open {path}"),
        code: None,
        detail: detail.to_owned(),
    }
}

fn failed(path: &str, error: &io::Error) -> PortError {
    let what = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "it is this machine's disk: free space in the folder that recovery.documents names, then resume"
        }
        _ => "check the folder that recovery.documents names, and its permissions",
    };
    rejected(path, &format!("{error}; {what}"))
}
