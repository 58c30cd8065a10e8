//! Affected vouchers, one by one: status, events and redemptions side by side. No code and no number.

use std::fmt::Write as _;
use std::sync::Arc;

use allclear_core::ports::{RedemptionLog, Replacements, Vouchers};
use allclear_core::redeem::VoucherHistory;
use allclear_core::station::StationId;
use allclear_core::voucher::{AsSeen, StoredAmount};
use allclear_core::{Platform, PortError, VoucherId, VoucherStatus};
use allclear_engine::{Evidence, Note, Observation, Probe};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::words::counted;

/// How many of the latest events are shown.
const LATEST: usize = 3;

/// One voucher as it was seen. What is done to it later expects exactly this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Case {
    pub(super) id: VoucherId,
    pub(super) status: VoucherStatus,
    pub(super) seen: AsSeen,
    pub(super) amount: StoredAmount,
    pub(super) customer: String,
    pub(super) scope: Option<StationId>,
    pub(super) history: VoucherHistory,
    /// Vouchers that say they replace this one.
    pub(super) replacements: Vec<VoucherId>,
}

impl Case {
    pub(super) fn is_double(&self) -> bool {
        self.history.times_redeemed() > 1
    }

    /// Status, events and redemptions, as people compare them.
    pub(super) fn side_by_side(&self) -> String {
        let worth = self.amount.worth().map_or_else(|fault| fault.to_string(), |worth| worth.to_string());
        let mut text = format!("voucher {} of {}: {}, {worth}", self.id, self.customer, self.status);
        for redemption in &self.history.redemptions {
            let station = redemption
                .station
                .map_or_else(|| "an unknown station".to_owned(), |id| format!("station {id}"));
            let _ = write!(text, "\n  redeemed {} at {station}", redemption.at);
        }
        let events = &self.history.events;
        for event in &events[events.len().saturating_sub(LATEST)..] {
            let _ = write!(text, "\n  event {} {}", event.kind, event.at);
        }
        text
    }

    pub(super) fn affected(&self) -> Note {
        Note::Affected {
            kind: "voucher".to_owned(),
            id: self.id.to_string(),
            label: self.id.to_string(),
            says: format!(
                "it is {}, with {} and {}, {}",
                self.status,
                counted(self.history.events.len(), "event", "events"),
                counted(self.history.redemptions.len(), "redemption", "redemptions"),
                counted(self.history.replays(), "of them a replay", "of them replays")
            ),
        }
    }
}

/// Reads affected vouchers.
pub(super) struct Cases {
    vouchers: Arc<dyn Vouchers>,
    log: Arc<dyn RedemptionLog>,
    replacements: Arc<dyn Replacements>,
    ids: Vec<VoucherId>,
}

impl Cases {
    pub(super) fn of(on: &Platform, ids: &[VoucherId]) -> Self {
        Self {
            vouchers: Arc::clone(&on.vouchers),
            log: Arc::clone(&on.redemptions),
            replacements: Arc::clone(&on.replacements),
            ids: ids.to_vec(),
        }
    }

    async fn case(&self, id: VoucherId) -> Result<Case, PortError> {
        // The history first: had the voucher changed in between, its `updated_at` would say so later.
        let history = self.log.history(id).await?;
        let replacements = self.replacements.of(id).await?;
        let voucher = self.vouchers.find(id).await?;
        Ok(Case {
            id,
            seen: voucher.as_seen(),
            status: voucher.status,
            amount: voucher.amount,
            customer: voucher.msisdn.to_string(),
            scope: voucher.station_scope,
            history,
            replacements: replacements.into_iter().map(|replacement| replacement.id).collect(),
        })
    }
}

#[async_trait]
impl Probe for Cases {
    type Value = Vec<Case>;

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Vec<Case>>, PortError> {
        let (mut cases, mut evidence) = (Vec::new(), Vec::new());
        for id in &self.ids {
            let case = self.case(*id).await?;
            let source = "vouchers, voucher_events and voucher_redemptions (PostgREST)";
            evidence.push(Evidence::new(source, case.side_by_side()));
            cases.push(case);
        }
        let says = format!(
            "{} compared with their events and redemptions",
            counted(cases.len(), "affected voucher was", "affected vouchers were")
        );
        Ok(Observation { value: cases, says, evidence })
    }
}
