//! What remains for people: noted by the procedure, or derived from what the journal lacks.

use super::super::postmortem::Facts;
use super::super::statement::{Cites, Statement};
use super::super::stories::Story;
use super::super::words::{quoted, sentence, stopped};
use super::overview::{notes, standing};
use crate::effect::Verdict;
use crate::journal::{Event, Note};
use crate::outcome::Outcome;

const NOTHING: &str =
    "The journal leaves nothing open: the run ended as verified, and so did every change that it made.";

/// Everything open; one sentence that says so where nothing is.
///
/// An effect that was performed several times at one step counts as it came out the last time: three canaries that
/// failed are no question once the fourth arrived.
pub(in super::super) fn open_questions(facts: &Facts<'_>) -> Vec<Statement> {
    let mut all = Vec::new();
    match facts.conclusion() {
        None => {
            let (text, cites) = standing(facts);
            all.push(Statement::new(stopped(format!("The run has not ended: {text}")), cites));
        }
        Some((_, Outcome::Verified, _)) => {}
        Some((end, outcome, says)) => {
            let text = stopped(format!("The run ended as {outcome}, not as verified: {}", quoted(says)));
            all.push(Statement::new(text, end.seq));
        }
    }
    for (index, story) in facts.stories.iter().enumerate() {
        let later = &facts.stories[index + 1..];
        let is_last = !later.iter().any(|other| other.of == story.of && other.effect == story.effect);
        if story.is_in_doubt() {
            all.extend(in_doubt(facts, story));
        } else if is_last {
            all.extend(unproven(facts, story));
        }
    }
    all.extend(unanswered(facts));
    all.extend(notes(facts, |note| match note {
        Note::OpenQuestion { says } => Some(sentence(says)),
        _ => None,
    }));
    all.extend(out_of_order(facts));
    if all.is_empty() {
        all.extend(facts.conclusion().map(|(end, ..)| Statement::new(NOTHING, end.seq)));
    }
    all
}

/// Whether the only sentence is that there is nothing.
pub(super) fn says_nothing_is_open(open: &[Statement]) -> bool {
    matches!(open, [only] if only.text() == NOTHING)
}

fn in_doubt(facts: &Facts<'_>, story: &Story<'_>) -> Option<Statement> {
    let seqs = story.intents.iter().chain(story.doubts.last().map(|doubt| &doubt.seq)).copied();
    let cites = Cites::all(seqs)?.and(facts.last.seq);
    let text = format!("Did “{}” happen? The run may have done it, and nothing tells.", quoted(story.title));
    Some(Statement::new(text, cites))
}

fn unproven(facts: &Facts<'_>, story: &Story<'_>) -> Option<Statement> {
    let title = quoted(story.title);
    let cites = Cites::all(story.seqs());
    let text = match story.judged.map(|judged| judged.verdict) {
        Some(Verdict::Verified { .. }) => return None,
        Some(Verdict::Refuted { says }) => {
            format!("“{title}” does not hold: {}", quoted(says))
        }
        Some(Verdict::Unverifiable { says }) => {
            format!("“{title}” is not proven: {}", quoted(says))
        }
        Some(Verdict::Pending { says }) => {
            format!("“{title}” is not proven yet: {}", quoted(says))
        }
        None if story.done.is_some() => {
            return Some(Statement::new(
                format!("“{title}” is not proven: the run has not read it back."),
                cites?.and(facts.last.seq),
            ));
        }
        None => {
            let Some((seq, error)) = story.failures.last() else {
                let text = format!("“{title}” was not done.");
                return Some(Statement::new(text, cites?.and(facts.last.seq)));
            };
            let text = stopped(format!("“{title}” was not done: {}", quoted(&error.to_string())));
            return Some(Statement::new(text, Cites::one(*seq).and_all(story.seqs())));
        }
    };
    Some(Statement::new(stopped(text), cites?))
}

/// Questions without an answer, but for the one that the run is said to wait at.
fn unanswered(facts: &Facts<'_>) -> Vec<Statement> {
    let mut open: Vec<_> = facts.questions.iter().filter(|asking| asking.settled.is_none()).collect();
    open.pop();
    open.iter()
        .map(|asking| {
            let asked = &facts.entries[asking.asked];
            let (step, question) = (quoted(&asking.of.step), quoted(&asking.question.question));
            let text = stopped(format!("{step} waits for an answer: {question}"));
            Statement::new(text, Cites::one(asked.seq).and(facts.last.seq))
        })
        .collect()
}

fn out_of_order(facts: &Facts<'_>) -> Option<Statement> {
    let differs = facts.entries.iter().filter(|entry| matches!(entry.event, Event::OrderDiffers { .. }));
    let cites = Cites::all(differs.map(|entry| entry.seq))?;
    let text =
        "The procedure went another way than before after it was taken up again: was it changed in between?";
    Some(Statement::new(text, cites))
}
