//! The tabletop report: each sentence follows from what was recorded, and what is not known is said to be not known.

use std::fmt::Write as _;

use allclear_core::recovery::{Exercise, Role};

use super::backup::{backup_says, copy_says, hosted_says};
use super::cadence::in_words;
use super::documents::CHECKLIST;
use super::files::{LOG, ROWCOUNT, parity_says, table_says};
use super::notes::NotesPlace;
use super::notify::Roll;
use super::objectives;
use super::record::{Part, Record, Tried};
use super::rehearse::result_says;
use super::restore::{restored_says, server_says};
use super::words::{inline, parts, span};

/// The report as Markdown, of an exercise that is configured like this.
pub(super) fn report(record: &Record, exercise: &Exercise) -> String {
    let mut page = Page { text: String::new() };
    page.begin(record);
    page.people(record);
    page.backup(record);
    page.restore(record);
    page.smoke(record);
    page.measured(record, exercise);
    page.cutover(record, &exercise.rollback_owner);
    page.findings(record);
    page.last_findings(record);
    page.links(record, &NotesPlace::of(exercise));
    page.text
}

struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, line: impl AsRef<str>) {
        let _ = writeln!(self.text, "{}", line.as_ref());
    }

    fn heading(&mut self, title: &str) {
        let _ = write!(self.text, "\n## {title}\n\n");
    }

    fn item(&mut self, says: impl AsRef<str>) {
        let _ = writeln!(self.text, "- {}", inline(says.as_ref()));
    }

    fn begin(&mut self, record: &Record) {
        self.line(format!("# DR tabletop of {}\n", record.day));
        self.item(format!("Run {}, began {}.", record.run, in_words(record.began)));
        self.item(format!("{}.", super::texts::capital(&record.outcome())));
        if let Some(says) = &record.gave_way {
            self.item(format!("A real incident went first, and the exercise stopped for it: {says}."));
        }
        if let Some(cadence) = &record.cadence {
            let held = if cadence.scheduled { "on a date of" } else { "outside" };
            self.item(format!("Held {held} the cadence (first Tuesday of each quarter, 14:00 UTC)."));
            if let Some(next) = cadence.next.first() {
                self.item(format!("Next exercise: {}.", in_words(*next)));
            }
        }
    }

    fn people(&mut self, record: &Record) {
        self.heading("Participants and acknowledgements");
        for role in Role::ALL {
            self.item(format!("{}.", super::texts::named(record, role)));
        }
        self.line("");
        match (&record.incident, &record.roll) {
            (Some(incident), Some(Roll::Read(roll))) => {
                let opened =
                    incident.created_at.map_or_else(|| "at a time not known".to_owned(), |at| at.to_string());
                self.line(format!(
                    "PagerDuty opened incident {} at {opened}, severity info.\n",
                    inline(&incident.id)
                ));
                for one in roll {
                    self.item(format!("{}.", one.says()));
                }
            }
            (_, Some(Roll::Unread { says })) => {
                self.line(format!("Who acknowledged is not known: {}.", inline(says)));
            }
            _ => self.line("Nobody was called."),
        }
        let draft = if record.statement_posted { "stands" } else { "does not stand" };
        self.line(format!("\nThe holding statement's draft {draft} in the status channel."));
    }

    fn backup(&mut self, record: &Record) {
        self.heading("Backup");
        if let Some(says) = &record.token_refused {
            self.item(format!(
                "The list of hosted backups was refused; the access token was the cause: {says}."
            ));
        }
        match &record.hosted {
            Some(hosted) => self.item(format!("{}.", super::texts::capital(&hosted_says(hosted)))),
            None => self.item("The list of hosted backups was not read."),
        }
        match &record.backup {
            Some(part) => {
                self.item(format!("Backup {}: {}.", record.id, backup_says(&part.what)));
                self.item(format!("Its snapshot was taken at {}.", part.what.snapshot_at));
                self.item(runtime("backup", part, &part.what.took));
            }
            None => self.item("No backup was taken."),
        }
        match &record.copy {
            Some(part) => {
                self.item(format!("Copy of the buckets: {}.", copy_says(&part.what)));
                self.item(runtime("copy", part, &part.what.took));
            }
            None => self.item("The buckets were not copied."),
        }
        if let Some(inventory) = &record.inventory {
            self.item(format!("Beside the platform's own list: {}.", inventory.says()));
        }
    }

    fn restore(&mut self, record: &Record) {
        self.heading("Restore and parity");
        if let Some(check) = &record.target {
            self.item(format!("Source: {}.", server_says(&check.source)));
            self.item(format!("Target: {}.", server_says(&check.target)));
        }
        match &record.restored {
            Some(part) => {
                self.item("The target was confirmed at the gate DR-R1 restore, which takes it typed.");
                self.item(format!("Restored from the bucket: {}.", restored_says(&part.what)));
                for note in &part.what.notes {
                    self.item(format!("{}.", super::texts::capital(note)));
                }
                self.item(runtime("restore", part, &part.what.took));
            }
            None => self.item("Nothing was restored."),
        }
        match &record.parity {
            Some(parity) => {
                self.item(format!("Parity: {}.", parity_says(parity)));
                for table in parity.tables.iter().filter(|table| !table.is_equal()) {
                    self.item(format!("{}.", table_says(table)));
                }
                for one in &parity.different {
                    self.item(format!("{}: {}.", super::texts::capital(&one.object), one.says));
                }
                for changed in &parity.changed {
                    self.item(format!("Changed on purpose: {changed}."));
                }
                for masked in &parity.masked {
                    self.item(format!("Masked: {}.", masked.says()));
                }
                for left_out in &parity.not_compared {
                    self.item(format!("Not compared: {left_out}."));
                }
                self.item(format!("The comparison took {}.", span(parity.took)));
            }
            None => self.item("Staging was not compared with the snapshot."),
        }
    }

    fn smoke(&mut self, record: &Record) {
        self.heading("Smoke tests on staging");
        if record.smoke.is_empty() {
            self.line("None was tried.");
        }
        for (test, tried) in &record.smoke {
            let says = match tried {
                Tried::Result(result) => result_says(result),
                Tried::Unknown { says } => format!("not known: {says}"),
            };
            self.item(format!("{}: {says}.", super::texts::capital(test.title())));
        }
    }

    fn measured(&mut self, record: &Record, exercise: &Exercise) {
        self.heading("Recovery time and age of the data");
        for says in objectives::sentences(record, &exercise.objectives) {
            self.item(format!("{}.", super::texts::capital(&says)));
        }
        let rows = objectives::rows(record);
        if !rows.is_empty() {
            self.line("\n| Exercise | Recovery time | Age of the data |");
            self.line("|---|---|---|");
        }
        for row in rows {
            let cells = row.map(|cell| inline(&cell));
            self.line(format!("| {} |", cells.join(" | ")));
        }
    }

    fn cutover(&mut self, record: &Record, rollback_owner: &str) {
        self.heading("Cutover rehearsal");
        self.line("Nothing was executed: a rehearsal has no way to write DNS records, environment variables or production.\n");
        match &record.checklist {
            Some(list) => {
                let state = if list.reviewed { "reviewed" } else { "not reviewed" };
                let items = list.items.as_deref().unwrap_or_default();
                self.item(format!("Checklist {}: {} items, {state}.", list.path, items.len()));
                for item in items {
                    let _ = writeln!(self.text, "  - {}", inline(item));
                }
            }
            None => self.item("The checklist was not looked at."),
        }
        match record.rollback_confirmed {
            Some(true) => self.item(format!("Rollback owner: {rollback_owner}, confirmed.")),
            Some(false) => self.item(format!("Rollback owner: {rollback_owner}, not confirmed.")),
            None => self.item("Nobody was asked for the rollback owner."),
        }
    }

    fn findings(&mut self, record: &Record) {
        self.heading("Findings");
        if record.findings.is_empty() {
            self.line("Nothing was found.");
            return;
        }
        self.line("| About | Finding | Action | Owner | Due |");
        self.line("|---|---|---|---|---|");
        for one in &record.findings {
            let cells =
                [one.topic.id(), &one.says, one.action(), &one.owner, &one.due.to_string()].map(inline);
            self.line(format!("| {} |", cells.join(" | ")));
        }
    }

    fn last_findings(&mut self, record: &Record) {
        let Some(last) = &record.last else { return };
        self.heading(&format!("Findings of the last exercise ({})", inline(&last.held)));
        if last.findings.is_empty() {
            self.line("It found nothing.");
        }
        for finding in &last.findings {
            self.item(format!("{} → {}.", finding.says, record.fared(finding).says()));
        }
    }

    fn links(&mut self, record: &Record, notes: &NotesPlace) {
        self.heading("Files and documents");
        for name in &record.kept {
            self.item(format!("{name}."));
        }
        if record.kept.is_empty() {
            self.item(format!("Neither {LOG} nor {ROWCOUNT} was kept."));
        }
        for path in &record.documents {
            let about = match path.as_str() {
                path if path == notes.path() => "notes of all exercises",
                CHECKLIST => "controls",
                _ => "draft",
            };
            let _ = writeln!(self.text, "- [{path}]({path}): {about}.");
        }
        if !record.controls.is_empty() {
            self.item(format!("Controls on the checklist: {}.", record.controls.join(", ")));
        }
    }
}

/// How long a part took, and how that is known.
fn runtime<T>(what: &str, part: &Part<T>, took: &[allclear_core::recovery::Took]) -> String {
    if part.was_there {
        return format!("The {what} was there before this run did it.");
    }
    let detail = parts(took);
    let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
    format!("Runtime of the {what}: {}{detail}.", span(part.runtime))
}
