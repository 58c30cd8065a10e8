//! Pseudonyms: other values of the same shape, drawn from a key, so that whoever has the values and not the key cannot tell whose is
//! whose, and one person has one pseudonym in every column.
//!
//! What is drawn follows from a value's letters and digits alone, so `+250 788` and `250788` go on belonging together. No pseudonym
//! is a value that was there before: a number that is somebody's real one is not given to somebody else.

use std::collections::{BTreeMap, HashSet};

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// So often another pseudonym is drawn where one is taken. In the second half also the first digit may become a zero or stop being
/// one, since very short values have few others of their shape.
const DRAWS: u32 = 64;

/// What a value is without separators, in small letters; a value that has neither letters nor digits is itself.
fn skeleton(value: &str) -> String {
    let bare: String = value.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    if bare.is_empty() { value.to_owned() } else { bare }
}

/// The keyed digest of a text.
pub(super) fn keyed(key: &SecretString, parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes())
        .expect("HMAC takes keys of every length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// Numbers that follow from key, value and attempt.
struct Draw<'a> {
    key: &'a SecretString,
    seed: Vec<u8>,
    block: u32,
    left: Vec<u8>,
}

impl<'a> Draw<'a> {
    fn of(key: &'a SecretString, skeleton: &str, attempt: u32) -> Self {
        let seed = [&attempt.to_le_bytes()[..], skeleton.as_bytes()].concat();
        Self { key, seed, block: 0, left: Vec::new() }
    }

    fn below(&mut self, bound: u8) -> u8 {
        loop {
            let Some(byte) = self.left.pop() else {
                self.left = keyed(self.key, &[&self.block.to_le_bytes(), &self.seed]);
                self.block += 1;
                continue;
            };
            // Above the last whole round some numbers would come more often than others.
            if byte < u8::MAX - u8::MAX % bound {
                return byte % bound;
            }
        }
    }
}

/// A value of the same shape: digits for digits, letters for letters of their case, all else as it is.
fn shaped(value: &str, draw: &mut Draw<'_>, keep_zero: bool) -> String {
    let bare = value.chars().any(char::is_alphanumeric);
    let mut first = true;
    let mut one = |c: char| {
        if bare && !c.is_alphanumeric() || c.is_whitespace() {
            return c;
        }
        let is_first = std::mem::replace(&mut first, false);
        match c {
            '0' if is_first && keep_zero => '0',
            '1'..='9' if is_first && keep_zero => char::from(b'1' + draw.below(9)),
            c if c.is_numeric() => char::from(b'0' + draw.below(10)),
            c if c.is_uppercase() => char::from(b'A' + draw.below(26)),
            _ => char::from(b'a' + draw.below(26)),
        }
    };
    value.chars().map(&mut one).collect()
}

/// A pseudonym for each value; the value for which there is none of its shape, where that is so.
pub(super) fn pseudonyms<'a>(
    key: &SecretString,
    values: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeMap<&'a str, String>, &'a str> {
    let mut people: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for value in values {
        people.entry(skeleton(value)).or_default().push(value);
    }
    let mut taken: HashSet<String> = HashSet::new();
    let mut all = BTreeMap::new();
    for (bare, written) in &people {
        let draw = |attempt: u32| {
            let keep_zero = attempt < DRAWS / 2;
            let one = |value: &&'a str| (*value, shaped(value, &mut Draw::of(key, bare, attempt), keep_zero));
            let drawn: Vec<(&str, String)> = written.iter().map(one).collect();
            let free = |new: &String| !people.contains_key(new) && !taken.contains(new);
            let new: HashSet<String> = drawn.iter().map(|(_, new)| skeleton(new)).collect();
            new.iter().all(free).then_some((new, drawn))
        };
        let (new, drawn) = (0..DRAWS).find_map(draw).ok_or(written[0])?;
        taken.extend(new);
        all.extend(drawn);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> SecretString {
        text.to_owned().into()
    }

    /// Letters, digits and the rest, each as a letter for its kind.
    fn shape(value: &str) -> String {
        let kind = |c: char| match c {
            c if c.is_numeric() => '9',
            c if c.is_uppercase() => 'A',
            c if c.is_alphabetic() => 'a',
            other => other,
        };
        value.chars().map(kind).collect()
    }

    #[test]
    fn one_person_has_one_pseudonym_however_the_number_is_written() {
        let values = ["+250788000001", "250788000001", "+250 788 000 001", "+250788000002"];
        let found = pseudonyms(&key("k"), values).unwrap();
        let bare = |value: &str| found[value].replace(['+', ' '], "");
        assert_eq!(bare(values[0]), bare(values[1]));
        assert_eq!(bare(values[0]), bare(values[2]));
        assert_ne!(bare(values[0]), bare(values[3]));
        assert!(found[values[2]].starts_with('+') && found[values[2]].len() == values[2].len());
        assert_ne!(found, pseudonyms(&key("another"), values).unwrap());
    }

    #[test]
    fn values_of_which_every_one_of_their_shape_is_taken_have_no_pseudonym() {
        let all: Vec<String> = ('a'..='z').map(String::from).collect();
        assert_eq!(pseudonyms(&key("k"), all.iter().map(String::as_str)), Err("a"));
    }

    proptest! {
        /// Same shape, no value that was there, no two alike, and the same again for the same key.
        #[test]
        fn a_pseudonym_has_its_values_shape_and_is_nobodys(
            values in proptest::collection::btree_set("[+]?[0-9]{6,12}|[A-Z][a-z]{5,9} [A-Z][a-zé]{5,9}|[a-z]{6,8}@[a-z]{3}[.]test", 1..40)
        ) {
            let found = pseudonyms(&key("k"), values.iter().map(String::as_str)).unwrap();
            prop_assert_eq!(found.len(), values.len());
            let distinct: HashSet<&String> = found.values().collect();
            prop_assert_eq!(distinct.len(), values.len());
            for (value, new) in &found {
                prop_assert_eq!(shape(value), shape(new));
                prop_assert!(!values.contains(new));
                prop_assert_eq!(value.starts_with('0'), new.starts_with('0'));
            }
            prop_assert_eq!(&found, &pseudonyms(&key("k"), values.iter().map(String::as_str)).unwrap());
        }
    }
}
