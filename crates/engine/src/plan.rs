//! Plans: what a run would do, object by object, with a hash that approvals are bound to.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::effect::{Change, Repeat};
use crate::journal::digest;
use crate::outcome::Refusal;
use crate::step::Phase;

/// One effect that the run would have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedEffect {
    /// The step's id.
    pub step: String,
    /// The step's phase.
    pub phase: Phase,
    /// What it is about.
    pub subject: String,
    /// The effect, e.g. `campaign.pause`.
    pub effect: String,
    /// The sentence.
    pub title: String,
    /// Only under this condition; always when `None`.
    pub condition: Option<String>,
    /// What may be done if its outcome is not known.
    pub repeat: Repeat,
    /// What changes.
    pub changes: Vec<Change>,
    /// Figures and remarks; not part of the hash.
    pub notes: Vec<String>,
}

impl PlannedEffect {
    /// What an approval covers: all but the remarks.
    fn covered(&self) -> Value {
        serde_json::json!([self.step, self.subject, self.effect, self.condition, self.repeat, self.changes])
    }
}

/// One gate that the run would ask at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedGate {
    /// The step's id.
    pub step: String,
    /// The question.
    pub question: String,
    /// The answer that the plan presumes.
    pub presumed: String,
    /// Only under this condition; always when `None`.
    pub condition: Option<String>,
}

impl PlannedGate {
    fn covered(&self) -> Value {
        serde_json::json!([self.step, self.question, self.presumed, self.condition])
    }
}

/// One thing that was seen while planning. Not part of the hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The step's id.
    pub step: String,
    /// One sentence.
    pub says: String,
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of this format.
    pub format: u32,
    /// Which runbook.
    pub runbook: String,
    /// Version of the procedure.
    pub version: u32,
    /// Which environment.
    pub environment: String,
    /// The procedure's input.
    pub input: Value,
    /// When it was made.
    pub made_at: Timestamp,
    /// What was seen.
    pub seen: Vec<Seen>,
    /// What would be done, in order.
    pub effects: Vec<PlannedEffect>,
    /// What would be asked.
    pub gates: Vec<PlannedGate>,
    /// How the procedure ended while planning.
    pub ends: String,
    /// Digest of everything that an approval covers: runbook, version, environment, input, effects and gates.
    pub hash: String,
}

/// The version of the plan format.
pub const PLAN_FORMAT: u32 = 1;

impl Plan {
    /// The digest of what an approval covers.
    pub fn digest(&self) -> String {
        let covered = serde_json::json!({
            "format": self.format,
            "runbook": self.runbook,
            "version": self.version,
            "environment": self.environment,
            "input": self.input,
            "effects": self.effects.iter().map(PlannedEffect::covered).collect::<Vec<_>>(),
            "gates": self.gates.iter().map(PlannedGate::covered).collect::<Vec<_>>(),
        });
        // Object keys are sorted, so the text is the same everywhere.
        digest(covered.to_string().as_bytes())
    }

    /// The digest of everything in it, remarks included: what a stored plan is compared with.
    pub fn content(&self) -> String {
        let whole = serde_json::to_value(self).expect("a plan is plain data with string keys");
        // Object keys are sorted, so the text is the same everywhere.
        digest(whole.to_string().as_bytes())
    }

    /// The effects that happen in any case.
    pub fn certain(&self) -> impl Iterator<Item = &PlannedEffect> {
        self.effects.iter().filter(|effect| effect.condition.is_none())
    }

    /// Whether the plan changes anything, in any case or under a condition.
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// The planned effect of a step about a subject.
    pub fn find(&self, step: &str, effect: &str, subject: &str) -> Option<&PlannedEffect> {
        self.effects.iter().find(|e| e.step == step && e.effect == effect && e.subject == subject)
    }

    /// Refuses a plan whose content does not fit its hash.
    pub fn check_untampered(&self) -> Result<(), Refusal> {
        if self.digest() == self.hash {
            Ok(())
        } else {
            Err(Refusal::TamperedPlan { hash: self.hash.clone() })
        }
    }

    /// Refuses when a plan made now would do something else than this one.
    pub fn check_no_drift(&self, now: &Self) -> Result<(), Refusal> {
        if (&self.runbook, &self.environment, self.version, &self.input)
            != (&now.runbook, &now.environment, now.version, &now.input)
        {
            let name = |plan: &Self| {
                format!("{} v{} in {} with {}", plan.runbook, plan.version, plan.environment, plan.input)
            };
            return Err(Refusal::ForeignPlan { planned: name(self), asked: name(now) });
        }
        if self.digest() == now.digest() {
            return Ok(());
        }
        Err(Refusal::Drift { what: self.first_difference(now) })
    }

    fn first_difference(&self, now: &Self) -> String {
        for planned in &self.effects {
            match now.find(&planned.step, &planned.effect, &planned.subject) {
                None => return format!("`{}` would not happen any more", planned.title),
                Some(found) if found.changes != planned.changes => {
                    return format!(
                        "{} instead of {}",
                        changes_text(&found.changes),
                        changes_text(&planned.changes)
                    );
                }
                Some(found) if found.condition != planned.condition => {
                    return format!(
                        "`{}` now happens {}",
                        planned.title,
                        found.condition.as_deref().unwrap_or("in any case")
                    );
                }
                Some(_) => {}
            }
        }
        now.effects
            .iter()
            .find(|found| self.find(&found.step, &found.effect, &found.subject).is_none())
            .map_or_else(
                || "other questions would be asked".to_owned(),
                |new| format!("`{}` is new", new.title),
            )
    }
}

fn changes_text(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "no change".to_owned();
    }
    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
