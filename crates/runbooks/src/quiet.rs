//! Quiet hours: until when a start has to wait, by the clock and the policy as they are right before it.
//!
//! The dispatcher looks at no quiet hours, so what is started sends at once, and goes on for as long as its queue lasts. A run
//! may have been away for hours since it planned the start, and the policy may be another by then.

use std::time::Duration;

use allclear_core::policy::SendPolicy;
use allclear_core::ports::Limits;
use allclear_core::{CampaignId, Platform, PortError};
use allclear_engine::{Halt, Observation, Probe, Run, Step};
use async_trait::async_trait;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::probes::StoredSendPolicy;
use crate::words::counted;

/// So much later than planned a start may begin: each campaign before it is watched first.
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

/// What is about to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) campaign: CampaignId,
    pub(crate) name: String,
    /// How many messages wait for it.
    pub(crate) messages: u64,
    /// What is done where no day is long enough for all of them.
    pub(crate) too_long: TooLong,
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
    /// Until when it has to wait that would begin now; `None` where it may.
    fn must_wait_until(
        &self,
        (limits, policy): (&Limits, &SendPolicy),
        zone: &TimeZone,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let hours = policy.quiet_hours;
        let day = Duration::from_hours(24).saturating_sub(hours.length());
        let drains = match (Pace::of(limits, policy).drains(self.messages), self.too_long) {
            (drains, TooLong::GoesOn) if drains > day => Duration::ZERO,
            (drains, _) => drains.min(day).saturating_sub(LATE),
        };
        hours.next_allowed(now, zone, drains).filter(|allowed| *allowed > now)
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
}

/// Waits until a start would send nothing in quiet hours. Says whether it had to.
pub(crate) async fn wait_out_quiet_hours(
    run: &mut Run,
    step: &Step,
    on: &Platform,
    start: Start,
) -> Result<bool, Halt> {
    let why = start.why();
    let policy = StoredSendPolicy::read(on);
    let until = run.probe(step, QuietNow { policy, limits: on.limits.clone(), start }).await?;
    if let Some(until) = until {
        run.wait_until(step, until, why).await?;
    }
    Ok(until.is_some())
}

/// Whether a campaign must wait before it is started.
struct QuietNow {
    policy: StoredSendPolicy,
    limits: Limits,
    start: Start,
}

#[async_trait]
impl Probe for QuietNow {
    type Value = Option<Timestamp>;

    fn subject(&self) -> String {
        format!("quiet hours before campaign {}", self.start.campaign)
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Option<Timestamp>>, PortError> {
        let stored = self.policy.observe(now).await?;
        let policy = stored.value.repaired(&self.limits.default_policy);
        let until = self.start.must_wait_until((&self.limits, &policy), &recipients_zone(&self.limits), now);
        let name = &self.start.name;
        let says = match until {
            Some(until) => {
                format!("{name} may not be started before {until}: quiet hours {}", policy.quiet_hours)
            }
            None => format!("quiet hours {} leave time for {name}", policy.quiet_hours),
        };
        Ok(Observation { value: until, says, evidence: stored.evidence })
    }
}

/// When quiet hours end; now, where there are none.
pub(crate) struct QuietEnd {
    policy: StoredSendPolicy,
    limits: Limits,
    what: String,
}

impl QuietEnd {
    /// `what` tells several looks of one step apart.
    pub(crate) fn before(on: &Platform, what: String) -> Self {
        Self { policy: StoredSendPolicy::read(on), limits: on.limits.clone(), what }
    }
}

#[async_trait]
impl Probe for QuietEnd {
    type Value = Timestamp;

    fn subject(&self) -> String {
        format!("quiet hours before {}", self.what)
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Timestamp>, PortError> {
        let stored = self.policy.observe(now).await?;
        let hours = stored.value.repaired(&self.limits.default_policy).quiet_hours;
        let zone = recipients_zone(&self.limits);
        let ends = hours.next_allowed(now, &zone, Duration::ZERO).unwrap_or(now);
        let says = if ends > now {
            format!("quiet hours {hours} end at {ends}")
        } else {
            format!("it is not quiet hours {hours} where the recipients live")
        };
        Ok(Observation { value: ends, says, evidence: stored.evidence })
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
            let campaign = "6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e01".parse().unwrap();
            let start = Start { campaign, name: "Spring".to_owned(), messages, too_long };
            start.must_wait_until((&limits, &policy), &zone, at(now))
        };
        let wait = |messages, now| wait_of(TooLong::WholeDay, messages, now);
        let morning = Some(at("2026-11-24T04:00:00Z"));
        // 2,400 are an hour.
        assert_eq!(wait(2_400, "2026-11-23T08:00:00Z"), None);
        assert_eq!(wait(2_400, "2026-11-23T19:20:00Z"), None);
        assert_eq!(wait(2_400, "2026-11-23T19:45:00Z"), morning);
        assert_eq!(wait(1, "2026-11-23T23:30:00Z"), morning);
        // A share of a whole day, three seconds after it began.
        assert_eq!(wait(38_400, "2026-11-24T04:00:03Z"), None);
        assert_eq!(wait(50_000, "2026-11-23T08:00:00Z"), morning);
        assert_eq!(wait_of(TooLong::GoesOn, 50_000, "2026-11-23T08:00:00Z"), None);
        assert_eq!(wait_of(TooLong::GoesOn, 50_000, "2026-11-23T23:30:00Z"), morning);
    }
}
