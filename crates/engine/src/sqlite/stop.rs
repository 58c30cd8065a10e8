//! The switch that stops everything: one for all runs of a store. Who set and lifted it stands in the chain of what people
//! decided; the row beside it is what a running process looks at ten times a second.

use allclear_core::secrets::mask;
use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Store;
use super::ruling::{Ruling, Rulings};
use crate::seam::{SeamError, Stop};

impl Store {
    /// Stops everything: every run lets go at its next safe point, and none begins or is taken up. Returns the stop that
    /// holds: an earlier one, if there is one.
    pub fn stop_all(&self, by: &str, reason: Option<&str>, now: Timestamp) -> Result<Stop, SeamError> {
        self.rule(|connection, said| {
            if let Some(stop) = said.stop_beside(row_in_force(connection)?) {
                return Ok((None, stop));
            }
            let stop =
                Stop { by: by.to_owned(), at: now, reason: reason.map(|reason| mask(reason).into_owned()) };
            connection.execute(
                "INSERT INTO stop (by, at, reason) VALUES (?, ?, ?)",
                params![stop.by, stop.at.to_string(), stop.reason],
            )?;
            Ok((Some(Ruling::Stopped(stop.clone())), stop))
        })
    }

    /// Lifts the stop. Returns the one that held.
    pub fn lift_stop(&self, by: &str, now: Timestamp) -> Result<Option<Stop>, SeamError> {
        self.rule(|connection, said| {
            let stop = said.stop_beside(row_in_force(connection)?);
            connection.execute(
                "UPDATE stop SET lifted_by = ?, lifted_at = ? WHERE lifted_at IS NULL",
                params![by, now.to_string()],
            )?;
            let word = stop.as_ref().map(|_| Ruling::Lifted { by: by.to_owned(), at: now });
            Ok((word, stop))
        })
    }

    /// The stop that holds.
    pub fn stopped(&self) -> Result<Option<Stop>, SeamError> {
        self.committer.read("looking at the stop switch", in_force)
    }

    pub(super) fn check_not_stopped(&self) -> Result<(), SeamError> {
        self.stopped()?.map_or(Ok(()), |stop| Err(SeamError::Stopped(stop)))
    }
}

/// The stop that holds: by the chain of what people decided, whatever was done to its row since. A row that no word stands
/// for holds too: an older version wrote it, and who stopped everything meant it.
pub(super) fn in_force(connection: &Connection) -> rusqlite::Result<Option<Stop>> {
    Ok(Rulings::read(connection)?.stop_beside(row_in_force(connection)?))
}

/// The stop that its row says.
pub(super) fn row_in_force(connection: &Connection) -> rusqlite::Result<Option<Stop>> {
    connection
        .prepare_cached("SELECT by, at, reason FROM stop WHERE lifted_at IS NULL")?
        .query_row([], |row| {
            let at: String = row.get(1)?;
            let unreadable =
                |error| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(error));
            let at = at.parse::<Timestamp>().map_err(unreadable)?;
            Ok(Stop { by: row.get(0)?, at, reason: row.get(2)? })
        })
        .optional()
}
