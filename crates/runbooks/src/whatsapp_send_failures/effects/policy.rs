//! Repairing the stored sending policy.

use std::sync::Arc;

use allclear_core::policy::{SendPolicy, StoredPolicy};
use allclear_core::ports::PolicyStore;
use allclear_core::{Platform, PortError};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, Prediction, Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;

use crate::effects::change;
use crate::whatsapp_send_failures::detect::policy_text;

/// Writes a sound policy over a broken one. The old values are in the intent's changes, so they are never lost. There
/// is no undo: it would restore what was broken.
#[derive(Clone)]
pub(in super::super) struct RepairPolicy {
    store: Arc<dyn PolicyStore>,
    wanted: SendPolicy,
}

impl RepairPolicy {
    /// Keeps what is sound in `stored` and takes the rest from the environment's default.
    pub(in super::super) fn of(on: &Platform, stored: &StoredPolicy) -> Self {
        Self { store: Arc::clone(&on.policy), wanted: stored.repaired(&on.limits.default_policy) }
    }

    pub(in super::super) fn wanted_text(&self) -> String {
        policy_text(&self.wanted)
    }
}

#[async_trait]
impl Effect for RepairPolicy {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "settings.write"
    }

    fn subject(&self) -> String {
        "sending policy".to_owned()
    }

    fn title(&self) -> String {
        format!("set the sending policy to {}", self.wanted_text())
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("what it was before is broken, and a person agreed to its repair; it stands beside this")
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let stored = self.store.read().await?;
        // Somebody has repaired it meanwhile, in their own way.
        if stored.faults().is_empty() {
            return Ok(Prediction::default());
        }
        let hours = format!("{}–{}", stored.quiet_start, stored.quiet_end);
        let throttle = stored.throttle_per_minute.to_string();
        let fields = [
            ("quiet hours", hours, self.wanted.quiet_hours.to_string()),
            ("throttle per minute", throttle, self.wanted.throttle_per_minute.to_string()),
        ];
        let changes = fields
            .iter()
            .filter(|(_, before, after)| before != after)
            .map(|(field, before, after)| {
                change("settings", "sending policy", "sending policy", field, before, after)
            })
            .collect();
        Ok(Prediction { changes, ..Prediction::default() })
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        self.store.write(&self.wanted).await?;
        Ok(Applied { receipt: (), says: format!("the sending policy was set to {}", self.wanted_text()) })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        let stored = self.store.read().await?;
        if stored.says(&self.wanted) {
            return Ok(Reconciled::Happened(Applied {
                receipt: (),
                says: "the stored policy is the wanted one".to_owned(),
            }));
        }
        Ok(Reconciled::DidNot { why: "the stored policy is still another one".to_owned() })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        let stored = self.store.read().await?;
        let shows = format!(
            "quiet hours {}–{}, throttle {}",
            stored.quiet_start, stored.quiet_end, stored.throttle_per_minute
        );
        let evidence = vec![Evidence::new("settings (PostgREST)", shows)];
        Ok(if stored.says(&self.wanted) {
            Judgement::verified("the stored policy is the wanted one", evidence)
        } else if stored.faults().is_empty() {
            Judgement::verified("the stored policy is sound, as somebody else set it", evidence)
        } else {
            Judgement::refuted("the platform said that the settings were saved, and they were not", evidence)
        })
    }
}
