//! `status`, `watch`, `abort` and `report`.

use std::path::PathBuf;
use std::time::Duration;

use allclear_engine::gate::Question;
use allclear_engine::report::{Postmortem, to_markdown};
use allclear_engine::sqlite::{RunSummary, Store};
use serde_json::{Value, json};

use super::catalogue::runbook;
use super::execute::{save, take_up};
use super::gates::open_question;
use super::here::{folder, operator, store};
use crate::Hooks;
use crate::args::{Format, GatePolicy, Global};
use crate::environment::Wired;
use crate::exit::{CliError, Exit};
use crate::humans::gate_text;
use crate::output::{self, say};
use crate::view::View;

/// How a run stands, and the question that it waits at.
struct Stands {
    run: RunSummary,
    question: Option<Question>,
}

impl Stands {
    fn of(store: &Store, run: RunSummary) -> Result<Self, CliError> {
        let standing = match run.outcome {
            Some(_) => None,
            None => store.standing(&run.id)?,
        };
        Ok(Self { run, question: standing.map(|standing| standing.question) })
    }

    fn state(&self) -> String {
        match (self.run.outcome, &self.question) {
            (Some(outcome), _) => outcome.to_string(),
            (None, Some(_)) => "waiting".to_owned(),
            (None, None) if self.run.held => "running".to_owned(),
            (None, None) => "interrupted".to_owned(),
        }
    }

    fn json(&self) -> Value {
        let run = &self.run;
        json!({
            "id": run.id, "runbook": run.runbook, "environment": run.environment, "operator": run.operator,
            "began_at": run.began_at, "state": self.state(), "held": run.held, "entries": run.entries,
            "gate": self.question.as_ref().map(|question| &question.gate),
            "answer_with": self.question.as_ref().map(|question| answer_with(&run.id, question)),
        })
    }

    fn line(&self) -> String {
        let run = &self.run;
        let began = run.began_at.strftime("%Y-%m-%d %H:%M:%S");
        format!(
            "{:<12} {:<20} {:<26} {:<12} {began}  {} entries",
            run.id,
            self.state(),
            run.runbook,
            run.environment,
            run.entries
        )
    }

    /// What a person does next with it.
    fn next(&self) -> Option<String> {
        let id = &self.run.id;
        match (&self.question, self.run.held) {
            (Some(question), true) => Some(format!("{}: {}", question.gate, answer_with(id, question))),
            (Some(question), false) => {
                let answer = answer_with(id, question);
                Some(format!("{}: {answer}, then: allclear resume {id}", question.gate))
            }
            (None, false) if self.run.outcome.is_none() => Some(format!("go on with: allclear resume {id}")),
            (None, _) => None,
        }
    }
}

fn answer_with(run: &str, question: &Question) -> String {
    let choices: Vec<&str> = question.choices.iter().map(|choice| choice.id.as_str()).collect();
    format!("allclear answer {run} {}", choices.join("|"))
}

pub(super) fn status(global: &Global, name: Option<&str>) -> Result<Exit, CliError> {
    let store = store(global)?;
    let stop = store.stopped()?;
    let runs = match name {
        Some(name) => vec![store.find(name)?],
        None => store.runs()?,
    };
    let runs = runs.into_iter().map(|run| Stands::of(&store, run)).collect::<Result<Vec<_>, _>>()?;
    if global.json {
        let all: Vec<_> = runs.iter().map(Stands::json).collect();
        output::document("status", json!({ "runs": all, "stop": stop }));
        return Ok(Exit::Verified);
    }
    if let Some(stop) = stop {
        output::result(&format!("{stop}; to go on: allclear lift-stop"));
    }
    for stands in &runs {
        output::result(&stands.line());
        match &stands.question {
            Some(question) if name.is_some() => output::result(&gate_text(&stands.run.id, question)),
            _ => {}
        }
        if let Some(next) = stands.next() {
            output::result(&format!("{:<12} {next}", ""));
        }
    }
    Ok(Exit::Verified)
}

pub(super) async fn watch(global: &Global, name: &str) -> Result<Exit, CliError> {
    let store = store(global)?;
    let run = store.find(name)?;
    let view = View::of(runbook(&run.runbook)?.steps);
    let mut shown = 0;
    loop {
        let entries = store.entries(&run.id)?;
        for entry in &entries[shown.min(entries.len())..] {
            view.show(entry);
        }
        shown = entries.len();
        let now = store.find(&run.id)?;
        if let Some(outcome) = now.outcome {
            view.finish();
            output::result(&outcome.to_string());
            return Ok(outcome.into());
        }
        if !now.held {
            view.finish();
            if let Some(question) = open_question(&entries) {
                say(&gate_text(&run.id, &question));
                output::result(&format!("waiting; when it is answered: allclear resume {}", run.id));
                return Ok(Exit::Waiting);
            }
            output::result(&format!("interrupted; go on with: allclear resume {}", run.id));
            return Ok(Exit::Detached);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

pub(super) async fn abort(global: &Global, name: &str, hooks: Hooks) -> Result<Exit, CliError> {
    let store = store(global)?;
    let run = store.find(name)?;
    if let Some(outcome) = run.outcome {
        return Err(CliError::new(Exit::Refused, format!("run {} has ended {outcome} already", run.id)));
    }
    store.abort(&run.id, &operator(global))?;
    if !run.held
        && let Some(on) = gone_sandbox(global, &run).await?
    {
        // Nobody could ever take it up, and what it holds would be refused to every later run.
        say(&format!("the sandbox of run {} is gone, so the run is ended now", run.id));
        let nobody = Global { no_input: true, ..global.clone() };
        let exit = take_up(&nobody, &store, &run, on, &GatePolicy::default(), hooks).await?;
        return Ok(if exit == Exit::Rejected { Exit::Verified } else { exit });
    }
    let next = if run.held {
        "it ends after its current effect is settled"
    } else {
        "nobody runs it; `allclear resume` ends it"
    };
    output::result(&format!("run {} was asked to end; {next}", run.id));
    Ok(Exit::Verified)
}

/// The environment of a run whose sandbox does not answer any more; `None` where there is one that does.
async fn gone_sandbox(global: &Global, run: &RunSummary) -> Result<Option<Wired>, CliError> {
    let artifacts = folder(global, &run.id).join("artifacts");
    match run.context["sandbox"].as_str() {
        Some(url) if Wired::of_run(global, run, artifacts.clone()).await.is_err() => {
            Wired::of_gone_sandbox(run, url, artifacts).map(Some)
        }
        _ => Ok(None),
    }
}

pub(super) fn report(
    global: &Global,
    name: &str,
    format: Format,
    path: Option<PathBuf>,
) -> Result<Exit, CliError> {
    let store = store(global)?;
    let run = store.find(name)?;
    let postmortem = Postmortem::from_entries(&store.entries(&run.id)?, runbook(&run.runbook)?.steps);
    let text = match format {
        Format::Md if !global.json => to_markdown(&postmortem),
        _ => serde_json::to_string_pretty(&postmortem)
            .map_err(|error| CliError::internal(error.to_string()))?,
    };
    match path {
        Some(path) => {
            save(&path, &text)?;
            output::result(&path.display().to_string());
        }
        None => output::result(&text),
    }
    Ok(Exit::Verified)
}
