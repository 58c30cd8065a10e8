//! The paragraph: what somebody who knows nothing of the incident reads first, and pastes.

use super::super::postmortem::{Facts, Postmortem};
use super::super::statement::{Cites, Statement};
use super::super::words::{clock_from, listed, moment, quoted, sentence, stopped};
use super::open::says_nothing_is_open;
use super::overview::found;

/// What was wrong and for whom, from when to when, what was done, how it ended, what is open.
pub(in super::super) fn paragraph(facts: &Facts<'_>, told: &Postmortem) -> Vec<Statement> {
    let mut all = Vec::new();
    if let Some((entry, says)) = found(facts) {
        let text = format!("At {} this was found: {}", moment(entry.at), quoted(says));
        all.push(Statement::new(stopped(text), entry.seq));
    }
    all.extend(one_sentence("Affected", &told.impact));
    all.extend(one_sentence("What was done", &told.mitigations));
    all.push(end(facts));
    all.push(open(facts, told));
    all
}

/// Several sentences as one, behind what they are about.
fn one_sentence(about: &str, sentences: &[Statement]) -> Option<Statement> {
    let cites = Cites::all(sentences.iter().flat_map(Statement::cites).copied())?;
    let parts: Vec<&str> = sentences.iter().map(|one| one.text().trim_end_matches('.')).collect();
    Some(Statement::new(format!("{about}: {}.", parts.join("; ")), cites))
}

fn end(facts: &Facts<'_>) -> Statement {
    let first = facts.first;
    let Some((end, outcome, says)) = facts.conclusion() else {
        let (text, cites) = super::overview::standing(facts);
        let text = format!("The run began at {} and has not ended: {text}", moment(first.at));
        return Statement::new(stopped(text), cites.and(first.seq));
    };
    let text = format!(
        "The run began at {} and ended at {} UTC as {outcome}: {}",
        moment(first.at),
        clock_from(first.at, end.at),
        quoted(says)
    );
    Statement::new(stopped(text), Cites::one(first.seq).and(end.seq))
}

fn open(facts: &Facts<'_>, told: &Postmortem) -> Statement {
    let questions = &told.open_questions;
    let left: Vec<_> = told.left.iter().filter(|one| one.is_to_be_given_back()).collect();
    let cites = questions.iter().flat_map(Statement::cites).copied();
    let cites = Cites::one(facts.last.seq)
        .and_all(cites)
        .and_all(left.iter().flat_map(|one| one.statement.cites()).copied());
    let mut parts = Vec::new();
    if !says_nothing_is_open(questions) {
        parts.push(match questions.len() {
            0 => return Statement::new("Whether anything is open is not told.", cites),
            1 => "one point is open".to_owned(),
            n => format!("{n} points are open"),
        });
    }
    match left.len() {
        0 => {}
        1 => parts.push("one thing is left changed that is not to stay so".to_owned()),
        n => parts.push(format!("{n} things are left changed that are not to stay so")),
    }
    if parts.is_empty() {
        return Statement::new("Nothing is left open.", cites);
    }
    Statement::new(sentence(&listed(&parts)), cites)
}
