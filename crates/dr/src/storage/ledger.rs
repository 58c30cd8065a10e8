//! What is done of a copy that is under way, kept on this machine: an append-only file, one JSON object a line.
//!
//! It saves work and proves nothing. What it says of an object holds only where the bucket's own list agrees, so a lost, cut or
//! stale file costs reading again and never a wrong copy; that is why its lines are not synced. A process that is killed
//! loses none of them, since they are the kernel's by then. The one exception is the id of a multipart upload, which is
//! synced: without it nobody could end that upload.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use allclear_core::recovery::BackupId;
use allclear_core::{PortError, Service};
use serde::{Deserialize, Serialize};

use super::manifest::Entry;
use super::{hex, unhex};
use crate::database::DatabaseError;

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum Line {
    /// An object that stands in the bucket.
    Object {
        bucket: String,
        name: String,
        size: u64,
        sha256: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        uploaded: bool,
    },
    /// A multipart upload that was begun.
    Begun { key: String, upload: String, part_size: u64 },
    /// A part of it that is there.
    Part { upload: String, number: u32, id: String },
    /// It is no more: completed, or aborted.
    Ended { upload: String },
}

/// A multipart upload that is neither completed nor aborted, as far as the file knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) upload: String,
    pub(super) part_size: u64,
    /// What the server called the parts that are there.
    pub(super) parts: HashMap<u32, String>,
}

/// What the file says.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// By bucket and name; and whether this backup uploaded it.
    pub(super) objects: HashMap<(u16, Box<str>), (Entry, bool)>,
    /// By the name of what will be stored.
    pub(super) uploads: HashMap<[u8; 32], Begun>,
}

/// The open file. Its lock keeps a second process from copying the same backup at once.
#[derive(Debug)]
pub(super) struct Ledger {
    file: File,
    path: PathBuf,
    buckets: Vec<String>,
}

/// The code of the refusal while somebody else holds a ledger.
pub(super) const HELD: &str = "held";

impl Ledger {
    /// Opens the file of a backup, making it, and reads what it says.
    pub(super) fn open(folder: &Path, id: &BackupId, buckets: &[String]) -> Result<(Self, Known), PortError> {
        let path = folder.join(format!("{id}.copy.jsonl"));
        std::fs::create_dir_all(folder).map_err(|error| refused(&path, &error))?;
        let open = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
        let mut file = open.map_err(|error| refused(&path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(PortError::Rejected {
                    service: Service::Artifacts,
                    call: format!("write {}", path.display()),
                    code: Some(HELD.to_owned()),
                    detail: "another process is copying this backup; let it finish, or end it".to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(refused(&path, &error)),
        }
        let known = read(&file, buckets);
        // A line that was cut by a kill must not swallow the next one.
        file.write_all(b"\n").map_err(|error| refused(&path, &error))?;
        Ok((Self { file, path, buckets: buckets.to_vec() }, known))
    }

    /// These objects stand in the bucket.
    pub(super) fn done<'a>(
        &mut self,
        done: impl Iterator<Item = (&'a Entry, bool)>,
    ) -> Result<(), PortError> {
        let mut text = Vec::new();
        for (entry, uploaded) in done {
            push(
                &mut text,
                &Line::Object {
                    bucket: self.buckets[usize::from(entry.bucket)].clone(),
                    name: entry.name.to_string(),
                    size: entry.size,
                    sha256: hex(&entry.sha256),
                    key: entry.key.as_ref().map(|key| hex(&**key)),
                    version: entry.version.as_ref().map(ToString::to_string),
                    uploaded,
                },
            );
        }
        self.append(&text)
    }

    /// A multipart upload was begun.
    pub(super) fn begun(&mut self, key: &[u8; 32], upload: &str, part_size: u64) -> Result<(), PortError> {
        let line = Line::Begun { key: hex(key), upload: upload.to_owned(), part_size };
        let mut text = Vec::new();
        push(&mut text, &line);
        self.append(&text)?;
        self.file.sync_data().map_err(|error| refused(&self.path, &error))
    }

    /// A part of it is there.
    pub(super) fn part(&mut self, upload: &str, number: u32, id: &str) -> Result<(), PortError> {
        let mut text = Vec::new();
        push(&mut text, &Line::Part { upload: upload.to_owned(), number, id: id.to_owned() });
        self.append(&text)
    }

    /// It was completed or aborted.
    pub(super) fn ended(&mut self, upload: &str) -> Result<(), PortError> {
        let mut text = Vec::new();
        push(&mut text, &Line::Ended { upload: upload.to_owned() });
        self.append(&text)
    }

    fn append(&mut self, text: &[u8]) -> Result<(), PortError> {
        self.file.write_all(text).map_err(|error| refused(&self.path, &error))
    }
}

fn read(file: &File, buckets: &[String]) -> Known {
    let (mut known, mut key_of) = (Known::default(), HashMap::new());
    for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
        // What does not read was cut, and is as if it were not there.
        match serde_json::from_slice::<Line>(&line) {
            Ok(Line::Object { bucket, name, size, sha256, key, version, uploaded }) => {
                let bucket = buckets.iter().position(|known| *known == bucket);
                let (Some(bucket), Some(sha256)) = (bucket, unhex(&sha256)) else { continue };
                let (bucket, name): (u16, Box<str>) = (bucket as u16, name.into());
                let key = key.and_then(|key| unhex(&key)).map(Box::new);
                let version = version.map(Into::into);
                let entry = Entry { bucket, name: name.clone(), size, sha256, key, version };
                known.objects.insert((bucket, name), (entry, uploaded));
            }
            Ok(Line::Begun { key, upload, part_size }) => {
                let Some(key) = unhex(&key) else { continue };
                key_of.insert(upload.clone(), key);
                known.uploads.insert(key, Begun { upload, part_size, parts: HashMap::new() });
            }
            Ok(Line::Part { upload, number, id }) => {
                if let Some(begun) = key_of.get(&upload).and_then(|key| known.uploads.get_mut(key)) {
                    begun.parts.insert(number, id);
                }
            }
            Ok(Line::Ended { upload }) => {
                let key = key_of.get(&upload);
                if let Some(key) =
                    key.filter(|key| known.uploads.get(*key).is_some_and(|it| it.upload == upload))
                {
                    known.uploads.remove(key);
                }
            }
            Err(_) => {}
        }
    }
    known
}

fn push(text: &mut Vec<u8>, line: &Line) {
    serde_json::to_writer(&mut *text, line).expect("plain data, written to memory");
    text.push(b'\n');
}

fn refused(path: &Path, error: &std::io::Error) -> PortError {
    let call = format!("write {}", path.display());
    let detail = DatabaseError::file(path, error).to_string();
    PortError::Rejected { service: Service::Artifacts, call, code: None, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_cut_anywhere_knows_a_part_of_it_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let (id, buckets) = ("dr-1".parse().unwrap(), ["vouchers".to_owned()]);
        let manifest = crate::storage::manifest::tests::manifest();
        let (mut ledger, _) = Ledger::open(folder.path(), &id, &buckets).unwrap();
        ledger.done(manifest.entries.iter().map(|entry| (entry, true))).unwrap();
        ledger.begun(&[9; 32], "up", 8).unwrap();
        ledger.part("up", 1, "etag").unwrap();
        drop(ledger);
        let path = folder.path().join("dr-1.copy.jsonl");
        let text = std::fs::read(&path).unwrap();
        for length in 0..text.len() {
            std::fs::write(&path, &text[..length]).unwrap();
            let (mut ledger, _) = Ledger::open(folder.path(), &id, &buckets).unwrap();
            ledger.begun(&[8; 32], "later", 8).unwrap();
            drop(ledger);
            let (_, known) = Ledger::open(folder.path(), &id, &buckets).unwrap();
            assert!(known.uploads.contains_key(&[8; 32]), "cut at {length}");
        }
        std::fs::write(&path, &text).unwrap();
        let (_, known) = Ledger::open(folder.path(), &id, &buckets).unwrap();
        assert_eq!(known.objects.len(), 2);
        assert_eq!(known.uploads[&[9; 32]].parts[&1], "etag");
    }

    #[test]
    fn one_process_at_a_time_copies_a_backup() {
        let folder = tempfile::tempdir().unwrap();
        let (id, buckets) = ("dr-1".parse().unwrap(), ["vouchers".to_owned()]);
        let _held = Ledger::open(folder.path(), &id, &buckets).unwrap();
        let error = Ledger::open(folder.path(), &id, &buckets).unwrap_err();
        assert!(error.to_string().contains("another process is copying this backup"), "{error}");
    }
}
