//! Taking one effect back, if the world is as the run left it.

use std::sync::Arc;

use allclear_core::PortError;
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::erased::Erased;
use crate::effect::{
    Applied, Change, Danger, Effect, Foreseen, Intent, Judgement, NoUndo, Patience, Prediction, Reconciled,
    Repeat,
};
use crate::probe::NotBefore;

/// What came of taking one effect back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "came", rename_all = "snake_case")]
pub(crate) enum Reversed {
    /// It was taken back.
    Back {
        /// The receipt of what took it back.
        receipt: Value,
    },
    /// It was back already.
    AlreadyBack,
    /// Somebody changed it since, and it is not the run's any more.
    LeftAlone {
        /// What it is now.
        says: String,
    },
}

/// Takes one effect back with what the effect itself names for it. What the world shows is compared with what the run left
/// each time before anything is sent.
#[derive(Clone)]
pub(crate) struct Reversal {
    by: Arc<dyn Erased>,
    /// What the run left.
    left: Vec<Change>,
    run: String,
}

/// How a prediction says that there is nothing to do because somebody else was there.
const ALONE: &str = "left alone: ";

impl Reversal {
    pub(super) fn of(by: Arc<dyn Erased>, left: Vec<Change>, run: String) -> Self {
        Self { by, left, run }
    }

    /// The sentence of what takes it back.
    pub(super) fn what(&self) -> String {
        self.by.title()
    }

    /// What two of one undo must not share.
    pub(super) fn identity(&self) -> String {
        format!("{} {}", self.by.name(), self.by.subject())
    }

    /// Whether both are about a field of the same thing.
    pub(super) fn is_of_the_same_as(&self, other: &Self) -> bool {
        let same =
            |one: &Change, two: &Change| (&one.kind, &one.id, &one.field) == (&two.kind, &two.id, &two.field);
        self.left.iter().any(|one| other.left.iter().any(|two| same(one, two)))
    }

    /// What it is now, where it is not as this left it: what is back needs nothing more.
    pub(super) async fn is_not_back_any_more(&self) -> Result<Option<String>, PortError> {
        let Prediction { changes, notes, .. } = self.by.predict(&Foreseen::default()).await?;
        let is = changes
            .iter()
            .map(|found| format!("{} {} {} is {} now", found.kind, found.label, found.field, found.before));
        let says: Vec<String> = if changes.is_empty() { notes } else { is.collect() };
        Ok((!says.is_empty()).then(|| says.join("; ")))
    }

    /// The first field that is not as the run left it, with what it is now.
    fn touched(&self, prediction: &Prediction) -> Option<String> {
        prediction.changes.iter().find_map(|found| {
            let same = |left: &&Change| {
                (&left.kind, &left.id, &left.field) == (&found.kind, &found.id, &found.field)
            };
            let left = self.left.iter().find(same)?;
            (left.after != found.before).then(|| {
                format!(
                    "somebody changed {} {} since: {} is {} now, and run {} left {}",
                    found.kind, found.label, found.field, found.before, self.run, left.after
                )
            })
        })
    }
}

#[async_trait]
impl Effect for Reversal {
    type Receipt = Reversed;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        self.by.name()
    }

    fn subject(&self) -> String {
        self.by.subject()
    }

    fn title(&self) -> String {
        self.by.title()
    }

    fn repeat(&self) -> Repeat {
        self.by.repeat()
    }

    fn danger(&self) -> Danger {
        self.by.danger()
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("it takes back what another run changed; to change it again, start that runbook anew")
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let prediction = self.by.predict(foreseen).await?;
        if let Some(says) = self.touched(&prediction) {
            return Ok(Prediction::default().note(format!("{ALONE}{says}")));
        }
        if prediction.changes.is_empty() && !prediction.notes.is_empty() {
            // Why there is nothing to do is for the effect to say.
            let says = prediction.notes.join("; ");
            return Ok(Prediction::default().note(format!("{ALONE}{says}")));
        }
        Ok(prediction)
    }

    fn foresee(&self, prediction: &Prediction) -> Reversed {
        let alone = prediction.notes.iter().find_map(|note| note.strip_prefix(ALONE));
        match alone {
            Some(says) => Reversed::LeftAlone { says: says.to_owned() },
            None if prediction.changes.is_empty() => Reversed::AlreadyBack,
            None => Reversed::Back { receipt: self.by.foresee(prediction) },
        }
    }

    async fn apply(&self, intent: &Intent) -> Result<Applied<Reversed>, PortError> {
        let Applied { receipt, says } = self.by.apply(intent).await?;
        Ok(Applied { receipt: Reversed::Back { receipt }, says })
    }

    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<Reversed>, PortError> {
        Ok(match self.by.reconcile(intent).await? {
            Reconciled::Happened(Applied { receipt, says }) => {
                Reconciled::Happened(Applied { receipt: Reversed::Back { receipt }, says })
            }
            Reconciled::DidNot { why } => Reconciled::DidNot { why },
            Reconciled::Unknown { why } => Reconciled::Unknown { why },
        })
    }

    fn patience(&self) -> Patience {
        self.by.patience()
    }

    fn not_before(&self) -> Option<NotBefore> {
        self.by.not_before()
    }

    async fn verify(
        &self,
        intent: &Intent,
        receipt: &Reversed,
        now: Timestamp,
    ) -> Result<Judgement, PortError> {
        match receipt {
            Reversed::Back { receipt } => self.by.verify(intent, receipt, now).await,
            Reversed::AlreadyBack => Ok(Judgement::verified("it was back already", Vec::new())),
            Reversed::LeftAlone { says } => {
                Ok(Judgement::verified(format!("it is left alone: {says}"), Vec::new()))
            }
        }
    }
}
