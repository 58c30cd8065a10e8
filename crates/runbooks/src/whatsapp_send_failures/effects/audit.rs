//! The incident's row in the platform's own audit log.

use std::sync::Arc;

use allclear_core::ports::{AuditLog, AuditRow};
use allclear_core::{Platform, PortError};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, Prediction, Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::change;

/// Inserts one audit row. Its id is derived from the run, so inserting it twice is inserting it once.
#[derive(Clone)]
pub(in super::super) struct AuditNote {
    log: Arc<dyn AuditLog>,
    row: AuditRow,
}

impl AuditNote {
    /// The row that the runbook asks for.
    pub(in super::super) fn incident_resolution(on: &Platform, run: &str, facts: &Value) -> Self {
        let row = AuditRow {
            id: Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("allclear incident_resolution {run}").as_bytes()),
            action: "incident_resolution".to_owned(),
            target_table: "campaigns".to_owned(),
            target_id: run.to_owned(),
            diff: facts.clone(),
        };
        Self { log: Arc::clone(&on.audit), row }
    }
}

#[async_trait]
impl Effect for AuditNote {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "audit.insert"
    }

    fn subject(&self) -> String {
        self.row.action.clone()
    }

    fn title(&self) -> String {
        format!("write `{}` to the platform's audit log", self.row.action)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Keyed
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        if self.log.find(self.row.id).await?.is_some() {
            return Ok(Prediction::default());
        }
        // The row's id names the run, and a plan is made before there is one.
        Ok(Prediction::of(change(
            "audit_log",
            &self.row.action,
            &self.row.action,
            "row",
            "absent",
            "present",
        )))
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        self.log.insert(&self.row).await?;
        Ok(Applied { receipt: (), says: format!("audit row {} was written", self.row.id) })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        Ok(Reconciled::DidNot { why: "inserting the same id again is no second row".to_owned() })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        let found = self.log.find(self.row.id).await?;
        let source = "audit_log (PostgREST)";
        Ok(match found {
            Some(row) if row.action == self.row.action && row.target_id == self.row.target_id => {
                Judgement::verified(
                    "the audit row is there",
                    vec![Evidence::new(source, format!("row {}", row.id))],
                )
            }
            Some(row) => Judgement::refuted(
                "the audit row has other content",
                vec![Evidence::new(source, format!("row {}: {}", row.id, row.action))],
            ),
            None => Judgement::refuted(
                "the platform accepted the audit row and does not have it",
                vec![Evidence::new(source, format!("no row {}", self.row.id))],
            ),
        })
    }
}
