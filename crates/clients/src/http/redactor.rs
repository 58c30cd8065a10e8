//! Takes our own secrets out of foreign words.
//!
//! A service may repeat what it was sent: "invalid token abc", an echo page, a debug dump. Its words go into a journal, a
//! report and a chat, so whatever we send as a secret is taken out of them first, in each form in which it may come back;
//! and what looks like somebody else's after that.

use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock};

use allclear_core::secrets::mask;
use secrecy::{ExposeSecret, SecretString};

/// Foreign words in an error are cut to this many characters.
pub(super) const DETAIL: usize = 300;
/// What stands where a secret stood.
const INSTEAD: &str = "[secret]";
/// Shorter text is no secret: taking every `a` out of a message would leave nothing to read.
const SHORTEST: usize = 6;
/// A secret of at least twice this length is also known by its end, which is what services show of a key.
const END: usize = 8;
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Knows the secrets of everybody who holds a clone of it.
#[derive(Clone, Default)]
pub(crate) struct Redactor {
    forms: Arc<RwLock<Vec<SecretString>>>,
}

impl Redactor {
    /// From now on this one is taken out, too.
    pub(crate) fn learn(&self, secret: &SecretString) {
        let new = forms_of(secret.expose_secret());
        let mut forms = self.forms.write().unwrap_or_else(PoisonError::into_inner);
        for form in new {
            if !forms.iter().any(|known| known.expose_secret() == form) {
                forms.push(form.into());
            }
        }
        // The whole before its parts, or the rest of it would stay.
        forms.sort_by_key(|form| std::cmp::Reverse(form.expose_secret().len()));
    }

    /// Foreign words, fit for a journal and a terminal: no secrets of ours or of others, no numbers, no control characters, not too long.
    pub(crate) fn clean(&self, text: &str) -> String {
        // Secrets go first: masked or cut, one would not be recognised.
        let text = self.redact(text);
        let visible = allclear_core::text::line(&text);
        // Masked before it is cut: half a number looks like none.
        mask(&visible).chars().take(DETAIL).collect()
    }

    /// The text without any of our secrets.
    fn redact(&self, text: &str) -> String {
        let forms = self.forms.read().unwrap_or_else(PoisonError::into_inner);
        forms.iter().map(ExposeSecret::expose_secret).fold(text.to_owned(), |text, form| {
            let text = if text.contains(form) { text.replace(form, INSTEAD) } else { text };
            if text.contains('%') { redact_in_url(&text, form) } else { text }
        })
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor")
    }
}

/// Every form in which a secret may come back.
fn forms_of(secret: &str) -> Vec<String> {
    let secret = secret.trim();
    if secret.len() < SHORTEST {
        return Vec::new();
    }
    let mut forms = vec![secret.to_owned()];
    forms.extend([escaped(secret), hex(secret)]);
    for offset in 0..3 {
        let standard = base64_within(secret.as_bytes(), offset);
        forms.push(standard.replace('+', "-").replace('/', "_"));
        forms.push(standard);
    }
    if secret.is_ascii() && secret.len() >= 2 * END {
        forms.push(secret[secret.len() - END..].to_owned());
    }
    forms.retain(|form| form.len() >= SHORTEST);
    forms
}

/// Takes a secret out in every way in which a URL may have it: which characters are escaped differs from encoder to encoder,
/// so the text is compared as it decodes.
fn redact_in_url(text: &str, form: &str) -> String {
    let (mut bytes, mut places) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < text.len() {
        let escape = text.as_bytes().get(at..at + 3).filter(|escape| escape[0] == b'%');
        let byte = escape
            .and_then(|escape| std::str::from_utf8(&escape[1..]).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(text.as_bytes()[at]));
        places.push(at);
        at += if byte.is_some() { 3 } else { 1 };
    }
    places.push(text.len());
    let (mut redacted, mut rest, mut from) = (String::new(), 0, 0);
    while let Some(found) = bytes[from..].windows(form.len()).position(|window| window == form.as_bytes()) {
        let (start, end) = (places[from + found], places[from + found + form.len()]);
        redacted.push_str(&text[rest..start]);
        redacted.push_str(INSTEAD);
        (rest, from) = (end, from + found + form.len());
    }
    redacted.push_str(&text[rest..]);
    redacted
}

/// As JSON inside a JSON string has it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The characters of a base64 text that come from the secret alone, where `offset` bytes of something else (a user's name
/// and a colon) stand before it. Without padding, so that it is found with it and without.
fn base64_within(secret: &[u8], offset: usize) -> String {
    let bits = |at: usize| -> u8 {
        // Six bits that begin `at` bits after the secret's first.
        (0..6).fold(0, |value, bit| {
            let place = at + bit;
            (value << 1) | ((secret[place / 8] >> (7 - place % 8)) & 1)
        })
    };
    // A character is the secret's alone if none of its bits lies before the secret or behind it.
    let first = (6 - (offset * 8) % 6) % 6;
    (first..)
        .step_by(6)
        .take_while(|at| at + 6 <= secret.len() * 8)
        .map(|at| char::from(BASE64[usize::from(bits(at))]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "pk_é/+Z8?\"q1~longer-one";

    fn redact(text: &str) -> String {
        let redactor = Redactor::default();
        redactor.learn(&SECRET.into());
        redactor.redact(text)
    }

    /// Base64 the plain way, to compare with.
    fn base64(bytes: &[u8]) -> String {
        let mut text = String::new();
        for three in bytes.chunks(3) {
            let number =
                three.iter().fold(0_u32, |n, byte| (n << 8) | u32::from(*byte)) << (8 * (3 - three.len()));
            for place in 0..=three.len() {
                text.push(char::from(BASE64[(number >> (18 - 6 * place)) as usize & 63]));
            }
            text.push_str(&"=".repeat(3 - three.len()));
        }
        text
    }

    #[test]
    fn every_form_of_a_secret_is_taken_out() {
        assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
        let json = serde_json::to_string(SECRET).unwrap();
        let forms = [
            SECRET.to_owned(),
            json.trim_matches('"').to_owned(),
            reqwest::Url::parse_with_params("http://x", [("t", SECRET)]).unwrap().query().unwrap().to_owned(),
            hex(SECRET),
        ];
        for form in forms {
            let shown = redact(&format!("invalid token {form} given"));
            assert!(shown.contains(INSTEAD) && !shown.contains("longer"), "{shown}");
        }
        for user in ["", "u:", "us:", "user:"] {
            let encoded = base64(format!("{user}{SECRET}").as_bytes());
            for encoded in [encoded.replace('+', "-").replace('/', "_"), encoded] {
                let shown = redact(&format!("Basic {encoded}"));
                assert!(shown.contains(INSTEAD), "{shown}");
                // At most the characters that it shares with its neighbours are left of it.
                let left = shown.len() - "Basic ".len() - INSTEAD.len();
                assert!(left <= user.len() * 4 / 3 + 2 + 4, "{user}: {shown}");
            }
        }
    }

    #[test]
    fn the_end_of_a_key_is_taken_out_and_words_are_not() {
        let redactor = Redactor::default();
        redactor.learn(&"sk_live_0123456789abcdefWXYZ".into());
        redactor.learn(&"a".into());
        assert_eq!(
            redactor.redact("key ending in cdefWXYZ is a bad one"),
            "key ending in [secret] is a bad one"
        );
    }
}
