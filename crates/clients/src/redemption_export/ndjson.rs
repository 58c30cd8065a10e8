//! NDJSON: one object a line, keys in any order, unknown keys skipped.
//!
//! Most lines are plain: printable ASCII without escapes. Those are read by hand, and what is nested in them is skipped by
//! `serde_json`, which checks it too. Any line that is not proven plain and right is given to `serde_json` whole, so a line means
//! the same both ways and only one of them has to explain what is wrong.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use serde_json::Value;

use super::near;
use super::row::{Cells, Fault, Field};

/// Reads one line and shows its cells to `each`. It is `known` to be plain where somebody has looked already.
#[inline]
pub(super) fn row<R>(line: &[u8], known: bool, each: impl FnOnce(&Cells<'_>) -> R) -> Result<R, Fault> {
    if let Some(cells) = (known || is_plain(line)).then(|| plain(line)).flatten() {
        return Ok(each(&cells));
    }
    let owned = careful(line)?;
    Ok(each(&owned.cells()))
}

/// Whether there is neither an escape nor a control character, nor anything beyond ASCII.
#[inline]
#[expect(
    clippy::needless_bitwise_bool,
    reason = "without a branch a byte, the compiler looks at many at once"
)]
pub(super) fn is_plain(line: &[u8]) -> bool {
    !line.iter().fold(false, |odd, byte| odd | !(b' '..=b'~').contains(byte) | (*byte == b'\\'))
}

/// Whether every line of these is plain.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "without a branch a byte, the compiler looks at many at once"
)]
pub(super) fn are_plain(lines: &[u8]) -> bool {
    !lines
        .iter()
        .fold(false, |odd, byte| odd | (!(b' '..=b'~').contains(byte) & (*byte != b'\n')) | (*byte == b'\\'))
}

/// The cells of a line that [is plain](is_plain).
fn plain(line: &[u8]) -> Option<Cells<'_>> {
    let mut cells = Cells::default();
    let mut rest = line.strip_prefix(b"{")?;
    loop {
        let (name, after) = string(spaces(rest))?;
        let value = spaces(spaces(after).strip_prefix(b":")?);
        let after = match Field::named(name) {
            Some(field) => {
                let (text, after) = scalar(value)?;
                if cells.0[field as usize].replace(text).is_some() {
                    return None;
                }
                after
            }
            None => skip(value)?,
        };
        match spaces(after).split_first()? {
            (b',', next) => rest = next,
            (b'}', end) if spaces(end).is_empty() => return Some(cells),
            _ => return None,
        }
    }
}

#[inline]
fn spaces(mut text: &[u8]) -> &[u8] {
    while let Some((b' ', rest)) = text.split_first() {
        text = rest;
    }
    text
}

/// A string and what follows it. There are no escapes here.
#[inline]
fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inside = text.strip_prefix(b"\"")?;
    let end = near::find(b'"', inside)?;
    Some((&inside[..end], &inside[end + 1..]))
}

/// A string, null or a whole number.
#[inline]
fn scalar(text: &[u8]) -> Option<(&[u8], &[u8])> {
    match text.first()? {
        b'"' => string(text),
        b'n' => Some((&text[..0], text.strip_prefix(b"null")?)),
        b'1'..=b'9' => {
            let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let ends = matches!(text.get(digits), Some(b',' | b'}' | b' '));
            (digits < 19 && ends).then(|| text.split_at(digits))
        }
        _ => None,
    }
}

/// What follows a value that we do not read.
#[inline]
fn skip(text: &[u8]) -> Option<&[u8]> {
    if let Some((_, after)) = scalar(text) {
        return Some(after);
    }
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let end = values.byte_offset();
    Some(&text[end..])
}

/// The fields of a line as `serde_json` reads them.
#[derive(Deserialize)]
struct Line {
    #[serde(default, deserialize_with = "text")]
    id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    voucher_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    event_type: Option<String>,
    #[serde(default, deserialize_with = "text")]
    station_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    created_at: Option<String>,
    #[serde(default, deserialize_with = "text")]
    idempotency_key: Option<String>,
}

impl Line {
    fn cells(&self) -> Cells<'_> {
        let Self { id, voucher_id, event_type, station_id, created_at, idempotency_key } = self;
        let all = [id, voucher_id, event_type, station_id, created_at, idempotency_key];
        Cells(all.map(|text| text.as_deref().map(str::as_bytes)))
    }
}

fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Some(match Value::deserialize(from)? {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }))
}

#[cold]
fn careful(line: &[u8]) -> Result<Line, Fault> {
    let fix = "write one JSON object a line, as `row_to_json` does";
    // A derived reader would take an array's elements for the fields.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(Fault::in_line("is no JSON object (column 1)", fix));
    }
    serde_json::from_slice(line).map_err(|error| {
        let problem = match error.classify() {
            serde_json::error::Category::Eof => "is cut off".to_owned(),
            _ if error.to_string().starts_with("duplicate") => "has a key twice".to_owned(),
            _ => format!("is no JSON object (column {})", error.column()),
        };
        Fault::in_line(problem, fix)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = r#"{"id":"e1", "context":{"a":[1,{"b":null}],"c":"x"},"voucher_id":"v","event_type":"redeemed" ,"station_id":null,"amount":-1.5e3,"created_at":"t","idempotency_key":12}"#;

    proptest! {
        /// Whatever becomes of a line, both ways read the same or the fast one declines.
        #[test]
        fn plain_reading_is_careful_reading(
            edits in prop::collection::vec((0..LINE.len(), prop::sample::select(b"{}[]\",: \\nul1a0-e.\t\r\xc3".to_vec()), any::<bool>()), 0..4)
        ) {
            let mut line = LINE.as_bytes().to_vec();
            for (at, byte, insert) in edits {
                let at = at.min(line.len() - 1);
                if insert { line.insert(at, byte) } else { line[at] = byte }
            }
            if let Some(cells) = is_plain(&line).then(|| plain(&line)).flatten() {
                let careful = careful(&line);
                let Ok(careful) = careful else {
                    return Err(TestCaseError::fail(String::from_utf8_lossy(&line).into_owned()));
                };
                prop_assert_eq!(cells, careful.cells());
            }
        }
    }

    #[test]
    fn the_usual_line_is_plain_and_an_escaped_one_is_read_all_the_same() {
        assert!(is_plain(LINE.as_bytes()) && plain(LINE.as_bytes()).is_some());
        let escaped = LINE.replace("\"v\"", "\"\\u0076\"");
        assert!(!is_plain(escaped.as_bytes()) && !are_plain(escaped.as_bytes()));
        let voucher = row(escaped.as_bytes(), false, |cells| cells.0[Field::Voucher as usize] == Some(b"v"));
        assert_eq!(voucher, Ok(true));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for line in ["{", "[]", "{\"id\":1,\"id\":2}", "{}x", "{\"id\":\"a}", "null"] {
            assert!(row(line.as_bytes(), false, |_| ()).is_err(), "{line}");
        }
    }
}
