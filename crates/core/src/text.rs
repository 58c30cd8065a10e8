//! Foreign text on its way to people: names of campaigns and stations, remarks, error texts.
//!
//! Whoever may name a campaign writes into terminals, chat, pages and documents of people who decide by what they read. So
//! nothing in such a text may hide, turn the order of what stands beside it, or act: [`neutral`] is what every port that
//! carries text to people passes it through, and [`line`](fn@line) is what a name becomes where it enters.

/// Whether a character takes no room, or turns or hides others: marks, overrides and isolates of direction, joiners, tags,
/// the byte order mark. Nothing that a name needs in any script but for joiners, which are lost.
pub fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0e}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The text with everything that hides, reorders or acts made visible or taken out: escape sequences are gone, what is
/// hidden shows as `�`, other control characters are spaces. Line breaks and tabs stay.
pub fn neutral(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        '\u{2028}' | '\u{2029}' => ' ',
        c if c.is_control() => ' ',
        c if is_hidden(c) => '\u{fffd}',
        c => c,
    };
    without_sequences(text).chars().map(shown).collect()
}

/// The text without escape sequences of a terminal.
pub fn without_sequences(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{9b}' || (c == '\u{1b}' && chars.next_if_eq(&'[').is_some()) {
            while chars.next_if(|c| ('\u{20}'..='\u{3f}').contains(c)).is_some() {}
            let _ = chars.next_if(|c| ('\u{40}'..='\u{7e}').contains(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// The same in one line: a name that brings line breaks of its own would write sentences of ours.
pub fn line(text: &str) -> String {
    let text = neutral(text);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d8_nothing_in_a_foreign_text_hides_turns_or_acts() {
        let hostile = "\u{202e}gnp.exe\u{2066}x\u{2069}\u{200b}\u{feff}\u{1b}[2Jred\u{1b}]0;title\u{7}\u{9b}31m\u{e0041}\u{2028}\r";
        let shown = neutral(hostile);
        assert!(!shown.chars().any(|c| is_hidden(c) || c.is_control()), "{shown:?}");
        assert!(shown.contains("gnp.exe") && shown.contains("red"), "what can be read stays: {shown:?}");
        assert_eq!(line("Back to\r\n school\u{2028}\t now "), "Back to school now");
        assert_eq!(neutral("Frühling → Été\n\t✓ 春 Нью العربية"), "Frühling → Été\n\t✓ 春 Нью العربية");
        assert_eq!(neutral("❤\u{fe0f}"), "❤\u{fe0f}", "an emoji's own mark stays");
    }
}
