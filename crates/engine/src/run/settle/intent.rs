//! Before anything is sent: what an effect would change, in a plan and in a run, and the record that it is about to be.

use serde_json::Value;

use super::super::{Call, Mode, Run, key_of, of, to_value};
use super::{Named, Settled, check_receipt};
use crate::claim::Account;
use crate::effect::{Change, Effect, Foreseen, Intent, Prediction, Verdict, stays};
use crate::journal::{Doing, Event, digest};
use crate::outcome::{Halt, Refusal};
use crate::plan::PlannedEffect;
use crate::retry::{Failure, Persistence, Tries};
use crate::seam::{Recorded, SeamError};
use crate::step::Step;

/// How the intent came out.
pub(super) enum Intended {
    Go { intent: Intent, earlier_incarnation: bool },
    AlreadySo(Value),
    Failed(Failure),
}

impl Run {
    /// Planning: predict, list, go on as if it were done.
    pub(super) async fn foresee<E: Effect>(
        &mut self,
        step: &Step,
        effect: &E,
    ) -> Result<Settled<E::Receipt>, Halt> {
        let condition = self.condition();
        let Mode::Planning(planning) = &mut self.mode else { unreachable!("only plans come here") };
        let foreseen = planning.foreseen.clone();
        let prediction = self.predict_for_plan(step, effect, &foreseen).await?;
        self.foresee_guard(step, effect, &prediction);
        let Mode::Planning(planning) = &mut self.mode else { unreachable!("only plans come here") };
        let receipt = effect.foresee(&prediction);
        check_receipt(effect, &receipt)?;
        let account = Account {
            key: String::new(),
            title: effect.title(),
            verdict: Verdict::Verified { says: "presumed".to_owned() },
            may_be_done: true,
            excuse: None,
            rests_on: Vec::new(),
        };
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
        Ok(Settled { receipt, account })
    }

    /// Predicts; a read that fails is tried again for as long as a person waits at a terminal.
    async fn predict_for_plan<E: Effect>(
        &mut self,
        step: &Step,
        effect: &E,
        foreseen: &Foreseen,
    ) -> Result<Prediction, Halt> {
        let subject = effect.subject();
        let mut tries = Tries::new(Persistence::Full);
        loop {
            let error = match effect.predict(foreseen).await {
                Ok(prediction) => return Ok(prediction),
                Err(error) => error,
            };
            // A plan may predict the same effect twice, and each wait has a name of its own.
            self.predictions += 1;
            let key = format!("{}/predict {}", key_of(step, &subject, 0), self.predictions);
            let call = Call { step, subject: &subject, key: &key };
            let attempt = tries.failed + 1;
            self.wait_to_retry(call, &mut tries, attempt, Failure { error, fresh: true }).await?;
        }
    }

    /// Takes what an effect is done to for this run.
    pub(crate) async fn claim(&mut self, subject: &str) -> Result<(), Halt> {
        let resource = format!("{}/{subject}", self.terms.owns_on());
        match self.seam.claim(&resource).await {
            Err(SeamError::Held { resource, holder }) => Err(Refusal::Held { resource, holder }.into()),
            other => Ok(other?),
        }
    }

    pub(super) fn key_for<E: Effect>(&self, named: &Named<'_, E>) -> String {
        let text = format!("{} {}", self.terms.run, named.base);
        format!("{}-{}", self.terms.run, &digest(text.as_bytes())[..16])
    }

    /// Predicts and records the intent.
    pub(super) async fn intend<E: Effect>(
        &mut self,
        named: &Named<'_, E>,
        attempt: u32,
    ) -> Result<Intended, Halt> {
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
            let stays = stays(*effect, &prediction);
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
                    stays,
                },
            }
        };
        let recorded = self.record(&format!("{base}/intent {attempt}"), body).await?;
        match recorded.entry.event.clone() {
            Event::Drifted { planned, found, .. } => {
                self.ask_about_drift(named, attempt, &planned, &found).await?;
                self.intend_despite_drift(named, attempt, found).await
            }
            _ => self.read_intent(recorded),
        }
    }

    fn read_intent(&self, recorded: Recorded) -> Result<Intended, Halt> {
        let Recorded { entry, replayed, .. } = recorded;
        match entry.event {
            Event::Intended { key, changes, incarnation, .. } => Ok(Intended::Go {
                intent: Intent { key, at: entry.at, changes },
                earlier_incarnation: incarnation != self.seam.incarnation(),
            }),
            Event::AlreadySo { receipt, .. } => Ok(Intended::AlreadySo(receipt)),
            Event::Failed { error, .. } => Ok(Intended::Failed(Failure { error, fresh: !replayed })),
            _ => Err(self.unreadable(&entry, "it is no intent")),
        }
    }

    /// What was shown of this effect: to whoever agreed to it because it is dangerous, or in the plan. No change where the plan
    /// does not name it; `None` without a plan.
    fn planned_changes<E: Effect>(&self, named: &Named<'_, E>) -> Option<Vec<Change>> {
        if let Some(agreed) = self.agreed.get(&(named.effect.name().to_owned(), named.subject.clone())) {
            return Some(agreed.clone());
        }
        // What is told beside the procedure asks nobody, least of all whether it may be told.
        let plan = self.plan.as_ref().filter(|_| !self.beside)?;
        let planned = plan.find(named.step.id, named.effect.name(), &named.effect.planned_as());
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
            stays: stays(named.effect, &Prediction { changes: changes.clone(), ..Prediction::default() }),
            changes,
            notes: vec!["differs from the plan; a person agreed".to_owned()],
            incarnation: self.seam.incarnation(),
        };
        let key = format!("{}/intent {attempt} despite drift", named.base);
        let recorded = self.record(&key, async move { event }).await?;
        self.read_intent(recorded)
    }
}
