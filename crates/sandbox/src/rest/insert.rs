//! Inserts: unique keys, and what becomes of a row that is there already.

use axum::http::StatusCode;
use axum::response::Response;

use super::answer::Asked;
use super::query::{RestError, Row};
use crate::world::World;

/// A table that takes rows.
pub(super) trait Insert: Row + Sized {
    /// The unique keys: each constraint's name and columns. The first is the primary key.
    const UNIQUE: &'static [(&'static str, &'static [&'static str])];

    fn table(world: &mut World) -> &mut Vec<Self>;

    /// What the ledger says of a new row: the effect and its subject.
    fn effect(&self) -> (&'static str, String);

    /// The unique key that a row has in common with another.
    fn clash(&self, other: &Self, key: &[&str]) -> bool {
        key.iter().all(|column| self.cell(column) == other.cell(column))
    }
}

/// Puts rows in, all or none. `lost`: it is only said.
pub(super) fn insert<R: Insert>(
    world: &mut World,
    asked: &Asked,
    rows: Vec<R>,
    lost: bool,
) -> Result<Response, RestError> {
    asked.query.check::<R>()?;
    let ignored = ignored_key::<R>(asked)?;
    let (mut new, mut known): (Vec<R>, Vec<R>) = (Vec::new(), Vec::new());
    for row in rows {
        match clash(R::table(world), &new, &row) {
            None => new.push(row),
            Some(key) if Some(key) == ignored => known.push(row),
            Some((constraint, columns)) => return Err(duplicate(&row, constraint, columns)),
        }
    }
    asked.check_single(new.len())?;
    let now = world.now();
    for (row, is_new) in new.iter().map(|row| (row, true)).chain(known.iter().map(|row| (row, false))) {
        let (effect, subject) = row.effect();
        world.ledger.note(now, effect, subject, is_new && !lost);
    }
    let total = if asked.prefer.count { new.len().to_string() } else { "*".to_owned() };
    let range = format!("*/{total}");
    let answer = if asked.prefer.representation {
        asked.rows(StatusCode::CREATED, &new.iter().collect::<Vec<_>>(), &range)
    } else {
        asked.nothing(StatusCode::CREATED, &range)
    };
    if !lost {
        R::table(world).extend(new);
    }
    Ok(answer)
}

type Key = (&'static str, &'static [&'static str]);

/// The key whose duplicates are left alone; the primary key where the request names none.
fn ignored_key<R: Insert>(asked: &Asked) -> Result<Option<Key>, RestError> {
    if !asked.prefer.ignore_duplicates {
        return Ok(None);
    }
    let Some(named) = &asked.query.on_conflict else { return Ok(R::UNIQUE.first().copied()) };
    let mut named: Vec<&str> = named.split(',').map(|name| name.trim_matches('"')).collect();
    named.sort_unstable();
    let same = |key: &&Key| {
        let mut columns = key.1.to_vec();
        columns.sort_unstable();
        columns == named
    };
    let found = R::UNIQUE.iter().find(same).copied();
    let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
    found.map(Some).ok_or_else(|| RestError::new(400, "42P10", message))
}

fn clash<R: Insert>(there: &[R], new: &[R], row: &R) -> Option<Key> {
    let clashes = |(_, columns): &&Key| there.iter().chain(new).any(|other| row.clash(other, columns));
    R::UNIQUE.iter().find(clashes).copied()
}

fn duplicate<R: Row>(row: &R, constraint: &str, columns: &[&str]) -> RestError {
    let values: Vec<String> = columns.iter().filter_map(|column| Some(row.cell(column)?.to_text())).collect();
    let message = format!("duplicate key value violates unique constraint \"{constraint}\"");
    let details = format!("Key ({})=({}) already exists.", columns.join(", "), values.join(", "));
    RestError::new(409, "23505", message).because(details)
}

/// A foreign key that points to nothing.
pub(super) fn points_nowhere<R: Row>(column: &str, value: &str, there: &str) -> RestError {
    let message = format!(
        "insert or update on table \"{0}\" violates foreign key constraint \"{0}_{column}_fkey\"",
        R::TABLE
    );
    let details = format!("Key ({column})=({value}) is not present in table \"{there}\".");
    RestError::new(409, "23503", message).because(details)
}
