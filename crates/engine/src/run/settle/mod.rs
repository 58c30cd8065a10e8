//! Performing effects: predict, record the intent, apply, and when in doubt ask before anything is sent again;
//! then read back.
//!
//! What can go wrong in the middle, and the line that guards it:
//!
//! * killed after the intent was recorded: the intent carries the incarnation that wrote it, so the next one knows
//!   that it did not see the outcome and asks what became of it (`outcome`) instead of applying;
//! * killed after the service acted, before the answer was recorded: the same;
//! * the answer is lost while the process lives: the error's class is `OutcomeUnknown`, and that also goes there;
//! * the world moved between plan and effect: the prediction differs, and a person is asked.

mod intent;
mod outcome;
mod verify;

use allclear_core::Class;
use serde_json::Value;

use super::observe::Looking;
use super::{Call, Moment, Run, failed, key_of, of};
use crate::claim::Account;
use crate::effect::{Effect, Intent, Prediction, Verdict};
use crate::journal::Waiting;
use crate::outcome::{Halt, Refusal};
use crate::receipt::{read_back, survives};
use crate::retry::{Failure, Persistence, Tries};
use crate::seam::SeamError;
use crate::step::Step;
use intent::Intended;
pub(super) use outcome::Went;

/// How often an effect may be put off before somebody is told that it is.
const PUT_OFF: u32 = 3;

/// An effect that was applied (or needed not be) and read back.
///
/// What it says is made a [`Claim`](crate::Claim) of, or a proof. Dropping it changes nothing about how the run may end:
/// what is not proven keeps it from ending as verified.
#[must_use = "its verdict says whether the effect is proven: make a claim of it, or call `proven`"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled<R> {
    receipt: R,
    account: Account,
}

impl<R> Settled<R> {
    /// What the procedure goes on with.
    pub fn receipt(&self) -> &R {
        &self.receipt
    }

    /// The same, taken out, with what became of the effect.
    pub fn into_parts(self) -> (R, Account) {
        (self.receipt, self.account)
    }

    /// What reading back showed; never pending.
    pub fn verdict(&self) -> &Verdict {
        &self.account.verdict
    }

    /// Whether it was read back as so.
    pub fn is_proven(&self) -> bool {
        self.account.is_proven()
    }

    /// What became of the effect.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The same of an effect that may come to no receipt.
    fn known(self) -> Settled<Option<R>> {
        Settled { receipt: Some(self.receipt), account: self.account }
    }

    /// The receipt of a proven effect; anything else ends the run.
    pub fn proven(self, step: &Step) -> Result<R, Halt> {
        let step = step.id.to_owned();
        match self.account.verdict {
            Verdict::Verified { .. } => Ok(self.receipt),
            Verdict::Pending { says } | Verdict::Unverifiable { says } => {
                Err(Halt::Unverified { step, says })
            }
            Verdict::Refuted { says } => Err(Halt::Refuted { step, says }),
        }
    }
}

/// What one go at an effect came to.
pub(super) enum Tried<R> {
    Settled(Settled<R>),
    /// A call failed, and the caller waits it out itself.
    Failed(Failure),
    /// It may have happened or not, and nobody is asked.
    Unclear {
        says: String,
    },
}

/// What making an effect so came to.
enum Bringing<R> {
    Brought(Brought<R>),
    Failed(Failure),
    Unclear { says: String },
}

/// One effect of one run, with the names that its entries go by.
pub(super) struct Named<'a, E> {
    pub(super) step: &'a Step,
    pub(super) effect: &'a E,
    pub(super) subject: String,
    base: String,
    pub(super) round: u32,
}

/// An effect that was made so and is still to be read back.
struct Brought<R> {
    intent: Intent,
    receipt: R,
    /// The run's time then: patience counts from here.
    since: Moment,
}

impl Run {
    /// Performs an effect and proves it. Ends the run when it cannot be proven.
    pub async fn perform<E: Effect>(&mut self, step: &Step, effect: E) -> Result<E::Receipt, Halt> {
        self.attempt(step, effect).await?.proven(step)
    }

    /// Performs an effect and leaves it to the procedure what an unproven one means.
    pub async fn attempt<E: Effect>(&mut self, step: &Step, effect: E) -> Result<Settled<E::Receipt>, Halt> {
        match self.settle(step, &effect, 0, Persistence::Full).await? {
            Tried::Settled(settled) => Ok(settled),
            Tried::Failed(Failure { error, .. }) => Err(failed(step, error, 1)),
            Tried::Unclear { .. } => unreachable!("somebody is asked"),
        }
    }

    /// Tells somebody, and holds nothing up: a few tries within a minute, no question to a person, and no end of the run
    /// because of it. What became of it is the verdict: only a verified one says that it was told. In doubt, a message may
    /// have gone out, and is not sent a second time by this.
    pub async fn tell<E: Effect>(
        &mut self,
        step: &Step,
        message: E,
    ) -> Result<Settled<Option<E::Receipt>>, Halt> {
        self.attempt_briefly(step, message).await
    }

    /// Performs an effect that nothing may wait for, and leaves it to the procedure what an unproven one means: as
    /// [`tell`](Self::tell), for what is no message.
    pub async fn attempt_briefly<E: Effect>(
        &mut self,
        step: &Step,
        effect: E,
    ) -> Result<Settled<Option<E::Receipt>>, Halt> {
        match self.settle(step, &effect, 0, Persistence::Brief).await {
            Ok(Tried::Settled(settled)) => Ok(settled.known()),
            // A plan without it would make the run ask about a message that nobody has seen.
            Err(halt) if self.is_plan() => Err(halt),
            Ok(Tried::Failed(Failure { error, .. })) | Err(Halt::Failed { error, .. }) => {
                Ok(self.unproven(step, &effect, format!("it was not done: {error}"), false))
            }
            Ok(Tried::Unclear { says }) => Ok(self.unproven(step, &effect, says, true)),
            Err(halt) => Err(halt),
        }
    }

    /// Tells somebody when all else is done, so that waiting costs nobody anything: where the service is away the run waits
    /// and can be taken up again, rather than end with somebody not told. What is refused for good ends nothing; then the
    /// verdict says so.
    pub async fn tell_last<E: Effect>(
        &mut self,
        step: &Step,
        message: E,
    ) -> Result<Settled<Option<E::Receipt>>, Halt> {
        match self.settle(step, &message, 0, Persistence::Full).await {
            Ok(Tried::Settled(settled)) => Ok(settled.known()),
            Ok(Tried::Failed(Failure { error, .. })) | Err(Halt::Failed { error, .. })
                if error.class() == Class::Permanent && !error.says_nothing() && !self.is_plan() =>
            {
                Ok(self.unproven(step, &message, format!("it was not done: {error}"), false))
            }
            Ok(Tried::Failed(Failure { error, .. })) => Err(failed(step, error, 1)),
            Ok(Tried::Unclear { .. }) => unreachable!("somebody is asked"),
            Err(halt) => Err(halt),
        }
    }

    /// What came to no receipt, and is not proven.
    fn unproven<E: Effect>(
        &self,
        step: &Step,
        effect: &E,
        says: String,
        may_be_done: bool,
    ) -> Settled<Option<E::Receipt>> {
        let subject = effect.subject();
        let base = format!("{}/{}", key_of(step, &subject, 0), effect.name());
        let named = Named { step, effect, subject, base, round: 0 };
        let mut unproven = self.settled(&named, None, Verdict::Unverifiable { says });
        // An excuse is for what was done and cannot be read back, and not for what was not done.
        unproven.account.excuse = unproven.account.excuse.filter(|because| because.covers(None));
        unproven.account.may_be_done = may_be_done;
        unproven
    }

    /// Performs the same kind of effect on many things: first all are applied, one after the other, then all are
    /// read back, so that four campaigns stop within a second and not after four observation windows. Each has its
    /// own entries; a crash in the middle repeats none of them.
    pub async fn attempt_each<E: Effect>(
        &mut self,
        step: &Step,
        effects: Vec<E>,
    ) -> Result<Vec<Settled<E::Receipt>>, Halt> {
        let mut settled = Vec::with_capacity(effects.len());
        if self.is_plan() {
            for effect in &effects {
                settled.push(self.foresee(step, effect).await?);
            }
            return Ok(settled);
        }
        // One question for all of them, before the first.
        self.guard(step, &effects.iter().collect::<Vec<_>>()).await?;
        let mut brought = Vec::with_capacity(effects.len());
        for effect in &effects {
            let named = self.name(step, effect, 0)?;
            match self.bring_about(&named, Persistence::Full).await? {
                Bringing::Brought(one) => brought.push((named, one)),
                Bringing::Failed(Failure { error, .. }) => return Err(failed(step, error, 1)),
                Bringing::Unclear { .. } => unreachable!("somebody is asked"),
            }
        }
        for (named, one) in brought {
            let verdict = self.verify(&named, &one, Persistence::Full).await?;
            settled.push(self.settled(&named, one.receipt, verdict));
        }
        Ok(settled)
    }

    /// As [`attempt_each`](Self::attempt_each); the first effect that is not proven ends the run.
    pub async fn perform_each<E: Effect>(
        &mut self,
        step: &Step,
        effects: Vec<E>,
    ) -> Result<Vec<E::Receipt>, Halt> {
        self.attempt_each(step, effects).await?.into_iter().map(|settled| settled.proven(step)).collect()
    }

    pub(super) async fn settle<E: Effect>(
        &mut self,
        step: &Step,
        effect: &E,
        round: u32,
        persistence: Persistence,
    ) -> Result<Tried<E::Receipt>, Halt> {
        if self.is_plan() {
            return self.foresee(step, effect).await.map(Tried::Settled);
        }
        let named = self.name(step, effect, round)?;
        let brought = match self.bring_about(&named, persistence).await? {
            Bringing::Brought(brought) => brought,
            Bringing::Failed(failure) => return Ok(Tried::Failed(failure)),
            Bringing::Unclear { says } => return Ok(Tried::Unclear { says }),
        };
        let verdict = self.verify(&named, &brought, persistence).await?;
        Ok(Tried::Settled(self.settled(&named, brought.receipt, verdict)))
    }

    /// What became of an effect, with the entries that its verdict stands on.
    pub(super) fn settled<E: Effect, R>(
        &self,
        named: &Named<'_, E>,
        receipt: R,
        verdict: Verdict,
    ) -> Settled<R> {
        let account = Account {
            key: self.placed(&named.base),
            title: named.effect.title(),
            may_be_done: !matches!(verdict, Verdict::Refuted { .. }),
            verdict,
            excuse: named.effect.excuse(),
            rests_on: self.ledger.entries_of(&self.placed(&named.base)),
        };
        Settled { receipt, account }
    }

    fn name<'a, E: Effect>(
        &mut self,
        step: &'a Step,
        effect: &'a E,
        round: u32,
    ) -> Result<Named<'a, E>, Halt> {
        let subject = effect.subject();
        let base = format!("{}/{}", key_of(step, &subject, round), effect.name());
        self.once(&base)?;
        let placed = self.placed(&base);
        self.ledger.begin(&placed, step, effect);
        Ok(Named { step, effect, subject, base, round })
    }

    /// Makes an effect so, without reading it back yet.
    async fn bring_about<E: Effect>(
        &mut self,
        named: &Named<'_, E>,
        persistence: Persistence,
    ) -> Result<Bringing<E::Receipt>, Halt> {
        self.check_stop().await?;
        self.guard(named.step, &[named.effect]).await?;
        self.claim(&named.subject).await?;
        let mut tries = Tries::new(persistence);
        for attempt in 1.. {
            self.wait_until_it_may(named, attempt).await?;
            self.check_that_it_still_is(named, attempt).await?;
            let failure = match self.intend(named, attempt).await? {
                Intended::AlreadySo(value) => {
                    self.strain.works(tries.service);
                    let intent = Intent { key: self.key_for(named), at: self.now, changes: Vec::new() };
                    return self.brought(named, intent, &value).map(Bringing::Brought);
                }
                Intended::Failed(failure) => failure,
                Intended::Go { intent, earlier_incarnation } => {
                    let prediction = Prediction { changes: intent.changes.clone(), ..Prediction::default() };
                    check_receipt(named.effect, &named.effect.foresee(&prediction))?;
                    self.collect(named.effect, &intent, None);
                    match self.apply(named, attempt, &intent, earlier_incarnation, persistence).await? {
                        Went::Done(value) => {
                            self.strain.works(tries.service);
                            return self.brought(named, intent, &value).map(Bringing::Brought);
                        }
                        // No service failed: a process did, or a person looked and says that it is to be done now.
                        Went::DidNot { after: None } => continue,
                        Went::DidNot { after: Some(failure) } | Went::Failed(failure) => failure,
                        Went::Unclear { says } => return Ok(Bringing::Unclear { says }),
                    }
                }
            };
            if persistence == Persistence::Once {
                return Ok(Bringing::Failed(failure));
            }
            let call = Call { step: named.step, subject: &named.subject, key: &named.base };
            self.wait_to_retry(call, &mut tries, attempt, failure).await?;
        }
        unreachable!("tries are bounded by the retry policy")
    }

    /// Waits for what the effect says that it must wait for, as that is now: a look of an earlier process says nothing about
    /// this hour, unless that process had set out by it.
    async fn wait_until_it_may<E: Effect>(&mut self, named: &Named<'_, E>, attempt: u32) -> Result<(), Halt> {
        let Some(not_before) = named.effect.not_before() else { return Ok(()) };
        let Named { step, subject, base, .. } = named;
        let set_out = self.seam.recorded(&self.placed(&format!("{base}/intent {attempt}"))).is_some();
        for go in 1.. {
            let look = format!("{base}/may begin {attempt}.{go}");
            let was_made = self.seam.recorded(&self.placed(&format!("{look}/observe 1"))).is_some();
            if set_out && !was_made {
                break;
            }
            match self.observe(step, &not_before, subject, &look).await? {
                Some(until) => {
                    let key = format!("{base}/not before {attempt}.{go}");
                    let says = not_before.says.clone();
                    // What is put off again and again may never come by itself.
                    if go > PUT_OFF {
                        self.tell_stuck(&format!("{}: {says}", step.id)).await?;
                    }
                    self.sleep(&key, of(step, subject), until, Waiting::ForTheWorld, says).await?;
                }
                None if !was_made => break,
                None => {}
            }
        }
        Ok(())
    }

    /// Looks once more at what the effect says. What an earlier process set out to do without that look may be done already.
    async fn check_that_it_still_is<E: Effect>(
        &mut self,
        named: &Named<'_, E>,
        attempt: u32,
    ) -> Result<(), Halt> {
        let Some(only_while) = named.effect.only_while() else { return Ok(()) };
        let Named { step, subject, base, .. } = named;
        let look = format!("{base}/still so {attempt}");
        let set_out = self.seam.recorded(&self.placed(&format!("{base}/intent {attempt}"))).is_some();
        let was_made = self.seam.recorded(&self.placed(&format!("{look}/observe 1"))).is_some();
        // What was set out to before goes on as it was meant: a service that is away interrupts a run and ends none.
        let needs_no_look = only_while.from.is_some_and(|from| attempt > 1 || self.seam.clock().now() < from);
        if !was_made && (set_out || needs_no_look) {
            return Ok(());
        }
        let looking = Looking { step, still: &only_while, subject: subject.clone(), base: look };
        match self.not_so_any_more(&[looking]).await?.pop() {
            Some((_, says)) => Err(Halt::Refuted { step: step.id.to_owned(), says }),
            None => Ok(()),
        }
    }

    /// What a procedure goes on with after an effect.
    fn brought<E: Effect>(
        &mut self,
        named: &Named<'_, E>,
        intent: Intent,
        value: &Value,
    ) -> Result<Brought<E::Receipt>, Halt> {
        let receipt = read_back(value).map_err(|error| SeamError::Unreadable {
            seq: 0,
            key: named.base.clone(),
            detail: error.to_string(),
        })?;
        self.collect(named.effect, &intent, Some(&receipt));
        if !intent.changes.is_empty() && !self.beside {
            self.changed.push(named.effect.title());
        }
        Ok(Brought { intent, receipt, since: self.moment() })
    }
}

/// Refuses an effect whose receipt a replay could not give back.
fn check_receipt<E: Effect>(effect: &E, receipt: &E::Receipt) -> Result<(), Refusal> {
    survives(receipt).map_err(|detail| Refusal::Receipt { effect: effect.name().to_owned(), detail })
}
