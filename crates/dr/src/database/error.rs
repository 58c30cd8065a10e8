//! What can go wrong with backup, restore and parity, and what to do next.

use std::path::{Path, PathBuf};

use allclear_core::error::StopReason;
use allclear_core::recovery::BackupId;
use allclear_core::{PortError, Service};
use tokio_postgres::error::SqlState;

/// Which of the two databases is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    /// Production: read only.
    Source,
    /// Staging.
    Target,
}

impl std::fmt::Display for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Source => "the source database",
            Self::Target => "the target database",
        })
    }
}

/// A failure of the database's half of the exercise. Never holds a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// A database URL cannot be used.
    #[error("the database URL's {field} cannot be used: {problem}; {fix}")]
    Url {
        /// Which part of it.
        field: &'static str,
        /// What is wrong.
        problem: &'static str,
        /// What to write instead.
        fix: &'static str,
    },
    /// The target is not proven to be staging.
    #[error("nothing was touched, because the target is not proven to be staging: {}", .objections.join("; "))]
    NotStaging {
        /// What speaks against it.
        objections: Vec<String>,
    },
    /// No connection.
    #[error("{party} cannot be reached ({detail}); check that it runs, and host and port of its URL")]
    Unreachable {
        /// Which one.
        party: Party,
        /// What was seen.
        detail: String,
    },
    /// The connection cannot be encrypted, or not to whom we meant.
    #[error(
        "no trusted TLS connection to {party} ({detail}); give `sslrootcert` with the host's own CA (Supabase offers it on the project's page of database settings), or `sslmode=require` to encrypt without asking whom"
    )]
    Tls {
        /// Which one.
        party: Party,
        /// What was seen.
        detail: String,
    },
    /// The role or the password is refused.
    #[error("{party} refuses the role or its password ({detail}); replace the credential, then resume")]
    Credential {
        /// Which one.
        party: Party,
        /// What it said.
        detail: String,
    },
    /// The role may not do this.
    #[error(
        "{party} does not allow `{doing}` to this role ({detail}); grant it, or use the database's owner"
    )]
    Permission {
        /// Which one.
        party: Party,
        /// What was tried.
        doing: String,
        /// What it said.
        detail: String,
    },
    /// Somebody else holds a lock.
    #[error(
        "{party} holds a lock that `{doing}` waited 5 s for ({detail}); nothing changed, try again when the migration or query that holds it has ended"
    )]
    LockTimeout {
        /// Which one.
        party: Party,
        /// What was tried.
        doing: String,
        /// What it said.
        detail: String,
    },
    /// The server has no space left.
    #[error(
        "{party} has no space left for `{doing}` ({detail}); nothing was swapped in; make room, then resume"
    )]
    ServerFull {
        /// Which one.
        party: Party,
        /// What was tried.
        doing: String,
        /// What it said.
        detail: String,
    },
    /// This machine, or the folder it works in, has no space left.
    #[error(
        "the disk of this machine is full: no space left for {}; the databases and the bucket are not meant. Nothing was swapped \
         in. Free space there (`df -h {}` shows how much; the `work` folders of ended runs are the first to go), then resume",
        .path.display(), .path.display()
    )]
    Full {
        /// Where.
        path: PathBuf,
    },
    /// The connection ended in the middle.
    #[error(
        "{party} ended the connection during `{doing}` ({detail}); what was begun there was rolled back, resume to do it again"
    )]
    ConnectionLost {
        /// Which one.
        party: Party,
        /// What was being done.
        doing: String,
        /// What was seen.
        detail: String,
    },
    /// The connection ended while the swap was being committed.
    #[error(
        "the connection ended while the swap was committed ({detail}); `find` tells whether staging has it"
    )]
    SwapUnknown {
        /// What was seen.
        detail: String,
    },
    /// The server refused a statement.
    #[error("{party} refused `{doing}` (code {code}): {detail}")]
    Refused {
        /// Which one.
        party: Party,
        /// What was tried.
        doing: String,
        /// SQLSTATE.
        code: String,
        /// What it said.
        detail: String,
    },
    /// Production waits for us.
    #[error(
        "the backup was given up, because other sessions waited more than 10 s for it ({detail}); try again outside of migrations"
    )]
    HoldsUpOthers {
        /// Who waited.
        detail: String,
    },
    /// Another restore is under way.
    #[error("another restore into this target is under way (or just died); wait for it, then resume")]
    Busy,
    /// A program is not installed, or too old for the server.
    #[error("{program} {problem}; install it, e.g. `apt-get install {package}`")]
    Program {
        /// Which one.
        program: &'static str,
        /// What is wrong with it.
        problem: String,
        /// Debian's package.
        package: String,
    },
    /// A program failed.
    #[error("{program} failed: {detail}")]
    ProgramFailed {
        /// Which one.
        program: &'static str,
        /// The end of what it said.
        detail: String,
    },
    /// The dump holds nothing.
    #[error(
        "the dump is empty ({detail}); check that the source URL and `schemas` are production's. Earlier backups are untouched"
    )]
    EmptyDump {
        /// What is missing.
        detail: String,
    },
    /// The dump is not what the snapshot holds.
    #[error("the dump is not whole ({detail}); it does not count, take it again")]
    DumpIncomplete {
        /// What differs.
        detail: String,
    },
    /// A file in the bucket is not what the manifest says.
    #[error(
        "`{file}` in the bucket is not what was uploaded ({detail}); nothing was restored, use another backup"
    )]
    Corrupt {
        /// Which file.
        file: String,
        /// What differs.
        detail: String,
    },
    /// The backup is not there, or not whole.
    #[error("no whole backup `{id}` stands in the bucket; take it first")]
    NoBackup {
        /// Which one.
        id: BackupId,
    },
    /// The target does not have what the backup needs.
    #[error("the target lacks {what}; {fix}. Nothing was touched")]
    TargetLacks {
        /// What is missing.
        what: String,
        /// What to do.
        fix: String,
    },
    /// A column cannot be masked, so nothing of its table may be seen.
    #[error("nothing was swapped in, because {}", .objections.join("; "))]
    MaskingCannotHold {
        /// Which column, why, and what to do, a sentence each.
        objections: Vec<String>,
    },
    /// Something that is computed while it is restored may reach outside.
    #[error(
        "nothing was swapped in, because {what} would be computed on staging and may reach outside: {why}. Make it silent in \
         production, or take it out of the schemas that are backed up"
    )]
    MayReachOut {
        /// What would be computed.
        what: String,
        /// What it calls.
        why: String,
    },
    /// The object store failed.
    #[error("the bucket cannot be used for `{doing}`: {detail}")]
    Bucket {
        /// What was tried.
        doing: String,
        /// What it said.
        detail: String,
        /// What kind of failure it is.
        kind: BucketFailure,
    },
    /// A local file cannot be used.
    #[error("{} cannot be used ({detail}); check the folder and its permissions", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What was seen.
        detail: String,
    },
}

/// Kinds of failures of an object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketFailure {
    /// The credential is refused.
    Credential,
    /// It may not do this.
    Permission,
    /// There is no such bucket or object.
    NotFound,
    /// Refused for another reason, such as a full bucket; the same request is refused again.
    Refused,
    /// Anything else; trying again may help.
    Unavailable,
}

impl DatabaseError {
    pub(crate) fn store(doing: impl Into<String>, error: &object_store::Error) -> Self {
        use object_store::Error as E;
        // What the server said decides; `object_store` hands on our transport's failures as something of no known kind.
        let said = crate::storage::bucket_failure(error);
        let kind = match error {
            _ if said.is_some() => said.unwrap_or(BucketFailure::Unavailable),
            E::Unauthenticated { .. } => BucketFailure::Credential,
            E::PermissionDenied { .. } => BucketFailure::Permission,
            E::NotFound { .. } => BucketFailure::NotFound,
            _ => BucketFailure::Unavailable,
        };
        Self::Bucket { doing: doing.into(), detail: causes(error), kind }
    }

    pub(crate) fn file(path: impl Into<PathBuf>, error: &std::io::Error) -> Self {
        let path = path.into();
        if matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
            return Self::Full { path };
        }
        Self::File { path, detail: error.to_string() }
    }

    /// What the server itself said, where it did.
    pub(crate) fn said(&self) -> String {
        match self {
            Self::Refused { detail, .. } | Self::Permission { detail, .. } => detail.clone(),
            other => other.to_string(),
        }
    }

    /// Whether the server refused a statement for this reason.
    pub(crate) fn is_code(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code.starts_with(wanted))
    }

    /// What a failure of a statement or a connection means.
    pub(crate) fn sql(party: Party, doing: impl Into<String>, error: &tokio_postgres::Error) -> Self {
        let doing = doing.into();
        let Some(db) = error.as_db_error() else {
            return Self::ConnectionLost { party, doing, detail: causes(error) };
        };
        let detail = match db.where_().filter(|_| db.code() == &SqlState::BAD_COPY_FILE_FORMAT) {
            Some(place) => format!("{} ({place})", db.message()),
            None => db.message().to_owned(),
        };
        match db.code() {
            c if c == &SqlState::LOCK_NOT_AVAILABLE => Self::LockTimeout { party, doing, detail },
            c if c == &SqlState::DISK_FULL => Self::ServerFull { party, doing, detail },
            c if c == &SqlState::INSUFFICIENT_PRIVILEGE => Self::Permission { party, doing, detail },
            c if c == &SqlState::READ_ONLY_SQL_TRANSACTION => Self::Permission { party, doing, detail },
            c if is_credential(c) => Self::Credential { party, detail },
            c if c.code().starts_with("57P") || c.code().starts_with("08") => {
                Self::ConnectionLost { party, doing, detail }
            }
            c if c.code().starts_with("53") => Self::Unreachable { party, detail },
            c => Self::Refused { party, doing, code: c.code().to_owned(), detail },
        }
    }

    /// What the last words of `pg_dump` mean, which worked in `folder`. They are English: programs run with `LC_ALL=C`.
    pub(crate) fn program(program: &'static str, party: Party, folder: &Path, said: String) -> Self {
        let has = |text: &str| said.contains(text);
        let doing = program.to_owned();
        if has("password authentication failed") || has("no password supplied") {
            return Self::Credential { party, detail: said };
        }
        if has("lock timeout") {
            return Self::LockTimeout { party, doing, detail: said };
        }
        if has("No space left on device") || has("Disk quota exceeded") {
            // What the server says carries its severity, in capitals; a program calls its own failures `error`.
            return if has("ERROR:") || has("FATAL:") || has("PANIC:") {
                Self::ServerFull { party, doing, detail: said }
            } else {
                Self::Full { path: folder.to_owned() }
            };
        }
        if has("permission denied") || has("row-level security") {
            return Self::Permission { party, doing, detail: said };
        }
        if has("terminating connection") || has("closed the connection unexpectedly") {
            return Self::ConnectionLost { party, doing, detail: said };
        }
        if has("SSL") || has("certificate") {
            return Self::Tls { party, detail: said };
        }
        if has("connection to server") {
            return Self::Unreachable { party, detail: said };
        }
        Self::ProgramFailed { program, detail: said }
    }
}

pub(crate) fn is_credential(code: &SqlState) -> bool {
    code == &SqlState::INVALID_PASSWORD || code == &SqlState::INVALID_AUTHORIZATION_SPECIFICATION
}

/// An error with its causes, since most say the essential thing last.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}

impl From<DatabaseError> for PortError {
    fn from(error: DatabaseError) -> Self {
        use DatabaseError as E;
        let detail = error.to_string();
        let service = match &error {
            E::Bucket { .. } | E::Corrupt { .. } | E::NoBackup { .. } => Service::ObjectStore,
            E::Full { .. } | E::File { .. } => Service::Artifacts,
            _ => Service::Database,
        };
        let (call, stop) = match &error {
            E::Credential { .. } => ("connect".to_owned(), Some(StopReason::Credential)),
            E::Permission { doing, .. } => (doing.clone(), Some(StopReason::Permission)),
            E::Bucket { doing, kind: BucketFailure::Credential, .. } => {
                (doing.clone(), Some(StopReason::Credential))
            }
            E::Bucket { doing, kind: BucketFailure::Permission, .. } => {
                (doing.clone(), Some(StopReason::Permission))
            }
            E::NotStaging { .. } => ("compare source and target".to_owned(), Some(StopReason::Policy)),
            E::LockTimeout { doing, .. }
            | E::ServerFull { doing, .. }
            | E::ConnectionLost { doing, .. }
            | E::Refused { doing, .. }
            | E::Bucket { doing, .. } => (doing.clone(), None),
            E::Url { .. } | E::Unreachable { .. } | E::Tls { .. } => ("connect".to_owned(), None),
            E::SwapUnknown { .. } => ("swap the restored schema in".to_owned(), None),
            E::HoldsUpOthers { .. } | E::EmptyDump { .. } | E::DumpIncomplete { .. } => {
                ("back up".to_owned(), None)
            }
            E::Program { program, .. } | E::ProgramFailed { program, .. } => ((*program).to_owned(), None),
            E::Busy | E::TargetLacks { .. } | E::MayReachOut { .. } | E::MaskingCannotHold { .. } => {
                ("restore".to_owned(), None)
            }
            E::Corrupt { file, .. } => (format!("read {file}"), None),
            E::NoBackup { id } => {
                return Self::NotFound { service, what: format!("whole backup `{id}`") };
            }
            E::Full { path } | E::File { path, .. } => (format!("use {}", path.display()), None),
        };
        match error {
            _ if stop.is_some() => {
                let reason = stop.unwrap_or(StopReason::Policy);
                Self::Stopped { service, call, reason, detail }
            }
            E::Corrupt { .. } | E::DumpIncomplete { .. } => Self::Damaged { service, call, detail },
            E::SwapUnknown { .. } => Self::OutcomeUnknown { service, call, detail },
            E::Unreachable { .. }
            | E::LockTimeout { .. }
            | E::ConnectionLost { .. }
            | E::HoldsUpOthers { .. }
            | E::Busy
            | E::Bucket { kind: BucketFailure::Unavailable, .. } => {
                Self::Unavailable { service, call, detail }
            }
            E::Refused { code, .. } => Self::Rejected { service, call, code: Some(code), detail },
            _ => Self::Rejected { service, call, code: None, detail },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d8b_whose_disk_is_full_is_told_apart() {
        let local = [
            "pg_dump: error: could not write to file \"/w/files/3412.dat.gz\": No space left on device",
            "pg_dump: error: could not close data file \"/w/files/3412.dat.gz\": No space left on device",
            "pg_dump: error: could not write to output file: No space left on device",
            "pg_dump: error: could not write to file \"/w/files/toc.dat\": Disk quota exceeded",
        ];
        for said in local {
            let told =
                DatabaseError::program("pg_dump", Party::Source, Path::new("/w/files"), said.to_owned());
            assert_eq!(told, DatabaseError::Full { path: "/w/files".into() }, "{said}");
            let told = PortError::from(told);
            assert_eq!(told.service(), Service::Artifacts);
            let told = told.to_string();
            assert!(!told.contains("source database") && told.contains("/w/files"), "{told}");
            assert!(told.contains("this machine") && told.contains("then resume"), "{told}");
        }
        let servers = [
            "pg_dump: error: query failed: ERROR:  could not write to file \"base/pgsql_tmp/pgsql_tmp1.0\": No space left on device",
            "pg_dump: detail: Error message from server: ERROR:  could not extend file \"base/1/2\": No space left on device",
            "pg_dump: error: connection failed: FATAL:  could not write lock file: No space left on device",
        ];
        for said in servers {
            let told =
                DatabaseError::program("pg_dump", Party::Source, Path::new("/w/files"), said.to_owned());
            assert!(matches!(told, DatabaseError::ServerFull { party: Party::Source, .. }), "{told}");
        }
        for code in [28, 122] {
            let error = std::io::Error::from_raw_os_error(code);
            let told = DatabaseError::file("/w/files", &error);
            assert_eq!(told, DatabaseError::Full { path: "/w/files".into() }, "{error}");
        }
    }
}
