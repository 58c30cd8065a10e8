//! Affected vouchers, one by one: status, events and redemptions side by side. No code and no number.

use std::fmt::Write as _;
use std::sync::Arc;

use allclear_core::ports::{RedemptionLog, Replacements, Vouchers};
use allclear_core::redeem::{Repetition, VoucherHistory};
use allclear_core::station::StationId;
use allclear_core::voucher::{AsSeen, StoredAmount};
use allclear_core::{Platform, PortError, Voucher, VoucherId, VoucherStatus};
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
    /// From when on nobody may redeem it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<Timestamp>,
    pub(super) history: VoucherHistory,
    /// Vouchers that say they replace this one.
    pub(super) replacements: Vec<VoucherId>,
    /// The voucher that this one says it is replaced by. A journal that does not know it leaves such a voucher to a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) replaced_by: Option<VoucherId>,
    /// How the only replacement stands; none where there is none or more than one. The same of old journals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) made: Option<Made>,
}

/// How a replacement stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "made", rename_all = "snake_case")]
pub(super) enum Made {
    /// A run made it and did not release it.
    Held(Held),
    /// The customer got it, whatever they did with it.
    Given,
    /// It is void and no run holds it: somebody took it back.
    TakenBack,
}

/// A replacement that a run made and did not release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    /// Which run.
    pub(super) by: String,
    /// Since when: when the row last changed.
    pub(super) since: Timestamp,
    /// What it would be worth, in the column that decides it.
    pub(super) amount_minor: i64,
}

impl Made {
    fn of(replacements: &[Voucher]) -> Option<Self> {
        let [only] = replacements else { return None };
        Some(match (&only.status, &only.held_by) {
            (VoucherStatus::Void, Some(by)) => Self::Held(Held {
                by: by.clone(),
                since: only.updated_at,
                amount_minor: only.amount.amount_minor,
            }),
            (VoucherStatus::Void, None) => Self::TakenBack,
            _ => Self::Given,
        })
    }
}

impl Case {
    pub(super) fn is_double(&self) -> bool {
        self.history.repetition() == Repetition::Double
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
            expires_at: voucher.expires_at,
            history,
            replaced_by: voucher.replaced_by,
            made: Made::of(&replacements),
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
