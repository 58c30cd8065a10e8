//! Performing effects: predict, record the intent, apply, and when in doubt ask before anything is sent again;
//! then read back.
//!
//! What can go wrong in the middle, and the line that guards it:
//!
//! * killed after the intent was recorded: the intent carries the incarnation that wrote it, so the next one knows
//!   that it did not see the outcome and goes to [`Run::resolve_doubt`] instead of applying;
//! * killed after the service acted, before the answer was recorded: the same;
//! * the answer is lost while the process lives: the error's class is `OutcomeUnknown`, and that also goes there;
//! * the world moved between plan and effect: the prediction differs, and a person is asked.

use allclear_core::{Class, PortError};
use serde_json::Value;

use super::{Mode, Run, failed, key_of, of, to_value};
use crate::effect::{Change, Effect, Foreseen, Intent, Prediction, Reconciled, Repeat, Verdict};
use crate::journal::{Doing, Entry, Event, Finding, Waiting, digest};
use crate::outcome::{Halt, Refusal};
use crate::plan::PlannedEffect;
use crate::seam::SeamError;
use crate::step::Step;

/// An effect that was applied (or needed not be) and read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled<R> {
    /// What the procedure goes on with.
    pub receipt: R,
    /// What reading back showed; never pending.
    pub verdict: Verdict,
}

impl<R> Settled<R> {
    /// The receipt of a proven effect; anything else ends the run.
    pub fn proven(self, step: &Step) -> Result<R, Halt> {
        let step = step.id.to_owned();
        match self.verdict {
            Verdict::Verified { .. } => Ok(self.receipt),
            Verdict::Pending { says } | Verdict::Unverifiable { says } => {
                Err(Halt::Unverified { step, says })
            }
            Verdict::Refuted { says } => Err(Halt::Refuted { step, says }),
        }
    }
}

/// How often an effect is sent at most, however its attempts end: a service that keeps losing answers without acting
/// would otherwise be asked for ever.
const MOST_ATTEMPTS: u32 = 8;

/// How an effect's failed calls are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Persistence {
    /// Try again as the error's class says.
    Retry,
    /// Once; the caller has its own rhythm.
    Once,
}

/// What one go at an effect came to.
pub(super) enum Tried<R> {
    Settled(Settled<R>),
    Failed(PortError),
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
    since: jiff::Timestamp,
}

/// How the intent came out.
enum Intended {
    Go { intent: Intent, earlier_incarnation: bool },
    AlreadySo(Value),
    Failed(PortError),
}

impl Run {
    /// Performs an effect and proves it. Ends the run when it cannot be proven.
    pub async fn perform<E: Effect>(&mut self, step: &Step, effect: E) -> Result<E::Receipt, Halt> {
        let settled = self.attempt(step, effect).await?;
        let step = step.id.to_owned();
        match settled.verdict {
            Verdict::Verified { .. } => Ok(settled.receipt),
            Verdict::Pending { says } | Verdict::Unverifiable { says } => {
                Err(Halt::Unverified { step, says })
            }
            Verdict::Refuted { says } => Err(Halt::Refuted { step, says }),
        }
    }

    /// Performs an effect and leaves it to the procedure what an unproven one means.
    pub async fn attempt<E: Effect>(&mut self, step: &Step, effect: E) -> Result<Settled<E::Receipt>, Halt> {
        match self.settle(step, &effect, 0, Persistence::Retry).await? {
            Tried::Settled(settled) => Ok(settled),
            Tried::Failed(error) => Err(failed(step, error)),
        }
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
        let mut brought = Vec::with_capacity(effects.len());
        for effect in &effects {
            let named = self.name(step, effect, 0)?;
            match self.bring_about(&named, Persistence::Retry).await? {
                Ok(one) => brought.push((named, one)),
                Err(error) => return Err(failed(step, error)),
            }
        }
        for (named, one) in brought {
            let verdict = self.verify(&named, &one).await?;
            settled.push(Settled { receipt: one.receipt, verdict });
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
            Ok(brought) => brought,
            Err(error) => return Ok(Tried::Failed(error)),
        };
        let verdict = self.verify(&named, &brought).await?;
        Ok(Tried::Settled(Settled { receipt: brought.receipt, verdict }))
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
        Ok(Named { step, effect, subject, base, round })
    }

    /// Makes an effect so, without reading it back yet. `Err` inside is a failure that the caller waits out itself.
    async fn bring_about<E: Effect>(
        &mut self,
        named: &Named<'_, E>,
        persistence: Persistence,
    ) -> Result<Result<Brought<E::Receipt>, PortError>, Halt> {
        self.check_stop().await?;
        self.claim(&named.subject).await?;
        for attempt in 1..=MOST_ATTEMPTS {
            let error = match self.intend(named, attempt).await? {
                Intended::AlreadySo(value) => {
                    let intent = Intent { key: self.key_for(named), at: self.now, changes: Vec::new() };
                    return self.brought(named, intent, &value).map(Ok);
                }
                Intended::Failed(error) => error,
                Intended::Go { intent, earlier_incarnation } => {
                    match self.apply(named, attempt, &intent, earlier_incarnation).await? {
                        Ok(value) => return self.brought(named, intent, &value).map(Ok),
                        // It is settled that it did not happen: by the service, by reading, or by a person.
                        Err(None) => continue,
                        Err(Some(error)) => error,
                    }
                }
            };
            if persistence == Persistence::Once {
                return Ok(Err(error));
            }
            self.wait_to_retry(named.step, &named.subject, &named.base, attempt, error).await?;
        }
        let says =
            format!("{}: tried {MOST_ATTEMPTS} times, and each time it did not happen", named.effect.title());
        Err(Halt::Unverified { step: named.step.id.to_owned(), says })
    }

    fn brought<E: Effect>(
        &self,
        named: &Named<'_, E>,
        intent: Intent,
        value: &Value,
    ) -> Result<Brought<E::Receipt>, Halt> {
        let receipt = <E::Receipt as serde::Deserialize>::deserialize(value).map_err(|error| {
            SeamError::Unreadable { seq: 0, key: named.base.clone(), detail: error.to_string() }
        })?;
        Ok(Brought { intent, receipt, since: self.now })
    }

    /// Planning: predict, list, go on as if it were done.
    async fn foresee<E: Effect>(&mut self, step: &Step, effect: &E) -> Result<Settled<E::Receipt>, Halt> {
        let condition = self.condition();
        let Mode::Planning(planning) = &mut self.mode else { unreachable!("only plans come here") };
        let prediction = effect.predict(&planning.foreseen).await.map_err(|error| failed(step, error))?;
        let receipt = effect.foresee(&prediction);
        if !prediction.changes.is_empty() {
            planning.foreseen.apply(&prediction.changes);
            planning.effects.push(PlannedEffect {
                step: step.id.to_owned(),
                phase: step.phase,
                subject: effect.subject(),
                effect: effect.name().to_owned(),
                title: effect.title(),
                condition,
                repeat: effect.repeat(),
                changes: prediction.changes,
                notes: prediction.notes,
            });
        }
        Ok(Settled { receipt, verdict: Verdict::Verified { says: "presumed".to_owned() } })
    }

    async fn claim(&mut self, subject: &str) -> Result<(), Halt> {
        let resource = format!("{}/{subject}", self.terms.environment);
        match self.seam.claim(&resource).await {
            Err(SeamError::Held { resource, holder }) => Err(Refusal::Held { resource, holder }.into()),
            other => Ok(other?),
        }
    }

    fn key_for<E: Effect>(&self, named: &Named<'_, E>) -> String {
        let text = format!("{} {}", self.terms.run, named.base);
        format!("{}-{}", self.terms.run, &digest(text.as_bytes())[..16])
    }

    /// Predicts and records the intent.
    async fn intend<E: Effect>(&mut self, named: &Named<'_, E>, attempt: u32) -> Result<Intended, Halt> {
        let Named { step, effect, subject, base, .. } = named;
        let incarnation = self.seam.incarnation();
        let key = self.key_for(named);
        let of = of(step, subject);
        let planned = self.planned_changes(named);
        let body = async move {
            let prediction = match effect.predict(&Foreseen::default()).await {
                Ok(prediction) => prediction,
                Err(error) => {
                    return Event::Failed { of, doing: Doing::Predicting, attempt, error };
                }
            };
            let name = effect.name().to_owned();
            if prediction.changes.is_empty() {
                let receipt = to_value(&effect.foresee(&prediction));
                return Event::AlreadySo { of, effect: name, title: effect.title(), receipt };
            }
            match planned {
                Some(planned) if planned != prediction.changes => {
                    Event::Drifted { of, effect: name, planned, found: prediction.changes }
                }
                _ => Event::Intended {
                    of,
                    effect: name,
                    title: effect.title(),
                    attempt,
                    key,
                    repeat: effect.repeat(),
                    changes: prediction.changes,
                    notes: prediction.notes,
                    incarnation,
                },
            }
        };
        let entry = self.record(&format!("{base}/intent {attempt}"), body).await?.entry;
        match entry.event.clone() {
            Event::Drifted { planned, found, .. } => {
                self.ask_about_drift(named, attempt, &planned, &found).await?;
                self.intend_despite_drift(named, attempt, found).await
            }
            _ => self.read_intent(entry),
        }
    }

    fn read_intent(&self, entry: Entry) -> Result<Intended, Halt> {
        match entry.event {
            Event::Intended { key, changes, incarnation, .. } => Ok(Intended::Go {
                intent: Intent { key, at: entry.at, changes },
                earlier_incarnation: incarnation != self.seam.incarnation(),
            }),
            Event::AlreadySo { receipt, .. } => Ok(Intended::AlreadySo(receipt)),
            Event::Failed { error, .. } => Ok(Intended::Failed(error)),
            _ => Err(self.unreadable(&entry, "it is no intent")),
        }
    }

    /// What the plan showed for this effect; no change where the plan does not name it. `None` without a plan.
    fn planned_changes<E: Effect>(&self, named: &Named<'_, E>) -> Option<Vec<Change>> {
        let plan = self.terms.plan.as_ref()?;
        let planned = plan.find(named.step.id, named.effect.name(), &named.subject);
        Some(planned.map(|planned| planned.changes.clone()).unwrap_or_default())
    }

    async fn intend_despite_drift<E: Effect>(
        &mut self,
        named: &Named<'_, E>,
        attempt: u32,
        changes: Vec<Change>,
    ) -> Result<Intended, Halt> {
        let event = Event::Intended {
            of: of(named.step, &named.subject),
            effect: named.effect.name().to_owned(),
            title: named.effect.title(),
            attempt,
            key: self.key_for(named),
            repeat: named.effect.repeat(),
            changes,
            notes: vec!["differs from the plan; a person agreed".to_owned()],
            incarnation: self.seam.incarnation(),
        };
        let key = format!("{}/intent {attempt} despite drift", named.base);
        let entry = self.record(&key, async move { event }).await?.entry;
        self.read_intent(entry)
    }

    /// Applies an intended effect. `Err(None)` says that it did not happen and may be intended again; `Err(Some)`
    /// that it failed in a way that the caller must wait out.
    async fn apply<E: Effect>(
        &mut self,
        named: &Named<'_, E>,
        attempt: u32,
        intent: &Intent,
        earlier_incarnation: bool,
    ) -> Result<Result<Value, Option<PortError>>, Halt> {
        let Named { step, effect, subject, base, .. } = named;
        let of = of(step, subject);
        let name = effect.name().to_owned();
        let body = async move {
            // This body runs only where no outcome is recorded. If the intent is an earlier incarnation's, that one
            // may have applied it.
            if earlier_incarnation {
                let why = "the process ended between the intent and the answer".to_owned();
                return Event::InDoubt { of, effect: name, attempt, why };
            }
            match effect.apply(intent).await {
                Ok(applied) => Event::Applied {
                    of,
                    effect: name,
                    attempt,
                    receipt: to_value(&applied.receipt),
                    says: applied.says,
                },
                Err(error) => Event::Failed { of, doing: Doing::Applying, attempt, error },
            }
        };
        let entry = self.record(&format!("{base}/outcome {attempt}"), body).await?.entry;
        match entry.event {
            Event::Applied { receipt, .. } => Ok(Ok(receipt)),
            Event::InDoubt { .. } => self.resolve_doubt(named, attempt, intent).await,
            Event::Failed { error, .. } => match error.class() {
                Class::AlreadyDone => {
                    let prediction = Prediction { changes: intent.changes.clone(), notes: Vec::new() };
                    Ok(Ok(to_value(&effect.foresee(&prediction))))
                }
                Class::OutcomeUnknown => self.resolve_doubt(named, attempt, intent).await,
                Class::RetryAfter(_) => Ok(Err(Some(error))),
                Class::Permanent | Class::Stop(_) => Err(failed(step, error)),
            },
            _ => Err(self.unreadable(&entry, "it is no outcome")),
        }
    }

    /// Finds out whether an effect in doubt happened, before anything is sent again.
    async fn resolve_doubt<E: Effect>(
        &mut self,
        named: &Named<'_, E>,
        attempt: u32,
        intent: &Intent,
    ) -> Result<Result<Value, Option<PortError>>, Halt> {
        match named.effect.repeat() {
            Repeat::Keyed => Ok(Err(None)),
            Repeat::Neither => {
                let why = "the service can neither be asked nor drop a repetition";
                self.ask_about_doubt(named, attempt, intent, why).await
            }
            Repeat::Readable => match self.reconcile(named, attempt, intent).await? {
                (Finding::Happened, _, Some(receipt)) => Ok(Ok(receipt)),
                (Finding::DidNot, ..) => Ok(Err(None)),
                (_, says, _) => self.ask_about_doubt(named, attempt, intent, &says).await,
            },
        }
    }

    async fn reconcile<E: Effect>(
        &mut self,
        named: &Named<'_, E>,
        attempt: u32,
        intent: &Intent,
    ) -> Result<(Finding, String, Option<Value>), Halt> {
        let Named { step, effect, subject, base, .. } = named;
        for look in 1.. {
            let of = of(step, subject);
            let name = effect.name().to_owned();
            let body = async move {
                let reconciled = |finding, says, receipt| Event::Reconciled {
                    of: of.clone(),
                    effect: name,
                    attempt,
                    finding,
                    says,
                    receipt,
                };
                match effect.reconcile(intent).await {
                    Ok(Reconciled::Happened(applied)) => {
                        reconciled(Finding::Happened, applied.says, Some(to_value(&applied.receipt)))
                    }
                    Ok(Reconciled::DidNot { why }) => reconciled(Finding::DidNot, why, None),
                    Ok(Reconciled::Unknown { why }) => reconciled(Finding::Unknown, why, None),
                    Err(error) => Event::Failed { of, doing: Doing::Reconciling, attempt: look, error },
                }
            };
            let key = format!("{base}/reconcile {attempt}.{look}");
            let entry = self.record(&key, body).await?.entry;
            match entry.event {
                Event::Reconciled { finding, says, receipt, .. } => return Ok((finding, says, receipt)),
                Event::Failed { error, .. } => {
                    self.wait_to_retry(step, subject, &format!("{base}/reconcile {attempt}"), look, error)
                        .await?;
                }
                _ => return Err(self.unreadable(&entry, "it is no reconciliation")),
            }
        }
        unreachable!("tries are bounded by the retry policy")
    }

    /// Reads the effect back until the verdict is final.
    async fn verify<E: Effect>(
        &mut self,
        named: &Named<'_, E>,
        brought: &Brought<E::Receipt>,
    ) -> Result<Verdict, Halt> {
        let Named { step, effect, subject, base, .. } = named;
        let Brought { intent, receipt, since } = brought;
        let patience = effect.patience();
        let expires = *since + patience.within;
        let mut failures = 0;
        for look in 1.. {
            let clock = self.seam.clock();
            let of_entry = of(step, subject);
            let name = effect.name().to_owned();
            let body = async move {
                let now = clock.now();
                match effect.verify(intent, receipt, now).await {
                    Ok(judgement) => {
                        let verdict = match judgement.verdict {
                            Verdict::Pending { says } if now >= expires => Verdict::Refuted { says },
                            verdict => verdict,
                        };
                        Event::Judged { of: of_entry, effect: name, verdict, evidence: judgement.evidence }
                    }
                    Err(error) => {
                        Event::Failed { of: of_entry, doing: Doing::Verifying, attempt: look, error }
                    }
                }
            };
            let entry = self.record(&format!("{base}/verify {look}"), body).await?.entry;
            match entry.event {
                Event::Judged { verdict: Verdict::Pending { says }, .. } => {
                    let next = (self.now + patience.every).min(expires);
                    let key = format!("{base}/look again {look}");
                    self.sleep(&key, of(step, subject), next, Waiting::ToVerify, says).await?;
                }
                Event::Judged { verdict, .. } => return Ok(verdict),
                Event::Failed { error, .. } => {
                    failures += 1;
                    let call = format!("{base}/verify");
                    if let Err(halt) = self.wait_to_retry(step, subject, &call, failures, error).await {
                        return self.verification_failed(halt);
                    }
                }
                _ => return Err(self.unreadable(&entry, "it is no verdict")),
            }
        }
        unreachable!("looks are bounded by the effect's patience")
    }

    /// An effect that was applied and cannot be read back is not proven, which is another thing than failed.
    #[expect(clippy::unused_self, reason = "reads better at its caller")]
    fn verification_failed(&self, halt: Halt) -> Result<Verdict, Halt> {
        match halt {
            Halt::Failed { error, .. } => {
                Ok(Verdict::Unverifiable { says: format!("it could not be read back: {error}") })
            }
            other => Err(other),
        }
    }
}
