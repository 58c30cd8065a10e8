//! What was done to a voucher, in its history.

use std::sync::Arc;

use allclear_core::ports::{NewVoucherEvent, RedemptionLog};
use allclear_core::{Platform, PortError, VoucherId};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, Prediction, Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::replace::Replacing;
use crate::effects::change;

/// Of an event, whether it is there.
const ROW: &str = "row";

/// Adds what was done to a voucher's history.
#[derive(Clone)]
pub(super) struct RecordEvent {
    log: Arc<dyn RedemptionLog>,
    event: NewVoucherEvent,
    /// Whether it is added only where the voucher has none of its kind: what another run did is on record however that put it.
    only_of_its_kind: bool,
}

impl RecordEvent {
    /// The void of the original and the issue of its replacement. Their ids name the two vouchers, so that whichever run comes to
    /// add them, there is one of each.
    pub(super) fn both(on: &Platform, what: &Replacing) -> [Self; 2] {
        let of = |voucher: VoucherId, kind: &str, other: (&str, VoucherId)| {
            let name = format!("allclear event {kind} {voucher} {}", other.1);
            let context = json!({ "reason": "double_redemption", "run": what.run, other.0: other.1 });
            let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
            let event = NewVoucherEvent { id, voucher, kind: kind.to_owned(), context };
            Self { log: Arc::clone(&on.redemptions), event, only_of_its_kind: false }
        };
        [
            of(what.case.id, "void", ("replaced_by", what.id)),
            of(what.id, "issued", ("replaces", what.case.id)),
        ]
    }

    /// The same for what another run did, which may have ended before it came to them.
    pub(super) fn missing(on: &Platform, what: &Replacing) -> [Self; 2] {
        Self::both(on, what).map(|event| Self { only_of_its_kind: true, ..event })
    }

    async fn is_there(&self) -> Result<bool, PortError> {
        let history = self.log.history(self.event.voucher).await?;
        let of_its_kind = |kind: &str| self.only_of_its_kind && kind == self.event.kind;
        Ok(history.events.iter().any(|event| event.id == self.event.id || of_its_kind(&event.kind)))
    }
}

#[async_trait]
impl Effect for RecordEvent {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "voucher.event"
    }

    fn subject(&self) -> String {
        format!("voucher {} {}", self.event.voucher, self.event.kind)
    }

    fn title(&self) -> String {
        format!("add the event {} to voucher {}", self.event.kind, self.event.voucher)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Keyed
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("a voucher's history is only added to")
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        if self.is_there().await? {
            return Ok(Prediction::default());
        }
        let name = self.subject();
        Ok(Prediction::of(change("voucher_event", &name, &name, ROW, "absent", "present")))
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        self.log.add_event(&self.event).await?;
        Ok(Applied { receipt: (), says: format!("event {} was added", self.event.kind) })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        Ok(Reconciled::DidNot { why: "adding the same event again adds no second one".to_owned() })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        let there = self.is_there().await?;
        let shows = format!("event {} is {}", self.event.kind, if there { "there" } else { "missing" });
        let evidence = vec![Evidence::new("voucher_events (PostgREST)", shows)];
        Ok(if there {
            Judgement::verified("the voucher's history has the event", evidence)
        } else {
            Judgement::refuted("the voucher's history does not have the event", evidence)
        })
    }
}
