//! Replacing a voucher that was redeemed twice: hold, void, release.
//!
//! What can go wrong in the middle, and what guards it:
//!
//! * killed after the replacement was made: it is held, nobody can redeem it, and its id is derived from the original's,
//!   so the next attempt finds it instead of making a second one;
//! * killed after the original was voided: the customer has nothing for a moment; the journal knows that the release is
//!   still to come, and the held row names the run;
//! * the answer to a request is lost: the row tells whether it happened, and for each row only one answer is possible;
//! * somebody else changed the voucher: the expected state stands in the request, the database changes nothing, and the
//!   replacement stays held.

use std::sync::Arc;

use allclear_core::error::Service;
use allclear_core::ports::{NewReplacement, NewVoucherEvent, RedemptionLog, Replacements, Vouchers};
use allclear_core::{Money, Platform, PortError, Voucher, VoucherId, VoucherStatus};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, Prediction, Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::cases::Case;
use crate::effects::change;
use crate::words::counted;

const ROW: &str = "row";

/// One voucher to be replaced, with everything decided.
#[derive(Debug, Clone)]
pub(super) struct Replacing {
    pub(super) case: Case,
    /// The replacement's id: there is one for each original, whoever replaces it.
    pub(super) id: VoucherId,
    worth: Money,
    run: String,
}

impl Replacing {
    /// Decides, or says why this voucher is not for a program to replace.
    pub(super) fn of(case: &Case, run: &str) -> Result<Self, String> {
        if case.status != VoucherStatus::Redeemed {
            return Err(format!("it is {} and not redeemed; look at it by hand", case.status));
        }
        if let Some(other) = case.replacements.first() {
            return Err(format!("voucher {other} replaces it already; release or void that one by hand"));
        }
        let worth = case.amount.worth().map_err(|fault| format!("its worth cannot be told: {fault}"))?;
        let name = format!("allclear replacement of {}", case.id);
        let id = VoucherId(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()));
        Ok(Self { case: case.clone(), id, worth, run: run.to_owned() })
    }

    fn held(&self) -> String {
        format!("held, worth {}", self.worth)
    }
}

fn state_changed(voucher: VoucherId, detail: String) -> PortError {
    PortError::Rejected {
        service: Service::Supabase,
        call: format!("voucher {voucher}"),
        code: Some("state_changed".to_owned()),
        detail,
    }
}

/// What all moves need.
#[derive(Clone)]
struct Desk {
    vouchers: Arc<dyn Vouchers>,
    replacements: Arc<dyn Replacements>,
    what: Replacing,
}

impl Desk {
    fn of(on: &Platform, what: &Replacing) -> Self {
        Self {
            vouchers: Arc::clone(&on.vouchers),
            replacements: Arc::clone(&on.replacements),
            what: what.clone(),
        }
    }

    /// The only replacement that may exist. Another one stops everything: that would be two.
    async fn replacement(&self) -> Result<Option<Voucher>, PortError> {
        let mut all = self.replacements.of(self.what.case.id).await?;
        if let Some(other) = all.iter().find(|one| one.id != self.what.id) {
            let detail = format!("voucher {} replaces it too", other.id);
            return Err(state_changed(self.what.case.id, detail));
        }
        Ok(all.pop())
    }

    fn is_held_by_us(&self, voucher: &Voucher) -> bool {
        voucher.status == VoucherStatus::Void && voucher.held_by.as_deref() == Some(&self.what.run)
    }

    fn is_released(voucher: &Voucher) -> bool {
        voucher.held_by.is_none() && voucher.status != VoucherStatus::Void
    }
}

/// Shown as evidence: no code, no number.
fn row_text(voucher: Option<&Voucher>) -> String {
    match voucher {
        None => "no row".to_owned(),
        Some(voucher) => {
            let held = if voucher.held_by.is_some() { ", held" } else { "" };
            format!(
                "voucher {} is {}{held}, amount_minor {}",
                voucher.id, voucher.status, voucher.amount.amount_minor
            )
        }
    }
}

/// Makes the replacement, held.
#[derive(Clone)]
pub(super) struct ReserveReplacement(Desk);

impl ReserveReplacement {
    pub(super) fn of(on: &Platform, what: &Replacing) -> Self {
        Self(Desk::of(on, what))
    }
}

#[async_trait]
impl Effect for ReserveReplacement {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "voucher.reserve"
    }

    fn subject(&self) -> String {
        format!("voucher {}", self.0.what.id)
    }

    fn title(&self) -> String {
        format!("make a held replacement for voucher {}", self.0.what.case.id)
    }

    /// Its id is derived from the original's: a second insert is no second voucher.
    fn repeat(&self) -> Repeat {
        Repeat::Keyed
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let what = &self.0.what;
        match self.0.replacement().await? {
            Some(row) if self.0.is_held_by_us(&row) || Desk::is_released(&row) => Ok(Prediction::default()),
            Some(row) => {
                Err(state_changed(what.case.id, format!("another run holds its replacement {}", row.id)))
            }
            None => {
                let label = format!("replacement of {}", what.case.id);
                Ok(Prediction::of(change("voucher", what.id, &label, ROW, "absent", &what.held())))
            }
        }
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        let what = &self.0.what;
        let original = self.0.vouchers.find(what.case.id).await?;
        if original.as_seen() != what.case.seen {
            let detail = format!(
                "it is {} and changed {}, after it was looked at",
                original.status, original.updated_at
            );
            return Err(state_changed(what.case.id, detail));
        }
        let replacement = NewReplacement {
            id: what.id,
            original: what.case.id,
            amount: original.amount,
            msisdn: original.msisdn,
            station_scope: original.station_scope,
            campaign: original.campaign,
            held_by: what.run.clone(),
        };
        self.0.replacements.reserve(&replacement).await?;
        Ok(Applied { receipt: (), says: format!("replacement {} was made, held", what.id) })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        Ok(Reconciled::DidNot { why: "making the same replacement again makes no second one".to_owned() })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        let row = self.0.replacement().await?;
        let evidence = vec![Evidence::new("vouchers (PostgREST)", row_text(row.as_ref()))];
        let amount = |row: &Voucher| row.amount.amount_minor == self.0.what.case.amount.amount_minor;
        Ok(match row {
            Some(row) if self.0.is_held_by_us(&row) && amount(&row) => Judgement::verified(
                "there is one replacement, it is held, and it is worth the same",
                evidence,
            ),
            Some(row) if Desk::is_released(&row) => Judgement::verified("there is one replacement", evidence),
            _ => Judgement::refuted("the replacement is not there as it was made", evidence),
        })
    }
}

/// Takes the original back.
#[derive(Clone)]
pub(super) struct VoidVoucher(Desk);

impl VoidVoucher {
    pub(super) fn of(on: &Platform, what: &Replacing) -> Self {
        Self(Desk::of(on, what))
    }

    /// Whether the original was voided for our replacement; nobody else writes that.
    fn is_ours(&self, original: &Voucher) -> bool {
        original.status == VoucherStatus::Void && original.replaced_by == Some(self.0.what.id)
    }
}

#[async_trait]
impl Effect for VoidVoucher {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "voucher.void"
    }

    fn subject(&self) -> String {
        format!("voucher {}", self.0.what.case.id)
    }

    fn title(&self) -> String {
        format!("void voucher {}, which was redeemed twice", self.0.what.case.id)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let case = &self.0.what.case;
        let original = self.0.vouchers.find(case.id).await?;
        if self.is_ours(&original) {
            return Ok(Prediction::default());
        }
        if original.as_seen() != case.seen {
            let detail = format!(
                "it is {} and changed {}, after it was looked at",
                original.status, original.updated_at
            );
            return Err(state_changed(case.id, detail));
        }
        let label = case.id.to_string();
        Ok(Prediction::of(change("voucher", case.id, &label, "status", original.status.as_str(), "void")))
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        let Replacing { case, id, .. } = &self.0.what;
        match self.0.replacements.void_original(case.id, &case.seen, *id).await? {
            0 => Err(state_changed(
                case.id,
                "it changed in the last moment; the database changed nothing".to_owned(),
            )),
            _ => Ok(Applied { receipt: (), says: format!("voucher {} was voided", case.id) }),
        }
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        let original = self.0.vouchers.find(self.0.what.case.id).await?;
        Ok(if self.is_ours(&original) {
            Reconciled::Happened(Applied {
                receipt: (),
                says: "it is void and names our replacement".to_owned(),
            })
        } else {
            Reconciled::DidNot { why: format!("it is {} and names no replacement of ours", original.status) }
        })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        let original = self.0.vouchers.find(self.0.what.case.id).await?;
        let evidence = vec![Evidence::new("vouchers (PostgREST)", row_text(Some(&original)))];
        Ok(if self.is_ours(&original) {
            Judgement::verified(format!("voucher {} is void", original.id), evidence)
        } else {
            Judgement::refuted(format!("voucher {} is {}", original.id, original.status), evidence)
        })
    }
}

/// Lets the customer have the replacement.
#[derive(Clone)]
pub(super) struct ReleaseReplacement(Desk);

impl ReleaseReplacement {
    pub(super) fn of(on: &Platform, what: &Replacing) -> Self {
        Self(Desk::of(on, what))
    }
}

#[async_trait]
impl Effect for ReleaseReplacement {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "voucher.release"
    }

    fn subject(&self) -> String {
        format!("voucher {}", self.0.what.id)
    }

    fn title(&self) -> String {
        format!("release the replacement of voucher {}", self.0.what.case.id)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let what = &self.0.what;
        let actual = match self.0.replacement().await? {
            Some(row) if self.0.is_held_by_us(&row) => what.held(),
            Some(row) if Desk::is_released(&row) => "issued".to_owned(),
            Some(_) => "held by another run".to_owned(),
            None => "absent".to_owned(),
        };
        let row = foreseen.or("voucher", &what.id.to_string(), ROW, actual);
        if row == "issued" {
            return Ok(Prediction::default());
        }
        if row != what.held() {
            return Err(state_changed(what.case.id, format!("its replacement is {row}")));
        }
        let label = format!("replacement of {}", what.case.id);
        Ok(Prediction::of(change("voucher", what.id, &label, ROW, &row, "issued")))
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        let what = &self.0.what;
        match self.0.replacements.release(what.id, &what.run).await? {
            0 => Err(state_changed(
                what.id,
                "this run does not hold it; the database changed nothing".to_owned(),
            )),
            _ => Ok(Applied { receipt: (), says: format!("replacement {} was released", what.id) }),
        }
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        let row = self.0.replacement().await?;
        Ok(match row {
            Some(row) if Desk::is_released(&row) => Reconciled::Happened(Applied {
                receipt: (),
                says: format!("the replacement is {}", row.status),
            }),
            other => Reconciled::DidNot { why: row_text(other.as_ref()) },
        })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        let row = self.0.replacement().await?;
        let original = self.0.vouchers.find(self.0.what.case.id).await?;
        let evidence = vec![
            Evidence::new("vouchers (PostgREST)", row_text(row.as_ref())),
            Evidence::new("vouchers (PostgREST)", row_text(Some(&original))),
        ];
        let released = row.as_ref().is_some_and(Desk::is_released);
        Ok(if released && original.status == VoucherStatus::Void {
            Judgement::verified("the original is void and the customer has one replacement", evidence)
        } else {
            Judgement::refuted("the customer does not have exactly one voucher", evidence)
        })
    }
}

/// Adds what was done to a voucher's history.
#[derive(Clone)]
pub(super) struct RecordEvent {
    log: Arc<dyn RedemptionLog>,
    event: NewVoucherEvent,
}

impl RecordEvent {
    /// The void of the original and the issue of its replacement.
    pub(super) fn both(on: &Platform, what: &Replacing) -> [Self; 2] {
        let of = |voucher: VoucherId, kind: &str, other: (&str, VoucherId)| {
            let name = format!("allclear event {kind} {voucher} {}", what.run);
            let context = json!({ "reason": "double_redemption", "run": what.run, other.0: other.1 });
            let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
            let event = NewVoucherEvent { id, voucher, kind: kind.to_owned(), context };
            Self { log: Arc::clone(&on.redemptions), event }
        };
        [
            of(what.case.id, "void", ("replaced_by", what.id)),
            of(what.id, "issued", ("replaces", what.case.id)),
        ]
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

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let history = self.log.history(self.event.voucher).await?;
        if history.events.iter().any(|event| event.id == self.event.id) {
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
        let history = self.log.history(self.event.voucher).await?;
        let there = history.events.iter().any(|event| event.id == self.event.id);
        let shows = format!(
            "{}, ours {}",
            counted(history.events.len(), "event", "events"),
            if there { "among them" } else { "missing" }
        );
        let evidence = vec![Evidence::new("voucher_events (PostgREST)", shows)];
        Ok(if there {
            Judgement::verified("the voucher's history has the event", evidence)
        } else {
            Judgement::refuted("the voucher's history does not have the event", evidence)
        })
    }
}
