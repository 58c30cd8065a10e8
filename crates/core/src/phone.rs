//! Phone numbers that mask themselves.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::error::InvalidValue;

/// A customer's phone number in E.164 form.
///
/// It has no `Serialize`: a number cannot slip into a journal, a report or a chat message by deriving. `Debug`
/// and `Display` show the station PWA's mask, `+250 78* *** 012`. Whoever really needs the digits (the send
/// itself, the export for data cleanup) calls [`Msisdn::expose`], which is easy to search for.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Msisdn(String);

impl Msisdn {
    /// The number itself, with its leading `+`.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Digits only, as WhatsApp's `to` field wants it.
    pub fn digits(&self) -> &str {
        &self.0[1..]
    }
}

impl FromStr for Msisdn {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let plausible = (7..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0');
        if plausible {
            Ok(Self(format!("+{digits}")))
        } else {
            Err(InvalidValue {
                field: "phone number",
                // Whatever it was, it may be most of a number.
                value: mask(digits),
                fix: "give an international number such as +250788123456",
            })
        }
    }
}

impl TryFrom<String> for Msisdn {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(self.digits()))
    }
}

impl fmt::Debug for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Keeps the country code, two digits and the last three: enough to talk about, too little to call.
pub(crate) fn mask(digits: &str) -> String {
    if digits.is_ascii() && digits.len() >= 9 {
        format!("+{} {}* *** {}", &digits[..3], &digits[3..5], &digits[digits.len() - 3..])
    } else {
        "+***".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_and_display_never_show_the_number() {
        let number: Msisdn = "250788123012".parse().unwrap();
        assert_eq!(format!("{number} {number:?}"), "+250 78* *** 012 +250 78* *** 012");
        assert_eq!(number.expose(), "+250788123012");
    }

    #[test]
    fn an_invalid_number_is_not_repeated_in_the_error() {
        let error = "+0788123012345678901".parse::<Msisdn>().unwrap_err();
        assert!(!error.to_string().contains("0788123012345678901"), "{error}");
    }
}
