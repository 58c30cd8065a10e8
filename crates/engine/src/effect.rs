//! Effects: mutations of the outside world that are predicted, applied, reconciled and verified.

use std::collections::BTreeMap;
use std::time::Duration;

use allclear_core::PortError;
use async_trait::async_trait;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::claim::Because;
use crate::probe::{Evidence, NotBefore, OnlyWhile};

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
    /// How many things it concerns, where that is more than the changes say: the messages of a queue.
    #[serde(default)]
    pub extent: u64,
}

impl Prediction {
    /// A prediction of one change.
    pub fn of(change: Change) -> Self {
        Self { changes: vec![change], notes: Vec::new(), extent: 0 }
    }

    /// Says how many things it concerns.
    pub fn concerning(mut self, extent: u64) -> Self {
        self.extent = extent;
        self
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
    /// Neither, and a second does its receiver no harm: after a doubt it is sent once more.
    Harmless,
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

/// What makes an effect dangerous, by its own declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Danger {
    /// Nothing: it can be taken back, or it does no harm where it cannot.
    None,
    /// It cannot be taken back.
    CannotBeTakenBack {
        /// What is lost, in words.
        why: &'static str,
    },
    /// It can, and concerns more than one person may decide here.
    Beyond {
        /// What is counted, e.g. `messages`.
        what: &'static str,
        /// How many the environment allows without anybody else.
        limit: u64,
    },
}

impl Danger {
    /// Whether what is predicted is dangerous. A change that is none is not.
    pub fn applies_to(&self, prediction: &Prediction) -> bool {
        if prediction.changes.is_empty() {
            return false;
        }
        match self {
            Self::None => false,
            Self::CannotBeTakenBack { .. } => true,
            Self::Beyond { limit, .. } => prediction.extent.max(prediction.changes.len() as u64) > *limit,
        }
    }

    /// In words.
    pub fn says(&self) -> String {
        match self {
            Self::None => "can be taken back".to_owned(),
            Self::CannotBeTakenBack { why } => format!("this cannot be taken back ({why})"),
            Self::Beyond { what, limit } => {
                format!("this concerns more than the {limit} {what} that one person decides about here")
            }
        }
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

    /// The subject under which the plan names it. Another than its own where one line of the plan stands for several effects, such
    /// as batches whose number shows only while they are done; each must change what that line says.
    fn planned_as(&self) -> String {
        self.subject()
    }

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

    /// Whether somebody else must agree before it is done. Declare it wherever [`Undo`](Self::Undo) is none and more than a
    /// message is lost: the engine then asks, unless a gate of the procedure covered it.
    fn danger(&self) -> Danger {
        Danger::None
    }

    /// What is waited for right before each try, e.g. the end of quiet hours; `None`, for nearly every effect, for nothing. An
    /// undo waits for nothing.
    fn not_before(&self) -> Option<NotBefore> {
        None
    }

    /// What must still be so right before each try; `None`, for nearly every effect, for nothing.
    fn only_while(&self) -> Option<OnlyWhile> {
        None
    }

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

    /// Why it does not matter when it is not proven; `None`, for nearly every effect, where it does. It keeps an unproven
    /// effect from bounding the run's end, and the report says it.
    fn excuse(&self) -> Option<Because> {
        None
    }

    /// The same effect, which need not be proven here, and why.
    fn excused(self, because: Because) -> Excused<Self>
    where
        Self: Sized,
    {
        Excused { effect: self, because }
    }

    /// The effect that takes it back, where that is honest; `type Undo = NoUndo` says in the type that it is not.
    type Undo: Effect + 'static;

    /// Makes the effect that takes this one back; `None` where there is nothing to take back.
    ///
    /// It is asked when a run is undone, perhaps weeks later. What it predicts must word the state that *this* effect
    /// left as this effect's own prediction words it (same kind, id and field, its `before` this one's `after`): where
    /// the world shows another value by then, somebody changed it since, and it is left alone.
    fn undo(&self, _receipt: &Self::Receipt) -> Option<Self::Undo> {
        None
    }

    /// Why nothing takes it back, as the end of `it stays, because`: e.g. `a message that was sent stays sent`. For
    /// effects without an undo, and for those whose undo is honest only sometimes.
    fn cannot_undo(&self) -> Option<&'static str> {
        None
    }
}

/// Why an effect stays for good; `None` where something takes it back.
pub(crate) fn stays<E: Effect>(effect: &E, prediction: &Prediction) -> Option<String> {
    let none = std::any::TypeId::of::<E::Undo>() == std::any::TypeId::of::<NoUndo>();
    match effect.cannot_undo() {
        None if none => Some("nothing takes it back".to_owned()),
        Some(why) if none || effect.undo(&effect.foresee(prediction)).is_none() => Some(why.to_owned()),
        _ => None,
    }
}

/// An effect that need not be proven where it is performed: [`Effect::excused`].
#[derive(Debug, Clone)]
pub struct Excused<E> {
    effect: E,
    because: Because,
}

#[async_trait]
impl<E: Effect> Effect for Excused<E> {
    type Receipt = E::Receipt;
    type Undo = E::Undo;

    fn name(&self) -> &'static str {
        self.effect.name()
    }

    fn subject(&self) -> String {
        self.effect.subject()
    }

    fn planned_as(&self) -> String {
        self.effect.planned_as()
    }

    fn title(&self) -> String {
        self.effect.title()
    }

    fn repeat(&self) -> Repeat {
        self.effect.repeat()
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        self.effect.predict(foreseen).await
    }

    fn foresee(&self, prediction: &Prediction) -> Self::Receipt {
        self.effect.foresee(prediction)
    }

    async fn apply(&self, intent: &Intent) -> Result<Applied<Self::Receipt>, PortError> {
        self.effect.apply(intent).await
    }

    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<Self::Receipt>, PortError> {
        self.effect.reconcile(intent).await
    }

    fn not_before(&self) -> Option<NotBefore> {
        self.effect.not_before()
    }

    fn only_while(&self) -> Option<OnlyWhile> {
        self.effect.only_while()
    }

    fn patience(&self) -> Patience {
        self.effect.patience()
    }

    async fn verify(
        &self,
        intent: &Intent,
        receipt: &Self::Receipt,
        now: Timestamp,
    ) -> Result<Judgement, PortError> {
        self.effect.verify(intent, receipt, now).await
    }

    fn excuse(&self) -> Option<Because> {
        Some(self.because)
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        self.effect.cannot_undo()
    }

    fn undo(&self, receipt: &Self::Receipt) -> Option<Self::Undo> {
        self.effect.undo(receipt)
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
