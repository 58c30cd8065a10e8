//! The embedded store: all runs of a project in one SQLite file.
//!
//! WAL with `synchronous=FULL`, so an entry is on the disk when [`record`](crate::Seam::record) returns. Appends of many
//! runs share a commit (see `commit`). A run is owned through an OS file lock, which the kernel frees on kill -9, so a
//! resume waits for nothing and two can never run together; what a run acts on is claimed in the store.
//!
//! Never put this file on the database that a runbook repairs.

mod answers;
mod commit;
mod seam;
mod stop;

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use allclear_core::Clock;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::Value;

pub use answers::NotTaken;
pub use seam::SqliteSeam;

use crate::gate::{Answer, Standing};
use crate::journal::{Entry, Link, read_chain};
use crate::outcome::Outcome;
use crate::seam::SeamError;
use commit::Committer;

/// SQLite before 3.51.3 can corrupt a database when the WAL is reset.
const OLDEST_SAFE_SQLITE: i32 = 3_051_003;

/// How long a process waits for another one's commit.
const PATIENCE: Duration = Duration::from_secs(10);

/// Entries of all runs are appended in one place and chained backwards, each to the one before it in its run. An index by
/// run would dirty a page for every run in every shared commit, and that is what limits how many can share one.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS run (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    runbook TEXT NOT NULL,
    environment TEXT NOT NULL,
    operator TEXT NOT NULL,
    input TEXT NOT NULL,
    context TEXT NOT NULL,
    began_at TEXT NOT NULL,
    outcome TEXT,
    incarnations INTEGER NOT NULL DEFAULT 0,
    last INTEGER NOT NULL DEFAULT 0,
    entries INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    body TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS claim (resource TEXT PRIMARY KEY, run INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS signal (
    number INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    gate TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS stop (
    number INTEGER PRIMARY KEY,
    by TEXT NOT NULL,
    at TEXT NOT NULL,
    reason TEXT,
    lifted_by TEXT,
    lifted_at TEXT
);
";

const SEND: &str = "INSERT INTO signal (run, gate, body) SELECT number, ?, ? FROM run WHERE id = ?";

/// A run to begin.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Its id; short, and unique in the store.
    pub id: String,
    /// Which runbook.
    pub runbook: String,
    /// Which environment.
    pub environment: String,
    /// Who starts it.
    pub operator: String,
    /// The procedure's input.
    pub input: Value,
    /// What an adapter needs to take it up again; no secrets.
    pub context: Value,
}

/// What the store knows of a run without reading its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// Its id.
    pub id: String,
    /// Which runbook.
    pub runbook: String,
    /// Which environment.
    pub environment: String,
    /// Who started it.
    pub operator: String,
    /// The procedure's input.
    pub input: Value,
    /// What an adapter needs to take it up again.
    pub context: Value,
    /// When it began, by the run's clock.
    pub began_at: Timestamp,
    /// How it ended; `None` while it can be resumed.
    pub outcome: Option<Outcome>,
    /// How many entries its journal has.
    pub entries: u64,
    /// Whether a process has it right now.
    pub held: bool,
}

/// A run that cannot be found by the name given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// There are no runs at all.
    #[error("there are no runs yet; start one with `allclear run` or `allclear drill`")]
    NoRuns,
    /// None is called so.
    #[error("there is no run `{name}`; `allclear status` lists them, and @last is the latest")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// Several begin so.
    #[error("`{name}` could be {candidates}; give more of the id")]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// The runs that begin so.
        candidates: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] SeamError),
}

/// The store. Clones share one connection and one committer.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    committer: Arc<Committer>,
}

impl Store {
    /// Opens the store at `path`, creating it (0600, in a 0700 folder) where there is none.
    pub fn open(path: &Path) -> Result<Self, SeamError> {
        let version = rusqlite::version_number();
        if version < OLDEST_SAFE_SQLITE {
            let detail = format!("SQLite {version} can corrupt its log; build with 3.51.3 or later");
            return Err(SeamError::Store { doing: "starting", detail });
        }
        let folder = path.parent().unwrap_or(Path::new(".")).to_path_buf();
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(opening)?;
        OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(opening)?;
        let connection = Connection::open(path).map_err(|error| sql("opening the store", &error))?;
        prepare(&connection).map_err(|error| sql("opening the store", &error))?;
        let reader = Connection::open(path).map_err(|error| sql("opening the store", &error))?;
        reader.busy_timeout(PATIENCE).map_err(|error| sql("opening the store", &error))?;
        Ok(Self { folder, committer: Arc::new(Committer::new(connection, reader)) })
    }

    /// Begins a run: takes its lock and claims its runbook in its environment. Refused while everything is stopped.
    pub fn begin(&self, new: &NewRun, clock: Arc<dyn Clock>) -> Result<SqliteSeam, SeamError> {
        self.check_not_stopped()?;
        let lock = self.lock(&new.id)?;
        let began_at = clock.now().to_string();
        let number = self.committer.with("beginning a run", |connection| {
            connection.execute(
                "INSERT INTO run (id, runbook, environment, operator, input, context, began_at, incarnations)
                 VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
                params![
                    new.id,
                    new.runbook,
                    new.environment,
                    new.operator,
                    new.input.to_string(),
                    new.context.to_string(),
                    began_at
                ],
            )?;
            Ok(connection.last_insert_rowid())
        })?;
        let seam = SqliteSeam::new(Arc::clone(&self.committer), number, lock, Vec::new(), clock, 0);
        if let Err(held) = seam.claim_now(&format!("{}/runbook {}", new.environment, new.runbook)) {
            // A run that could not begin leaves no trace.
            self.committer
                .with("forgetting a run", |c| c.execute("DELETE FROM run WHERE number = ?", [number]))?;
            return Err(held);
        }
        Ok(seam)
    }

    /// Takes a run up again: takes its lock, reads and checks its journal. While everything is stopped, only a run that
    /// was asked to end: it does that and nothing else.
    pub fn take_up(&self, run: &str, clock: Arc<dyn Clock>) -> Result<SqliteSeam, SeamError> {
        if !self.is_to_end(run)? {
            self.check_not_stopped()?;
        }
        let lock = self.lock(run)?;
        let entries = self.entries(run)?;
        let (number, incarnation) = self.committer.with("taking a run up", |connection| {
            connection.query_row(
                "UPDATE run SET incarnations = incarnations + 1 WHERE id = ? RETURNING number, incarnations",
                [run],
                |row| Ok((row.get(0)?, row.get::<_, u32>(1)? - 1)),
            )
        })?;
        Ok(SqliteSeam::new(Arc::clone(&self.committer), number, lock, entries, clock, incarnation))
    }

    /// A run's journal, checked.
    pub fn entries(&self, run: &str) -> Result<Vec<Entry>, SeamError> {
        Ok(read_chain(&self.links(run)?)?)
    }

    /// A run's journal as it is stored, unchecked.
    pub fn links(&self, run: &str) -> Result<Vec<Link>, SeamError> {
        self.committer.read("reading a journal", |connection| answers::links(connection, run))
    }

    /// All runs, newest first.
    pub fn runs(&self) -> Result<Vec<RunSummary>, SeamError> {
        let mut runs = self.committer.read("listing runs", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, runbook, environment, operator, input, context, began_at, outcome, entries
                 FROM run ORDER BY number DESC",
            )?;
            let rows = statement.query_map([], |row| {
                let began_at: String = row.get(6)?;
                let outcome: Option<String> = row.get(7)?;
                Ok(RunSummary {
                    id: row.get(0)?,
                    runbook: row.get(1)?,
                    environment: row.get(2)?,
                    operator: row.get(3)?,
                    input: json(&row.get::<_, String>(4)?),
                    context: json(&row.get::<_, String>(5)?),
                    began_at: began_at.parse().unwrap_or(Timestamp::UNIX_EPOCH),
                    outcome: outcome.and_then(|text| serde_json::from_value(Value::String(text)).ok()),
                    entries: row.get::<_, i64>(8)?.unsigned_abs(),
                    held: false,
                })
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        for run in &mut runs {
            run.held = run.outcome.is_none() && matches!(self.lock(&run.id), Err(SeamError::Locked { .. }));
        }
        Ok(runs)
    }

    /// Finds a run by its id, the beginning of its id, or `@last`.
    pub fn find(&self, name: &str) -> Result<RunSummary, FindError> {
        let runs = self.runs()?;
        if runs.is_empty() {
            return Err(FindError::NoRuns);
        }
        if name == "@last" {
            return runs.into_iter().next().ok_or(FindError::NoRuns);
        }
        if let Some(exact) = runs.iter().find(|run| run.id == name) {
            return Ok(exact.clone());
        }
        let mut candidates: Vec<RunSummary> =
            runs.into_iter().filter(|run| run.id.starts_with(name)).collect();
        match candidates.len() {
            1 => Ok(candidates.remove(0)),
            0 => Err(FindError::Unknown { name: name.to_owned() }),
            _ => {
                let ids: Vec<String> = candidates.into_iter().map(|run| run.id).collect();
                Err(FindError::Ambiguous { name: name.to_owned(), candidates: ids.join(", ") })
            }
        }
    }

    /// Puts an answer where the run finds it, if the gate is open and the answer counts as far as the store can tell:
    /// checked against the journal in the same transaction, so of two people who answer at once one hears that it was
    /// too late. `now` is the run's time. What was typed to confirm it is checked by the run.
    pub fn answer(&self, run: &str, answer: &Answer, now: Timestamp) -> Result<(), NotTaken> {
        let body = serde_json::to_string(answer).expect("an answer is plain data");
        self.committer.with("handing an answer in", |connection| {
            let transaction =
                rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
            let links = answers::links(&transaction, run)?;
            let waiting = answers::waiting(&transaction, run)?;
            let gate = match answers::judge(&links, &waiting, answer, now) {
                Ok(gate) => gate,
                Err(why) => return Ok(Err(why)),
            };
            transaction.execute(SEND, params![gate, body, run])?;
            transaction.commit()?;
            Ok(Ok(()))
        })?
    }

    /// What a run waits for people with, hand-overs that it has not recorded yet included.
    pub fn standing(&self, run: &str) -> Result<Option<Standing>, SeamError> {
        let (links, waiting) = self.committer.read("looking at a gate", |connection| {
            Ok((answers::links(connection, run)?, answers::waiting(connection, run)?))
        })?;
        Ok(answers::standing(&read_chain(&links)?, &waiting))
    }

    /// Asks a run to end after the current effect is settled.
    pub fn abort(&self, run: &str, by: &str) -> Result<(), SeamError> {
        self.send(run, "~abort", by)
    }

    /// Hands a run over. It is recorded at the run's next safe point, or when it is taken up again.
    pub fn hand_over(&self, run: &str, from: &str, to: &str) -> Result<(), SeamError> {
        self.send(run, "~hand-over", &format!("{from}\n{to}"))
    }

    fn send(&self, run: &str, gate: &str, body: &str) -> Result<(), SeamError> {
        self.committer
            .with("sending a signal", |connection| connection.execute(SEND, params![gate, body, run]))?;
        Ok(())
    }

    fn lock(&self, run: &str) -> Result<File, SeamError> {
        let folder = self.folder.join("locks");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(opening)?;
        let path = folder.join(format!("{run}.lock"));
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(opening)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(SeamError::Locked { run: run.to_owned() }),
            Err(TryLockError::Error(error)) => Err(opening(error)),
        }
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    // A checkpoint syncs the database file too; seldom is often enough for a journal that only grows.
    connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    // Before the first table: many runs at a time dirty a page each, and a commit writes whole pages. Entries are small.
    connection.pragma_update(None, "page_size", 1_024)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // The table that came last: a store of an older version gets what it lacks.
    let ready = connection
        .query_row("SELECT 1 FROM sqlite_schema WHERE name = 'stop'", [], |_| Ok(()))
        .optional()?
        .is_some();
    if !ready {
        connection.execute_batch(SCHEMA)?;
    }
    Ok(())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

fn opening(error: impl std::fmt::Display) -> SeamError {
    SeamError::Store { doing: "opening the store", detail: error.to_string() }
}

fn sql(doing: &'static str, error: &rusqlite::Error) -> SeamError {
    SeamError::Store { doing, detail: error.to_string() }
}
