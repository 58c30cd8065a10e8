//! `status`, `watch`, `abort` and `report`.

use std::path::PathBuf;
use std::time::Duration;

use allclear_core::owner::Ended;
use allclear_core::{Clock as _, Service};
use allclear_engine::gate::Question;
use allclear_engine::report::{Form, Postmortem, to_markdown, told};
use allclear_engine::sqlite::{HandedIn, RunSummary, Store};
use allclear_engine::{Entry, Event, Outcome, SeamError};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::catalogue::recorded_runbook;
use super::execute::{save, take_up};
use super::gates::open_question;
use super::here::{folder, operator, store};
use super::undo::{left_lines, undone_by};
use crate::Hooks;
use crate::args::{Format, GatePolicy, Global, ReportForm};
use crate::clock::SystemClock;
use crate::environment::Wired;
use crate::exit::{CliError, Exit};
use crate::humans::{answer_with, gate_text};
use crate::output::{self, say};
use crate::owner;
use crate::view::View;

/// How a run stands, and the question that it waits at.
struct Stands {
    run: RunSummary,
    question: Option<Question>,
    /// What waits for it, or is its question, and is not what was written: one such run hides no other.
    altered: Option<String>,
    /// The undo that took it back.
    undone_by: Option<String>,
    /// Why nobody runs it, where it has not ended.
    stopped: Option<Stopped>,
    /// What it waits for, where a process has it.
    waits: Option<Waits>,
    /// What was handed in and it takes up next.
    handed_in: Option<HandedIn>,
}

/// How a run came to stand where no process has it any more.
struct Stopped {
    why: String,
    since: Timestamp,
    /// Whose failure it was, where it was one.
    service: Option<Service>,
}

/// What a run that goes on waits for.
struct Waits {
    says: String,
    until: Timestamp,
}

impl Stopped {
    fn json(&self) -> Value {
        json!({ "why": self.why, "since": self.since, "service": self.service })
    }

    fn of(entries: &[Entry]) -> Option<Self> {
        let last = entries.last()?;
        let since = last.at;
        let failure = |entry: &Entry| match &entry.event {
            Event::Failed { error, .. } => Some(error.service()),
            _ => None,
        };
        Some(match &last.event {
            Event::Detached { why, outcome } => {
                let failed = *outcome == Some(Outcome::Interrupted);
                let service = entries.iter().rev().find_map(failure).filter(|_| failed);
                Self { why: why.clone(), since, service }
            }
            _ => Self {
                why: format!("its process ended without a word; last: {}", told(last)),
                since,
                service: None,
            },
        })
    }
}

impl Waits {
    fn of(entries: &[Entry]) -> Option<Self> {
        // A hand-over or an announcement is recorded beside a wait and does not end it.
        let last = entries.iter().rfind(|entry| !matches!(entry.event, Event::HandedOver { .. }))?;
        let Event::Slept { until, .. } = &last.event else { return None };
        let failed = entries.iter().rev().take(4).find_map(|entry| match &entry.event {
            Event::Failed { error, .. } => Some(format!(": {error}")),
            _ => None,
        });
        let says = told(last);
        let says = says.trim_end_matches('.');
        Some(Self { says: format!("{says}{}", failed.unwrap_or_default()), until: *until })
    }
}

impl Stands {
    fn of(store: &Store, run: RunSummary, all: &[RunSummary]) -> Result<Self, CliError> {
        let (standing, altered) = match (run.outcome, &run.damage) {
            (None, None) => match store.standing(&run.id) {
                Err(error @ SeamError::Altered { .. }) => (None, Some(error.to_string())),
                standing => (standing?, None),
            },
            _ => (None, None),
        };
        let undone_by = undone_by(all, &run.id);
        let question = standing.map(|standing| standing.question);
        let is_open = run.outcome.is_none() && run.damage.is_none() && question.is_none();
        let entries = if is_open { store.whole_entries(&run.id)?.0 } else { Vec::new() };
        let stopped = if run.held { None } else { Stopped::of(&entries) };
        let waits = if run.held { Waits::of(&entries) } else { None };
        let is_whole = run.outcome.is_none() && run.damage.is_none() && altered.is_none();
        let handed_in = if is_whole { store.handed_in(&run.id)? } else { None };
        Ok(Self { run, question, altered, undone_by, stopped, waits, handed_in })
    }

    fn state(&self) -> String {
        if self.run.closed.is_some() {
            return "ended as damaged".to_owned();
        }
        if self.run.damage.is_some() {
            return "damaged".to_owned();
        }
        if self.altered.is_some() {
            return "altered".to_owned();
        }
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
            "undone_by": self.undone_by, "stopped": self.stopped.as_ref().map(Stopped::json),
            "waits": self.waits.as_ref().map(|waits| json!({ "for": waits.says, "until": waits.until })),
            "next": self.command(), "handed_in": self.handed_in,
            "gate": self.question.as_ref().map(|question| &question.gate),
            "binding": self.question.as_ref().map(|question| &question.binding),
            "answer_with": self.question.as_ref().map(|question| any_answer(&run.id, question)),
            "damage": run.damage.as_ref().map(ToString::to_string), "differs": self.differs(), "closed": run.closed,
            "altered": self.altered,
        })
    }

    fn line(&self) -> String {
        let run = &self.run;
        let began = run.began_at.map_or_else(
            || "at an unknown time".to_owned(),
            |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        );
        format!(
            "{:<12} {:<20} {:<26} {:<12} {began}  {} entries",
            run.id,
            self.state(),
            run.runbook,
            run.environment,
            run.entries
        )
    }

    /// What a person types next, where there is something.
    fn command(&self) -> Option<String> {
        let id = &self.run.id;
        if self.run.closed.is_some() || self.run.outcome.is_some() {
            return None;
        }
        if self.run.damage.is_some() {
            return Some(format!("allclear audit verify {id}"));
        }
        match &self.question {
            Some(question) if self.handed_in.is_none() => Some(any_answer(id, question)),
            _ if self.run.held => Some(format!("allclear watch {id}")),
            _ => Some(format!("allclear resume {id}")),
        }
    }

    /// Why it stands still, or what it waits for.
    fn why(&self) -> Option<String> {
        let at = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%S UTC");
        if let Some(Waits { says, until }) = &self.waits {
            return Some(format!("waits until {}: {says}", at(*until)));
        }
        let Stopped { why, since, service } = self.stopped.as_ref()?;
        let whose = service.map_or_else(String::new, |service| format!(" because of {service}"));
        Some(format!("since {}{whose}: {why}", at(*since)))
    }

    /// What its row says otherwise than its journal, in words.
    fn differs(&self) -> Vec<String> {
        self.run.differs.iter().map(ToString::to_string).collect()
    }

    /// What a person does next with it.
    fn next(&self) -> Option<String> {
        let id = &self.run.id;
        if let Some(closed) = &self.run.closed {
            return Some(format!("{} ended it: {}", closed.by, closed.reason));
        }
        if let Some(damage) = &self.run.damage {
            return Some(format!("{damage}; see: allclear audit verify {id}"));
        }
        if let Some(altered) = &self.altered {
            return Some(altered.clone());
        }
        let done = match &self.handed_in {
            Some(HandedIn::Answer { by, choice }) => Some(format!("{by} answered `{choice}`")),
            Some(HandedIn::End { by }) => Some(format!("{by} asked it to end")),
            None => None,
        };
        match (&self.question, self.run.held) {
            _ if self.run.outcome.is_none() && done.is_some() => {
                let next = if self.run.held { "watch" } else { "resume" };
                done.map(|done| format!("{done}; it takes that up with: allclear {next} {id}"))
            }
            (Some(question), true) => Some(format!("{}: {}", question.gate, any_answer(id, question))),
            (Some(question), false) => {
                let answer = any_answer(id, question);
                Some(format!(
                    "{}: {answer}, then: allclear resume {id}{}",
                    question.gate,
                    sandbox_stays(&self.run)
                ))
            }
            (None, false) if self.run.outcome.is_none() => {
                Some(format!("go on with: allclear resume {id}{}", sandbox_stays(&self.run)))
            }
            (None, _) => self.undone_by.as_ref().map(|by| format!("it was undone by run {by}")),
        }
    }
}

/// How long a drill's world waits for its run.
fn sandbox_stays(run: &RunSummary) -> &'static str {
    if run.context["ends_with_run"] == true {
        " (its sandbox stays until the run has ended, at most seven days without a request; `allclear abort` ends both)"
    } else {
        ""
    }
}

fn any_answer(run: &str, question: &Question) -> String {
    let choices: Vec<&str> = question.choices.iter().map(|choice| choice.id.as_str()).collect();
    answer_with(run, question, &choices.join("|"))
}

pub(super) fn status(global: &Global, name: Option<&str>) -> Result<Exit, CliError> {
    let store = store(global)?;
    let stop = store.stopped()?;
    let runs = match name {
        Some(name) => vec![store.find(name)?],
        None => store.runs()?,
    };
    let all = store.runs()?;
    let runs = runs.into_iter().map(|run| Stands::of(&store, run, &all)).collect::<Result<Vec<_>, _>>()?;
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
            Some(question) if name.is_some() && stands.handed_in.is_none() => {
                output::result(&gate_text(&stands.run.id, question));
            }
            _ => {}
        }
        for differs in stands.differs() {
            output::result(&format!("{:<12} {differs}; the journal counts", ""));
        }
        if name.is_some() {
            let entries = store.whole_entries(&stands.run.id)?.0;
            for line in left_lines(&entries, &stands.run.id, stands.undone_by.is_some()) {
                output::result(&line);
            }
        }
        if let Some(why) = stands.why() {
            output::result(&format!("{:<12} {why}", ""));
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
    let view = View::of(recorded_runbook(&run.runbook)?.steps);
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
            watched(global, &run.id, outcome, &outcome.to_string());
            return Ok(outcome.into());
        }
        if !now.held {
            view.finish();
            if let Some(question) = open_question(&entries) {
                say(&gate_text(&run.id, &question));
                let says = format!("waiting; when it is answered: allclear resume {}", run.id);
                watched(global, &run.id, Outcome::WaitingForHuman, &says);
                return Ok(Exit::Waiting);
            }
            let says = format!("interrupted; go on with: allclear resume {}", run.id);
            watched(global, &run.id, Outcome::Interrupted, &says);
            return Ok(Exit::Detached);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// How far a run had come when there was nothing more to watch.
fn watched(global: &Global, run: &str, outcome: Outcome, says: &str) {
    if global.json {
        output::document("watch", json!({ "run": run, "outcome": outcome }));
    } else {
        output::result(says);
    }
}

/// Ends a run that cannot be taken up: what it holds is released, and who ended it and why is recorded beside it.
pub(super) async fn abort_damaged(global: &Global, name: &str, reason: &str) -> Result<Exit, CliError> {
    let store = store(global)?;
    let run = store.find(name)?;
    let closed = store.close(&run.id, &operator(global), SystemClock.now(), reason)?;
    if global.json {
        output::document("abort-damaged", json!({ "closed": closed }));
    } else {
        output::result(&format!(
            "run {} is ended as damaged, and what it held is released: {}",
            closed.run, closed.damage
        ));
    }
    say(&format!(
        "{} entries of its journal are whole: allclear report {}; what it changed after those is for people to look up",
        closed.entries, closed.run
    ));
    if owner::is_announced(&run) {
        let ended = Ended::taken_over(format!("ended as damaged by {}: {reason}", operator(global)));
        let artifacts = folder(global, &run.id).join("artifacts");
        match Wired::of_run(global, &run, artifacts).await {
            Ok(on) => owner::tell_of(&on, &store, &run, &ended).await,
            Err(error) => say(&owner::untold(&run, &error.message)),
        }
    }
    Ok(Exit::Verified)
}

pub(super) async fn abort(
    global: &Global,
    name: &str,
    reason: Option<&str>,
    hooks: Hooks,
) -> Result<Exit, CliError> {
    let store = store(global)?;
    let run = store.find(name)?;
    super::execute::refuse_damaged(&run)?;
    if let Some(outcome) = run.outcome {
        return Err(CliError::new(Exit::Refused, format!("run {} has ended {outcome} already", run.id)));
    }
    store.abort(&run.id, &operator(global), reason)?;
    if !run.held
        && let Some(on) = gone_sandbox(global, &run).await?
    {
        // Nobody could ever take it up, and what it holds would be refused to every later run.
        say(&format!("the sandbox of run {} is gone, so the run is ended now", run.id));
        let nobody = Global { no_input: true, ..global.clone() };
        let exit = take_up(&nobody, &store, &run, on, &GatePolicy::default(), hooks).await?;
        return Ok(if exit == Exit::Rejected { Exit::Verified } else { exit });
    }
    if !run.held && run.context["ends_with_run"] == true {
        // A drill's sandbox waits for its run as long as that can be taken up; nobody will.
        let on = Wired::of_run(global, &run, folder(global, &run.id).join("artifacts")).await?;
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
    form: ReportForm,
    path: Option<PathBuf>,
) -> Result<Exit, CliError> {
    let store = store(global)?;
    let run = store.find(name)?;
    let (entries, damage) = store.whole_entries(&run.id)?;
    let steps = match (recorded_runbook(&run.runbook), &damage) {
        (Ok(entry), _) => entry.steps,
        // Which runbook it was may be what is lost.
        (Err(_), Some(_)) => &[],
        (Err(error), None) => return Err(error),
    };
    let postmortem = Postmortem::from_entries(&entries, steps);
    let is_json = format == Format::Json || global.json;
    if is_json && form != ReportForm::Full {
        return Err(CliError::usage(
            "JSON has every section; leave --form out, or ask for Markdown".to_owned(),
        ));
    }
    let form = match form {
        ReportForm::Short => Form::Short,
        ReportForm::Review => Form::Review,
        ReportForm::Full => Form::Full,
    };
    let text = match format {
        Format::Md if !global.json => to_markdown(&postmortem, form),
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
    match damage {
        Some(damage) => {
            let (id, whole) = (&run.id, entries.len());
            say(&format!(
                "run {id}: {damage}. The report ends after entry {whole}; see: allclear audit verify {id}"
            ));
            Ok(Exit::Internal)
        }
        None => Ok(Exit::Verified),
    }
}
