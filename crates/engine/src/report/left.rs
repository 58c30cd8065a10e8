//! What a run left changed: the net of what it did, field by field, and what gives it back.
//!
//! A campaign that was paused and resumed is not in here; one that was paused and whose resume is in doubt is. Derived from
//! entries alone, so that it is known after a kill, an abort or an interruption at any point, and without asking anything.

use serde::Serialize;

use super::statement::{Cites, Statement};
use super::stories::{Story, stories};
use super::words::{quoted, stopped};
use crate::effect::{Change, Verdict};
use crate::journal::{Entry, Event};
use crate::outcome::Outcome;

/// What gives a change back, or why nothing does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "remedy", rename_all = "snake_case")]
pub enum Remedy {
    /// The run ended well: this is what it was for.
    OnPurpose,
    /// The run has not ended: it goes on.
    Resume,
    /// The run has ended: it can be undone.
    Undo,
    /// Nothing takes it back.
    Stays {
        /// Why, as the effect says.
        why: String,
    },
}

/// One field of one thing that is not as it was before the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Left {
    /// What kind of thing, e.g. `campaign`.
    pub kind: String,
    /// Which one.
    pub id: String,
    /// Its name for people.
    pub label: String,
    /// What about it.
    pub field: String,
    /// What it was before the run.
    pub before: String,
    /// What the run left it as.
    pub now: String,
    /// Whether the run is known to have changed it; otherwise it may have.
    pub certain: bool,
    /// Whether it only adds something for the record, as a message or a file: nothing that was there is another.
    pub record: bool,
    /// What gives it back.
    #[serde(flatten)]
    pub remedy: Remedy,
    /// What changed, in words: one line, free of control characters.
    pub says: String,
    /// The same, and what gives it back.
    pub statement: Statement,
}

impl Left {
    /// Whether it is not to stay as the run left it: neither its purpose nor an addition for the record.
    pub fn is_to_be_given_back(&self) -> bool {
        !self.record && self.remedy != Remedy::OnPurpose
    }
}

/// Kinds of things that are only added to: what a run left of these changes nothing that was there before it.
const RECORDS: [&str; 6] = ["message", "audit_log", "file", "document", "voucher_event", "smoke test"];

/// Whether a change only adds something for the record.
pub(crate) fn is_record(change: &Change) -> bool {
    RECORDS.contains(&change.kind.as_str())
}

impl Left {
    /// What to type to give it back or to go on; `None` where nothing is to be done, or nothing can be.
    pub fn command(&self, run: &str) -> Option<String> {
        match self.remedy {
            Remedy::OnPurpose | Remedy::Stays { .. } => None,
            Remedy::Resume => Some(format!("allclear resume {run}")),
            Remedy::Undo => Some(format!("allclear undo {run}")),
        }
    }
}

/// One change of one field on the way from what was to what is.
struct Move<'a> {
    change: &'a Change,
    story: usize,
    certain: bool,
}

/// What is left of the changes of one field: no state is passed twice.
#[derive(Default)]
struct Path<'a>(Vec<Move<'a>>);

impl<'a> Path<'a> {
    fn take(&mut self, next: Move<'a>) {
        let Self(moves) = self;
        let begins_at = |value: &str| moves.iter().position(|one| one.change.before == value);
        if let Some(again) = begins_at(&next.change.before) {
            // Somebody else had put it back meanwhile.
            moves.truncate(again);
        } else if moves.last().is_some_and(|last| last.change.after != next.change.before) {
            // Somebody else moved it on: what was before is not ours to give back any more.
            moves.clear();
        }
        match moves.iter().position(|one| one.change.before == next.change.after) {
            Some(back) if next.certain => moves.truncate(back),
            Some(back) => moves[back..].iter_mut().for_each(|one| one.certain = false),
            None => moves.push(next),
        }
    }
}

/// Whether an effect changed something, or may have.
fn happened(story: &Story<'_>) -> Option<bool> {
    if story.is_in_doubt() {
        return Some(false);
    }
    let refuted = matches!(story.judged.map(|judged| judged.verdict), Some(Verdict::Refuted { .. }));
    story.changed_something().then_some(!refuted)
}

/// The net changes, by field, in the order in which the fields were changed first.
fn paths<'a>(stories: &'a [Story<'a>]) -> Vec<Path<'a>> {
    let mut fields: Vec<((&str, &str, &str), Path<'a>)> = Vec::new();
    for (story, told) in stories.iter().enumerate() {
        let Some(certain) = happened(told) else { continue };
        for change in told.changes {
            let field = (change.kind.as_str(), change.id.as_str(), change.field.as_str());
            let index = fields.iter().position(|(known, _)| *known == field).unwrap_or_else(|| {
                fields.push((field, Path::default()));
                fields.len() - 1
            });
            fields[index].1.take(Move { change, story, certain });
        }
    }
    fields.into_iter().map(|(_, path)| path).filter(|path| !path.0.is_empty()).collect()
}

/// Everything that a run left changed, whatever its outcome.
pub fn left(entries: &[Entry]) -> Vec<Left> {
    let stories = stories(entries);
    let outcome = entries.iter().rev().find_map(|entry| match entry.event {
        Event::Concluded { outcome, .. } => Some(outcome),
        _ => None,
    });
    paths(&stories).iter().filter_map(|Path(moves)| one_left(moves, &stories, outcome)).collect()
}

fn one_left(moves: &[Move<'_>], stories: &[Story<'_>], outcome: Option<Outcome>) -> Option<Left> {
    let (first, last) = (moves.first()?.change, moves.last()?.change);
    let why = moves.iter().rev().find_map(|one| stories[one.story].stays);
    let remedy = match (outcome, why) {
        (Some(Outcome::Verified | Outcome::Undone), _) => Remedy::OnPurpose,
        (_, Some(why)) => Remedy::Stays { why: why.to_owned() },
        (Some(outcome), None) if outcome.is_final() => Remedy::Undo,
        _ => Remedy::Resume,
    };
    let cites = Cites::all(moves.iter().flat_map(|one| stories[one.story].seqs()))?;
    let run = moves.iter().find_map(|one| stories[one.story].key.and_then(run_of)).unwrap_or("RUN");
    let certain = moves.iter().all(|one| one.certain);
    let what = format!(
        "{} {}: {} {} {} → {}",
        quoted(&first.kind),
        quoted(&last.label),
        quoted(&first.field),
        if certain { "changed," } else { "may have changed," },
        quoted(&first.before),
        quoted(&last.after)
    );
    let text = match &remedy {
        Remedy::OnPurpose => format!("{what}; this was the purpose"),
        Remedy::Resume => format!("{what}; go on with: allclear resume {run}"),
        Remedy::Undo => format!("{what}; give it back with: allclear undo {run}"),
        Remedy::Stays { why } => format!("{what}; it stays: {}", quoted(why)),
    };
    Some(Left {
        kind: first.kind.clone(),
        id: first.id.clone(),
        label: last.label.clone(),
        field: first.field.clone(),
        before: first.before.clone(),
        now: last.after.clone(),
        certain,
        record: is_record(first),
        remedy,
        says: what,
        statement: Statement::new(stopped(text), cites),
    })
}

/// The run that an idempotency key names: the key is the run's id and a digest.
fn run_of(key: &str) -> Option<&str> {
    key.rsplit_once('-').map(|(run, _)| run)
}

/// One effect of which something is left, as an undo needs it.
pub(crate) struct Remaining {
    /// The key that its intent was recorded with.
    pub(crate) key: String,
    /// The step's id.
    pub(crate) step: String,
    /// The sentence.
    pub(crate) title: String,
    /// What of its changes is left, as the run left it.
    pub(crate) changes: Vec<Change>,
    /// Why it stays, or why what it changed stays: a later change of the same field has no undo.
    pub(crate) stays: Option<String>,
}

/// The effects of which something is left, newest first.
pub(crate) fn remaining(entries: &[Entry]) -> Vec<Remaining> {
    let stories = stories(entries);
    let paths = paths(&stories);
    let remaining = |(index, story): (usize, &Story<'_>)| {
        let moves: Vec<(&Path<'_>, usize)> = paths
            .iter()
            .filter_map(|path| Some((path, path.0.iter().position(|one| one.story == index)?)))
            .collect();
        if moves.is_empty() {
            return None;
        }
        let stays = moves.iter().find_map(|(path, at)| {
            path.0[*at..].iter().rev().find_map(|one| stories[one.story].stays).map(str::to_owned)
        });
        Some(Remaining {
            key: story.key?.to_owned(),
            step: story.of.step.clone(),
            title: story.title.to_owned(),
            changes: moves.iter().map(|(path, at)| path.0[*at].change.clone()).collect(),
            stays,
        })
    };
    stories.iter().enumerate().rev().filter_map(remaining).collect()
}
