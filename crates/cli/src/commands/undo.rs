//! `undo`: what a run changed and nobody touched since, taken back as a run of its own; and what every run left.

use allclear_engine::report::{Left, Remedy, left, owed};
use allclear_engine::sqlite::{RunSummary, Store};
use allclear_engine::undo::{UNDO, UNDO_STEPS};
use allclear_engine::{
    Entry as Recorded, Outcome, Plan, PlanApproval, Runbook, SeamError, Shown, Terms, UndoRun, plan,
};
use allclear_runbooks::{Entry, InputError};
use serde_json::{Value, json};

use super::execute::{Announces, Start, approve, build, new_id, shown, start};
use super::here::{folder, operator, store};
use crate::Hooks;
use crate::args::{Global, UndoArgs};
use crate::environment::Wired;
use crate::exit::{CliError, Exit};
use crate::output::{self, say};
use crate::owner;

/// How runs that undo another one are listed; they are made by [`undo`] only.
pub(super) const UNDO_ENTRY: &Entry = &Entry {
    id: UNDO,
    title: "Undo of a run",
    steps: UNDO_STEPS,
    scenarios: &[],
    cadence: None,
    files: &[],
    numbers: &[],
    build: |_, _| {
        Err(InputError { runbook: UNDO, detail: "an undo is started with: allclear undo RUN".to_owned() })
    },
};

/// The undo that an undo's recorded input names.
pub(super) fn rebuilt(global: &Global, input: &Value, on: &Wired) -> Result<Box<dyn Runbook>, CliError> {
    let named = UndoRun::undone_run(input)
        .ok_or_else(|| CliError::internal("the undo's record does not name the run that it undoes"))?;
    let store = store(global)?;
    Ok(Box::new(undo_of(global, &store, &store.find(named)?, on)?))
}

fn undo_of(global: &Global, store: &Store, run: &RunSummary, on: &Wired) -> Result<UndoRun, CliError> {
    let entry = super::catalogue::recorded_runbook(&run.runbook)?;
    if entry.id == UNDO {
        let what =
            format!("run {} is an undo; to change again what it took back, start the runbook anew", run.id);
        return Err(CliError::new(Exit::Refused, what));
    }
    let journal = store.journal(&run.id)?;
    // The chained input counts, and not the row beside it.
    let input = journal.entries().iter().find_map(|entry| match &entry.event {
        allclear_engine::Event::Started { input, .. } => Some(input.clone()),
        _ => None,
    });
    let original = build(global, entry, &input.unwrap_or_else(|| run.input.clone()), on)?;
    UndoRun::of(original, journal).map_err(|halt| CliError::new(Exit::Refused, halt.to_string()))
}

pub(super) async fn undo(global: &Global, args: UndoArgs, hooks: Hooks) -> Result<Exit, CliError> {
    let store = store(global)?;
    if let Some(stop) = store.stopped()? {
        return Err(SeamError::Stopped(stop).into());
    }
    let run = store.find(&args.run)?;
    if run.held {
        let what = format!(
            "run {} is going on in another process; look at it: allclear watch {}, or end it first: allclear abort {}",
            run.id, run.id, run.id
        );
        return Err(CliError::new(Exit::Refused, what));
    }
    let id = new_id(UNDO_ENTRY);
    let on = Wired::of_run(global, &run, folder(global, &id).join("artifacts")).await;
    let on = on.map_err(|error| match run.context["sandbox"].as_str() {
        Some(url) if run.outcome.is_some() => CliError::new(
            error.exit,
            format!(
                "the sandbox of run {} at {url} has ended, and what the run changed ended with it",
                run.id
            ),
        ),
        _ => error,
    })?;
    refuse_beside_another(&on, [&run.id, &run.id], &format!("allclear undo {}", run.id)).await?;
    let announces = announces(&on, &store, &run).await;
    let undo = undo_of(global, &store, &run, &on)?;
    let input = undo.input();
    let terms = Terms {
        input: input.clone(),
        platform: Some(on.platform.identity.clone()),
        listener: Some(super::execute::waits_listener()),
        ..Terms::new("plan", operator(global), on.name.clone())
    };
    let plan = plan(&undo, terms, std::sync::Arc::clone(&on.clock)).await?;
    if args.plan_only {
        show(global, &plan);
        return Ok(Exit::Verified);
    }
    say(&output::plan_text(&plan));
    if !plan.has_effects() {
        return Ok(nothing_left(global, &run, &plan));
    }
    let how = match &args.approve_plan {
        Some(_) => Some(Shown::Hash),
        None => shown(global, &plan).await,
    };
    let Some(how) = how else {
        return Ok(not_approved(global, &run, &plan));
    };
    let yes = PlanApproval::of(&plan, &*id, operator(global), how);
    let yes = PlanApproval { plan: args.approve_plan.unwrap_or(yes.plan), ..yes };
    let approved = approve(global, plan, yes, &on)?;
    let started = Start { entry: UNDO_ENTRY, id, input, approved, gates: args.gates, announces };
    start(global, started, on, hooks).await.map(|(exit, _)| exit)
}

/// An undo goes on as a run of the runbook that it undoes, so that no machine begins one beside it. What was started for one
/// drill is nobody else's.
async fn announces(on: &Wired, store: &Store, run: &RunSummary) -> Announces {
    if !owner::is_announced(run) {
        return Announces::Nothing;
    }
    let ended = owner::announcing(on, store).ended_before(&run.runbook).await;
    Announces::As { runbook: run.runbook.clone(), ended }
}

/// Another run that goes on may have taken over what this one left, also from another machine: only one of them may give it
/// back. An undo that was interrupted asks again when it is taken up: the other may have begun since.
pub(super) async fn refuse_beside_another(
    on: &Wired,
    [undone, undo]: [&str; 2],
    next: &str,
) -> Result<(), CliError> {
    let runbooks: Vec<&str> = allclear_runbooks::catalogue().iter().map(|entry| entry.id).collect();
    let going = owner::going_on(on, &runbooks).await?;
    let Some(other) = going.iter().find(|other| ![undone, undo].contains(&&*other.says.run)) else {
        return Ok(());
    };
    let what = format!(
        "{other}, has not ended and may have taken over what run {undone} left; when that one has ended: {next}"
    );
    Err(CliError::new(Exit::Refused, what))
}

fn show(global: &Global, plan: &Plan) {
    if global.json {
        output::document("plan", json!({ "plan": plan }));
    } else {
        output::result(&output::plan_text(plan));
    }
}

/// Everything that can be back is back, which is what an undo is for.
fn nothing_left(global: &Global, run: &RunSummary, plan: &Plan) -> Exit {
    let exit = Exit::Undone;
    if global.json {
        output::document(
            "undo",
            json!({ "undoes": run.id, "run": null, "says": plan.ends, "exit_code": exit as u8 }),
        );
    } else {
        output::result(&plan.ends);
    }
    exit
}

fn not_approved(global: &Global, run: &RunSummary, plan: &Plan) -> Exit {
    if !global.no_input {
        say("not approved; nothing was changed");
        return Exit::Rejected;
    }
    let short = &plan.hash[..12];
    say(&format!(
        "nobody may be asked (--no-input), so nothing was changed\n\
         whoever approves it: allclear undo {} --approve-plan {short}",
        run.id
    ));
    if global.json {
        let exit = Exit::Waiting as u8;
        output::document("plan-kept", json!({ "undoes": run.id, "hash": plan.hash, "exit_code": exit }));
    }
    Exit::Waiting
}

/// The undo that took a run back, where there is one.
pub(super) fn undone_by(runs: &[RunSummary], run: &str) -> Option<String> {
    let undid = |one: &&RunSummary| {
        one.runbook == UNDO
            && one.outcome == Some(Outcome::Undone)
            && UndoRun::undone_run(&one.input) == Some(run)
    };
    runs.iter().find(undid).map(|one| one.id.clone())
}

/// What a run left changed, for programs: each with the command that gives it back or goes on.
pub(super) fn left_json(entries: &[Recorded], run: &str) -> Value {
    let one = |left: &Left| {
        let mut one = serde_json::to_value(left).unwrap_or_default();
        one["command"] = json!(left.command(run));
        one
    };
    left(entries).iter().map(one).collect()
}

/// The same for people: what can be given back, or goes on; what stays, and why; what is still open. Of what was only added for the
/// record, how much. What an undo has taken back is not named again.
pub(super) fn left_lines(entries: &[Recorded], run: &str, undone: bool) -> Vec<String> {
    let all = left(entries);
    let to_act: Vec<&Left> = all.iter().filter(|one| one.command(run).is_some()).collect();
    let owed = owed(entries);
    let is_owed = |left: &Left| owed.iter().any(|(owed, _)| owed.id() == left.id);
    let mut lines = if undone { Vec::new() } else { to_act_lines(&to_act, run) };
    let stays = all.iter().filter(|one| matches!(one.remedy, Remedy::Stays { .. }));
    let (records, others): (Vec<&Left>, Vec<&Left>) = stays.partition(|one| one.record);
    let others: Vec<&Left> = others.into_iter().filter(|one| !is_owed(one)).collect();
    if !others.is_empty() {
        lines.push("Stays changed:".to_owned());
    }
    for left in others {
        if let Remedy::Stays { why } = &left.remedy {
            lines.push(format!("  ~ {}; it stays: {why}", left.says));
        }
    }
    let named = |id: &str| to_act.iter().any(|left| left.id == id);
    let open: Vec<&str> =
        owed.iter().filter(|(owed, _)| !named(owed.id())).map(|(_, says)| says.text()).collect();
    if !open.is_empty() {
        lines.push("Still open:".to_owned());
    }
    lines.extend(open.into_iter().map(|says| format!("  ! {says}")));
    if !records.is_empty() && !lines.is_empty() {
        let (noun, verb) = if records.len() == 1 { ("change", "stays") } else { ("changes", "stay") };
        lines.push(format!(
            "  {} {noun} more {verb}, such as messages that were sent; the report names each",
            records.len()
        ));
    }
    lines
}

fn to_act_lines(to_act: &[&Left], run: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(command) = to_act.first().and_then(|one| one.command(run)) {
        let word = if to_act[0].remedy == Remedy::Undo { "give it back with" } else { "go on with" };
        lines.push(format!("Left changed ({word}: {command}):"));
    }
    for left in to_act {
        lines.push(format!("  ~ {}", left.says));
    }
    lines
}
