//! How a run can end, and how a step can stop it.

use allclear_core::PortError;
use serde::{Deserialize, Serialize};

use crate::claim::Proof;
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
    /// A service failed, or was away for longer than a process waits for it; it can be resumed and goes on there.
    Interrupted,
}

impl Outcome {
    /// Whether the run is over. The others can be resumed.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::WaitingForHuman | Self::InDoubt | Self::Detached | Self::Interrupted)
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
            Self::Interrupted => "interrupted",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.title())
    }
}

/// What a procedure resolved, when it came to its end. Made of a proof: [`Run::resolve`](crate::Run::resolve).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    says: String,
    rests_on: Vec<String>,
    /// Verified or undone.
    outcome: Outcome,
}

impl Resolution {
    pub(crate) fn new(says: String, proof: Proof) -> Self {
        let mut rests_on = proof.rests_on;
        rests_on.sort();
        rests_on.dedup();
        Self { says, rests_on, outcome: Outcome::Verified }
    }

    /// The same for a run that took back what another one changed.
    pub(crate) fn undone(self) -> Self {
        Self { outcome: Outcome::Undone, ..self }
    }

    /// How a run ends with it: verified, or undone.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// One sentence, e.g. `sending works again; 3 campaigns resumed`.
    pub fn says(&self) -> &str {
        &self.says
    }

    /// Keys of the journal entries that prove it.
    pub fn rests_on(&self) -> &[String] {
        &self.rests_on
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
    /// Nobody who may has approved the plan, or not enough did.
    #[error("the plan is not approved: {why}")]
    NotApproved {
        /// What is missing.
        why: String,
    },
    /// Another run holds what this one needs.
    #[error("{resource} is held by run {holder}; watch that run, resume it, or abort it first")]
    Held {
        /// What is held.
        resource: String,
        /// By which run.
        holder: String,
    },
    /// Another run has the runbook on this platform, by the platform's own record.
    #[error("{says}")]
    Owned {
        /// Who has it, since when, and what to do.
        says: String,
    },
    /// The same step was performed twice about the same thing.
    #[error("the procedure performs {key} twice; give each its own subject")]
    RepeatedKey {
        /// The key.
        key: String,
    },
    /// A receipt is not the same when it is read back from the journal: a run that was taken up again would go on with another.
    #[error(
        "the receipt of {effect} does not survive in the journal ({detail}), so nothing was sent: this is a fault of the \
         procedure; give it a receipt of plain data"
    )]
    Receipt {
        /// The effect, e.g. `campaign.pause`.
        effect: String,
        /// What is wrong with it.
        detail: String,
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
    /// A service failed for longer than a process waits for it, or asks for something that a person must do. The run
    /// goes on there when it is taken up again.
    #[error("{step}: {error}{}", tried(*tries))]
    Failed {
        /// Which step.
        step: String,
        /// What went wrong last.
        error: PortError,
        /// How often this process tried, the first time included.
        tries: u32,
    },
    /// What was waited for did not come about in the time that the procedure gives it. The run waits on when it is taken up
    /// again.
    #[error("{step}: {says}")]
    GaveUp {
        /// Which step.
        step: String,
        /// How long it waited, and what was missing last.
        says: String,
    },
    /// A person ended the run.
    #[error("{by} ended the run{}", .reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Aborted {
        /// Who.
        by: String,
        /// Why, where they said it.
        reason: Option<String>,
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

fn tried(tries: u32) -> String {
    match tries {
        0 | 1 => String::new(),
        tries => format!("; it was tried {tries} times, with waits in between"),
    }
}

impl Halt {
    /// What it means for the run. `None` for an engine failure, which leaves the run as it was.
    pub fn outcome(&self) -> Option<Outcome> {
        Some(match self {
            Self::NothingToDo { .. } => Outcome::Verified,
            Self::Waiting { .. } => Outcome::WaitingForHuman,
            Self::Rejected { .. } | Self::Aborted { .. } => Outcome::Rejected,
            Self::Refuted { .. } => Outcome::Refuted,
            Self::Unverified { .. } => Outcome::Unverified,
            Self::Failed { .. } | Self::GaveUp { .. } => Outcome::Interrupted,
            Self::InDoubt { .. } => Outcome::InDoubt,
            Self::Refused(_) => Outcome::Refused,
            Self::Detached | Self::Stopped(_) => Outcome::Detached,
            Self::Seam(_) => return None,
        })
    }
}
