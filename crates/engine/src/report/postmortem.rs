//! The post-mortem: what a run's journal proves, in sections, every sentence with the entries it follows from.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::left::{Left, left};
use super::questions::{Asking, questions};
use super::sections;
use super::statement::Statement;
use super::stories::{Story, stories};
use super::time::{TimeSpent, time_spent};
use crate::journal::{Entry, Event, Note};
use crate::outcome::Outcome;
use crate::step::{Phase, Step};

/// The version of the post-mortem's JSON.
pub const POSTMORTEM_SCHEMA: &str = "allclear.postmortem/1";

/// A run, told from its journal. Every sentence is a [`Statement`]; what stands beside one in a row (a time, a
/// duration, a label) follows from the same entries.
///
/// Texts are plain: free of control characters, not escaped for any markup.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Postmortem {
    /// [`POSTMORTEM_SCHEMA`].
    pub schema: &'static str,
    /// What was run, where, by whom, and how it stands.
    pub header: Header,
    /// For whoever knows nothing of it yet: what was wrong and for whom, from when to when, what was done, how it ended,
    /// what is open. To be read as one paragraph.
    pub paragraph: Vec<Statement>,
    /// How the run went, in a few sentences.
    pub summary: Vec<Statement>,
    /// What was affected, as the procedure noted it.
    pub impact: Vec<Statement>,
    /// What happened, in order.
    pub timeline: Vec<Line>,
    /// The runbook's bullets and whether the run came to them. Empty where the steps were not given.
    pub bullets: Vec<Bullet>,
    /// What was changed, and whether that is proven.
    pub changed: Vec<Changed>,
    /// What needed no change.
    pub left_alone: Vec<Statement>,
    /// The mitigations that were used, as the procedure noted them.
    pub mitigations: Vec<Statement>,
    /// Who approved the plan.
    pub approvals: Vec<Statement>,
    /// What people were asked, and what they said.
    pub people: Vec<Exchange>,
    /// Effects that may or may not have happened, and what was found out.
    pub doubts: Vec<Exchange>,
    /// Deadlines: set, passed, not needed.
    pub deadlines: Vec<Statement>,
    /// What was waited for.
    pub waits: Vec<Statement>,
    /// Failed calls, the same failure counted.
    pub failed_calls: Vec<FailedCall>,
    /// What was read back, and what it showed.
    pub verification: Vec<Verification>,
    /// Where the time went.
    pub time: TimeSection,
    /// Files that the run left.
    pub artifacts: Vec<Statement>,
    /// What is not as it was before the run, and what gives it back.
    pub left: Vec<Left>,
    /// What remains for people: noted by the procedure, or derived from what the journal lacks.
    pub open_questions: Vec<Statement>,
    /// Every entry that is cited above, in order.
    pub evidence: Vec<Cited>,
}

/// What was run, where, by whom, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Header {
    /// The runbook's title; empty where the journal does not begin with a start.
    pub title: String,
    /// How the run ended; `None` while it has not.
    pub outcome: Option<Outcome>,
    /// The time of the first entry.
    pub began: Option<Timestamp>,
    /// The time of the conclusion; `None` while there is none.
    pub ended: Option<Timestamp>,
    /// The same for people, with citations.
    pub facts: Vec<Fact>,
}

/// A labelled fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What it is, e.g. `Environment`.
    pub name: &'static str,
    /// The fact.
    pub statement: Statement,
}

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// Time since the first entry.
    pub since_start: SignedDuration,
    /// The step's phase, where it belongs to a step.
    pub phase: Option<Phase>,
    /// The step's id, where it belongs to a step.
    pub step: Option<String>,
    /// What happened.
    pub statement: Statement,
}

/// One bullet of the runbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bullet {
    /// The step's id.
    pub step: String,
    /// Its phase.
    pub phase: Phase,
    /// The bullet's own words.
    pub title: String,
    /// Whether the run has entries of it.
    pub reached: bool,
    /// From when to when the run worked on it, or that it did not.
    pub statement: Statement,
}

/// One effect that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// When it was known to be done.
    pub at: Timestamp,
    /// The step's id.
    pub step: String,
    /// The effect, e.g. `campaign.pause`.
    pub effect: String,
    /// What was done.
    pub statement: Statement,
    /// What changed, from what to what; as the intent predicted it.
    pub changes: Vec<String>,
    /// The verdict in a word or two, e.g. `verified`.
    pub verdict: String,
}

/// Something that was asked or doubted, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exchange {
    /// What was asked or doubted.
    pub about: Statement,
    /// What came of it, in order.
    pub then: Vec<Statement>,
}

/// A failure, and how often it was met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedCall {
    /// How often.
    pub count: usize,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
    /// What went wrong.
    pub statement: Statement,
}

/// An effect, and what reading it back showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The step's id.
    pub step: String,
    /// The effect's sentence, e.g. `pause campaign Spring`.
    pub title: String,
    /// The verdict in a word or two, e.g. `verified`.
    pub verdict: String,
    /// What was seen.
    pub statement: Statement,
    /// What it rests on, each as `source: what it shows`.
    pub evidence: Vec<String>,
}

/// Where the time went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimeSection {
    /// The figures.
    pub spent: TimeSpent,
    /// What they rest on, and what is odd about them.
    pub statements: Vec<Statement>,
}

/// An entry that is cited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cited {
    /// Its number.
    pub seq: u64,
    /// Its time.
    pub at: Timestamp,
    /// Its key.
    pub key: String,
    /// What it records, in one line.
    pub says: String,
}

/// A journal, read once for all sections.
pub(super) struct Facts<'a> {
    pub(super) entries: &'a [Entry],
    pub(super) first: &'a Entry,
    pub(super) last: &'a Entry,
    pub(super) stories: Vec<Story<'a>>,
    pub(super) questions: Vec<Asking<'a>>,
}

impl<'a> Facts<'a> {
    /// The entry that ends the run.
    pub(super) fn conclusion(&self) -> Option<(&'a Entry, Outcome, &'a str)> {
        self.entries.iter().rev().find_map(|entry| match &entry.event {
            Event::Concluded { outcome, says, .. } => Some((entry, *outcome, says.as_str())),
            _ => None,
        })
    }

    /// The numbers of the entries with these keys, where the journal has them.
    pub(super) fn seqs_of(&self, keys: &[String]) -> Vec<u64> {
        let of = |key: &String| self.entries.iter().find(|entry| entry.key == *key).map(|entry| entry.seq);
        keys.iter().filter_map(of).collect()
    }

    /// The notes of the run, with their entries' numbers.
    pub(super) fn notes(&self) -> impl Iterator<Item = (u64, &'a Note)> {
        self.entries.iter().filter_map(|entry| match &entry.event {
            Event::Noted { note, .. } => Some((entry.seq, note)),
            _ => None,
        })
    }

    /// The time of an entry; the first entry's where there is none of that number.
    pub(super) fn at(&self, seq: u64) -> Timestamp {
        self.entries.iter().find(|entry| entry.seq == seq).map_or(self.first.at, |entry| entry.at)
    }
}

impl Postmortem {
    /// Tells a run from its journal. `steps` are the runbook's bullets, where they are known.
    pub fn from_entries(entries: &[Entry], steps: &'static [Step]) -> Self {
        let mut told = Self::untold();
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return told;
        };
        let facts = Facts { entries, first, last, stories: stories(entries), questions: questions(entries) };
        told.open_questions = sections::open::open_questions(&facts);
        told.left = left(entries);
        told.header = sections::overview::header(&facts);
        told.summary = sections::overview::summary(&facts);
        told.impact = sections::overview::impact(&facts);
        told.timeline = sections::overview::lines(&facts);
        told.bullets = sections::overview::bullets(&facts, steps);
        told.changed = sections::effects::changed(&facts);
        told.left_alone = sections::effects::left_alone(&facts);
        told.doubts = sections::effects::doubts(&facts);
        told.verification = sections::effects::verification(&facts);
        told.mitigations = sections::overview::mitigations(&facts);
        told.artifacts = sections::overview::artifacts(&facts);
        told.paragraph = sections::paragraph::paragraph(&facts, &told);
        told.approvals = sections::people::approvals(&facts);
        told.people = sections::people::people(&facts);
        told.deadlines = sections::waiting::deadlines(&facts);
        told.waits = sections::waiting::waits(&facts);
        told.failed_calls = sections::waiting::failed_calls(&facts);
        told.time = sections::waiting::time(&facts);
        told.evidence = told.cited(&facts);
        told
    }

    /// Nothing is known.
    fn untold() -> Self {
        Self {
            schema: POSTMORTEM_SCHEMA,
            header: Header {
                title: String::new(),
                outcome: None,
                began: None,
                ended: None,
                facts: Vec::new(),
            },
            paragraph: Vec::new(),
            summary: Vec::new(),
            impact: Vec::new(),
            timeline: Vec::new(),
            bullets: Vec::new(),
            changed: Vec::new(),
            left_alone: Vec::new(),
            mitigations: Vec::new(),
            approvals: Vec::new(),
            people: Vec::new(),
            doubts: Vec::new(),
            deadlines: Vec::new(),
            waits: Vec::new(),
            failed_calls: Vec::new(),
            verification: Vec::new(),
            time: TimeSection { spent: time_spent(&[]), statements: Vec::new() },
            artifacts: Vec::new(),
            left: Vec::new(),
            open_questions: Vec::new(),
            evidence: Vec::new(),
        }
    }

    /// Every sentence, in the order of the sections.
    pub fn statements(&self) -> impl Iterator<Item = &Statement> {
        let mut all: Vec<&Statement> = self.header.facts.iter().map(|fact| &fact.statement).collect();
        all.extend(&self.paragraph);
        all.extend(&self.summary);
        all.extend(&self.impact);
        all.extend(self.timeline.iter().map(|line| &line.statement));
        all.extend(self.bullets.iter().map(|bullet| &bullet.statement));
        all.extend(self.changed.iter().map(|changed| &changed.statement));
        all.extend(&self.left_alone);
        all.extend(&self.mitigations);
        all.extend(&self.approvals);
        all.extend(self.people.iter().flat_map(|one| std::iter::once(&one.about).chain(&one.then)));
        all.extend(self.doubts.iter().flat_map(|one| std::iter::once(&one.about).chain(&one.then)));
        all.extend(&self.deadlines);
        all.extend(&self.waits);
        all.extend(self.failed_calls.iter().map(|call| &call.statement));
        all.extend(self.verification.iter().map(|row| &row.statement));
        all.extend(&self.time.statements);
        all.extend(&self.artifacts);
        all.extend(self.left.iter().map(|one| &one.statement));
        all.extend(&self.open_questions);
        all.into_iter()
    }

    fn cited(&self, facts: &Facts<'_>) -> Vec<Cited> {
        let cited: BTreeSet<u64> = self.statements().flat_map(Statement::cites).copied().collect();
        sections::evidence::lines(facts.entries.iter().filter(|entry| cited.contains(&entry.seq)))
    }
}

/// A post-mortem that cites something that is not in the journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CitationError {
    /// A statement cites an entry that the journal does not have.
    #[error(
        "“{text}” cites entry {seq}, which the journal does not have; make the report from this run's journal"
    )]
    Missing {
        /// The statement.
        text: String,
        /// The entry.
        seq: u64,
    },
    /// The evidence shows another entry than the journal has under that number.
    #[error(
        "the evidence for entry {seq} is not what the journal has there; make the report from this run's journal"
    )]
    Differs {
        /// The entry.
        seq: u64,
    },
    /// A statement cites an entry that the evidence does not list.
    #[error("“{text}” cites entry {seq}, which the report's evidence does not list; make the report anew")]
    Unlisted {
        /// The statement.
        text: String,
        /// The entry.
        seq: u64,
    },
}

/// Checks that every statement of a post-mortem cites entries that the journal has, and that its evidence lists them
/// as they are.
pub fn check_citations(told: &Postmortem, entries: &[Entry]) -> Result<(), CitationError> {
    let known: BTreeSet<u64> = entries.iter().map(|entry| entry.seq).collect();
    let listed: BTreeSet<u64> = told.evidence.iter().map(|cited| cited.seq).collect();
    for statement in told.statements() {
        for &seq in statement.cites() {
            let text = || statement.text().to_owned();
            if !known.contains(&seq) {
                return Err(CitationError::Missing { text: text(), seq });
            }
            if !listed.contains(&seq) {
                return Err(CitationError::Unlisted { text: text(), seq });
            }
        }
    }
    let theirs = sections::evidence::lines(entries.iter().filter(|entry| listed.contains(&entry.seq)));
    let differing = told.evidence.iter().find(|cited| !theirs.contains(cited));
    differing.map_or(Ok(()), |cited| Err(CitationError::Differs { seq: cited.seq }))
}
