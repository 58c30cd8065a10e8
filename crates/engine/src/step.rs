//! Steps: the bullets of a runbook, each with the id that binds text to code.

use serde::{Deserialize, Serialize};

/// The part of a runbook that a step belongs to, in the order of the written text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Find out whether it is this incident, and of which kind.
    Detect,
    /// What is done at once.
    Immediate,
    /// What lessens the damage.
    Mitigate,
    /// Whom to tell when it lasts.
    Escalate,
    /// How it ends, proven.
    Resolve,
    /// What is kept for afterwards.
    Postmortem,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Self; 6] =
        [Self::Detect, Self::Immediate, Self::Mitigate, Self::Escalate, Self::Resolve, Self::Postmortem];

    /// The phase as a heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Detect => "Detect",
            Self::Immediate => "Immediate actions",
            Self::Mitigate => "Mitigation",
            Self::Escalate => "Escalation",
            Self::Resolve => "Resolution",
            Self::Postmortem => "Postmortem",
        }
    }
}

/// One bullet of a runbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Names the bullet, e.g. `WA-I1`.
    pub id: &'static str,
    /// Where it stands in the runbook.
    pub phase: Phase,
    /// The bullet's own words, on one line.
    pub title: &'static str,
}
