//! Waiting for the world: look again and again, give up in the end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use allclear_core::clock::after;
use allclear_core::{Class, PortError};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::observe::Looked;
use super::settle::Tried;
use super::{Mode, Moment, Run, failed, key_of, of};
use crate::effect::{Effect, Verdict};
use crate::journal::Waiting;
use crate::outcome::Halt;
use crate::probe::Probe;
use crate::retry::{Failure, Persistence, Tries};
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
    /// It could not be looked at.
    Unseen(Unseen),
}

/// A look that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    error: PortError,
    /// Whether it failed in this process.
    fresh: bool,
}

impl From<Failure> for Unseen {
    fn from(Failure { error, fresh }: Failure) -> Self {
        Self { error, fresh }
    }
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
        let base = key_of(step, &subject, round);
        // Nobody waits for rounds in a plan, and the watch's own rhythm is the wait between looks that fail.
        let value = if run.is_plan() {
            run.observe(step, &self.probe, &subject, &base).await?
        } else {
            match run.look(step, &self.probe, &subject, &base, 1).await? {
                Looked::Seen(value) => value,
                Looked::Failed(failure) => return Ok(Check::Unseen(failure.into())),
            }
        };
        Ok(match (self.satisfied)(&value) {
            Ok(()) => Check::Met(value),
            // A plan presumes that it will hold.
            Err(_) if run.is_plan() => Check::Met(value),
            Err(says) => Check::NotYet { says, leave_alone: None },
        })
    }
}

/// Waits until an effect succeeds and is verified; tries it once a round. What was done is read back for as long as the
/// watch is patient and is not done again before: nobody could tell how often it happened if each round did it again.
#[derive(Debug)]
pub struct Achieving<E>(pub E);

#[async_trait]
impl<E: Effect> Condition for Achieving<E> {
    type Value = E::Receipt;

    fn subject(&self) -> String {
        self.0.subject()
    }

    async fn check(&self, run: &mut Run, step: &Step, round: u32) -> Result<Check<E::Receipt>, Halt> {
        Ok(match go_once(&self.0, run, step, round).await? {
            Go::Came(check) => check,
            Go::DoesNotHold { says } => Check::NotYet { says, leave_alone: None },
        })
    }
}

/// As [`Achieving`], for what is not done often, because each go costs somebody something. What was done and does not hold is
/// done again only so many times and not sooner than a while later; after that the run ends unverified. What was not done
/// at all is tried by the watch's own rhythm and does not count.
#[derive(Debug)]
pub struct AchievingSparingly<E> {
    effect: E,
    most: u32,
    apart: Duration,
    done: AtomicU32,
}

impl<E> AchievingSparingly<E> {
    /// At most `most` times, at least `apart` from each other.
    pub fn of(effect: E, most: u32, apart: Duration) -> Self {
        Self { effect, most, apart, done: AtomicU32::new(0) }
    }
}

#[async_trait]
impl<E: Effect> Condition for AchievingSparingly<E> {
    type Value = E::Receipt;

    fn subject(&self) -> String {
        self.effect.subject()
    }

    async fn check(&self, run: &mut Run, step: &Step, round: u32) -> Result<Check<E::Receipt>, Halt> {
        match go_once(&self.effect, run, step, round).await? {
            Go::Came(check) => Ok(check),
            Go::DoesNotHold { says } => {
                // A replay goes through the same rounds, and so counts the same.
                let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
                if done < self.most {
                    return Ok(Check::NotYet { says, leave_alone: Some(self.apart) });
                }
                let says =
                    format!("“{}” was done {done} times, and does not hold: {says}", self.effect.title());
                Err(Halt::Unverified { step: step.id.to_owned(), says })
            }
        }
    }
}

/// What one go at an effect came to.
enum Go<V> {
    Came(Check<V>),
    /// It was done, and reading it back shows that it is not so.
    DoesNotHold {
        says: String,
    },
}

async fn go_once<E: Effect>(
    effect: &E,
    run: &mut Run,
    step: &Step,
    round: u32,
) -> Result<Go<E::Receipt>, Halt> {
    Ok(Go::Came(match run.settle(step, effect, round, Persistence::Once).await? {
        Tried::Settled(settled) => {
            let (receipt, account) = settled.into_parts();
            match account.verdict().clone() {
                Verdict::Verified { .. } => Check::Met(receipt),
                Verdict::Pending { says } | Verdict::Refuted { says } => {
                    return Ok(Go::DoesNotHold { says });
                }
                Verdict::Unverifiable { says } => {
                    return Err(Halt::Unverified { step: step.id.to_owned(), says });
                }
            }
        }
        Tried::Failed(failure) => match failure.error.class() {
            // That it does not work yet is what is waited for to end.
            Class::RetryAfter(leave_alone) => Check::NotYet { says: failure.error.to_string(), leave_alone },
            Class::OutcomeUnknown => Check::NotYet { says: failure.error.to_string(), leave_alone: None },
            Class::AlreadyDone | Class::Permanent | Class::Stop(_) => Check::Unseen(failure.into()),
        },
        Tried::Unclear { says } => return Err(Halt::Unverified { step: step.id.to_owned(), says }),
    }))
}

/// On which terms to wait.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    every: Duration,
    give_up_after: Duration,
    not_before: Option<(Timestamp, &'a str)>,
}

impl<'a> Watch<'a> {
    /// Looks every so often, at most for `give_up_after`.
    pub fn every(every: Duration, give_up_after: Duration) -> Self {
        Self { every, give_up_after, not_before: None }
    }

    /// Does not look before `at`; `says` tells why. Deadlines run all the same.
    pub fn not_before(mut self, at: Timestamp, says: &'a str) -> Self {
        self.not_before = Some((at, says));
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

/// How a watch stands.
struct Watching {
    every: Duration,
    give_up_after: SignedDuration,
    /// Since when it is patient: since it began, or since this process took the run up.
    began: Moment,
    began_here: bool,
    /// When to look again.
    not_before: Timestamp,
    /// What is missing.
    says: String,
    tries: Tries,
    /// How many looks in a row failed in this process.
    failed_here: u32,
    /// Since when nothing can be seen, and why.
    blind: Option<(Moment, Unseen)>,
}

impl Watching {
    fn of(run: &Run, watch: Watch<'_>) -> Self {
        let began = run.moment();
        let (not_before, says) =
            watch.not_before.map_or_else(|| (run.now, String::new()), |(at, says)| (at, says.to_owned()));
        Self {
            every: watch.every,
            give_up_after: SignedDuration::try_from(watch.give_up_after).unwrap_or(SignedDuration::MAX),
            began,
            began_here: false,
            not_before,
            says,
            tries: Tries::new(Persistence::Full),
            failed_here: 0,
            blind: None,
        }
    }

    /// A process that takes the run up is as patient as the first one was.
    fn begin_here(&mut self, run: &Run) {
        if run.ahead || self.began_here {
            return;
        }
        self.began_here = true;
        let moment = run.moment();
        self.began = Moment { at: run.taken_up_at.map_or(moment.at, |at| moment.at.max(at)), ..moment };
    }

    fn gives_up_at(&self, run: &Run) -> Timestamp {
        let left = self.give_up_after - run.passed_since(self.began);
        run.now.checked_add(left).unwrap_or(Timestamp::MAX)
    }

    /// When to go on: to look, or to give up. What fails is waited out although the time is up.
    fn looks_at(&self, run: &Run) -> Timestamp {
        let gives_up_at = self.gives_up_at(run);
        if gives_up_at > run.now { self.not_before.min(gives_up_at) } else { self.not_before }
    }

    fn not_yet(&mut self, run: &mut Run, says: String, leave_alone: Option<Duration>) {
        run.strain.works(self.tries.service.take());
        self.tries = Tries::new(Persistence::Full);
        self.failed_here = 0;
        // Time in which nothing could be seen is given back.
        if let Some((since, _)) = self.blind.take() {
            let blind = run.passed_since(since);
            self.began.at = self.began.at.checked_add(blind).unwrap_or(self.began.at);
        }
        self.says = says;
        self.not_before = after(run.now, self.every.max(leave_alone.unwrap_or_default()));
    }

    fn unseen(&mut self, run: &mut Run, base: &str, unseen: Unseen) {
        let policy = run.terms.retry;
        // The same in every replay: from it follows in which rounds there is a look.
        let wait = run.strain.after_failure(&policy, &mut self.tries, &unseen.error, base, run.now);
        self.failed_here += u32::from(unseen.fresh);
        self.says = unseen.error.to_string();
        self.not_before = after(run.now, self.every.max(wait.unwrap_or(policy.longest_wait)));
        let since = self.blind.as_ref().map_or_else(|| run.moment(), |(since, _)| *since);
        self.blind = Some((since, unseen));
    }

    /// Whether it ends here: as in the process before, or because this one's patience is used up.
    fn has_given_up(&self, run: &Run, wait: &str) -> bool {
        if run.ahead {
            // What was waited for is recorded, and where it is not, the procedure went on without.
            return run.seam.recorded(&run.placed(wait)).is_none();
        }
        let is_of_no_use = |unseen: &Unseen| {
            let class = unseen.error.class();
            unseen.fresh && !matches!(class, Class::RetryAfter(_) | Class::OutcomeUnknown)
        };
        let time_is_up = run.passed_since(self.began) >= self.give_up_after;
        match &self.blind {
            Some((_, unseen)) => {
                is_of_no_use(unseen) || (time_is_up && self.failed_here >= run.terms.retry.tries)
            }
            None => time_is_up,
        }
    }

    fn gave_up(self, step: &Step) -> Halt {
        if let Some((_, unseen)) = self.blind {
            return failed(step, unseen.error, self.failed_here);
        }
        let minutes = self.give_up_after.as_secs() / 60;
        let says = format!("gave up after {minutes} min: {}", self.says);
        Halt::GaveUp { step: step.id.to_owned(), says }
    }
}

impl Run {
    /// Waits until `condition` holds. When it does not within the watch's patience, the run is interrupted
    /// ([`Halt::GaveUp`]), and waits on, with fresh patience, when it is taken up again. A procedure may take the halt for an
    /// answer and go on.
    ///
    /// Looks that fail are no answer: the watch keeps looking, less and less often, and time in which nothing could be seen
    /// is given back once something can.
    pub async fn until<C: Condition>(
        &mut self,
        step: &Step,
        watch: Watch<'_>,
        condition: C,
    ) -> Result<C::Value, Halt> {
        if self.is_plan() {
            return self.plan_until(step, &condition).await;
        }
        let subject = condition.subject();
        let base = key_of(step, &subject, 0);
        self.once(&format!("{base}/until"))?;
        let mut watching = Watching::of(self, watch);
        for round in 1.. {
            self.check_stop().await?;
            watching.begin_here(self);
            if self.now >= watching.not_before {
                self.patient_until = Some(watching.gives_up_at(self));
                let checked = condition.check(self, step, round).await;
                self.patient_until = None;
                match checked? {
                    Check::Met(value) => {
                        self.strain.works(watching.tries.service);
                        return Ok(value);
                    }
                    Check::NotYet { says, leave_alone } => watching.not_yet(self, says, leave_alone),
                    Check::Unseen(unseen) => watching.unseen(self, &base, unseen),
                }
            }
            watching.begin_here(self);
            let key = format!("{base}/wait {round}");
            if watching.has_given_up(self, &key) {
                return Err(watching.gave_up(step));
            }
            let next = watching.looks_at(self);
            self.sleep(&key, of(step, &subject), next, Waiting::ForTheWorld, watching.says.clone()).await?;
        }
        unreachable!("the watch gives up in the end")
    }

    /// A plan presumes that the condition comes about.
    async fn plan_until<C: Condition>(&mut self, step: &Step, condition: &C) -> Result<C::Value, Halt> {
        self.list_deadlines().await?;
        debug_assert!(matches!(self.mode, Mode::Planning(_)), "only plans come here");
        match condition.check(self, step, 0).await? {
            Check::Met(value) => Ok(value),
            Check::NotYet { says, .. } => Err(Halt::Unverified { step: step.id.to_owned(), says }),
            Check::Unseen(Unseen { error, .. }) => Err(failed(step, error, 1)),
        }
    }
}
