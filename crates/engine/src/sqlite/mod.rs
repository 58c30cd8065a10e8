//! The embedded store: all runs of a project in one SQLite file.
//!
//! WAL with `synchronous=FULL`, so an entry is on the disk when [`record`](crate::Seam::record) returns. Appends of many
//! runs share a commit (see `commit`). A run is owned through an OS file lock, which the kernel frees on kill -9, so a
//! resume waits for nothing and two can never run together; what a run acts on is claimed in the store.
//!
//! Never put this file on the database that a runbook repairs.

mod answers;
mod audit;
mod chain;
mod claims;
mod commit;
mod look;
mod place;
mod ruling;
mod seal;
mod seam;
mod signals;
mod stop;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use allclear_core::Clock;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use answers::{HandedIn, NotTaken};
pub use audit::{Audit, AuditedRun};
pub use look::{Difference, RunSummary};
pub use ruling::{Closed, NotClosed};
pub use seal::Tail;
pub use seam::SqliteSeam;

use crate::journal::{Damage, Entry, Link, WholeJournal};
use crate::outcome::Outcome;
use crate::seam::SeamError;
use chain::Chain;
use claims::runbook_claim;
use commit::Committer;
use look::{Looked, Row};
use place::Place;
use seal::{Begun, Seal};

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
CREATE TABLE IF NOT EXISTS claim (resource TEXT PRIMARY KEY, run INTEGER NOT NULL, digest TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS signal (
    number INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    gate TEXT NOT NULL,
    body TEXT NOT NULL,
    digest TEXT
);
CREATE TABLE IF NOT EXISTS stop (
    number INTEGER PRIMARY KEY,
    by TEXT NOT NULL,
    at TEXT NOT NULL,
    reason TEXT,
    lifted_by TEXT,
    lifted_at TEXT
);
CREATE TABLE IF NOT EXISTS ruling (number INTEGER PRIMARY KEY, body TEXT NOT NULL, hash TEXT NOT NULL);
";

/// A run to begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRun {
    /// Its id; short, and unique in the store.
    pub id: String,
    /// Which runbook.
    pub runbook: String,
    /// Which environment.
    pub environment: String,
    /// Which platform that is, whatever it is called: one run of a runbook at a time on each.
    pub platform: String,
    /// Who starts it.
    pub operator: String,
    /// The procedure's input.
    pub input: Value,
    /// What an adapter needs to take it up again; no secrets.
    pub context: Value,
}

/// A run that cannot be found by the name given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// There are no runs at all.
    #[error(
        "there are no runs yet in this state folder (--state-dir names another); start one with `allclear run` or `allclear drill`"
    )]
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
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|error| opening_at(&folder, &error))?;
        make_if_missing(path).map_err(|error| opening_at(path, &error))?;
        let connection = Connection::open(path).map_err(|error| sql("opening the store", path, &error))?;
        prepare_in_turn(&connection).map_err(|error| sql("opening the store", path, &error))?;
        let reader = Connection::open(path).map_err(|error| sql("opening the store", path, &error))?;
        reader.busy_timeout(PATIENCE).map_err(|error| sql("opening the store", path, &error))?;
        let place = Place::of(path)?;
        Ok(Self { folder, committer: Arc::new(Committer::new(connection, reader, place)) })
    }

    /// The folder that the store is in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Begins a run: takes its lock, makes its seal, and claims its runbook on its platform. Refused while everything is
    /// stopped, and while a run that had not ended is lost or cut short on the same platform: what that one did and holds
    /// is not known any more.
    pub fn begin(&self, new: &NewRun, clock: Arc<dyn Clock>) -> Result<SqliteSeam, SeamError> {
        self.check_not_stopped()?;
        self.check_nothing_lost(&new.platform)?;
        let lock = self.lock(&new.id)?;
        let begun = Begun { new: new.clone(), began_at: clock.now() };
        self.check_unused(&new.id)?;
        let seal = Seal::create(&self.folder, &begun, &Tail::none())
            .map_err(|error| sealing(&error).about(&new.id))?;
        match self.insert(&begun) {
            Ok(number) => {
                let held = Held { number, lock, seal, begun };
                Ok(SqliteSeam::new(Arc::clone(&self.committer), new.id.clone(), held, Chain::empty(), clock))
            }
            Err(error) => {
                // A run that could not begin leaves no trace.
                std::fs::remove_file(seal::path_of(&self.folder, &new.id))
                    .map_err(|error| sealing(&error))?;
                Err(error)
            }
        }
    }

    /// Writes a new run's row and claims its runbook, both or neither. Returns its number.
    fn insert(&self, begun: &Begun) -> Result<i64, SeamError> {
        let Begun { new, began_at } = begun;
        let resource = runbook_claim(&new.platform, &new.runbook);
        let inserted = self.committer.with("beginning a run", |connection| {
            let transaction =
                rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
            transaction.execute(
                "INSERT INTO run (id, runbook, environment, operator, input, context, began_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
                params![
                    new.id,
                    new.runbook,
                    new.environment,
                    new.operator,
                    new.input.to_string(),
                    new.context.to_string(),
                    began_at.to_string()
                ],
            )?;
            let number = transaction.last_insert_rowid();
            if let Some(holder) = claims::claim(&transaction, number, &resource)? {
                return Ok(Err(holder));
            }
            transaction.commit()?;
            Ok(Ok(number))
        });
        inserted
            .map_err(|error| error.about(&new.id))?
            .map_err(|holder| holder.refuses(&resource, &new.environment))
    }

    /// An id belongs to one run for ever, also to one that the store has lost.
    fn check_unused(&self, run: &str) -> Result<(), SeamError> {
        match self.look(run) {
            Err(SeamError::Missing { .. }) => Ok(()),
            Ok(looked) => {
                looked.whole()?;
                let detail = "there is a run of that id already".to_owned();
                Err(SeamError::Store { doing: "beginning a run", detail }.about(run))
            }
            Err(error) => Err(error),
        }
    }

    /// Refuses when a run on `platform` that had not ended is behind its seal or gone.
    fn check_nothing_lost(&self, platform: &str) -> Result<(), SeamError> {
        for run in seal::sealed_runs(&self.folder).map_err(|error| opening(&error))? {
            let sealed = match seal::look(&self.folder, &run).map_err(|error| sealing(&error).about(&run))? {
                seal::Look::Says(sealed) => sealed,
                seal::Look::None => continue,
                // Nobody can tell whose it is; its run is looked at when it is taken up, unless it has none.
                seal::Look::Broken(_) => {
                    let known =
                        self.committer.read("reading a row", |connection| Row::of(connection, &run))?;
                    if known.is_none() && self.closing_of(&run)?.is_none() {
                        return Err(SeamError::Damaged { run, damage: Damage::Missing { sealed: 0 } });
                    }
                    continue;
                }
            };
            let tail = &sealed.tail;
            if tail.ended || tail.entries == 0 || sealed.begun.new.platform != platform {
                continue;
            }
            let found = self.committer.read("reading a row", |connection| Row::of(connection, &run))?;
            let damage = match found.map(|row| row.entries()) {
                Some(entries) if entries >= tail.entries => continue,
                Some(found) => Damage::Cut { sealed: tail.entries, found },
                None => Damage::Missing { sealed: tail.entries },
            };
            if self.closing_of(&run)?.is_none() {
                return Err(SeamError::Damaged { run, damage });
            }
        }
        Ok(())
    }

    /// Takes a run up again: takes its lock, reads its journal and checks it, against its seal too. Everything that a resume
    /// rests on comes from there; a row that says otherwise is refused. While everything is stopped, only a run that was
    /// asked to end is taken up: it does that and nothing else.
    pub fn take_up(&self, run: &str, clock: Arc<dyn Clock>) -> Result<SqliteSeam, SeamError> {
        if !self.is_to_end(run)? {
            self.check_not_stopped()?;
        }
        let lock = self.lock(run)?;
        let looked = self.look(run)?;
        looked.whole()?;
        if let Some(closed) = &looked.summary.closed {
            let how = format!("{} ended it as damaged: {}", closed.by, closed.reason);
            return Err(SeamError::Ended { run: run.to_owned(), how });
        }
        looked.same()?;
        self.check_sent(&looked)?;
        let lost = || SeamError::Missing { run: run.to_owned() };
        let begun = look::begun_by_journal(&looked).ok_or_else(lost)?;
        let seal = self.seal_again(&looked, &begun)?;
        let Looked { row: Some(row), chain, summary, .. } = looked else {
            return Err(lost());
        };
        let resource = runbook_claim(&begun.new.platform, &summary.runbook);
        let claimed = self.committer.with("taking a run up", |connection| {
            let transaction =
                rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
            write_caches(&transaction, row.number, &chain)?;
            // A claim that was lost is taken again before anything is done, or another run has it by now.
            let holder = if chain.outcome().is_none() {
                claims::claim(&transaction, row.number, &resource)?
            } else {
                None
            };
            if holder.is_none() {
                transaction.commit()?;
            }
            Ok(holder)
        });
        if let Some(holder) = claimed.map_err(|error| error.about(run))? {
            return Err(holder.refuses(&resource, &begun.new.environment));
        }
        let held = Held { number: row.number, lock, seal, begun };
        Ok(SqliteSeam::new(Arc::clone(&self.committer), run.to_owned(), held, chain, clock))
    }

    /// The seal of a run that is taken up, brought to where its journal ends.
    fn seal_again(&self, looked: &Looked, begun: &Begun) -> Result<Seal, SeamError> {
        let tail = looked.chain.tail();
        let run = &looked.summary.id;
        let sealed = match &looked.seal {
            seal::Look::Says(_) => {
                Seal::open(&self.folder, run).and_then(|seal| seal.write(&tail).map(|()| seal))
            }
            // An older version wrote it; from here on its end is sealed.
            seal::Look::None | seal::Look::Broken(_) => Seal::create(&self.folder, begun, &tail),
        };
        sealed.map_err(|error| sealing(&error).about(run))
    }

    /// A run's journal, checked.
    pub fn entries(&self, run: &str) -> Result<Vec<Entry>, SeamError> {
        let looked = self.look(run)?;
        looked.whole()?;
        Ok(looked.chain.entries)
    }

    /// The same, to undo the run by.
    pub fn journal(&self, run: &str) -> Result<WholeJournal, SeamError> {
        let looked = self.look(run)?;
        looked.whole()?;
        let tail = looked.chain.tail().hash;
        Ok(WholeJournal { run: looked.summary.id, entries: looked.chain.entries, tail })
    }

    /// A run's journal as far as it is whole, and what is wrong after that.
    pub fn whole_entries(&self, run: &str) -> Result<(Vec<Entry>, Option<Damage>), SeamError> {
        let looked = self.look(run)?;
        Ok((looked.chain.entries, looked.summary.damage))
    }

    /// Where a run's journal ends: what a record of it elsewhere can be compared with.
    pub fn tail(&self, run: &str) -> Result<Tail, SeamError> {
        let looked = self.look(run)?;
        looked.whole()?;
        Ok(looked.chain.tail())
    }

    /// A run's journal as it is stored, unchecked.
    pub fn links(&self, run: &str) -> Result<Vec<Link>, SeamError> {
        let links = self.committer.read("reading a journal", |connection| {
            Row::of(connection, run)?.map(|row| chain::links(connection, row.last())).transpose()
        });
        links.map_err(|error| error.about(run))?.ok_or_else(|| SeamError::Missing { run: run.to_owned() })
    }

    /// All runs, newest first, by their journals; then those of which only the seal is left. One that is damaged is listed as
    /// that and hides none.
    pub fn runs(&self) -> Result<Vec<RunSummary>, SeamError> {
        Ok(self.look_at_all()?.into_iter().map(|looked| looked.summary).collect())
    }

    fn look_at_all(&self) -> Result<Vec<Looked>, SeamError> {
        let numbers: Vec<i64> = self.committer.read("listing runs", |connection| {
            let mut statement =
                connection.prepare_cached("SELECT number FROM run NOT INDEXED ORDER BY number DESC")?;
            statement.query_map([], |row| row.get(0))?.collect()
        })?;
        let mut all =
            numbers.into_iter().map(|number| self.look_at_number(number)).collect::<Result<Vec<_>, _>>()?;
        let known: Vec<String> = all.iter().map(|looked| looked.summary.id.clone()).collect();
        all.extend(self.lost_runs(&known)?);
        Ok(all)
    }

    /// Finds a run by its id, the beginning of its id, or `@last`.
    pub fn find(&self, name: &str) -> Result<RunSummary, FindError> {
        let ids = self.ids()?;
        if name == "@last" {
            let last = ids.first().ok_or(FindError::NoRuns)?;
            return Ok(self.look(last)?.summary);
        }
        if ids.iter().any(|id| id == name) {
            return Ok(self.look(name)?.summary);
        }
        let candidates: Vec<&String> = ids.iter().filter(|id| id.starts_with(name)).collect();
        match candidates[..] {
            [one] => Ok(self.look(one)?.summary),
            [] if ids.is_empty() => Err(FindError::NoRuns),
            [] => Err(FindError::Unknown { name: name.to_owned() }),
            _ => {
                let ids: Vec<&str> = candidates.into_iter().map(String::as_str).collect();
                Err(FindError::Ambiguous { name: name.to_owned(), candidates: ids.join(", ") })
            }
        }
    }

    /// The ids of all runs, newest first, then of those of which only the seal is left.
    fn ids(&self) -> Result<Vec<String>, SeamError> {
        let mut ids: Vec<String> = self.committer.read("listing runs", |connection| {
            let mut statement =
                connection.prepare_cached("SELECT number FROM run NOT INDEXED ORDER BY number DESC")?;
            let numbers =
                statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
            let id = |number| Row::numbered(connection, number).map(|row| row.map(|row| row.id()));
            numbers.into_iter().filter_map(|number| id(number).transpose()).collect()
        })?;
        let lost = self.lost_runs(&ids)?;
        ids.extend(lost.into_iter().map(|looked| looked.summary.id));
        Ok(ids)
    }

    /// Takes a run's lock. Whoever lists runs has it for a moment, so it is asked for more than once.
    fn lock(&self, run: &str) -> Result<RunLock, SeamError> {
        for _ in 0..LOCK_TRIES {
            match self.try_lock(run) {
                Err(SeamError::Locked { .. }) => std::thread::sleep(LOCK_EVERY),
                other => return other,
            }
        }
        self.try_lock(run)
    }

    fn try_lock(&self, run: &str) -> Result<RunLock, SeamError> {
        let folder = self.folder.join("locks");
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|error| opening_at(&folder, &error))?;
        let path = folder.join(format!("{run}.lock"));
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = file.map_err(|error| opening_at(&path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(RunLock { path, file }),
            Err(TryLockError::WouldBlock) => Err(SeamError::Locked { run: run.to_owned() }),
            Err(TryLockError::Error(error)) => Err(opening_at(&path, &error)),
        }
    }
}

/// How often a lock is asked for before another process is said to have the run, and how long apart.
const LOCK_TRIES: u32 = 5;
const LOCK_EVERY: Duration = Duration::from_millis(4);

/// A run's lock; dropping it frees it.
#[derive(Debug)]
struct RunLock {
    path: PathBuf,
    file: File,
}

/// What a process has of a run while it has it.
#[derive(Debug)]
struct Held {
    /// The run's number in the store.
    number: i64,
    lock: RunLock,
    seal: Seal,
    begun: Begun,
}

/// Writes what a row repeats of its journal, where it says otherwise: a commit that changes nothing needs no sync, and whoever
/// takes a run up is waited for.
fn write_caches(connection: &Connection, run: i64, chain: &Chain) -> rusqlite::Result<usize> {
    let outcome = chain.outcome().map(outcome_text);
    connection.execute(
        "UPDATE run SET last = ?1, entries = ?2, outcome = ?3
         WHERE number = ?4 AND (last, entries, outcome) IS NOT (?1, ?2, ?3)",
        params![chain.last_id, chain.tail().entries.cast_signed(), outcome, run],
    )
}

/// An outcome as rows have it.
fn outcome_text(outcome: Outcome) -> String {
    match serde_json::to_value(outcome) {
        Ok(Value::String(text)) => text,
        other => unreachable!("an outcome is a word, and not {other:?}"),
    }
}

/// Makes the file where there is none, for its owner only. One that is there is not opened: a process that closes a
/// database file loses the locks that its connections have on it, and the next one to leave would remove the log under them.
fn make_if_missing(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Of several processes that make a new store at once, each must have it alone for a moment, and SQLite lets nobody wait for
/// that: it tells one of them at once that the store is busy.
fn prepare_in_turn(connection: &Connection) -> rusqlite::Result<()> {
    let began = Instant::now();
    loop {
        match prepare(connection) {
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                    && began.elapsed() < PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            done => return done,
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
    // What came last: a store of an older version gets what it lacks.
    let late: i64 = connection.query_row(
        "SELECT count(*) FROM sqlite_schema
         WHERE name IN ('stop', 'ruling') OR (name IN ('claim', 'signal') AND sql LIKE '%digest%')",
        [],
        |row| row.get(0),
    )?;
    if late == 4 { Ok(()) } else { bring_up(connection) }
}

/// Makes the tables that are missing. What an older version left beside its journals is bound as it is found: from here on
/// a change to it is noticed.
fn bring_up(connection: &Connection) -> rusqlite::Result<()> {
    let transaction =
        rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    for table in ["claim", "signal"] {
        let bound: bool = transaction.query_row(
            "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?) WHERE name = 'digest')",
            [table],
            |row| row.get(0),
        )?;
        if !bound {
            transaction.execute(&format!("ALTER TABLE {table} ADD COLUMN digest TEXT"), [])?;
        }
    }
    claims::bind_all(&transaction)?;
    signals::bind_all(&transaction)?;
    transaction.commit()
}

fn opening(error: &impl std::fmt::Display) -> SeamError {
    SeamError::Store { doing: "opening the store", detail: error.to_string() }
}

fn opening_at(path: &Path, error: &std::io::Error) -> SeamError {
    opening(&format!("{}: {error}", path.display()))
}

fn sealing(error: &impl std::fmt::Display) -> SeamError {
    SeamError::Store { doing: "sealing a journal", detail: error.to_string() }
}

fn sql(doing: &'static str, database: &Path, error: &rusqlite::Error) -> SeamError {
    SeamError::Store { doing, detail: format!("{}: {error}", database.display()) }
}
