//! Quiet hours and throttle: what the platform stored, what is wrong with it, and when sending is safe.
//!
//! The platform compares quiet hours in its *server's* zone and accepts any text as a time (`"now"` switches
//! them off silently). Here they are compared in the recipients' zone, which whoever calls names.

use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

use crate::error::InvalidValue;

/// The throttle above which we call a setting a mistake, per minute. WhatsApp's default is 80 a second per
/// number; the platform's dispatcher claims 40 rows a minute, so thousands can only be a typing error.
pub const THROTTLE_CAP: u32 = 1_000;

/// A daily span in which nothing may be sent; `start` inclusive, `end` exclusive, over midnight when
/// `start > end`, and the whole day when they are equal (as the platform does).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietHours {
    /// When it begins.
    pub start: Time,
    /// When it ends.
    pub end: Time,
}

impl QuietHours {
    /// Reads two `HH:MM` times.
    pub fn parse(start: &str, end: &str) -> Result<Self, InvalidValue> {
        Ok(Self {
            start: time_of_day("quiet hours start", start)?,
            end: time_of_day("quiet hours end", end)?,
        })
    }

    /// Whether `time` lies in them.
    pub fn contains(&self, time: Time) -> bool {
        if self.start < self.end {
            self.start <= time && time < self.end
        } else {
            time >= self.start || time < self.end
        }
    }

    /// When those began in which `now` lies, in the recipients' `zone`; `None` outside them.
    pub fn began_at(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let there = now.to_zoned_datetime(zone.clone());
        if !self.contains(there.time()) {
            return None;
        }
        let today = there.date();
        let date = if there.time() >= self.start { today } else { today.checked_sub(1.day()).ok()? };
        date.to_datetime(self.start).to_zoned_datetime(zone.clone()).ok().map(|began| began.timestamp())
    }

    /// When they begin next after `now`, in the recipients' `zone`.
    pub fn begin_after(&self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        next_time(now, zone, self.start)
    }

    /// How long they last each day.
    pub fn length(&self) -> Duration {
        let seconds = seconds_of(self.end) - seconds_of(self.start);
        let seconds = if seconds <= 0 { seconds + 86_400 } else { seconds };
        Duration::from_secs(seconds.unsigned_abs())
    }

    /// The first moment at or after `now` from which nothing is quiet for as long as `needed`, in the
    /// recipients' `zone`; `None` when the allowed part of a day is shorter than that.
    pub fn next_allowed(&self, now: Timestamp, zone: &TimeZone, needed: Duration) -> Option<Timestamp> {
        let allowed = Duration::from_hours(24).checked_sub(self.length())?;
        if allowed.is_zero() || needed > allowed {
            return None;
        }
        if !self.contains(now.to_zoned_datetime(zone.clone()).time())
            && now + needed <= next_time(now, zone, self.start)
        {
            return Some(now);
        }
        Some(next_time(now, zone, self.end))
    }
}

impl std::fmt::Display for QuietHours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}–{}", self.start.strftime("%H:%M"), self.end.strftime("%H:%M"))
    }
}

/// The first moment strictly after `now` at which clocks in `zone` show `time`.
fn next_time(now: Timestamp, zone: &TimeZone, time: Time) -> Timestamp {
    let local = now.to_zoned_datetime(zone.clone());
    let mut date = local.date();
    loop {
        // In a gap or fold of daylight saving the compatible choice is taken; Kigali has neither.
        if let Ok(candidate) = date.to_datetime(time).to_zoned_datetime(zone.clone())
            && candidate.timestamp() > now
        {
            return candidate.timestamp();
        }
        let Ok(next) = date.checked_add(1.day()) else {
            return Timestamp::MAX;
        };
        date = next;
    }
}

fn seconds_of(time: Time) -> i64 {
    i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second())
}

fn time_of_day(field: &'static str, text: &str) -> Result<Time, InvalidValue> {
    let parsed = (text.len() == 5).then(|| Time::strptime("%H:%M", text).ok()).flatten();
    parsed.ok_or_else(|| InvalidValue {
        field,
        value: text.to_owned(),
        fix: "give a time of day as HH:MM, e.g. 22:00",
    })
}

/// The sending policy as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendPolicy {
    /// When nothing may be sent.
    pub quiet_hours: QuietHours,
    /// How many messages a minute; never 0, which the platform takes for *unlimited*.
    pub throttle_per_minute: u32,
}

/// The sending policy as the platform stores it, right or wrong. Opt-out numbers are counted, never carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPolicy {
    /// The stored start of quiet hours, as text.
    pub quiet_start: String,
    /// The stored end of quiet hours, as text.
    pub quiet_end: String,
    /// The stored throttle.
    pub throttle_per_minute: u32,
    /// How many numbers have opted out.
    pub opted_out: u64,
}

/// What can be wrong with a stored policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum PolicyFault {
    /// A time that is none; the platform then sends at any hour.
    Unreadable {
        /// What is stored.
        start: String,
        /// What is stored.
        end: String,
    },
    /// Quiet for most of the day: start and end are swapped, or equal, which blocks all day.
    MostlyQuiet {
        /// What is stored.
        stored: QuietHours,
    },
    /// 0, which the platform takes for *unlimited* although its playbook says it blocks.
    ThrottleZero,
    /// More than [`THROTTLE_CAP`].
    ThrottleTooHigh {
        /// What is stored, per minute.
        per_minute: u32,
    },
}

impl std::fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable { start, end } => {
                write!(f, "quiet hours `{start}`–`{end}` are no times of day, so the platform ignores them")
            }
            Self::MostlyQuiet { stored } if stored.start == stored.end => {
                write!(
                    f,
                    "quiet hours start and end at {}, which blocks all day",
                    stored.start.strftime("%H:%M")
                )
            }
            Self::MostlyQuiet { stored } => {
                write!(f, "quiet hours {stored} cover most of the day; start and end look swapped")
            }
            Self::ThrottleZero => f.write_str("the throttle is 0, which the platform takes for unlimited"),
            Self::ThrottleTooHigh { per_minute } => {
                write!(f, "the throttle is {per_minute} a minute, above {THROTTLE_CAP}")
            }
        }
    }
}

impl StoredPolicy {
    /// All that is wrong with it.
    pub fn faults(&self) -> Vec<PolicyFault> {
        let mut faults = Vec::new();
        match QuietHours::parse(&self.quiet_start, &self.quiet_end) {
            Err(_) => {
                faults.push(PolicyFault::Unreadable {
                    start: self.quiet_start.clone(),
                    end: self.quiet_end.clone(),
                });
            }
            Ok(stored) if stored.length() > Duration::from_hours(12) => {
                faults.push(PolicyFault::MostlyQuiet { stored });
            }
            Ok(_) => {}
        }
        match self.throttle_per_minute {
            0 => faults.push(PolicyFault::ThrottleZero),
            per_minute if per_minute > THROTTLE_CAP => {
                faults.push(PolicyFault::ThrottleTooHigh { per_minute });
            }
            _ => {}
        }
        faults
    }

    /// The policy to trust: what is stored where it is sound, `fallback` where it is not.
    pub fn repaired(&self, fallback: &SendPolicy) -> SendPolicy {
        let faults = self.faults();
        let hours_are_sound = !faults
            .iter()
            .any(|f| matches!(f, PolicyFault::Unreadable { .. } | PolicyFault::MostlyQuiet { .. }));
        let throttle_is_sound = !faults
            .iter()
            .any(|f| matches!(f, PolicyFault::ThrottleZero | PolicyFault::ThrottleTooHigh { .. }));
        let stored_hours =
            QuietHours::parse(&self.quiet_start, &self.quiet_end).ok().filter(|_| hours_are_sound);
        SendPolicy {
            quiet_hours: stored_hours.unwrap_or(fallback.quiet_hours),
            throttle_per_minute: if throttle_is_sound {
                self.throttle_per_minute
            } else {
                fallback.throttle_per_minute
            },
        }
    }

    /// Whether the stored policy says what `wanted` says.
    pub fn says(&self, wanted: &SendPolicy) -> bool {
        self.throttle_per_minute == wanted.throttle_per_minute
            && QuietHours::parse(&self.quiet_start, &self.quiet_end)
                .is_ok_and(|stored| stored == wanted.quiet_hours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kigali() -> TimeZone {
        TimeZone::get("Africa/Kigali").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn quiet_hours_began_today_or_yesterday() {
        let night = QuietHours::parse("22:00", "06:00").unwrap();
        let began = |now: &str| night.began_at(at(now), &kigali());
        assert_eq!(began("2026-11-23T19:59:59Z"), None);
        assert_eq!(began("2026-11-23T20:00:00Z"), Some(at("2026-11-23T20:00:00Z")));
        assert_eq!(began("2026-11-24T03:59:59Z"), Some(at("2026-11-23T20:00:00Z")));
        assert_eq!(began("2026-11-24T04:00:00Z"), None);
        let noon = QuietHours::parse("12:00", "14:00").unwrap();
        assert_eq!(noon.began_at(at("2026-11-23T11:00:00Z"), &kigali()), Some(at("2026-11-23T10:00:00Z")));
    }

    #[test]
    fn every_minute_of_a_day_is_quiet_or_not_as_written() {
        for (start, end, quiet_minutes) in [
            ("22:00", "06:00", 480),
            ("06:00", "22:00", 960),
            ("13:00", "13:00", 1440),
            ("00:00", "00:01", 1),
        ] {
            let hours = QuietHours::parse(start, end).unwrap();
            let count = (0..1440_i16)
                .filter(|m| hours.contains(Time::constant((m / 60) as i8, (m % 60) as i8, 0, 0)))
                .count();
            assert_eq!(count, quiet_minutes, "{start} {end}");
            assert_eq!(hours.length().as_secs() / 60, quiet_minutes as u64);
        }
    }

    #[test]
    fn sending_waits_for_the_morning_when_the_drain_would_reach_into_the_night() {
        let night = QuietHours::parse("22:00", "06:00").unwrap();
        let noon = at("2026-11-23T10:00:00Z");
        assert_eq!(night.next_allowed(noon, &kigali(), Duration::from_hours(2)), Some(noon));
        // 21:30 in Kigali; an hour's drain would run until 22:30.
        let evening = at("2026-11-23T19:30:00Z");
        let morning = at("2026-11-24T04:00:00Z");
        assert_eq!(night.next_allowed(evening, &kigali(), Duration::from_hours(1)), Some(morning));
        assert_eq!(night.next_allowed(at("2026-11-23T23:00:00Z"), &kigali(), Duration::ZERO), Some(morning));
        assert_eq!(
            night.next_allowed(noon, &kigali(), Duration::from_hours(17)),
            None,
            "no day is that long"
        );
    }

    #[test]
    fn faults_are_told_apart_and_repaired_one_by_one() {
        let sound =
            SendPolicy { quiet_hours: QuietHours::parse("22:00", "06:00").unwrap(), throttle_per_minute: 60 };
        let stored = StoredPolicy {
            quiet_start: "now".into(),
            quiet_end: "06:00".into(),
            throttle_per_minute: 45,
            opted_out: 3,
        };
        assert!(matches!(stored.faults()[..], [PolicyFault::Unreadable { .. }]));
        assert_eq!(stored.repaired(&sound), SendPolicy { throttle_per_minute: 45, ..sound });
        let swapped = StoredPolicy {
            quiet_start: "06:00".into(),
            quiet_end: "22:00".into(),
            throttle_per_minute: 0,
            ..stored
        };
        assert!(matches!(swapped.faults()[..], [PolicyFault::MostlyQuiet { .. }, PolicyFault::ThrottleZero]));
        assert_eq!(swapped.repaired(&sound), sound);
    }
}
