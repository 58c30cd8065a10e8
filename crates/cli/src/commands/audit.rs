//! `audit`: whether runs are what was written, and putting right what lies beside a whole journal.

use allclear_core::Clock as _;
use allclear_engine::sqlite::AuditedRun;
use serde_json::json;

use super::here::{operator, store};
use crate::args::{AuditCommand, Global};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::exit::{CliError, Exit};
use crate::output;

pub(super) fn audit(global: &Global, what: AuditCommand) -> Result<Exit, CliError> {
    match what {
        AuditCommand::Verify { run } => verify(global, run.as_deref()),
        AuditCommand::Mend { run, reason } => mend(global, &run, &reason),
    }
}

fn verify(global: &Global, name: Option<&str>) -> Result<Exit, CliError> {
    let store = store(global)?;
    let run = name.map(|name| store.find(name)).transpose()?.map(|run| run.id);
    let mut audit = store.audit(run.as_deref())?;
    if let Ok(config) = Config::load(global) {
        for run in &mut audit.runs {
            run.remarks.extend(moved(run, &config));
        }
    }
    let exit = if audit.is_good() { Exit::Verified } else { Exit::Internal };
    if global.json {
        output::document(
            "audit",
            json!({ "good": audit.is_good(), "runs": audit.runs, "store": audit.store, "exit_code": exit as u8 }),
        );
        return Ok(exit);
    }
    for run in &audit.runs {
        tell(run);
    }
    for what in &audit.store {
        // Where nothing of ours puts it right, only a copy does.
        let next = if what.contains("`allclear ") {
            ""
        } else {
            "; put the newest whole copy of the state folder back"
        };
        output::result(&format!("{:<12} {what}{next}", "the store"));
    }
    let bad = audit.runs.iter().filter(|run| !run.is_good()).count();
    output::result(&format!("{} runs checked, {bad} of them not as they were written", audit.runs.len()));
    Ok(exit)
}

/// That an environment is configured as another platform than the one on which a run that has not ended began in it.
fn moved(run: &AuditedRun, config: &Config) -> Option<String> {
    let (began_on, now) = (run.platform.as_ref()?, config.platform_of(&run.environment)?);
    let goes_on = run.outcome.is_none() && run.damage.is_none();
    (goes_on && *began_on != now).then(|| {
        format!(
            "it began on {began_on}, and environment `{}` is configured as {now}: a resume is refused until it leads there again",
            run.environment
        )
    })
}

fn tell(run: &AuditedRun) {
    let id = &run.run;
    if run.is_good() {
        output::result(&format!("{id:<12} whole, {} entries", run.entries));
    }
    for problem in run.problems() {
        output::result(&format!("{id:<12} {problem}"));
    }
    for remark in &run.remarks {
        output::result(&format!("{:<12} {remark}", ""));
    }
    match &run.closed {
        Some(closed) => output::result(&format!("{:<12} {} ended it: {}", "", closed.by, closed.reason)),
        None if run.is_good() => {}
        None => output::result(&format!("{:<12} {}", "", next(run))),
    }
}

/// What a person does with a run that is not as it was written.
fn next(run: &AuditedRun) -> String {
    let id = &run.run;
    let seal = matches!(run.damage, Some(allclear_engine::journal::Damage::Seal { .. }));
    let is_whole = run.damage.is_none() && run.structure.is_empty();
    if is_whole && run.differs.is_empty() && run.plan.is_none() && !run.beside.is_empty() {
        return format!(
            "its journal is whole: allclear audit mend {id} --reason TEXT removes what was altered beside it, then: allclear \
             resume {id}"
        );
    }
    if (is_whole && !run.differs.is_empty()) || seal {
        return format!(
            "its journal is whole as far as it goes: allclear audit mend {id} --reason TEXT, or end it: allclear abort {id} \
             --damaged --reason TEXT"
        );
    }
    format!("put the newest whole copy back, or end it: allclear abort {id} --damaged --reason TEXT")
}

fn mend(global: &Global, name: &str, reason: &str) -> Result<Exit, CliError> {
    let store = store(global)?;
    let run = store.find(name)?;
    let mended = store.mend(&run.id, &operator(global), SystemClock.now(), reason)?;
    if global.json {
        output::document("mend", json!({ "run": run.id, "mended": mended }));
        return Ok(Exit::Verified);
    }
    for what in &mended {
        output::result(&format!("{:<12} put right: {what}", run.id));
    }
    if mended.is_empty() {
        output::result(&format!("{:<12} nothing beside its journal is wrong", run.id));
    }
    Ok(Exit::Verified)
}
