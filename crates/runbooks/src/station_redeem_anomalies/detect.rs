//! Probes over many redemptions and attempts: pages pass by, and only what repeats or was refused is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use allclear_core::ports::{RedemptionExports, RedemptionLog, Vouchers};
use allclear_core::redeem::{RedeemAttempt, RedeemOutcome, Repetition};
use allclear_core::redemption::Repeats;
use allclear_core::{Platform, PortError, VoucherId, VoucherStatus};
use allclear_engine::{Evidence, Observation, Probe};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Input;
use super::found::{Found, Refused};
use crate::words::counted;

/// Rows asked for at a time: what PostgREST gives at most by default.
const PAGE: u32 = 1_000;
/// How many refused vouchers are looked at one by one; more are a matter for the vendor and not for one run.
pub(super) const MOST_REFUSED: usize = 500;

/// Looks for double redemptions and refusals.
pub(super) struct Anomalies {
    log: Arc<dyn RedemptionLog>,
    exports: Arc<dyn RedemptionExports>,
    vouchers: Arc<dyn Vouchers>,
    input: Input,
    since: Timestamp,
}

impl Anomalies {
    pub(super) fn over(on: &Platform, input: &Input, since: Timestamp) -> Self {
        Self {
            log: Arc::clone(&on.redemptions),
            exports: Arc::clone(&on.redemption_exports),
            vouchers: Arc::clone(&on.vouchers),
            input: input.clone(),
            since,
        }
    }

    fn concerns(&self, voucher: VoucherId) -> bool {
        self.input.vouchers.is_empty() || self.input.vouchers.contains(&voucher)
    }

    /// Vouchers with more than one redemption, told apart by their whole history: a fingerprint can collide and a file can be
    /// wrong, so what the platform says of each decides.
    async fn repeats(&self, since: Timestamp, found: &mut Found) -> Result<(), PortError> {
        let claimed = match &self.input.events {
            Some(file) => self.claimed_by(file, found).await?,
            None => BTreeSet::new(),
        };
        let streamed =
            if self.input.vouchers.is_empty() { self.streamed(since, found).await? } else { BTreeSet::new() };
        let named = self.named(found).await?;
        let candidates = claimed.iter().chain(&streamed).chain(&named).copied();
        for voucher in candidates.collect::<BTreeSet<_>>() {
            let history = self.log.history(voucher).await?;
            if named.contains(&voucher) {
                found.redemptions += history.redemptions.len() as u64;
                if history.redemptions.is_empty() {
                    found.silent.push(voucher);
                }
            }
            let in_question = self.input.events.is_none() || claimed.contains(&voucher);
            match history.repetition() {
                Repetition::None if history.redeemed_events() > 1 => found.by_events.push(voucher),
                Repetition::None if claimed.contains(&voucher) => found.unconfirmed.push(voucher),
                Repetition::None => {}
                _ if !in_question => found.unfiled.push(voucher),
                Repetition::Double => found.doubles.push(voucher),
                Repetition::Doubtful => found.doubtful.push(voucher),
                Repetition::Replayed => found.replayed.push(voucher),
            }
        }
        Ok(())
    }

    /// Vouchers that were asked about by name: each is read, so that one that does not exist is told and not passed over.
    async fn named(&self, found: &mut Found) -> Result<Vec<VoucherId>, PortError> {
        for voucher in &self.input.vouchers {
            self.vouchers.find(*voucher).await?;
            found.named += 1;
        }
        Ok(self.input.vouchers.clone())
    }

    async fn claimed_by(&self, file: &Path, found: &mut Found) -> Result<BTreeSet<VoucherId>, PortError> {
        let claims = self.exports.repeats(file).await?;
        found.in_file = Some(claims.redemptions);
        Ok(claims.vouchers.into_iter().filter(|voucher| self.concerns(*voucher)).collect())
    }

    /// Pages pass by, and of each redemption a few bytes are kept. A voucher that was redeemed before the window too is a
    /// candidate: the window bounds what is looked at, not how far back a voucher's story goes.
    async fn streamed(&self, since: Timestamp, found: &mut Found) -> Result<BTreeSet<VoucherId>, PortError> {
        let mut repeats = Repeats::with_capacity(PAGE as usize);
        let mut earlier = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.log.redemptions(since, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            found.redemptions += page.len() as u64;
            for seen in &page {
                repeats.see(seen.voucher.0);
            }
            let vouchers: Vec<VoucherId> = page.iter().map(|seen| seen.voucher).collect();
            earlier.extend(self.log.redeemed_before(&vouchers, since).await?);
        }
        earlier.extend(repeats.repeated());
        Ok(earlier)
    }

    /// Where the redemptions came from.
    fn redemptions_seen(&self, found: &Found, since: Timestamp) -> Vec<Evidence> {
        let shows = format!("{} since {since}", found.redemptions);
        let platform = Evidence::new("voucher_redemptions (PostgREST)", shows);
        let Some(file) = &self.input.events else { return vec![platform] };
        let confirmed = format!(
            "{} read again, {} of them confirmed",
            counted(found.candidates(), "candidate was", "candidates were"),
            found.doubles.len() + found.replayed.len() + found.doubtful.len()
        );
        vec![
            platform,
            Evidence::new(
                format!("the exported file {}", file.display()),
                counted(found.in_file.unwrap_or_default(), "redemption", "redemptions"),
            ),
            Evidence::new("voucher_events and voucher_redemptions (PostgREST)", confirmed),
        ]
    }

    /// Refusals of vouchers that were valid then. A voucher that was used up or taken back since is none, and neither is one
    /// whose date had passed.
    async fn refusals(&self, since: Timestamp, now: Timestamp, found: &mut Found) -> Result<(), PortError> {
        let mut refused: BTreeMap<(VoucherId, String), Refused> = BTreeMap::new();
        let (mut tried, mut unknown, mut beyond) = (BTreeSet::new(), 0, 0);
        found.attempts = each_attempt(&*self.log, since, |attempt| {
            let Some(voucher) = attempt.voucher else {
                let told_so = attempt.outcome == RedeemOutcome::NotFound;
                unknown += u64::from(!told_so && self.input.vouchers.is_empty());
                return;
            };
            if !self.concerns(voucher) {
                return;
            }
            if !self.input.vouchers.is_empty() {
                tried.insert(voucher);
            }
            if attempt.outcome == RedeemOutcome::Redeemed {
                return;
            }
            let key = (voucher, attempt.outcome.to_string());
            if refused.len() >= MOST_REFUSED && !refused.contains_key(&key) {
                beyond += 1;
                return;
            }
            let (station, outcome) = (attempt.station, attempt.outcome.clone());
            let new = Refused { voucher, station, outcome, times: 0, first_at: attempt.at };
            let refusal = refused.entry(key).or_insert(new);
            refusal.times += 1;
            refusal.first_at = refusal.first_at.min(attempt.at);
        })
        .await?;
        (found.unknown, found.beyond) = (unknown, beyond);
        found.silent.retain(|voucher| !tried.contains(voucher));
        let mut expired = BTreeSet::new();
        for refusal in refused.into_values() {
            let voucher = self.vouchers.find(refusal.voucher).await?;
            let over = voucher.is_expired_at(now) || voucher.status == VoucherStatus::Expired;
            let dated_before = voucher.expires_at.is_none() && voucher.status == VoucherStatus::Expired;
            if voucher.is_expired_at(refusal.first_at) || dated_before {
                continue;
            }
            if over
                && matches!(
                    voucher.status,
                    VoucherStatus::Issued | VoucherStatus::Sent | VoucherStatus::Expired
                )
            {
                expired.insert(refusal.voucher);
            } else if voucher.status.is_redeemable() {
                found.refused.push(refusal);
            }
        }
        found.expired_since = expired.into_iter().collect();
        Ok(())
    }
}

/// Shows every attempt to `look`, page by page; returns how many there were.
async fn each_attempt(
    log: &dyn RedemptionLog,
    since: Timestamp,
    mut look: impl FnMut(&RedeemAttempt) + Send,
) -> Result<u64, PortError> {
    let (mut after, mut count) = (None, 0);
    loop {
        let page = log.attempts(since, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(count) };
        after = Some(last.id);
        count += page.len() as u64;
        page.iter().for_each(&mut look);
    }
}

#[async_trait]
impl Probe for Anomalies {
    type Value = Found;

    async fn observe(&self, now: Timestamp) -> Result<Observation<Found>, PortError> {
        let since = self.since;
        let mut found = Found::default();
        self.repeats(since, &mut found).await?;
        self.refusals(since, now, &mut found).await?;
        let says = format!(
            "{} redeemed twice, {} stored again by replays, and {} refused, in {} and {}",
            counted(found.doubles.len(), "voucher was", "vouchers were"),
            counted(found.replayed.len(), "was", "were"),
            counted(found.refused.len(), "valid one was", "valid ones were"),
            counted(found.redemptions, "redemption", "redemptions"),
            counted(found.attempts, "attempt", "attempts")
        );
        let mut evidence = self.redemptions_seen(&found, since);
        evidence.push(Evidence::new(
            "requests of the station app (webhook_logs, PostgREST)",
            format!("{} since {since}", found.attempts),
        ));
        Ok(Observation { value: found, says, evidence })
    }
}

/// One idempotency key that came with several vouchers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Collision {
    pub(super) station: Uuid,
    pub(super) vouchers: BTreeSet<VoucherId>,
}

/// Looks for keys that do not tell vouchers apart.
pub(super) struct KeyUse {
    log: Arc<dyn RedemptionLog>,
    since: Timestamp,
}

impl KeyUse {
    pub(super) fn over(on: &Platform, since: Timestamp) -> Self {
        Self { log: Arc::clone(&on.redemptions), since }
    }
}

/// Station and key as one id, so that millions of them need little room.
fn used(attempt: &RedeemAttempt) -> Option<(Uuid, Uuid)> {
    let (station, key) = (attempt.station?, attempt.key.as_deref()?);
    Some((station, Uuid::new_v5(&station, key.as_bytes())))
}

#[async_trait]
impl Probe for KeyUse {
    type Value = Vec<Collision>;

    /// Two passes: which keys came more than once, then what they came with. A key that came again with the same
    /// voucher is a repetition, which is what keys are for.
    async fn observe(&self, _now: Timestamp) -> Result<Observation<Vec<Collision>>, PortError> {
        let since = self.since;
        let mut repeats = Repeats::with_capacity(PAGE as usize);
        let attempts = each_attempt(&*self.log, since, |attempt| {
            if let Some((_, key)) = used(attempt) {
                repeats.see(key);
            }
        })
        .await?;
        let repeated: BTreeSet<Uuid> = repeats.repeated().into_iter().map(|id| id.0).collect();
        let mut by_key: BTreeMap<Uuid, Collision> = BTreeMap::new();
        if !repeated.is_empty() {
            each_attempt(&*self.log, since, |attempt| {
                let (Some((station, key)), Some(voucher)) = (used(attempt), attempt.voucher) else { return };
                if repeated.contains(&key) {
                    let collision =
                        by_key.entry(key).or_insert(Collision { station, vouchers: BTreeSet::new() });
                    collision.vouchers.insert(voucher);
                }
            })
            .await?;
        }
        let collisions: Vec<Collision> =
            by_key.into_values().filter(|collision| collision.vouchers.len() > 1).collect();
        let says = format!(
            "{} came with more than one voucher, in {}",
            counted(collisions.len(), "idempotency key", "idempotency keys"),
            counted(attempts, "attempt", "attempts")
        );
        let evidence =
            vec![Evidence::new("requests of the station app (webhook_logs, PostgREST)", says.clone())];
        Ok(Observation { value: collisions, says, evidence })
    }
}
