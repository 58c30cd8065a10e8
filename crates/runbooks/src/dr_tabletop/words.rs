//! Durations, sizes and moments as people read them.

use std::time::Duration;

use allclear_core::recovery::Took;
use jiff::Timestamp;

/// `4 s`, `11 min`, `1 h 2 min 3 s`; below ten seconds with tenths.
pub(super) fn span(took: Duration) -> String {
    let millis = took.as_millis();
    if millis < 1_000 {
        return format!("{millis} ms");
    }
    if millis < 10_000 && millis % 1_000 >= 100 {
        return format!("{}.{} s", millis / 1_000, millis % 1_000 / 100);
    }
    let seconds = took.as_secs();
    let parts = [(seconds / 3_600, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let parts: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n} {unit}")).collect();
    parts.join(" ")
}

/// What [`span`] wrote, to the unit that it wrote; `None` for anything else.
pub(super) fn read_span(text: &str) -> Option<Duration> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(2) {
        return None;
    }
    let part = |pair: &[&str]| {
        let seconds = match *pair.get(1)? {
            "ms" => 0.001,
            "s" => 1.0,
            "min" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        let number: f64 = pair.first()?.parse().ok()?;
        Duration::try_from_secs_f64(number * seconds).ok()
    };
    words.chunks(2).map(part).try_fold(Duration::ZERO, |sum, part| sum.checked_add(part?))
}

/// `512 bytes`, `30.0 KiB`, `1.5 GiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1_024 {
        return format!("{bytes} bytes");
    }
    let mut amount = bytes as f64 / 1_024.0;
    let mut unit = 0;
    while amount >= 1_024.0 && unit + 1 < UNITS.len() {
        amount /= 1_024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

/// `1 table`, `2 tables`.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// `14:03:05 UTC`.
pub(super) fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S UTC").to_string()
}

/// All parts together; `None` where nothing was measured.
pub(super) fn together(took: &[Took]) -> Option<Duration> {
    (!took.is_empty()).then(|| took.iter().map(|part| part.took).sum())
}

/// `dump 1 min, upload 20 s`.
pub(super) fn parts(took: &[Took]) -> String {
    took.iter().map(|part| format!("{} {}", part.what, span(part.took))).collect::<Vec<_>>().join(", ")
}

/// Text from outside as part of one line of Markdown: no line of its own, no table cell, no tag.
pub(super) fn inline(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace('<', "&lt;").replace('>', "&gt;").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_well() {
        let spans = [250, 1_000, 2_340, 59_000, 660_000, 3_723_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(spans, ["250 ms", "1 s", "2.3 s", "59 s", "11 min", "1 h 2 min 3 s"]);
        for (ms, text) in [250, 1_000, 2_300, 59_000, 660_000, 3_723_000].into_iter().zip(spans) {
            assert_eq!(read_span(&text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "a while", "3", "3 min 2", "-1 s", "2 days", "NaN s", "1e300 h"] {
            assert_eq!(read_span(text), None, "{text}");
        }
        let sizes = [0, 1_023, 30 * 1_024, 3 << 29].map(size);
        assert_eq!(sizes, ["0 bytes", "1023 bytes", "30.0 KiB", "1.5 GiB"]);
    }

    #[test]
    fn foreign_text_stays_on_its_line() {
        assert_eq!(inline("a\n# b | <b>"), "a # b \\| &lt;b&gt;");
    }
}
