//! The manifest: what a backup consists of, and the digests that prove it. Written last; without it there is no backup.

use allclear_core::recovery::{Backup, BackupId, DatabaseIdentity, TableContent, Took};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::catalog::{Index, OutsideKey, Table};
use super::definitions::Definition;
use super::outside::Outside;
use super::surroundings::Surroundings;

/// The form of the manifest that this version writes and reads.
pub(crate) const FORMAT: u32 = 2;

/// One file of the dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DumpFile {
    /// Its name in the dump's folder.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// One table in the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DumpedTable {
    #[serde(flatten)]
    pub(crate) table: Table,
    pub(crate) rows: u64,
    pub(crate) digest: String,
    /// The file that holds its rows.
    pub(crate) file: String,
}

/// A backup, described. Holds no password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) id: BackupId,
    /// Names the snapshot. It is part of every object's name, so files of two snapshots never stand in one place.
    pub(crate) attempt: String,
    pub(crate) snapshot_at: Timestamp,
    pub(crate) source: DatabaseIdentity,
    pub(crate) schemas: Vec<String>,
    /// The program that wrote the dump, as it names itself.
    pub(crate) written_by: String,
    pub(crate) tables: Vec<DumpedTable>,
    pub(crate) indexes: Vec<Index>,
    pub(crate) outside_keys: Vec<OutsideKey>,
    /// What the schemas hold beside rows, in the snapshot.
    pub(crate) definitions: Vec<Definition>,
    /// What other schemas hold that points into these.
    pub(crate) outside: Vec<Outside>,
    /// What gives the schemas their owners, grants and comments.
    pub(crate) schema_scripts: Vec<String>,
    /// What makes the casts of these schemas' types: a cast belongs to no schema, and so to no dump of one.
    pub(crate) casts: Vec<String>,
    /// The materialised views, with what they held.
    pub(crate) materialised: Vec<TableContent>,
    pub(crate) surroundings: Surroundings,
    pub(crate) files: Vec<DumpFile>,
    pub(crate) took: Vec<Took>,
}

impl Manifest {
    pub(crate) fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// What the port tells of it.
    pub(crate) fn told(&self, destination: String, manifest_sha256: String) -> Backup {
        let content = |dumped: &DumpedTable| TableContent {
            table: dumped.table.title(),
            rows: dumped.rows,
            digest: dumped.digest.clone(),
        };
        let mut tables: Vec<TableContent> = self.tables.iter().map(content).collect();
        tables.sort_by(|a, b| a.table.cmp(&b.table));
        Backup {
            id: self.id.clone(),
            destination,
            snapshot_at: self.snapshot_at,
            tables,
            files: self.files.len() as u64,
            bytes: self.bytes(),
            manifest_sha256,
            took: self.took.clone(),
        }
    }
}

/// SHA-256 in hex.
pub(crate) fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
