//! Guarding what is dangerous: before an effect that cannot be taken back, or that is beyond what one person may do here,
//! somebody else agrees to what it would change.
//!
//! The effect says itself that it is dangerous ([`Effect::danger`]), and the environment says who agrees, how many, and for how
//! long the question stands ([`Terms::dangerous`](super::Terms::dangerous)). A procedure that asks anyway names the effects in
//! its gate ([`Gate::covering`]); what no gate covered, the engine asks about here. So no procedure can forget it.

use allclear_core::PortError;
use serde::{Deserialize, Serialize};

use super::{Call, Mode, Run, key_of, of, to_value};
use crate::effect::{Change, Danger, Effect, Foreseen, Prediction};
use crate::gate::{Approval, Expiry, Gate};
use crate::journal::{Doing, Event};
use crate::outcome::Halt;
use crate::plan::PlannedGate;
use crate::retry::{Failure, Persistence, Tries};
use crate::seam::Recorded;
use crate::step::Step;

/// What an effect would change, as it is journalled before somebody is asked about it.
#[derive(Debug, Serialize, Deserialize)]
struct Weighed {
    /// Whether anybody has to be asked.
    dangerous: bool,
    title: String,
    changes: Vec<Change>,
    notes: Vec<String>,
}

impl Run {
    /// Asks for a yes to what no gate of this run has covered, once for all of `effects`.
    pub(super) async fn guard<E: Effect>(&mut self, step: &Step, effects: &[&E]) -> Result<(), Halt> {
        let mut uncovered: Vec<(&E, Weighed)> = Vec::new();
        for effect in effects {
            if effect.danger() != Danger::None && !self.is_covered(*effect) {
                let weighed = self.weigh(step, *effect).await?;
                if weighed.dangerous {
                    uncovered.push((*effect, weighed));
                }
            }
        }
        let Some((first, _)) = uncovered.first() else { return Ok(()) };
        let about = format!("{} {}", first.subject(), first.name());
        let mut gate = Gate::new(question(*first), Approval::Approve).about(about);
        for (effect, weighed) in &uncovered {
            gate = gate.covering(*effect).showing(weighed.title.clone());
            let changes = weighed.changes.iter().map(ToString::to_string);
            gate = changes
                .chain(weighed.notes.clone())
                .fold(gate, |gate, line| gate.showing(format!("  {line}")));
        }
        self.approve(step, gate).await?;
        for (effect, weighed) in uncovered {
            self.agreed.insert((effect.name().to_owned(), effect.subject()), weighed.changes);
        }
        Ok(())
    }

    /// The same in a plan: names the gate that the run would ask at.
    pub(super) fn foresee_guard<E: Effect>(&mut self, step: &Step, effect: &E, prediction: &Prediction) {
        if !effect.danger().applies_to(prediction) || self.is_covered(effect) {
            return;
        }
        let condition = self.condition();
        let (step, question) = (step.id.to_owned(), question(effect));
        let presumed = "approve".to_owned();
        let gate = PlannedGate { step, question, presumed, condition };
        if let Mode::Planning(planning) = &mut self.mode
            && !planning.gates.contains(&gate)
        {
            planning.gates.push(gate);
        }
    }

    /// A gate that covers something dangerous is answered by whom the environment names, and in time.
    pub(super) fn strengthened(&self, gate: Gate<Approval>) -> Gate<Approval> {
        if gate.covers.is_empty() {
            return gate;
        }
        let rules = &self.terms.dangerous;
        let mut gate = gate;
        gate.approvers.needed = gate.approvers.needed.max(rules.needed);
        gate.approvers.not_the_requester = true;
        if !rules.among.is_empty() {
            gate.approvers.among.clone_from(&rules.among);
        }
        if let (None, Some(valid_for)) = (&gate.expiry, rules.valid_for) {
            // An approval is worth what was shown with it, and that gets old.
            gate.expiry = Some(Expiry { after: valid_for, answer: Approval::Reject });
        }
        gate
    }

    fn is_covered<E: Effect>(&self, effect: &E) -> bool {
        self.covered.contains(&(effect.name().to_owned(), effect.subject()))
    }

    /// Predicts an effect for whoever is asked about it; a failed prediction is tried again like any read.
    async fn weigh<E: Effect>(&mut self, step: &Step, effect: &E) -> Result<Weighed, Halt> {
        let subject = effect.subject();
        let base = format!("{}/{}/danger", key_of(step, &subject, 0), effect.name());
        let mut tries = Tries::new(Persistence::Full);
        for attempt in 1.. {
            let of = of(step, &subject);
            let body = async move {
                match effect.predict(&Foreseen::default()).await {
                    Ok(prediction) => weighed(of, effect, prediction),
                    Err(error) => Event::Failed { of, doing: Doing::Predicting, attempt, error },
                }
            };
            let Recorded { entry, replayed, .. } = self.record(&format!("{base} {attempt}"), body).await?;
            let error: PortError = match &entry.event {
                Event::Observed { value, .. } => return self.decode(&entry, value),
                Event::Failed { error, .. } => error.clone(),
                _ => return Err(self.unreadable(&entry, "it weighs no effect")),
            };
            let call = Call { step, subject: &subject, key: &base };
            self.wait_to_retry(call, &mut tries, attempt, Failure { error, fresh: !replayed }).await?;
        }
        unreachable!("tries are bounded by the retry policy")
    }
}

fn weighed<E: Effect>(of: crate::journal::Of, effect: &E, prediction: Prediction) -> Event {
    let dangerous = effect.danger().applies_to(&prediction);
    let says = if dangerous {
        format!("{}: {}", effect.title(), effect.danger().says())
    } else {
        format!("{}: nobody has to be asked", effect.title())
    };
    let Prediction { changes, notes, .. } = prediction;
    let value = to_value(&Weighed { dangerous, title: effect.title(), changes, notes });
    Event::Observed { of, value, says, evidence: Vec::new() }
}

fn question<E: Effect>(effect: &E) -> String {
    format!("{}: {}. Do it?", effect.name(), effect.danger().says())
}
