//! `approve`, `reject` and `answer`.

use std::path::PathBuf;

use allclear_engine::gate::{Answer, Question};
use allclear_engine::journal::{Entry, Event};
use serde_json::json;

use super::execute::{operator, store};
use crate::args::{AnswerArgs, Global};
use crate::environment::Wired;
use crate::exit::{CliError, Exit};
use crate::output::{self, say};

/// The question that a run waits at: asked, and not settled since.
pub(super) fn open_question(entries: &[Entry]) -> Option<Question> {
    let mut open: Option<Question> = None;
    let mut given = 0;
    for entry in entries {
        match &entry.event {
            Event::Asked { question, .. } => {
                open = Some(question.clone());
                given = 0;
            }
            Event::Answered { .. } => {
                given += 1;
                if open.as_ref().is_some_and(|question| given >= question.approvers.needed) {
                    open = None;
                }
            }
            Event::GateExpired { .. } => open = None,
            _ => {}
        }
    }
    open
}

/// Who has the run now: whoever was handed it, took it up, or started it, last.
pub(super) fn holder(entries: &[Entry]) -> &str {
    entries
        .iter()
        .rev()
        .find_map(|entry| match &entry.event {
            Event::HandedOver { to, .. } => Some(to.as_str()),
            Event::Resumed { by, .. } => Some(by.as_str()),
            Event::Started { operator, .. } => Some(operator.as_str()),
            _ => None,
        })
        .unwrap_or_default()
}

/// Hands a run over: from then on the other person has it.
pub(super) fn hand_over(global: &Global, name: &str, to: &str) -> Result<Exit, CliError> {
    let store = store(global)?;
    let run = store.find(name)?;
    if let Some(outcome) = run.outcome {
        let message = format!("run {} has ended {outcome}; there is nothing to hand over", run.id);
        return Err(CliError::new(Exit::Refused, message));
    }
    let from = operator(global);
    store.hand_over(&run.id, &from, to)?;
    if global.json {
        output::document("hand-over", json!({ "run": run.id, "from": from, "to": to }));
    } else {
        output::result(&format!("run {} is handed over from {from} to {to}", run.id));
    }
    if !run.held {
        say(&format!("{to} takes it up with: allclear resume {} --as {to}", run.id));
    }
    Ok(Exit::Verified)
}

pub(super) async fn answer(
    global: &Global,
    name: &str,
    choice: &str,
    args: AnswerArgs,
) -> Result<Exit, CliError> {
    let store = store(global)?;
    let run = store.find(name)?;
    let entries = store.entries(&run.id)?;
    let refused = |message: String| CliError::new(Exit::Refused, message);
    if let Some(outcome) = run.outcome {
        return Err(refused(format!("run {} has ended {outcome}; there is nothing to answer", run.id)));
    }
    let question = open_question(&entries)
        .filter(|question| args.gate.as_ref().is_none_or(|gate| *gate == question.gate));
    let question = question.ok_or_else(|| {
        refused(format!("run {} asks nothing now; see `allclear status {}`", run.id, run.id))
    })?;
    if let Some(deadline) = question.deadline {
        let on = Wired::of_run(global, &run, PathBuf::from(".")).await?;
        if on.clock.now() >= deadline {
            return Err(refused(format!(
                "the gate's deadline passed at {deadline}; what was declared for it counts"
            )));
        }
    }
    let binding = args.binding.unwrap_or_else(|| question.binding.clone());
    let answer = Answer { choice: choice.to_owned(), by: operator(global), binding, comment: args.comment };
    let before: Vec<Answer> = entries
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Answered { answer, .. } if answer.binding == question.binding => Some(answer.clone()),
            _ => None,
        })
        .collect();
    question.check(&answer, &before, holder(&entries)).map_err(|why| refused(why.to_string()))?;
    store.answer(&run.id, &question.gate, &answer)?;
    if global.json {
        output::document("answer", json!({ "run": run.id, "gate": question.gate, "answer": answer }));
    } else {
        output::result(&format!("{}: {} at gate {}", answer.by, answer.choice, question.gate));
    }
    if !run.held {
        say(&format!("now: allclear resume {}", run.id));
    }
    Ok(Exit::Verified)
}
