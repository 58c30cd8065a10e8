//! Probes: what is failing, why, which campaigns run, and what the policy says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use allclear_core::policy::SendPolicy;
use allclear_core::ports::{Campaigns, CanSend, PhoneHealth, SendLog, WhatsAppAccount};
use allclear_core::send_fault::SendFault;
use allclear_core::target::SendTally;
use allclear_core::{CampaignId, Class, Platform, PortError};
use allclear_engine::{Evidence, Halt, Observation, Probe};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Input, WA_D1};
use crate::words::counted;

/// Fewer failures than this are never an incident, whatever their share: one wrong number in three sends is no outage.
const FEWEST_FAILURES: u64 = 10;
/// How long to wait where nobody says how long: Meta documents no figure, and faster tries cost quality rating.
const DEFAULT_WAIT: Duration = Duration::from_mins(1);

/// Why sends fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cause {
    /// Too fast for WhatsApp.
    RateLimited,
    /// The numbers cannot receive.
    InvalidNumbers,
    /// Our own quiet hours or throttle hold everything back.
    Misconfigured,
    /// The token is expired or lacks a right.
    Credential,
    /// WhatsApp restricts the account.
    PolicyBlock,
    /// WhatsApp or the function fails.
    Outage,
}

impl Cause {
    pub(super) fn title(self) -> String {
        match self {
            Self::RateLimited => "WhatsApp limits our rate",
            Self::InvalidNumbers => "the numbers cannot receive",
            Self::Misconfigured => "our own sending policy holds messages back",
            Self::Credential => "WhatsApp does not accept our credential",
            Self::PolicyBlock => "WhatsApp restricts the account",
            Self::Outage => "WhatsApp or the send function fails",
        }
        .to_owned()
    }

    /// What a person must confirm before anything is sent again.
    pub(super) fn question(self) -> String {
        match self {
            Self::PolicyBlock => "WhatsApp restricts the account; every send makes it worse. Has the provider lifted it?",
            _ => "WhatsApp does not accept the credential. Has the token been replaced where the function reads it?",
        }
        .to_owned()
    }

    /// What most of the failures have in common. A policy block wins early, because going on costs most there.
    fn of(faults: &BTreeMap<SendFault, u64>, phone: Option<&PhoneHealth>) -> Self {
        let total: u64 = faults.values().sum();
        let blocked_sends = faults.get(&SendFault::PolicyBlock).copied().unwrap_or(0);
        let phone_blocked = phone.is_some_and(|phone| {
            phone.can_send == CanSend::Blocked
                && phone.error_codes.iter().any(|code| SendFault::from_code(*code) == SendFault::PolicyBlock)
        });
        if phone_blocked || blocked_sends * 20 > total {
            return Self::PolicyBlock;
        }
        // Recipients who do not want a message are no fault of the system.
        let most = faults
            .iter()
            .filter(|(fault, _)| **fault != SendFault::Recipient)
            .max_by_key(|(_, count)| **count);
        match most.map(|(fault, _)| *fault) {
            Some(SendFault::RateLimited) => Self::RateLimited,
            Some(SendFault::InvalidNumber) => Self::InvalidNumbers,
            Some(SendFault::HeldByPolicy) => Self::Misconfigured,
            Some(SendFault::Credential) => Self::Credential,
            _ => Self::Outage,
        }
    }
}

/// What detection found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Signal {
    pub(super) elevated: bool,
    pub(super) cause: Cause,
    pub(super) sent: u64,
    pub(super) failed: BTreeMap<String, u64>,
    pub(super) by_campaign: BTreeMap<CampaignId, u64>,
    pub(super) first_failure_at: Option<Timestamp>,
    pub(super) last_failure_at: Option<Timestamp>,
    pub(super) retry_after_seconds: Option<u64>,
    pub(super) phone: Option<PhoneHealth>,
    pub(super) window_minutes: u32,
}

impl Signal {
    /// No sends prove nothing: "all clear" on zero samples would be a guess.
    pub(super) fn must_rest_on_samples(&self) -> Result<(), Halt> {
        if self.sent + self.failures() > 0 {
            return Ok(());
        }
        let says = format!(
            "nothing was sent in the last {} minutes, which proves nothing; look at campaign-dispatcher-stalls",
            self.window_minutes
        );
        Err(Halt::Unverified { step: WA_D1.id.to_owned(), says })
    }

    pub(super) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    pub(super) fn failed_of(&self, campaign: CampaignId) -> u64 {
        self.by_campaign.get(&campaign).copied().unwrap_or(0)
    }

    /// When the rate limit is over: what the sends were told, or WhatsApp's usage header, or our own minute.
    pub(super) fn rate_limit_ends(&self, now: Timestamp) -> Timestamp {
        let told = self.retry_after_seconds.map(Duration::from_secs);
        let regain = self
            .phone
            .as_ref()
            .and_then(|phone| phone.regain_access_minutes)
            .map(|m| Duration::from_secs(m * 60));
        let from_failure = told.zip(self.last_failure_at).map(|(wait, at)| at + wait);
        let from_now = regain.map(|wait| now + wait);
        from_failure.max(from_now).unwrap_or(now + DEFAULT_WAIT).max(now)
    }
}

/// Counts failures and tells their cause.
pub(super) struct SendHealth {
    log: Arc<dyn SendLog>,
    notifications: Arc<dyn allclear_core::ports::Notifications>,
    campaigns: Arc<dyn Campaigns>,
    whatsapp: Arc<dyn WhatsAppAccount>,
    input: Input,
}

impl SendHealth {
    pub(super) fn over(on: &Platform, input: &Input) -> Self {
        Self {
            log: Arc::clone(&on.send_log),
            notifications: Arc::clone(&on.notifications),
            campaigns: Arc::clone(&on.campaigns),
            whatsapp: Arc::clone(&on.whatsapp),
            input: input.clone(),
        }
    }

    /// WhatsApp's own view. That it cannot be had is itself a finding, and no reason to stop looking.
    async fn phone(&self) -> (Option<PhoneHealth>, Evidence, bool) {
        let source = "WhatsApp Graph API, phone health";
        match self.whatsapp.health().await {
            Ok(phone) => {
                let shows = format!(
                    "can send: {:?}, quality {}, codes {:?}",
                    phone.can_send, phone.quality, phone.error_codes
                );
                (Some(phone), Evidence::new(source, shows), false)
            }
            Err(error) => {
                let unauthorized = matches!(error.class(), Class::Stop(_));
                (None, Evidence::new(source, error.to_string()), unauthorized)
            }
        }
    }
}

#[async_trait]
impl Probe for SendHealth {
    type Value = Signal;

    async fn observe(&self, now: Timestamp) -> Result<Observation<Signal>, PortError> {
        let since = now - Duration::from_secs(u64::from(self.input.window_minutes) * 60);
        let sends = self.log.tally(None, since).await?;
        let notifications = self.notifications.tally(since).await?;
        let mut by_campaign = BTreeMap::new();
        for campaign in self.campaigns.running().await? {
            by_campaign.insert(campaign.id, self.log.tally(Some(campaign.id), since).await?.failures());
        }
        let (phone, phone_evidence, unauthorized) = self.phone().await;

        let all = sum(&sends, &notifications);
        let faults = by_fault(&all);
        let percent = all.failure_percent();
        let elevated = all.failures() >= FEWEST_FAILURES
            && percent.is_some_and(|percent| percent >= self.input.elevated_percent);
        let cause = if unauthorized { Cause::Credential } else { Cause::of(&faults, phone.as_ref()) };
        let says = format!(
            "{} of {} failed in the last {} minutes{}",
            all.failures(),
            counted(all.tries(), "send", "sends"),
            self.input.window_minutes,
            if elevated { format!("; {}", cause.title()) } else { String::new() },
        );
        let evidence = vec![
            Evidence::new("send_logs (PostgREST)", sends.to_string()),
            Evidence::new("notifications (PostgREST)", notifications.to_string()),
            phone_evidence,
        ];
        let signal = Signal {
            elevated,
            cause,
            sent: all.sent,
            failed: all.failed,
            by_campaign,
            first_failure_at: all.first_failure_at,
            last_failure_at: all.last_failure_at,
            retry_after_seconds: all.retry_after_seconds,
            phone,
            window_minutes: self.input.window_minutes,
        };
        Ok(Observation { value: signal, says, evidence })
    }
}

fn sum(a: &SendTally, b: &SendTally) -> SendTally {
    let mut failed = a.failed.clone();
    for (code, count) in &b.failed {
        *failed.entry(code.clone()).or_default() += count;
    }
    SendTally {
        sent: a.sent + b.sent,
        failed,
        retry_after_seconds: a.retry_after_seconds.max(b.retry_after_seconds),
        first_failure_at: a.first_failure_at.into_iter().chain(b.first_failure_at).min(),
        last_failure_at: a.last_failure_at.max(b.last_failure_at),
    }
}

fn by_fault(tally: &SendTally) -> BTreeMap<SendFault, u64> {
    let mut faults = BTreeMap::new();
    for (code, count) in &tally.failed {
        *faults.entry(SendFault::from_text(code)).or_default() += count;
    }
    faults
}

/// The policy in words.
pub(super) fn policy_text(policy: &SendPolicy) -> String {
    format!("quiet hours {}, {} sends a minute", policy.quiet_hours, policy.throttle_per_minute)
}
