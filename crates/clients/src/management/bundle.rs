//! The source of a function, pinned by its digest.

use std::fs;
use std::path::{Path, PathBuf};

use allclear_core::function::Bundle;
use allclear_core::{PortError, Service};
use sha2::{Digest as _, Sha256};

use crate::hex::hex;

/// Supabase takes bundles up to this size.
const LARGEST: u64 = 20 << 20;

/// Where a function's source lies, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleSource {
    /// A folder on this machine.
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The file in it that the host starts, e.g. `index.ts`.
        entrypoint: String,
        /// The digest of what was deployed before: anything else is refused.
        sha256: String,
    },
    /// A single file held in memory: what drills deploy.
    Text {
        /// Its name.
        entrypoint: String,
        /// Its content.
        content: String,
    },
}

impl BundleSource {
    pub(super) fn load(&self, slug: &str) -> Result<Bundle, PortError> {
        match self {
            Self::Text { entrypoint, content } => {
                let files = vec![(entrypoint.clone(), content.clone().into_bytes())];
                Ok(Bundle { entrypoint: entrypoint.clone(), sha256: digest(&files), files })
            }
            Self::Folder { folder, entrypoint, sha256 } => {
                let files = read_folder(folder).map_err(|detail| unusable(slug, detail))?;
                if !files.iter().any(|(path, _)| path == entrypoint) {
                    return Err(unusable(slug, format!("its folder has no file {entrypoint}")));
                }
                let found = digest(&files);
                if !found.eq_ignore_ascii_case(sha256) {
                    return Err(unusable(
                        slug,
                        format!(
                            "its digest is {found} and {sha256} is pinned; pin what was reviewed, or restore it"
                        ),
                    ));
                }
                Ok(Bundle { entrypoint: entrypoint.clone(), files, sha256: found })
            }
        }
    }
}

fn unusable(slug: &str, detail: String) -> PortError {
    PortError::Rejected {
        service: Service::Artifacts,
        call: format!("bundle of {slug}"),
        code: Some("pinned_bundle".to_owned()),
        detail,
    }
}

/// All files of a folder, by path. Links are not followed: a bundle is what lies in it.
fn read_folder(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut files = Vec::new();
    let mut bytes = 0;
    let mut folders = vec![folder.to_path_buf()];
    while let Some(current) = folders.pop() {
        let cannot = |error: std::io::Error| format!("{} cannot be read: {error}", current.display());
        for entry in fs::read_dir(&current).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            let kind = entry.file_type().map_err(cannot)?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                bytes += entry.metadata().map_err(cannot)?.len();
                if bytes > LARGEST {
                    return Err(format!("it is larger than {LARGEST} bytes, which the host refuses"));
                }
                let path = entry.path();
                let name = path.strip_prefix(folder).map_err(|error| error.to_string())?;
                files.push((name.to_string_lossy().into_owned(), fs::read(&path).map_err(cannot)?));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// SHA-256 over lengths, paths and contents: no two bundles are the same text by chance.
fn digest(files: &[(String, Vec<u8>)]) -> String {
    let mut hash = Sha256::new();
    for (path, content) in files {
        hash.update((path.len() as u64).to_be_bytes());
        hash.update(path.as_bytes());
        hash.update((content.len() as u64).to_be_bytes());
        hash.update(content);
    }
    hex(&hash.finalize())
}
