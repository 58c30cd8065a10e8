//! One owner of a runbook on a platform, also from two machines: what the terminal adds to [`allclear_engine::owner`].
//!
//! A run announces itself and gives that back; here is what it is given for that, what a person's word ends, and what is
//! told for a run that cannot tell it itself.

use allclear_core::PortError;
use allclear_core::clock::after;
use allclear_core::owner::{Announced, Ended, Told};
use allclear_engine::sqlite::{RunSummary, Store};
use allclear_engine::{Announcing, Event, Known, UNTIL_IT_KNOWS};

use crate::environment::Wired;
use crate::exit::CliError;
use crate::output::say;

/// This machine's name, for people.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    if name.trim().is_empty() { "an unnamed machine".to_owned() } else { name.trim().to_owned() }
}

/// Where runs of this store announce themselves.
pub(crate) fn announcing(on: &Wired, store: &Store) -> Announcing {
    Announcing::on(on.platform.announcements.clone(), host()).knowing_store(store)
}

/// Takes a runbook from another machine's run, because a person says that it is gone for good. Typing its id is the word.
pub(crate) async fn take_over(
    on: &Wired,
    store: &Store,
    runbook: &str,
    run: &str,
    (by, reason): (&str, &str),
) -> Result<(), CliError> {
    if reason.trim().is_empty() {
        return Err(CliError::usage(
            "--take-over needs --reason: how is it known that the other run is gone?",
        ));
    }
    if Known::of(store, run) == Known::Here {
        return Err(CliError::usage(format!(
            "run {run} is kept here and is not gone: go on with `allclear resume {run}`, or end it with `allclear abort {run}`"
        )));
    }
    let ended = Ended::taken_over(format!("taken over by {by} on {}: {reason}", host()));
    match announcing(on, store).end(runbook, run, &ended, &*on.clock).await? {
        Told::Yes => {
            on.clock.sleep_until(after(on.clock.now(), UNTIL_IT_KNOWS)).await;
            say(&format!("run {run} is on record as gone, by the word of {by}"));
            Ok(())
        }
        Told::Unproven => Err(CliError::usage(
            "the platform's audit log accepted the word and does not have it, so nothing was taken over and nothing was begun",
        )),
        Told::NothingStands => {
            let going = going_on(on, &[runbook]).await?;
            let going: Vec<String> = going.iter().map(ToString::to_string).collect();
            let going = if going.is_empty() { "none goes on".to_owned() } else { going.join("; ") };
            Err(CliError::usage(format!("no run {run} of {runbook} is announced on this platform; {going}")))
        }
    }
}

/// Tells the platform of a run that has ended and could not say so: the platform was away, or the run is damaged. How is
/// what the record will say.
pub(crate) async fn tell_of(on: &Wired, store: &Store, run: &RunSummary, ended: &Ended) {
    match announcing(on, store).end(announced_as(run), &run.id, ended, &*on.clock).await {
        Ok(Told::Yes) => say(&format!("the platform was told that run {} has ended", run.id)),
        Ok(Told::NothingStands) => {}
        Ok(Told::Unproven) => say(&untold(run, "its audit log accepted the row and does not have it")),
        Err(error) => say(&untold(run, &error.to_string())),
    }
}

/// Why nobody could tell the platform, and who does.
pub(crate) fn untold(run: &RunSummary, why: &str) -> String {
    format!(
        "the platform could not be told that run {} has ended ({why}); the next run of {} from here tells it",
        run.id,
        announced_as(run)
    )
}

/// Whether a run says on the platform that it goes on. What is started for one drill is nobody else's.
pub(crate) fn is_announced(run: &RunSummary) -> bool {
    !run.context["announces"].is_null()
}

/// The runbook as whose run it announces itself: an undo does as one of what it undoes.
fn announced_as(run: &RunSummary) -> &str {
    run.context["announces"]["runbook"].as_str().unwrap_or(&run.runbook)
}

/// How many runs of its runbook had ended when its plan was made, where that is known.
pub(crate) fn ended_before(run: &RunSummary) -> Option<usize> {
    let seen = run.context["announces"]["ended_before"].as_u64()?;
    usize::try_from(seen).ok()
}

/// Whether the platform could not be told that this run has ended.
pub(crate) fn is_untold(store: &Store, run: &RunSummary) -> bool {
    let Ok(entries) = store.entries(&run.id) else { return false };
    let last = entries.iter().rev().find_map(|entry| match &entry.event {
        Event::GaveBack { untold } => Some(untold.is_some()),
        _ => None,
    });
    last.unwrap_or(false)
}

/// The announced runs of these runbooks that have not ended.
pub(crate) async fn going_on(on: &Wired, runbooks: &[&str]) -> Result<Vec<Announced>, PortError> {
    let record = Announcing::on(on.platform.announcements.clone(), host());
    let mut going = Vec::new();
    for runbook in runbooks {
        going.extend(record.going_on(runbook, &*on.clock).await?);
    }
    Ok(going)
}
