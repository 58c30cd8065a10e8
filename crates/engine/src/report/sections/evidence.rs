//! The cited entries, one line each: what was recorded, closer to the record than the timeline's sentence.

use super::super::postmortem::Cited;
use super::super::timeline::{changes_text, told};
use super::super::words::{plain, quoted};
use crate::journal::{Doing, Entry, Event, Finding};
use crate::probe::Evidence;

pub(in super::super) fn lines<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<Cited> {
    let cited =
        |entry: &Entry| Cited { seq: entry.seq, at: entry.at, key: plain(&entry.key), says: line(entry) };
    entries.map(cited).collect()
}

fn line(entry: &Entry) -> String {
    match &entry.event {
        Event::Started { runbook, version, plan, input, .. } => {
            let plan =
                plan.as_ref().map_or_else(|| "no plan".to_owned(), |plan| format!("plan {}", short(plan)));
            format!("started: {} v{version}, {plan}, input {}", quoted(runbook), quoted(&input.to_string()))
        }
        Event::PlanApproved { by, plan, .. } => format!("plan {} approved by {}", short(plan), quoted(by)),
        Event::Resumed { by, incarnation } => {
            format!("taken up again by {}, process {}", quoted(by), incarnation + 1)
        }
        Event::HandedOver { from, to } => format!("handed over from {} to {}", quoted(from), quoted(to)),
        Event::Observed { says, evidence, .. } if evidence.is_empty() => {
            format!("observed: {}", quoted(says))
        }
        Event::Observed { evidence, .. } => format!("observed: {}", shown(evidence)),
        Event::Intended { effect, attempt, key, changes, .. } => format!(
            "intended: {}, try {attempt}, under key {}: {}",
            quoted(effect),
            quoted(key),
            changes_text(changes)
        ),
        Event::Judged { effect, verdict, evidence, .. } => {
            let word = match verdict {
                crate::Verdict::Verified { .. } => "verified",
                crate::Verdict::Pending { .. } => "pending",
                crate::Verdict::Refuted { .. } => "refuted",
                crate::Verdict::Unverifiable { .. } => "unverifiable",
            };
            let rests = if evidence.is_empty() { quoted(verdict.says()) } else { shown(evidence) };
            format!("judged {word}: {}: {rests}", quoted(effect))
        }
        Event::Asked { question, .. } => format!(
            "asked at {} (binding {}): {}",
            quoted(&question.gate),
            quoted(&question.binding),
            quoted(&question.question)
        ),
        Event::Answered { answer, .. } => {
            let remark =
                answer.comment.as_ref().map_or_else(String::new, |text| format!(" ({})", quoted(text)));
            let (by, binding, choice) = (quoted(&answer.by), quoted(&answer.binding), quoted(&answer.choice));
            format!("answered by {by} (binding {binding}): {choice}{remark}")
        }
        Event::Failed { doing, attempt, error, .. } => {
            let doing = match doing {
                Doing::Observing => "to observe",
                Doing::Predicting => "to predict",
                Doing::Applying => "to apply",
                Doing::Reconciling => "to reconcile",
                Doing::Verifying => "to verify",
            };
            format!("failed {doing}, try {attempt}: {}", quoted(&error.to_string()))
        }
        Event::Applied { effect, attempt, says, .. } => {
            format!("applied: {}, try {attempt}: {}", quoted(effect), quoted(says))
        }
        Event::InDoubt { effect, attempt, why, .. } => {
            format!("in doubt: {}, try {attempt}: {}", quoted(effect), quoted(why))
        }
        Event::Reconciled { effect, finding, says, .. } => {
            let found = match finding {
                Finding::Happened => "happened",
                Finding::DidNot => "did not happen",
                Finding::Unknown => "cannot be known",
            };
            format!("reconciled: {}: {found}: {}", quoted(effect), quoted(says))
        }
        Event::AnswerRefused { by, why, .. } => {
            format!("answer from {} refused: {}", quoted(by), quoted(&why.to_string()))
        }
        // Here the record holds no more than the sentence.
        _ => told(entry),
    }
}

fn shown(evidence: &[Evidence]) -> String {
    let each: Vec<String> =
        evidence.iter().map(|one| format!("{}: {}", quoted(&one.source), quoted(&one.shows))).collect();
    each.join("; ")
}

/// Enough of a digest to tell it from others.
fn short(digest: &str) -> String {
    plain(digest).chars().take(12).collect()
}
