//! Effects: mutations of the outside world that are predicted, applied, reconciled and verified.

use std::collections::BTreeMap;
use std::time::Duration;

use allclear_core::PortError;
use async_trait::async_trait;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::probe::Evidence;

/// One thing that an effect changes: which object, which field, from what, to what.
///
/// All of it is hashed into the plan, so it holds only what is stable while nobody interferes. Figures that move
/// by themselves (a queue's length) belong in [`Prediction::notes`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Change {
    /// What kind of thing, e.g. `campaign`.
    pub kind: String,
    /// Which one.
    pub id: String,
    /// Its name for people; equal to the id where it has none.
    pub label: String,
    /// What about it.
    pub field: String,
    /// What it is now.
    pub before: String,
    /// What it will be.
    pub after: String,
}

impl Change {
    /// A change of a thing whose name is its id.
    pub fn new(kind: &str, id: &str, field: &str, before: &str, after: &str) -> Self {
        let text = str::to_owned;
        let (kind, field) = (text(kind), text(field));
        Self { kind, id: text(id), label: text(id), field, before: text(before), after: text(after) }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {} {} → {}", self.kind, self.label, self.field, self.before, self.after)
    }
}

/// What an effect would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prediction {
    /// Every change, object by object. Empty when the wanted state already holds.
    pub changes: Vec<Change>,
    /// Figures and remarks for people; shown, not hashed.
    pub notes: Vec<String>,
}

impl Prediction {
    /// A prediction of one change.
    pub fn of(change: Change) -> Self {
        Self { changes: vec![change], notes: Vec::new() }
    }

    /// Adds a remark.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// What earlier effects of a plan will have changed by the time a later one runs. Empty in a real run, where the
/// world itself tells.
#[derive(Debug, Clone, Default)]
pub struct Foreseen {
    fields: BTreeMap<(String, String, String), String>,
}

impl Foreseen {
    /// The value that a field will have: as foreseen, or `actual` where no effect touches it.
    pub fn or(&self, kind: &str, id: &str, field: &str, actual: impl Into<String>) -> String {
        let key = (kind.to_owned(), id.to_owned(), field.to_owned());
        self.fields.get(&key).cloned().unwrap_or_else(|| actual.into())
    }

    pub(crate) fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            let key = (change.kind.clone(), change.id.clone(), change.field.clone());
            self.fields.insert(key, change.after.clone());
        }
    }
}

/// What may be done about an effect whose outcome is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    /// The receiver drops a second request with the same key: send again.
    Keyed,
    /// The service can be asked whether it happened: [`Effect::reconcile`].
    Readable,
    /// Neither: only a person can tell.
    Neither,
}

/// The record that an effect is about to be applied. It is durable before the first byte leaves the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The same for every attempt at this effect of this run; different for any other.
    pub key: String,
    /// When it was recorded, by the run's clock.
    pub at: Timestamp,
    /// What was predicted.
    pub changes: Vec<Change>,
}

/// An effect's answer, as the procedure gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied<R> {
    /// What the procedure goes on with; journalled.
    pub receipt: R,
    /// One sentence for people.
    pub says: String,
}

/// What a reconciler found out about an effect in doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reconciled<R> {
    /// It happened; here is its receipt.
    Happened(Applied<R>),
    /// It did not happen; it may be applied.
    DidNot {
        /// How that is known.
        why: String,
    },
    /// It cannot be known; a person decides.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// What reading an effect back showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It holds, seen by another path than the write.
    Verified {
        /// One sentence.
        says: String,
    },
    /// Not yet seen; look again. Never a final verdict.
    Pending {
        /// What is missing.
        says: String,
    },
    /// It does not hold.
    Refuted {
        /// What was seen instead.
        says: String,
    },
    /// There is no way to see it.
    Unverifiable {
        /// Why.
        says: String,
    },
}

impl Verdict {
    /// Whether the effect is proven.
    pub fn is_verified(&self) -> bool {
        matches!(self, Self::Verified { .. })
    }

    /// The sentence.
    pub fn says(&self) -> &str {
        match self {
            Self::Verified { says }
            | Self::Pending { says }
            | Self::Refuted { says }
            | Self::Unverifiable { says } => says,
        }
    }
}

/// A verdict and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// What was seen where.
    pub evidence: Vec<Evidence>,
}

impl Judgement {
    /// Proven.
    pub fn verified(says: impl Into<String>, evidence: Vec<Evidence>) -> Self {
        Self { verdict: Verdict::Verified { says: says.into() }, evidence }
    }

    /// Look again.
    pub fn pending(says: impl Into<String>, evidence: Vec<Evidence>) -> Self {
        Self { verdict: Verdict::Pending { says: says.into() }, evidence }
    }

    /// Disproven.
    pub fn refuted(says: impl Into<String>, evidence: Vec<Evidence>) -> Self {
        Self { verdict: Verdict::Refuted { says: says.into() }, evidence }
    }

    /// Not to be known.
    pub fn unverifiable(says: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unverifiable { says: says.into() }, evidence: Vec::new() }
    }
}

/// How long verification looks again while the verdict is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Time between two looks.
    pub every: Duration,
    /// After this long since the effect was applied, a pending verdict becomes refuted.
    pub within: Duration,
}

/// A mutation of the outside world.
///
/// The engine calls, in this order: [`predict`](Self::predict); records the intent; [`apply`](Self::apply);
/// records the answer; [`verify`](Self::verify) until it is no longer pending; records the verdict. When a process
/// dies after the intent, or the answer is lost, the effect is *in doubt* and [`reconcile`](Self::reconcile) is asked
/// before anything is sent again.
#[async_trait]
pub trait Effect: Send + Sync {
    /// What the procedure learns from having applied it. Journalled: no phone numbers, no secrets.
    type Receipt: Serialize + DeserializeOwned + Clone + Send + Sync;

    /// What is done, object.verb, e.g. `campaign.pause`.
    fn name(&self) -> &'static str;

    /// What it is done to. Together with the step's id it is the effect's key within the run.
    fn subject(&self) -> String;

    /// The sentence for people, e.g. `pause campaign Spring`.
    fn title(&self) -> String;

    /// What may be done when the outcome is not known.
    fn repeat(&self) -> Repeat;

    /// Says what it would change. Reads only.
    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError>;

    /// The receipt to go on with when it is not applied: in a plan, when the wanted state already holds, or when a
    /// person says that it happened.
    fn foresee(&self, prediction: &Prediction) -> Self::Receipt;

    /// Does it, once.
    async fn apply(&self, intent: &Intent) -> Result<Applied<Self::Receipt>, PortError>;

    /// Finds out whether it happened. Only called where [`repeat`](Self::repeat) says [`Repeat::Readable`].
    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<Self::Receipt>, PortError>;

    /// How long to look.
    fn patience(&self) -> Patience {
        Patience { every: Duration::from_secs(5), within: Duration::from_mins(1) }
    }

    /// Reads the effect back by another path than the write. `now` is the run's time.
    async fn verify(
        &self,
        intent: &Intent,
        receipt: &Self::Receipt,
        now: Timestamp,
    ) -> Result<Judgement, PortError>;

    /// The effect that takes it back, where that is honest; `type Undo = NoUndo` says in the type that it is not.
    type Undo: Effect;

    /// Makes the effect that takes this one back; `None` where there is nothing to take back.
    fn undo(&self, _receipt: &Self::Receipt) -> Option<Self::Undo> {
        None
    }
}

/// There is no undo: a message that was sent stays sent. A type without values, so nobody can perform it.
#[derive(Debug, Clone, Copy)]
pub enum NoUndo {}

#[async_trait]
impl Effect for NoUndo {
    type Receipt = ();
    type Undo = Self;

    fn name(&self) -> &'static str {
        match *self {}
    }

    fn subject(&self) -> String {
        match *self {}
    }

    fn title(&self) -> String {
        match *self {}
    }

    fn repeat(&self) -> Repeat {
        match *self {}
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        match *self {}
    }

    fn foresee(&self, _prediction: &Prediction) -> Self::Receipt {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<Self::Receipt>, PortError> {
        match *self {}
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<Self::Receipt>, PortError> {
        match *self {}
    }

    async fn verify(
        &self,
        _intent: &Intent,
        (): &Self::Receipt,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        match *self {}
    }
}
