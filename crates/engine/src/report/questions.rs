//! Questions to people, each with what became of it.

use crate::gate::{Answer, Question};
use crate::journal::{Entry, Event, Of};

/// A question, and where in the journal it was asked, answered and settled.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    pub(super) of: &'a Of,
    pub(super) question: &'a Question,
    /// Index of the entry that asks.
    pub(super) asked: usize,
    /// Indices of answers, refused answers and the expiry, in order.
    pub(super) replies: Vec<usize>,
    /// Index of the entry that settled it: the answer that completed it, its expiry, or the end of the run.
    pub(super) settled: Option<usize>,
}

/// All questions of a run, in order.
pub(super) fn questions(entries: &[Entry]) -> Vec<Asking<'_>> {
    let mut all: Vec<Asking<'_>> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        match &entry.event {
            Event::Asked { of, question } => {
                all.push(Asking { of, question, asked: index, replies: Vec::new(), settled: None });
            }
            Event::Answered { of, .. } => {
                let Some(asking) = open(&mut all, of) else { continue };
                asking.replies.push(index);
                let answers: Vec<&Answer> =
                    asking.replies.iter().filter_map(|&reply| answer_in(&entries[reply])).collect();
                if asking.question.settled(&answers).is_some() {
                    asking.settled = Some(index);
                }
            }
            Event::AnswerRefused { of, .. } => {
                if let Some(asking) = open(&mut all, of) {
                    asking.replies.push(index);
                }
            }
            Event::GateExpired { of, .. } => {
                if let Some(asking) = open(&mut all, of) {
                    asking.replies.push(index);
                    asking.settled = Some(index);
                }
            }
            Event::Concluded { .. } => {
                for asking in all.iter_mut().filter(|asking| asking.settled.is_none()) {
                    asking.settled = Some(index);
                }
            }
            _ => {}
        }
    }
    all
}

fn answer_in(entry: &Entry) -> Option<&Answer> {
    match &entry.event {
        Event::Answered { answer, .. } => Some(answer),
        _ => None,
    }
}

fn open<'all, 'a>(all: &'all mut [Asking<'a>], of: &Of) -> Option<&'all mut Asking<'a>> {
    all.iter_mut().rfind(|asking| asking.settled.is_none() && asking.of == of)
}
