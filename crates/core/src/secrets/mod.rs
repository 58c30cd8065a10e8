//! Takes out of foreign words what nobody may read in them: secrets of others, by their form.
//!
//! Our own secrets are known, and the clients take them out exactly. But a service's error text may echo what somebody
//! else sent it (a header, a connection string, a customer's number), and people paste such things into a comment. What
//! looks like one is masked here before it is written down; the journal applies this to every sentence that it keeps.
//!
//! What must not look like one: ids (UUIDs, runs, `wamid…`), hashes, times, amounts, counts, addresses and ports. They are
//! what a journal is for.
//!
//! ```
//! use allclear_core::secrets::mask;
//!
//! assert_eq!(mask("postgres://app:hunter2@db/x refused 0788 123 458"), "postgres://app:[masked]@db/x refused 0** *** 458");
//! assert_eq!(mask("11840 sends failed at 2026-11-23T09:00:00Z"), "11840 sends failed at 2026-11-23T09:00:00Z");
//! ```

mod numbers;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

/// What stands where a secret stood.
pub const MASKED: &str = "[masked]";

/// Names whose value is a secret. An underscore stands for itself, a hyphen, a blank or nothing.
const NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "pw",
    "secret",
    "client_secret",
    "signing_secret",
    "token",
    "access_token",
    "refresh_token",
    "session_token",
    "verify_token",
    "api_key",
    "access_key",
    "secret_key",
    "secret_access_key",
    "private_key",
    "routing_key",
    "integration_key",
    "service_key",
    "service_role_key",
    "service_role",
    "authorization",
    "session_id",
    "signature",
];

/// What a password goes by: whatever follows these is one, even a word.
const PASSWORDS: &[&str] = &["password", "passwd", "passphrase", "pwd", "pw"];

/// How tokens of known makers begin, and how long the rest is at least.
const PREFIXES: &[(&str, usize)] = &[
    ("eyJ", 12),
    ("sbp_", 8),
    ("sb_secret_", 6),
    ("sb_publishable_", 6),
    ("sk_live_", 6),
    ("sk_test_", 6),
    ("pk_live_", 6),
    ("rk_live_", 6),
    ("whsec_", 8),
    ("xoxa-", 6),
    ("xoxb-", 6),
    ("xoxe-", 6),
    ("xoxe.", 6),
    ("xoxo-", 6),
    ("xoxp-", 6),
    ("xoxr-", 6),
    ("xoxs-", 6),
    ("xapp-", 6),
    ("ghp_", 16),
    ("gho_", 16),
    ("ghs_", 16),
    ("ghu_", 16),
    ("ghr_", 16),
    ("github_pat_", 16),
    ("glpat-", 12),
    ("AKIA", 12),
    ("ASIA", 12),
    ("AIza", 30),
    ("EAA", 24),
];

/// Schemes of an `Authorization` header: what follows is the credential.
const SCHEMES: &[&str] = &["bearer", "basic"];

/// Attributes of a cookie that say nothing.
const COOKIE_WORDS: &[&str] = &["path", "domain", "expires", "max-age", "samesite", "version"];

/// The text with everything in it masked that looks like a secret, a person's number or the name in an e-mail address.
/// Masking what is masked changes nothing.
pub fn mask(text: &str) -> Cow<'_, str> {
    // Most sentences have none of these, and are as they were.
    let words = ["://", "@", "PRIVATE KEY", "%", "ooki", "OOKI", "ode", "ODE", "oucher", "ession", "sid="];
    let suspicious = words.iter().any(|word| text.contains(word))
        || numbers::has_digits(text)
        || has_name(text)
        || PREFIXES.iter().any(|(prefix, _)| text.contains(prefix));
    if !suspicious {
        return Cow::Borrowed(text);
    }
    let masked = mask_plain(&mask_encoded(text));
    if masked == text { Cow::Borrowed(text) } else { Cow::Owned(masked) }
}

/// As [`mask`], for text that is kept.
pub fn masked(text: String) -> String {
    match mask(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(masked) => masked,
    }
}

/// Whether something in it looks like a secret; a person's number, a code or an address is none.
pub fn holds_secret(text: &str) -> bool {
    let masked = mask_private_keys(text);
    let masked = mask_urls(&masked);
    let masked = mask_prefixed(&masked);
    let masked = mask_schemes(&masked);
    mask_named(&masked) != text
}

fn has_name(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    NAMES.iter().any(|name| lower.contains(name.split('_').next().unwrap_or(name)))
        || SCHEMES.iter().any(|scheme| lower.contains(scheme))
}

fn mask_plain(text: &str) -> String {
    let text = mask_private_keys(text);
    let text = mask_urls(&text);
    let text = mask_prefixed(&text);
    let text = mask_schemes(&text);
    let text = mask_named(&text);
    let text = mask_cookies(&text);
    let text = mask_codes(&text);
    let text = mask_addresses(&text);
    numbers::mask(&text)
}

/// Words that hide a secret behind percent signs or base64 are masked as a whole.
fn mask_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_encoded) {
        let length = rest[start..].find(|c| !is_encoded(c)).unwrap_or(rest.len() - start);
        let (before, word) = rest[..start + length].split_at(start);
        out.push_str(before);
        let decoded = percent_decoded(word).or_else(|| base64_decoded(word));
        let hides =
            decoded.is_some_and(|decoded| mask_plain(&decoded) != decoded && mask_plain(word) == word);
        out.push_str(if hides { MASKED } else { word });
        rest = &rest[start + length..];
    }
    out.push_str(rest);
    out
}

fn is_encoded(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '%' | '+' | '/' | '=' | '-' | '_' | '.' | '~' | '*')
}

fn percent_decoded(word: &str) -> Option<String> {
    if !word.contains('%') {
        return None;
    }
    let bytes = word.as_bytes();
    let (mut decoded, mut at, mut escapes) = (Vec::with_capacity(bytes.len()), 0, 0);
    while at < bytes.len() {
        let escape = word.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        if let Some(byte) = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            decoded.push(byte);
            escapes += 1;
            at += 3;
        } else {
            decoded.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
            at += 1;
        }
    }
    (escapes > 0).then(|| String::from_utf8_lossy(&decoded).into_owned())
}

/// What a word of base64 says, if it is readable text.
fn base64_decoded(word: &str) -> Option<String> {
    let word = word.trim_end_matches('=');
    let is_plausible = word.len() >= 16
        && word.bytes().any(|b| b.is_ascii_uppercase())
        && word.bytes().any(|b| b.is_ascii_lowercase());
    if !is_plausible {
        return None;
    }
    let mut bytes = Vec::with_capacity(word.len());
    let (mut bits, mut held) = (0_u32, 0);
    for c in word.bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = ((bits << 6) | u32::from(value)) & 0xFFFF;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(((bits >> held) & 0xFF) as u8);
        }
    }
    let decoded = String::from_utf8(bytes).ok()?;
    (!decoded.chars().any(|c| c.is_control() && !c.is_whitespace())).then_some(decoded)
}

/// `-----BEGIN … PRIVATE KEY-----` up to its end, or all that is there of it.
fn mask_private_keys(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("-----BEGIN ") {
        let (before, key) = rest.split_at(start);
        out.push_str(before);
        let head = key["-----BEGIN ".len()..].split("-----").next().unwrap_or_default();
        let length = "-----BEGIN ".len() + head.len();
        if !head.ends_with("PRIVATE KEY") {
            out.push_str(&key[..length]);
            rest = &key[length..];
            continue;
        }
        out.push_str(MASKED);
        let end = key.find("-----END ").and_then(|end| {
            let name = end + "-----END ".len();
            key[name..].find("-----").map(|dashes| name + dashes + "-----".len())
        });
        rest = end.map_or("", |end| &key[end..]);
    }
    out.push_str(rest);
    out
}

/// `scheme://user:password@host`, and what a webhook's address grants.
fn mask_urls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after.find(|c: char| c.is_whitespace() || "\"'`<>\\,;".contains(c)).unwrap_or(after.len());
        let (url, tail) = after.split_at(end);
        out.push_str(&mask_url(url));
        rest = tail;
    }
    out.push_str(rest);
    out
}

fn mask_url(url: &str) -> String {
    let authority = url.find(['/', '?', '#']).unwrap_or(url.len());
    // A password may hold what ends an address; where what stands behind the colon is no port, it goes to the last @.
    let port_or_none = url[..authority]
        .rsplit_once(':')
        .is_none_or(|(host, port)| host.starts_with('[') || port.bytes().all(|b| b.is_ascii_digit()));
    let until = if url[..authority].contains('@') || port_or_none { authority } else { url.len() };
    if let Some((who, _)) = url[..until].rsplit_once('@') {
        let place = &url[who.len()..];
        return match who.split_once(':') {
            Some((user, _)) => format!("{user}:{MASKED}{place}"),
            None if who.len() >= 16 => format!("{MASKED}{place}"),
            None => url.to_owned(),
        };
    }
    match url.strip_prefix("hooks.slack.com/") {
        Some(path) if path != MASKED => format!("hooks.slack.com/{MASKED}"),
        _ => url.to_owned(),
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | '/' | '=' | '~')
}

/// Tokens that their makers made to be recognised.
fn mask_prefixed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let begins = !out.ends_with(|c: char| c.is_ascii_alphanumeric());
        let found = PREFIXES.iter().find(|(prefix, shortest)| {
            begins && rest.strip_prefix(prefix).is_some_and(|tail| token_length(tail) >= *shortest)
        });
        if let Some((prefix, _)) = found {
            out.push_str(MASKED);
            at += prefix.len() + token_length(&rest[prefix.len()..]);
        } else {
            let c = rest.chars().next().unwrap_or(' ');
            out.push(c);
            at += c.len_utf8();
        }
    }
    out
}

fn token_length(text: &str) -> usize {
    let token = &text[..text.find(|c| !is_token(c)).unwrap_or(text.len())];
    // A full stop ends the sentence.
    token.trim_end_matches('.').len()
}

/// `Bearer …` and `Basic …`.
fn mask_schemes(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let found = SCHEMES.iter().find_map(|scheme| {
            let tail = lower[at..].strip_prefix(scheme)?;
            let gap = tail.len() - tail.trim_start_matches([' ', ':']).len();
            (gap > 0 && is_start(&out)).then_some(scheme.len() + gap)
        });
        if let Some(skip) = found {
            out.push_str(&text[at..at + skip]);
            at += skip;
            let length = value_length(&text[at..]);
            let value = &text[at..at + length];
            if looks_made_up(value, 6) {
                out.push_str(MASKED);
                at += length;
            }
            continue;
        }
        let c = text[at..].chars().next().unwrap_or(' ');
        out.push(c);
        at += c.len_utf8();
    }
    out
}

fn is_start(before: &str) -> bool {
    !before.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// Whether it is rather a key than a word: not what a person writes in a sentence.
fn looks_made_up(value: &str, shortest: usize) -> bool {
    if value.len() < shortest || value == MASKED {
        return false;
    }
    let is_word = value.strip_prefix(|c: char| c.is_ascii_uppercase()).unwrap_or(value);
    let only_letters = is_word.chars().all(|c| c.is_lowercase() || matches!(c, '-' | '\'' | '’'));
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let is_figure =
        digits > 0 && value.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ',' | ':' | '%' | '-'));
    (!only_letters || value.len() >= 24) && !is_figure
}

/// How long the value is that begins here, unquoted.
fn value_length(text: &str) -> usize {
    let ends = |c: char| c.is_whitespace() || "\"'`<>,;&)}]\\".contains(c);
    let length = text.find(ends).unwrap_or(text.len());
    // A mask ends with a bracket of its own.
    if text.starts_with(MASKED) { MASKED.len() } else { length }
}

/// `name=value`, `name: value`, `"name":"value"`, `name value`.
fn mask_named(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        // The longest name, so that `token` in `token_type` and the like is none.
        let found = NAMES
            .iter()
            .filter_map(|name| name_length(&lower[at..], name).map(|length| (*name, length)))
            .max_by_key(|(_, length)| *length);
        let Some((name, length)) = found else {
            let c = text[at..].chars().next().unwrap_or(' ');
            out.push(c);
            at += c.len_utf8();
            continue;
        };
        let joined = out.ends_with(|c: char| c.is_ascii_lowercase());
        out.push_str(&text[at..at + length]);
        at += length;
        if let Some((skip, value)) = value_of(name, &text[at..]).filter(|_| {
            // `broken: …` has no token in it, `mytoken=…` has.
            !joined
                || PASSWORDS.contains(&name)
                || text[at..].trim_start_matches(['\\', '"', '\'']).starts_with('=')
        }) {
            out.push_str(&text[at..at + skip]);
            out.push_str(MASKED);
            at += skip + value;
        }
    }
    out
}

/// How long `name` is where the text begins with it, whichever way its parts are joined.
fn name_length(text: &str, name: &str) -> Option<usize> {
    let mut rest = text;
    for (place, part) in name.split('_').enumerate() {
        if place > 0 {
            rest = rest.strip_prefix(['_', '-', ' ']).unwrap_or(rest);
        }
        rest = rest.strip_prefix(part)?;
    }
    let length = text.len() - rest.len();
    (!rest.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))).then_some(length)
}

/// Where the value of `name` begins and how long it is, if what follows is its value and a secret.
fn value_of(name: &str, text: &str) -> Option<(usize, usize)> {
    // The quote of a quoted name, perhaps escaped.
    let after_quote = text.trim_start_matches('\\').strip_prefix(['"', '\'']).unwrap_or(text);
    let spaced = after_quote.trim_start_matches(' ');
    let sign = spaced.strip_prefix(['=', ':']);
    let begins =
        sign.map_or(spaced, |rest| rest.strip_prefix(['=', '>']).unwrap_or(rest)).trim_start_matches(' ');
    let quote_at = begins.trim_start_matches('\\');
    let quoted = quote_at.starts_with(['"', '\'']);
    if sign.is_some() && quoted {
        let quote = quote_at.chars().next()?;
        let inner = &quote_at[1..];
        let value = quoted_length(inner, quote, begins.len() > quote_at.len());
        let is_value = value > 0 && &inner[..value] != MASKED;
        return is_value.then_some((text.len() - inner.len(), value));
    }
    let mut value = begins;
    if sign.is_none() {
        // In a sentence: `the token is abc123`.
        for word in ["is ", "was ", "of ", "key "] {
            value = value.strip_prefix(word).unwrap_or(value);
        }
        if value.len() == text.len() {
            return None;
        }
    }
    let length = value_length(value);
    let word = value[..length].trim_end_matches(['.', ':']);
    let equals = spaced.starts_with('=');
    let is_secret = match (sign.is_some(), equals) {
        (true, true) => !word.is_empty(),
        (true, false) => {
            looks_made_up(word, 4) || (PASSWORDS.contains(&name) && !word.is_empty()) || is_long_figure(word)
        }
        (false, _) => {
            looks_made_up(word, 6)
                && word.bytes().any(|b| b.is_ascii_digit())
                && word.bytes().any(|b| b.is_ascii_alphabetic())
        }
    };
    // A scheme is followed by the value itself, which is masked by now.
    let is_scheme = SCHEMES.contains(&word.to_ascii_lowercase().as_str());
    (is_secret && word != MASKED && !word.starts_with('[') && !is_scheme)
        .then_some((text.len() - value.len(), word.len()))
}

fn is_long_figure(word: &str) -> bool {
    word.len() >= 6 && word.bytes().all(|b| b.is_ascii_digit())
}

fn quoted_length(text: &str, quote: char, escaped: bool) -> usize {
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        if c == quote && escaped == (before == '\\') {
            return if escaped { at - 1 } else { at };
        }
        before = if before == '\\' && c == '\\' && !escaped { ' ' } else { c };
    }
    text.len()
}

/// `cookie name=value; other=value`, and whatever is called a session.
fn mask_cookies(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    // Where a pair would be the cookie's: behind the word, and behind each pair.
    let mut pair_at = None;
    while at < text.len() {
        if lower[at..].starts_with("cookie") {
            let tail = &lower[at + "cookie".len()..];
            let tail = tail.strip_prefix('s').unwrap_or(tail);
            let begins = text.len() - tail.trim_start_matches([' ', ':', '=', '"', '\'', '\\', '`']).len();
            out.push_str(&text[at..begins]);
            at = begins;
            pair_at = Some(at);
            continue;
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let name = text[at..].find(|c| !is_name(c)).unwrap_or(text.len() - at);
        if name == 0 {
            let length = text[at..].chars().next().map_or(1, char::len_utf8);
            out.push_str(&text[at..at + length]);
            at += length;
            continue;
        }
        let word = &lower[at..at + name];
        let is_session = word.contains("session") || word == "sid" || word == "connect.sid";
        let is_cookie = pair_at == Some(at) || is_session;
        out.push_str(&text[at..at + name]);
        at += name;
        if !is_cookie || !text[at..].starts_with('=') {
            continue;
        }
        out.push('=');
        at += 1;
        let length = value_length(&text[at..]);
        let value = text[at..at + length].trim_end_matches('.');
        if value.is_empty() || value == MASKED || COOKIE_WORDS.contains(&word) {
            out.push_str(value);
        } else {
            out.push_str(MASKED);
        }
        at += value.len();
        let next = text[at..].trim_start_matches([';', ',']).trim_start_matches(' ');
        pair_at = text[at..].starts_with([';', ',']).then_some(text.len() - next.len());
        out.push_str(&text[at..text.len() - next.len()]);
        at = text.len() - next.len();
    }
    out
}

/// A voucher's code after a word that says so: whoever has it has the money.
fn mask_codes(text: &str) -> String {
    const CODE: usize = 5;
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let word =
            ["codes", "code", "vouchers", "voucher"].iter().find(|word| lower[at..].starts_with(**word));
        let Some(word) = word.filter(|_| !out.ends_with(|c: char| c.is_ascii_lowercase())) else {
            let c = text[at..].chars().next().unwrap_or(' ');
            out.push(c);
            at += c.len_utf8();
            continue;
        };
        out.push_str(&text[at..at + word.len()]);
        at += word.len();
        let gap = text[at..].len()
            - text[at..].trim_start_matches([' ', ':', '=', '"', '\'', '\\', '#', '`']).len();
        let found = text.get(at + gap..at + gap + CODE).filter(|code| gap > 0 && is_code(code));
        let ends = !text[at + gap..]
            .get(CODE..)
            .unwrap_or_default()
            .starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-'));
        if found.is_some() && ends {
            out.push_str(&text[at..at + gap]);
            out.push_str(MASKED);
            at += gap + CODE;
        }
    }
    out
}

/// Five capitals and digits, at least one a letter; not a database's or a system's error code.
fn is_code(code: &str) -> bool {
    const WORDS: [&str; 10] =
        ["EPERM", "EPIPE", "EBUSY", "EFBIG", "EROFS", "EXDEV", "EBADF", "ERROR", "ABORT", "FATAL"];
    let bytes = code.as_bytes();
    let shaped = bytes.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        && bytes.iter().any(u8::is_ascii_uppercase);
    let digits = |range: &[u8]| range.iter().all(u8::is_ascii_digit);
    // SQLSTATE: its class is two characters, and what PostgreSQL adds to a class begins with P.
    let class = &code[..2];
    let is_class = digits(&bytes[..1]) || ["XX", "HV", "P0", "F0"].contains(&class);
    let is_state =
        is_class && (bytes[2] == b'P' && digits(&bytes[3..]) || bytes[2] == b'0' && digits(&bytes[3..4]));
    shaped && !is_state && !WORDS.contains(&code)
}

/// The name in an e-mail address; whose mail it is stays.
fn mask_addresses(text: &str) -> String {
    let is_local = |c: char| c.is_alphanumeric() || "._%+-".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        let start = before
            .rfind(|c| !is_local(c))
            .map_or(0, |place| place + before[place..].chars().next().map_or(1, char::len_utf8));
        let domain = &after
            [..after.find(|c: char| !(c.is_ascii_alphanumeric() || ".-".contains(c))).unwrap_or(after.len())];
        let is_domain = domain.trim_end_matches('.').rsplit_once('.').is_some_and(|(host, top)| {
            !host.is_empty() && top.len() >= 2 && top.bytes().all(|b| b.is_ascii_alphabetic())
        });
        let local = &before[start..];
        // `git` is nobody.
        let is_address = is_domain && !local.is_empty() && local != "git" && !before.ends_with(MASKED);
        out.push_str(if is_address { &before[..start] } else { before });
        out.push_str(if is_address { MASKED } else { "" });
        out.push('@');
        rest = after;
    }
    out.push_str(rest);
    out
}
