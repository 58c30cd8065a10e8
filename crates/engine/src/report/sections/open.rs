//! What remains for people: noted by the procedure, or derived from what the journal lacks.

use super::super::postmortem::Facts;
use super::super::statement::{Cites, Statement};
use super::super::stories::Story;
use super::super::words::{quoted, sentence, stopped};
use super::overview::{notes, standing};
use crate::claim::{Certainty, Owed};
use crate::effect::Verdict;
use crate::journal::{Entry, Event, Note};
use crate::outcome::Outcome;

const NOTHING: &str =
    "The journal leaves nothing open: the run ended as verified, and so did every change that it made.";

const NOTHING_BUT_EXCUSED: &str = "The journal leaves nothing open: the run ended as verified, and so did every change that it made, but for what cannot be read back and need not be.";

/// Everything open; one sentence that says so where nothing is.
///
/// An effect that was performed several times at one step counts as it came out the last time: three canaries that
/// failed are no question once the fourth arrived.
pub(in super::super) fn open_questions(facts: &Facts<'_>) -> Vec<Statement> {
    // That nobody knows of it is worse than anything that they would read below.
    let mut all = untold(facts);
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
        let is_settled_otherwise = is_closed(facts, &story.id()) || is_excused(facts, &story.id());
        if story.is_in_doubt() {
            all.extend(in_doubt(facts, story));
        } else if is_last && !is_settled_otherwise {
            all.extend(unproven(facts, story));
        }
    }
    all.extend(unannounced(facts));
    all.extend(owed(facts.entries).into_iter().map(|(_, statement)| statement));
    all.extend(unanswered(facts));
    all.extend(notes(facts, |note| match note {
        Note::OpenQuestion { says } => Some(sentence(says)),
        _ => None,
    }));
    all.extend(out_of_order(facts));
    if all.is_empty() {
        let excused: Vec<u64> =
            facts.notes().filter(|(_, note)| matches!(note, Note::Excused(_))).map(|(seq, _)| seq).collect();
        let text = if excused.is_empty() { NOTHING } else { NOTHING_BUT_EXCUSED };
        all.extend(
            facts.conclusion().map(|(end, ..)| Statement::new(text, Cites::one(end.seq).and_all(excused))),
        );
    }
    all
}

/// People who should have been told and, as far as anybody knows, were not.
fn untold(facts: &Facts<'_>) -> Vec<Statement> {
    let mut all = Vec::new();
    for (seq, note) in facts.notes() {
        if let Note::Told(claim) = note
            && claim.certainty() == Certainty::Unproven
            && !facts.notes().any(|(_, later)| matches!(later, Note::Closed(by) if claim.is_closed_by(by)))
        {
            let cites = Cites::one(seq).and_all(facts.seqs_of(claim.rests_on()));
            all.push(Statement::new(sentence(claim.says()), cites));
        }
    }
    all
}

/// What the platform's record does not say of the run: that it went on, or that it has ended.
fn unannounced(facts: &Facts<'_>) -> Vec<Statement> {
    let last = |is: fn(&Event) -> bool| facts.entries.iter().rfind(|entry| is(&entry.event));
    let took = last(|event| matches!(event, Event::Announced { .. } | Event::NotAnnounced { .. }));
    let gave = last(|event| matches!(event, Event::GaveBack { .. }));
    let says = |entry: &Entry| match &entry.event {
        Event::NotAnnounced { why } => Some(format!(
            "The run could not be announced on the platform ({}), so nothing proves that no other machine ran the same \
             beside it",
            quoted(why)
        )),
        Event::GaveBack { untold: Some(why) } => Some(format!(
            "The platform could not be told that the run has ended ({}), so other machines wait for it: `allclear resume` of \
             this run tells it, and so does the next run of the runbook from here",
            quoted(why)
        )),
        _ => None,
    };
    let open = [took, gave].into_iter().flatten();
    open.filter_map(|entry| Some(Statement::new(stopped(says(entry)?), entry.seq))).collect()
}

/// What the run itself made and did not end: its own pages, the alarm that is the last word in a channel, messages that stay
/// skipped.
pub fn owed(entries: &[Entry]) -> Vec<(&Owed, Statement)> {
    let notes = entries.iter().filter_map(|entry| match &entry.event {
        Event::Noted { note, .. } => Some((entry.seq, note)),
        _ => None,
    });
    let mut open: Vec<(u64, &Owed)> = Vec::new();
    for (seq, note) in notes {
        match note {
            Note::Owed(owed) => {
                open.retain(|(_, known)| known.id() != owed.id());
                open.push((seq, owed));
            }
            Note::Closed(closing) => open.retain(|(_, known)| known.id() != closing.id()),
            _ => {}
        }
    }
    open.into_iter().map(|(seq, owed)| (owed, Statement::new(sentence(owed.says()), seq))).collect()
}

fn is_closed(facts: &Facts<'_>, effect: &str) -> bool {
    facts.notes().any(|(_, note)| matches!(note, Note::Closed(closing) if closing.id() == effect))
}

fn is_excused(facts: &Facts<'_>, effect: &str) -> bool {
    facts.notes().any(|(_, note)| matches!(note, Note::Excused(excuse) if excuse.id() == effect))
}

/// Whether the only sentence is that there is nothing.
pub(super) fn says_nothing_is_open(open: &[Statement]) -> bool {
    matches!(open, [only] if only.text() == NOTHING || only.text() == NOTHING_BUT_EXCUSED)
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
