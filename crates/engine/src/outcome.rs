//! How a run can end, and how a step can stop it.

use allclear_core::PortError;
use serde::{Deserialize, Serialize};

use crate::seam::{SeamError, Stop};

/// How a run stands or ended. Only [`Outcome::Verified`] is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Resolved, and proven to be.
    Verified,
    /// Ended without proof.
    Unverified,
    /// A person must answer before it goes on.
    WaitingForHuman,
    /// A person said no, or ended it.
    Rejected,
    /// Reading back showed that it is not so.
    Refuted,
    /// What was done was taken back.
    Undone,
    /// An effect may or may not have happened, and a person must tell.
    InDoubt,
    /// The run refused to act: drift, another run holds the target, a limit, a window.
    Refused,
    /// The process let go on request; it can be resumed.
    Detached,
}

impl Outcome {
    /// Whether the run is over. The others can be resumed.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::WaitingForHuman | Self::InDoubt | Self::Detached)
    }

    /// The outcome in words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unverified => "unverified",
            Self::WaitingForHuman => "waiting for a human",
            Self::Rejected => "rejected",
            Self::Refuted => "refuted",
            Self::Undone => "undone",
            Self::InDoubt => "in doubt",
            Self::Refused => "refused",
            Self::Detached => "detached",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.title())
    }
}

/// What a procedure resolved, when it came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// One sentence, e.g. `sending works again; 3 campaigns resumed`.
    pub says: String,
}

impl Resolution {
    /// Resolved and proven by the steps before.
    pub fn verified(says: impl Into<String>) -> Self {
        Self { says: says.into() }
    }
}

/// Why the run refused to act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The world is not what the plan showed.
    #[error("the world has moved since the plan was made: {what}; make a new plan and look at it")]
    Drift {
        /// What differs.
        what: String,
    },
    /// The plan was made for something else.
    #[error("the plan is for {planned} and this run is for {asked}; make a plan for this run")]
    ForeignPlan {
        /// What the plan is for.
        planned: String,
        /// What was asked for.
        asked: String,
    },
    /// The plan file was changed after it was made.
    #[error("the plan's content does not fit its hash {hash}; make a new plan")]
    TamperedPlan {
        /// The hash that it carries.
        hash: String,
    },
    /// The approval was given to another plan.
    #[error("the approval is for plan {approved}, and this is plan {shown}; approve what is shown")]
    ForeignApproval {
        /// What was approved.
        approved: String,
        /// What would be executed.
        shown: String,
    },
    /// Another run holds what this one needs.
    #[error("{resource} is held by run {holder}; watch that run, resume it, or abort it first")]
    Held {
        /// What is held.
        resource: String,
        /// By which run.
        holder: String,
    },
    /// The same step was performed twice about the same thing.
    #[error("the procedure performs {key} twice; give each its own subject")]
    RepeatedKey {
        /// The key.
        key: String,
    },
    /// The procedure went another way than the journal says.
    #[error(
        "the procedure asked for {key} where the journal has {recorded}; resume with the version that started the run"
    )]
    OrderDiffers {
        /// Asked for.
        key: String,
        /// Recorded.
        recorded: String,
    },
    /// A window or a limit of the environment.
    #[error("{what}")]
    Limit {
        /// Which, and what to do.
        what: String,
    },
}

/// Why a procedure stopped before its end. The engine turns it into an [`Outcome`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// There is nothing to do.
    #[error("{says}")]
    NothingToDo {
        /// Why.
        says: String,
    },
    /// A gate waits and nobody is here to answer.
    #[error("{gate} waits for a person: {question}")]
    Waiting {
        /// Which gate.
        gate: String,
        /// What it asks.
        question: String,
    },
    /// A person said no.
    #[error("{by} answered {choice} at {gate}")]
    Rejected {
        /// Which gate.
        gate: String,
        /// What was answered.
        choice: String,
        /// Who.
        by: String,
    },
    /// An effect was read back and does not hold.
    #[error("{step}: {says}")]
    Refuted {
        /// Which step.
        step: String,
        /// What was seen.
        says: String,
    },
    /// Something could not be proven.
    #[error("{step}: {says}")]
    Unverified {
        /// Which step.
        step: String,
        /// What is missing.
        says: String,
    },
    /// An effect may have happened and only a person can tell.
    #[error("{step}: {says}")]
    InDoubt {
        /// Which step.
        step: String,
        /// Why it is not known.
        says: String,
    },
    /// The run refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A service failed for good.
    #[error("{step}: {error}")]
    Failed {
        /// Which step.
        step: String,
        /// What went wrong.
        error: PortError,
    },
    /// A person ended the run.
    #[error("{by} ended the run")]
    Aborted {
        /// Who.
        by: String,
    },
    /// Somebody stopped all automation; the run can be resumed when that is lifted.
    #[error("{0}")]
    Stopped(Stop),
    /// The process was asked to let go.
    #[error("detached; the run can be resumed")]
    Detached,
    /// The journal or a recorded value failed: a defect, or a broken disk.
    #[error(transparent)]
    Seam(#[from] SeamError),
}

impl Halt {
    /// What it means for the run. `None` for an engine failure, which leaves the run as it was.
    pub fn outcome(&self) -> Option<Outcome> {
        Some(match self {
            Self::NothingToDo { .. } => Outcome::Verified,
            Self::Waiting { .. } => Outcome::WaitingForHuman,
            Self::Rejected { .. } | Self::Aborted { .. } => Outcome::Rejected,
            Self::Refuted { .. } => Outcome::Refuted,
            Self::Unverified { .. } | Self::Failed { .. } => Outcome::Unverified,
            Self::InDoubt { .. } => Outcome::InDoubt,
            Self::Refused(_) => Outcome::Refused,
            Self::Detached | Self::Stopped(_) => Outcome::Detached,
            Self::Seam(_) => return None,
        })
    }
}
