//! The run engine of Allclear: runs that do what a runbook says exactly once, prove that it worked, and tell the
//! story afterwards.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use allclear_core::{PortError, VirtualClock};
//! use allclear_engine::{
//!     ApprovedPlan, Halt, MemoryJournal, Observation, Outcome, Phase, Probe, Resolution, Run, Runbook, Step, Terms,
//!     execute, plan,
//! };
//! use jiff::Timestamp;
//!
//! const T_D1: Step = Step { id: "T-D1", phase: Phase::Detect, title: "Is the kettle on?" };
//!
//! struct Kettle;
//!
//! #[async_trait::async_trait]
//! impl Probe for Kettle {
//!     type Value = u32;
//!     async fn observe(&self, _now: Timestamp) -> Result<Observation<u32>, PortError> {
//!         Ok(Observation { value: 100, says: "the water boils".into(), evidence: vec![] })
//!     }
//! }
//!
//! struct Tea;
//!
//! #[async_trait::async_trait]
//! impl Runbook for Tea {
//!     fn id(&self) -> &'static str { "tea" }
//!     fn title(&self) -> &'static str { "Tea" }
//!     fn version(&self) -> u32 { 1 }
//!     fn steps(&self) -> &'static [Step] { &[T_D1] }
//!     async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
//!         let degrees = run.probe(&T_D1, Kettle).await?;
//!         run.conclude_unless(degrees == 100, "the water is still cold")?;
//!         run.resolve("tea can be made", run.proof(&T_D1)?)
//!     }
//! }
//!
//! # let rt = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # rt.block_on(async {
//! let clock = Arc::new(VirtualClock::at("2026-11-23T09:00:00Z".parse().unwrap()));
//! let journal = MemoryJournal::new();
//! let terms = Terms::new("run-1", "kim", "sandbox");
//! let shown = plan(&Tea, terms.clone(), clock.clone()).await.unwrap();
//! // It only looks, so nobody has to approve it.
//! let approved = ApprovedPlan::changes_nothing(shown, "run-1").unwrap();
//! let seam = journal.seam(clock).unwrap();
//! let finished = execute(&Tea, Box::new(seam), approved, terms).await.unwrap();
//! assert_eq!(finished.outcome, Outcome::Verified);
//! assert_eq!(journal.entries().unwrap().len(), 3); // started, observed, concluded
//! # });
//! ```
//!
//! # Map
//!
//! | module | what is in it |
//! |---|---|
//! | [`step`], [`probe`], [`effect`], [`gate`] | what a procedure is made of |
//! | [`claim`] | what a procedure may say of what it did |
//! | [`quick`] | probes and effects made of closures |
//! | [`run`] | the verbs that a procedure uses |
//! | [`runbook`] | planning and executing |
//! | [`approval`] | the rules by which a plan may be executed |
//! | [`journal`] | what is recorded, and its hash chain |
//! | [`report`] | the story, told from the journal |
//! | [`undo`] | taking back what a run changed, as a run of its own |
//! | [`owner`] | one owner, also from two machines |
//! | [`seam`] | the three durable verbs an engine must offer; [`memory`] and `sqlite` implement them |
//! | [`mod@plan`], [`outcome`], [`person`], [`retry`], [`humans`] | plain data and small rules |
//!
//! # What it deliberately does not do
//!
//! It talks to no service (ports do), knows no runbook, never joins steps in parallel, and never takes a status code
//! for a success.

pub mod approval;
pub mod claim;
pub mod effect;
pub mod gate;
pub mod humans;
pub mod journal;
mod mask;
pub mod memory;
pub mod outcome;
pub mod owner;
pub mod person;
pub mod plan;
pub mod probe;
pub mod quick;
mod receipt;
mod replay;
pub mod report;
pub mod retry;
pub mod run;
pub mod runbook;
pub mod seam;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod step;
#[cfg(feature = "sqlite")]
mod structure;
pub mod undo;

pub use approval::{ApprovedPlan, PlanApproval, PlanRules, Shown};
pub use claim::{Account, Because, Certainty, Claim, Closing, Excuse, Owed, Proof};
pub use effect::{
    Applied, Change, Danger, Effect, Excused, Foreseen, Intent, Judgement, NoUndo, Patience, Prediction,
    Reconciled, Repeat, Verdict,
};
pub use gate::{Answer, Approval, Approvers, Choice, Gate, Question, Standing, Typed};
pub use humans::{Attention, AutoApprove, Elsewhere, Humans, Nobody};
pub use journal::{Entry, Event, Note};
pub use memory::MemoryJournal;
pub use outcome::{Halt, Outcome, Refusal, Resolution};
pub use owner::{Announcing, Known, UNTIL_IT_KNOWS};
pub use plan::Plan;
pub use probe::{Evidence, NotBefore, Observation, OnlyWhile, Probe};
pub use quick::{Act, Look};
pub use retry::RetryPolicy;
pub use run::{
    Achieving, AchievingSparingly, Check, Condition, Deadline, Detach, Escalation, Observing, Run, Settled,
    Terms, Watch,
};
pub use runbook::{Finished, Runbook, execute, plan};
pub use seam::{Seam, SeamError, Stop};
pub use step::{Phase, Step};
pub use undo::UndoRun;
