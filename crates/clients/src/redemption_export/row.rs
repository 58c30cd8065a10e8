//! A row as cells, and what its cells must hold. Both formats end here, so both mean the same.

use allclear_core::VoucherId;
use allclear_core::redemption::ExportedRedemption;
use jiff::Timestamp;
use uuid::Uuid;

/// The event that uses a voucher up.
const REDEEMED: &[u8] = b"redeemed";

/// The fields that we read, in the order of [`Cells`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Id,
    Voucher,
    Type,
    Station,
    At,
    Key,
}

impl Field {
    pub(super) const ALL: [Self; 6] =
        [Self::Id, Self::Voucher, Self::Type, Self::Station, Self::At, Self::Key];

    /// Its name in both formats: the column's.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Voucher => "voucher_id",
            Self::Type => "event_type",
            Self::Station => "station_id",
            Self::At => "created_at",
            Self::Key => "idempotency_key",
        }
    }

    #[inline]
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"id" => Self::Id,
            b"voucher_id" => Self::Voucher,
            b"event_type" => Self::Type,
            b"station_id" => Self::Station,
            b"created_at" => Self::At,
            b"idempotency_key" => Self::Key,
            _ => return None,
        })
    }
}

/// What is wrong with a line. It never quotes the value: in a line whose columns are shifted that may be a phone number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) field: &'static str,
    pub(super) problem: String,
    pub(super) fix: &'static str,
}

impl Fault {
    pub(super) fn in_line(problem: impl Into<String>, fix: &'static str) -> Self {
        Self { field: "line", problem: problem.into(), fix }
    }

    fn of(field: Field, problem: &str, fix: &'static str) -> Self {
        Self { field: field.name(), problem: problem.to_owned(), fix }
    }
}

/// The fields' text: `None` where the field is not there at all, empty where it is null.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cells<'a>(pub(super) [Option<&'a [u8]>; 6]);

impl<'a> Cells<'a> {
    #[inline]
    fn get(&self, field: Field) -> Option<&'a [u8]> {
        self.0[field as usize]
    }

    /// The text of a field that may be null.
    fn some(&self, field: Field) -> Option<&'a [u8]> {
        self.get(field).filter(|text| !text.is_empty())
    }

    /// Checks every field; gives the voucher if the row is a redemption. A row without an event type is one: redemptions have
    /// a table of their own, without that column.
    #[inline]
    pub(super) fn check(&self) -> Result<Option<Uuid>, Fault> {
        let voucher = self.voucher()?;
        if self.some(Field::Id).is_none() {
            return Err(Fault::of(Field::Id, "is missing", "export the rows with their ids"));
        }
        if let Some(station) = self.some(Field::Station) {
            uuid(Field::Station, station)?;
        }
        let at = self.get(Field::At).unwrap_or_default();
        if !is_plain_time(at) {
            time(at)?;
        }
        match self.get(Field::Type) {
            None | Some(REDEEMED) => Ok(Some(voucher)),
            Some(b"") => Err(Fault::of(
                Field::Type,
                "is empty",
                "export the events with their types, or leave the column out of an export of redemptions",
            )),
            Some(_) => Ok(None),
        }
    }

    /// The row's voucher.
    #[inline]
    pub(super) fn voucher(&self) -> Result<Uuid, Fault> {
        uuid(Field::Voucher, self.get(Field::Voucher).unwrap_or_default())
    }

    /// The whole row.
    pub(super) fn read(&self) -> Result<ExportedRedemption, Fault> {
        let text = |field| self.some(field).map(|text| read_text(field, text)).transpose();
        let missing = Fault::of(Field::Id, "is missing", "export the rows with their ids");
        Ok(ExportedRedemption {
            voucher: VoucherId(self.voucher()?),
            at: time(self.get(Field::At).unwrap_or_default())?,
            event: text(Field::Id)?.ok_or(missing)?,
            station: self.some(Field::Station).map(|text| uuid(Field::Station, text)).transpose()?,
            key: text(Field::Key)?,
        })
    }
}

fn read_text(field: Field, text: &[u8]) -> Result<String, Fault> {
    let text = std::str::from_utf8(text);
    text.map(str::to_owned).map_err(|_| Fault::of(field, "is not UTF-8", "export the file as UTF-8"))
}

#[inline]
fn uuid(field: Field, text: &[u8]) -> Result<Uuid, Fault> {
    match usual_uuid(text) {
        Some(uuid) => Ok(uuid),
        None => Uuid::try_parse_ascii(text).map_err(|_| not_a_uuid(field, text)),
    }
}

/// A UUID in its usual spelling, in half the time: eight digits are read at once. What it cannot read is left to the parser
/// that knows every spelling.
#[inline]
fn usual_uuid(text: &[u8]) -> Option<Uuid> {
    let text: &[u8; 36] = text.try_into().ok()?;
    if [text[8], text[13], text[18], text[23]] != *b"----" {
        return None;
    }
    let digits = |first: usize, then: usize| {
        let mut eight = [0; 8];
        eight[..4].copy_from_slice(&text[first..first + 4]);
        eight[4..].copy_from_slice(&text[then..then + 4]);
        eight_hex_digits(u64::from_be_bytes(eight))
    };
    let parts = [digits(0, 4)?, digits(9, 14)?, digits(19, 24)?, digits(28, 32)?];
    Some(Uuid::from_u128(parts.into_iter().fold(0, |id, part| id << 32 | u128::from(part))))
}

/// The value of eight hex digits, the first in the highest byte; `None` when one is no digit. No byte carries into the next:
/// each sum stays below 128.
#[inline]
fn eight_hex_digits(text: u64) -> Option<u32> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let letters = text >> 6 & EACH;
    let values = (text & (EACH * 0x0f)) + letters * 9;
    let above_nine = (values + EACH * 6) >> 4 & EACH;
    // Written back in lower case, right digits are what was read.
    let written = values + EACH * u64::from(b'0') + above_nine * u64::from(b'a' - b'0' - 10);
    if values & (EACH * 0xf0) != 0 || written != text | letters << 5 {
        return None;
    }
    let pairs = (values | values >> 4) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    Some((fours | fours >> 16) as u32)
}

#[cold]
fn not_a_uuid(field: Field, text: &[u8]) -> Fault {
    let problem = if text.is_empty() { "is missing" } else { "is no UUID" };
    Fault::of(field, problem, "give a UUID such as 6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90")
}

#[cold]
fn time(text: &[u8]) -> Result<Timestamp, Fault> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    let problem = if text.is_empty() { "is missing" } else { "is no time with an offset" };
    let fix = "give a time such as 2026-11-23T07:00:00Z or 2026-11-23 07:00:00.123+00";
    parsed.ok_or_else(|| Fault::of(Field::At, problem, fix))
}

/// Proves that a text is a time without making one: a date of our centuries whose month has that day, a time of day, an optional
/// fraction and one of the usual offsets. What it cannot prove is parsed.
#[inline]
fn is_plain_time(text: &[u8]) -> bool {
    let Some((head, tail)) = text.split_first_chunk::<19>() else { return false };
    let two = |at: usize| {
        let (ten, one) = (head[at].wrapping_sub(b'0'), head[at + 1].wrapping_sub(b'0'));
        if ten < 10 && one < 10 { ten * 10 + one } else { u8::MAX }
    };
    let marks = head[4] == b'-' && head[7] == b'-' && head[13] == b':' && head[16] == b':';
    let between = head[10] == b'T' || head[10] == b' ';
    let (century, month, day) = (two(0), two(5), two(8));
    let days = match month {
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    let date = (19..=21).contains(&century) && two(2) < 100 && (1..=days).contains(&day);
    let clock = two(11) < 24 && two(14) < 60 && two(17) < 60;
    marks && between && date && clock && is_plain_tail(tail)
}

#[inline]
fn is_plain_tail(tail: &[u8]) -> bool {
    let offset = match tail.split_first() {
        Some((b'.', fraction)) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return false;
            }
            &fraction[digits..]
        }
        _ => tail,
    };
    matches!(offset, b"Z" | b"+00" | b"+00:00" | b"+02:00" | b"+02")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Both parsers of UUIDs agree, on ids with a letter or two exchanged too.
        #[test]
        fn usual_uuids_are_read_as_any_other(
            id: u128, upper: bool, edits in prop::collection::vec((0..36_usize, any::<u8>()), 0..3)
        ) {
            let text = Uuid::from_u128(id).to_string();
            let mut text = if upper { text.to_uppercase() } else { text }.into_bytes();
            let is_whole = edits.is_empty();
            for (at, byte) in edits {
                text[at] = byte;
            }
            let usual = usual_uuid(&text);
            prop_assert!(!is_whole || usual == Some(Uuid::from_u128(id)));
            prop_assert!(usual.is_none() || usual == Uuid::try_parse_ascii(&text).ok(), "{:?}", text);
        }

        /// What is taken for a time without parsing is one.
        #[test]
        fn plain_times_parse(
            text in "(19|20|21|22|99)[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,10})?(Z|\\+00|\\+02:00|\\+00:0|)"
        ) {
            let parsed: Result<Timestamp, _> = text.parse();
            prop_assert!(!is_plain_time(text.as_bytes()) || parsed.is_ok(), "{}", text);
        }
    }

    #[test]
    fn the_usual_times_are_plain() {
        for text in ["2026-11-23T07:00:00Z", "2026-11-23 07:00:00.123456+00", "2026-11-30T23:59:59.1+02:00"] {
            assert!(is_plain_time(text.as_bytes()) && time(text.as_bytes()).is_ok(), "{text}");
        }
        for text in ["2026-02-29T07:00:00Z", "2026-13-01T07:00:00Z", "2026-11-23", "", "2026-11-23T07:00:00"]
        {
            assert!(!is_plain_time(text.as_bytes()) && time(text.as_bytes()).is_err(), "{text}");
        }
        assert!(time(b"2024-02-29T07:00:00-03:30").is_ok());
    }
}
