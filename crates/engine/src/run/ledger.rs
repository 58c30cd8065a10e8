//! What this run did and whether it is proven: the account that bounds how the run may end.
//!
//! It is kept from what a procedure performs and from the entries that are recorded or replayed, so it is the same in
//! every replay, and a procedure that looks away (`let _ =`) changes nothing about it.

use std::collections::{BTreeMap, HashMap};

use allclear_core::Class;

use super::{Run, of};
use crate::claim::{Account, Because, Certainty, Claim, Closing, Excuse, Owed, Proof};
use crate::effect::{Effect, Verdict};
use crate::journal::{Doing, Entry, Event, Finding, Note, Of};
use crate::outcome::{Halt, Resolution};
use crate::replay::BESIDE;
use crate::step::Step;

/// A proof names at most this many entries of a step: enough to follow it, and not a list of a thousand looks.
const MOST_SHOWN: usize = 24;

/// One effect that the run set out to perform.
#[derive(Debug)]
struct Performed {
    of: Of,
    id: String,
    title: String,
    excuse: Option<Because>,
    stands: Stands,
    /// Whether a try of it may have been done, and nothing has told yet.
    in_doubt: bool,
    /// The entries that its verdict stands on.
    entries: Vec<String>,
}

/// How it stands.
#[derive(Debug)]
enum Stands {
    /// It came to no verdict: a call failed, or nobody could tell whether it happened.
    Begun,
    /// Read back.
    Judged(Verdict),
    /// Not proven, and something that came later made up for it.
    Closed,
    /// Not proven; those whom it was to tell were told another way.
    ToldAnotherWay,
    /// Not proven, and named already in the point that nobody was told.
    Named,
}

impl Performed {
    fn verdict(&self) -> Option<&Verdict> {
        if let Stands::Judged(verdict) = &self.stands { Some(verdict) } else { None }
    }

    fn is_proven(&self) -> bool {
        self.verdict().is_some_and(Verdict::is_verified)
    }

    fn is_unproven(&self) -> bool {
        matches!(self.stands, Stands::Begun | Stands::Judged(_)) && !self.is_proven()
    }

    fn may_be_closed(&self) -> bool {
        self.is_unproven() || matches!(self.stands, Stands::Named)
    }

    fn is_excused(&self) -> bool {
        self.is_unproven() && self.excuse.is_some_and(|because| because.covers(self.verdict()))
    }

    fn says(&self) -> String {
        match self.verdict() {
            Some(verdict) => format!("“{}” is not proven: {}", self.title, verdict.says()),
            None if self.in_doubt => format!("“{}” may have been done, and nothing tells", self.title),
            None => format!("“{}” was not done, as far as is known", self.title),
        }
    }
}

/// The account of one run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    effects: Vec<Performed>,
    /// By the effect's key within the run.
    by_key: HashMap<String, usize>,
    /// All goes at the same effect, by what stays the same in each round.
    by_id: HashMap<String, Vec<usize>>,
    untold: Vec<Claim>,
    owed: Vec<Owed>,
    /// By step, the things that something was shown of and the latest entry that did, oldest first; at most [`MOST_SHOWN`].
    shown: BTreeMap<String, Vec<(String, String)>>,
}

/// What an effect's goes have in common: its step, subject and name.
pub(crate) fn effect_id(step: &str, subject: &str, effect: &str) -> String {
    if subject.is_empty() { format!("{step}/{effect}") } else { format!("{step} {subject}/{effect}") }
}

impl Ledger {
    pub(super) fn begin<E: Effect>(&mut self, key: &str, step: &Step, effect: &E) {
        let id = effect_id(step.id, &effect.subject(), effect.name());
        let index = self.effects.len();
        self.by_key.insert(key.to_owned(), index);
        self.by_id.entry(id.clone()).or_default().push(index);
        let (title, excuse) = (effect.title(), effect.excuse());
        let of = of(step, &effect.subject());
        let (stands, entries) = (Stands::Begun, Vec::new());
        self.effects.push(Performed { of, id, title, excuse, stands, in_doubt: false, entries });
    }

    /// The entries that an effect's verdict stands on.
    pub(super) fn entries_of(&self, effect: &str) -> Vec<String> {
        self.by_key.get(effect).map(|&index| self.effects[index].entries.clone()).unwrap_or_default()
    }

    /// Takes note of an entry, recorded now or before.
    pub(super) fn read(&mut self, entry: &Entry) {
        let key = entry.key.as_str();
        let thing = key.rsplit_once('/').map_or(key, |(thing, _)| thing);
        match &entry.event {
            // Done, and not read back.
            Event::InDoubt { .. } | Event::Applied { .. } => self.doubt(thing, true),
            Event::Failed { doing: Doing::Applying, error, .. } => {
                self.doubt(thing, error.class() == Class::OutcomeUnknown);
            }
            Event::Reconciled { finding, .. } => self.doubt(thing, *finding == Finding::Unknown),
            Event::Judged { verdict: Verdict::Pending { .. }, .. } => {}
            Event::Judged { of, verdict, .. } => {
                self.judged(thing, key, verdict);
                if verdict.is_verified() {
                    self.show(&of.step, thing, key);
                }
            }
            Event::Observed { of, .. } | Event::Answered { of, .. } | Event::GateExpired { of, .. } => {
                self.show(&of.step, thing, key);
            }
            Event::Noted { note: Note::Owed(owed), .. } => {
                self.owed.retain(|known| known.id != owed.id);
                self.owed.push(owed.clone());
            }
            Event::Noted { note: Note::Closed(closing), .. } => {
                self.owed.retain(|known| known.id != closing.id);
                self.untold.retain(|claim| !claim.is_closed_by(closing));
                for index in self.by_id.get(&closing.id).into_iter().flatten() {
                    if self.effects[*index].may_be_closed() {
                        self.effects[*index].stands = Stands::Closed;
                    }
                }
            }
            Event::Noted { note: Note::Told(claim), .. } if claim.certainty() == Certainty::Unproven => {
                self.untold.push(claim.clone());
            }
            _ => {}
        }
    }

    fn doubt(&mut self, effect: &str, in_doubt: bool) {
        if let Some(&index) = self.by_key.get(effect) {
            self.effects[index].in_doubt = in_doubt;
        }
    }

    fn show(&mut self, step: &str, thing: &str, key: &str) {
        // Rounds of one wait look at one thing, and the latest look is the one that counts.
        let thing = thing.split_once(" round ").map_or(thing, |(thing, _)| thing);
        let shown = self.shown.entry(step.to_owned()).or_default();
        shown.retain(|(known, _)| known != thing);
        if shown.len() == MOST_SHOWN {
            shown.remove(0);
        }
        shown.push((thing.to_owned(), key.to_owned()));
    }

    fn judged(&mut self, effect: &str, key: &str, verdict: &Verdict) {
        let Some(&index) = self.by_key.get(effect) else { return };
        self.effects[index].entries.push(key.to_owned());
        self.effects[index].stands = Stands::Judged(verdict.clone());
        if !verdict.is_verified() {
            return;
        }
        // Three canaries that failed are no question once the fourth arrived.
        for &earlier in self.by_id.get(&self.effects[index].id).into_iter().flatten() {
            if earlier < index && self.effects[earlier].is_unproven() {
                self.effects[earlier].stands = Stands::Closed;
            }
        }
    }

    fn ids_of(&self, ways: &[&Account]) -> Vec<String> {
        let known = ways.iter().filter_map(|way| self.by_key.get(&way.key));
        known.map(|&index| self.effects[index].id.clone()).collect()
    }

    fn mark(&mut self, ways: &[&Account], stands: fn() -> Stands) {
        for way in ways {
            if let Some(&index) = self.by_key.get(&way.key)
                && self.effects[index].is_unproven()
                && !self.effects[index].is_excused()
            {
                self.effects[index].stands = stands();
            }
        }
    }

    /// The step of the first open point, and all of them in words: whoever was not told comes first.
    fn open(&self) -> Option<(&str, Vec<String>)> {
        let unproven: Vec<&Performed> =
            self.effects.iter().filter(|one| one.is_unproven() && !one.is_excused()).collect();
        let named = self.effects.iter().find(|one| matches!(one.stands, Stands::Named));
        let owed = self.owed.iter().map(|owed| owed.says.clone());
        let untold = self.untold.iter().map(|claim| claim.says().to_owned());
        let all: Vec<String> = untold.chain(unproven.iter().map(|one| one.says())).chain(owed).collect();
        let step = named
            .or(unproven.first().copied())
            .or(self.effects.first())
            .map(|one| one.of.step.as_str())
            // Nothing was done: what is open was seen.
            .or_else(|| self.shown.keys().next().map(String::as_str))
            .unwrap_or_default();
        (!all.is_empty()).then_some((step, all))
    }

    fn excuses(&self) -> Vec<(Of, Excuse)> {
        let excused = self.effects.iter().filter(|one| one.is_excused());
        excused
            .filter_map(|one| {
                let excuse = Excuse { id: one.id.clone(), title: one.title.clone(), because: one.excuse? };
                Some((one.of.clone(), excuse))
            })
            .collect()
    }
}

impl Run {
    /// What this run has proven at a step: effects read back as so, conditions that came about, what was seen, what
    /// people answered. An error where there is nothing of that, or where something that was done there is not proven.
    pub fn proof(&self, step: &Step) -> Result<Proof, Halt> {
        if self.is_plan() {
            return Ok(Proof { rests_on: Vec::new() });
        }
        let unverified = |says: String| Err(Halt::Unverified { step: step.id.to_owned(), says });
        let here = self.ledger.effects.iter().filter(|one| one.of.step == step.id);
        if let Some(open) = here.into_iter().find(|one| one.is_unproven() && !one.is_excused()) {
            return unverified(open.says());
        }
        match self.ledger.shown.get(step.id) {
            Some(shown) => Ok(Proof { rests_on: shown.iter().map(|(_, key)| key.clone()).collect() }),
            None => unverified(format!("nothing was looked at for “{}”", step.title)),
        }
    }

    /// Ends the procedure as resolved, by what is proven. An error where something that this run did is not proven, or
    /// something of its own is still open: then it ends as unverified, with the list.
    pub fn resolve(&self, says: impl Into<String>, proof: Proof) -> Result<Resolution, Halt> {
        let says = says.into();
        match self.open_points() {
            Some(halt) => Err(halt(says)),
            None => Ok(Resolution::new(says, proof)),
        }
    }

    /// Puts on record whether somebody was told, by whichever ways were tried. `told` and `untold` are sentences of the
    /// same people and the same matter. Where one way is proven, the others do not stand in the way of the run's end; where
    /// none is, that is the first of its open points. Returns whether they were told.
    pub async fn told(
        &mut self,
        step: &Step,
        told: impl Into<String>,
        untold: impl Into<String>,
        ways: &[&Account],
    ) -> Result<bool, Halt> {
        let claim = Claim::told(told.into(), untold.into(), ways);
        let were_told = claim.certainty() != Certainty::Unproven;
        match claim.certainty() {
            Certainty::Proven => self.ledger.mark(ways, || Stands::ToldAnotherWay),
            Certainty::Unproven => self.ledger.mark(ways, || Stands::Named),
            Certainty::Excused | Certainty::NotSaid => {}
        }
        let claim = if were_told { claim } else { claim.lacking(self.ledger.ids_of(ways)) };
        self.note(step, Note::Told(claim)).await?;
        Ok(were_told)
    }

    /// Puts on record that this run made something that must be ended, e.g. a page. It stays open, and keeps the run from
    /// ending as verified, until [`close`](Self::close).
    pub async fn owe(&mut self, step: &Step, id: &str, says: impl Into<String>) -> Result<(), Halt> {
        let owed = Owed { id: id.to_owned(), says: says.into() };
        self.note(step, Note::Owed(owed)).await
    }

    /// Whether something that this run made is still open.
    pub fn owes(&self, id: &str) -> bool {
        self.ledger.owed.iter().any(|owed| owed.id == id)
    }

    /// Closes what this run owed, by a proof.
    pub async fn close(
        &mut self,
        step: &Step,
        id: &str,
        says: impl Into<String>,
        by: &Proof,
    ) -> Result<(), Halt> {
        let closing = Closing { id: id.to_owned(), says: says.into(), rests_on: by.rests_on.clone() };
        self.note(step, Note::Closed(closing)).await
    }

    /// Closes an effect that was not proven by something that made up for it later, e.g. a pause that did not hold by the
    /// proof that sending goes well.
    pub async fn cure(
        &mut self,
        step: &Step,
        unproven: &Account,
        says: impl Into<String>,
        by: &Proof,
    ) -> Result<(), Halt> {
        if unproven.is_proven() || self.is_plan() {
            return Ok(());
        }
        match self.ledger.ids_of(&[unproven]).pop() {
            Some(id) => self.close(step, &id, says, by).await,
            None => Ok(()),
        }
    }

    /// Bounds a procedure's own end by what is not proven: makes the halt of an end's sentence. `None` where nothing is
    /// open.
    pub(crate) fn open_points(&self) -> Option<impl FnOnce(String) -> Halt + use<>> {
        if self.is_plan() {
            return None;
        }
        let (step, open) = self.ledger.open()?;
        let step = step.to_owned();
        Some(move |says| Halt::Unverified { step, says: format!("{says}; open: {}", open.join("; ")) })
    }

    /// Whether anything was looked at.
    pub(crate) fn has_seen_anything(&self) -> bool {
        self.is_plan() || !self.ledger.shown.is_empty()
    }

    /// Records which effects are not proven and need not be. Beside the procedure, when it ends.
    pub(crate) async fn record_excuses(&mut self) -> Result<(), Halt> {
        for (of, excuse) in self.ledger.excuses() {
            let key = format!("{BESIDE}excused {}", excuse.id);
            self.record(&key, async move { Event::Noted { of, note: Note::Excused(excuse) } }).await?;
        }
        Ok(())
    }
}
