//! The incident's row in the platform's own audit log.

use std::sync::Arc;

use allclear_core::ports::{AuditLog, AuditRow};
use allclear_core::{Platform, PortError};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Halt, Intent, Judgement, NoUndo, Prediction, Reconciled, Repeat,
    Run, Step,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::change;

/// Inserts one audit row. Its id is derived from the run, so inserting it twice is inserting it once.
#[derive(Clone)]
pub(crate) struct AuditNote {
    log: Arc<dyn AuditLog>,
    row: AuditRow,
    about_run: bool,
    /// Which try it is, counted from 1: the row is the same, and each try has a name of its own in the journal.
    number: u32,
}

impl AuditNote {
    /// The row that ends an incident. `table` is what the incident was about.
    pub(crate) fn incident_resolution(on: &Platform, run: &str, table: &str, facts: &Value) -> Self {
        Self::of(on, run, "incident_resolution", table, run, facts)
    }

    /// A row about one thing that this run did. Action and target name it within the run.
    pub(crate) fn of(
        on: &Platform,
        run: &str,
        action: &str,
        table: &str,
        target: &str,
        facts: &Value,
    ) -> Self {
        let name = if target == run {
            format!("allclear {action} {run}")
        } else {
            format!("allclear {action} {target} {run}")
        };
        let row = AuditRow {
            id: Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()),
            action: action.to_owned(),
            target_table: table.to_owned(),
            target_id: target.to_owned(),
            diff: facts.clone(),
        };
        Self { log: Arc::clone(&on.audit), row, about_run: target == run, number: 1 }
    }

    /// A row about something that is done once, whichever run does it: of two that come to write it there is one row.
    pub(crate) fn once(on: &Platform, action: &str, table: &str, target: &str, facts: &Value) -> Self {
        Self::of(on, "once", action, table, target, facts)
    }

    /// The same row, tried once more where the tries before are not proven.
    pub(crate) fn numbered(self, number: u32) -> Self {
        Self { number, ..self }
    }

    /// The row of one step: another step of the run may have to write one of the same kind.
    pub(crate) fn at(mut self, step: &Step) -> Self {
        self.row.id = Uuid::new_v5(&self.row.id, step.id.as_bytes());
        self
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
        let again = if self.number > 1 { format!(" {}", self.number) } else { String::new() };
        if self.about_run {
            format!("{}{again}", self.row.action)
        } else {
            format!("{} {}{again}", self.row.action, self.row.target_id)
        }
    }

    fn title(&self) -> String {
        format!("write `{}` to the platform's audit log", self.row.action)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Keyed
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("the audit log is only added to")
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        if self.log.find(self.row.id).await?.is_some() {
            return Ok(Prediction::default());
        }
        // The row's id names the run, and a plan is made before there is one.
        let name = self.subject();
        Ok(Prediction::of(change("audit_log", &name, &name, "row", "absent", "present")))
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

/// Puts on the record that a run did not end well, when it had changed something. Ends that can be resumed are no ends.
pub(crate) async fn record_bad_end(
    run: &mut Run,
    step: &Step,
    note: AuditNote,
    halt: &Halt,
    changed_something: bool,
) -> Result<(), Halt> {
    let is_end = halt.outcome().is_some_and(allclear_engine::Outcome::is_final);
    let can_still_act = !matches!(halt, Halt::Aborted { .. } | Halt::NothingToDo { .. });
    if !is_end || !can_still_act || !changed_something {
        return Ok(());
    }
    match run.attempt(step, note).await {
        // Why the run ends matters more than that its record could not be written too; the journal has both.
        Ok(_) | Err(Halt::Failed { .. } | Halt::Refused(_) | Halt::Unverified { .. }) => Ok(()),
        Err(other) => Err(other),
    }
}
