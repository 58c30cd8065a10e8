//! Databases and buckets in memory: what they hold, what was done to them, and what goes wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use allclear::core::error::{StopReason, WaitSource};
use allclear::core::ports::{Artifact, DatabaseBackups, ObjectCopies, StagingDatabase};
use allclear::core::recovery::{
    Backup, BackupId, CopiedObjects, DatabaseIdentity, ObjectCopy, Parity, Restored, StoredObject,
    TableContent, TableParity, TargetCheck, Took,
};
use allclear::core::{Clock, PortError, Service};
use allclear::engine::journal::digest;
use async_trait::async_trait;
use serde_json::{Value, json};

/// What production and its buckets hold, and what is odd about staging.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that may be so or not")]
pub(crate) struct Content {
    pub(crate) tables: u32,
    pub(crate) objects: u32,
    /// Somebody changes a row right after the restore.
    pub(crate) changed_row: bool,
    /// The target is the source.
    pub(crate) wrong_target: bool,
    /// The backup stands in the bucket already, from an exercise that was given up.
    pub(crate) backup_is_there: bool,
    /// So does the copy.
    pub(crate) copy_is_there: bool,
}

impl Default for Content {
    fn default() -> Self {
        Self {
            tables: 3,
            objects: 40,
            changed_row: false,
            wrong_target: false,
            backup_is_there: false,
            copy_is_there: false,
        }
    }
}

/// One method of the three ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StoreCall {
    TakeBackup,
    FindBackup,
    KeepFile,
    FindFile,
    CopyObjects,
    FindCopy,
    Compare,
    Restore,
    FindRestored,
    Parity,
}

impl StoreCall {
    pub(crate) const ALL: [Self; 10] = [
        Self::TakeBackup,
        Self::FindBackup,
        Self::KeepFile,
        Self::FindFile,
        Self::CopyObjects,
        Self::FindCopy,
        Self::Compare,
        Self::Restore,
        Self::FindRestored,
        Self::Parity,
    ];

    fn writes(self) -> bool {
        matches!(self, Self::TakeBackup | Self::KeepFile | Self::CopyObjects | Self::Restore)
    }

    fn service(self) -> Service {
        match self {
            Self::TakeBackup | Self::Compare | Self::Restore | Self::FindRestored | Self::Parity => {
                Service::Database
            }
            _ => Service::ObjectStore,
        }
    }
}

/// What goes wrong with a database or a bucket, as `allclear-dr` classifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreFault {
    /// Connection refused.
    Refused,
    /// Done, and the connection is reset.
    ResetDone,
    /// Not done, and no answer.
    Silent,
    /// The password is wrong.
    WrongPassword,
    /// The server is read only, or the bucket's policy is.
    ReadOnly,
    /// The disk is full.
    Full,
    /// Too many requests or connections.
    Busy,
    /// What comes cannot be read.
    Garbled,
}

impl StoreFault {
    pub(crate) const ALL: [(Self, &'static str); 8] = [
        (Self::Refused, "connection refused"),
        (Self::ResetDone, "done, connection reset"),
        (Self::Silent, "timeout, not done"),
        (Self::WrongPassword, "wrong password"),
        (Self::ReadOnly, "read only"),
        (Self::Full, "disk full"),
        (Self::Busy, "too many connections"),
        (Self::Garbled, "an answer that cannot be read"),
    ];

    fn error(self, of: StoreCall) -> PortError {
        let (service, call, detail) = (of.service(), format!("{of:?}"), format!("{self:?}"));
        match self {
            Self::ResetDone | Self::Silent if of.writes() => {
                PortError::OutcomeUnknown { service, call, detail }
            }
            Self::Refused | Self::ResetDone | Self::Silent => {
                PortError::Unavailable { service, call, detail }
            }
            Self::WrongPassword => {
                PortError::Stopped { service, call, reason: StopReason::Credential, detail }
            }
            Self::ReadOnly => PortError::Rejected { service, call, code: Some("25006".to_owned()), detail },
            Self::Full => PortError::Rejected { service, call, code: Some("53100".to_owned()), detail },
            Self::Busy => PortError::RateLimited {
                service,
                call,
                wait_seconds: None,
                source_of_wait: WaitSource::Ours,
                detail,
            },
            Self::Garbled => PortError::Malformed { service, call, detail },
        }
    }
}

/// A fault of one call: the first time, or for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreTrouble {
    pub(crate) call: StoreCall,
    pub(crate) fault: StoreFault,
    pub(crate) always: bool,
}

#[derive(Debug, Default)]
struct Kept {
    backup: Option<Backup>,
    copy: Option<ObjectCopy>,
    files: BTreeMap<String, Vec<u8>>,
    restored: Option<Restored>,
    trouble: Option<StoreTrouble>,
    troubled: bool,
    /// What really changed, and how often.
    ledger: BTreeMap<(String, String), usize>,
}

/// All of it.
pub(crate) struct Stores {
    clock: Arc<dyn Clock>,
    content: Content,
    kept: Mutex<Kept>,
}

fn artifact(name: &str, content: &[u8]) -> Artifact {
    Artifact { name: name.to_owned(), bytes: content.len() as u64, sha256: digest(content) }
}

fn took(what: &str) -> Vec<Took> {
    vec![Took { what: what.to_owned(), took: Duration::from_millis(700) }]
}

impl Stores {
    pub(crate) fn of(content: Content, clock: Arc<dyn Clock>) -> Arc<Self> {
        let stores = Self { clock, content, kept: Mutex::default() };
        let id: BackupId = format!("dr-{}", stores.clock.now().strftime("%Y-%m-%d")).parse().unwrap();
        let (backup, copy) = (stores.backup(&id), stores.copy_of(&id));
        let mut kept = stores.kept();
        kept.backup = stores.content.backup_is_there.then_some(backup);
        kept.copy = stores.content.copy_is_there.then_some(copy);
        drop(kept);
        Arc::new(stores)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets something go wrong from now on.
    pub(crate) fn trouble(&self, trouble: StoreTrouble) {
        self.kept().trouble = Some(trouble);
    }

    /// Whether that went wrong.
    pub(crate) fn was_troubled(&self) -> bool {
        self.kept().troubled
    }

    /// What was really changed, each with how often.
    pub(crate) fn ledger(&self) -> BTreeMap<(String, String), usize> {
        self.kept().ledger.clone()
    }

    /// What there is in the end.
    pub(crate) fn state(&self) -> Value {
        let kept = self.kept();
        json!({
            "backup": kept.backup.as_ref().map(|one| &one.id),
            "copy": kept.copy.as_ref().map(|one| one.objects),
            "files": kept.files.keys().collect::<Vec<_>>(),
            "restored": kept.restored.as_ref().map(|one| (&one.id, one.tables)),
        })
    }

    /// One call, well or badly.
    fn call<T>(&self, call: StoreCall, deed: impl FnOnce(&mut Kept) -> T) -> Result<T, PortError> {
        let mut kept = self.kept();
        let Some(trouble) = kept.trouble.filter(|trouble| trouble.call == call) else {
            return Ok(deed(&mut kept));
        };
        kept.troubled = true;
        if !trouble.always {
            kept.trouble = None;
        }
        if trouble.fault == StoreFault::ResetDone {
            deed(&mut kept);
        }
        Err(trouble.fault.error(call))
    }

    fn tables(&self) -> Vec<TableContent> {
        let table = |number: u32| TableContent {
            table: format!("public.table_{number:03}"),
            rows: u64::from(number) * 100,
            digest: format!("{number:032x}"),
        };
        (0..self.content.tables).map(table).collect()
    }

    fn backup(&self, id: &BackupId) -> Backup {
        Backup {
            id: id.clone(),
            destination: format!("s3://backups/supabase/{id}"),
            snapshot_at: self.clock.now(),
            tables: self.tables(),
            files: 9,
            bytes: 36_000_000,
            manifest_sha256: "5f70bf18".to_owned(),
            took: took("dump"),
        }
    }

    fn copy_of(&self, id: &BackupId) -> ObjectCopy {
        let objects = u64::from(self.content.objects);
        ObjectCopy {
            id: id.clone(),
            destination: format!("s3://backups/supabase/{id}/objects"),
            objects,
            bytes: objects * 30 * 1_024,
            uploaded: objects,
            changed: 0,
            vanished: 0,
            manifest_sha256: "be217a00".to_owned(),
            took: took("upload"),
        }
    }
}

impl Kept {
    fn note(&mut self, effect: &str, subject: &str) {
        *self.ledger.entry((effect.to_owned(), subject.to_owned())).or_default() += 1;
    }
}

#[async_trait]
impl DatabaseBackups for Stores {
    async fn take(&self, id: &BackupId) -> Result<Backup, PortError> {
        let fresh = self.backup(id);
        self.call(StoreCall::TakeBackup, |kept| {
            // Convergent: what is there whole is not made again.
            if kept.backup.as_ref().is_none_or(|one| one.id != *id) {
                kept.note("backup.take", id.as_str());
                kept.backup = Some(fresh.clone());
            }
            kept.backup.clone().unwrap_or(fresh)
        })
    }

    async fn find(&self, id: &BackupId) -> Result<Option<Backup>, PortError> {
        self.call(StoreCall::FindBackup, |kept| kept.backup.clone().filter(|one| one.id == *id))
    }

    async fn keep_file(&self, _id: &BackupId, name: &str, content: &[u8]) -> Result<Artifact, PortError> {
        self.call(StoreCall::KeepFile, |kept| {
            if kept.files.get(name).is_none_or(|known| known != content) {
                kept.note("backup.keep_file", name);
            }
            kept.files.insert(name.to_owned(), content.to_vec());
            artifact(name, content)
        })
    }

    async fn find_file(&self, _id: &BackupId, name: &str) -> Result<Option<Artifact>, PortError> {
        self.call(StoreCall::FindFile, |kept| kept.files.get(name).map(|content| artifact(name, content)))
    }

    async fn read_file(&self, _id: &BackupId, name: &str) -> Result<Option<Vec<u8>>, PortError> {
        self.call(StoreCall::FindFile, |kept| kept.files.get(name).cloned())
    }
}

#[async_trait]
impl ObjectCopies for Stores {
    async fn copy(&self, id: &BackupId) -> Result<ObjectCopy, PortError> {
        let fresh = self.copy_of(id);
        self.call(StoreCall::CopyObjects, |kept| {
            if kept.copy.as_ref().is_none_or(|one| one.id != *id) {
                kept.note("objects.copy", id.as_str());
                kept.copy = Some(fresh.clone());
            }
            kept.copy.clone().unwrap_or(fresh)
        })
    }

    async fn find(&self, id: &BackupId) -> Result<Option<ObjectCopy>, PortError> {
        self.call(StoreCall::FindCopy, |kept| kept.copy.clone().filter(|one| one.id == *id))
    }

    /// In the manifest that `find` reads, so what goes wrong is the same.
    async fn objects(&self, id: &BackupId) -> Result<Option<CopiedObjects>, PortError> {
        let name = |n| format!("{n:05}.png");
        let object = |n| StoredObject { name: name(n), bytes: Some(30 * 1_024), changed_at: None };
        let objects = (0..self.content.objects).map(object).collect();
        let copied =
            CopiedObjects { begun_at: self.clock.now(), buckets: vec![("vouchers".to_owned(), objects)] };
        self.call(StoreCall::FindCopy, |kept| kept.copy.as_ref().filter(|one| one.id == *id).map(|_| copied))
    }
}

fn identity(host: &str, project: &str, cluster: &str) -> DatabaseIdentity {
    DatabaseIdentity {
        host: host.to_owned(),
        port: 5432,
        database: "postgres".to_owned(),
        project: Some(project.to_owned()),
        system_identifier: cluster.to_owned(),
        server_version: "15.18".to_owned(),
    }
}

#[async_trait]
impl StagingDatabase for Stores {
    async fn compare(&self) -> Result<TargetCheck, PortError> {
        self.call(StoreCall::Compare, |_| {
            let wrong = self.content.wrong_target;
            let source = identity("db.production.example", "prodref", "7001");
            TargetCheck {
                target: if wrong {
                    source.clone()
                } else {
                    identity("db.staging.example", "stagingref", "7002")
                },
                source,
                confirmation: "stagingref".to_owned(),
                objections: wrong
                    .then(|| "source and target are the same database".to_owned())
                    .into_iter()
                    .collect(),
            }
        })
    }

    async fn restore(&self, id: &BackupId) -> Result<Restored, PortError> {
        let tables = self.tables();
        self.call(StoreCall::Restore, |kept| {
            let whole = kept.backup.as_ref().is_some_and(|one| one.id == *id);
            assert!(whole, "restored without a backup");
            if kept.restored.is_none() {
                kept.note("staging.restore", id.as_str());
            }
            let fresh = Restored {
                id: id.clone(),
                tables: tables.len() as u64,
                rows: tables.iter().map(|table| table.rows).sum(),
                put_aside: Some("public_before".to_owned()),
                notes: Vec::new(),
                began_at: None,
                took: took("load"),
            };
            kept.restored.get_or_insert(fresh).clone()
        })
    }

    async fn find(&self, id: &BackupId) -> Result<Option<Restored>, PortError> {
        self.call(StoreCall::FindRestored, |kept| kept.restored.clone().filter(|one| one.id == *id))
    }

    async fn parity(&self, id: &BackupId) -> Result<Parity, PortError> {
        let tables = self.tables();
        let changed = self.content.changed_row;
        self.call(StoreCall::Parity, |kept| {
            let holds = kept.restored.as_ref().is_some_and(|one| one.id == *id);
            let compare = |(number, snapshot): (usize, TableContent)| {
                let mut staging = snapshot.clone();
                if changed && number == 0 {
                    staging.digest = "0".repeat(32);
                }
                let table = snapshot.table.clone();
                TableParity { table, snapshot: Some(snapshot), staging: holds.then_some(staging) }
            };
            let tables = tables.into_iter().enumerate().map(compare).collect();
            Parity { tables, took: Duration::from_secs(2), ..Parity::default() }
        })
    }
}
