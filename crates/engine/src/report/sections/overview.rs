//! What comes first: header, summary, impact, timeline; and what procedures note.

use std::collections::HashSet;

use jiff::SignedDuration;

use super::super::postmortem::{Bullet, Fact, Facts, Header, Line};
use super::super::statement::{Cites, Statement};
use super::super::timeline::{affected_text, timeline};
use super::super::words::{clock_from, count, listed, moment, quoted, sentence, span, stopped, times};
use super::effects::verdict_word;
use crate::claim::Certainty;
use crate::journal::{Entry, Event, Note};
use crate::outcome::Outcome;
use crate::step::{Phase, Step};

pub(in super::super) fn header(facts: &Facts<'_>) -> Header {
    let began = facts.first;
    let conclusion = facts.conclusion();
    let mut header = Header {
        title: String::new(),
        outcome: conclusion.map(|(_, outcome, _)| outcome),
        began: Some(began.at),
        ended: conclusion.map(|(entry, ..)| entry.at),
        facts: Vec::new(),
    };
    let mut fact = |name, text: String, cites: Cites| {
        header.facts.push(Fact { name, statement: Statement::new(text, cites) });
    };
    if let Some((seq, started)) = started(facts) {
        fact(
            "Runbook",
            format!("{} ({}, version {})", started.title, started.runbook, started.version),
            seq.into(),
        );
        fact("Environment", quoted(started.environment), seq.into());
        fact("Operator", quoted(started.operator), seq.into());
        header.title = quoted(started.title);
    }
    let mut fact = |name, text: String, cites: Cites| {
        header.facts.push(Fact { name, statement: Statement::new(text, cites) });
    };
    fact("Began", moment(began.at), began.seq.into());
    if let Some((end, outcome, _)) = conclusion {
        let took = span(end.at.duration_since(began.at));
        fact("Ended", format!("{}, after {took}", moment(end.at)), Cites::one(began.seq).and(end.seq));
        fact("Outcome", outcome.to_string(), end.seq.into());
    } else {
        let last = facts.last;
        fact("Ended", "not yet".to_owned(), last.seq.into());
        fact("Last entry", moment(last.at), last.seq.into());
        let (text, cites) = standing(facts);
        fact("Stands", text, cites);
    }
    header
}

struct Started<'a> {
    runbook: &'a str,
    title: &'a str,
    version: u32,
    environment: &'a str,
    operator: &'a str,
}

fn started<'a>(facts: &Facts<'a>) -> Option<(u64, Started<'a>)> {
    facts.entries.iter().find_map(|entry| match &entry.event {
        Event::Started { runbook, title, version, environment, operator, .. } => {
            Some((entry.seq, Started { runbook, title, version: *version, environment, operator }))
        }
        _ => None,
    })
}

/// How a run that has not ended stands, as far as its journal tells.
pub(in super::super) fn standing(facts: &Facts<'_>) -> (String, Cites) {
    let last = Cites::one(facts.last.seq);
    if let Some(asking) = facts.questions.iter().rfind(|asking| asking.settled.is_none()) {
        let asked = &facts.entries[asking.asked];
        let (step, question) = (quoted(&asking.of.step), quoted(&asking.question.question));
        return (format!("it waits for an answer at {step}: {question}"), last.and(asked.seq));
    }
    match &facts.last.event {
        Event::Detached { why, outcome: Some(Outcome::Interrupted) } => {
            (format!("it was interrupted and can be gone on with: {}", quoted(why)), last)
        }
        Event::Detached { why, .. } => (format!("the process let go: {}", quoted(why)), last),
        _ => ("the journal does not tell whether a process still works on it".to_owned(), last),
    }
}

pub(in super::super) fn summary(facts: &Facts<'_>) -> Vec<Statement> {
    let mut all = vec![in_one_sentence(facts)];
    if let Some((entry, says)) = found(facts) {
        all.push(Statement::new(stopped(format!("At the start the run found: {}", quoted(says))), entry.seq));
    }
    all.extend(changes(facts));
    all.extend(answers(facts));
    all.extend(doubts(facts));
    all.extend(deadlines(facts));
    all.extend(interruptions(facts));
    all
}

/// What the run found wrong: what it had seen last before it noted the first figure; the first thing it saw where it noted
/// none.
pub(super) fn found<'a>(facts: &Facts<'a>) -> Option<(&'a Entry, &'a str)> {
    let is_figure = |entry: &Entry| {
        matches!(&entry.event, Event::Noted { note: Note::Affected { .. } | Note::Count { .. }, .. })
    };
    let seen = |entry: &'a Entry| match &entry.event {
        Event::Observed { of, says, .. } if matches!(of.phase, Phase::Detect | Phase::Prepare) => {
            Some((entry, says.as_str()))
        }
        _ => None,
    };
    let figure = facts.entries.iter().position(is_figure);
    let before = figure.and_then(|figure| facts.entries[..figure].iter().rev().find_map(seen));
    before.or_else(|| facts.entries.iter().find_map(seen))
}

fn in_one_sentence(facts: &Facts<'_>) -> Statement {
    let mut cites = Cites::one(facts.first.seq);
    let mut what = "The run".to_owned();
    if let Some((seq, started)) = started(facts) {
        cites = cites.and(seq);
        let [operator, title, environment] =
            [started.operator, started.title, started.environment].map(quoted);
        what = format!("{operator} started “{title}” in {environment}; it");
    }
    if let Some((end, outcome, says)) = facts.conclusion() {
        let took = span(end.at.duration_since(facts.first.at));
        let text = stopped(format!("{what} ended after {took} as {outcome}: {}", quoted(says)));
        let proofs = match &end.event {
            Event::Concluded { rests_on, .. } => facts.seqs_of(rests_on),
            _ => Vec::new(),
        };
        Statement::new(text, cites.and(end.seq).and_all(proofs))
    } else {
        let (text, more) = standing(facts);
        let text = stopped(format!("{what} has not ended: {text}"));
        Statement::new(text, cites.and_all(more.seqs().iter().copied()))
    }
}

fn changes(facts: &Facts<'_>) -> Option<Statement> {
    let changed: Vec<_> = facts.stories.iter().filter(|story| story.changed_something()).collect();
    let cites = Cites::all(changed.iter().flat_map(|story| story.outcome_seqs()))?;
    let mut verdicts: Vec<(&str, usize)> = Vec::new();
    for story in &changed {
        let word = verdict_word(story);
        match verdicts.iter_mut().find(|(known, _)| *known == word) {
            Some((_, number)) => *number += 1,
            None => verdicts.push((word, 1)),
        }
    }
    let made = count(changed.len(), "change", "changes");
    let text = match &verdicts[..] {
        [(word, 1)] => format!("The run made one change; it is {word}."),
        [(word, _)] => format!("The run made {made}, all {word}."),
        _ => {
            let parts: Vec<String> = verdicts.iter().map(|(word, n)| format!("{n} {word}")).collect();
            format!("The run made {made}: {}.", listed(&parts))
        }
    };
    Some(Statement::new(text, cites))
}

fn answers(facts: &Facts<'_>) -> Option<Statement> {
    let mut waited = SignedDuration::ZERO;
    let mut answered = 0;
    let mut seqs = Vec::new();
    for asking in &facts.questions {
        let asked = &facts.entries[asking.asked];
        seqs.push(asked.seq);
        let settled = asking.settled.map(|index| &facts.entries[index]);
        if let Some(reply) = settled.filter(|entry| matches!(entry.event, Event::Answered { .. })) {
            answered += 1;
            seqs.push(reply.seq);
            waited += reply.at.duration_since(asked.at);
        }
    }
    let cites = Cites::all(seqs)?;
    let asked = count(facts.questions.len(), "question", "questions");
    let text = match (answered, facts.questions.len()) {
        (0, _) => format!("It asked people {asked} and got no answer."),
        (1, 1) => format!("It asked people {asked} and was answered after {}.", span(waited)),
        (all, of) if all == of => {
            format!("It asked people {asked} and was answered after {} in all.", span(waited))
        }
        (some, _) => {
            format!("It asked people {asked}; {some} of them answered, after {} in all.", span(waited))
        }
    };
    Some(Statement::new(text, cites))
}

fn doubts(facts: &Facts<'_>) -> Option<Statement> {
    let mut seqs = Vec::new();
    let (mut settled, mut open) = (0, 0);
    for story in facts.stories.iter().filter(|story| story.was_cut_off() || !story.doubts.is_empty()) {
        if story.is_in_doubt() {
            open += 1;
        } else {
            settled += 1;
        }
        seqs.extend(story.intents.last().filter(|_| story.was_cut_off()));
        for doubt in &story.doubts {
            seqs.push(doubt.seq);
            seqs.extend(doubt.clues.iter().map(|clue| clue.seq));
        }
    }
    let changes = |number| count(number, "change", "changes");
    let text = match (settled, open) {
        (_, 0) => {
            format!("Whether {} had happened was not known at first, and was settled.", changes(settled))
        }
        (0, _) => format!("Whether {} happened is not known.", changes(open)),
        _ => format!(
            "Whether {} had happened was not known at first; of {open} it still is not.",
            changes(settled + open)
        ),
    };
    Some(Statement::new(text, Cites::all(seqs)?))
}

fn deadlines(facts: &Facts<'_>) -> Option<Statement> {
    let passed: Vec<_> = facts
        .entries
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::DeadlinePassed { at, .. } => Some((entry.seq, *at)),
            _ => None,
        })
        .collect();
    let cites = Cites::all(passed.iter().map(|(seq, _)| *seq))?;
    let at: Vec<String> = passed.iter().map(|(_, at)| clock_from(facts.first.at, *at)).collect();
    let word = if at.len() == 1 { "The deadline" } else { "The deadlines" };
    Some(Statement::new(format!("{word} of {} passed.", listed(&at)), cites))
}

fn interruptions(facts: &Facts<'_>) -> Option<Statement> {
    let mut lost = SignedDuration::ZERO;
    let mut number = 0;
    let mut seqs = Vec::new();
    for pair in facts.entries.windows(2) {
        if let [before, after] = pair
            && matches!(after.event, Event::Resumed { .. })
        {
            lost += after.at.duration_since(before.at);
            number += 1;
            seqs.extend([before.seq, after.seq]);
        }
    }
    let cites = Cites::all(seqs)?;
    let total = if number == 1 { "" } else { " in all" };
    let text = format!("The run was interrupted {}, for {}{total}.", times(number), span(lost));
    Some(Statement::new(text, cites))
}

pub(in super::super) fn impact(facts: &Facts<'_>) -> Vec<Statement> {
    notes(facts, |note| match note {
        Note::Affected { kind, label, says, .. } => Some(stopped(affected_text(kind, label, says))),
        Note::Count { what, count } => {
            let what = sentence(what);
            Some(format!("{}: {count}.", what.trim_end_matches('.')))
        }
        _ => None,
    })
}

/// What was done against the incident and who was told: each with the entries that it rests on, and how sure it is.
pub(in super::super) fn mitigations(facts: &Facts<'_>) -> Vec<Statement> {
    let mut all: Vec<(String, Cites)> = Vec::new();
    for (seq, note) in facts.notes() {
        let (Note::Mitigation(claim) | Note::Told(claim)) = note else { continue };
        let says = sentence(claim.says());
        let text = match claim.certainty() {
            Certainty::Proven | Certainty::Excused | Certainty::NotSaid => says,
            Certainty::Unproven => format!("Not proven: {}", quoted(claim.says())),
        };
        let cites = Cites::one(seq).and_all(facts.seqs_of(claim.rests_on()));
        add(&mut all, stopped(text), cites);
    }
    all.into_iter().map(|(text, cites)| Statement::new(text, cites)).collect()
}

/// The same sentence again only adds its citations.
fn add(all: &mut Vec<(String, Cites)>, text: String, cites: Cites) {
    match all.iter_mut().find(|(known, _)| *known == text) {
        Some((_, known)) => *known = known.clone().and_all(cites.seqs().iter().copied()),
        None => all.push((text, cites)),
    }
}

pub(in super::super) fn artifacts(facts: &Facts<'_>) -> Vec<Statement> {
    notes(facts, |note| match note {
        Note::Artifact { name, says } => Some(stopped(format!("{}: {}", quoted(name), quoted(says)))),
        _ => None,
    })
}

/// What procedures noted.
pub(super) fn notes(facts: &Facts<'_>, text: impl Fn(&Note) -> Option<String>) -> Vec<Statement> {
    let mut all: Vec<(String, Cites)> = Vec::new();
    for (seq, note) in facts.notes() {
        if let Some(text) = text(note) {
            add(&mut all, text, seq.into());
        }
    }
    all.into_iter().map(|(text, cites)| Statement::new(text, cites)).collect()
}

pub(in super::super) fn lines(facts: &Facts<'_>) -> Vec<Line> {
    let line = |told: super::super::Moment| Line {
        at: told.at,
        since_start: told.since_start,
        phase: told.phase,
        step: told.step,
        statement: Statement::new(told.says, told.seq),
    };
    timeline(facts.entries).into_iter().map(line).collect()
}

pub(in super::super) fn bullets(facts: &Facts<'_>, steps: &'static [Step]) -> Vec<Bullet> {
    let mut known = HashSet::new();
    let mut bullets = Vec::new();
    for step in steps {
        if !known.insert(step.id) {
            continue;
        }
        let mut of_step = facts.entries.iter().filter(|e| e.event.of().is_some_and(|of| of.step == step.id));
        let first = of_step.next();
        let last = of_step.next_back().or(first);
        let statement = match first.zip(last) {
            Some((first, last)) => {
                let [from, to] = [first, last].map(|entry| clock_from(facts.first.at, entry.at));
                let text = if from == to { from } else { format!("{from} to {to}") };
                Statement::new(text, Cites::one(first.seq).and(last.seq))
            }
            None => Statement::new(
                if facts.conclusion().is_some() { "not used" } else { "not reached so far" },
                Cites::one(facts.first.seq).and(facts.last.seq),
            ),
        };
        bullets.push(Bullet {
            step: step.id.to_owned(),
            phase: step.phase,
            title: step.title.to_owned(),
            reached: first.is_some(),
            statement,
        });
    }
    bullets
}
