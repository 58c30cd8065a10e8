//! Undo: what a run changed and nobody touched since, taken back, newest first.
//!
//! A receipt in a journal is data; only the procedure knows which effect it belongs to. So the procedure is replayed over
//! what the run recorded, on a seam that runs nothing (`ReplayOnly`): every effect comes by again with its receipt, and
//! says what takes it back. Of what the whole run did only the net is taken back: a campaign that the run paused and resumed
//! is as it was.
//!
//! Taking back is a run of its own ([`UndoRun`] is a runbook): planned, approved, journalled, verified, and after a crash
//! taken up again by replaying the same entries again. The undone run's journal stays as it is.

mod erased;
mod replay;
mod reversal;

use std::collections::HashMap;
use std::sync::Arc;

use allclear_core::{Class, Clock, PortError, Rehearsal};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};

pub(crate) use erased::{Collected, Undoing, undoing};
use replay::ReplayOnly;
use reversal::{Reversal, Reversed};

use crate::effect::Verdict;
use crate::journal::{Entry, Event, WholeJournal};
use crate::outcome::{Halt, Refusal, Resolution};
use crate::probe::{Evidence, Observation, OnlyWhile, Probe};
use crate::report::left::{Remaining, is_record, remaining};
use crate::run::{Run, Terms};
use crate::runbook::Runbook;
use crate::step::{Phase, Step};

/// The runbook's id of runs that undo another one.
pub const UNDO: &str = "undo";

/// What is left of the run's changes.
pub const UN_D1: Step = Step {
    id: "UN-D1",
    phase: Phase::Detect,
    title: "Say what the run changed, and what of it can be taken back",
};
/// Taking it back.
pub const UN_M1: Step = Step {
    id: "UN-M1",
    phase: Phase::Mitigate,
    title: "Take back what nobody has touched since, newest first, and read it back",
};
/// Where the run changed the same thing twice in the same way: what stands behind the later change.
pub const UN_M2: Step =
    Step { id: "UN-M2", phase: Phase::Mitigate, title: "The same for what stands behind it" };
/// And a third time.
pub const UN_M3: Step =
    Step { id: "UN-M3", phase: Phase::Mitigate, title: "The same for what stands behind that" };

/// The steps of an undo.
pub const UNDO_STEPS: &[Step] = &[UN_D1, UN_M1, UN_M2, UN_M3];

/// One step for each time that the same effect comes by: a plan and a journal know an effect by its step.
const LAYERS: [&Step; 3] = [&UN_M1, &UN_M2, &UN_M3];

/// The undo of one run, as a runbook.
pub struct UndoRun {
    original: Box<dyn Runbook>,
    run: String,
    entries: Vec<Entry>,
    tail: String,
}

impl std::fmt::Debug for UndoRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UndoRun").field("run", &self.run).finish_non_exhaustive()
    }
}

impl UndoRun {
    /// The undo of the run that `journal` is of, and whose procedure is `original`, built for its recorded input. Refused where
    /// the run has not ended, is an undo itself, or was made by another version of the procedure.
    pub fn of(original: Box<dyn Runbook>, journal: WholeJournal) -> Result<Self, Halt> {
        let WholeJournal { run, entries, tail } = journal;
        let refused = |what: String| Err(Halt::from(Refusal::Limit { what }));
        let Some(Event::Started { runbook, version, .. }) = entries.first().map(|entry| &entry.event) else {
            return refused(format!("run {run} has recorded nothing, so there is nothing to take back"));
        };
        if runbook == UNDO {
            return refused(format!(
                "run {run} is an undo; to do again what it took back, start the runbook anew"
            ));
        }
        if *version != original.version() {
            return refused(format!(
                "run {run} was made by version {version} of {runbook} and this is version {}; undo it with that one",
                original.version()
            ));
        }
        if !entries.iter().any(|entry| matches!(entry.event, Event::Concluded { .. })) {
            return refused(format!(
                "run {run} has not ended; go on with: allclear resume {run}, or end it first: allclear abort {run}"
            ));
        }
        Ok(Self { original, run, entries, tail })
    }

    /// The input of the undo's run: which run is undone, and where its journal ended.
    pub fn input(&self) -> Value {
        json!({ "run": self.run, "tail": self.tail })
    }

    /// Which run an undo's input names.
    pub fn undone_run(input: &Value) -> Option<&str> {
        input["run"].as_str()
    }

    /// Replays the run and pairs what is left of it with what takes it back, newest first.
    async fn items(&self, clock: Arc<dyn Clock>) -> Vec<Item> {
        let Some(Event::Started { environment, operator, input, .. }) =
            self.entries.first().map(|e| &e.event)
        else {
            return Vec::new();
        };
        let terms = Terms {
            input: input.clone(),
            strict: false,
            ..Terms::new(self.run.clone(), operator.clone(), environment.clone())
        };
        let seam = ReplayOnly::of(self.entries.clone(), clock);
        let mut replayed = Run::collecting(Box::new(seam), terms);
        replayed.was_started_by(operator.clone());
        // However it ends: at the end of what is recorded, or where the run ended itself.
        let _ = self.original.procedure(&mut replayed).await;
        let collected = replayed.into_collected();
        remaining(&self.entries)
            .into_iter()
            .map(|left| {
                let back = collected.iter().rfind(|one| one.key == left.key).map(|one| one.undoing.clone());
                Item { left, back }
            })
            .collect()
    }
}

/// One effect of which something is left, and what takes it back. `None` where the replay did not come by it.
struct Item {
    left: Remaining,
    back: Option<Undoing>,
}

impl Item {
    /// Why it stays; `None` where it is to be taken back, or was not the run's doing.
    fn stays(&self) -> Option<String> {
        let why = match (&self.left.stays, &self.back) {
            (Some(why), _) | (None, Some(Undoing::Stays(why))) => why.clone(),
            (None, None) => "the procedure does not come by it again; look at it by hand".to_owned(),
            (None, Some(Undoing::By(_) | Undoing::Nothing)) => return None,
        };
        Some(format!("{}: it stays, because {why}", self.text()))
    }

    /// Whether all that it changed was added for the record: nobody has to do anything about it.
    fn is_record(&self) -> bool {
        self.left.changes.iter().all(is_record)
    }

    fn text(&self) -> String {
        let changes: Vec<String> = self.left.changes.iter().map(ToString::to_string).collect();
        format!("{} {} ({})", self.left.step, self.left.title, changes.join(", "))
    }

    fn reversal(&self, run: &str) -> Option<Reversal> {
        match (&self.left.stays, &self.back) {
            (None, Some(Undoing::By(by))) => {
                Some(Reversal::of(by.clone(), self.left.changes.clone(), run.to_owned()))
            }
            _ => None,
        }
    }
}

/// What is left, for the record and for the plan.
struct WhatIsLeft {
    run: String,
    can: usize,
    stay: Vec<String>,
}

#[async_trait]
impl Probe for WhatIsLeft {
    type Value = Vec<String>;

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Vec<String>>, PortError> {
        let Self { run, can, stay } = self;
        let source = format!("journal of run {run}");
        let mut says = match can {
            0 => format!("nothing that run {run} changed can be taken back"),
            1 => format!("1 change of run {run} can be taken back, as far as nobody touched it since"),
            many => {
                format!("{many} changes of run {run} can be taken back, as far as nobody touched them since")
            }
        };
        if !stay.is_empty() {
            says = format!("{says}; these stay: {}", stay.join("; "));
        }
        let evidence = stay.iter().map(|one| Evidence::new(source.clone(), one.clone())).collect();
        Ok(Observation { value: stay.clone(), says, evidence })
    }
}

/// One sentence, for the record and for the plan.
struct Said {
    about: String,
    says: String,
}

#[async_trait]
impl Probe for Said {
    type Value = ();

    fn subject(&self) -> String {
        self.about.clone()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<()>, PortError> {
        Ok(Observation { value: (), says: self.says.clone(), evidence: Vec::new() })
    }
}

/// What came of it so far.
#[derive(Default)]
struct Tally {
    back: usize,
    alone: Vec<String>,
    open: Vec<String>,
    /// What nothing takes back, and somebody may have to look after.
    stay: Vec<String>,
    /// Where something was proven.
    steps: Vec<&'static Step>,
}

impl Tally {
    fn resolution(self, run: &Run, undone: &str) -> Result<Resolution, Halt> {
        let Self { back, alone, open, stay, steps } = self;
        let mut says = match back {
            0 => format!("nothing of run {undone} is left to take back"),
            1 => format!("1 change of run {undone} was taken back"),
            many => format!("{many} changes of run {undone} were taken back"),
        };
        if !alone.is_empty() {
            says = format!("{says}; left alone: {}", alone.join("; "));
        }
        if !stay.is_empty() {
            says = format!("{says}; not taken back: {}", stay.join("; "));
        }
        if back == 0 && open.is_empty() && !alone.is_empty() {
            // What was to be taken back is as somebody else has it: that is not undone.
            return Err(Halt::Unverified { step: UN_M1.id.to_owned(), says });
        }
        if open.is_empty() {
            let looked = run.proof(&UN_D1)?;
            let proof =
                steps.into_iter().try_fold(looked, |all, step| Ok::<_, Halt>(all.and(run.proof(step)?)))?;
            return Ok(run.resolve(says, proof)?.undone());
        }
        let says = format!("{says}; not proven to be back: {}", open.join("; "));
        Err(Halt::Unverified { step: UN_M1.id.to_owned(), says })
    }
}

#[async_trait]
impl Runbook for UndoRun {
    fn id(&self) -> &'static str {
        UNDO
    }

    fn title(&self) -> &'static str {
        "Undo of a run"
    }

    fn version(&self) -> u32 {
        1
    }

    fn steps(&self) -> &'static [Step] {
        UNDO_STEPS
    }

    fn rehearsal(&self) -> Option<Rehearsal> {
        self.original.rehearsal()
    }

    /// Nobody handles the same kind of incident while its last run is taken back, also from another machine.
    fn announced_as(&self) -> &'static str {
        self.original.announced_as()
    }

    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        if run.terms.input != self.input() {
            let what = format!(
                "the journal of run {} is not what it was when this undo was planned; plan it anew: allclear undo {}",
                self.run, self.run
            );
            return Err(Refusal::Limit { what }.into());
        }
        if !run.is_plan() {
            // Nobody handles the same kind of incident while its last run is taken back.
            run.claim(&format!("runbook {}", self.original.id())).await?;
        }
        let items = self.items(run.clock()).await;
        let reversals: Vec<Reversal> = items.iter().filter_map(|item| item.reversal(&self.run)).collect();
        let stay = items.iter().filter_map(Item::stays).collect();
        let for_people = items.iter().filter(|item| !item.is_record()).filter_map(Item::stays).collect();
        run.probe(&UN_D1, WhatIsLeft { run: self.run.clone(), can: reversals.len(), stay }).await?;
        let mut tally = Tally { stay: for_people, ..Tally::default() };
        let mut met: HashMap<String, usize> = HashMap::new();
        let mut back: Vec<Reversal> = Vec::new();
        for reversal in reversals {
            let (title, about) = (reversal.what(), reversal.identity());
            let layer = met.entry(about.clone()).or_default();
            let Some(step) = LAYERS.get(*layer).copied() else {
                tally.open.push(format!("{title}: undo the run once more for this one"));
                continue;
            };
            *layer += 1;
            match run.attempt(step, reversal.clone()).await {
                Ok(settled) => {
                    let (receipt, account) = settled.into_parts();
                    if account.is_proven() {
                        tally.steps.push(step);
                        back.retain(|earlier| !earlier.is_of_the_same_as(&reversal));
                        back.extend(matches!(receipt, Reversed::Back { .. }).then_some(reversal));
                    }
                    let verdict = account.verdict().clone();
                    tally.take(run, Came { step, title, about, receipt, verdict }).await?;
                }
                // One that the platform refuses keeps none of the others from being taken back. An answer that says nothing is
                // no refusal: the undo is taken up again.
                Err(Halt::Failed { error, .. })
                    if error.class() == Class::Permanent && !error.says_nothing() =>
                {
                    tally.open.push(format!("{title}: {error}"));
                }
                Err(Halt::Unverified { says, .. } | Halt::Refuted { says, .. }) => {
                    tally.open.push(format!("{title}: {says}"));
                }
                Err(other) => return Err(other),
            }
        }
        tally.look_again(run, back).await?;
        tally.resolution(run, &self.run)
    }
}

/// What of an undo is not as it left it, read once more before its last word: each with its place, in words.
struct NotBackAnyMore(Vec<Reversal>);

impl NotBackAnyMore {
    async fn look(&self) -> Result<Vec<(usize, String)>, PortError> {
        let mut taken = Vec::new();
        for (place, reversal) in self.0.iter().enumerate() {
            if let Some(says) = reversal.is_not_back_any_more().await? {
                taken.push((place, format!("{}: {says}", reversal.what())));
            }
        }
        Ok(taken)
    }
}

/// The same for the look before the end, by whichever process comes to it.
struct StillBack(NotBackAnyMore);

#[async_trait]
impl Probe for StillBack {
    type Value = Option<String>;

    fn subject(&self) -> String {
        "what was taken back".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Option<String>>, PortError> {
        let taken: Vec<String> = self.0.look().await?.into_iter().map(|(_, says)| says).collect();
        let (value, says) = if taken.is_empty() {
            (None, "what was taken back is as the undo left it".to_owned())
        } else {
            let says = format!("somebody else took meanwhile: {}", taken.join("; "));
            (Some(says.clone()), says)
        };
        let evidence = vec![Evidence::new("read anew", says.clone())];
        Ok(Observation { value, says, evidence })
    }
}

#[async_trait]
impl Probe for NotBackAnyMore {
    type Value = Vec<(usize, String)>;

    fn subject(&self) -> String {
        "before the end".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Self::Value>, PortError> {
        let taken = self.look().await?;
        let words: Vec<&str> = taken.iter().map(|(_, says)| says.as_str()).collect();
        let says = if taken.is_empty() {
            "what was taken back is as the undo left it".to_owned()
        } else {
            format!("somebody else took meanwhile: {}", words.join("; "))
        };
        let evidence = words.iter().map(|one| Evidence::new("read anew", *one)).collect();
        Ok(Observation { value: taken, says, evidence })
    }
}

/// What came of one.
struct Came {
    step: &'static Step,
    title: String,
    about: String,
    receipt: Reversed,
    verdict: Verdict,
}

impl Tally {
    /// What somebody took since it was taken back is as they have it, and not counted.
    async fn look_again(&mut self, run: &mut Run, back: Vec<Reversal>) -> Result<(), Halt> {
        if back.is_empty() || run.is_plan() {
            return Ok(());
        }
        let taken = run.probe(&UN_M1, NotBackAnyMore(back.clone())).await?;
        self.back = self.back.saturating_sub(taken.len());
        let is_taken = |place: &usize| taken.iter().any(|(taken, _)| taken == place);
        let stands = back.into_iter().enumerate().filter(|(place, _)| !is_taken(place));
        let stands = NotBackAnyMore(stands.map(|(_, reversal)| reversal).collect());
        run.ends_only_while(&UN_M1, OnlyWhile::of(StillBack(stands)));
        self.alone.extend(taken.into_iter().map(|(_, says)| says));
        Ok(())
    }

    async fn take(&mut self, run: &mut Run, came: Came) -> Result<(), Halt> {
        let Came { step, title, about, receipt, verdict } = came;
        match receipt {
            Reversed::Back { .. } if verdict.is_verified() => self.back += 1,
            Reversed::Back { .. } => self.open.push(format!("{title}: {}", verdict.says())),
            Reversed::AlreadyBack => {}
            Reversed::LeftAlone { says } => {
                let says = format!("{title}: {says}");
                self.alone.push(says.clone());
                run.probe(step, Said { about, says: format!("left alone: {says}") }).await?;
            }
        }
        Ok(())
    }
}
