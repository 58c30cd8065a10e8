//! What is written into a journal is masked here, at the one place that writes: every sentence, remark and piece of
//! evidence, and what services and people said. Values, receipts, keys and ids are the procedure's own and stay as they are:
//! a replay computes with them.

use allclear_core::PortError;
use allclear_core::secrets::masked;

use crate::effect::Verdict;
use crate::gate::{Answer, AnswerRefused, Question};
use crate::journal::{Event, Note};
use crate::probe::Evidence;

/// The event as it may be written down.
pub(crate) fn fit_to_keep(mut event: Event) -> Event {
    match &mut event {
        Event::Observed { says, evidence, .. } => {
            mask(says);
            mask_evidence(evidence);
        }
        Event::Failed { error, .. } => mask_error(error),
        Event::Intended { notes, .. } => notes.iter_mut().for_each(mask),
        Event::Judged { verdict, evidence, .. } => {
            let (Verdict::Verified { says }
            | Verdict::Pending { says }
            | Verdict::Refuted { says }
            | Verdict::Unverifiable { says }) = verdict;
            mask(says);
            mask_evidence(evidence);
        }
        Event::Asked { question: Question { question, shown, .. }, .. } => {
            mask(question);
            shown.iter_mut().for_each(mask);
        }
        Event::Answered { answer: Answer { comment: Some(comment), .. }, .. } => mask(comment),
        Event::AnswerRefused { why: AnswerRefused::NotOffered { choice, .. }, .. } => mask(choice),
        Event::InDoubt { why, .. }
        | Event::Detached { why, .. }
        | Event::NotAnnounced { why }
        | Event::GaveBack { untold: Some(why) } => mask(why),
        Event::Applied { says, .. }
        | Event::Reconciled { says, .. }
        | Event::Slept { says, .. }
        | Event::DeadlineSet { says, .. }
        | Event::WaitsLong { says }
        | Event::Concluded { says, .. } => mask(says),
        Event::Noted { note, .. } => mask_note(note),
        _ => {}
    }
    event
}

fn mask(text: &mut String) {
    *text = masked(std::mem::take(text));
}

fn mask_evidence(evidence: &mut [Evidence]) {
    for one in evidence {
        mask(&mut one.shows);
    }
}

fn mask_note(note: &mut Note) {
    match note {
        Note::Affected { says, .. } | Note::Artifact { says, .. } | Note::OpenQuestion { says, .. } => {
            mask(says);
        }
        // What these say is the procedure's own words and verdicts, which were masked when they were recorded.
        Note::Count { .. }
        | Note::Mitigation(_)
        | Note::Told(_)
        | Note::Owed(_)
        | Note::Closed(_)
        | Note::Excused(_) => {}
    }
}

fn mask_error(error: &mut PortError) {
    match error {
        PortError::NotFound { what: text, .. }
        | PortError::AlreadyDone { detail: text, .. }
        | PortError::RateLimited { detail: text, .. }
        | PortError::Unavailable { detail: text, .. }
        | PortError::OutcomeUnknown { detail: text, .. }
        | PortError::Rejected { detail: text, .. }
        | PortError::Malformed { detail: text, .. }
        | PortError::Damaged { detail: text, .. }
        | PortError::Stopped { detail: text, .. } => mask(text),
    }
}
