//! The seam: the three durable verbs that an engine offers a run. Everything else stands above it and is the same
//! on every engine.

use allclear_core::Clock;
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::gate::Answer;
use crate::journal::{Damage, Entry, Event};

/// An entry, and whether it was there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The entry.
    pub entry: Entry,
    /// Whether it is replayed rather than new.
    pub replayed: bool,
    /// The key that the journal has at this place, where it is another than the one asked for.
    pub out_of_order: Option<String>,
    /// Whether the journal holds entries of the procedure after this one: an earlier process came further than here.
    pub more: bool,
}

/// A stop of all automation, until somebody lifts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Who set it.
    pub by: String,
    /// When, by the machine's clock.
    pub at: Timestamp,
    /// Why.
    pub reason: Option<String>,
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = self.at.strftime("%Y-%m-%d %H:%M:%S UTC");
        write!(f, "{} stopped all automation at {at}", self.by)?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => f.write_str(" and gave no reason"),
        }
    }
}

/// Something that reaches a run from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// An answer to the gate that was waited for.
    Answer(Answer),
    /// Somebody hands the run over.
    HandOver {
        /// Who hands it over.
        from: String,
        /// Who has it from now on.
        to: String,
    },
    /// Somebody ends the run.
    Abort {
        /// Who.
        by: String,
        /// Why, where they said it.
        reason: Option<String>,
    },
    /// Somebody stopped all automation.
    Stop(Stop),
    /// The process is asked to let go.
    Detach,
}

/// How a wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Woken {
    /// The time came.
    Time,
    /// Something else came first.
    By(Signal),
}

/// The journal or what it lives on failed. Nothing is retried on the same store: after a failed sync nobody knows
/// what is on the disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeamError {
    /// The store cannot write or read.
    #[error("the journal store failed while {doing}: {detail}; free space or repair the disk, then `resume`")]
    Store {
        /// What it was doing.
        doing: &'static str,
        /// What the store said.
        detail: String,
    },
    /// The run is not what was written.
    #[error(
        "run {run} cannot be taken up: {damage}. Nothing was done. Put the newest whole copy of the state folder back, or see \
         `allclear audit verify {run}` and end the run with `allclear abort {run} --damaged --reason TEXT`"
    )]
    Damaged {
        /// Which run.
        run: String,
        /// What is wrong with it.
        damage: Damage,
    },
    /// What a resume would rest on says otherwise than the run's journal.
    #[error(
        "run {run}: {what} is {found}, and by entry 1 of its journal it is {recorded}; nothing was done. {next}"
    )]
    Differs {
        /// Which run.
        run: String,
        /// What differs, e.g. `the environment in its row`.
        what: String,
        /// What it is now.
        found: String,
        /// What the journal says.
        recorded: String,
        /// What a person does next.
        next: String,
    },
    /// Something that the store keeps beside the journals is not what was written.
    #[error(
        "{what} is not what was written: somebody or something changed it, so it counts for nothing. {next}"
    )]
    Altered {
        /// What, and of which run.
        what: String,
        /// What a person does next.
        next: String,
    },
    /// A run was begun in the store with other words than its terms.
    #[error(
        "run {run} was begun with {what} {store} in the store, and its terms say {terms}; nothing was done: say the same twice"
    )]
    Terms {
        /// Which run.
        run: String,
        /// What differs.
        what: String,
        /// What the terms say.
        terms: String,
        /// What the store was told.
        store: String,
    },
    /// The run was started by another version of the procedure.
    #[error(
        "run {run} was started by version {started} of the procedure and this is version {this}; nothing was done: `resume` \
         it with that one"
    )]
    OtherVersion {
        /// Which run.
        run: String,
        /// The version that started it.
        started: u32,
        /// The version of this procedure.
        this: u32,
    },
    /// The procedure went another way than the journal says.
    #[error(
        "the procedure asked for {key} where the journal of run {run} has {recorded}; nothing more was done: `resume` it \
         with the version that started it"
    )]
    OrderDiffers {
        /// Which run.
        run: String,
        /// Asked for.
        key: String,
        /// Recorded.
        recorded: String,
    },
    /// The store has no such run.
    #[error("the store has no run {run}; `allclear status` lists what it has")]
    Missing {
        /// Which run.
        run: String,
    },
    /// The run is over.
    #[error("run {run} has ended: {how}; read it with `allclear report {run}`")]
    Ended {
        /// Which run.
        run: String,
        /// How.
        how: String,
    },
    /// A file of the store was removed or replaced under the process.
    #[error(
        "{path} was removed or replaced while this process used it, so nothing more is recorded and nothing more is done; put \
         the state folder back as it was, then see `allclear status`"
    )]
    Gone {
        /// Which file.
        path: String,
    },
    /// A recorded value cannot be read by this version of the procedure.
    #[error(
        "entry {seq} ({key}) cannot be read by this version: {detail}; resume with the version that wrote it"
    )]
    Unreadable {
        /// Which entry.
        seq: u64,
        /// Its key.
        key: String,
        /// What is wrong.
        detail: String,
    },
    /// The run began on other terms than it is taken up on.
    #[error("run {run} is not taken up: {what}; nothing was done, and the run is as it was")]
    OtherTerms {
        /// Which run.
        run: String,
        /// What differs.
        what: String,
    },
    /// Another run has the runbook on this platform, or a person gave this one up; it may have acted.
    #[error("run {run} is not taken up: {says}. The run is as it was")]
    Owned {
        /// Which run.
        run: String,
        /// Who has it, and what to do.
        says: String,
    },
    /// A run is replayed to be undone, and this is where what it recorded ends.
    #[error("the journal has no entry {key}; nothing is done in a replay")]
    NotRecorded {
        /// What was asked for.
        key: String,
    },
    /// Another process has the run.
    #[error("run {run} is held by another process; watch it, or end that process first")]
    Locked {
        /// Which run.
        run: String,
    },
    /// Somebody stopped all automation.
    #[error("{0}; nothing runs until somebody lifts that")]
    Stopped(Stop),
    /// Another run has the resource.
    #[error("{resource} is held by run {holder}")]
    Held {
        /// What.
        resource: String,
        /// By which run.
        holder: String,
    },
}

impl SeamError {
    /// The same, naming the run that it is about.
    pub(crate) fn about(self, run: &str) -> Self {
        match self {
            Self::Store { doing, detail } => Self::Store { doing, detail: format!("run {run}: {detail}") },
            other => other,
        }
    }
}

/// What an engine offers one run.
#[async_trait]
pub trait Seam: Send {
    /// Returns the entry recorded under `key`, or runs `body`, records what it says, and returns that. The entry is
    /// durable on return.
    async fn record(&mut self, key: &str, body: BoxFuture<'_, Event>) -> Result<Recorded, SeamError>;

    /// The entry recorded under `key`, if this engine can look it up without running anything.
    fn recorded(&self, key: &str) -> Option<&Entry>;

    /// Returns at `until` by the run's clock, or when a signal comes first. Waiting itself is not recorded: the run
    /// records that it waits, and until when.
    async fn sleep(&mut self, until: Timestamp) -> Result<Woken, SeamError>;

    /// Returns the next answer to `gate`, or when `until` comes, or when the run is ended from outside. Without
    /// `patience` it looks once and returns at once.
    async fn signal(
        &mut self,
        gate: &str,
        until: Option<Timestamp>,
        patience: bool,
    ) -> Result<Woken, SeamError>;

    /// Takes a resource (a campaign, a voucher) for this run, until the run is over. [`SeamError::Held`] when another
    /// run has it.
    async fn claim(&mut self, resource: &str) -> Result<(), SeamError>;

    /// How often the run has been taken up: 0 at first.
    fn incarnation(&self) -> u32;

    /// The run's clock.
    fn clock(&self) -> Arc<dyn Clock>;
}
