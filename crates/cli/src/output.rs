//! Where words go: results to stdout, everything else to stderr. A closed or full terminal ends nothing; a result that could not be
//! written is no success.

use std::io::Write;
use std::sync::OnceLock;

use allclear_core::text::neutral;
use allclear_engine::Plan;
use allclear_engine::step::Phase;
use serde_json::Value;

/// Why the first result that was lost could not be written.
static LOST: OnceLock<String> = OnceLock::new();

/// Writes one line. `println!` would panic when nobody reads any more.
fn line(to: &mut dyn Write, text: &str) -> std::io::Result<()> {
    writeln!(to, "{}", visible(text))?;
    to.flush()
}

/// Why a result could not be written, where one could not: the disk is full. Whoever stopped reading has what they wanted.
pub(crate) fn lost() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}

/// Text as a terminal may have it. Names come from services: an escape sequence in one must not redraw a terminal, and
/// nothing in one may turn the order of what stands beside it, or hide.
pub(crate) fn visible(text: &str) -> String {
    neutral(text)
}

/// A result.
pub(crate) fn result(text: &str) {
    match line(&mut std::io::stdout().lock(), text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            LOST.get_or_init(|| error.to_string());
        }
        _ => {}
    }
}

/// Something to know on the way.
pub(crate) fn say(text: &str) {
    // There is nowhere else to say it.
    let _ = line(&mut std::io::stderr().lock(), text);
}

/// A result as one JSON document.
pub(crate) fn document(schema: &str, mut body: Value) {
    body["schema"] = Value::from(format!("allclear.{schema}/1"));
    result(&body.to_string());
}

/// A plan for people.
pub(crate) fn plan_text(plan: &Plan) -> String {
    let mut lines = vec![format!("Plan {} for {} in {}", &plan.hash[..12], plan.runbook, plan.environment)];
    for phase in Phase::ALL {
        let effects: Vec<_> = plan.effects.iter().filter(|effect| effect.phase == phase).collect();
        if effects.is_empty() {
            continue;
        }
        lines.push(format!("\n  {}", phase.title()));
        for effect in effects {
            lines.push(format!("    {} {}", effect.step, effect.title));
            if let Some(condition) = &effect.condition {
                lines.push(format!("           only if {condition}"));
            }
            for change in &effect.changes {
                lines.push(format!("           ~ {change}"));
            }
            for note in effect.notes.iter().flat_map(|note| note.lines()) {
                lines.push(format!("             {note}"));
            }
        }
    }
    if !plan.gates.is_empty() {
        lines.push("\n  Will ask".to_owned());
    }
    for gate in &plan.gates {
        let condition = gate.condition.as_ref().map_or_else(String::new, |c| format!(" (only if {c})"));
        lines.push(format!("    {} {}{condition}", gate.step, gate.question));
    }
    let certain = plan.certain().count();
    let conditional = plan.effects.len() - certain;
    lines.push(format!(
        "\n  {}, {conditional} more under conditions. In the end: {}",
        effects(certain),
        plan.ends
    ));
    lines.join("\n")
}

/// `1 effect`, `2 effects`.
pub(crate) fn effects(count: usize) -> String {
    format!("{count} effect{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d8_nothing_in_a_name_redraws_a_terminal_or_turns_the_order_of_words() {
        let hostile =
            "Spring\u{202e}gnirpS \u{2066}x\u{2069} a\u{200b}b \u{1b}[31mred\u{9b}2J\u{7}\u{2028}next\r";
        let shown = visible(hostile);
        let is_bad = |c: char| {
            c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        };
        assert!(!shown.chars().any(is_bad), "{shown:?}");
        assert!(shown.contains("Spring\u{fffd}gnirpS"), "{shown:?}");
        assert_eq!(visible("Frühling → Été\n\t✓ 春"), "Frühling → Été\n\t✓ 春");
    }
}
