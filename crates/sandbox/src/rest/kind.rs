//! Types of columns: what Postgres reads as a value of each, and how it refuses what is none.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::query::RestError;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Uuid,
    Time,
    Int,
    Numeric,
    Text,
    Json,
}

impl Kind {
    /// Refuses a text that is no value of this type, with the database's own code.
    pub(crate) fn check(self, text: &str) -> Result<(), RestError> {
        let (is_one, name) = match self {
            Self::Uuid => (text.parse::<Uuid>().is_ok(), "uuid"),
            Self::Int => (text.parse::<i64>().is_ok(), "bigint"),
            Self::Numeric => (text.parse::<f64>().is_ok(), "numeric"),
            Self::Time => return time(text).map(drop),
            Self::Text | Self::Json => return Ok(()),
        };
        if is_one {
            return Ok(());
        }
        Err(RestError::new(400, "22P02", format!("invalid input syntax for type {name}: \"{text}\"")))
    }
}

/// A moment as Postgres reads it: without an offset it is UTC.
pub(crate) fn time(text: &str) -> Result<Timestamp, RestError> {
    let in_utc = || TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok();
    let read = text.parse().ok().or_else(in_utc);
    read.ok_or_else(|| {
        if is_dated(text) {
            let message = format!("date/time field value out of range: \"{text}\"");
            return RestError::new(400, "22008", message);
        }
        let message = format!("invalid input syntax for type timestamp with time zone: \"{text}\"");
        RestError::new(400, "22007", message)
    })
}

/// Whether a text has a date's shape, so that only its figures can be wrong.
fn is_dated(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = |place: usize| if matches!(place, 4 | 7) { b'-' } else { b'0' };
    bytes.len() >= 10
        && (0..10).all(|place| match shape(place) {
            b'0' => bytes[place].is_ascii_digit(),
            dash => bytes[place] == dash,
        })
        && bytes[10..].iter().skip(1).all(|byte| byte.is_ascii_digit() || b":.Z+-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(kind: Kind, text: &str) -> Option<&'static str> {
        kind.check(text).err().map(|error| error.code)
    }

    #[test]
    fn what_is_no_value_of_its_type_is_refused_as_the_database_does() {
        assert_eq!(code(Kind::Uuid, "6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90"), None);
        assert_eq!(code(Kind::Uuid, "banana"), Some("22P02"));
        assert_eq!(code(Kind::Int, "1.5"), Some("22P02"));
        for good in
            ["2026-11-29T08:00:00Z", "2026-11-29 08:00:00.5+02:00", "2026-11-29T08:00:00", "2026-11-29"]
        {
            assert_eq!(code(Kind::Time, good), None, "{good}");
        }
        assert_eq!(code(Kind::Time, "yesterday-ish"), Some("22007"));
        // A plus sign that was not escaped arrives as a space.
        assert_eq!(code(Kind::Time, "2026-11-29T08:00:00 02:00"), Some("22007"));
        assert_eq!(code(Kind::Time, "2026-02-30"), Some("22008"));
    }
}
