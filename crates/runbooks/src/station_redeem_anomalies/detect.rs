//! Probes over many redemptions and attempts: pages pass by, and only what repeats or was refused is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use allclear_core::ports::{RedemptionExports, RedemptionLog, Vouchers};
use allclear_core::redeem::{RedeemAttempt, RedeemOutcome};
use allclear_core::redemption::Repeats;
use allclear_core::{Platform, PortError, VoucherId};
use allclear_engine::{Evidence, Observation, Probe};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Input;
use super::cases::Case;
use crate::words::counted;

/// Rows asked for at a time: what PostgREST gives at most by default.
const PAGE: u32 = 1_000;
/// How many refused vouchers are looked at one by one; more are a matter for the vendor and not for one run.
const MOST_REFUSED: usize = 500;

/// A valid voucher that a station refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refused {
    pub(super) voucher: VoucherId,
    pub(super) station: Option<Uuid>,
    pub(super) outcome: RedeemOutcome,
    pub(super) times: u64,
}

/// What detection found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    redemptions: u64,
    attempts: u64,
    /// Redeemed by two different attempts.
    doubles: Vec<VoucherId>,
    /// Redeemed once and stored again by a replay.
    replayed: Vec<VoucherId>,
    /// Claimed to be redeemed more than once by a file, and not by the platform. Empty where no file was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unconfirmed: Vec<VoucherId>,
    pub(super) refused: Vec<Refused>,
}

impl Found {
    /// Whether somebody must do something.
    pub(super) fn needs_hands(&self) -> bool {
        !self.doubles.is_empty() || !self.refused.is_empty()
    }

    pub(super) fn all_clear(&self) -> String {
        format!(
            "all clear: {} and {} show no double redemption and no valid voucher that was refused; {} stored again by replays",
            counted(self.redemptions, "redemption", "redemptions"),
            counted(self.attempts, "attempt", "attempts"),
            counted(self.replayed.len(), "was", "were")
        )
    }

    /// How many vouchers were read one by one.
    fn candidates(&self) -> u64 {
        (self.doubles.len() + self.replayed.len() + self.unconfirmed.len()) as u64
    }

    /// Each affected voucher once.
    pub(super) fn affected(&self) -> Vec<VoucherId> {
        let refused = self.refused.iter().map(|refused| refused.voucher);
        self.doubles.iter().copied().chain(refused).collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let mut counts = vec![
            ("redemptions looked at", self.redemptions),
            ("attempts of stations looked at", self.attempts),
            ("vouchers redeemed twice", self.doubles.len() as u64),
            ("vouchers stored again by a replay", self.replayed.len() as u64),
            ("valid vouchers that a station refused", self.refused.len() as u64),
        ];
        if !self.unconfirmed.is_empty() {
            counts.push(("vouchers that only the file shows twice", self.unconfirmed.len() as u64));
        }
        counts
    }

    pub(super) fn facts(&self) -> serde_json::Value {
        self.counts()
            .iter()
            .map(|(what, count)| ((*what).to_owned(), (*count).into()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// Refusals that neither a scope nor a key explains.
    pub(super) fn unexplained(&self, cases: &[Case]) -> Vec<String> {
        let explained = |refused: &&Refused| {
            matches!(refused.outcome, RedeemOutcome::InvalidStation | RedeemOutcome::Replay)
        };
        let status = |voucher: VoucherId| {
            cases
                .iter()
                .find(|case| case.id == voucher)
                .map_or_else(String::new, |case| format!(", it is {}", case.status))
        };
        self.refused
            .iter()
            .filter(|refused| !explained(refused))
            .map(|refused| {
                format!(
                    "voucher {} is valid and a station was told {}{}",
                    refused.voucher,
                    refused.outcome,
                    status(refused.voucher)
                )
            })
            .collect()
    }
}

/// Looks for double redemptions and refusals.
pub(super) struct Anomalies {
    log: Arc<dyn RedemptionLog>,
    exports: Arc<dyn RedemptionExports>,
    vouchers: Arc<dyn Vouchers>,
    input: Input,
}

impl Anomalies {
    pub(super) fn over(on: &Platform, input: &Input) -> Self {
        Self {
            log: Arc::clone(&on.redemptions),
            exports: Arc::clone(&on.redemption_exports),
            vouchers: Arc::clone(&on.vouchers),
            input: input.clone(),
        }
    }

    fn concerns(&self, voucher: VoucherId) -> bool {
        self.input.vouchers.is_empty() || self.input.vouchers.contains(&voucher)
    }

    /// Vouchers with more than one redemption, told apart by their whole history: a fingerprint can collide and a file can be
    /// wrong, so what the platform says of each decides.
    async fn repeats(&self, since: Timestamp, found: &mut Found) -> Result<(), PortError> {
        let candidates = match &self.input.events {
            Some(file) => self.claimed_by(file, found).await?,
            None => self.streamed(since, found).await?,
        };
        for voucher in candidates {
            let history = self.log.history(voucher).await?;
            if history.times_redeemed() > 1 {
                found.doubles.push(voucher);
            } else if history.replays() > 0 {
                found.replayed.push(voucher);
            } else if self.input.events.is_some() {
                found.unconfirmed.push(voucher);
            }
        }
        Ok(())
    }

    async fn claimed_by(&self, file: &Path, found: &mut Found) -> Result<Vec<VoucherId>, PortError> {
        let claims = self.exports.repeats(file).await?;
        found.redemptions = claims.redemptions;
        Ok(claims.vouchers.into_iter().filter(|voucher| self.concerns(*voucher)).collect())
    }

    /// Pages pass by, and of each redemption a few bytes are kept.
    async fn streamed(&self, since: Timestamp, found: &mut Found) -> Result<Vec<VoucherId>, PortError> {
        let mut repeats = Repeats::with_capacity(PAGE as usize);
        let mut after = None;
        loop {
            let page = self.log.redemptions(since, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            found.redemptions += page.len() as u64;
            for seen in page.iter().filter(|seen| self.concerns(seen.voucher)) {
                repeats.see(seen.voucher.0);
            }
        }
        Ok(repeats.repeated())
    }

    /// Where the redemptions came from.
    fn redemptions_seen(&self, found: &Found, since: Timestamp) -> Vec<Evidence> {
        let Some(file) = &self.input.events else {
            let shows = format!("{} since {since}", found.redemptions);
            return vec![Evidence::new("voucher_redemptions (PostgREST)", shows)];
        };
        let confirmed = format!(
            "{} read again, {} of them confirmed",
            counted(found.candidates(), "candidate was", "candidates were"),
            found.doubles.len() + found.replayed.len()
        );
        vec![
            Evidence::new(
                format!("the exported file {}", file.display()),
                counted(found.redemptions, "redemption", "redemptions"),
            ),
            Evidence::new("voucher_events and voucher_redemptions (PostgREST)", confirmed),
        ]
    }

    /// Refusals of vouchers that could be redeemed now. A voucher that was used up or taken back since is none.
    async fn refusals(&self, since: Timestamp, found: &mut Found) -> Result<(), PortError> {
        let mut refused: BTreeMap<(VoucherId, String), Refused> = BTreeMap::new();
        found.attempts = each_attempt(&*self.log, since, |attempt| {
            let Some(voucher) = attempt.voucher.filter(|voucher| self.concerns(*voucher)) else { return };
            if attempt.outcome == RedeemOutcome::Redeemed || refused.len() >= MOST_REFUSED {
                return;
            }
            let key = (voucher, attempt.outcome.to_string());
            let (station, outcome) = (attempt.station, attempt.outcome.clone());
            refused.entry(key).or_insert(Refused { voucher, station, outcome, times: 0 }).times += 1;
        })
        .await?;
        for refusal in refused.into_values() {
            if self.vouchers.find(refusal.voucher).await?.status.is_redeemable() {
                found.refused.push(refusal);
            }
        }
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

fn window_start(input: &Input, now: Timestamp) -> Timestamp {
    now - Duration::from_secs(u64::from(input.window_hours.max(1)) * 3_600)
}

#[async_trait]
impl Probe for Anomalies {
    type Value = Found;

    async fn observe(&self, now: Timestamp) -> Result<Observation<Found>, PortError> {
        let since = window_start(&self.input, now);
        let mut found = Found::default();
        self.repeats(since, &mut found).await?;
        self.refusals(since, &mut found).await?;
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
    input: Input,
}

impl KeyUse {
    pub(super) fn over(on: &Platform, input: &Input) -> Self {
        Self { log: Arc::clone(&on.redemptions), input: input.clone() }
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
    async fn observe(&self, now: Timestamp) -> Result<Observation<Vec<Collision>>, PortError> {
        let since = window_start(&self.input, now);
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
