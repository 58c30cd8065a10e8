//! Quiet hours: until when a start has to wait, by the clock and the policy as they are right before it.
//!
//! The dispatcher looks at no quiet hours, so what is started sends at once, and goes on for as long as its queue lasts. A run
//! may have been away for hours since it planned the start, and the policy may be another by then.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::policy::SendPolicy;
use allclear_core::ports::{Campaigns, Limits, PolicyStore, SendQueue};
use allclear_core::{CampaignId, Platform, PortError};
use allclear_engine::{Halt, NotBefore, Observation, Probe, Run, Step};
use async_trait::async_trait;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::probes::StoredSendPolicy;
use crate::words::counted;

/// So much of a day is left to what needs more than a day.
const LATE: Duration = Duration::from_mins(30);

/// The zone in which the recipients live.
pub(crate) fn recipients_zone(limits: &Limits) -> TimeZone {
    TimeZone::get(&limits.recipients_zone).unwrap_or(TimeZone::UTC)
}

/// How fast the queue drains: by the platform's throttle, and by what the dispatcher takes in a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    per_minute: u64,
    batch: u64,
    interval: Duration,
}

impl Pace {
    pub(crate) fn of(limits: &Limits, policy: &SendPolicy) -> Self {
        Self {
            per_minute: u64::from(policy.throttle_per_minute.max(1)),
            batch: u64::from(limits.dispatcher_batch.max(1)),
            interval: limits.dispatcher_interval,
        }
    }

    pub(crate) fn drains(self, messages: u64) -> Duration {
        let by_throttle = Duration::from_mins(messages.div_ceil(self.per_minute));
        let runs = u32::try_from(messages.div_ceil(self.batch)).unwrap_or(u32::MAX);
        by_throttle.max(self.interval.saturating_mul(runs))
    }

    /// How many messages drain within a time; at least one.
    pub(crate) fn messages_in(self, time: Duration) -> u64 {
        let by_throttle = time.as_secs() / 60 * self.per_minute;
        let runs = time.as_secs() / self.interval.as_secs().max(1);
        by_throttle.min(runs * self.batch).max(1)
    }
}

/// What is about to be sent.
#[derive(Clone)]
pub(crate) struct Start {
    policy: Arc<dyn PolicyStore>,
    campaigns: Arc<dyn Campaigns>,
    queue: Arc<dyn SendQueue>,
    limits: Limits,
    /// Whose messages; `None` for notifications, which no dispatcher sends.
    campaign: Option<CampaignId>,
    name: String,
    messages: u64,
    /// The campaigns whose messages these are, where several are started together.
    counted: Vec<CampaignId>,
    too_long: TooLong,
}

/// What is done where a queue needs longer than the hours of a day allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooLong {
    /// It is given a whole day: a day's share of it is due, or all that the queue lets through.
    WholeDay,
    /// It begins as soon as it is not quiet: it was sending into the night before it stopped.
    GoesOn,
}

impl Start {
    /// Of a campaign for which so many messages wait.
    pub(crate) fn of(
        on: &Platform,
        (campaign, name): (CampaignId, &str),
        messages: u64,
        too_long: TooLong,
    ) -> Self {
        let counted = vec![campaign];
        Self { campaign: Some(campaign), messages, counted, too_long, ..Self::of_notifications(on, name) }
    }

    /// With those of others that are started together with it.
    pub(crate) fn together_with(self, others: &[CampaignId], messages: u64) -> Self {
        let counted = self.counted.iter().chain(others).copied().collect();
        Self { counted, messages: self.messages + messages, ..self }
    }

    /// Of single messages.
    pub(crate) fn of_notifications(on: &Platform, name: &str) -> Self {
        Self {
            policy: Arc::clone(&on.policy),
            campaigns: Arc::clone(&on.campaigns),
            queue: Arc::clone(&on.send_queue),
            limits: on.limits.clone(),
            campaign: None,
            name: name.to_owned(),
            messages: 0,
            counted: Vec::new(),
            too_long: TooLong::GoesOn,
        }
    }

    /// For an effect that begins it.
    pub(crate) fn not_before(self) -> NotBefore {
        let says = self.why();
        NotBefore::of(QuietNow(self), says)
    }

    fn why(&self) -> String {
        let name = &self.name;
        match self.messages {
            0 => format!("what is started sends at once, and {name} would be started in quiet hours"),
            some => format!(
                "what is started sends at once, and {} of {name} would reach into quiet hours",
                counted(some, "message", "messages")
            ),
        }
    }

    fn fits(&self, messages: u64, policy: &SendPolicy) -> bool {
        drains(messages, &self.limits, policy) <= day(policy)
    }

    /// How many messages go out before the last of these does: what runs shares each of the dispatcher's goes.
    async fn with_what_runs(&self, now: Timestamp) -> Result<u64, PortError> {
        if self.counted.is_empty() {
            return Ok(self.messages);
        }
        let mut all = self.messages;
        let running = self.campaigns.running().await?;
        for other in running.iter().filter(|other| !self.counted.contains(&other.id)) {
            all += self.queue.depth(other.id, now).await?.due;
        }
        Ok(all)
    }
}

/// How much of a day is not quiet.
fn day(policy: &SendPolicy) -> Duration {
    Duration::from_hours(24).saturating_sub(policy.quiet_hours.length())
}

/// How long so many messages need. Which run of the dispatcher takes the first is not known.
fn drains(messages: u64, limits: &Limits, policy: &SendPolicy) -> Duration {
    Pace::of(limits, policy).drains(messages) + limits.dispatcher_interval
}

/// Whether what waits fits into one day outside quiet hours, with all that waits beside it.
pub(crate) struct FitsIntoADay(pub(crate) Start);

#[async_trait]
impl Probe for FitsIntoADay {
    type Value = bool;

    fn subject(&self) -> String {
        format!("the queue of {}", self.0.name)
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<bool>, PortError> {
        let stored = StoredSendPolicy::of(&self.0.policy).observe(now).await?;
        let policy = stored.value.repaired(&self.0.limits.default_policy);
        let messages = self.0.with_what_runs(now).await?;
        let value = self.0.fits(messages, &policy);
        let fits = if value { "fit" } else { "do not fit" };
        let waiting = counted(messages, "message", "messages");
        let says = format!("{waiting} {fits} into a day outside quiet hours {}", policy.quiet_hours);
        Ok(Observation { value, says, evidence: stored.evidence })
    }
}

/// Until when so many messages have to wait that would begin now; `None` where they may.
fn must_wait_until(
    (messages, too_long): (u64, TooLong),
    (limits, policy): (&Limits, &SendPolicy),
    zone: &TimeZone,
    now: Timestamp,
) -> Option<Timestamp> {
    let hours = policy.quiet_hours;
    let day = day(policy);
    let drains = match (drains(messages, limits, policy), too_long) {
        (drains, _) if drains <= day => drains,
        (_, TooLong::GoesOn) => Duration::ZERO,
        (_, TooLong::WholeDay) => day.saturating_sub(LATE),
    };
    hours.next_allowed(now, zone, drains).filter(|allowed| *allowed > now)
}

/// Waits until a start would send nothing in quiet hours. Says whether it had to.
pub(crate) async fn wait_out_quiet_hours(run: &mut Run, step: &Step, start: Start) -> Result<bool, Halt> {
    let why = start.why();
    let until = run.probe(step, QuietNow(start)).await?;
    if let Some(until) = until {
        run.wait_until(step, until, why).await?;
    }
    Ok(until.is_some())
}

/// Whether something must wait before it is started.
struct QuietNow(Start);

#[async_trait]
impl Probe for QuietNow {
    type Value = Option<Timestamp>;

    fn subject(&self) -> String {
        match self.0.campaign {
            Some(campaign) => format!("quiet hours before campaign {campaign}"),
            None => format!("quiet hours before {}", self.0.name),
        }
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Option<Timestamp>>, PortError> {
        let Start { limits, name, too_long, .. } = &self.0;
        let stored = StoredSendPolicy::of(&self.0.policy).observe(now).await?;
        let policy = stored.value.repaired(&limits.default_policy);
        let messages = self.0.with_what_runs(now).await?;
        let until = must_wait_until((messages, *too_long), (limits, &policy), &recipients_zone(limits), now);
        let hours = policy.quiet_hours;
        let mut says = match until {
            Some(until) => format!("{name} may not be started before {until}: quiet hours {hours}"),
            None if self.0.fits(messages, &policy) => format!("quiet hours {hours} leave time for {name}"),
            None => format!(
                "{name} goes on into quiet hours {hours}: what waits needs longer than a day outside them"
            ),
        };
        if !stored.value.is_sound() {
            says = format!("{}; so by the default: {says}", stored.says);
        }
        Ok(Observation { value: until, says, evidence: stored.evidence })
    }
}

#[cfg(test)]
mod tests {
    use allclear_core::policy::QuietHours;

    use super::*;

    #[test]
    fn b4_nothing_begins_that_would_still_send_in_quiet_hours() {
        let hours = QuietHours::parse("22:00", "06:00").unwrap();
        let policy = SendPolicy { quiet_hours: hours, throttle_per_minute: 60 };
        let zone = TimeZone::get("Africa/Kigali").unwrap();
        let limits = crate::mocked::platform().limits;
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let wait_of = |too_long, messages, now| {
            must_wait_until((messages, too_long), (&limits, &policy), &zone, at(now))
        };
        let wait = |messages, now| wait_of(TooLong::WholeDay, messages, now);
        let morning = Some(at("2026-11-24T04:00:00Z"));
        // 2,400 are an hour.
        assert_eq!(wait(2_400, "2026-11-23T08:00:00Z"), None);
        assert_eq!(wait(2_400, "2026-11-23T18:58:00Z"), None);
        assert_eq!(wait(2_400, "2026-11-23T19:20:00Z"), morning);
        assert_eq!(wait(1, "2026-11-23T19:59:00Z"), morning);
        assert_eq!(wait(1, "2026-11-23T23:30:00Z"), morning);
        // A share of a whole day, three seconds after it began.
        assert_eq!(wait(38_400, "2026-11-24T04:00:03Z"), None);
        assert_eq!(wait(50_000, "2026-11-23T08:00:00Z"), morning);
        assert_eq!(wait_of(TooLong::GoesOn, 50_000, "2026-11-23T08:00:00Z"), None);
        assert_eq!(wait_of(TooLong::GoesOn, 50_000, "2026-11-23T23:30:00Z"), morning);
    }
}
