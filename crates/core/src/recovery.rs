//! Disaster recovery: what the exercise knows of databases, backups, buckets and the people who take part.
//!
//! Plain data. What talks to a database or a bucket sits behind the ports in [`crate::ports`].

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::InvalidValue;

/// Names one backup. It is also the backup's folder in the bucket, so it holds only `a-z`, `A-Z`, `0-9`, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);

impl BackupId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for BackupId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for BackupId {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if text.is_empty() || text.len() > 100 || !text.chars().all(fits) {
            return Err(InvalidValue {
                field: "backup",
                value: text.chars().take(100).collect(),
                fix: "give 1 to 100 letters, digits, `-` or `_`",
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for BackupId {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        text.parse()
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> Self {
        id.0
    }
}

/// Which database it is, as the server itself says where it can. Holds no password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseIdentity {
    /// The host as configured.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database's name.
    pub database: String,
    /// Supabase's project ref, where host or user carry one.
    pub project: Option<String>,
    /// `pg_control_system().system_identifier`: the same for two names of one cluster, whatever the URLs say.
    pub system_identifier: String,
    /// The server's version, e.g. `15.18`.
    pub server_version: String,
}

impl std::fmt::Display for DatabaseIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port, database, .. } = self;
        write!(f, "{database} at {host}:{port}")?;
        if let Some(project) = &self.project {
            write!(f, " (project {project})")?;
        }
        Ok(())
    }
}

/// Source and target of a restore, and what speaks against restoring the one into the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetCheck {
    /// Where backups are taken from.
    pub source: DatabaseIdentity,
    /// Where they would be restored to.
    pub target: DatabaseIdentity,
    /// What a person types to confirm the target: its project ref, or `database@host` where it has none.
    pub confirmation: String,
    /// Why it must not be done, in sentences; empty when nothing speaks against it.
    pub objections: Vec<String>,
}

/// One backup that the platform's host keeps by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostedBackup {
    /// The host's id.
    pub id: String,
    /// COMPLETED, FAILED, PENDING, REMOVED, ARCHIVED or CANCELLED, as the host words it.
    pub status: String,
    /// When it was made.
    pub at: Timestamp,
}

/// What backups the platform's host has: the manifest of the script's step 4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostedBackups {
    /// The backups, newest first.
    pub backups: Vec<HostedBackup>,
    /// Whether the host can restore to a point in time.
    pub point_in_time: bool,
    /// Where the host keeps them.
    pub region: String,
}

/// What is in one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableContent {
    /// `schema.table`.
    pub table: String,
    /// How many rows.
    pub rows: u64,
    /// A digest of every row, independent of their order; equal contents have equal digests.
    pub digest: String,
}

/// How long one part of the work took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Took {
    /// What was done, e.g. `dump`.
    pub what: String,
    /// How long, machine time.
    pub took: Duration,
}

/// A backup of the database that stands in the bucket, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Which one.
    pub id: BackupId,
    /// Where it stands, e.g. `s3://backups/supabase/ID`.
    pub destination: String,
    /// When its snapshot was taken, by the database's clock.
    pub snapshot_at: Timestamp,
    /// Its tables, counted and digested in the snapshot itself.
    pub tables: Vec<TableContent>,
    /// How many files the dump has.
    pub files: u64,
    /// Their size together, in bytes.
    pub bytes: u64,
    /// SHA-256 of its manifest, in hex. The manifest holds the SHA-256 of each file.
    pub manifest_sha256: String,
    /// How long the parts took.
    pub took: Vec<Took>,
}

/// A copy of the platform's buckets that stands in the backup's bucket, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectCopy {
    /// Which backup it belongs to.
    pub id: BackupId,
    /// Where it stands.
    pub destination: String,
    /// How many objects it has.
    pub objects: u64,
    /// Their size together, in bytes.
    pub bytes: u64,
    /// How many of them were uploaded, by whichever process; the others were there already, with the same content.
    pub uploaded: u64,
    /// How many became others while they were copied; the copy has what they were when they were read. The manifest names them.
    pub changed: u64,
    /// How many were listed and gone when they were to be read; they are not in the copy. The manifest names them.
    pub vanished: u64,
    /// SHA-256 of its manifest, in hex. The manifest holds the SHA-256 of each object.
    pub manifest_sha256: String,
    /// How long the parts took.
    pub took: Vec<Took>,
}

/// One object of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StoredObject {
    /// Its name, folders included.
    pub name: String,
    /// Its size in bytes; `None` where its owner does not say.
    pub bytes: Option<u64>,
    /// When it was made or last changed, by its owner's clock; `None` where the owner does not say.
    pub changed_at: Option<Timestamp>,
}

/// What a whole copy holds, by bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedObjects {
    /// When the copy began to list the buckets: what is younger need not be in it.
    pub begun_at: Timestamp,
    /// Each bucket with its objects, in the order of their names.
    pub buckets: Vec<(String, Vec<StoredObject>)>,
}

/// An address that lets whoever has it read one file for a while. `Debug` does not show it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    url: String,
    valid: Duration,
}

impl Link {
    /// A link that is good for `valid`, counted by the server from when it was made.
    pub fn new(url: String, valid: Duration) -> Self {
        Self { url, valid }
    }

    /// The address, for a terminal and for no log.
    pub fn reveal(&self) -> &str {
        &self.url
    }

    /// For how long it is good.
    pub fn valid(&self) -> Duration {
        self.valid
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("valid", &self.valid).finish_non_exhaustive()
    }
}

/// A backup that stands in staging, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Which backup.
    pub id: BackupId,
    /// How many tables.
    pub tables: u64,
    /// How many rows together.
    pub rows: u64,
    /// Where what staging held before was put, so that it can be brought back.
    pub put_aside: Option<String>,
    /// What people should know of it, a sentence each: every trigger, job and subscription that was disabled, what was moved, and
    /// what could not be made anew.
    #[serde(default)]
    pub notes: Vec<String>,
    /// When the restore began, by the target's clock; `None` where an earlier version restored it and did not say.
    #[serde(default)]
    pub began_at: Option<Timestamp>,
    /// How long the parts took.
    pub took: Vec<Took>,
}

/// One table of the backup's snapshot beside the same one in staging.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableParity {
    /// `schema.table`.
    pub table: String,
    /// What the snapshot held; `None` where it had no such table.
    pub snapshot: Option<TableContent>,
    /// What staging holds; `None` where it has no such table.
    pub staging: Option<TableContent>,
}

impl TableParity {
    /// Whether both hold the same rows.
    pub fn is_equal(&self) -> bool {
        matches!((&self.snapshot, &self.staging), (Some(one), Some(other))
            if one.rows == other.rows && one.digest == other.digest)
    }
}

/// One object beside the tables' rows that is defined otherwise in staging than in the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionDifference {
    /// What it is and what it is called, e.g. `function public.total(integer)`.
    pub object: String,
    /// What differs, in words.
    pub says: String,
}

/// A column whose values a restore replaced before anybody could see them, and read back that none is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskedColumn {
    /// `schema.table`.
    pub table: String,
    /// The column.
    pub column: String,
    /// What stands there now, e.g. `pseudonyms`.
    pub mask: String,
    /// How many rows held a value, which was replaced.
    pub rows: u64,
    /// How many held none: NULL or nothing.
    pub empty: u64,
}

impl MaskedColumn {
    /// In words, without a full stop.
    pub fn says(&self) -> String {
        let Self { table, column, mask, rows, empty } = self;
        format!(
            "{table}.{column} holds {mask} in place of {rows} values, {empty} rows had none; no value of the source's is left"
        )
    }
}

/// The comparison of a backup's snapshot with what was restored from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parity {
    /// Every table that either side has, by name.
    pub tables: Vec<TableParity>,
    /// How many definitions were compared beside: functions, views, triggers, policies, grants and the like.
    #[serde(default)]
    pub definitions: u64,
    /// Those that differ.
    #[serde(default)]
    pub different: Vec<DefinitionDifference>,
    /// Those that the restore changed on purpose, each with the reason.
    #[serde(default)]
    pub changed: Vec<String>,
    /// The columns that are masked. Their tables were compared right before they were, and are as they were right after.
    #[serde(default)]
    pub masked: Vec<MaskedColumn>,
    /// What was not compared, and what differs without being part of the backup.
    #[serde(default)]
    pub not_compared: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl Parity {
    /// Whether every table and every definition is equal, and there is at least one table.
    pub fn holds(&self) -> bool {
        !self.tables.is_empty() && self.tables.iter().all(TableParity::is_equal) && self.different.is_empty()
    }
}

/// Who takes part in the exercise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The engineer on call, who leads it.
    IncidentCommander,
    /// Owns the automation and the bucket.
    DataPlatformLead,
    /// Speaks to customers.
    SupportManager,
    /// Speaks to stakeholders: the Customer Success lead.
    StakeholderCommunications,
}

impl Role {
    /// All roles, in the order of the written runbook.
    pub const ALL: [Self; 4] = [
        Self::IncidentCommander,
        Self::DataPlatformLead,
        Self::SupportManager,
        Self::StakeholderCommunications,
    ];

    /// The role in words, as the written runbook has them.
    pub fn title(self) -> &'static str {
        match self {
            Self::IncidentCommander => "Incident Commander",
            Self::DataPlatformLead => "Data Platform Lead",
            Self::SupportManager => "Support Manager",
            Self::StakeholderCommunications => "Stakeholder Communications",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.title())
    }
}

/// One person who takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Participant {
    /// As what.
    pub role: Role,
    /// The name to address them by.
    pub name: String,
    /// Their PagerDuty user id, e.g. `PABC123`.
    pub pagerduty_user: String,
}

/// What the team wants of a recovery. A miss is a finding of the exercise; nothing is held to one that is not set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objectives {
    /// Recovery time objective: how long it may take until what was restored is proven to work.
    pub rto: Option<Duration>,
    /// Recovery point objective: how old the data may be that is brought back, when the restore begins.
    pub rpo: Option<Duration>,
}

/// How an environment holds its exercise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exercise {
    /// Who takes part, one for each role at least.
    pub participants: Vec<Participant>,
    /// Who would take a cutover back, by name; confirmed in each exercise.
    pub rollback_owner: String,
    /// Where the holding statement is put up for review, e.g. `#ops-status`.
    pub status_channel: String,
    /// Where backups stand, e.g. `s3://backups/supabase`: shown before one is taken.
    pub destination: String,
    /// How long the copy of the buckets may take before it is a finding.
    pub copy_budget: Duration,
    /// How long the recovery may take, and how old its data may be.
    pub objectives: Objectives,
    /// The team's cutover checklist, a path below its folder of documents. Reviewed, never executed.
    pub cutover_checklist: String,
    /// The team's runbook file, a path below its folder of documents, in whose section of the exercise the notes are filed; `None`
    /// where they have a document of their own.
    pub runbook_file: Option<String>,
    /// The PagerDuty services on which a real incident stops the exercise, by id; none is looked for where it is empty.
    pub incident_services: Vec<String>,
}

/// That one person took notice of an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// PagerDuty's user id. Acknowledgements of a service or an integration are none.
    pub user: String,
    /// When, by PagerDuty's clock.
    pub at: Timestamp,
}

/// What is tried on staging after the restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmokeTest {
    /// A voucher is issued, and found in the database.
    VoucherIssue,
    /// That voucher is redeemed, and the database says so.
    VoucherRedeem,
    /// A campaign sends to the allow-listed number and to no other.
    CampaignSend,
    /// A station redeems a voucher, once, though it asks twice.
    StationRedeem,
}

impl SmokeTest {
    /// All of them, in the order of the written runbook.
    pub const ALL: [Self; 4] =
        [Self::VoucherIssue, Self::VoucherRedeem, Self::CampaignSend, Self::StationRedeem];

    /// The test in words.
    pub fn title(self) -> &'static str {
        match self {
            Self::VoucherIssue => "voucher issue",
            Self::VoucherRedeem => "voucher redeem",
            Self::CampaignSend => "campaign send",
            Self::StationRedeem => "station redeem",
        }
    }
}

/// What came of a smoke test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum SmokeResult {
    /// It works, seen in the database.
    Passed {
        /// What was seen.
        says: String,
    },
    /// It does not.
    Failed {
        /// What was seen.
        says: String,
    },
    /// Staging offers no way to try it; a finding, and no success.
    NotPossible {
        /// What is missing.
        says: String,
    },
}

/// How far a long piece of work is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done, e.g. `copy objects`.
    pub what: String,
    /// Items (tables, files, objects) done, and how many there are where that is known.
    pub items: u64,
    /// See [`items`](Self::items).
    pub items_of: Option<u64>,
    /// Bytes done, and how many there are where that is known.
    pub bytes: u64,
    /// See [`bytes`](Self::bytes).
    pub bytes_of: Option<u64>,
    /// How long it has been going on.
    pub elapsed: Duration,
}

impl Progress {
    /// Bytes a second so far.
    pub fn rate(&self) -> u64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { (self.bytes as f64 / seconds) as u64 } else { 0 }
    }

    /// How long the rest takes at the rate so far; `None` while that cannot be told.
    pub fn left(&self) -> Option<Duration> {
        let part = match (self.bytes_of, self.items_of) {
            (Some(of), _) if of > 0 => self.bytes as f64 / of as f64,
            (_, Some(of)) if of > 0 => self.items as f64 / of as f64,
            _ => return None,
        };
        (part > 0.0).then(|| self.elapsed.mul_f64((1.0 / part - 1.0).max(0.0)))
    }
}

/// Hears how far long work is, many times a second at most; never part of a journal.
pub trait Watcher: Send + Sync {
    /// It is this far.
    fn tell(&self, progress: &Progress);
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watcher for Unwatched {
    fn tell(&self, _progress: &Progress) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_id_cannot_leave_its_folder() {
        assert!("dr-2026-11-25_a1".parse::<BackupId>().is_ok());
        for bad in ["", "a/b", "..", "a b", "ä"] {
            assert!(bad.parse::<BackupId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn parity_of_nothing_does_not_hold() {
        assert!(!Parity::default().holds());
    }

    #[test]
    fn the_time_left_follows_from_the_rate_so_far() {
        let half = Progress {
            bytes: 50,
            bytes_of: Some(100),
            elapsed: Duration::from_secs(10),
            ..Progress::default()
        };
        assert_eq!(half.left(), Some(Duration::from_secs(10)));
        assert_eq!(half.rate(), 5);
        assert_eq!(Progress::default().left(), None);
    }
}
