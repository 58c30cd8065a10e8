//! Probes: what is failing, why, which campaigns run, and what the policy says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use allclear_core::clock::{after, before};
use allclear_core::policy::SendPolicy;
use allclear_core::ports::{Campaigns, PhoneHealth, SendLog, SendQueue, WhatsAppAccount};
use allclear_core::target::SendTally;
use allclear_core::{CampaignId, Class, Platform, PortError};
use allclear_engine::{Evidence, Halt, Observation, Probe};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::causes::{Cause, FEWEST_FAILURES, PAUSE_BETWEEN_SERIES, causes, is_blocked, titles};
use super::{Input, WA_D1};
use crate::probes::sending;
use crate::words::counted;

/// How long to wait where nobody says how long: Meta documents no figure, and faster tries cost quality rating.
const DEFAULT_WAIT: Duration = Duration::from_mins(1);

/// What detection found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Signal {
    pub(super) elevated: bool,
    /// What is wrong now, what gets worse with every call first.
    pub(super) causes: Vec<Cause>,
    /// What was wrong and is over: no failure of its kind for minutes, while sends were accepted.
    pub(super) over: Vec<Cause>,
    pub(super) sent: u64,
    /// Messages that had gone out before, where there are so many that it is no accident.
    pub(super) repeats: Option<u64>,
    pub(super) failed: BTreeMap<String, u64>,
    /// Failures of each campaign that may send, by code.
    pub(super) by_campaign: BTreeMap<CampaignId, BTreeMap<String, u64>>,
    pub(super) first_failure_at: Option<Timestamp>,
    /// When the failures began that are the incident.
    pub(super) series_began_at: Option<Timestamp>,
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

    /// The same message again is no normal sending, whatever fails.
    pub(super) fn must_not_repeat(&self) -> Result<(), Halt> {
        let Some(repeats) = self.repeats else { return Ok(()) };
        let says = format!(
            "{repeats} of {} had gone out before: people get the same message again; pause their campaigns and look at \
             campaign-dispatcher-stalls",
            counted(self.sent, "sent message", "sent messages")
        );
        Err(Halt::Unverified { step: WA_D1.id.to_owned(), says })
    }

    pub(super) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// When the incident began, as far as it shows in the window.
    pub(super) fn began_at(&self) -> Option<Timestamp> {
        self.series_began_at.or(self.first_failure_at)
    }

    pub(super) fn failed_of(&self, campaign: CampaignId) -> u64 {
        self.by_campaign.get(&campaign).map_or(0, |failed| failed.values().sum())
    }

    /// The causes, in words.
    pub(super) fn title(&self) -> String {
        let all: Vec<Cause> = self.causes.iter().chain(&self.over).copied().collect();
        titles(&all)
    }

    pub(super) fn has(&self, cause: Cause) -> bool {
        self.causes.contains(&cause)
    }

    pub(super) fn is_over(&self, cause: Cause) -> bool {
        self.over.contains(&cause)
    }

    /// Whether WhatsApp restricted the account, and that was lifted before anything is sent again.
    pub(super) fn was_restricted(&self) -> bool {
        self.has(Cause::PolicyBlock) || self.is_over(Cause::PolicyBlock)
    }

    /// Why what runs is left running, in words.
    pub(super) fn why_nothing_is_paused(&self) -> String {
        let single = self
            .causes
            .iter()
            .map(|cause| format!("{}: that is theirs, and all others are sent to", cause.title()));
        let over = self.over.iter().map(|cause| {
            format!(
                "{}: none has failed so for {PAUSE_BETWEEN_SERIES} minutes, and sends are accepted",
                cause.title()
            )
        });
        single.chain(over).collect::<Vec<_>>().join("; ")
    }

    /// What is wrong now and pausing helps against.
    pub(super) fn must_be_paused_for(&self) -> bool {
        self.causes.iter().any(|cause| cause.is_paused_for())
    }

    /// Whether a campaign is to be paused: all are where something hits whatever is sent, otherwise those that fail.
    pub(super) fn hits(&self, campaign: CampaignId) -> bool {
        let failed_with = |cause: &Cause| self.failed_with(campaign, *cause) > 0;
        self.causes
            .iter()
            .filter(|cause| cause.is_paused_for())
            .any(|cause| cause.hits_all() || failed_with(cause))
    }

    fn failed_with(&self, campaign: CampaignId, cause: Cause) -> u64 {
        let failed = self.by_campaign.get(&campaign).into_iter().flatten();
        failed.filter(|(code, _)| cause.shows_in(code)).map(|(_, count)| count).sum()
    }

    /// Why a campaign stays paused until a person has mended it, with WhatsApp's codes.
    pub(super) fn holds(&self, campaign: CampaignId) -> Option<String> {
        let held = self.causes.iter().filter(|cause| cause.holds_campaign());
        let mine: Vec<String> = held
            .filter(|cause| self.failed_with(campaign, **cause) > 0)
            .map(|cause| {
                let failed = self.by_campaign.get(&campaign).into_iter().flatten();
                let codes: Vec<String> = failed
                    .filter(|(code, _)| cause.shows_in(code))
                    .map(|(code, count)| format!("{code} {count} times"))
                    .collect();
                format!("{} ({})", cause.title(), codes.join(", "))
            })
            .collect();
        (!mine.is_empty()).then(|| mine.join("; "))
    }

    /// When the rate limit is over: what the sends were told, or WhatsApp's usage header, or our own minute.
    pub(super) fn rate_limit_ends(&self, now: Timestamp) -> Timestamp {
        let told = self.retry_after_seconds.map(Duration::from_secs);
        let regain = self
            .phone
            .as_ref()
            .and_then(|phone| phone.regain_access_minutes)
            .map(|m| Duration::from_secs(m.saturating_mul(60)));
        let from_failure = told.zip(self.last_failure_at).map(|(wait, at)| after(at, wait));
        let from_now = regain.map(|wait| after(now, wait));
        from_failure.max(from_now).unwrap_or(after(now, DEFAULT_WAIT)).max(now)
    }
}

/// Counts failures and tells their cause.
pub(super) struct SendHealth {
    log: Arc<dyn SendLog>,
    notifications: Arc<dyn allclear_core::ports::Notifications>,
    campaigns: Arc<dyn Campaigns>,
    queue: Arc<dyn SendQueue>,
    whatsapp: Arc<dyn WhatsAppAccount>,
    input: Input,
}

impl SendHealth {
    pub(super) fn over(on: &Platform, input: &Input) -> Self {
        Self {
            log: Arc::clone(&on.send_log),
            notifications: Arc::clone(&on.notifications),
            campaigns: Arc::clone(&on.campaigns),
            queue: Arc::clone(&on.send_queue),
            whatsapp: Arc::clone(&on.whatsapp),
            input: input.clone(),
        }
    }

    /// Whether a cause is over: nothing of its kind failed for some minutes by the platform's own times, while enough was
    /// accepted. Silence alone ends nothing.
    async fn is_over(&self, cause: Cause, all: &SendTally, now: Timestamp) -> Result<bool, PortError> {
        let Some(ended) = cause.last_seen(all) else { return Ok(false) };
        if now < after(ended, Duration::from_mins(PAUSE_BETWEEN_SERIES.unsigned_abs())) {
            return Ok(false);
        }
        let since = sum(&self.log.tally(None, ended).await?, &self.notifications.tally(ended).await?);
        Ok(since.sent >= FEWEST_FAILURES && cause.failures_in(&since) == 0)
    }

    fn repeats(&self, all: &SendTally) -> Option<u64> {
        let part = all.repeats.saturating_mul(100) >= all.sent.saturating_mul(self.input.elevated_percent);
        (all.repeats >= FEWEST_FAILURES && part).then_some(all.repeats)
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
        let since = before(now, Duration::from_secs(u64::from(self.input.window_minutes) * 60));
        let sends = self.log.tally(None, since).await?;
        let notifications = self.notifications.tally(since).await?;
        let mut by_campaign = BTreeMap::new();
        for campaign in sending(&*self.campaigns, &*self.queue).await? {
            by_campaign.insert(campaign.id, self.log.tally(Some(campaign.id), since).await?.failed);
        }
        let (phone, phone_evidence, unauthorized) = self.phone().await;

        let all = sum(&sends, &notifications);
        let percent = all.failure_percent();
        let elevated = all.failures() >= FEWEST_FAILURES
            && percent.is_some_and(|percent| percent >= self.input.elevated_percent);
        let there = causes(&all, phone.as_ref(), unauthorized, self.input.elevated_percent);
        let shows_now = |cause: Cause| match cause {
            Cause::Credential => unauthorized,
            Cause::PolicyBlock => is_blocked(phone.as_ref()),
            _ => false,
        };
        let (mut now_there, mut over) = (Vec::new(), Vec::new());
        for cause in there {
            let ended = elevated && !shows_now(cause) && self.is_over(cause, &all, now).await?;
            if ended { over.push(cause) } else { now_there.push(cause) }
        }
        let says = format!(
            "{} of {} failed in the last {} minutes{}",
            all.failures(),
            counted(all.tries(), "send", "sends"),
            self.input.window_minutes,
            if elevated { words(&now_there, &over) } else { String::new() },
        );
        let evidence = vec![
            Evidence::new("send_logs (PostgREST)", sends.to_string()),
            Evidence::new("notifications (PostgREST)", notifications.to_string()),
            phone_evidence,
        ];
        let is_incident = |code: &str| now_there.iter().chain(&over).any(|cause| cause.shows_in(code));
        let signal = Signal {
            series_began_at: all.series_began_at(is_incident, PAUSE_BETWEEN_SERIES),
            elevated,
            causes: now_there,
            over,
            sent: all.sent,
            repeats: self.repeats(&all),
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

/// Whether campaigns must be paused still, for what is done upon an older look: by all that was sent since. Silence says nothing: paused
/// campaigns send nothing.
pub(super) struct StillFails {
    on: Platform,
    input: Input,
    seen_at: Timestamp,
}

impl StillFails {
    /// Since a look that was made then.
    pub(super) fn since(on: &Platform, input: &Input, seen_at: Timestamp) -> Self {
        Self { on: on.clone(), input: input.clone(), seen_at }
    }
}

#[async_trait]
impl Probe for StillFails {
    type Value = Option<String>;

    fn subject(&self) -> String {
        "whether sends fail still".to_owned()
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Option<String>>, PortError> {
        let since = u32::try_from(now.duration_since(self.seen_at).as_secs().max(0) / 60).unwrap_or(u32::MAX);
        let window_minutes = self.input.window_minutes.max(since);
        let health = SendHealth::over(&self.on, &Input { window_minutes, ..self.input.clone() });
        let Observation { value: signal, says, evidence } = health.observe(now).await?;
        let has_samples = signal.sent + signal.failures() > 0;
        let is_over = has_samples && !(signal.elevated && signal.must_be_paused_for());
        let value = is_over.then(|| {
            format!(
                "what was to be paused for is over since it was looked at: {says}; start the runbook anew"
            )
        });
        Ok(Observation { value, says, evidence })
    }
}

fn sum(a: &SendTally, b: &SendTally) -> SendTally {
    let mut failed = a.failed.clone();
    for (code, count) in &b.failed {
        *failed.entry(code.clone()).or_default() += count;
    }
    let mut failing_minutes = a.failing_minutes.clone();
    for (code, minutes) in &b.failing_minutes {
        let of_code = failing_minutes.entry(code.clone()).or_default();
        for (minute, at) in minutes {
            let first = of_code.entry(*minute).or_insert(*at);
            *first = (*at).min(*first);
        }
    }
    SendTally {
        failing_minutes,
        sent: a.sent + b.sent,
        repeats: a.repeats + b.repeats,
        failed,
        retry_after_seconds: a.retry_after_seconds.max(b.retry_after_seconds),
        first_failure_at: a.first_failure_at.into_iter().chain(b.first_failure_at).min(),
        last_failure_at: a.last_failure_at.max(b.last_failure_at),
    }
}

/// What is wrong, and what was.
fn words(causes: &[Cause], over: &[Cause]) -> String {
    let now = if causes.is_empty() { String::new() } else { format!("; {}", titles(causes)) };
    let before = if over.is_empty() { String::new() } else { format!("; over: {}", titles(over)) };
    now + &before
}

/// The policy in words.
pub(super) fn policy_text(policy: &SendPolicy) -> String {
    format!("quiet hours {}, {} sends a minute", policy.quiet_hours, policy.throttle_per_minute)
}
