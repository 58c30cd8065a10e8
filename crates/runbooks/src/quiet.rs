//! Quiet hours: until when a start has to wait, by the clock and the policy as they are right before it.
//!
//! The dispatcher looks at no quiet hours, so what is started sends at once, and goes on for as long as its queue lasts. A run
//! may have been away for hours since it planned the start, and the policy may be another by then.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::clock::after;
use allclear_core::policy::{QuietHours, SendPolicy};
use allclear_core::ports::{Campaigns, Limits, PolicyStore, SendQueue};
use allclear_core::{CampaignId, CampaignStatus, Platform, PortError, QueueRows};
use allclear_engine::{Halt, NotBefore, Observation, Probe, Run, Step};
use async_trait::async_trait;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::probes::{KnownPolicy, StoredSendPolicy};
use crate::spread::Later;
use crate::words::counted;

/// So much of a day is left to what needs more than a day.
const LATE: Duration = Duration::from_mins(30);

/// When it is looked again whether sends are still blocked.
const LOOK_AGAIN: Duration = Duration::from_mins(15);

/// Quiet hours that begin when they end are the platform's own way to block all sends, and somebody's decision.
fn blocks_all_day(policy: &KnownPolicy) -> bool {
    matches!(policy, KnownPolicy::Stored(stored) if stored.quiet_start == stored.quiet_end
        && QuietHours::parse(&stored.quiet_start, &stored.quiet_end).is_ok())
}

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
    /// What must be so for it to begin anything: an undo comes after whatever people did since.
    begins: Begins,
}

/// Whether there is anything to begin, as the world is.
#[derive(Clone)]
enum Begins {
    Anyway,
    /// Where the campaign is paused.
    WhilePaused,
    /// Where these messages are skipped.
    WhileSkipped(QueueRows),
}

impl Start {
    /// Of a campaign for which so many messages wait.
    pub(crate) fn of(on: &Platform, (campaign, name): (CampaignId, &str), messages: u64) -> Self {
        let counted = vec![campaign];
        Self { campaign: Some(campaign), messages, counted, ..Self::of_notifications(on, name) }
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
            begins: Begins::Anyway,
        }
    }

    /// Of what an undo starts again, where it is paused still.
    pub(crate) fn by_undo(on: &Platform, (campaign, name): (CampaignId, &str)) -> Self {
        Self { begins: Begins::WhilePaused, ..Self::of(on, (campaign, name), 0) }
    }

    /// Of messages that an undo gives back, where they are skipped still.
    pub(crate) fn of_skipped(on: &Platform, (campaign, name): (CampaignId, &str), rows: &QueueRows) -> Self {
        let messages = rows.ranges().iter().map(|(first, last)| last.abs_diff(*first) + 1).sum();
        Self { begins: Begins::WhileSkipped(rows.clone()), ..Self::of(on, (campaign, name), messages) }
    }

    async fn begins_anything(&self) -> Result<bool, PortError> {
        let Some(campaign) = self.campaign else { return Ok(true) };
        Ok(match &self.begins {
            Begins::Anyway => true,
            Begins::WhilePaused => self.campaigns.find(campaign).await?.status == CampaignStatus::Paused,
            Begins::WhileSkipped(rows) => self.queue.skipped(campaign, rows).await? > 0,
        })
    }

    /// For the plan of an undo, which no other line tells when its messages go out.
    pub(crate) async fn when(&self) -> String {
        let hours = match self.policy.read().await {
            Ok(stored) => format!("{}–{}", stored.quiet_start, stored.quiet_end),
            Err(_) => "that cannot be read now".to_owned(),
        };
        format!("its messages go out outside quiet hours {hours} ({}) only", self.limits.recipients_zone)
    }

    /// For an effect that begins it.
    pub(crate) fn not_before(self) -> NotBefore {
        let says = self.why();
        NotBefore::of(QuietNow { start: self, is_plan: false }, says)
    }

    /// Why it waits, in one sentence.
    pub(crate) fn why(&self) -> String {
        let whose = self.whose();
        match self.messages {
            0 => format!("what is started sends at once, and {whose} would be started in quiet hours"),
            some => format!(
                "what is started sends at once, and {} of {whose} would reach into quiet hours",
                counted(some, "message", "messages")
            ),
        }
    }

    /// Whose messages are counted.
    fn whose(&self) -> String {
        let others = self.counted.len().saturating_sub(1);
        match others {
            0 => self.name.clone(),
            _ => format!("{} and {}", self.name, counted(others as u64, "other campaign", "other campaigns")),
        }
    }

    /// How many messages of its own there are to send: those that were planned, or what waits by now, if that is more.
    /// Before it is carried out, a plan may be about to leave most of them to another day.
    async fn own(&self, is_plan: bool, now: Timestamp) -> Result<u64, PortError> {
        let mut due = 0;
        if !is_plan {
            for campaign in &self.counted {
                due += self.queue.depth(*campaign, now).await?.due;
            }
        }
        Ok(self.messages.max(due))
    }

    fn fits(&self, messages: u64, policy: &SendPolicy) -> bool {
        drains(messages, &self.limits, policy) <= day(policy)
    }

    /// How many messages of others are due: what runs shares each of the dispatcher's goes.
    async fn beside(&self, now: Timestamp) -> Result<u64, PortError> {
        if self.counted.is_empty() {
            return Ok(0);
        }
        let mut due = 0;
        let running = self.campaigns.running().await?;
        for other in running.iter().filter(|other| !self.counted.contains(&other.id)) {
            due += self.queue.depth(other.id, now).await?.due;
        }
        Ok(due)
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

/// On which days how much of what is started together goes out, where one day outside quiet hours is too short for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Days {
    /// How many messages there are.
    all: u64,
    /// Each day but the last; none where one is enough.
    ends: Vec<DayEnd>,
}

/// The end of a day's sending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct DayEnd {
    /// How many messages are sent by then.
    sent: u64,
    /// When the next day's begin.
    next: Timestamp,
}

impl Days {
    /// Of so many messages of one's own, after so many of others. `None` where the policy leaves no time of the day.
    fn of(
        (all, beside): (u64, u64),
        (limits, policy): (&Limits, &SendPolicy),
        zone: &TimeZone,
        now: Timestamp,
    ) -> Option<Self> {
        let (pace, hours) = (Pace::of(limits, policy), policy.quiet_hours);
        let mut days = Self { all, ends: Vec::new() };
        if drains(all + beside, limits, policy) <= day(policy) {
            return Some(days);
        }
        let mut begins = hours.next_allowed(now, zone, Duration::ZERO)?;
        let mut drained = 0;
        loop {
            let quiet = hours.begin_after(begins, zone);
            let left = Duration::try_from(quiet.duration_since(begins)).unwrap_or_default();
            let left = left.saturating_sub(LATE);
            if !left.is_zero() {
                drained += pace.messages_in(left);
            }
            let sent = drained.saturating_sub(beside);
            if sent >= all {
                return Some(days);
            }
            begins = hours.next_allowed(quiet, zone, Duration::ZERO)?;
            // A day on which nothing of it goes out is none of its days.
            if sent > 0 {
                days.ends.push(DayEnd { sent, next: begins });
            }
        }
    }

    /// How many there are.
    pub(crate) fn number(&self) -> usize {
        self.ends.len() + 1
    }

    /// What of a campaign with so many messages is left to later days. All campaigns have their share of each day, and each sends
    /// something on the first, so that it is seen to move.
    pub(crate) fn later(&self, messages: u64) -> Vec<Later> {
        let place =
            |sent: u64| (u128::from(messages) * u128::from(sent) / u128::from(self.all.max(1))) as u64;
        let ends = self.ends.iter().map(|end| Later { place: place(end.sent).max(1), at: end.next });
        ends.filter(|later| later.place < messages).collect()
    }

    /// How many of so many messages go out on the first day.
    pub(crate) fn first_of(&self, messages: u64) -> u64 {
        self.later(messages).first().map_or(messages, |later| later.place)
    }
}

/// Looks how many days what is started needs, with all that runs beside it.
pub(crate) struct NeedsDays(pub(crate) Start);

#[async_trait]
impl Probe for NeedsDays {
    type Value = Days;

    fn subject(&self) -> String {
        format!("the queue of {}", self.0.whose())
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Days>, PortError> {
        let Start { policy, limits, messages, .. } = &self.0;
        let stored = StoredSendPolicy::of(policy).observe(now).await?;
        let policy = stored.value.repaired(&limits.default_policy);
        let beside = self.0.beside(now).await?;
        let days = Days::of((*messages, beside), (limits, &policy), &recipients_zone(limits), now);
        let waiting = counted(*messages, "message", "messages");
        let hours = policy.quiet_hours;
        let says = match &days {
            Some(days) if days.ends.is_empty() => {
                format!("{waiting} fit into a day outside quiet hours {hours}")
            }
            Some(days) => format!("{waiting} need {} days outside quiet hours {hours}", days.number()),
            None => format!(
                "quiet hours {hours} take the whole day, so how many days {waiting} need cannot be told"
            ),
        };
        Ok(Observation { value: days.unwrap_or_default(), says, evidence: stored.evidence })
    }
}

/// Until when so many messages have to wait that would begin now; `None` where they may.
fn must_wait_until(
    messages: u64,
    (limits, policy): (&Limits, &SendPolicy),
    zone: &TimeZone,
    now: Timestamp,
) -> Option<Timestamp> {
    let hours = policy.quiet_hours;
    let (drains, day) = (drains(messages, limits, policy), day(policy));
    // What is too long for a day is given a whole one.
    let drains = if drains <= day { drains } else { day.saturating_sub(LATE) };
    hours.next_allowed(now, zone, drains).filter(|allowed| *allowed > now)
}

/// Until when a start has to wait so that nothing is sent in quiet hours; `None` where it may be made now.
pub(crate) async fn quiet_until(run: &mut Run, step: &Step, start: Start) -> Result<Option<Timestamp>, Halt> {
    run.probe(step, QuietNow { start, is_plan: run.is_plan() }).await
}

/// Whether something must wait before it is started.
struct QuietNow {
    start: Start,
    is_plan: bool,
}

#[async_trait]
impl Probe for QuietNow {
    type Value = Option<Timestamp>;

    fn subject(&self) -> String {
        match self.start.campaign {
            Some(campaign) => format!("quiet hours before campaign {campaign}"),
            None => format!("quiet hours before {}", self.start.name),
        }
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Option<Timestamp>>, PortError> {
        let Self { start, is_plan } = self;
        let Start { limits, name, .. } = start;
        if !start.begins_anything().await? {
            let says = format!("nothing of {name} is there to begin");
            return Ok(Observation { value: None, says, evidence: Vec::new() });
        }
        let stored = StoredSendPolicy::of(&start.policy).observe(now).await?;
        let policy = stored.value.repaired(&limits.default_policy);
        let messages = start.own(*is_plan, now).await? + start.beside(now).await?;
        if blocks_all_day(&stored.value) {
            let says = format!("{name} may not be started: {}, which blocks all sends", stored.says);
            let until = Some(after(now, LOOK_AGAIN));
            return Ok(Observation { value: until, says, evidence: stored.evidence });
        }
        let until = must_wait_until(messages, (limits, &policy), &recipients_zone(limits), now);
        let hours = policy.quiet_hours;
        let mut says = match until {
            Some(until) => format!("{name} may not be started before {until}: quiet hours {hours}"),
            None if start.fits(messages, &policy) => format!("quiet hours {hours} leave time for {name}"),
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
    use allclear_core::policy::StoredPolicy;
    use allclear_core::ports::{MockCampaigns, MockPolicyStore, MockSendQueue, QueueDepth};

    use super::*;

    #[test]
    fn b4_nothing_begins_that_would_still_send_in_quiet_hours() {
        let hours = QuietHours::parse("22:00", "06:00").unwrap();
        let policy = SendPolicy { quiet_hours: hours, throttle_per_minute: 60 };
        let zone = TimeZone::get("Africa/Kigali").unwrap();
        let limits = crate::mocked::platform().limits;
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let wait = |messages, now| must_wait_until(messages, (&limits, &policy), &zone, at(now));
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
    }

    #[tokio::test]
    async fn what_came_to_wait_since_the_plan_was_made_is_counted_right_before_the_start() {
        let observed = async |due, is_plan, now: &str| {
            let mut queue = MockSendQueue::new();
            queue.expect_depth().returning(move |_, _| Ok(QueueDepth { due, ..QueueDepth::default() }));
            let mut campaigns = MockCampaigns::new();
            campaigns.expect_running().returning(|| Ok(Vec::new()));
            let mut policy = MockPolicyStore::new();
            policy.expect_read().returning(|| {
                Ok(StoredPolicy {
                    quiet_start: "22:00".into(),
                    quiet_end: "06:00".into(),
                    throttle_per_minute: 60,
                    opted_out: 0,
                })
            });
            let on = Platform {
                send_queue: Arc::new(queue),
                campaigns: Arc::new(campaigns),
                policy: Arc::new(policy),
                ..crate::mocked::platform()
            };
            let campaign = "00000000-0000-4000-8000-000000000001".parse().unwrap();
            let start = Start::of(&on, (campaign, "Fuel Friday"), 10);
            QuietNow { start, is_plan }.observe(now.parse().unwrap()).await.unwrap().value
        };
        let evening = "2026-11-23T19:20:00Z";
        let morning = Some("2026-11-24T04:00:00Z".parse().unwrap());
        assert_eq!(observed(10, false, evening).await, None);
        // 2,400 are an hour.
        assert_eq!(observed(2_400, false, evening).await, morning);
        assert_eq!(
            observed(2_400, true, evening).await,
            None,
            "a plan may be about to leave them to another day"
        );
    }

    #[test]
    fn what_is_too_long_for_a_day_is_spread_over_days_that_end_before_the_quiet_hours() {
        let hours = QuietHours::parse("22:00", "06:00").unwrap();
        let policy = SendPolicy { quiet_hours: hours, throttle_per_minute: 10 };
        let zone = TimeZone::get("Africa/Kigali").unwrap();
        let limits = crate::mocked::platform().limits;
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let days = |all, now| Days::of(all, (&limits, &policy), &zone, at(now)).unwrap();
        assert_eq!(days((9_000, 0), "2026-11-23T08:00:00Z").number(), 1);
        // From ten in the morning to half past nine are 6,900, and a whole day are 9,300.
        let three = days((20_000, 0), "2026-11-23T08:00:00Z");
        let mornings = ["2026-11-24T04:00:00Z", "2026-11-25T04:00:00Z"].map(at);
        let later = |places: [u64; 2]| {
            places.into_iter().zip(mornings).map(|(place, at)| Later { place, at }).collect::<Vec<_>>()
        };
        assert_eq!(three.later(20_000), later([6_900, 16_200]));
        // Two campaigns share each day.
        assert_eq!(three.later(10_000), later([3_450, 8_100]));
        assert_eq!(three.first_of(10_000), 3_450);
        // One message goes out on the first day, whatever its share.
        assert_eq!(three.later(1), []);
        assert_eq!(three.first_of(2), 1);
        // What runs beside it comes first.
        assert_eq!(days((20_000, 6_000), "2026-11-23T08:00:00Z").first_of(20_000), 900);
        // So late that nothing goes out before the night, the first day is the next one.
        assert_eq!(days((20_000, 0), "2026-11-23T19:45:00Z").later(20_000)[0].place, 9_300);
    }
}
