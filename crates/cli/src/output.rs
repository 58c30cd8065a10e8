//! Where words go: results to stdout, everything else to stderr. A closed or full terminal ends nothing.

use std::io::Write;

use allclear_engine::Plan;
use allclear_engine::step::Phase;
use serde_json::Value;

/// Writes one line. `println!` would panic when nobody reads any more.
pub(crate) fn line(to: &mut dyn Write, text: &str) {
    // Names come from services: an escape sequence in one must not redraw a terminal.
    let text: String =
        text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c }).collect();
    let _ = writeln!(to, "{text}");
    let _ = to.flush();
}

/// A result.
pub(crate) fn result(text: &str) {
    line(&mut std::io::stdout().lock(), text);
}

/// Something to know on the way.
pub(crate) fn say(text: &str) {
    line(&mut std::io::stderr().lock(), text);
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
