//! The words that go to others: the call, drafts for review, templates, notes. Each says that it is an exercise.

use allclear_core::incident::Severity;
use allclear_core::platform::Recovery;
use allclear_core::ports::{ChatMessage, Page};
use allclear_core::recovery::Role;

use super::notes::NotesPlace;
use super::record::Record;
use super::words::inline;

/// What begins every message of an exercise.
pub(super) const BANNER: &str = "[DRILL]";

/// Asks to respond.
pub(super) const CALL_IN: &str =
    "[DRILL] DR-Tabletop: please acknowledge within 5 minutes. This is an exercise; nothing is wrong.";

/// The status page's template.
pub(super) const STATUS_PAGE: (&str, &str) = (
    "docs/incidents/templates/status-page-update.md",
    "# Status page update\n\
\n\
Fill in what stands in angle brackets; leave out what is not known. One update per change, times in UTC.\n\
\n\
## Title\n\
\n\
<service>: <degraded | partial outage | outage | restored from backup>\n\
\n\
## Investigating\n\
\n\
Since <time> UTC, <what customers see>. Vouchers that were issued stay valid. We are restoring service from our latest backup\n\
and will write again by <time> UTC.\n\
\n\
## Restoring\n\
\n\
We are switching to a restored copy of our database with all changes up to <time of the backup's snapshot> UTC. Changes after\n\
that time may be missing for now: <what, for whom>. Next update by <time> UTC.\n\
\n\
## Resolved\n\
\n\
Service was restored at <time> UTC. <What was affected, from when to when.> <What customers should do, or: nothing to do.>\n",
);

/// The escalation's template.
pub(super) const ESCALATION_EMAIL: (&str, &str) = (
    "docs/incidents/templates/escalation-email.md",
    "# Escalation e-mail to stakeholders\n\
\n\
Fill in what stands in angle brackets. Facts only: what is not known is said to be not known.\n\
\n\
**Subject**: <service>: restore from backup in progress, decision needed by <time> UTC\n\
\n\
Dear <name>,\n\
\n\
at <time> UTC we began to restore <service> from the backup of <time of the snapshot> UTC.\n\
\n\
- What happened: <one sentence>\n\
- Who is affected: <customers, vouchers, campaigns; how many>\n\
- What may be lost: changes after <time of the snapshot> UTC: <what>\n\
- Who leads: <Incident Commander>; who would take a cutover back: <rollback owner>\n\
- What we need from you by <time> UTC: <decision>\n\
- When you hear from us next: <time> UTC\n\
\n\
<name>, Stakeholder Communications\n",
);

/// The notes, before the first exercise.
pub(super) const RETRO_TITLE: &str = "# DR tabletop: notes of all exercises\n\
\n\
Newest first. Tick off what is done; change owners and dates where they are wrong. The next exercise reads the newest section\n\
and looks again at what is open.\n";

/// The same in a runbook file, where they stand below a heading of its own.
pub(super) const RETRO_RULES: &str = "Newest first. Tick off what is done; change owners and dates where they are wrong. The next exercise reads the newest notes\n\
and looks again at what is open. `allclear check` binds nothing of what stands here.\n";

/// The checklist, where there is none.
pub(super) const CHECKLIST_TITLE: &str = "# System checklist\n";
/// Under which the exercise's controls stand.
pub(super) const CHECKLIST_HEADING: &str = "## Disaster recovery";

/// The dedup key of the exercise: never one that an incident could have.
pub(super) fn dedup_key(record: &Record) -> String {
    format!("dr-tabletop/{}/{}", record.day, record.run)
}

/// The event that calls everybody.
pub(super) fn page(record: &Record) -> Page {
    Page {
        dedup_key: dedup_key(record),
        summary: format!(
            "{BANNER} DR-Tabletop {}: acknowledge within 5 minutes; nothing is wrong",
            record.day
        ),
        severity: Severity::Info,
        source: "allclear".to_owned(),
        details: format!(
            "{BANNER} Disaster recovery exercise of {}. Acknowledge in PagerDuty under your own name; an acknowledgement by a \
service does not count. A real incident goes first: reject or abort run {}.",
            record.day, record.run
        ),
    }
}

/// The holding statement, put up for review.
pub(super) fn holding_statement(recovery: &Recovery, record: &Record) -> ChatMessage {
    let manager = named(record, Role::SupportManager);
    ChatMessage {
        channel: recovery.exercise.status_channel.clone(),
        text: format!(
            "{BANNER} Holding statement, draft for review by {manager}. Not for publication.\n\
\"We are restoring parts of our service from a backup. Vouchers that were issued stay valid. We will write again within 30 \
minutes.\"\n\
Exercise of {}, run {}.",
            record.day, record.run
        ),
        about: "holding statement draft".to_owned(),
        marker: format!("dr-tabletop/{}/holding-statement", record.run),
    }
}

/// That a real incident goes first.
pub(super) fn stopped(recovery: &Recovery, record: &Record, says: &str) -> ChatMessage {
    ChatMessage {
        channel: recovery.exercise.status_channel.clone(),
        text: format!(
            "{BANNER} The exercise of {} has stopped, because a real incident is open and goes first: {}. Nothing further is restored, and \
nobody need answer the exercise now. Once the incident is over, `allclear approve {run}` goes on with it; `allclear reject {run}` ends it.",
            record.day,
            inline(says),
            run = record.run
        ),
        about: "stop for a real incident".to_owned(),
        marker: format!("dr-tabletop/{}/real-incident", record.run),
    }
}

/// Who has a role, by name.
pub(super) fn named(record: &Record, role: Role) -> String {
    let names: Vec<&str> =
        record.people.iter().filter(|one| one.role == role).map(|one| one.name.as_str()).collect();
    if names.is_empty() { role.to_string() } else { format!("{} ({role})", names.join(", ")) }
}

/// By which the notes of this run are found again.
pub(super) fn retro_mark(record: &Record) -> String {
    format!("<!-- allclear run {} -->", record.run)
}

/// The notes of this exercise, for the place where they are filed.
pub(super) fn retro(record: &Record, place: &NotesPlace) -> String {
    let part = place.part_heading();
    let mut lines = vec![
        format!("{}{} Tabletop", place.heading(), record.day),
        String::new(),
        retro_mark(record),
        String::new(),
        format!("Backup `{}`. {}.", record.id, inline(&capital(&record.outcome()))),
        String::new(),
        super::objectives::line(record),
        String::new(),
    ];
    if !record.documents.is_empty() {
        lines.extend([format!("Drafts: {}.", drafts(record, place.path())), String::new()]);
    }
    lines.extend([format!("{part}Findings"), String::new()]);
    if record.findings.is_empty() {
        lines.push("Nothing was found.".to_owned());
    }
    lines.extend(record.findings.iter().map(|finding| format!("- [ ] {}", finding.line())));
    if let Some(last) = &record.last {
        let carried: Vec<String> =
            last.findings.iter().filter_map(|one| record.fared(one).line(one)).collect();
        if !carried.is_empty() {
            lines.extend([
                String::new(),
                format!("{part}From the last exercise ({})", last.held),
                String::new(),
            ]);
            lines.extend(carried);
        }
    }
    lines.join("\n") + "\n"
}

/// Links to the drafts, from where the notes stand.
fn drafts(record: &Record, notes: &str) -> String {
    let link = |path: &String| {
        let from_here = relative(notes, path);
        format!("[{from_here}]({from_here})")
    };
    record.documents.iter().map(link).collect::<Vec<_>>().join(", ")
}

/// The way from one document to another, both below one folder.
fn relative(from: &str, to: &str) -> String {
    let folders = |path: &str| -> Vec<String> {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        folder.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let (here, there) = (folders(from), folders(to));
    let shared = here.iter().zip(&there).take_while(|(one, other)| one == other).count();
    let up = here[shared..].iter().map(|_| "..");
    let down = there[shared..].iter().map(String::as_str).chain(to.rsplit('/').next());
    up.chain(down).collect::<Vec<_>>().join("/")
}

pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// The controls that the exercise proved, each with the mark by which it is found on the checklist. A plan presumes that all
/// will be.
pub(super) fn controls(record: &Record, planning: bool) -> Vec<(&'static str, String)> {
    let all = [
        (
            "dr-token-stop",
            record.token_refused.is_some() && record.hosted.is_some(),
            "A refused access token stops the exercise and is named as the cause; once it is rotated, the exercise goes on where it stood",
        ),
        (
            "dr-copy-checksums",
            record.copy.is_some(),
            "Every object of the buckets is copied with its SHA-256, the copy is compared with its manifest, and nothing is deleted",
        ),
        (
            "dr-target-confirmed",
            record.restored.is_some(),
            "Before a restore, source and target are compared by host, database, project and cluster, and the target is typed",
        ),
        (
            "dr-restore-from-bucket",
            record.parity_holds(),
            "The restore is proven from the bucket, not from a local file",
        ),
        (
            "dr-parity-by-content",
            record.parity_holds(),
            "Staging is compared with the backup's own snapshot, every table by rows and content",
        ),
        (
            "dr-acknowledged-by-person",
            record.roll.is_some(),
            "Acknowledgements are measured by person from PagerDuty's log entries",
        ),
    ];
    let line = |mark: &str, says: &str| {
        format!("- [x] `{mark}`: {says} (since {}, run {}).", record.day, record.run)
    };
    all.into_iter()
        .filter(|(_, holds, _)| *holds || planning)
        .map(|(mark, _, says)| (mark, line(mark, says)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_from_where_the_notes_stand() {
        let to = "docs/incidents/templates/a.md";
        for (from, link) in [
            ("docs/incidents/dr-tabletop.md", "templates/a.md"),
            ("docs/incident-runbooks.md", "incidents/templates/a.md"),
            ("RUNBOOKS.md", "docs/incidents/templates/a.md"),
            ("wiki/ops/runbooks.md", "../../docs/incidents/templates/a.md"),
        ] {
            assert_eq!(relative(from, to), link, "{from}");
        }
    }
}
