//! `list`, `show` and `check`.

use std::path::Path;

use allclear_runbooks::text::{WRITTEN, bind, parse, render};
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
    output::result(render(entry).trim_end());
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
