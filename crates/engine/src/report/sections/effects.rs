//! What was changed, what was in doubt, and what is proven.

use super::super::postmortem::{Changed, Exchange, Facts, Verification};
use super::super::statement::{Cites, Statement};
use super::super::stories::{Clue, DID_NOT, Done, HAPPENED, How, Shows, Story, Why};
use super::super::timeline::change_text;
use super::super::words::{plain, quoted, sentence, stopped};
use crate::effect::Verdict;
use crate::journal::Finding;

/// How an effect stands, in a word or two.
pub(super) fn verdict_word(story: &Story<'_>) -> &'static str {
    match story.judged.map(|judged| judged.verdict) {
        Some(Verdict::Verified { .. }) => "verified",
        Some(Verdict::Refuted { .. }) => "refuted",
        Some(Verdict::Unverifiable { .. }) => "not verifiable",
        Some(Verdict::Pending { .. }) => "not yet verified",
        None if story.is_in_doubt() => "in doubt",
        None if story.done.is_some() => "not read back",
        None => "not done",
    }
}

pub(in super::super) fn changed(facts: &Facts<'_>) -> Vec<Changed> {
    let row = |story: &Story<'_>| {
        let done = story.done.filter(|_| story.changed_something())?;
        Some(Changed {
            at: facts.at(done.seq),
            step: plain(&story.of.step),
            effect: plain(story.effect),
            statement: Statement::new(how_done(story, done), Cites::one(done.seq).and_all(story.seqs())),
            changes: story.changes.iter().map(change_text).collect(),
            verdict: verdict_word(story).to_owned(),
        })
    };
    let mut rows: Vec<Changed> = facts.stories.iter().filter_map(row).collect();
    rows.sort_by_key(|row| row.statement.cites().first().copied());
    rows
}

fn how_done(story: &Story<'_>, done: Done<'_>) -> String {
    let title = sentence(story.title);
    let title = title.trim_end_matches('.');
    stopped(match done.how {
        How::Applied(says) => return sentence(says),
        How::AlreadyDone(error) => {
            format!("{title}: the service says that it is done already ({})", quoted(&error.to_string()))
        }
        How::Reconciled(says) => {
            format!(
                "{title}: no answer was recorded, and the run found that it had happened ({})",
                quoted(says)
            )
        }
        How::Vouched(by) => {
            format!("{title}: no answer was recorded, and {} says that it happened", quoted(by))
        }
        How::AlreadySo => {
            format!("{title}: no answer was recorded, and the run found it so when it looked again")
        }
    })
}

pub(in super::super) fn left_alone(facts: &Facts<'_>) -> Vec<Statement> {
    let left = facts.stories.iter().filter(|story| story.intents.is_empty());
    left.filter_map(|story| {
        let text = format!("The run did not have to {}: it was so already.", quoted(story.title));
        story.done.map(|done| Statement::new(text, done.seq))
    })
    .collect()
}

pub(in super::super) fn doubts(facts: &Facts<'_>) -> Vec<Exchange> {
    let mut all = Vec::new();
    for story in &facts.stories {
        let title = quoted(story.title);
        for doubt in &story.doubts {
            let why = match doubt.why {
                Why::Said(why) => quoted(why),
                Why::Lost(error) => quoted(&error.to_string()),
            };
            let text = stopped(format!("It was not known whether “{title}” had happened: {why}"));
            let mut then: Vec<Statement> = doubt.clues.iter().map(clue).collect();
            if !doubt.is_resolved() {
                let cites = Cites::one(doubt.seq).and(facts.last.seq);
                then.push(Statement::new("The journal does not tell whether it happened.", cites));
            }
            all.push(Exchange { about: Statement::new(text, doubt.seq), then });
        }
        if let Some(&intent) = story.intents.last().filter(|_| story.was_cut_off()) {
            let text = format!("The run set out to {title}, and the journal has no outcome of it.");
            let cites = Cites::one(intent).and(facts.last.seq);
            all.push(Exchange { about: Statement::new(text, cites), then: Vec::new() });
        }
    }
    all
}

fn clue(clue: &Clue<'_>) -> Statement {
    let text = match clue.shows {
        Shows::Found(Finding::Happened, says) => {
            format!("The run checked: it had happened ({})", quoted(says))
        }
        Shows::Found(Finding::DidNot, says) => {
            format!("The run checked: it had not happened ({})", quoted(says))
        }
        Shows::Found(Finding::Unknown, says) => {
            format!("The run checked and could not tell ({})", quoted(says))
        }
        Shows::Told(HAPPENED, by) => format!("{} looked and said that it had happened", quoted(by)),
        Shows::Told(DID_NOT, by) => format!("{} looked and said that it had not happened", quoted(by)),
        Shows::Told(_, by) => format!("{} said that it cannot be told", quoted(by)),
        Shows::SentAgain => {
            "The run set out to send it again under the same key; the service drops it if it has it already"
                .to_owned()
        }
        Shows::FoundSo => "The run looked again: it was so".to_owned(),
    };
    Statement::new(stopped(text), clue.seq)
}

pub(in super::super) fn verification(facts: &Facts<'_>) -> Vec<Verification> {
    let row = |story: &Story<'_>| {
        let (statement, evidence) = match story.judged {
            Some(judged) => (
                Statement::new(sentence(judged.verdict.says()), judged.seq),
                judged
                    .evidence
                    .iter()
                    .map(|evidence| format!("{}: {}", quoted(&evidence.source), quoted(&evidence.shows)))
                    .collect(),
            ),
            None if story.done.is_some() || story.is_in_doubt() => {
                let cites = Cites::all(story.seqs())?.and(facts.last.seq);
                (Statement::new("The run has not read it back.", cites), Vec::new())
            }
            // It did not happen, so there is nothing to verify; the failed calls tell.
            None => return None,
        };
        Some(Verification {
            step: plain(&story.of.step),
            title: quoted(story.title),
            verdict: verdict_word(story).to_owned(),
            statement,
            evidence,
        })
    };
    facts.stories.iter().filter_map(row).collect()
}
