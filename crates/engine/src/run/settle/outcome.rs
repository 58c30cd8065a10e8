//! Sending an effect, and finding out what became of it before anything is sent again.

use allclear_core::Class;
use serde_json::Value;

use super::super::{Call, Run, of, to_value};
use super::Named;
use crate::effect::{Effect, Intent, Prediction, Reconciled, Repeat};
use crate::journal::{Doing, Event, Finding};
use crate::outcome::Halt;
use crate::owner;
use crate::retry::{Failure, Persistence, Tries};
use crate::seam::Recorded;

/// What became of an intended effect.
pub(in crate::run) enum Went {
    /// It happened, with this receipt.
    Done(Value),
    /// It is settled that it did not happen: by the service, by reading, or by a person. Where a call failed before, the
    /// next one waits.
    DidNot { after: Option<Failure> },
    /// The service did not do it.
    Failed(Failure),
    /// Nothing tells, and nobody is asked.
    Unclear { says: String },
}

impl Run {
    /// Applies an intended effect, and finds out what became of it.
    pub(super) async fn apply<E: Effect>(
        &mut self,
        named: &Named<'_, E>,
        attempt: u32,
        intent: &Intent,
        earlier_incarnation: bool,
        persistence: Persistence,
    ) -> Result<Went, Halt> {
        let Named { step, effect, subject, base, .. } = named;
        let of = of(step, subject);
        let name = effect.name().to_owned();
        let key = format!("{base}/outcome {attempt}");
        let placed = self.placed(&key);
        if !earlier_incarnation && self.seam.recorded(&placed).is_none() {
            owner::announce_effect(self, &placed, &name, intent).await?;
        }
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
        let Recorded { entry, replayed, .. } = self.record(&key, body).await?;
        match entry.event {
            Event::Applied { receipt, .. } => Ok(Went::Done(receipt)),
            Event::InDoubt { .. } => self.resolve_doubt(named, attempt, intent, None, persistence).await,
            Event::Failed { error, .. } => {
                let failure = Failure { error, fresh: !replayed };
                match failure.error.class() {
                    Class::AlreadyDone => {
                        let prediction =
                            Prediction { changes: intent.changes.clone(), ..Prediction::default() };
                        Ok(Went::Done(to_value(&effect.foresee(&prediction))))
                    }
                    Class::OutcomeUnknown => {
                        self.resolve_doubt(named, attempt, intent, Some(failure), persistence).await
                    }
                    Class::RetryAfter(_) | Class::Permanent | Class::Stop(_) => Ok(Went::Failed(failure)),
                }
            }
            _ => Err(self.unreadable(&entry, "it is no outcome")),
        }
    }

    /// Finds out whether an effect in doubt happened, before anything is sent again.
    async fn resolve_doubt<E: Effect>(
        &mut self,
        named: &Named<'_, E>,
        attempt: u32,
        intent: &Intent,
        after: Option<Failure>,
        persistence: Persistence,
    ) -> Result<Went, Halt> {
        let why = match named.effect.repeat() {
            Repeat::Keyed => return Ok(Went::DidNot { after }),
            // A second is harmless; nothing is said of a third.
            Repeat::Harmless if attempt == 1 => return Ok(Went::DidNot { after }),
            Repeat::Harmless | Repeat::Neither => {
                "the service can neither be asked nor drop a repetition".to_owned()
            }
            Repeat::Readable => match self.reconcile(named, attempt, intent, persistence).await {
                Ok((Finding::Happened, _, Some(receipt))) => return Ok(Went::Done(receipt)),
                Ok((Finding::DidNot, ..)) => return Ok(Went::DidNot { after }),
                Ok((_, says, _)) => says,
                // Nothing waits until it can be asked, and what cannot be asked may have been done.
                Err(Halt::Failed { error, .. }) if persistence == Persistence::Brief => error.to_string(),
                Err(halt) => return Err(halt),
            },
        };
        if persistence == Persistence::Brief {
            let why = after.map_or(why, |failure| failure.error.to_string());
            return Ok(Went::Unclear { says: format!("it may have been done, and nothing tells: {why}") });
        }
        self.ask_about_doubt(named, attempt, intent, &why).await
    }

    async fn reconcile<E: Effect>(
        &mut self,
        named: &Named<'_, E>,
        attempt: u32,
        intent: &Intent,
        persistence: Persistence,
    ) -> Result<(Finding, String, Option<Value>), Halt> {
        let Named { step, effect, subject, base, .. } = named;
        let mut tries = Tries::new(persistence.of_reads());
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
            let Recorded { entry, replayed, .. } = self.record(&key, body).await?;
            match entry.event {
                Event::Reconciled { finding, says, receipt, .. } => {
                    self.strain.works(tries.service);
                    return Ok((finding, says, receipt));
                }
                Event::Failed { error, .. } => {
                    let key = format!("{base}/reconcile {attempt}");
                    let call = Call { step, subject, key: &key };
                    let failure = Failure { error, fresh: !replayed };
                    self.wait_to_retry(call, &mut tries, look, failure).await?;
                }
                _ => return Err(self.unreadable(&entry, "it is no reconciliation")),
            }
        }
        unreachable!("tries are bounded by the retry policy")
    }
}
