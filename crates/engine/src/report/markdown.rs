//! The post-mortem as Markdown.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::postmortem::{Exchange, Postmortem};
use super::statement::Statement;
use super::time::TimeSpent;
use super::words::{clock_from, exact, moment, span};

/// How much of a post-mortem is written, by who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For a chat or a status page: one paragraph, then what is open and what is left changed. Without citations; the other
    /// forms have them.
    Short,
    /// For the meeting: that, what was affected, the timeline, what was done and who said what.
    Review,
    /// Everything that the journal proves, with every cited entry.
    Full,
}

/// Renders a post-mortem as Markdown (GitHub's dialect). But for [`Form::Short`], each sentence is followed by the entries
/// it follows from, as `[12]` or `[12, 14]`; the appendix of [`Form::Full`] lists them. Times are UTC.
///
/// All text is escaped: what a service or a person wrote cannot become markup, a link or a table cell.
pub fn to_markdown(told: &Postmortem, form: Form) -> String {
    let title = if told.header.title.is_empty() { "Run" } else { &told.header.title };
    let mut page =
        Page { text: format!("# {}: post-mortem\n", escape(title)), began: told.header.began, form };
    if told.header.began.is_none() {
        page.text.push_str("\nThe journal has no entries, so there is nothing to tell.\n");
        return page.text;
    }
    page.paragraph(told);
    page.list("Open questions", &told.open_questions);
    page.left(told);
    if form == Form::Short {
        return page.text;
    }
    page.head(told);
    page.list("Summary", &told.summary);
    page.list("Impact", &told.impact);
    page.timeline(told);
    if form == Form::Full {
        page.bullets(told);
    }
    page.changed(told);
    page.list("Mitigations used", &told.mitigations);
    page.people(told);
    page.exchanges("In doubt", &told.doubts);
    page.waiting(told);
    if form == Form::Full {
        page.failed_calls(told);
        page.verification(told);
        page.time(told);
    }
    page.list("Artifacts", &told.artifacts);
    if form == Form::Full {
        page.evidence(told);
    }
    page.text
}

struct Page {
    text: String,
    began: Option<Timestamp>,
    form: Form,
}

impl Page {
    fn heading(&mut self, title: &str) {
        let _ = write!(self.text, "\n## {title}\n\n");
    }

    fn item(&mut self, depth: usize, statement: &Statement) {
        let said = match self.form {
            Form::Short => escape(statement.text()),
            Form::Review | Form::Full => cited(statement),
        };
        let _ = writeln!(self.text, "{}- {said}", "  ".repeat(depth));
    }

    /// What is not as it was; in the short form only what is not to stay so.
    fn left(&mut self, told: &Postmortem) {
        let shown = told.left.iter().filter(|one| self.form != Form::Short || one.is_to_be_given_back());
        let left: Vec<Statement> = shown.map(|one| one.statement.clone()).collect();
        self.list("Left changed", &left);
    }

    /// What can be pasted anywhere: no headings, no lists, no numbers of entries.
    fn paragraph(&mut self, told: &Postmortem) {
        let sentences: Vec<String> =
            told.paragraph.iter().map(|statement| escape(statement.text())).collect();
        let _ = writeln!(self.text, "\n{}", sentences.join(" "));
    }

    fn list(&mut self, title: &str, statements: &[Statement]) {
        if statements.is_empty() {
            return;
        }
        self.heading(title);
        for statement in statements {
            self.item(0, statement);
        }
    }

    fn exchanges(&mut self, title: &str, exchanges: &[Exchange]) {
        if exchanges.is_empty() {
            return;
        }
        self.heading(title);
        for exchange in exchanges {
            self.item(0, &exchange.about);
            for then in &exchange.then {
                self.item(1, then);
            }
        }
    }

    fn table(&mut self, columns: &[&str]) {
        let _ = writeln!(self.text, "| {} |", columns.join(" | "));
        let _ = writeln!(self.text, "|{}", " --- |".repeat(columns.len()));
    }

    /// A row; cells are escaped already.
    fn row(&mut self, cells: &[String]) {
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
    }

    fn clock(&self, at: Timestamp) -> String {
        clock_from(self.began.unwrap_or(at), at)
    }

    fn head(&mut self, told: &Postmortem) {
        self.heading("The run");
        for fact in &told.header.facts {
            let _ = writeln!(self.text, "- **{}:** {}", fact.name, cited(&fact.statement));
        }
        let listed = match self.form {
            Form::Full => "they are listed at the end",
            Form::Short | Form::Review => "the full form lists them",
        };
        let _ = writeln!(
            self.text,
            "\nTimes are UTC. Numbers in brackets name the entries of the run's journal that a sentence follows from; \
             {listed}.",
        );
    }

    fn timeline(&mut self, told: &Postmortem) {
        self.heading("Timeline");
        self.table(&["Time", "Since start", "Step", "What happened"]);
        for line in &told.timeline {
            self.row(&[
                self.clock(line.at),
                since(line.since_start),
                line.step.as_deref().map_or_else(String::new, escape),
                cited(&line.statement),
            ]);
        }
    }

    fn bullets(&mut self, told: &Postmortem) {
        if told.bullets.is_empty() {
            return;
        }
        self.heading("The runbook, step by step");
        self.table(&["Step", "Phase", "Text", "Worked on"]);
        for bullet in &told.bullets {
            self.row(&[
                escape(&bullet.step),
                bullet.phase.title().to_owned(),
                escape(&bullet.title),
                cited(&bullet.statement),
            ]);
        }
    }

    fn changed(&mut self, told: &Postmortem) {
        if told.changed.is_empty() && told.left_alone.is_empty() {
            return;
        }
        self.heading("What was changed");
        if !told.changed.is_empty() {
            self.table(&["Known at", "Step", "What was done", "Before → after", "Verdict"]);
            for row in &told.changed {
                let changes: Vec<String> = row.changes.iter().map(|change| escape(change)).collect();
                self.row(&[
                    self.clock(row.at),
                    escape(&row.step),
                    cited(&row.statement),
                    changes.join("<br>"),
                    row.verdict.clone(),
                ]);
            }
        }
        if !told.left_alone.is_empty() {
            self.text.push('\n');
            for statement in &told.left_alone {
                self.item(0, statement);
            }
        }
    }

    fn people(&mut self, told: &Postmortem) {
        if told.people.is_empty() && told.approvals.is_empty() {
            return;
        }
        self.heading("People");
        for statement in &told.approvals {
            self.item(0, statement);
        }
        for exchange in &told.people {
            self.item(0, &exchange.about);
            for then in &exchange.then {
                self.item(1, then);
            }
        }
    }

    fn waiting(&mut self, told: &Postmortem) {
        if told.deadlines.is_empty() && told.waits.is_empty() {
            return;
        }
        self.heading("Waiting and deadlines");
        for statement in told.deadlines.iter().chain(&told.waits) {
            self.item(0, statement);
        }
    }

    fn failed_calls(&mut self, told: &Postmortem) {
        if told.failed_calls.is_empty() {
            return;
        }
        self.heading("Failed calls");
        self.table(&["Times", "First", "Last", "What failed"]);
        for call in &told.failed_calls {
            self.row(&[
                call.count.to_string(),
                self.clock(call.first),
                self.clock(call.last),
                cited(&call.statement),
            ]);
        }
    }

    fn verification(&mut self, told: &Postmortem) {
        if told.verification.is_empty() {
            return;
        }
        self.heading("Verification");
        self.table(&["Step", "Effect", "Verdict", "What was seen", "Evidence"]);
        for row in &told.verification {
            let evidence: Vec<String> = row.evidence.iter().map(|one| escape(one)).collect();
            self.row(&[
                escape(&row.step),
                escape(&row.title),
                row.verdict.clone(),
                cited(&row.statement),
                evidence.join("<br>"),
            ]);
        }
    }

    fn time(&mut self, told: &Postmortem) {
        self.heading("Where the time went");
        for statement in &told.time.statements {
            self.item(0, statement);
        }
        let TimeSpent { machine, human, waiting, verifying, interrupted, wall_clock, by_step, .. } =
            &told.time.spent;
        self.text.push('\n');
        self.table(&["Part", "Time", "Share"]);
        let parts = [
            ("Calls and computation", machine),
            ("Waiting for people", human),
            ("Waiting for the world or to try again", waiting),
            ("Verifying", verifying),
            ("Interrupted", interrupted),
        ];
        for (name, part) in parts {
            self.row(&[name.to_owned(), exact(*part), share(*part, *wall_clock)]);
        }
        let sum: SignedDuration = parts.iter().map(|(_, part)| **part).sum();
        self.row(&["**Sum**".to_owned(), format!("**{}**", exact(sum)), share(sum, *wall_clock)]);
        if by_step.is_empty() {
            return;
        }
        self.text.push('\n');
        self.table(&["Step", "Calls and computation", "People", "Waiting", "Verifying"]);
        for step in by_step {
            let parts = [step.machine, step.human, step.waiting, step.verifying];
            let mut cells = vec![escape(&step.step)];
            cells.extend(parts.iter().map(|part| if part.is_zero() { String::new() } else { span(*part) }));
            self.row(&cells);
        }
    }

    fn evidence(&mut self, told: &Postmortem) {
        self.heading("Evidence");
        self.table(&["Entry", "Time (UTC)", "Key", "What it records"]);
        for cited in &told.evidence {
            let at = moment(cited.at);
            let at = at.strip_suffix(" UTC").unwrap_or(&at);
            self.row(&[cited.seq.to_string(), at.to_owned(), escape(&cited.key), escape(&cited.says)]);
        }
    }
}

fn cited(statement: &Statement) -> String {
    let seqs: Vec<String> = statement.cites().iter().map(ToString::to_string).collect();
    format!("{} [{}]", escape(statement.text()), seqs.join(", "))
}

fn since(duration: SignedDuration) -> String {
    if duration.is_negative() { span(duration) } else { format!("+{}", span(duration)) }
}

fn share(part: SignedDuration, whole: SignedDuration) -> String {
    if whole.is_zero() {
        return String::new();
    }
    format!("{:.1} %", part.as_nanos() as f64 / whole.as_nanos() as f64 * 100.0)
}

/// Text as Markdown that shows it as it is: no markup, no HTML, no table cell, no link, not even a bare one.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let after = rest.peek().copied().unwrap_or(' ');
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '[' | ']' | '|' | '~' | '$' => out.extend(['\\', c]),
            // Between letters an underscore is no markup, and identifiers stay readable in the source.
            '_' if !(before.is_alphanumeric() && after.is_alphanumeric()) => out.push_str("\\_"),
            // These would make a bare address a link.
            ':' if after == '/' => out.push_str("\\:"),
            '.' if out.to_ascii_lowercase().ends_with("www") => out.push_str("\\."),
            '@' => out.push_str("&#64;"),
            // At the beginning of an item these would make a heading or another list.
            '#' | '-' | '+' | '=' if out.is_empty() => out.extend(['\\', c]),
            '.' | ')' if !out.is_empty() && out.chars().all(|digit| digit.is_ascii_digit()) => {
                out.extend(['\\', c]);
            }
            _ => out.push(c),
        }
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_foreign_becomes_markup() {
        assert_eq!(escape("<script>alert(1)</script>"), "&lt;script&gt;alert(1)&lt;/script&gt;");
        assert_eq!(escape("a | b"), "a \\| b");
        assert_eq!(
            escape("`code` *bold* _slanted_ send_failed"),
            "\\`code\\` \\*bold\\* \\_slanted\\_ send_failed"
        );
        assert_eq!(escape("[here](https://evil.example)"), "\\[here\\](https\\://evil.example)");
        assert_eq!(escape("see WWW.evil.example"), "see WWW\\.evil.example");
        assert_eq!(escape("# heading"), "\\# heading");
        assert_eq!(escape("- item"), "\\- item");
        assert_eq!(escape("1. item"), "1\\. item");
        assert_eq!(escape("&lt;b&gt; \\|"), "&amp;lt;b&amp;gt; \\\\\\|");
        assert_eq!(escape("3.5 % of 12:30"), "3\\.5 % of 12:30");
    }
}
