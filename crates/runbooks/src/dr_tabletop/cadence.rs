//! When an exercise is held: on the first such weekday of each quarter, at a full hour UTC.
//!
//! Pure: whoever needs to know what comes next gives the moment to count from. Calendars and the daemon get the same rule as
//! text (RFC 5545).

use allclear_core::PortError;
use allclear_engine::{Evidence, Observation, Probe};
use async_trait::async_trait;
use jiff::civil::{Date, Weekday, date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

/// The first such weekday of January, April, July and October.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstOfQuarter {
    /// Which weekday.
    pub weekday: Weekday,
    /// At which full hour, UTC; 0 to 23.
    pub hour: i8,
}

/// The cadence of the written runbook: first Tuesday of each quarter at 14:00 UTC.
pub const CADENCE: FirstOfQuarter = FirstOfQuarter { weekday: Weekday::Tuesday, hour: 14 };

/// The first months of the quarters.
const MONTHS: [i8; 4] = [1, 4, 7, 10];

impl FirstOfQuarter {
    /// The recurrence rule (RFC 5545), without a start.
    pub fn rrule(self) -> String {
        let day = match self.weekday {
            Weekday::Monday => "MO",
            Weekday::Tuesday => "TU",
            Weekday::Wednesday => "WE",
            Weekday::Thursday => "TH",
            Weekday::Friday => "FR",
            Weekday::Saturday => "SA",
            Weekday::Sunday => "SU",
        };
        format!("FREQ=MONTHLY;BYMONTH=1,4,7,10;BYDAY=1{day};BYHOUR={};BYMINUTE=0;BYSECOND=0", self.hour)
    }

    /// The dates after a moment, soonest first; they end where jiff's calendar does, in the year 9999.
    pub fn after(self, moment: Timestamp) -> impl Iterator<Item = Timestamp> {
        let year = moment.to_zoned_datetime(TimeZone::UTC).year();
        (year..=9999)
            .flat_map(|year| MONTHS.map(|month| (year, month)))
            .filter_map(move |(year, month)| self.in_month(year, month))
            .filter(move |at| *at > moment)
    }

    /// Whether one is held on this day (UTC).
    pub fn is_on(self, day: Date) -> bool {
        day.weekday() == self.weekday && day.day() <= 7 && MONTHS.contains(&day.month())
    }

    fn in_month(self, year: i16, month: i8) -> Option<Timestamp> {
        let first = date(year, month, 1);
        let days = first.weekday().until(self.weekday);
        let day = first.checked_add(i64::from(days).days()).ok()?;
        Some(day.at(self.hour, 0, 0, 0).to_zoned_datetime(TimeZone::UTC).ok()?.timestamp())
    }
}

/// A moment as people write it in a calendar.
pub fn in_words(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// How a day stands in the cadence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InCadence {
    /// Whether the exercise was due on that day.
    pub(super) scheduled: bool,
    /// The next dates.
    pub(super) next: Vec<Timestamp>,
}

/// Looks the day up in the cadence.
pub(super) struct Calendar {
    pub(super) day: Date,
}

#[async_trait]
impl Probe for Calendar {
    type Value = InCadence;

    async fn observe(&self, now: Timestamp) -> Result<Observation<InCadence>, PortError> {
        let scheduled = CADENCE.is_on(self.day);
        let later = |at: &Timestamp| at.to_zoned_datetime(TimeZone::UTC).date() > self.day;
        let next: Vec<Timestamp> = CADENCE.after(now).filter(later).take(4).collect();
        let says = format!(
            "{} is {} the cadence; the next dates are {}",
            self.day,
            if scheduled { "in" } else { "outside" },
            next.iter().map(|at| in_words(*at)).collect::<Vec<_>>().join(", ")
        );
        let evidence = vec![Evidence::new("the cadence, as an RFC 5545 rule", CADENCE.rrule())];
        Ok(Observation { value: InCadence { scheduled, next }, says, evidence })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_dates_of_the_written_runbook_are_in_the_cadence() {
        let dates: Vec<Timestamp> = CADENCE.after(at("2024-09-01T00:00:00Z")).take(3).collect();
        let expected = ["2024-10-01T14:00:00Z", "2025-01-07T14:00:00Z", "2025-04-01T14:00:00Z"].map(at);
        assert_eq!(dates, expected);
        assert!(CADENCE.is_on(date(2024, 10, 1)) && CADENCE.is_on(date(2025, 1, 7)));
        assert!(!CADENCE.is_on(date(2025, 1, 14)) && !CADENCE.is_on(date(2025, 2, 4)));
    }

    #[test]
    fn an_exercise_that_begins_is_not_the_next_one() {
        let next = CADENCE.after(at("2025-01-07T14:00:00Z")).next();
        assert_eq!(next, Some(at("2025-04-01T14:00:00Z")));
    }

    #[test]
    fn calendars_get_the_same_rule() {
        assert_eq!(
            CADENCE.rrule(),
            "FREQ=MONTHLY;BYMONTH=1,4,7,10;BYDAY=1TU;BYHOUR=14;BYMINUTE=0;BYSECOND=0"
        );
    }

    proptest! {
        /// After any moment there is one within 98 days, on a Tuesday among the first seven days of a quarter, and none
        /// between the moment and it.
        #[test]
        fn the_next_date_is_the_first_one_that_fits(second in 0_i64..4_000_000_000) {
            let moment = Timestamp::from_second(second).unwrap();
            let next = CADENCE.after(moment).next().unwrap();
            prop_assert!(next > moment && next.as_second() - second <= 98 * 86_400);
            let day = next.to_zoned_datetime(TimeZone::UTC).date();
            prop_assert!(CADENCE.is_on(day));
            let mut between = moment.to_zoned_datetime(TimeZone::UTC).date().tomorrow().unwrap();
            while between < day {
                prop_assert!(!CADENCE.is_on(between), "{between}");
                between = between.tomorrow().unwrap();
            }
        }
    }
}
