//! Numbers of people: international, national, with blanks, hyphens or brackets between their digits, in the digits of any
//! script; and what a card or an identity card shows. Everything else that is made of digits (ids, times, counts, amounts,
//! addresses) is left alone.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization as _;

use crate::phone;
use crate::text::is_hidden;

/// What follows a count or an amount: twelve digits of bytes are no number of anybody.
const UNITS: &[&str] = &[
    "bytes", "byte", "rows", "row", "objects", "entries", "targets", "messages", "sends", "RWF", "USD",
    "EUR", "ms", "us", "µs", "ns", "s", "B", "KB", "MB", "GB", "KiB", "MiB", "GiB",
];

/// A card's number and an identity number have as many digits; a telephone number has at most one fewer (E.164).
const LONGEST: usize = 16;

/// The first digit of each script that has digits of its own, in ten characters that follow each other.
const ZEROS: &[char] = &[
    '\u{660}',
    '\u{6f0}',
    '\u{7c0}',
    '\u{966}',
    '\u{9e6}',
    '\u{a66}',
    '\u{ae6}',
    '\u{b66}',
    '\u{be6}',
    '\u{c66}',
    '\u{ce6}',
    '\u{d66}',
    '\u{de6}',
    '\u{e50}',
    '\u{ed0}',
    '\u{f20}',
    '\u{1040}',
    '\u{1090}',
    '\u{17e0}',
    '\u{1810}',
    '\u{1946}',
    '\u{19d0}',
    '\u{1a80}',
    '\u{1a90}',
    '\u{1b50}',
    '\u{1bb0}',
    '\u{1c40}',
    '\u{1c50}',
    '\u{a620}',
    '\u{a8d0}',
    '\u{a900}',
    '\u{a9d0}',
    '\u{a9f0}',
    '\u{aa50}',
    '\u{abf0}',
    '\u{ff10}',
    '\u{1d7ce}',
    '\u{1d7d8}',
    '\u{1d7e2}',
    '\u{1d7ec}',
    '\u{1d7f6}',
    '\u{1e950}',
];

/// Whether a text has digits of any script.
pub(super) fn has_digits(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit())
        || (!text.is_ascii() && text.chars().flat_map(plain_chars).any(|c| c.is_ascii_digit()))
}

/// Masks the numbers in a text.
pub(super) fn mask(text: &str) -> String {
    if text.is_ascii() {
        return mask_plain(text);
    }
    // A name that is no number in any script stays as it was written.
    let plain = plain(text);
    let masked = mask_plain(&plain);
    if masked == plain { mask_plain(text) } else { masked }
}

/// The text with digits, blanks, hyphens and brackets as ASCII has them, and nothing hidden between two digits.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if hides(c) && out.ends_with(|c: char| c.is_ascii_digit()) {
            let next = chars.clone().find(|c| !hides(*c));
            if next.is_some_and(|next| plain_chars(next).next().is_some_and(|c| c.is_ascii_digit())) {
                continue;
            }
        }
        out.extend(plain_chars(c));
    }
    out
}

/// What is hidden in a name shows as a replacement; marks make an emoji of the digit before them.
fn hides(c: char) -> bool {
    is_hidden(c) || matches!(c, '\u{fffd}' | '\u{fe0f}' | '\u{20e3}')
}

/// A character as ASCII has it: also a digit in a circle, raised, or wide.
fn plain_chars(c: char) -> impl Iterator<Item = char> {
    std::iter::once(c).nfkc().map(plain_char)
}

fn plain_char(c: char) -> char {
    let digit = || {
        let value =
            ZEROS.iter().find_map(|zero| u32::from(c).checked_sub(u32::from(*zero)).filter(|d| *d < 10));
        value.and_then(|value| char::from_digit(value, 10))
    };
    match c {
        c if c.is_ascii() => c,
        '\u{2010}'..='\u{2015}'
        | '\u{2212}'
        | '\u{b7}'
        | '\u{2022}'
        | '\u{2027}'
        | '\u{2192}'
        | '\u{2219}'
        | '\u{30fb}' => '-',
        c if c.is_whitespace() => ' ',
        c => digit().unwrap_or(c),
    }
}

fn mask_plain(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let here = bytes[at];
        let begins = here.is_ascii_digit() || matches!(here, b'+' | b'(' | b'[');
        if begins && let Some(number) = number_at(text, at) {
            out.push_str(&number.masked);
            at += number.length;
            continue;
        }
        // What begins like a number and is none is passed over whole, or its tail would be looked at by itself.
        let length = if here.is_ascii_alphanumeric() || here == b'+' {
            run_length(&text[at..])
        } else {
            char_length(text, at)
        };
        out.push_str(&mask_within(&text[at..at + length]));
        at += length;
    }
    out
}

/// A mobile number of Rwanda with letters around it, as `user250788123456`. An id of hexadecimal digits may look so by chance, and
/// stays.
fn mask_within(word: &str) -> Cow<'_, str> {
    let is_hex = |c: char| c.is_ascii_hexdigit() || !c.is_alphanumeric();
    let mut found = word.match_indices("2507").filter_map(|(at, _)| {
        let digits = word[at..].bytes().take_while(u8::is_ascii_digit).count();
        let begins = !word[..at].ends_with(|c: char| c.is_ascii_digit());
        (begins && digits == 12).then_some(at)
    });
    match found.next() {
        Some(at) if !word.chars().all(is_hex) => {
            let masked = masked(&word[at..at + 12], false);
            Cow::Owned(format!("{}{masked}{}", &word[..at], mask_within(&word[at + 12..])))
        }
        _ => Cow::Borrowed(word),
    }
}

struct Number {
    masked: String,
    length: usize,
}

fn char_length(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(1, char::len_utf8)
}

/// The run of letters and digits, with the points, colons and hyphens between them: an id, a time, an address.
fn run_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        let joins = matches!(bytes[at], b'.' | b':' | b'-' | b'_' | b',')
            && bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric);
        // A colon before a number is rather a label's: `to:250788123456`.
        let label =
            bytes[at] == b':' && !bytes[at - 1].is_ascii_digit() || (joins && is_labelled(&text[..=at]));
        if !(bytes[at].is_ascii_alphanumeric() || (joins && !label)) {
            break;
        }
        at += 1;
    }
    at
}

fn number_at(text: &str, at: usize) -> Option<Number> {
    let before = text[..at].chars().next_back();
    let belongs = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '*' | '$' | '€');
    if before.is_some_and(belongs) && !is_labelled(&text[..at]) {
        return None;
    }
    let plus = text[at..].starts_with('+');
    let body = &text[at + usize::from(plus)..];
    // The longest first: what follows a number in a sentence may be a figure.
    groups(body, plus).into_iter().rev().find_map(|(digits, length)| {
        let after = &body[length..];
        let is_one = !goes_on(after)
            && is_number(&digits, plus, length > digits.len())
            && (is_no_count(&digits, plus, length > digits.len()) || !counts_something(text, at, after));
        is_one.then(|| Number { masked: masked(&digits, plus), length: length + usize::from(plus) })
    })
}

/// Whether a figure stands after a word of letters alone: `eq.250788123456`, `tel-0788123458`.
fn is_labelled(before: &str) -> bool {
    let Some(word) = before.strip_suffix(['.', '-', '_']) else { return false };
    let rest = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let is_id = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    rest.len() < word.len() && !rest.ends_with(is_id)
}

/// Whether what stands here belongs to the figure before it.
fn goes_on(after: &str) -> bool {
    let mut next = after.chars();
    match next.next() {
        Some('-') => next.next().is_some_and(|c| c.is_ascii_alphanumeric()),
        Some('.' | ':' | ',') => next.next().is_some_and(|c| c.is_ascii_digit()),
        Some(c) => c.is_alphanumeric() || c == '_' || c == '%',
        None => false,
    }
}

/// What stands between the groups of a number, by how much else says that it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    /// Nothing does: one sign, the same throughout.
    OneSign,
    /// A plus, brackets, or a mobile prefix.
    Signs,
    /// It begins as Rwanda's mobile numbers do, with the country's code.
    Anything,
}

impl Between {
    fn of(text: &str, plus: bool, first: &str) -> Self {
        let begins: String = text.chars().take(20).filter(char::is_ascii_digit).take(4).collect();
        match begins.as_str() {
            "2507" => Self::Anything,
            // `07-12-2026 10` is a time.
            _ if plus || (first.starts_with("07") && first.len() > 2) => Self::Signs,
            _ => Self::OneSign,
        }
    }

    /// How long what stands here between two groups is.
    fn gap(self, bytes: &[u8]) -> usize {
        let belongs = |b: &&u8| match self {
            Self::Anything => b.is_ascii_punctuation() || **b == b' ',
            _ => b" -./()[]_".contains(*b),
        };
        bytes.iter().take_while(belongs).count()
    }
}

/// The digits that begin here, in one group or in several with signs between them, after each group; and how long that is.
fn groups(text: &str, plus: bool) -> Vec<(String, usize)> {
    let bytes = text.as_bytes();
    let count = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let closing = match bytes.first() {
        Some(b'(') => Some(b')'),
        Some(b'[') => Some(b']'),
        _ => None,
    };
    let mut at = usize::from(closing.is_some());
    let first = count(at);
    let mut digits = text[at..at + first].to_owned();
    at += first;
    if first == 0 || first > LONGEST || closing.is_some_and(|closing| bytes.get(at) != Some(&closing)) {
        return Vec::new();
    }
    at += usize::from(closing.is_some());
    let mut between = Between::of(text, plus || closing.is_some(), &digits);
    let mut groups = vec![(digits.clone(), at)];
    let mut sign = None;
    loop {
        let gap = between.gap(&bytes[at..]);
        let signs = &bytes[at..at + gap];
        if between == Between::OneSign && signs.iter().any(|sign| b"()[]".contains(sign)) {
            between = Between::Signs;
        }
        // In `(0788)123458` the bracket has closed a group already.
        let is_the_same = gap == 1 && *sign.get_or_insert(signs[0]) == signs[0];
        let joins = is_the_same || (gap <= 3 && between != Between::OneSign);
        let group = if joins { count(at + gap) } else { 0 };
        if !(1..=9).contains(&group) || digits.len() + group > LONGEST {
            return groups;
        }
        digits.push_str(&text[at + gap..at + gap + group]);
        at += gap + group;
        groups.push((digits.clone(), at));
    }
}

fn is_number(digits: &str, plus: bool, grouped: bool) -> bool {
    let count = digits.len();
    if count == LONGEST {
        return !plus && (is_identity(digits) || is_card(digits));
    }
    if plus {
        return (7..=15).contains(&count);
    }
    if let Some(international) = digits.strip_prefix("00") {
        return (9..=13).contains(&international.len()) && !international.starts_with('0');
    }
    if let Some(national) = digits.strip_prefix('0') {
        return (8..=10).contains(&national.len()) && !national.starts_with('0');
    }
    if grouped {
        // Rwanda's own, as people write it; other groups of digits are figures.
        return count == 12 && digits.starts_with("2507");
    }
    // Milliseconds since 1970 have thirteen digits and begin with a one, which no number of that length does.
    (11..=13).contains(&count) && !(count == 13 && digits.starts_with('1')) && !is_stamp(digits)
}

/// An identity number of Rwanda: who it is of, the year of birth, the sex, and ten digits.
fn is_identity(digits: &str) -> bool {
    let year = digits[1..5].parse::<u32>().unwrap_or_default();
    matches!(digits.as_bytes()[0], b'1'..=b'3')
        && (1900..2100).contains(&year)
        && matches!(digits.as_bytes()[5], b'7' | b'8')
}

/// A payment card's number, by its check digit.
fn is_card(digits: &str) -> bool {
    let double = |(place, digit): (usize, u8)| {
        let digit = u32::from(digit - b'0');
        if place % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit }
    };
    matches!(digits.as_bytes()[0], b'2'..=b'6')
        && digits.bytes().enumerate().map(double).sum::<u32>() % 10 == 0
}

/// `202611230900`: a time without signs.
fn is_stamp(digits: &str) -> bool {
    let part = |from: usize, to: usize| digits.get(from..to).and_then(|part| part.parse::<u32>().ok());
    digits.len() == 12
        && part(0, 4).is_some_and(|year| (1990..2100).contains(&year))
        && part(4, 6).is_some_and(|month| (1..=12).contains(&month))
        && part(6, 8).is_some_and(|day| (1..=31).contains(&day))
        && part(8, 10).is_some_and(|hour| hour < 24)
        && part(10, 12).is_some_and(|minute| minute < 60)
}

/// Nobody writes a count with a plus, a zero before it, or a number's groups; and Rwanda's own numbers are known.
fn is_no_count(digits: &str, plus: bool, grouped: bool) -> bool {
    plus || grouped
        || digits.len() == LONGEST
        || digits.starts_with('0')
        || (digits.len() == 12 && digits.starts_with("2507"))
}

fn counts_something(text: &str, at: usize, after: &str) -> bool {
    let unit = after
        .strip_prefix(' ')
        .unwrap_or("")
        .split(|c: char| !c.is_alphanumeric())
        .next()
        .unwrap_or_default();
    let before = text[..at].trim_end();
    UNITS.contains(&unit)
        || ["RWF", "USD", "EUR", "seed", "size", "bytes"].iter().any(|word| before.ends_with(word))
}

/// Enough to talk about, too little to call.
fn masked(digits: &str, plus: bool) -> String {
    if digits.len() == LONGEST {
        return format!("*** *** {}", &digits[LONGEST - 3..]);
    }
    let international = digits.strip_prefix("00").unwrap_or(digits);
    if !plus && international.starts_with('0') {
        return format!("0** *** {}", &digits[digits.len() - 3..]);
    }
    phone::mask(international)
}
