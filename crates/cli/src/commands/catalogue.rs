//! `list` and `show`.

use allclear_engine::step::Phase;
use allclear_runbooks::{Entry, catalogue, find};
use serde_json::json;

use crate::args::Global;
use crate::exit::{CliError, Exit};
use crate::output;

/// Finds a runbook, or says which one was probably meant.
pub(super) fn runbook(name: &str) -> Result<&'static Entry, CliError> {
    find(name).map_err(|unknown| CliError::usage(unknown.to_string()))
}

pub(super) fn list(global: &Global) -> Exit {
    if global.json {
        let runbooks: Vec<_> = catalogue()
            .iter()
            .map(|entry| json!({ "id": entry.id, "title": entry.title, "steps": entry.steps.len() }))
            .collect();
        output::document("list", json!({ "runbooks": runbooks }));
    } else {
        for entry in catalogue() {
            output::result(&format!("{:<28} {}", entry.id, entry.title));
        }
    }
    Exit::Verified
}

pub(super) fn show(global: &Global, name: &str) -> Result<Exit, CliError> {
    let entry = runbook(name)?;
    if global.json {
        let steps: Vec<_> = entry
            .steps
            .iter()
            .map(|step| json!({ "id": step.id, "phase": step.phase, "title": step.title }))
            .collect();
        output::document("show", json!({ "id": entry.id, "title": entry.title, "steps": steps }));
        return Ok(Exit::Verified);
    }
    output::result(&format!("## {}", entry.title));
    for phase in Phase::ALL {
        let steps: Vec<_> = entry.steps.iter().filter(|step| step.phase == phase).collect();
        if steps.is_empty() {
            continue;
        }
        output::result(&format!("\n{}", phase.title()));
        for step in steps {
            output::result(&format!("  {}  {}", step.id, step.title));
        }
    }
    Ok(Exit::Verified)
}
