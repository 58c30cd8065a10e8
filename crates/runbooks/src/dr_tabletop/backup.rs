//! The backup: what the host has of its own, our own of the database, and the copy of the buckets.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use allclear_core::error::StopReason;
use allclear_core::platform::Recovery;
use allclear_core::ports::{BackupHost, DatabaseBackups, ObjectCopies};
use allclear_core::recovery::{Backup, BackupId, HostedBackups, ObjectCopy};
use allclear_core::{Class, PortError};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, Observation, Prediction, Probe,
    Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::words::{count, size, span};
use crate::effects::change;

/// Objects below this size are bound by round trips and not by their bytes.
const SMALL_OBJECT: u64 = 8 << 20;

/// The host's answer to the question for its own backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "host", rename_all = "snake_case")]
pub(super) enum Manifest {
    /// The list.
    Seen { hosted: HostedBackups },
    /// The access token is refused: it has expired or was revoked.
    TokenRefused { says: String },
}

impl Manifest {
    /// For waiting until a new token works.
    pub(super) fn is_seen(&self) -> Result<(), String> {
        match self {
            Self::Seen { .. } => Ok(()),
            Self::TokenRefused { says } => Err(says.clone()),
        }
    }
}

/// Reads the host's list of backups. A refused token is an answer, not a failure: a person can do something about it.
pub(super) struct HostedList {
    host: Arc<dyn BackupHost>,
    when: String,
}

impl HostedList {
    /// `when` tells several looks apart.
    pub(super) fn of(recovery: &Recovery, when: impl Into<String>) -> Self {
        Self { host: Arc::clone(&recovery.host), when: when.into() }
    }
}

#[async_trait]
impl Probe for HostedList {
    type Value = Manifest;

    fn subject(&self) -> String {
        self.when.clone()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Manifest>, PortError> {
        let source = "Supabase's Management API, database backups";
        let (value, says) = match self.host.hosted_backups().await {
            Ok(hosted) => {
                let says = hosted_says(&hosted);
                (Manifest::Seen { hosted }, says)
            }
            Err(error) if error.class() == Class::Stop(StopReason::Credential) => {
                let says = error.to_string();
                (
                    Manifest::TokenRefused { says: says.clone() },
                    format!("the access token is the cause: {says}"),
                )
            }
            Err(error) => return Err(error),
        };
        Ok(Observation { value, evidence: vec![Evidence::new(source, says.clone())], says })
    }
}

/// The host's own backups in one sentence.
pub(super) fn hosted_says(hosted: &HostedBackups) -> String {
    let newest = hosted
        .backups
        .first()
        .map_or_else(String::new, |newest| format!(", the newest {} of {}", newest.status, newest.at));
    let to_a_point = if hosted.point_in_time { "on" } else { "off" };
    let many = count(hosted.backups.len() as u64, "backup", "backups");
    format!("the host has {many} of its own{newest}; point-in-time recovery is {to_a_point}")
}

/// Whether the host has a whole backup of its own.
pub(super) fn has_whole(hosted: &HostedBackups) -> bool {
    hosted.backups.iter().any(|backup| backup.status == "COMPLETED")
}

/// The backup in one sentence.
pub(super) fn backup_says(backup: &Backup) -> String {
    let rows: u64 = backup.tables.iter().map(|table| table.rows).sum();
    format!(
        "{} with {} in {}, {}, at {}, manifest SHA-256 {}",
        count(backup.tables.len() as u64, "table", "tables"),
        count(rows, "row", "rows"),
        count(backup.files, "file", "files"),
        size(backup.bytes),
        backup.destination,
        backup.manifest_sha256
    )
}

/// The copy in one sentence.
pub(super) fn copy_says(copy: &ObjectCopy) -> String {
    format!(
        "{} ({} uploaded{}), {}, at {}, manifest SHA-256 {}",
        count(copy.objects, "object", "objects"),
        copy.uploaded,
        under_way(copy),
        size(copy.bytes),
        copy.destination,
        copy.manifest_sha256
    )
}

/// What the platform did to its objects while they were copied. It is no fault of the copy, and whoever restores it must know.
fn under_way(copy: &ObjectCopy) -> String {
    let mut says = String::new();
    for (many, what) in [(copy.changed, "changed"), (copy.vanished, "vanished")] {
        if many > 0 {
            let _ = write!(says, ", {many} {what} meanwhile");
        }
    }
    says
}

/// What it means that a copy took longer than it may: which idea helps depends on how large the objects are.
pub(super) fn too_slow(copy: &ObjectCopy, took: Duration, budget: Duration) -> String {
    let average = copy.bytes.checked_div(copy.objects).unwrap_or_default();
    let why = if average < SMALL_OBJECT {
        "objects this small are bound by round trips and not by their size, so more of them at once help and multipart uploads do not"
    } else {
        "objects this large are bound by their size, so parts uploaded at once help"
    };
    format!(
        "the copy of the buckets took {}, budget {}: {} of {} on average; {why}",
        span(took),
        span(budget),
        count(copy.objects, "object", "objects"),
        size(average)
    )
}

/// Takes the backup.
///
/// Killed in the middle: the manifest is written last, so what stands in the bucket is found whole or not at all; what is
/// there already is not uploaded again.
#[derive(Clone)]
pub(super) struct TakeBackup {
    backups: Arc<dyn DatabaseBackups>,
    id: BackupId,
    destination: String,
}

impl TakeBackup {
    pub(super) fn of(recovery: &Recovery, id: &BackupId) -> Self {
        let destination = recovery.exercise.destination.clone();
        Self { backups: Arc::clone(&recovery.backups), id: id.clone(), destination }
    }
}

#[async_trait]
impl Effect for TakeBackup {
    /// `None` where it was there already, or a person said so.
    type Receipt = Option<Backup>;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "backup.take"
    }

    fn subject(&self) -> String {
        format!("backup {}", self.id)
    }

    fn title(&self) -> String {
        format!("back the production database up to {}", self.destination)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("a backup that was taken is kept for as long as backups are kept")
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        if self.backups.find(&self.id).await?.is_some() {
            return Ok(Prediction::default());
        }
        let label = format!("{} at {}", self.id, self.destination);
        Ok(Prediction::of(change("backup", &self.id, &label, "state", "absent", "whole, with its manifest"))
            .note("read from one snapshot; production is not written to"))
    }

    fn foresee(&self, _prediction: &Prediction) -> Option<Backup> {
        None
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<Option<Backup>>, PortError> {
        let backup = self.backups.take(&self.id).await?;
        Ok(Applied { says: backup_says(&backup), receipt: Some(backup) })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<Option<Backup>>, PortError> {
        Ok(match self.backups.find(&self.id).await? {
            Some(backup) => Reconciled::Happened(Applied {
                says: format!("the bucket has it whole: {}", backup_says(&backup)),
                receipt: Some(backup),
            }),
            None => Reconciled::DidNot { why: "the bucket does not have it whole".to_owned() },
        })
    }

    async fn verify(
        &self,
        _intent: &Intent,
        receipt: &Option<Backup>,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let found = self.backups.find(&self.id).await?;
        let shows = found.as_ref().map_or_else(|| "not whole".to_owned(), backup_says);
        let evidence = vec![Evidence::new("the bucket, read again", shows)];
        let taken = receipt.as_ref().map(|backup| &backup.manifest_sha256);
        Ok(match found {
            None => Judgement::refuted("the bucket does not have the backup whole", evidence),
            Some(backup) if backup.tables.is_empty() => {
                Judgement::refuted("the backup holds no table", evidence)
            }
            Some(backup) if taken.is_some_and(|taken| *taken != backup.manifest_sha256) => {
                Judgement::refuted("the bucket has another backup than was taken", evidence)
            }
            Some(_) => Judgement::verified("the bucket has the backup whole", evidence),
        })
    }
}

/// The backup as the bucket has it.
pub(super) struct KeptBackup {
    backups: Arc<dyn DatabaseBackups>,
    id: BackupId,
}

impl KeptBackup {
    pub(super) fn of(recovery: &Recovery, id: &BackupId) -> Self {
        Self { backups: Arc::clone(&recovery.backups), id: id.clone() }
    }
}

#[async_trait]
impl Probe for KeptBackup {
    type Value = Option<Backup>;

    fn subject(&self) -> String {
        format!("backup {} as kept", self.id)
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Option<Backup>>, PortError> {
        let found = self.backups.find(&self.id).await?;
        let says = found.as_ref().map_or_else(|| "the bucket does not have it yet".to_owned(), backup_says);
        Ok(Observation { value: found, evidence: vec![Evidence::new("the bucket", says.clone())], says })
    }
}

/// Copies the platform's buckets. As [`TakeBackup`]: the manifest comes last, and nothing is ever deleted.
#[derive(Clone)]
pub(super) struct CopyObjects {
    copies: Arc<dyn ObjectCopies>,
    id: BackupId,
    destination: String,
}

impl CopyObjects {
    pub(super) fn of(recovery: &Recovery, id: &BackupId) -> Self {
        let destination = recovery.exercise.destination.clone();
        Self { copies: Arc::clone(&recovery.copies), id: id.clone(), destination }
    }
}

#[async_trait]
impl Effect for CopyObjects {
    type Receipt = Option<ObjectCopy>;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "objects.copy"
    }

    fn subject(&self) -> String {
        format!("copy of the buckets {}", self.id)
    }

    fn title(&self) -> String {
        format!("copy the platform's buckets to {}", self.destination)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("a copy that was made is kept for as long as backups are kept")
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        if self.copies.find(&self.id).await?.is_some() {
            return Ok(Prediction::default());
        }
        let label = format!("{} at {}", self.id, self.destination);
        let copied = change("object copy", &self.id, &label, "state", "absent", "whole, with its manifest");
        Ok(Prediction::of(copied).note("nothing is deleted; what is there with the same content stays"))
    }

    fn foresee(&self, _prediction: &Prediction) -> Option<ObjectCopy> {
        None
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<Option<ObjectCopy>>, PortError> {
        let copy = self.copies.copy(&self.id).await?;
        Ok(Applied { says: copy_says(&copy), receipt: Some(copy) })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<Option<ObjectCopy>>, PortError> {
        Ok(match self.copies.find(&self.id).await? {
            Some(copy) => Reconciled::Happened(Applied {
                says: format!("the bucket has it whole: {}", copy_says(&copy)),
                receipt: Some(copy),
            }),
            None => Reconciled::DidNot { why: "the bucket does not have it whole".to_owned() },
        })
    }

    async fn verify(
        &self,
        _intent: &Intent,
        receipt: &Option<ObjectCopy>,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let found = self.copies.find(&self.id).await?;
        let shows = found.as_ref().map_or_else(|| "not whole".to_owned(), copy_says);
        let evidence = vec![Evidence::new("the bucket, read again", shows)];
        let copied = receipt.as_ref().map(|copy| &copy.manifest_sha256);
        Ok(match found {
            None => Judgement::refuted("the bucket does not have the copy whole", evidence),
            Some(copy) if copied.is_some_and(|copied| *copied != copy.manifest_sha256) => {
                Judgement::refuted("the bucket has another copy than was made", evidence)
            }
            Some(_) => Judgement::verified("the bucket has the copy whole", evidence),
        })
    }
}

/// The copy as the bucket has it.
pub(super) struct KeptCopy {
    copies: Arc<dyn ObjectCopies>,
    id: BackupId,
}

impl KeptCopy {
    pub(super) fn of(recovery: &Recovery, id: &BackupId) -> Self {
        Self { copies: Arc::clone(&recovery.copies), id: id.clone() }
    }
}

#[async_trait]
impl Probe for KeptCopy {
    type Value = Option<ObjectCopy>;

    fn subject(&self) -> String {
        format!("copy of the buckets {} as kept", self.id)
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Option<ObjectCopy>>, PortError> {
        let found = self.copies.find(&self.id).await?;
        let says = found.as_ref().map_or_else(|| "the bucket does not have it yet".to_owned(), copy_says);
        Ok(Observation { value: found, evidence: vec![Evidence::new("the bucket", says.clone())], says })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_tells_what_moved_under_it() {
        let mut copy = ObjectCopy {
            id: "dr-2026-q4".parse().unwrap(),
            destination: "s3://backups/dr-2026-q4/storage".to_owned(),
            objects: 3,
            bytes: 30,
            uploaded: 2,
            changed: 0,
            vanished: 0,
            manifest_sha256: "be21".to_owned(),
            took: Vec::new(),
        };
        assert!(copy_says(&copy).starts_with("3 objects (2 uploaded), "), "{}", copy_says(&copy));
        (copy.changed, copy.vanished) = (1, 2);
        let says = copy_says(&copy);
        assert!(
            says.starts_with("3 objects (2 uploaded, 1 changed meanwhile, 2 vanished meanwhile), "),
            "{says}"
        );
    }
}
