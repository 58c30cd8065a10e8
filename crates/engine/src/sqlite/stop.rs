//! The switch that stops everything: one for all runs of a store.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Store;
use super::seam::ABORT;
use crate::seam::{SeamError, Stop};

impl Store {
    /// Stops everything: every run lets go at its next safe point, and none begins or is taken up. Returns the stop that
    /// holds: an earlier one, if there is one.
    pub fn stop_all(&self, by: &str, reason: Option<&str>, now: Timestamp) -> Result<Stop, SeamError> {
        self.committer.with("stopping everything", |connection| {
            connection.execute(
                "INSERT INTO stop (by, at, reason)
                 SELECT ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM stop WHERE lifted_at IS NULL)",
                params![by, now.to_string(), reason],
            )?;
            stop_in_force(connection)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
        })
    }

    /// Lifts the stop. Returns the one that held.
    pub fn lift_stop(&self, by: &str, now: Timestamp) -> Result<Option<Stop>, SeamError> {
        self.committer.with("lifting the stop", |connection| {
            let stop = stop_in_force(connection)?;
            connection.execute(
                "UPDATE stop SET lifted_by = ?, lifted_at = ? WHERE lifted_at IS NULL",
                params![by, now.to_string()],
            )?;
            Ok(stop)
        })
    }

    /// The stop that holds.
    pub fn stopped(&self) -> Result<Option<Stop>, SeamError> {
        self.committer.read("looking at the stop switch", stop_in_force)
    }

    pub(super) fn check_not_stopped(&self) -> Result<(), SeamError> {
        self.stopped()?.map_or(Ok(()), |stop| Err(SeamError::Stopped(stop)))
    }

    /// Whether somebody asked the run to end.
    pub(super) fn is_to_end(&self, run: &str) -> Result<bool, SeamError> {
        self.committer.read("looking for signals", |connection| {
            connection.query_row(
                "SELECT EXISTS (SELECT 1 FROM signal JOIN run ON run.number = signal.run WHERE run.id = ? AND gate = ?)",
                params![run, ABORT],
                |row| row.get(0),
            )
        })
    }
}

fn stop_in_force(connection: &Connection) -> rusqlite::Result<Option<Stop>> {
    connection
        .prepare_cached("SELECT by, at, reason FROM stop WHERE lifted_at IS NULL")?
        .query_row([], |row| {
            let at: String = row.get(1)?;
            let at = at.parse().unwrap_or(Timestamp::UNIX_EPOCH);
            Ok(Stop { by: row.get(0)?, at, reason: row.get(2)? })
        })
        .optional()
}
