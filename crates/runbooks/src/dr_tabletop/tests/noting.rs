//! The notes in the section of the team's own runbook file.

use allclear_core::Clock as _;
use allclear_engine::Outcome;

use super::world::*;
use crate::catalogue;
use crate::text::{WRITTEN, bind};

const FILE: &str = "docs/incident-runbooks.md";
const OWN: &str = "docs/incidents/dr-tabletop.md";

fn written() -> String {
    String::from_utf8_lossy(WRITTEN).into_owned()
}

/// A team that keeps its notes where the written runbook says; this is its file.
fn team(file: &str) -> World {
    let mut world = world().with(|outside| drop(outside.documents.insert(FILE.to_owned(), file.to_owned())));
    world.exercise.runbook_file = Some(FILE.to_owned());
    world
}

fn drifts(file: &str) -> usize {
    bind(file.as_bytes(), catalogue()).iter().map(|binding| binding.drifts.len()).sum()
}

#[tokio::test]
async fn notes_are_filed_in_the_runbooks_section_and_read_from_there() {
    let world = team(&written()).with(|outside| outside.refusals = 1);
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let file = world.document(FILE);
    assert!(file.starts_with(written().trim_end()), "what was there stays");
    assert!(file.contains("\n### Retro Notes\n") && file.contains("\n#### 2026-10-06 Tabletop\n"), "{file}");
    assert!(file.contains("- [ ] manifest-token: the list of hosted backups was refused"), "{file}");
    assert!(file.contains("[incidents/templates/escalation-email.md]"), "{file}");
    assert_eq!(drifts(&file), 0);
    assert!(!world.outside.lock().unwrap().documents.contains_key(OWN));
    assert!(
        world.artifact("tabletop-report.md").contains(&format!("[{FILE}]({FILE}): notes of all exercises."))
    );

    // People add a finding of theirs, and the next exercise carries it on.
    let door = "- [ ] The door of the room was locked.\n\n##### From";
    world.with_now(|outside| {
        drop(outside.documents.insert(FILE.to_owned(), file.replacen("##### From", door, 1)));
    });
    world.clock.sleep_until(after(7_200)).await;
    world.run_again().await;
    let file = world.document(FILE);
    let newest = file.split("\n#### ").nth(1).unwrap();
    assert!(newest.contains("- [ ] The door of the room was locked. → still open"), "{newest}");
    assert!(
        newest.contains("- [x] manifest-token: ") && newest.contains("→ looked for, not found again."),
        "{newest}"
    );
    assert_eq!((drifts(&file), file.matches("<!-- allclear run run-").count()), (0, 2));
}

#[tokio::test]
async fn what_people_change_in_the_file_meanwhile_is_kept() {
    let edited = written().replacen("# Incident Runbooks", "# Our Incident Runbooks", 1);
    assert_ne!(edited, written());
    let world =
        team(&written()).with(|outside| outside.edited_meanwhile = Some((FILE.to_owned(), edited.clone())));
    assert_eq!(world.run().await.outcome, Outcome::Verified);
    assert!(world.document(FILE).starts_with(edited.trim_end()));
    assert!(world.document(FILE).contains("#### 2026-10-06 Tabletop"));
}

#[tokio::test]
async fn a_file_without_the_section_is_refused_before_anybody_is_called() {
    for (file, says) in [("# Runbooks\n", "has no section"), ("", "has no section")] {
        let world = team(file);
        let finished = world.run().await;
        assert_eq!(finished.outcome, Outcome::Refused, "{}", finished.says);
        assert!(finished.says.contains(says) && world.calls.all().is_empty(), "{}", finished.says);
    }
    let world = team("").with(|outside| drop(outside.documents.remove(FILE)));
    let finished = world.run().await;
    assert!(finished.says.contains("there is no file") && world.calls.all().is_empty(), "{}", finished.says);
}

/// The section is taken out while the exercise is held: nothing of the file is touched, and somebody files by hand.
#[tokio::test]
async fn a_section_that_vanishes_meanwhile_is_a_finding() {
    let gone = "# Runbooks, moved to the wiki\n";
    let world =
        team(&written()).with(|outside| outside.edited_meanwhile = Some((FILE.to_owned(), gone.to_owned())));
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(world.document(FILE), gone);
    assert!(finished.says.contains("1 finding"), "{}", finished.says);
    assert!(
        world
            .artifact("tabletop-report.md")
            .contains("| documents | docs/incident-runbooks.md was not written")
    );
}

#[tokio::test]
async fn notes_of_before_the_file_was_named_are_read_until_there_are_newer_ones() {
    let before = "# Notes\n\n## 2026-07-07 Tabletop\n\nMeasured: recovery time 3 min (RTO), age of the data 2 min (RPO).\n\n- [ ] The door was locked.\n";
    let world =
        team(&written()).with(|outside| drop(outside.documents.insert(OWN.to_owned(), before.to_owned())));
    world.run().await;
    assert!(world.document(FILE).contains("- [ ] The door was locked. → still open"));
    assert!(world.artifact("tabletop-report.md").contains("| 2026-07-07 Tabletop | 3 min | 2 min |"));
    assert_eq!(world.document(OWN), before);
    world.clock.sleep_until(after(7_200)).await;
    world.run_again().await;
    let report = world.artifact("tabletop-report.md");
    assert!(
        report.contains("| 2026-10-06 Tabletop | ") && report.contains("| 2026-07-07 Tabletop | "),
        "{report}"
    );
}
