//! The exchange itself: the original is taken back, and the customer gets the replacement.

use allclear_core::{Platform, PortError, Voucher, VoucherStatus};
use allclear_engine::{
    Applied, Danger, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, Prediction, Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;

use super::desk::{Desk, row_text};
use super::{ROW, Replacing, state_changed};
use crate::effects::change;

/// Takes the original back.
#[derive(Clone)]
pub(in super::super) struct VoidVoucher(Desk);

impl VoidVoucher {
    pub(in super::super) fn of(on: &Platform, what: &Replacing) -> Self {
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

    fn danger(&self) -> Danger {
        Danger::CannotBeTakenBack { why: "a void voucher stays void" }
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("a void voucher stays void")
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
pub(in super::super) struct ReleaseReplacement(Desk);

impl ReleaseReplacement {
    pub(in super::super) fn of(on: &Platform, what: &Replacing) -> Self {
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

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("the customer may have redeemed it already")
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let what = &self.0.what;
        let actual = match self.0.replacement().await? {
            Some(row) if self.0.is_held_by_us(&row) => what.held(),
            Some(row) if Desk::is_released(&row) => "issued".to_owned(),
            Some(row) => return Err(state_changed(what.case.id, Desk::not_ours(&row))),
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
