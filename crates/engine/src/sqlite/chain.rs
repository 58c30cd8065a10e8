//! A run's journal as it is stored, read and checked: each entry against the one before it, and its place against the
//! columns that lead to it.

use rusqlite::types::Value as Cell;
use rusqlite::{Connection, OptionalExtension as _};

use super::seal::Tail;
use crate::journal::{Damaged, Entry, Event, GENESIS, Link, link_hash};
use crate::outcome::Outcome;

/// A row of the table of entries.
struct Stored {
    id: i64,
    run: Cell,
    seq: Cell,
    previous: Cell,
    body: Cell,
    hash: Cell,
}

/// A journal, as far as it is whole.
#[derive(Debug)]
pub(super) struct Chain {
    /// The entries that are what was written.
    pub(super) entries: Vec<Entry>,
    /// The hash of each.
    hashes: Vec<String>,
    /// Where the latest of them is; 0 where there is none.
    pub(super) last_id: i64,
    /// The first one that is not.
    pub(super) damaged: Option<Damaged>,
    /// Whether the row that leads to it leads elsewhere.
    pub(super) led_astray: bool,
}

impl Chain {
    pub(super) fn empty() -> Self {
        Self { entries: Vec::new(), hashes: Vec::new(), last_id: 0, damaged: None, led_astray: false }
    }

    /// Where it ends.
    pub(super) fn tail(&self) -> Tail {
        let Some(hash) = self.hashes.last() else { return Tail::none() };
        Tail { entries: self.entries.len() as u64, hash: hash.clone(), ended: self.outcome().is_some() }
    }

    /// How the run ended, by its journal.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.entries.iter().find_map(|entry| match entry.event {
            Event::Concluded { outcome, .. } => Some(outcome),
            _ => None,
        })
    }

    /// The hash of entry `seq`, from 1; [`GENESIS`] for 0.
    pub(super) fn hash_at(&self, seq: u64) -> Option<&str> {
        match seq {
            0 => Some(GENESIS),
            _ => self.hashes.get(usize::try_from(seq).ok()?.checked_sub(1)?).map(String::as_str),
        }
    }

    /// How often the run has been taken up, by its journal: what wrote nothing did nothing.
    pub(super) fn incarnation(&self) -> u32 {
        let recorded = self.entries.iter().filter_map(|entry| match entry.event {
            Event::Resumed { incarnation, .. } | Event::Intended { incarnation, .. } => Some(incarnation),
            _ => None,
        });
        recorded.max().unwrap_or(0)
    }

    /// Takes one more stored entry in, if it is the one that comes next.
    fn take(&mut self, run: i64, stored: Stored) -> Result<(), Damaged> {
        let seq = self.entries.len() as u64 + 1;
        let damaged = |what: String| Damaged { seq, what };
        let (Cell::Text(body), Cell::Text(hash)) = (stored.body, stored.hash) else {
            return Err(damaged("it is no text".to_owned()));
        };
        let before = self.hashes.last().map_or(GENESIS, String::as_str);
        if link_hash(before, &body) != hash {
            let missing = matches!(stored.seq, Cell::Integer(later) if later > seq.cast_signed());
            let what = if missing { "it is missing" } else { "its hash does not fit its content" };
            return Err(damaged(what.to_owned()));
        }
        let entry: Entry = serde_json::from_str(&body)
            .map_err(|error| damaged(format!("it cannot be read by this version ({error})")))?;
        if entry.seq != seq {
            return Err(damaged(format!("it is numbered {}", entry.seq)));
        }
        let place = [
            (&stored.run, run, "run"),
            (&stored.seq, seq.cast_signed(), "number"),
            (&stored.previous, self.last_id, "entry before it"),
        ];
        if let Some((found, _, what)) =
            place.into_iter().find(|(found, wanted, _)| **found != Cell::Integer(*wanted))
        {
            return Err(damaged(format!("the store has it under another {what} ({found:?})")));
        }
        self.last_id = stored.id;
        self.hashes.push(hash);
        self.entries.push(entry);
        Ok(())
    }

    fn of(run: i64, stored: impl IntoIterator<Item = Stored>) -> Self {
        let mut chain = Self::empty();
        for stored in stored {
            if let Err(damaged) = chain.take(run, stored) {
                chain.damaged = Some(damaged);
                break;
            }
        }
        chain
    }
}

const ONE: &str = "SELECT id, run, seq, previous, body, hash FROM entry WHERE id = ?";

fn stored(row: &rusqlite::Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        id: row.get(0)?,
        run: cell(row, 1)?,
        seq: cell(row, 2)?,
        previous: cell(row, 3)?,
        body: cell(row, 4)?,
        hash: cell(row, 5)?,
    })
}

/// A value as it is stored; text that is none becomes bytes, so that it reaches the check and does not fail before.
pub(super) fn cell(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Cell> {
    use rusqlite::types::ValueRef;
    Ok(match row.get_ref(index)? {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Real(number) => Cell::Real(number),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Cell::Text(text.to_owned()),
            Err(_) => Cell::Blob(bytes.to_vec()),
        },
        ValueRef::Blob(bytes) => Cell::Blob(bytes.to_vec()),
    })
}

/// The stored entries that lead back from `last`, oldest first; and whether they lead to a first one.
fn back_from(connection: &Connection, last: i64) -> rusqlite::Result<(Vec<Stored>, bool)> {
    let mut statement = connection.prepare_cached(ONE)?;
    let mut found = Vec::new();
    let mut next = last;
    while next != 0 {
        let Some(one) = statement.query_row([next], stored).optional()? else {
            found.reverse();
            return Ok((found, false));
        };
        // An entry is always after the one before it, so what leads elsewhere is damage and leads nowhere.
        let before = match one.previous {
            Cell::Integer(previous) if (0..next).contains(&previous) => Some(previous),
            _ => None,
        };
        found.push(one);
        let Some(before) = before else {
            found.reverse();
            return Ok((found, false));
        };
        next = before;
    }
    found.reverse();
    Ok((found, true))
}

/// Everything that the store has under the run's number, oldest first.
fn under(connection: &Connection, run: i64) -> rusqlite::Result<Vec<Stored>> {
    let mut statement = connection
        .prepare_cached("SELECT id, run, seq, previous, body, hash FROM entry WHERE run = ? ORDER BY id")?;
    statement.query_map([run], stored)?.collect()
}

/// Reads what the store has of run number `run` from the front, wherever its row leads.
pub(super) fn read_through(connection: &Connection, run: i64, last: &Cell) -> rusqlite::Result<Chain> {
    let all = under(connection, run)?;
    let nothing = all.is_empty() && *last == Cell::Integer(0);
    let mut chain = Chain::of(run, all);
    chain.led_astray = !nothing && *last != Cell::Integer(chain.last_id);
    Ok(chain)
}

/// Reads run number `run`, whose row says that its latest entry is `last`.
pub(super) fn read(connection: &Connection, run: i64, last: &Cell) -> rusqlite::Result<Chain> {
    if let Cell::Integer(last) = last {
        let (back, whole) = back_from(connection, *last)?;
        let chain = Chain::of(run, back);
        if whole && chain.damaged.is_none() && *last != 0 {
            return Ok(chain);
        }
    }
    // Something is wrong, or there is no entry.
    read_through(connection, run, last)
}

/// A run's journal as it is stored, unchecked.
pub(super) fn links(connection: &Connection, last: &Cell) -> rusqlite::Result<Vec<Link>> {
    let text = |cell: Cell| match cell {
        Cell::Text(text) => text,
        Cell::Blob(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        other => format!("{other:?}"),
    };
    let Cell::Integer(last) = last else { return Ok(Vec::new()) };
    let (back, _) = back_from(connection, *last)?;
    Ok(back.into_iter().map(|one| Link { body: text(one.body), hash: text(one.hash) }).collect())
}
