//! `list`, `show` and `check`.

use std::path::Path;

use allclear_core::Clock as _;
use allclear_runbooks::dr_tabletop::cadence::{FirstOfQuarter, in_words};
use allclear_runbooks::text::{WRITTEN, bind, parse, render};
use allclear_runbooks::{Entry, catalogue, find};
use serde_json::{Value, json};

use crate::args::Global;
use crate::clock::SystemClock;
use crate::exit::{CliError, Exit};
use crate::output;

/// Finds a runbook, or says which one was probably meant.
pub(super) fn runbook(name: &str) -> Result<&'static Entry, CliError> {
    find(name).map_err(|unknown| CliError::usage(unknown.to_string()))
}

/// The runbook of a recorded run: one of the catalogue, or an undo.
pub(super) fn recorded_runbook(id: &str) -> Result<&'static Entry, CliError> {
    if id == allclear_engine::undo::UNDO { Ok(super::undo::UNDO_ENTRY) } else { runbook(id) }
}

pub(super) fn list(global: &Global) -> Exit {
    if global.json {
        let runbooks: Vec<_> = catalogue()
            .iter()
            .map(|entry| {
                let cadence = entry.cadence.map(cadence);
                json!({ "id": entry.id, "title": entry.title, "steps": entry.steps.len(), "cadence": cadence })
            })
            .collect();
        output::document("list", json!({ "runbooks": runbooks }));
    } else {
        for entry in catalogue() {
            let next = entry.cadence.and_then(|cadence| cadence.after(SystemClock.now()).next());
            let next = next.map_or_else(String::new, |at| format!(" (next: {})", in_words(at)));
            output::result(&format!("{:<28} {}{next}", entry.id, entry.title));
        }
    }
    Exit::Verified
}

/// How many dates are shown.
const DATES: usize = 4;

/// When a runbook is held: the rule as calendars take it, and the next dates.
fn cadence(cadence: FirstOfQuarter) -> Value {
    let next: Vec<String> = cadence.after(SystemClock.now()).take(DATES).map(|at| at.to_string()).collect();
    json!({ "rrule": cadence.rrule(), "next": next })
}

pub(super) fn show(global: &Global, name: &str) -> Result<Exit, CliError> {
    let entry = runbook(name)?;
    if global.json {
        let steps: Vec<_> = entry
            .steps
            .iter()
            .map(|step| json!({ "id": step.id, "phase": step.phase, "title": step.title }))
            .collect();
        let cadence = entry.cadence.map(cadence);
        let shown = json!({ "id": entry.id, "title": entry.title, "steps": steps, "cadence": cadence });
        output::document("show", shown);
        return Ok(Exit::Verified);
    }
    output::result(render(entry).trim_end());
    if let Some(cadence) = entry.cadence {
        // Beside the text, which is to replace the written one as it is.
        let next: Vec<String> = cadence.after(SystemClock.now()).take(DATES).map(in_words).collect();
        output::say(&format!("Next: {} (RRULE:{})", next.join(", "), cadence.rrule()));
    }
    Ok(Exit::Verified)
}

/// Binds the written runbooks to the code; the product's own text unless another is named.
pub(super) fn check(global: &Global, text: Option<&Path>) -> Result<Exit, CliError> {
    let written = match text {
        None => WRITTEN.to_vec(),
        Some(path) => std::fs::read(path).map_err(|error| {
            CliError::usage(format!("the text {} cannot be read: {error}", path.display()))
        })?,
    };
    let bindings = bind(&written, catalogue());
    let drifts = bindings.iter().map(|binding| binding.drifts.len()).sum::<usize>();
    let exit = if drifts == 0 { Exit::Verified } else { Exit::Refuted };
    if global.json {
        output::document("check", json!({ "runbooks": bindings, "drifts": drifts, "exit_code": exit as u8 }));
        return Ok(exit);
    }
    for binding in &bindings {
        output::result(&binding.runbook);
        for (id, line, words) in &binding.bound {
            output::result(&format!("  ✓ {id}  line {line:<3} {words}"));
        }
        for drift in &binding.drifts {
            output::result(&format!("  ✗ {drift}"));
        }
    }
    for section in
        parse(&written).iter().filter(|section| !catalogue().iter().any(|entry| entry.title == section.title))
    {
        output::result(&format!("no runbook: {}", section.title));
    }
    let bullets = bindings.iter().map(|binding| binding.bound.len()).sum::<usize>();
    output::result(&format!("{bullets} bullets bound, {drifts} drifts"));
    Ok(exit)
}
