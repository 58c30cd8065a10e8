//! Group commit: appends that come together share one commit, and so one sync of the disk.
//!
//! There is no writer thread. Whoever finds the connection free becomes the leader and commits everything that is
//! queued, its own entry included; the others wait for it. At concurrency 1 that is a plain inline commit without a
//! hop between threads (which would halve the rate); at 64 one commit carries what the other 63 queued meanwhile.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use super::place::Place;
use crate::journal::Link;
use crate::seam::SeamError;

/// An entry to commit.
#[derive(Debug)]
pub(super) struct Append {
    /// The run's number in the store.
    pub(super) run: i64,
    /// The entry's number.
    pub(super) seq: u64,
    /// Where the run's entry before it is; 0 for the first.
    pub(super) previous: i64,
    /// Its bytes and hash.
    pub(super) link: Link,
    /// The signal that the entry records; it is taken out in the same commit.
    pub(super) consumes: Option<i64>,
    /// The outcome, where the entry ends the run: its claims are released in the same commit.
    pub(super) ends: Option<String>,
}

struct Queued {
    append: Append,
    done: oneshot::Sender<Result<i64, SeamError>>,
}

/// Owns the connection.
pub(super) struct Committer {
    queue: Mutex<Vec<Queued>>,
    connection: Mutex<Connection>,
    /// Reads go here and disturb no commit: in WAL mode readers and the writer do not wait for each other.
    reader: Mutex<Connection>,
    /// After a failed commit nobody knows what is on the disk, so this store writes no more.
    broken: Mutex<Option<SeamError>>,
    /// What is written to a file that nobody else can find is written to nowhere.
    place: Place,
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer").finish_non_exhaustive()
    }
}

impl Committer {
    pub(super) fn new(connection: Connection, reader: Connection, place: Place) -> Self {
        Self {
            queue: Mutex::default(),
            connection: Mutex::new(connection),
            reader: Mutex::new(reader),
            broken: Mutex::new(None),
            place,
        }
    }

    /// Writes anything but appends.
    pub(super) fn with<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SeamError> {
        let result = self
            .place
            .check()
            .and_then(|()| work(&guard(&self.connection)).map_err(|error| self.failed(doing, &error)));
        // Appends that found the connection busy rely on whoever had it.
        self.lead();
        result
    }

    /// Reads.
    pub(super) fn read<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SeamError> {
        work(&guard(&self.reader)).map_err(|error| self.failed(doing, &error))
    }

    /// Refuses when the store's files are not the ones any more that others would find.
    pub(super) fn check_place(&self) -> Result<(), SeamError> {
        self.place.check()
    }

    fn failed(&self, doing: &'static str, error: &rusqlite::Error) -> SeamError {
        super::sql(doing, self.place.database(), error)
    }

    /// Appends, durably. Returns where the entry is.
    pub(super) async fn append(&self, append: Append) -> Result<i64, SeamError> {
        let (done, outcome) = oneshot::channel();
        guard(&self.queue).push(Queued { append, done });
        // Others that are ready to append get their turn to queue before anybody commits.
        tokio::task::yield_now().await;
        self.lead();
        outcome.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Commits what is queued, unless somebody else is at it. Whoever held the connection looks at the queue again
    /// after letting go, so an entry that was queued meanwhile is never left behind.
    fn lead(&self) {
        while !guard(&self.queue).is_empty() {
            match self.connection.try_lock() {
                Ok(connection) => self.commit_queued(&connection),
                Err(TryLockError::Poisoned(poisoned)) => self.commit_queued(&poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => return,
            }
        }
    }

    fn commit_queued(&self, connection: &Connection) {
        let batch = std::mem::take(&mut *guard(&self.queue));
        if batch.is_empty() {
            return;
        }
        let already_broken = guard(&self.broken).clone();
        let result = match already_broken {
            Some(error) => Err(error),
            None => self.place.check().and_then(|()| {
                commit(connection, &batch).map_err(|error| self.failed("appending to the journal", &error))
            }),
        };
        if let Err(error) = &result {
            *guard(&self.broken) = Some(error.clone());
        }
        for (place, queued) in batch.into_iter().enumerate() {
            // Whoever waited may be gone by now; the entry is durable all the same.
            let _ = queued.done.send(result.clone().map(|ids| ids[place]));
        }
    }
}

/// Returns where each entry is.
fn commit(connection: &Connection, batch: &[Queued]) -> rusqlite::Result<Vec<i64>> {
    let transaction =
        rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
    let mut ids = Vec::with_capacity(batch.len());
    {
        let mut insert = transaction
            .prepare_cached("INSERT INTO entry (run, seq, previous, body, hash) VALUES (?, ?, ?, ?, ?)")?;
        let mut extend =
            transaction.prepare_cached("UPDATE run SET last = ?, entries = ? WHERE number = ?")?;
        for Queued { append, .. } in batch {
            let seq = append.seq.cast_signed();
            insert.execute(params![append.run, seq, append.previous, append.link.body, append.link.hash])?;
            let id = transaction.last_insert_rowid();
            ids.push(id);
            extend.execute(params![id, seq, append.run])?;
            if let Some(signal) = append.consumes {
                transaction.execute("DELETE FROM signal WHERE number = ?", [signal])?;
            }
            if let Some(outcome) = &append.ends {
                transaction
                    .execute("UPDATE run SET outcome = ? WHERE number = ?", params![outcome, append.run])?;
                transaction.execute("DELETE FROM claim WHERE run = ?", [append.run])?;
            }
        }
    }
    transaction.commit()?;
    Ok(ids)
}

fn lost() -> SeamError {
    SeamError::Store { doing: "appending to the journal", detail: "the commit was dropped".to_owned() }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
