//! Steps: the bullets of a runbook, each with the id that binds text to code.

use serde::{Deserialize, Serialize};

/// The part of a runbook that a step belongs to, in the order of the written text. A runbook has the phases of an incident or
/// those of an exercise, never both.
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
    /// An exercise: when it is held, and by whom.
    Prepare,
    /// An exercise: everybody is called, and answers.
    Notify,
    /// An exercise: the backup is taken.
    Backup,
    /// An exercise: the backup is restored, and the cutover is rehearsed.
    Restore,
    /// An exercise: what others would be told is drafted.
    Communicate,
    /// An exercise: what was found, and who does what about it.
    FollowUp,
    /// An exercise: what the last one found, carried into this one.
    LastFindings,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Self; 13] = [
        Self::Detect,
        Self::Immediate,
        Self::Mitigate,
        Self::Escalate,
        Self::Resolve,
        Self::Postmortem,
        Self::Prepare,
        Self::Notify,
        Self::Backup,
        Self::Restore,
        Self::Communicate,
        Self::FollowUp,
        Self::LastFindings,
    ];

    /// The phase as a heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Detect => "Detect",
            Self::Immediate => "Immediate actions",
            Self::Mitigate => "Mitigation",
            Self::Escalate => "Escalation",
            Self::Resolve => "Resolution",
            Self::Postmortem => "Postmortem",
            Self::Prepare => "Preparation",
            Self::Notify => "Notification drill",
            Self::Backup => "Backup execution",
            Self::Restore => "Restore and cutover rehearsal",
            Self::Communicate => "Stakeholder communication",
            Self::FollowUp => "Findings and follow-up",
            Self::LastFindings => "Latest findings",
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
