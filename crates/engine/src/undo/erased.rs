//! What takes an effect back, without its type: undos of many types stand in one list.

use std::sync::Arc;

use allclear_core::PortError;
use async_trait::async_trait;
use jiff::Timestamp;
use serde::de::Deserialize as _;
use serde_json::Value;

use crate::effect::{
    Applied, Danger, Effect, Foreseen, Intent, Judgement, NoUndo, Patience, Prediction, Reconciled, Repeat,
};
use crate::probe::NotBefore;
use crate::run::to_value;

/// An effect whose receipt is a value.
#[async_trait]
pub(crate) trait Erased: Send + Sync {
    fn name(&self) -> &'static str;
    fn subject(&self) -> String;
    fn title(&self) -> String;
    fn repeat(&self) -> Repeat;
    fn danger(&self) -> Danger;
    fn patience(&self) -> Patience;
    fn not_before(&self) -> Option<NotBefore>;
    fn foresee(&self, prediction: &Prediction) -> Value;
    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError>;
    async fn apply(&self, intent: &Intent) -> Result<Applied<Value>, PortError>;
    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<Value>, PortError>;
    async fn verify(&self, intent: &Intent, receipt: &Value, now: Timestamp) -> Result<Judgement, PortError>;
}

struct Typed<E>(E);

fn erased<R: serde::Serialize>(applied: Applied<R>) -> Applied<Value> {
    Applied { receipt: to_value(&applied.receipt), says: applied.says }
}

#[async_trait]
impl<E: Effect> Erased for Typed<E> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn subject(&self) -> String {
        self.0.subject()
    }

    fn title(&self) -> String {
        self.0.title()
    }

    fn repeat(&self) -> Repeat {
        self.0.repeat()
    }

    fn danger(&self) -> Danger {
        self.0.danger()
    }

    fn patience(&self) -> Patience {
        self.0.patience()
    }

    fn not_before(&self) -> Option<NotBefore> {
        self.0.not_before()
    }

    fn foresee(&self, prediction: &Prediction) -> Value {
        to_value(&self.0.foresee(prediction))
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        self.0.predict(foreseen).await
    }

    async fn apply(&self, intent: &Intent) -> Result<Applied<Value>, PortError> {
        self.0.apply(intent).await.map(erased)
    }

    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<Value>, PortError> {
        Ok(match self.0.reconcile(intent).await? {
            Reconciled::Happened(applied) => Reconciled::Happened(erased(applied)),
            Reconciled::DidNot { why } => Reconciled::DidNot { why },
            Reconciled::Unknown { why } => Reconciled::Unknown { why },
        })
    }

    async fn verify(&self, intent: &Intent, receipt: &Value, now: Timestamp) -> Result<Judgement, PortError> {
        match E::Receipt::deserialize(receipt) {
            Ok(receipt) => self.0.verify(intent, &receipt, now).await,
            Err(error) => Ok(Judgement::unverifiable(format!("its receipt cannot be read: {error}"))),
        }
    }
}

/// What is known about taking one effect back.
#[derive(Clone)]
pub(crate) enum Undoing {
    /// This takes it back.
    By(Arc<dyn Erased>),
    /// It stays, for this reason.
    Stays(String),
    /// There is nothing to take back: it was not the run's doing.
    Nothing,
}

/// An effect that a replay came by.
pub(crate) struct Collected {
    /// The key of its intent.
    pub(crate) key: String,
    pub(crate) undoing: Undoing,
}

/// What takes `effect` back, by its receipt; by the receipt that it foresees where none is recorded: it may have happened.
pub(crate) fn undoing<E: Effect>(effect: &E, intent: &Intent, receipt: Option<&E::Receipt>) -> Undoing {
    let back = if let Some(receipt) = receipt {
        effect.undo(receipt)
    } else {
        let prediction = Prediction { changes: intent.changes.clone(), ..Prediction::default() };
        effect.undo(&effect.foresee(&prediction))
    };
    let no_undo = std::any::TypeId::of::<E::Undo>() == std::any::TypeId::of::<NoUndo>();
    match (back, effect.cannot_undo()) {
        (Some(back), _) => Undoing::By(Arc::new(Typed(back))),
        (None, Some(why)) => Undoing::Stays(why.to_owned()),
        (None, None) if no_undo => Undoing::Stays("nothing takes it back".to_owned()),
        (None, None) => Undoing::Nothing,
    }
}
