//! Claims: what a run has for itself until it is over. Each is bound by a digest to the run that took it, so one that was
//! given to another run by hand is refused by name.

use rusqlite::{Connection, params};

use super::Store;
use super::look::{Looked, Row};
use crate::journal::digest;
use crate::seam::SeamError;

/// What a run of `runbook` claims before anything else: one at a time on a platform.
pub(super) fn runbook_claim(platform: &str, runbook: &str) -> String {
    format!("{platform}/runbook {runbook}")
}

/// What binds a claim to the run that took it.
fn bound(resource: &str, run: i64) -> String {
    digest(format!("claim\n{run}\n{resource}").as_bytes())
}

/// The run that has a resource.
#[derive(Debug)]
pub(super) struct Holder {
    run: String,
    environment: String,
    /// Whether the claim is as that run took it.
    as_taken: bool,
}

impl Holder {
    /// Refuses another run the resource; `environment` is what that one calls the platform.
    pub(super) fn refuses(self, resource: &str, environment: &str) -> SeamError {
        let Self { run: holder, environment: theirs, as_taken } = self;
        if !as_taken {
            return altered(resource, &holder);
        }
        let resource = if theirs == environment {
            resource.to_owned()
        } else {
            format!(
                "{resource} (`{environment}` here, and `{theirs}` there: both are names of the same platform)"
            )
        };
        SeamError::Held { resource, holder }
    }
}

fn altered(resource: &str, holder: &str) -> SeamError {
    SeamError::Altered {
        what: format!("the claim of run {holder} on {resource}"),
        next: format!(
            "Nobody can tell which run has it: see `allclear status`, end or resume what has not ended, then remove it with \
             `allclear audit mend {holder} --reason TEXT`"
        ),
    }
}

/// Claims a resource for run number `run`. Returns who has it, where that is another run or cannot be told.
pub(super) fn claim(connection: &Connection, run: i64, resource: &str) -> rusqlite::Result<Option<Holder>> {
    connection.execute(
        "INSERT INTO claim (resource, run, digest) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        params![resource, run, bound(resource, run)],
    )?;
    let (holder, digest): (i64, Option<String>) =
        connection.query_row("SELECT run, digest FROM claim WHERE resource = ?", [resource], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let as_taken = digest == Some(bound(resource, holder));
    if holder == run && as_taken {
        return Ok(None);
    }
    let row = Row::numbered(connection, holder)?;
    let gone = || format!("number {holder}, which is gone");
    let run = row.as_ref().map_or_else(gone, Row::id);
    let environment = row.map_or_else(String::new, |row| row.environment());
    Ok(Some(Holder { run, environment, as_taken }))
}

/// Binds what an older version claimed.
pub(super) fn bind_all(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT resource, run FROM claim WHERE digest IS NULL")?;
    let unbound = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (resource, run) in unbound.collect::<rusqlite::Result<Vec<(String, i64)>>>()? {
        let digest = bound(&resource, run);
        connection.execute("UPDATE claim SET digest = ? WHERE resource = ?", params![digest, resource])?;
    }
    Ok(())
}

/// The claims that are not as they were taken: what each is on, and the number of the run that it names.
fn altered_claims(connection: &Connection) -> rusqlite::Result<Vec<(String, i64)>> {
    let mut statement = connection.prepare_cached("SELECT resource, run, digest FROM claim")?;
    let all = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<String>>(2)?))
    })?;
    let mut altered = Vec::new();
    for claim in all {
        let (resource, run, digest) = claim?;
        if digest != Some(bound(&resource, run)) {
            altered.push((resource, run));
        }
    }
    Ok(altered)
}

impl Store {
    /// What is wrong with the claims of a run, in words.
    pub(super) fn wrong_claims(&self, looked: &Looked) -> Result<Vec<String>, SeamError> {
        let Some(row) = &looked.row else { return Ok(Vec::new()) };
        let run = &looked.summary.id;
        let altered = self.committer.read("reading claims", altered_claims)?;
        let mut wrong: Vec<String> = altered
            .into_iter()
            .filter(|(_, of)| *of == row.number)
            .map(|(resource, _)| format!("its claim on {resource} is not what was written"))
            .collect();
        // A version that gave no seals claimed under the environment's name.
        if !matches!(looked.seal, super::seal::Look::None)
            && looked.summary.outcome.is_none()
            && looked.summary.damage.is_none()
            && let Some(begun) = super::look::begun_by_journal(looked)
        {
            let resource = runbook_claim(&begun.new.platform, &begun.new.runbook);
            let holder = self.committer.read("reading claims", |connection| {
                connection
                    .prepare_cached("SELECT 1 FROM claim WHERE resource = ? AND run = ?")?
                    .exists(params![resource, row.number])
            });
            if !holder.map_err(|error| error.about(run))? {
                wrong.push(format!("it has not ended, and its claim on {resource} is gone"));
            }
        }
        Ok(wrong)
    }

    /// Removes the claims that name this run and are not as it took them. What it really has it takes again when it is taken
    /// up. Returns what was removed, in words.
    pub(super) fn drop_altered_claims(&self, run: i64) -> Result<Vec<String>, SeamError> {
        self.committer.with("removing claims", |connection| {
            let mut dropped = Vec::new();
            for (resource, of) in altered_claims(connection)? {
                if of == run {
                    connection.execute("DELETE FROM claim WHERE resource = ?", [&resource])?;
                    dropped.push(format!("the claim on {resource} was not what was written, and is removed"));
                }
            }
            Ok(dropped)
        })
    }
}
