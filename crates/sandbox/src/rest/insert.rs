//! Inserts: unique keys, and what becomes of a row that is there already.

use axum::http::StatusCode;
use axum::response::Response;

use super::answer::{Asked, Duplicates};
use super::body::Given;
use super::query::{RestError, Row};
use crate::world::World;

/// A table that takes rows.
pub(super) trait Insert: Row + Clone {
    /// The unique keys: each constraint's name and columns. The first is the primary key.
    const UNIQUE: &'static [(&'static str, &'static [&'static str])];

    fn table(world: &mut World) -> &mut Vec<Self>;

    /// What the ledger says of a new row: the effect and its subject.
    fn effect(&self) -> (&'static str, String);

    /// Takes over from a new row what the request gave for it.
    fn merge(&mut self, new: &Self, given: &Given);

    /// The unique key that a row has in common with another.
    fn clash(&self, other: &Self, key: &[&str]) -> bool {
        key.iter().all(|column| self.cell(column) == other.cell(column))
    }
}

/// Puts rows in, all or none; each is what the request gave, and the row that it makes. `lost`: it is only said.
pub(super) fn insert<R: Insert>(
    world: &mut World,
    asked: &Asked,
    rows: Vec<(Given, R)>,
    lost: bool,
) -> Result<Response, RestError> {
    asked.query.check::<R>()?;
    let plan = Plan::of(R::table(world), asked, rows)?;
    asked.check_single(plan.shown.len())?;
    let now = world.now();
    let changed = plan.shown.iter().map(|row| (row, true));
    for (row, is_new) in changed.chain(plan.ignored.iter().map(|row| (row, false))) {
        let (effect, subject) = row.effect();
        world.ledger.note(now, effect, subject, is_new && !lost);
    }
    let total = if asked.prefer.count { plan.shown.len().to_string() } else { "*".to_owned() };
    let range = format!("*/{total}");
    // An upsert that found every row there has made nothing.
    let status =
        if plan.new.is_empty() && !plan.merged.is_empty() { StatusCode::OK } else { StatusCode::CREATED };
    let answer = if asked.prefer.representation {
        asked.rows(status, &plan.shown.iter().collect::<Vec<_>>(), &range)
    } else {
        asked.nothing(status, &range)
    };
    if !lost {
        let table = R::table(world);
        table.extend(plan.new);
        for (place, row) in plan.merged {
            table[place] = row;
        }
    }
    Ok(answer)
}

/// What becomes of the rows of a request.
struct Plan<R> {
    new: Vec<R>,
    /// What rows that are there become, by place.
    merged: Vec<(usize, R)>,
    ignored: Vec<R>,
    /// What the answer has, in the request's order.
    shown: Vec<R>,
}

impl<R: Insert> Plan<R> {
    fn of(there: &[R], asked: &Asked, rows: Vec<(Given, R)>) -> Result<Self, RestError> {
        let arbiter = arbiter::<R>(asked)?;
        let mut plan = Self { new: Vec::new(), merged: Vec::new(), ignored: Vec::new(), shown: Vec::new() };
        for (given, row) in rows {
            let same = |other: &R| arbiter.is_some_and(|(_, columns)| row.clash(other, columns));
            let (place, twice) = (there.iter().position(same), plan.new.iter().any(same));
            match asked.prefer.duplicates {
                Duplicates::Ignored if place.is_some() || twice => plan.ignored.push(row),
                Duplicates::Merged if place.is_some() || twice => {
                    let place = place.filter(|place| plan.merged.iter().all(|(other, _)| other != place));
                    plan.merge(there, place.ok_or_else(affected_twice)?, &row, &given)?;
                }
                _ => {
                    plan.refuse_clash(there, &row, None)?;
                    plan.shown.push(row.clone());
                    plan.new.push(row);
                }
            }
        }
        Ok(plan)
    }

    fn merge(&mut self, there: &[R], place: usize, row: &R, given: &Given) -> Result<(), RestError> {
        let mut merged = there[place].clone();
        merged.merge(row, given);
        self.refuse_clash(there, &merged, Some(place))?;
        self.shown.push(merged.clone());
        self.merged.push((place, merged));
        Ok(())
    }

    /// Refuses a row that has a unique key in common with another than itself.
    fn refuse_clash(&self, there: &[R], row: &R, itself: Option<usize>) -> Result<(), RestError> {
        let others =
            || there.iter().enumerate().filter(|(place, _)| Some(*place) != itself).map(|(_, row)| row);
        let clashes = |(_, columns): &&Key| others().chain(&self.new).any(|other| row.clash(other, columns));
        match R::UNIQUE.iter().find(clashes) {
            Some((constraint, columns)) => Err(duplicate(row, constraint, columns)),
            None => Ok(()),
        }
    }
}

fn affected_twice() -> RestError {
    RestError::new(500, "21000", "ON CONFLICT DO UPDATE command cannot affect row a second time")
        .hinting("Ensure that no rows proposed for insertion within the same command have duplicate constrained values.")
}

type Key = (&'static str, &'static [&'static str]);

/// The key whose duplicates are ignored or merged; the primary key where the request names none.
fn arbiter<R: Insert>(asked: &Asked) -> Result<Option<Key>, RestError> {
    if asked.prefer.duplicates == Duplicates::Refused {
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
