//! The postmortem's content.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::time::{TimeSpent, time_spent};
use super::timeline::{Moment, clock_text, sentence, timeline, verdict_text};
use crate::effect::{Change, Verdict};
use crate::journal::{Entry, Event, Finding, Note};

/// Version of the JSON form.
pub const SCHEMA: &str = "allclear.postmortem/1";

/// A sentence and the entries it rests on; never without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    text: String,
    cites: Vec<u64>,
}

impl Statement {
    /// A sentence that rests on one entry.
    fn on(entry: &Entry, text: impl Into<String>) -> Self {
        Self { text: text.into(), cites: vec![entry.seq] }
    }

    fn and(mut self, entry: u64) -> Self {
        if !self.cites.contains(&entry) {
            self.cites.push(entry);
        }
        self
    }

    /// The sentence.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The entries' numbers.
    pub fn cites(&self) -> &[u64] {
        &self.cites
    }
}

/// One effect, from intent to verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EffectTold {
    /// Its step.
    pub step: String,
    /// What was done.
    pub title: String,
    /// What changed.
    pub changes: Vec<Change>,
    /// What became of it.
    pub became: Statement,
    /// Whether it was proven.
    pub verified: bool,
    /// What the proof rests on: source and what was seen there.
    pub evidence: Vec<(String, String)>,
}

/// Everything that the report tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Postmortem {
    /// Version of this form.
    pub schema: &'static str,
    /// The runbook's title.
    pub title: String,
    /// Where it ran.
    pub environment: String,
    /// Who started it.
    pub operator: String,
    /// When it began.
    pub began_at: Option<Timestamp>,
    /// When the last entry was written.
    pub ended_at: Option<Timestamp>,
    /// How it ended, or that it has not.
    pub outcome: Option<Statement>,
    /// In short.
    pub summary: Vec<Statement>,
    /// What was affected, and figures.
    pub impact: Vec<Statement>,
    /// What helped.
    pub mitigations: Vec<Statement>,
    /// What was changed, and whether it was proven.
    pub effects: Vec<EffectTold>,
    /// Who was asked and what they said.
    pub people: Vec<Statement>,
    /// Deadlines, and what was in doubt.
    pub deadlines_and_doubts: Vec<Statement>,
    /// Calls that failed, the same ones together.
    pub failures: Vec<Statement>,
    /// Files that were left.
    pub artifacts: Vec<Statement>,
    /// What remains for people.
    pub open_questions: Vec<Statement>,
    /// Where the time went.
    pub time: TimeSpent,
    /// Everything, in order.
    pub timeline: Vec<Moment>,
}

impl Postmortem {
    /// Tells the story of a journal.
    pub fn from_entries(entries: &[Entry]) -> Self {
        let mut told = Self {
            schema: SCHEMA,
            title: String::new(),
            environment: String::new(),
            operator: String::new(),
            began_at: entries.first().map(|entry| entry.at),
            ended_at: entries.last().map(|entry| entry.at),
            outcome: None,
            summary: Vec::new(),
            impact: Vec::new(),
            mitigations: Vec::new(),
            effects: Vec::new(),
            people: Vec::new(),
            deadlines_and_doubts: Vec::new(),
            failures: Vec::new(),
            artifacts: Vec::new(),
            open_questions: Vec::new(),
            time: time_spent(entries),
            timeline: timeline(entries),
        };
        for entry in entries {
            told.take(entry);
        }
        told.effects = effects(entries);
        told.failures = failures(entries);
        told.people = people(entries);
        told.find_open_questions(entries);
        told.summarize(entries);
        told
    }

    fn take(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Started { title, environment, operator, .. } => {
                self.title.clone_from(title);
                self.environment.clone_from(environment);
                self.operator.clone_from(operator);
            }
            Event::Noted { note, .. } => self.take_note(entry, note),
            Event::DeadlineSet { .. }
            | Event::DeadlinePassed { .. }
            | Event::InDoubt { .. }
            | Event::Reconciled { .. }
            | Event::Drifted { .. }
            | Event::Resumed { .. } => {
                let text = format!("At {} the run {}.", clock_text(entry.at), subjectless(&entry.event));
                self.deadlines_and_doubts.push(Statement::on(entry, text));
            }
            Event::Concluded { outcome, says } => {
                self.outcome = Some(Statement::on(entry, format!("{outcome}: {says}")));
            }
            _ => {}
        }
    }

    fn take_note(&mut self, entry: &Entry, note: &Note) {
        let statement = Statement::on(entry, capitalized(&sentence(&entry.event)));
        match note {
            Note::Affected { .. } | Note::Count { .. } => self.impact.push(statement),
            Note::Mitigation { .. } => self.mitigations.push(statement),
            Note::Artifact { .. } => self.artifacts.push(statement),
            Note::OpenQuestion { .. } => self.open_questions.push(statement),
        }
    }

    /// What remains: effects without proof, doubts without an answer, a run without an end.
    fn find_open_questions(&mut self, entries: &[Entry]) {
        for effect in self.effects.iter().filter(|effect| !effect.verified) {
            let text = format!("Not proven: {} ({}).", effect.title, effect.became.text);
            let cites = effect.became.cites.clone();
            self.open_questions.push(Statement { text, cites });
        }
        if let (None, Some(last)) = (&self.outcome, entries.last()) {
            let text = "The run has not ended; it can be resumed.";
            self.open_questions.push(Statement::on(last, text));
        }
    }

    fn summarize(&mut self, entries: &[Entry]) {
        let observed = entries.iter().find(|entry| matches!(entry.event, Event::Observed { .. }));
        if let (Some(entry), Some(Event::Observed { says, .. })) =
            (observed, observed.map(|entry| &entry.event))
        {
            self.summary.push(Statement::on(entry, format!("Detection: {says}.")));
        }
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        let proven = self.effects.iter().filter(|effect| effect.verified).count();
        let mut changed = Statement::on(
            first,
            format!(
                "{} effects were applied; {proven} of them were proven by reading them back.",
                self.effects.len()
            ),
        );
        for effect in &self.effects {
            changed = effect.became.cites.iter().fold(changed, |statement, seq| statement.and(*seq));
        }
        self.summary.push(changed);
        let took = last.at.duration_since(first.at);
        self.summary.push(
            Statement::on(first, format!("From start to end it took {}.", duration_text(took))).and(last.seq),
        );
        if let Some(outcome) = &self.outcome {
            self.summary.push(Statement {
                text: format!("Outcome: {}.", outcome.text.trim_end_matches('.')),
                cites: outcome.cites.clone(),
            });
        }
    }

    /// Every sentence there is.
    pub fn statements(&self) -> impl Iterator<Item = &Statement> {
        let effects = self.effects.iter().map(|effect| &effect.became);
        self.summary
            .iter()
            .chain(&self.outcome)
            .chain(&self.impact)
            .chain(&self.mitigations)
            .chain(effects)
            .chain(&self.people)
            .chain(&self.deadlines_and_doubts)
            .chain(&self.failures)
            .chain(&self.artifacts)
            .chain(&self.open_questions)
    }
}

/// A sentence that rests on an entry that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` cites entry {seq}, which is not in the journal")]
pub struct UnknownCitation {
    /// The sentence.
    pub text: String,
    /// The entry.
    pub seq: u64,
}

/// Checks that every sentence cites entries, and that they are there.
pub fn check_citations(postmortem: &Postmortem, entries: &[Entry]) -> Result<(), UnknownCitation> {
    for statement in postmortem.statements() {
        let unknown = statement.cites.iter().find(|seq| !entries.iter().any(|entry| entry.seq == **seq));
        if let Some(seq) = unknown.copied().or_else(|| statement.cites.is_empty().then_some(0)) {
            return Err(UnknownCitation { text: statement.text.clone(), seq });
        }
    }
    Ok(())
}

/// Effects from intent to verdict: an effect's entries share the part of their key before the last slash.
fn effects(entries: &[Entry]) -> Vec<EffectTold> {
    let mut told: Vec<EffectTold> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut intents: BTreeMap<String, (&Entry, &str, &[Change])> = BTreeMap::new();
    for entry in entries {
        let base = entry.key.rsplit_once('/').map_or(entry.key.as_str(), |(base, _)| base).to_owned();
        match &entry.event {
            Event::Intended { title, changes, .. } => {
                intents.insert(base, (entry, title, changes));
            }
            Event::Applied { of, says, .. } => {
                let Some((intent, title, changes)) = intents.get(&base) else { continue };
                let became = Statement::on(intent, capitalized(says)).and(entry.seq);
                places.insert(base, told.len());
                told.push(new_effect(&of.step, title, changes, became));
            }
            Event::Reconciled { of, finding: Finding::Happened, says, .. } => {
                let Some((intent, title, changes)) = intents.get(&base) else { continue };
                let became =
                    Statement::on(intent, format!("It had happened before the answer was recorded: {says}"))
                        .and(entry.seq);
                places.insert(base, told.len());
                told.push(new_effect(&of.step, title, changes, became));
            }
            Event::Judged { verdict, evidence, .. } if !matches!(verdict, Verdict::Pending { .. }) => {
                let Some(effect) = places.get(&base).and_then(|place| told.get_mut(*place)) else { continue };
                effect.verified = verdict.is_verified();
                effect.evidence =
                    evidence.iter().map(|one| (one.source.clone(), one.shows.clone())).collect();
                effect.became.text = format!("{}; {}", effect.became.text, verdict_text(verdict));
                effect.became = effect.became.clone().and(entry.seq);
            }
            _ => {}
        }
    }
    told
}

fn new_effect(step: &str, title: &str, changes: &[Change], became: Statement) -> EffectTold {
    EffectTold {
        step: step.to_owned(),
        title: title.to_owned(),
        changes: changes.to_vec(),
        became,
        verified: false,
        evidence: Vec::new(),
    }
}

/// Failed calls, the same ones in one sentence with their count.
fn failures(entries: &[Entry]) -> Vec<Statement> {
    let mut grouped: Vec<(String, Statement, u32)> = Vec::new();
    for entry in entries {
        let Event::Failed { of, error, .. } = &entry.event else { continue };
        let text = format!("{}: {error}", of.step);
        match grouped.iter_mut().find(|(known, ..)| *known == text) {
            Some((_, statement, count)) => {
                *count += 1;
                *statement = statement.clone().and(entry.seq);
            }
            None => grouped.push((text.clone(), Statement::on(entry, text), 1)),
        }
    }
    let counted = |(text, statement, count): (String, Statement, u32)| Statement {
        text: if count == 1 { format!("{text}.") } else { format!("{count} times {text}.") },
        ..statement
    };
    grouped.into_iter().map(counted).collect()
}

/// Each question with its answers and how long they took.
fn people(entries: &[Entry]) -> Vec<Statement> {
    let mut told = Vec::new();
    let mut asked: Option<&Entry> = None;
    for entry in entries {
        match (&entry.event, asked) {
            (Event::PlanApproved { .. }, _) => {
                told.push(Statement::on(entry, capitalized(&format!("{}.", sentence(&entry.event)))));
            }
            (Event::Asked { question, .. }, _) => {
                told.push(Statement::on(
                    entry,
                    format!("Gate {} asked: {}", question.gate, question.question),
                ));
                asked = Some(entry);
            }
            (
                Event::Answered { .. } | Event::AnswerRefused { .. } | Event::GateExpired { .. },
                Some(question),
            ) => {
                let took = duration_text(entry.at.duration_since(question.at));
                let text = format!("{}, after {took}.", capitalized(&sentence(&entry.event)));
                told.push(Statement::on(entry, text).and(question.seq));
            }
            _ => {}
        }
    }
    told
}

fn subjectless(event: &Event) -> String {
    match event {
        Event::DeadlinePassed { at, .. } => format!("passed its deadline of {}", clock_text(*at)),
        Event::Resumed { by, .. } => format!("was taken up again by {by}"),
        other => sentence(other),
    }
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + chars.as_str())
}

/// A duration for people: `1 h 02 min`, `3 min 05 s`, `12.345 s`.
pub(super) fn duration_text(took: jiff::SignedDuration) -> String {
    let seconds = took.as_secs();
    match seconds {
        3_600.. => format!("{} h {:02} min", seconds / 3_600, seconds % 3_600 / 60),
        60.. => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{:.3} s", took.as_secs_f64()),
    }
}
