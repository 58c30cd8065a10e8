//! Deadlines: what is done when something lasts too long, whatever the run waits for when the time comes.
//!
//! A deadline belongs to the run and not to one wait: people do not answer sooner because the failures have lasted for
//! fifteen minutes by now, and whoever is told then must be told while the question stays open. So every wait of a run
//! (for the world, for a verdict, before another try, for a person) ends early at the earliest deadline that is armed,
//! performs what was declared for it, and then goes on waiting for what it waited for.
//!
//! A replay passes a deadline at the place at which it passed first. In a wait that follows from the recorded times
//! alone; at a gate the entries tell whether the deadline or the answer came first.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::PortError;
use allclear_core::clock::after;
use async_trait::async_trait;
use jiff::Timestamp;

use super::{Mode, Run, of};
use crate::journal::{Event, Of};
use crate::outcome::Halt;
use crate::replay::BESIDE;
use crate::seam::SeamError;
use crate::step::Step;

/// What is done when something lasts too long.
#[async_trait]
pub trait Escalation: Send + Sync {
    /// Does it: performs effects, asks, notes.
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt>;
}

/// A deadline that a run was given; it is given back with [`Run::disarm`] once it cannot matter any more.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a deadline that nobody disarms passes although what it was set for came about"]
pub struct Deadline {
    base: String,
}

/// The deadlines of a run, and whom it tells when it waits long for a service.
#[derive(Default)]
pub(super) struct Deadlines {
    armed: Vec<Armed>,
    /// In a plan: under which condition what would be done, until it is listed.
    planned: Vec<(String, Arc<dyn Escalation>)>,
    /// In a plan: the same for a run that is stuck.
    planned_stuck: Option<(String, Arc<dyn Escalation>)>,
    /// An escalation is being performed. It waits too, and no other deadline passes in the middle of it.
    escalating: bool,
    when_stuck: Option<WhenStuck>,
}

/// A deadline that has not passed.
struct Armed {
    base: String,
    of: Of,
    at: Timestamp,
    escalation: Arc<dyn Escalation>,
}

/// Who is told when a service is away for long.
struct WhenStuck {
    after: Duration,
    escalation: Arc<dyn Escalation>,
    /// How long this run has waited to try again, all such waits together.
    waited: Duration,
    /// Why it waits now.
    why: String,
    /// This process has told them, or has seen that they were told.
    told: bool,
}

/// Under this key it is recorded that somebody is told; what is done then has keys that begin with it. It stands beside
/// the procedure, because where a run is interrupted says nothing about where a later process comes by.
const STUCK: &str = "~stuck";

impl Run {
    /// Escalates, once, at `at`, whatever the run waits for then, unless the deadline was disarmed before. `says` names
    /// the condition, e.g. `the failures last more than 15 minutes`. A deadline that has passed already passes in the
    /// next wait. A plan lists what would be done under that condition.
    ///
    /// A step has at most one deadline.
    pub async fn deadline(
        &mut self,
        step: &Step,
        at: Timestamp,
        says: &str,
        escalation: Arc<dyn Escalation>,
    ) -> Result<Deadline, Halt> {
        let base = format!("{}/deadline", step.id);
        // The time itself stays out of a plan: it is derived from what was seen, and would make every later plan another
        // one.
        if self.is_plan() {
            self.deadlines.planned.push((says.to_owned(), escalation));
            return Ok(Deadline { base });
        }
        self.once(&base)?;
        let set = Event::DeadlineSet { of: of(step, ""), at, says: format!("escalate if {says}") };
        let entry = self.record(&base, async move { set }).await?.entry;
        // The recorded deadline counts: it does not move when the run is taken up again.
        let Event::DeadlineSet { of, at, .. } = entry.event else {
            return Err(self.unreadable(&entry, "it is no deadline"));
        };
        let armed = Armed { base: base.clone(), of, at, escalation };
        let armed_now = &mut self.deadlines.armed;
        let place = armed_now.iter().position(|other| other.at > at).unwrap_or(armed_now.len());
        armed_now.insert(place, armed);
        Ok(Deadline { base })
    }

    /// What the deadline was set for came about, or cannot matter any more: it passes unnoticed from now on.
    pub fn disarm(&mut self, deadline: Deadline) {
        let Deadline { base } = deadline;
        self.deadlines.armed.retain(|armed| armed.base != base);
    }

    /// Has somebody told, once, when the run has waited for failing services for `after` in all, or right before it is
    /// interrupted because one stays away. The escalation finds what to say in [`Run::waits_for`]; nothing that fails in
    /// it stops the run. A plan that has effects lists what would be done then behind them.
    pub async fn when_stuck(&mut self, after: Duration, escalation: Arc<dyn Escalation>) -> Result<(), Halt> {
        if self.is_plan() {
            let minutes = after.as_secs() / 60;
            let condition = format!("a service is away for more than {minutes} minutes");
            self.deadlines.planned_stuck = Some((condition, escalation));
            return Ok(());
        }
        let told = self.seam.recorded(STUCK).is_some();
        self.deadlines.when_stuck =
            Some(WhenStuck { after, escalation, waited: Duration::ZERO, why: String::new(), told: false });
        // A process before this one told them, or died while it did: what is missing is done now, the rest is only read.
        if told { self.tell_stuck("").await } else { Ok(()) }
    }

    /// What the run waited for when somebody had to be told that it is stuck; empty before that.
    pub fn waits_for(&self) -> String {
        match self.seam.recorded(STUCK).map(|entry| &entry.event) {
            Some(Event::WaitsLong { says }) => says.clone(),
            _ => String::new(),
        }
    }

    /// Whether somebody was told that this run is stuck.
    pub fn has_told_stuck(&self) -> bool {
        self.seam.recorded(STUCK).is_some()
    }

    /// What this run has changed so far, by the titles of its effects.
    pub fn changed(&self) -> &[String] {
        &self.changed
    }

    /// In a plan: lists what the deadlines would do. Where the procedure waits for what they are set for, or at the end: a
    /// plan begins with what is done first, and not with what may be done in a quarter of an hour.
    pub(crate) async fn list_deadlines(&mut self) -> Result<(), Halt> {
        for (says, escalation) in std::mem::take(&mut self.deadlines.planned) {
            self.in_case(&says, &*escalation).await?;
        }
        Ok(())
    }

    /// In a plan: lists what is told when the run is stuck. Not in a plan without effects: whoever would have to agree to it
    /// would agree to nothing.
    pub(crate) async fn list_stuck(&mut self) -> Result<(), Halt> {
        let has_effects = matches!(&self.mode, Mode::Planning(planning) if !planning.effects.is_empty());
        match self.deadlines.planned_stuck.take() {
            Some((says, escalation)) if has_effects => self.in_case(&says, &*escalation).await,
            _ => Ok(()),
        }
    }

    /// When the next deadline passes, if one is armed and may pass now.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        if self.deadlines.escalating {
            return None;
        }
        self.deadlines.armed.first().map(|armed| armed.at)
    }

    /// The earliest deadline has passed: records that, and does what was declared for it.
    pub(super) async fn pass_deadline(&mut self) -> Result<(), Halt> {
        if self.deadlines.armed.is_empty() {
            return Ok(());
        }
        let Armed { base, of, at, escalation } = self.deadlines.armed.remove(0);
        let passed = Event::DeadlinePassed { of, at };
        self.record(&format!("{base} passed"), async move { passed }).await?;
        self.deadlines.escalating = true;
        let escalated = escalation.escalate(self).await;
        self.deadlines.escalating = false;
        escalated
    }

    /// In a replay: passes every deadline that passed before entry `seq`; every one that passed at all without it.
    pub(super) async fn pass_recorded_deadlines(&mut self, seq: Option<u64>) -> Result<(), Halt> {
        while self.next_deadline().is_some() {
            let key = format!("{} passed", self.deadlines.armed[0].base);
            match self.seam.recorded(&key).map(|entry| entry.seq) {
                Some(passed) if seq.is_none_or(|seq| passed < seq) => self.pass_deadline().await?,
                _ => break,
            }
        }
        Ok(())
    }

    /// When somebody is told that the run is stuck, if it goes on waiting from `since`.
    pub(super) fn stuck_at(&self, since: Timestamp) -> Option<Timestamp> {
        let stuck = self.deadlines.when_stuck.as_ref().filter(|stuck| !stuck.told)?;
        Some(after(since, stuck.after.saturating_sub(stuck.waited)))
    }

    /// A call failed and is to be tried again.
    pub(super) fn waits_because(&mut self, step: &Step, error: &PortError) {
        if let Some(stuck) = &mut self.deadlines.when_stuck {
            stuck.why = format!("{}: {error}", step.id);
        }
    }

    /// The run has waited for a failing service.
    pub(super) fn waited_to_retry(&mut self, from: Timestamp, until: Timestamp) {
        if let Some(stuck) = &mut self.deadlines.when_stuck {
            let waited = Duration::try_from(until.duration_since(from)).unwrap_or_default();
            stuck.waited = stuck.waited.saturating_add(waited);
        }
    }

    /// Tells why it waits now.
    pub(super) async fn tell_stuck_now(&mut self) -> Result<(), Halt> {
        let why = self.deadlines.when_stuck.as_ref().map(|stuck| stuck.why.clone());
        self.tell_stuck(&why.unwrap_or_default()).await
    }

    /// Tells that the run waits for what `says` names, where a procedure said whom to tell. Once: another process, or
    /// another reason, tells it to nobody again.
    pub(crate) async fn tell_stuck(&mut self, says: &str) -> Result<(), Halt> {
        let Some(stuck) = self.deadlines.when_stuck.as_mut().filter(|stuck| !stuck.told) else {
            return Ok(());
        };
        stuck.told = true;
        let escalation = Arc::clone(&stuck.escalation);
        let says = says.to_owned();
        let told = match self.record_beside(says).await {
            Ok(()) => self.beside(&*escalation).await,
            Err(halt) => Err(halt),
        };
        match told {
            // A replay that is made to undo the run does nothing anew, and goes on to what is recorded behind this.
            Err(Halt::Seam(SeamError::NotRecorded { .. })) => Ok(()),
            Err(halt @ (Halt::Seam(_) | Halt::Aborted { .. } | Halt::Stopped(_) | Halt::Detached)) => {
                Err(halt)
            }
            // Whoever could not be told finds the run by its state; that must not end it.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn record_beside(&mut self, says: String) -> Result<(), Halt> {
        let (time, ahead, pace) = (self.now, self.ahead, self.pace.clone());
        let was_beside = std::mem::replace(&mut self.beside, true);
        let recorded = self.record(STUCK, async move { Event::WaitsLong { says } }).await;
        self.beside = was_beside;
        (self.now, self.ahead, self.pace) = (time, ahead, pace);
        recorded.map(drop)
    }

    /// Performs what has no place in the procedure's order and none in its plan: that people are told how the run stands,
    /// and that it stands otherwise now. It asks nobody, and whatever it does is found by name and not by its turn, so it
    /// may be done where another process does not do it.
    pub async fn beside(&mut self, escalation: &dyn Escalation) -> Result<(), Halt> {
        let (time, escalating) = (self.now, self.deadlines.escalating);
        // Notes are numbered, and what is told beside the procedure must not move its numbers.
        let notes = std::mem::replace(&mut self.notes, self.notes_beside);
        // So do the clock's pace, and what is known of services: a watch's rhythm follows from them.
        let (ahead, pace, strain) = (self.ahead, self.pace.clone(), self.strain.clone());
        self.deadlines.escalating = true;
        let was_beside = std::mem::replace(&mut self.beside, true);
        let done = escalation.escalate(self).await;
        self.beside = was_beside;
        self.deadlines.escalating = escalating;
        // What was done beside the procedure took none of its time, or a replay would compute other times.
        self.now = time;
        (self.ahead, self.pace, self.strain) = (ahead, pace, strain);
        self.notes_beside = std::mem::replace(&mut self.notes, notes);
        done
    }

    /// The key as it is recorded: what is told beside the procedure has keys of its own.
    pub(super) fn placed(&self, key: &str) -> String {
        if self.beside && !key.starts_with(BESIDE) { format!("{STUCK}/{key}") } else { key.to_owned() }
    }
}
