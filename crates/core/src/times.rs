//! Whose time it is: what the services' clocks show beside ours, and a clock that keeps the platform's time.
//!
//! The rows of the platform carry the platform's times. Whoever asks for the rows of the last half hour by a clock that is an
//! hour ahead asks for a future, gets nothing, and takes it for a quiet half hour. So each answer's `Date` is compared with
//! our clock, and a run lives in the platform's time ([`PlatformClock`]); what is read back is found by ids and marks of the
//! platform's own, since `Date` knows whole seconds only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Clock, Service};

/// `Date` knows whole seconds: the moment that it names is a second long.
const RESOLUTION: SignedDuration = SignedDuration::from_secs(1);

/// Clocks that differ by more than this are told of.
pub const WORTH_TELLING: Duration = Duration::from_secs(2);
/// Beyond this there is no saying which of the two clocks is right, so nothing is begun.
pub const MOST: Duration = Duration::from_hours(24);
/// The platform's own services may differ by this much from each other; beyond it, there is no time that is the platform's.
pub const MOST_BETWEEN: Duration = Duration::from_mins(5);

/// The services whose rows, logs and states a run reads by time, in the order in which their clock is taken for the
/// platform's.
const PLATFORM: [Service; 3] = [Service::Supabase, Service::AdminApi, Service::EdgeFunctions];

/// How far a service's clock is from ours, as far as its answers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Whose clock.
    pub service: Service,
    /// What must be added to our time to get theirs, at least.
    pub least: SignedDuration,
    /// The same at most.
    pub most: SignedDuration,
}

impl Observed {
    /// What an answer says that named the second `date` and came between two moments of ours.
    fn of(service: Service, date: Timestamp, sent: Timestamp, received: Timestamp) -> Self {
        let least = date.duration_since(received);
        // A clock of ours that was set back in between says nothing finer than that.
        let most = (date.duration_since(sent) + RESOLUTION).max(least);
        Self { service, least, most }
    }

    /// What to add to our time: nothing where ours may be right.
    pub fn offset(&self) -> SignedDuration {
        if self.least <= SignedDuration::ZERO && self.most >= SignedDuration::ZERO {
            return SignedDuration::ZERO;
        }
        self.least + (self.most - self.least) / 2
    }

    /// How far off the offset may be.
    pub fn uncertainty(&self) -> Duration {
        ((self.most - self.least) / 2).unsigned_abs()
    }

    /// Whether it is so far from ours that people must know.
    pub fn is_worth_telling(&self) -> bool {
        self.offset().unsigned_abs() > WORTH_TELLING
    }

    /// Both at once; `None` where they contradict each other, so that one clock was set.
    fn narrowed(self, by: Self) -> Option<Self> {
        let (least, most) = (self.least.max(by.least), self.most.min(by.most));
        (least <= most).then_some(Self { least, most, ..self })
    }
}

impl std::fmt::Display for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let offset = self.offset();
        if offset.is_zero() {
            return write!(f, "{} has our time (± {} s)", self.service, seconds(self.uncertainty()));
        }
        let side = if offset.is_negative() { "ahead of" } else { "behind" };
        write!(f, "our clock is {} {side} that of {}", in_words(offset.unsigned_abs()), self.service)
    }
}

fn seconds(of: Duration) -> u64 {
    of.as_secs() + u64::from(of.subsec_nanos() > 0)
}

/// `25 h 0 min`, `40 min`, `3 s`.
fn in_words(of: Duration) -> String {
    let all = of.as_secs();
    match all {
        0..120 => format!("{all} s"),
        120..7_200 => format!("{} min", (all + 30) / 60),
        _ => format!("{} h {} min", (all + 30) / 3_600, (all + 30) % 3_600 / 60),
    }
}

/// What the services' clocks show beside ours.
#[async_trait]
pub trait ServiceTimes: Send + Sync {
    /// What has been observed so far, by service.
    fn observed(&self) -> Vec<Observed>;

    /// Asks the platform's services for the time: one harmless read each, whatever they answer.
    async fn look(&self);
}

/// Why a run cannot begin at these clocks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCommonTime {
    /// One of two clocks is out by more than a day.
    #[error(
        "{0}, more than a day: windows would be asked for times that never were, so nothing is begun; set this machine's clock (`timedatectl`), or have that service's set"
    )]
    TooFar(Observed),
    /// Services of the platform contradict each other.
    #[error(
        "the platform's services have no common time: {one}, and {other}; what one of them wrote cannot be found by the other's time, so nothing is begun; have their clocks set"
    )]
    Apart {
        /// One of them.
        one: Observed,
        /// Another.
        other: Observed,
    },
}

/// All that was observed, as values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times(pub Vec<Observed>);

impl Times {
    /// The clock that rows and logs of the platform are written by; `None` before it answered.
    pub fn of_platform(&self) -> Option<Observed> {
        PLATFORM.iter().find_map(|service| self.0.iter().find(|one| one.service == *service).copied())
    }

    /// Whether there is one time to ask windows in.
    pub fn check(&self) -> Result<(), NoCommonTime> {
        // In the order of what counts: the message names the clock that the rows are written by.
        let of = |service: &Service| self.0.iter().find(|one| one.service == *service);
        let platform: Vec<&Observed> = PLATFORM.iter().filter_map(of).collect();
        if let Some(far) = platform.iter().find(|one| one.offset().unsigned_abs() > MOST) {
            return Err(NoCommonTime::TooFar(**far));
        }
        for (place, one) in platform.iter().enumerate() {
            let apart = |other: &&&Observed| {
                let gap = (one.least - other.most).max(other.least - one.most);
                gap > SignedDuration::ZERO && gap.unsigned_abs() > MOST_BETWEEN
            };
            if let Some(other) = platform[place + 1..].iter().find(apart) {
                return Err(NoCommonTime::Apart { one: **one, other: **other });
            }
        }
        Ok(())
    }

    /// What people must know of the clocks; nothing where they agree.
    pub fn worth_telling(&self) -> Vec<String> {
        self.0.iter().filter(|one| one.is_worth_telling()).map(ToString::to_string).collect()
    }
}

/// Keeps what answers say about the services' clocks, by service.
#[derive(Debug, Default)]
pub struct HeardTimes(Mutex<BTreeMap<Service, Observed>>);

impl HeardTimes {
    /// An answer named the second `date`, and came between `sent` and `received` by our clock.
    pub fn heard(&self, service: Service, date: Timestamp, sent: Timestamp, received: Timestamp) {
        let newest = Observed::of(service, date, sent, received);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(&service).and_then(|known| known.narrowed(newest));
        // Where they contradict each other, a clock was set since, and the newest is what is so now.
        all.insert(service, known.unwrap_or(newest));
    }

    /// All that was heard, by service.
    pub fn all(&self) -> Vec<Observed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().copied().collect()
    }
}

impl HeardTimes {
    /// What was heard of one service once, for whoever cannot ask now.
    pub fn of(observed: Observed) -> Self {
        Self(Mutex::new([(observed.service, observed)].into()))
    }
}

#[async_trait]
impl ServiceTimes for HeardTimes {
    fn observed(&self) -> Vec<Observed> {
        self.all()
    }

    /// Nobody is asked: what others ask for anyway is heard.
    async fn look(&self) {}
}

/// The platform's time: our clock and what must be added to it, as the platform's answers say.
///
/// Between answers it goes on by the monotonic clock of this machine, so that a wall clock that is set neither bursts nor
/// skips: waits last as long as they were to last. Where our clock may be right, ours counts and nothing is added.
pub struct PlatformClock {
    ours: Arc<dyn Clock>,
    times: Arc<dyn ServiceTimes>,
    anchor: Mutex<Anchor>,
}

/// A moment of the platform's time, and where our monotonic clock stood then.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    at: Timestamp,
    monotonic: Duration,
    heard: Option<Observed>,
}

impl std::fmt::Debug for PlatformClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlatformClock").field("ours", &self.ours).finish_non_exhaustive()
    }
}

impl PlatformClock {
    /// The platform's time, by our clock and what is observed of the services'.
    pub fn over(ours: Arc<dyn Clock>, times: Arc<dyn ServiceTimes>) -> Self {
        let heard = Times(times.observed()).of_platform();
        let added = heard.map_or(SignedDuration::ZERO, |heard| heard.offset());
        let anchor = Anchor { at: ours.now() + added, monotonic: ours.monotonic(), heard };
        Self { ours, times, anchor: Mutex::new(anchor) }
    }

    /// What was observed, for those who must be told.
    pub fn times(&self) -> Times {
        Times(self.times.observed())
    }
}

#[async_trait]
impl Clock for PlatformClock {
    fn now(&self) -> Timestamp {
        let heard = Times(self.times.observed()).of_platform();
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let carried = anchor.at + self.ours.monotonic().saturating_sub(anchor.monotonic);
        // Only an answer moves it, and only one that says that it is out.
        if let Some(heard) = heard.filter(|_| heard != anchor.heard) {
            anchor.heard = Some(heard);
            let (ours, monotonic) = (self.ours.now(), self.ours.monotonic());
            let off = carried.duration_since(ours);
            if off < heard.least || off > heard.most {
                let added = heard.offset();
                *anchor = Anchor { at: ours + added, monotonic, heard: Some(heard) };
                return ours + added;
            }
        }
        carried
    }

    fn monotonic(&self) -> Duration {
        self.ours.monotonic()
    }

    async fn sleep_until(&self, at: Timestamp) {
        loop {
            let left = at.duration_since(self.now());
            if left.is_negative() || left.is_zero() {
                return;
            }
            self.ours.sleep_until(self.ours.now() + left).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VirtualClock;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn heard(date: &str, sent: &str, received: &str) -> Observed {
        Observed::of(Service::Supabase, at(date), at(sent), at(received))
    }

    #[test]
    fn a_clock_that_may_be_right_is_left_alone() {
        let one = heard("2026-11-23T09:00:00Z", "2026-11-23T09:00:00.4Z", "2026-11-23T09:00:00.6Z");
        assert_eq!(one.offset(), SignedDuration::ZERO);
        // 0.4 s ahead cannot be told from whole seconds at first, and does not matter to what is found by ids.
        let ahead = heard("2026-11-23T09:00:00Z", "2026-11-23T09:00:00.9Z", "2026-11-23T09:00:01.1Z");
        assert_eq!(ahead.offset(), SignedDuration::ZERO, "{ahead:?}");
    }

    #[test]
    fn answers_narrow_each_other_until_a_clock_is_set() {
        let times = HeardTimes::default();
        let answer = |date: &str, now: &str| times.heard(Service::Supabase, at(date), at(now), at(now));
        answer("2026-11-23T09:00:00Z", "2026-11-23T09:02:00.9Z");
        answer("2026-11-23T09:00:05Z", "2026-11-23T09:02:05.1Z");
        let one = times.all()[0];
        assert!(one.uncertainty() <= Duration::from_millis(100), "{one:?}");
        assert_eq!(one.to_string(), "our clock is 2 min ahead of that of Supabase");
        answer("2026-11-23T09:00:09Z", "2026-11-23T09:00:09.5Z");
        assert_eq!(times.all()[0].offset(), SignedDuration::ZERO, "what is so now counts");
    }

    #[test]
    fn a16_beyond_a_day_or_without_a_common_time_nothing_begins() {
        let by = |service, seconds| {
            let offset = SignedDuration::from_secs(seconds);
            Observed { service, least: offset, most: offset }
        };
        let hour = 3_600;
        for fine in [0, 1, -1, 60, 300, -40 * 60, 23 * hour, -24 * hour] {
            let all = Times(vec![by(Service::Supabase, fine), by(Service::AdminApi, fine)]);
            assert_eq!(all.check(), Ok(()), "{fine}");
            assert_eq!(all.worth_telling().is_empty(), fine.abs() <= 2, "{fine}");
        }
        for far in [25 * hour, -25 * hour] {
            let said = Times(vec![by(Service::Supabase, far)]).check().unwrap_err().to_string();
            assert!(said.contains("25 h 0 min") && said.contains("more than a day"), "{said}");
        }
        let apart = Times(vec![by(Service::Supabase, 0), by(Service::AdminApi, 40 * 60)]);
        let said = apart.check().unwrap_err().to_string();
        assert!(said.contains("no common time") && said.contains("the admin API"), "{said}");
        // Who is only told things may have any time.
        assert_eq!(Times(vec![by(Service::Supabase, 0), by(Service::Slack, 40 * 60)]).check(), Ok(()));
    }

    /// A machine whose wall clock can be set while its monotonic one goes on.
    #[derive(Debug)]
    struct Machine {
        real: VirtualClock,
        wrong_by: Mutex<SignedDuration>,
    }

    #[async_trait]
    impl Clock for Machine {
        fn now(&self) -> Timestamp {
            self.real.now() + *self.wrong_by.lock().unwrap()
        }

        fn monotonic(&self) -> Duration {
            self.real.monotonic()
        }

        async fn sleep_until(&self, at: Timestamp) {
            let real = at - *self.wrong_by.lock().unwrap();
            self.real.sleep_until(real).await;
        }
    }

    #[tokio::test]
    async fn d9_the_platforms_time_goes_on_whatever_the_wall_clock_is_set_to() {
        for wrong in [0, 25 * 60, -40 * 60, 23 * 3_600] {
            let start = at("2026-11-23T09:00:00Z");
            let wrong = SignedDuration::from_secs(wrong);
            let machine = Arc::new(Machine { real: VirtualClock::at(start), wrong_by: Mutex::new(wrong) });
            let times = Arc::new(HeardTimes::default());
            times.heard(Service::Supabase, start, machine.now(), machine.now());
            let ours: Arc<dyn Clock> = machine.clone();
            let clock = PlatformClock::over(ours, times.clone());
            let off = |clock: &PlatformClock| clock.now().duration_since(machine.real.now()).unsigned_abs();
            assert!(off(&clock) <= Duration::from_secs(1), "{wrong}: {:?}", off(&clock));
            let ten_years = SignedDuration::from_hours(10 * 365 * 24);
            for jump in [ten_years, SignedDuration::from_hours(-2)] {
                *machine.wrong_by.lock().unwrap() = jump;
                assert!(off(&clock) <= Duration::from_secs(1), "{wrong}, {jump}: {:?}", off(&clock));
                let before = machine.real.now();
                clock.sleep_until(clock.now() + Duration::from_secs(30)).await;
                let slept = machine.real.now().duration_since(before);
                assert_eq!(
                    slept,
                    SignedDuration::from_secs(30),
                    "{wrong}, {jump}: neither a burst nor a skip"
                );
                // The next answer is heard by the clock that was set, and moves nothing.
                let now = machine.real.now();
                times.heard(
                    Service::Supabase,
                    now.round(jiff::Unit::Second).unwrap(),
                    machine.now(),
                    machine.now(),
                );
                assert!(off(&clock) <= Duration::from_secs(2), "{wrong}, {jump}: {:?}", off(&clock));
            }
        }
    }
}
