//! The postmortem as Markdown.

use std::fmt::Write as _;

use super::postmortem::{Postmortem, Statement, duration_text};
use super::timeline::Moment;

/// Renders it. Words from outside are escaped, so they are neither markup nor HTML.
pub fn to_markdown(told: &Postmortem) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "# Postmortem: {}\n", escape(&told.title));
    let outcome =
        told.outcome.as_ref().map_or_else(|| "not ended".to_owned(), |outcome| escape(outcome.text()));
    let _ = writeln!(out, "| | |\n|---|---|\n| Outcome | {outcome} |");
    let _ = writeln!(
        out,
        "| Environment | {} |\n| Started by | {} |",
        escape(&told.environment),
        escape(&told.operator)
    );
    for (name, at) in [("Began", told.began_at), ("Last entry", told.ended_at)] {
        if let Some(at) = at {
            let _ = writeln!(out, "| {name} | {} |", at.strftime("%Y-%m-%d %H:%M:%S UTC"));
        }
    }
    let _ = writeln!(out, "\nNumbers in brackets are entries of the journal.");
    section(&mut out, "Summary", &told.summary);
    section(&mut out, "Impact", &told.impact);
    section(&mut out, "Mitigations used", &told.mitigations);
    effects(&mut out, told);
    section(&mut out, "People", &told.people);
    section(&mut out, "Deadlines and doubts", &told.deadlines_and_doubts);
    section(&mut out, "Failed calls", &told.failures);
    section(&mut out, "Files", &told.artifacts);
    time(&mut out, told);
    section(&mut out, "Open questions", &told.open_questions);
    if told.open_questions.is_empty() {
        let _ = writeln!(out, "\n## Open questions\n\nNone.");
    }
    moments(&mut out, &told.timeline);
    out
}

fn section(out: &mut String, title: &str, statements: &[Statement]) {
    if statements.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n## {title}\n");
    for statement in statements {
        let _ = writeln!(out, "- {} {}", escape(statement.text()), cites(statement));
    }
}

fn effects(out: &mut String, told: &Postmortem) {
    if told.effects.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n## What was changed\n");
    let _ = writeln!(out, "| step | change | proven | evidence | entries |\n|---|---|---|---|---|");
    for effect in &told.effects {
        let changes: Vec<String> = effect.changes.iter().map(|change| escape(&change.to_string())).collect();
        let evidence: Vec<String> =
            effect.evidence.iter().map(|(source, shows)| escape(&format!("{source}: {shows}"))).collect();
        let proven = if effect.verified { "yes" } else { "**no**" };
        let _ = writeln!(
            out,
            "| {} | {} | {proven} | {} | {} |",
            effect.step,
            changes.join("<br>"),
            evidence.join("<br>"),
            cites(&effect.became)
        );
    }
}

fn time(out: &mut String, told: &Postmortem) {
    let time = &told.time;
    let _ = writeln!(out, "\n## Where the time went\n\n| kind | time |\n|---|---|");
    let parts = [
        ("machine", time.machine),
        ("people", time.human),
        ("waiting", time.waiting),
        ("verifying", time.verifying),
        ("interrupted", time.interrupted),
        ("**wall clock**", time.wall_clock),
    ];
    for (name, took) in parts {
        let _ = writeln!(out, "| {name} | {} |", duration_text(took));
    }
}

fn moments(out: &mut String, moments: &[Moment]) {
    let _ =
        writeln!(out, "\n## Timeline\n\n| entry | time (UTC) | step | what happened |\n|---|---|---|---|");
    for moment in moments {
        let at = moment.at.strftime("%H:%M:%S");
        let _ = writeln!(out, "| {} | {at} | {} | {} |", moment.seq, moment.step, escape(&moment.says));
    }
}

fn cites(statement: &Statement) -> String {
    let numbers: Vec<String> = statement.cites().iter().map(ToString::to_string).collect();
    format!("[{}]", numbers.join(", "))
}

/// Makes foreign words plain: no table cells, no markup, no HTML, one line.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' | '*' | '`' | '[' | ']' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            // Directional marks could show a sentence backwards.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
