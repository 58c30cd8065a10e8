//! Waiting for the world: look again and again, escalate at a deadline, give up in the end.

use std::time::Duration;

use allclear_core::Class;
use async_trait::async_trait;
use jiff::Timestamp;

use super::settle::{Persistence, Tried};
use super::{Mode, Run, failed, key_of, of};
use crate::effect::{Effect, Verdict};
use crate::journal::{Event, Waiting};
use crate::outcome::Halt;
use crate::probe::Probe;
use crate::step::Step;

/// What one look at a condition came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check<V> {
    /// It holds.
    Met(V),
    /// Not yet.
    NotYet {
        /// What is missing, in one sentence.
        says: String,
        /// How long a service asked us to leave it alone.
        leave_alone: Option<Duration>,
    },
}

/// Something to wait for.
#[async_trait]
pub trait Condition: Send + Sync {
    /// What is known once it holds.
    type Value: Send;

    /// What it is about, when the same step waits for several things; empty otherwise.
    fn subject(&self) -> String;

    /// Looks for the `round`th time, from 1.
    async fn check(&self, run: &mut Run, step: &Step, round: u32) -> Result<Check<Self::Value>, Halt>;
}

/// Waits until a probe's value satisfies a predicate.
#[derive(Debug)]
pub struct Observing<P: Probe> {
    /// What to look at.
    pub probe: P,
    /// Whether that is it; otherwise what is missing.
    pub satisfied: fn(&P::Value) -> Result<(), String>,
}

#[async_trait]
impl<P: Probe> Condition for Observing<P> {
    type Value = P::Value;

    fn subject(&self) -> String {
        self.probe.subject()
    }

    async fn check(&self, run: &mut Run, step: &Step, round: u32) -> Result<Check<P::Value>, Halt> {
        let subject = self.probe.subject();
        let value = run.observe(step, &self.probe, &subject, &key_of(step, &subject, round)).await?;
        Ok(match (self.satisfied)(&value) {
            Ok(()) => Check::Met(value),
            // A plan presumes that it will hold.
            Err(_) if run.is_plan() => Check::Met(value),
            Err(says) => Check::NotYet { says, leave_alone: None },
        })
    }
}

/// Waits until an effect succeeds and is verified; tries it once a round. What was done and cannot be read back ends the
/// run: nobody could tell how often it happened if each round did it again.
#[derive(Debug)]
pub struct Achieving<E>(pub E);

#[async_trait]
impl<E: Effect> Condition for Achieving<E> {
    type Value = E::Receipt;

    fn subject(&self) -> String {
        self.0.subject()
    }

    async fn check(&self, run: &mut Run, step: &Step, round: u32) -> Result<Check<E::Receipt>, Halt> {
        match run.settle(step, &self.0, round, Persistence::Once).await? {
            Tried::Settled(settled) => Ok(match settled.verdict {
                Verdict::Verified { .. } => Check::Met(settled.receipt),
                Verdict::Pending { says } | Verdict::Refuted { says } => {
                    Check::NotYet { says, leave_alone: None }
                }
                Verdict::Unverifiable { says } => {
                    return Err(Halt::Unverified { step: step.id.to_owned(), says });
                }
            }),
            Tried::Failed(error) => match error.class() {
                Class::RetryAfter(leave_alone) => Ok(Check::NotYet { says: error.to_string(), leave_alone }),
                _ => Err(failed(step, error)),
            },
        }
    }
}

/// What is done when something lasts too long.
#[async_trait]
pub trait Escalation: Send + Sync {
    /// Does it: performs effects, asks, notes.
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt>;
}

/// On which terms to wait.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    every: Duration,
    give_up_after: Duration,
    not_before: Option<(Timestamp, &'a str)>,
    escalation: Option<(Timestamp, &'a str, &'a dyn Escalation)>,
}

impl<'a> Watch<'a> {
    /// Looks every so often, at most for `give_up_after`.
    pub fn every(every: Duration, give_up_after: Duration) -> Self {
        Self { every, give_up_after, not_before: None, escalation: None }
    }

    /// Does not look before `at`; `says` tells why. The deadline runs all the same.
    pub fn not_before(mut self, at: Timestamp, says: &'a str) -> Self {
        self.not_before = Some((at, says));
        self
    }

    /// Escalates, once, when it has not come about at `deadline`. `says` names the condition, e.g. `the failures
    /// last more than 15 minutes`.
    pub fn escalate_at(mut self, deadline: Timestamp, says: &'a str, escalation: &'a dyn Escalation) -> Self {
        self.escalation = Some((deadline, says, escalation));
        self
    }
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("every", &self.every)
            .field("give_up_after", &self.give_up_after)
            .finish_non_exhaustive()
    }
}

impl Run {
    /// Waits until `condition` holds. Ends the run as unverified when it does not within the watch's patience.
    pub async fn until<C: Condition>(
        &mut self,
        step: &Step,
        watch: Watch<'_>,
        condition: C,
    ) -> Result<C::Value, Halt> {
        if self.is_plan() {
            return self.plan_until(step, watch, &condition).await;
        }
        let subject = condition.subject();
        let base = key_of(step, &subject, 0);
        self.once(&format!("{base}/until"))?;
        let began = self.now;
        let give_up_at = began + watch.give_up_after;
        let mut pending = self.set_deadline(&base, step, &subject, watch).await?;
        let (mut not_before, mut last_said) =
            watch.not_before.map_or_else(|| (began, String::new()), |(at, says)| (at, says.to_owned()));
        for round in 1.. {
            self.check_stop().await?;
            if self.now >= not_before {
                match condition.check(self, step, round).await? {
                    Check::Met(value) => return Ok(value),
                    Check::NotYet { says, leave_alone } => {
                        last_said = says;
                        not_before = self.now + watch.every.max(leave_alone.unwrap_or_default());
                    }
                }
            }
            if let Some((deadline, _, escalation)) = pending
                && self.now >= deadline
            {
                pending = None;
                let of = of(step, &subject);
                let passed = async move { Event::DeadlinePassed { of, at: deadline } };
                self.record(&format!("{base}/deadline passed"), passed).await?;
                escalation.escalate(self).await?;
            }
            if self.now >= give_up_at {
                let minutes = watch.give_up_after.as_secs() / 60;
                let says = format!("gave up after {minutes} min: {last_said}");
                return Err(Halt::Unverified { step: step.id.to_owned(), says });
            }
            let next = pending.map_or(not_before, |(deadline, ..)| not_before.min(deadline)).min(give_up_at);
            let key = format!("{base}/wait {round}");
            self.sleep(&key, of(step, &subject), next, Waiting::ForTheWorld, last_said.clone()).await?;
        }
        unreachable!("the watch gives up in the end")
    }

    async fn set_deadline<'w>(
        &mut self,
        base: &str,
        step: &Step,
        subject: &str,
        watch: Watch<'w>,
    ) -> Result<Option<(Timestamp, &'w str, &'w dyn Escalation)>, Halt> {
        let Some((at, says, escalation)) = watch.escalation else {
            return Ok(None);
        };
        let set = Event::DeadlineSet { of: of(step, subject), at, says: format!("escalate if {says}") };
        let entry = self.record(&format!("{base}/deadline"), async move { set }).await?.entry;
        // The recorded deadline counts: it does not move when the run is taken up again.
        match entry.event {
            Event::DeadlineSet { at, .. } => Ok(Some((at, says, escalation))),
            _ => Err(self.unreadable(&entry, "it is no deadline")),
        }
    }

    /// A plan presumes that the condition comes about, and names what would be done if it does not in time.
    async fn plan_until<C: Condition>(
        &mut self,
        step: &Step,
        watch: Watch<'_>,
        condition: &C,
    ) -> Result<C::Value, Halt> {
        // The deadline itself stays out of the plan: it is derived from what was seen, and would make every later
        // plan another one.
        if let Some((_, says, escalation)) = watch.escalation {
            self.in_case(says, escalation).await?;
        }
        debug_assert!(matches!(self.mode, Mode::Planning(_)), "only plans come here");
        match condition.check(self, step, 0).await? {
            Check::Met(value) => Ok(value),
            Check::NotYet { says, .. } => Err(Halt::Unverified { step: step.id.to_owned(), says }),
        }
    }
}
