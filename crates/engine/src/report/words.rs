//! Words: foreign text made harmless, times and durations made readable.

use jiff::{SignedDuration, Timestamp};

/// Longer foreign texts are cut; the whole of them stays in the journal.
const LONGEST: usize = 400;

/// Text without anything that a terminal or a browser would act on: escape sequences, control characters, and
/// characters that hide or reorder others. Runs of whitespace become one space, so the result is one line.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in allclear_core::text::without_sequences(text).chars() {
        if c.is_whitespace() {
            if !out.is_empty() && !out.ends_with(' ') {
                out.push(' ');
            }
        } else if !is_hidden(c) {
            out.push(c);
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// Control characters, direction overrides, and what takes no room.
fn is_hidden(c: char) -> bool {
    c.is_control() || allclear_core::text::is_hidden(c)
}

/// Every time written as the services write it, to the microsecond, in the form for people: to the second, with its zone.
pub(super) fn with_readable_times(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, at, after)) = first_time(rest) {
        out.push_str(before);
        out.push_str(&moment(at));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The first time in a text, with what stands before and after it.
fn first_time(text: &str) -> Option<(&str, Timestamp, &str)> {
    const DATE: usize = "2026-11-23".len();
    text.match_indices('T').find_map(|(t, _)| {
        let from = t.checked_sub(DATE)?;
        let len = text.get(from..)?.find('Z')? + 1;
        let word = text.get(from..from + len)?;
        let part_of_more = text[..from].ends_with(|c: char| c.is_alphanumeric());
        let at =
            word.parse().ok().filter(|_| !part_of_more && word.starts_with(|c: char| c.is_ascii_digit()))?;
        Some((&text[..from], at, &text[from + len..]))
    })
}

/// Foreign text as a part of a sentence: harmless, of bounded length, without a full stop of its own.
pub(super) fn quoted(text: &str) -> String {
    let text = plain(text);
    let text = text.strip_suffix('.').unwrap_or(&text);
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(LONGEST).collect();
    cut.push('…');
    cut
}

/// Foreign text as a sentence of its own: with a capital, where its first word is an ordinary word, and a full stop.
pub(super) fn sentence(text: &str) -> String {
    let text = quoted(text);
    let first = text.split(' ').next().unwrap_or_default();
    let is_word = first.trim_end_matches([',', ':', ';']).chars().all(|c| c.is_ascii_lowercase());
    let mut chars = text.chars();
    let text = match chars.next() {
        Some(initial) if is_word => format!("{}{}", initial.to_ascii_uppercase(), chars.as_str()),
        _ => text,
    };
    stopped(text)
}

/// With a full stop, where it does not end by itself.
pub(super) fn stopped(mut text: String) -> String {
    if !text.ends_with(['.', '?', '!', '…']) {
        text.push('.');
    }
    text
}

/// A time of day.
pub(super) fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

/// A time of day as seen from an entry at `from`; with its date where that is another.
pub(super) fn clock_from(from: Timestamp, at: Timestamp) -> String {
    let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    if day(from) == day(at) { clock(at) } else { format!("{} {}", day(at), clock(at)) }
}

/// Date and time.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A duration for people; from ten seconds on cut to whole ones, as the clock is.
pub(super) fn span(duration: SignedDuration) -> String {
    let sign = if duration.is_negative() { "-" } else { "" };
    let magnitude = duration.unsigned_abs();
    let millis = magnitude.as_millis();
    if millis == 0 {
        return "0 s".to_owned();
    }
    if millis < 1_000 {
        return format!("{sign}{millis} ms");
    }
    if millis < 10_000 {
        let tenths = millis / 100;
        let (whole, tenth) = (tenths / 10, tenths % 10);
        return if tenth == 0 { format!("{sign}{whole} s") } else { format!("{sign}{whole}.{tenth} s") };
    }
    let seconds = millis / 1_000;
    format!("{sign}{}", units(seconds, ""))
}

/// A duration to the nanosecond.
pub(super) fn exact(duration: SignedDuration) -> String {
    let sign = if duration.is_negative() { "-" } else { "" };
    let magnitude = duration.unsigned_abs();
    let fraction = format!("{:09}", magnitude.subsec_nanos());
    let fraction = fraction.trim_end_matches('0');
    let fraction = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
    format!("{sign}{}", units(u128::from(magnitude.as_secs()), &fraction))
}

fn units(seconds: u128, fraction: &str) -> String {
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let mut parts = Vec::new();
    if hours > 0 {
        parts.push(format!("{hours} h"));
    }
    if minutes > 0 {
        parts.push(format!("{minutes} min"));
    }
    if seconds > 0 || !fraction.is_empty() || parts.is_empty() {
        parts.push(format!("{seconds}{fraction} s"));
    }
    parts.join(" ")
}

/// `1 change`, `2 changes`.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [init @ .., last] => format!("{} and {last}", init.join(", ")),
    }
}

/// `once`, `twice`, `3 times`.
pub(super) fn times(number: usize) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        n => format!("{n} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_services_are_told_to_the_second_with_their_zone() {
        let told =
            with_readable_times("moved to 2026-11-23T07:14:57.7374Z, not 2026-11-23T07:15:00Z; T and Z stay");
        assert_eq!(told, "moved to 2026-11-23 07:14:57 UTC, not 2026-11-23 07:15:00 UTC; T and Z stay");
        for other in ["x2026-11-23T07:14:57Z", "2026-13-23T07:14:57Z", "Tazz", "é2026-11-2ëT07Z", ""] {
            assert_eq!(with_readable_times(other), other);
        }
    }

    #[test]
    fn foreign_text_keeps_its_letters_and_loses_everything_that_acts() {
        assert_eq!(plain("\u{1b}[31;1mred\u{1b}[0m and\r\n\tlines"), "red and lines");
        assert_eq!(plain("\u{9b}2Jcleared\u{7}\u{0}"), "cleared");
        assert_eq!(plain("\u{1b}]0;title\u{7}text"), "]0;titletext");
        assert_eq!(plain("pay \u{202e}gpj.exe\u{202c} \u{200b}now"), "pay gpj.exe now");
        assert_eq!(plain("\u{1b}[31"), "");
        assert_eq!(plain("Ünïcödé → 日本語 stays"), "Ünïcödé → 日本語 stays");
    }

    #[test]
    fn an_identifier_at_the_beginning_is_not_capitalised() {
        assert_eq!(sentence("campaign Spring was paused"), "Campaign Spring was paused.");
        assert_eq!(sentence("wa-send-media answers"), "wa-send-media answers.");
        assert_eq!(sentence("send_failed rises."), "send_failed rises.");
        assert_eq!(sentence("Is it on?"), "Is it on?");
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let cut = quoted(&"ü".repeat(1_000));
        assert_eq!(cut.chars().count(), LONGEST + 1);
    }

    #[test]
    fn durations_read_well_and_exact_ones_lose_nothing() {
        let of = SignedDuration::from_millis;
        let read = [0, 250, -250, 1_000, 2_340, 10_960, 61_000, 3_600_000, 3_723_400].map(|ms| span(of(ms)));
        assert_eq!(
            read,
            ["0 s", "250 ms", "-250 ms", "1 s", "2.3 s", "10 s", "1 min 1 s", "1 h", "1 h 2 min 3 s"]
        );
        assert_eq!(exact(SignedDuration::new(3_723, 40)), "1 h 2 min 3.00000004 s");
        assert_eq!(exact(SignedDuration::new(-60, -500_000_000)), "-1 min 0.5 s");
        assert_eq!(exact(SignedDuration::ZERO), "0 s");
    }
}
