//! One sentence for each entry.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::effect::Verdict;
use crate::journal::{Doing, Entry, Event, Finding, Note};

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// The entry it rests on.
    pub seq: u64,
    /// When it was.
    pub at: Timestamp,
    /// How long after the beginning.
    pub since_start: SignedDuration,
    /// Which step it belongs to; empty for the run itself.
    pub step: String,
    /// The sentence.
    pub says: String,
}

/// The timeline: a sentence for every entry.
pub fn timeline(entries: &[Entry]) -> Vec<Moment> {
    let Some(first) = entries.first() else { return Vec::new() };
    let moment = |entry: &Entry| Moment {
        seq: entry.seq,
        at: entry.at,
        since_start: entry.at.duration_since(first.at),
        step: entry.event.of().map(|of| of.step.clone()).unwrap_or_default(),
        says: sentence(&entry.event),
    };
    entries.iter().map(moment).collect()
}

/// What an event says, in one line without control characters.
pub fn sentence(event: &Event) -> String {
    let says = match event {
        Event::Started { title, environment, operator, version, .. } => {
            format!("{operator} started {title} (version {version}) in {environment}")
        }
        Event::PlanApproved { by, plan, effects } => {
            format!("{by} approved plan {} with {effects} effects", &plan[..plan.len().min(12)])
        }
        Event::Resumed { by, incarnation } => format!("{by} took the run up again (time {incarnation})"),
        Event::Observed { says, .. } => format!("saw that {says}"),
        Event::Failed { doing, attempt, error, .. } => {
            format!("failed {} (try {attempt}): {error}", doing_text(*doing))
        }
        Event::Intended { title, .. } => format!("is about to {title}"),
        Event::AlreadySo { title, .. } => format!("need not {title}: it is so already"),
        Event::Drifted { effect, .. } => format!("found that the world has moved since the plan ({effect})"),
        Event::Applied { says, .. } => says.clone(),
        Event::InDoubt { effect, why, .. } => format!("does not know whether {effect} happened: {why}"),
        Event::Reconciled { effect, finding, says, .. } => match finding {
            Finding::Happened => format!("found out that {effect} happened: {says}"),
            Finding::DidNot => format!("found out that {effect} did not happen: {says}"),
            Finding::Unknown => format!("could not find out whether {effect} happened: {says}"),
        },
        Event::Judged { verdict, .. } => verdict_text(verdict),
        Event::Asked { question, .. } => format!("asked at gate {}: {}", question.gate, question.question),
        Event::Answered { answer, .. } => format!("{} answered {}", answer.by, answer.choice),
        Event::AnswerRefused { by, why, .. } => format!("refused an answer of {by}: {why}"),
        Event::GateExpired { choice, .. } => format!("nobody answered in time, so {choice} counts"),
        Event::Slept { until, says, .. } => format!("waits until {}: {says}", clock_text(*until)),
        Event::DeadlineSet { at, says, .. } => format!("set a deadline for {}: {says}", clock_text(*at)),
        Event::DeadlinePassed { at, .. } => format!("the deadline of {} passed", clock_text(*at)),
        Event::Noted { note, .. } => note_text(note),
        Event::OrderDiffers { key, recorded } => {
            format!("went another way than recorded: {key} where {recorded} was")
        }
        Event::Detached { why } => format!("let go: {why}"),
        Event::Concluded { outcome, says } => format!("ended {outcome}: {says}"),
    };
    says.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn doing_text(doing: Doing) -> &'static str {
    match doing {
        Doing::Observing => "to look",
        Doing::Predicting => "to predict",
        Doing::Applying => "to act",
        Doing::Reconciling => "to find out",
        Doing::Verifying => "to read back",
    }
}

pub(super) fn verdict_text(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Verified { says } => format!("verified: {says}"),
        Verdict::Pending { says } => format!("not proven yet: {says}"),
        Verdict::Refuted { says } => format!("refuted: {says}"),
        Verdict::Unverifiable { says } => format!("cannot be verified: {says}"),
    }
}

fn note_text(note: &Note) -> String {
    match note {
        Note::Affected { kind, label, says, .. } => format!("{kind} {label} is affected: {says}"),
        Note::Count { what, count } => format!("{what}: {count}"),
        Note::Mitigation { says } | Note::OpenQuestion { says } => says.clone(),
        Note::Artifact { name, says } => format!("left {name}: {says}"),
    }
}

pub(super) fn clock_text(at: Timestamp) -> String {
    at.strftime("%H:%M:%S UTC").to_string()
}
