//! What all moves of a replacement look at.

use std::sync::Arc;

use allclear_core::ports::{Replacements, Vouchers};
use allclear_core::{Platform, PortError, Voucher, VoucherStatus};
use allclear_engine::{Evidence, Judgement};

use super::{Replacing, state_changed};

/// What all moves need.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) vouchers: Arc<dyn Vouchers>,
    pub(super) replacements: Arc<dyn Replacements>,
    pub(super) what: Replacing,
}

impl Desk {
    pub(super) fn of(on: &Platform, what: &Replacing) -> Self {
        Self {
            vouchers: Arc::clone(&on.vouchers),
            replacements: Arc::clone(&on.replacements),
            what: what.clone(),
        }
    }

    /// The only replacement that may exist. Another one stops everything: that would be two.
    pub(super) async fn replacement(&self) -> Result<Option<Voucher>, PortError> {
        let mut all = self.replacements.of(self.what.case.id).await?;
        if let Some(other) = all.iter().find(|one| one.id != self.what.id) {
            let detail = format!("voucher {} replaces it too", other.id);
            return Err(state_changed(self.what.case.id, detail));
        }
        Ok(all.pop())
    }

    pub(super) fn is_held_by_us(&self, voucher: &Voucher) -> bool {
        is_held_by(voucher, &self.what.run)
    }

    /// Whether there is one replacement, ours to go on with, and worth the same.
    pub(super) async fn judge_held(&self) -> Result<Judgement, PortError> {
        let row = self.replacement().await?;
        let evidence = vec![Evidence::new("vouchers (PostgREST)", row_text(row.as_ref()))];
        let amount = |row: &Voucher| row.amount.amount_minor == self.what.case.amount.amount_minor;
        Ok(match row {
            Some(row) if self.is_held_by_us(&row) && amount(&row) => Judgement::verified(
                "there is one replacement, it is held, and it is worth the same",
                evidence,
            ),
            Some(row) if Self::is_released(&row) => Judgement::verified("there is one replacement", evidence),
            _ => Judgement::refuted("the replacement is not there as it was made", evidence),
        })
    }

    pub(super) fn is_released(voucher: &Voucher) -> bool {
        voucher.held_by.is_none() && voucher.status != VoucherStatus::Void
    }

    /// Why the replacement is not this run's any more.
    pub(super) fn not_ours(row: &Voucher) -> String {
        if row.status == VoucherStatus::Void {
            let by = row.held_by.as_ref().map_or_else(|| "nobody".to_owned(), |by| format!("run {by}"));
            return format!("its replacement {} is void, and held by {by}", row.id);
        }
        format!(
            "somebody gave its replacement {} out by hand: it is {} and can be redeemed; look at both vouchers",
            row.id, row.status
        )
    }

    /// Why the customer has not what the run gave, once it gave it: exactly one voucher. `None` where it is so.
    pub(super) async fn does_not_stand(&self) -> Result<Option<String>, PortError> {
        let original = self.what.case.id;
        let all = self.replacements.of(original).await?;
        if let Some(other) = all.iter().find(|one| one.id != self.what.id) {
            return Ok(Some(format!(
                "voucher {} replaces voucher {original} too: its customer has two",
                other.id
            )));
        }
        if !all.first().is_some_and(Self::is_released) {
            return Ok(Some(format!(
                "the replacement of voucher {original} was taken back by somebody else after it was released: its customer has no \
                 voucher"
            )));
        }
        let status = self.vouchers.find(original).await?.status;
        Ok((status != VoucherStatus::Void).then(|| {
            format!(
                "somebody else gave voucher {original} back, beside its replacement: it is {status}, and its customer has two"
            )
        }))
    }
}

pub(super) fn is_held_by(voucher: &Voucher, run: &str) -> bool {
    voucher.status == VoucherStatus::Void && voucher.held_by.as_deref() == Some(run)
}

/// Shown as evidence: no code, no number.
pub(super) fn row_text(voucher: Option<&Voucher>) -> String {
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
