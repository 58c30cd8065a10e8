//! Restoring the backup into staging, and proving that staging is equal to the backup's snapshot.
//!
//! What can go wrong, and what guards it:
//!
//! * the target is production, or may be: source and target are compared before the exercise begins, before anybody is
//!   asked, after the confirmation, and once more in the effect itself, right before it restores;
//! * somebody confirms without looking: the target must be typed;
//! * killed in the middle: staging itself says which backup it holds, by a mark that is set together with the swap.

use std::sync::Arc;

use allclear_core::error::Service;
use allclear_core::platform::Recovery;
use allclear_core::ports::StagingDatabase;
use allclear_core::recovery::{BackupId, DatabaseIdentity, Parity, Restored, TargetCheck};
use allclear_core::{PortError, recovery::TableParity};
use allclear_engine::{
    Applied, Danger, Effect, Evidence, Foreseen, Halt, Intent, Judgement, NoUndo, Observation, Patience,
    Prediction, Probe, Reconciled, Refusal, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;

use super::words::count;
use crate::effects::change;

/// The code of our own refusal when the target is not what was confirmed.
const TARGET_CHANGED: &str = "target_changed";

/// Compares source and target.
pub(super) struct Comparison {
    staging: Arc<dyn StagingDatabase>,
    when: &'static str,
}

impl Comparison {
    /// `when` tells several looks apart.
    pub(super) fn of(recovery: &Recovery, when: &'static str) -> Self {
        Self { staging: Arc::clone(&recovery.staging), when }
    }
}

/// One server, as a line for people.
pub(super) fn server_says(one: &DatabaseIdentity) -> String {
    format!("{one}, cluster {}, PostgreSQL {}", one.system_identifier, one.server_version)
}

#[async_trait]
impl Probe for Comparison {
    type Value = TargetCheck;

    fn subject(&self) -> String {
        self.when.to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<TargetCheck>, PortError> {
        let check = self.staging.compare().await?;
        let says = if check.objections.is_empty() {
            format!("nothing speaks against restoring {} into {}", check.source, check.target)
        } else {
            format!("{} must not be restored into {}: {}", check.source, check.target, objections(&check))
        };
        let evidence = vec![
            Evidence::new("the source's own answer", server_says(&check.source)),
            Evidence::new("the target's own answer", server_says(&check.target)),
        ];
        Ok(Observation { value: check, says, evidence })
    }
}

fn objections(check: &TargetCheck) -> String {
    check.objections.join("; ")
}

/// Refuses where anything speaks against the target.
pub(super) fn must_be_fit(check: &TargetCheck) -> Result<(), Halt> {
    if check.objections.is_empty() {
        return Ok(());
    }
    let what = format!(
        "nothing is restored into {}: {}; correct the staging database's configuration",
        check.target,
        objections(check)
    );
    Err(Refusal::Limit { what }.into())
}

/// Refuses where the target is not what was shown when it was confirmed.
pub(super) fn must_be_as_confirmed(confirmed: &TargetCheck, now: &TargetCheck) -> Result<(), Halt> {
    if confirmed == now {
        return Ok(());
    }
    Err(Refusal::Drift { what: moved(confirmed, now) }.into())
}

fn moved(confirmed: &TargetCheck, now: &TargetCheck) -> String {
    let against = if now.objections.is_empty() { String::new() } else { format!(" ({})", objections(now)) };
    format!(
        "confirmed was {} into {}, and now it is {} into {}{against}",
        server_says(&confirmed.source),
        server_says(&confirmed.target),
        server_says(&now.source),
        server_says(&now.target)
    )
}

/// A restore that refused because the target had changed is a refusal of the run, not a failure of a service.
pub(super) fn as_refusal(halt: Halt) -> Halt {
    match halt {
        Halt::Failed { error: PortError::Rejected { code: Some(code), detail, .. }, .. }
            if code == TARGET_CHANGED =>
        {
            Refusal::Drift { what: detail }.into()
        }
        other => other,
    }
}

/// Restores the backup into the target that was confirmed, and into no other.
#[derive(Clone)]
pub(super) struct RestoreBackup {
    staging: Arc<dyn StagingDatabase>,
    id: BackupId,
    confirmed: TargetCheck,
}

impl RestoreBackup {
    pub(super) fn into_confirmed(recovery: &Recovery, id: &BackupId, confirmed: &TargetCheck) -> Self {
        Self { staging: Arc::clone(&recovery.staging), id: id.clone(), confirmed: confirmed.clone() }
    }
}

/// What was restored, in one sentence.
pub(super) fn restored_says(restored: &Restored) -> String {
    let before = restored
        .put_aside
        .as_ref()
        .map_or_else(String::new, |place| format!("; what it held before is in {place}"));
    format!(
        "{} with {} are in place{before}",
        count(restored.tables, "table", "tables"),
        count(restored.rows, "row", "rows")
    )
}

#[async_trait]
impl Effect for RestoreBackup {
    /// `None` where staging held it already, or a person said so.
    type Receipt = Option<Restored>;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "staging.restore"
    }

    fn subject(&self) -> String {
        format!("database {}", self.confirmed.target)
    }

    fn title(&self) -> String {
        format!("restore backup {} from the bucket into {}", self.id, self.confirmed.target)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("what staging held before was replaced; restore another backup there")
    }

    fn danger(&self) -> Danger {
        Danger::CannotBeTakenBack { why: "what the database holds is replaced" }
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        if self.staging.find(&self.id).await?.is_some() {
            return Ok(Prediction::default());
        }
        let target = self.confirmed.target.to_string();
        let after = format!("backup {}", self.id);
        Ok(Prediction::of(change("database", &target, &target, "content", "what it holds now", &after))
            .note("swapped in only when it is whole; what staging held is put aside"))
    }

    fn foresee(&self, _prediction: &Prediction) -> Option<Restored> {
        None
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<Option<Restored>>, PortError> {
        let now = self.staging.compare().await?;
        if now != self.confirmed {
            return Err(PortError::Rejected {
                service: Service::Database,
                call: self.title(),
                code: Some(TARGET_CHANGED.to_owned()),
                detail: moved(&self.confirmed, &now),
            });
        }
        let restored = self.staging.restore(&self.id).await?;
        Ok(Applied { says: restored_says(&restored), receipt: Some(restored) })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<Option<Restored>>, PortError> {
        Ok(match self.staging.find(&self.id).await? {
            Some(restored) => Reconciled::Happened(Applied {
                says: format!("staging holds it: {}", restored_says(&restored)),
                receipt: Some(restored),
            }),
            None => Reconciled::DidNot { why: "staging does not hold it".to_owned() },
        })
    }

    /// The mark is set in the swap's own transaction: it is there at once, or never.
    fn patience(&self) -> Patience {
        Patience { every: std::time::Duration::from_secs(1), within: std::time::Duration::from_secs(5) }
    }

    async fn verify(
        &self,
        _intent: &Intent,
        receipt: &Option<Restored>,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let found = self.staging.find(&self.id).await?;
        let shows = found.as_ref().map_or_else(|| "another content".to_owned(), restored_says);
        let evidence = vec![Evidence::new("staging, asked again", shows)];
        let as_restored = |found: &Restored| {
            receipt.as_ref().is_none_or(|one| (one.tables, one.rows) == (found.tables, found.rows))
        };
        Ok(match found {
            Some(found) if as_restored(&found) => {
                Judgement::verified(format!("staging holds backup {}", self.id), evidence)
            }
            Some(_) => Judgement::refuted("staging holds the backup with another number of rows", evidence),
            None => Judgement::refuted("staging does not hold the backup", evidence),
        })
    }
}

/// What staging says it holds.
pub(super) struct InStaging {
    staging: Arc<dyn StagingDatabase>,
    id: BackupId,
}

impl InStaging {
    pub(super) fn of(recovery: &Recovery, id: &BackupId) -> Self {
        Self { staging: Arc::clone(&recovery.staging), id: id.clone() }
    }
}

#[async_trait]
impl Probe for InStaging {
    type Value = Option<Restored>;

    fn subject(&self) -> String {
        format!("backup {} in staging", self.id)
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Option<Restored>>, PortError> {
        let found = self.staging.find(&self.id).await?;
        let says = found.as_ref().map_or_else(|| "staging does not hold it yet".to_owned(), restored_says);
        Ok(Observation { value: found, evidence: vec![Evidence::new("staging", says.clone())], says })
    }
}

/// Compares staging with the backup's snapshot.
pub(super) struct ParityCheck {
    staging: Arc<dyn StagingDatabase>,
    id: BackupId,
}

impl ParityCheck {
    pub(super) fn of(recovery: &Recovery, id: &BackupId) -> Self {
        Self { staging: Arc::clone(&recovery.staging), id: id.clone() }
    }
}

#[async_trait]
impl Probe for ParityCheck {
    type Value = Parity;

    fn subject(&self) -> String {
        "parity".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Parity>, PortError> {
        let parity = self.staging.parity(&self.id).await?;
        let says = super::files::parity_says(&parity);
        let source = "staging and the backup's manifest, rows and digests";
        let different: Vec<&TableParity> = parity.tables.iter().filter(|one| !one.is_equal()).collect();
        let mut evidence: Vec<Evidence> =
            different.iter().map(|one| Evidence::new(source, super::files::table_says(one))).collect();
        evidence.extend(
            parity.different.iter().map(|one| Evidence::new(source, format!("{} {}", one.object, one.says))),
        );
        if evidence.is_empty() {
            evidence.push(Evidence::new(source, says.clone()));
        }
        Ok(Observation { value: parity, says, evidence })
    }
}
