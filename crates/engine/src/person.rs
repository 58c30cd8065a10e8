//! People's names, and when two of them are one person's.
//!
//! Who approves is told apart from who asked by name, so the same person under another spelling must be the same person:
//! `Kim`, ` kim`, `ｋｉｍ` and `KİM` are one. And no name may look like another one and be another: what cannot be seen, and
//! letters of two scripts that look alike, are refused.

use unicode_normalization::UnicodeNormalization as _;

/// The longest name, in characters.
const LONGEST: usize = 120;

/// Why a name is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// There is nothing to see.
    #[error("a name is empty; give one, e.g. lea")]
    Empty,
    /// It holds something that cannot be seen, or that turns around what can.
    #[error("the name `{shown}` holds the invisible character {character}; type it anew")]
    Invisible {
        /// The name, as far as it can be shown.
        shown: String,
        /// Which character, e.g. `U+200B`.
        character: String,
    },
    /// It mixes letters of scripts that look alike.
    #[error(
        "the name `{shown}` mixes Latin letters with those of {script}, which look alike; type it in one script"
    )]
    Mixed {
        /// The name.
        shown: String,
        /// The other script.
        script: &'static str,
    },
    /// It is no name any more.
    #[error("a name has more than {LONGEST} characters; give a shorter one")]
    TooLong,
}

/// Checks that `name` can be told from others by looking at it. Returns it as it is shown: without spaces around it, and with
/// one between its parts.
pub fn person(name: &str) -> Result<String, BadName> {
    let shown = one_spaced(name);
    if shown.is_empty() && name.chars().all(char::is_whitespace) {
        return Err(BadName::Empty);
    }
    if name.chars().count() > LONGEST {
        return Err(BadName::TooLong);
    }
    let visible = || shown.chars().filter(|c| !is_invisible(*c)).collect::<String>();
    if let Some(hidden) = name.chars().find(|c| is_invisible(*c)) {
        let character = format!("U+{:04X}", u32::from(hidden));
        return Err(BadName::Invisible { shown: visible(), character });
    }
    let folded = shown.nfkc().collect::<String>();
    let is_latin = folded.chars().any(|c| matches!(script_of(c), Some("Latin")));
    let other = folded.chars().filter_map(script_of).find(|script| *script != "Latin");
    match other {
        Some(script) if is_latin => Err(BadName::Mixed { shown, script }),
        _ => Ok(shown),
    }
}

/// Whether two names are one person's: spaces, the case of letters, and the way in which a letter is written do not matter.
pub fn same_person(one: &str, other: &str) -> bool {
    one == other || folded(one) == folded(other)
}

/// What is compared. Upper case first: it joins what lower case keeps apart, such as `ß` and `ss`, `ı` and `i`.
fn folded(name: &str) -> String {
    let visible: String = name.chars().filter(|c| c.is_whitespace() || !is_invisible(*c)).collect();
    let upper = visible.nfkc().collect::<String>().to_uppercase();
    let folded: String = upper.to_lowercase().nfkc().collect();
    // The lower case of the dotted capital I has a dot that no other i has.
    one_spaced(&folded.replace("i\u{307}", "i"))
}

fn one_spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Characters without a shape of their own, or that turn around others.
fn is_invisible(c: char) -> bool {
    (c.is_control())
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffd}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// The scripts that have letters of the same shapes.
fn script_of(c: char) -> Option<&'static str> {
    match c {
        'A'..='Z' | 'a'..='z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => Some("Latin"),
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Some("Greek"),
        '\u{400}'..='\u{52f}'
        | '\u{1c80}'..='\u{1c8f}'
        | '\u{2de0}'..='\u{2dff}'
        | '\u{a640}'..='\u{a69f}' => Some("Cyrillic"),
        '\u{530}'..='\u{58f}' => Some("Armenian"),
        '\u{13a0}'..='\u{13ff}' | '\u{ab70}'..='\u{abbf}' => Some("Cherokee"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d3_one_person_under_many_spellings_is_one_person() {
        for kim in ["Kim", "KIM", " kim", "kim\u{a0}", "ｋｉｍ", "KİM", "kım", "\u{2003}kIm\t", "kim\u{200b}"]
        {
            assert!(same_person("kim", kim), "{kim:?}");
        }
        for (one, other) in [
            ("José", "jose\u{301}"),
            ("Groß", "GROSS"),
            ("Nikos ΣΑΣ", "nikos σας"),
            ("Mary  Ann", "mary\u{a0}ann"),
            ("ﬁona", "Fiona"),
            ("Å", "a\u{30a}"),
        ] {
            assert!(same_person(one, other), "{one} {other}");
        }
        for (one, other) in [("kim", "tim"), ("josé", "jose"), ("mary ann", "maryann"), ("kim", "kim2")] {
            assert!(!same_person(one, other), "{one} {other}");
        }
    }

    #[test]
    fn d3_a_name_that_only_looks_like_another_is_none() {
        for bad in [
            "",
            " \u{a0}",
            "kim\u{200b}",
            "\u{202e}mik",
            "k\u{ad}im",
            "kim\u{fe0f}",
            "ki\u{34f}m",
            "kim\n",
            "kim\0",
            "\u{3164}",
            "k\u{456}m",
            "\u{39a}im",
            "kim\u{e0041}",
        ] {
            assert!(person(bad).is_err(), "{bad:?}");
        }
        assert!(person(&"k".repeat(121)).is_err());
        for good in ["kim", "José Núñez", "Уляна", "Νίκος", "李雷", "O'Brien-Smith 2", "ｋｉｍ"]
        {
            assert_eq!(person(good).as_deref(), Ok(good));
        }
        assert_eq!(person("  Mary\u{a0}  Ann ").as_deref(), Ok("Mary Ann"));
    }
}
