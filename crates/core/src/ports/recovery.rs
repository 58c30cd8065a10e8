//! What the disaster recovery exercise needs: hosted backups, our own backup, the copy of the buckets, the staging
//! database, smoke tests, and the people.
//!
//! There is no port that writes DNS records, environment variables or the production database, so a rehearsal cannot
//! reach production: what does not exist cannot be called by mistake.

use std::time::Duration;

use async_trait::async_trait;

use super::{Artifact, Result};
use crate::incident::Incident;
use crate::recovery::{
    Acknowledgement, Backup, BackupId, CopiedObjects, HostedBackups, Link, ObjectCopy, Parity, Restored,
    SmokeResult, SmokeTest, StoredObject, TargetCheck,
};

/// The backups that the platform's host keeps by itself.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait BackupHost: Send + Sync {
    /// `GET /v1/projects/{ref}/database/backups`. A 401 says that the access token is expired or revoked: the error's
    /// class is [`Class::Stop`](crate::Class::Stop) with the credential as its reason.
    async fn hosted_backups(&self) -> Result<HostedBackups>;
}

/// Our own backup of the production database, kept in a bucket.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait DatabaseBackups: Send + Sync {
    /// Takes the backup, or completes one that was begun: one snapshot, `pg_dump`, counts and digests in that snapshot, every
    /// file uploaded with its SHA-256, the manifest last. Convergent: files that are there whole are not uploaded again.
    async fn take(&self, id: &BackupId) -> Result<Backup>;

    /// The backup as the bucket has it now, each file's size and the manifest's digest compared; `None` while it is not
    /// whole.
    async fn find(&self, id: &BackupId) -> Result<Option<Backup>>;

    /// Puts a small file (`backup.log`, `rowcount.csv`) beside the backup. Convergent.
    async fn keep_file(&self, id: &BackupId, name: &str, content: &[u8]) -> Result<Artifact>;

    /// A file beside the backup, read back from the bucket.
    async fn find_file(&self, id: &BackupId, name: &str) -> Result<Option<Artifact>>;

    /// The same with its content, for small files.
    async fn read_file(&self, id: &BackupId, name: &str) -> Result<Option<Vec<u8>>>;
}

/// The copy of the platform's buckets.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ObjectCopies: Send + Sync {
    /// Copies every object of the configured buckets, or goes on with a copy that was begun. Never deletes. Convergent: what
    /// is there with the same content is not uploaded again.
    async fn copy(&self, id: &BackupId) -> Result<ObjectCopy>;

    /// The copy as the bucket has it now, compared with its manifest; `None` while it is not whole.
    async fn find(&self, id: &BackupId) -> Result<Option<ObjectCopy>>;

    /// The objects that the copy's manifest names; `None` while the copy is not whole. One row of memory for each object.
    async fn objects(&self, id: &BackupId) -> Result<Option<CopiedObjects>>;
}

/// What the platform itself says its buckets hold: rows of its own table, read by another way than the copy. Reads only.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait StoredObjects: Send + Sync {
    /// `POST /object/list-v2/{bucket}` with a cursor, or `POST /object/list/{bucket}` folder by folder where the server has no
    /// second version. Every object of the bucket, in the order of their names.
    async fn of_bucket(&self, bucket: &str) -> Result<Vec<StoredObject>>;
}

/// A private bucket for what an exercise leaves behind, kept away from the machine that ran it.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait EvidenceShelf: Send + Sync {
    /// Where a file stands or would stand, as people write it, e.g. `storage://exercises/RUN/backup.log`.
    fn address(&self, name: &str) -> String;

    /// Puts a file there by a resumable upload. Convergent, and it never replaces: the same content is left as it is, and where
    /// another one stands it is refused. An upload whose answer was lost is gone on with by the next call of this process, at
    /// the place that the server names.
    async fn keep(&self, name: &str, content: &[u8]) -> Result<Artifact>;

    /// The file as it is read back, whole, with its SHA-256; `None` where there is none.
    async fn find(&self, name: &str) -> Result<Option<Artifact>>;

    /// A link with which anybody can read the file, for whole seconds: for people who have no key. It is a right, so it is
    /// shown to whoever asked and never written down.
    async fn link(&self, name: &str, valid: Duration) -> Result<Link>;
}

/// The database that a backup is restored into. Never production: its constructor compares first.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait StagingDatabase: Send + Sync {
    /// Asks both servers who they are, and compares host, database, project ref and cluster. Reads only.
    async fn compare(&self) -> Result<TargetCheck>;

    /// Restores from the bucket (not from a local file) into a schema of its own, and swaps it in when it is whole; compares
    /// source and target again first. Whatever fails before the swap leaves staging as it was. Convergent.
    async fn restore(&self, id: &BackupId) -> Result<Restored>;

    /// What staging says it holds: the restored backup, by the mark that is set in the swap's own transaction.
    async fn find(&self, id: &BackupId) -> Result<Option<Restored>>;

    /// Compares every table with the backup's snapshot, rows and contents.
    async fn parity(&self, id: &BackupId) -> Result<Parity>;
}

/// Smoke tests against staging. They send to the allow-listed number only.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait SmokeTests: Send + Sync {
    /// Tries one, once for a marker: with the same marker it does not issue, redeem or send a second time.
    async fn try_out(&self, test: SmokeTest, marker: &str) -> Result<SmokeResult>;
}

/// Who took notice of an incident.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Acknowledgements: Send + Sync {
    /// Acknowledgements by people, oldest first, one for each person, from the incident's log entries. An acknowledge over the
    /// Events API belongs to the integration and is none.
    async fn of_incident(&self, incident: &str) -> Result<Vec<Acknowledgement>>;

    /// Asks more people to respond (`POST /incidents/{id}/responder_requests`); those who are asked already are not asked again.
    async fn call_in(&self, incident: &str, users: &[String], message: &str) -> Result<()>;

    /// Who was asked already, by user id: those whom the incident is or was assigned to, and those who were called in.
    async fn called_in(&self, incident: &str) -> Result<Vec<String>>;
}

/// What is open on the services that a team is paged by, while an exercise is held.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait OpenIncidents: Send + Sync {
    /// The incidents of these services that nobody has resolved, whether somebody took them or not, newest first
    /// (`GET /incidents` by status and service, all pages).
    async fn on_services(&self, services: &[String]) -> Result<Vec<Incident>>;
}

/// The team's documents that the exercise reads and writes: templates, the retro notes, `SYSTEM_CHECKLIST.md`.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Documents: Send + Sync {
    /// A document by its path below the team's folder, e.g. `docs/incidents/templates/status-page.md`.
    async fn read(&self, path: &str) -> Result<Option<String>>;

    /// Writes a document, atomically, making its folders; refuses when it is not as `expected` any more (somebody edited it).
    async fn write(&self, path: &str, expected: Option<String>, content: &str) -> Result<()>;
}
