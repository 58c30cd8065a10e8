//! Checklists, templates, findings and controls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use allclear_engine::Outcome;

use super::super::Input;
use super::humans::Person;
use super::world::*;

/// R9: reviewed, never executed; what nobody confirms is a finding.
#[tokio::test]
async fn a_missing_checklist_or_rollback_owner_is_a_finding() {
    let mut world =
        world().with(|outside| drop(outside.documents.remove("docs/incidents/cutover-checklist.md")));
    world.exercise.rollback_owner = " ".to_owned();
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let retro = world.document("docs/incidents/dr-tabletop.md");
    assert!(
        retro.contains("- [ ] cutover-checklist: ") && retro.contains("- [ ] rollback-owner: "),
        "{retro}"
    );

    let world = self::world();
    let person = Person { types: "stagingref", at: ("DR-R2 rollback owner", "not-confirmed") };
    let finished = world.run_with(Arc::new(person)).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(world.artifact("tabletop-report.md").contains("Rollback owner: Alex, not confirmed."));
}

#[tokio::test]
async fn what_people_made_of_a_template_stays() {
    let path = "docs/incidents/templates/status-page-update.md";
    let world = world().with(|outside| drop(outside.documents.insert(path.to_owned(), "ours".to_owned())));
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!((world.document(path), world.times(&format!("write {path}"))), ("ours".to_owned(), 0));
    assert!(world.artifact("tabletop-report.md").contains(&format!("[{path}]({path})")));
}

#[tokio::test]
async fn an_edit_that_comes_in_between_is_kept() {
    let path = "docs/incidents/dr-tabletop.md";
    let edited = "# Notes\n\n## 2026-07-07 Tabletop\n\n- [ ] The door was locked.\n";
    let world = world().with(|outside| outside.edited_meanwhile = Some((path.to_owned(), edited.to_owned())));
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let notes = world.document(path);
    assert!(notes.starts_with("# Notes\n\n## 2026-10-06 Tabletop\n"), "{notes}");
    assert!(notes.ends_with("## 2026-07-07 Tabletop\n\n- [ ] The door was locked.\n"), "{notes}");
}

#[tokio::test]
async fn findings_are_carried_from_one_exercise_to_the_next() {
    let world = world().with(|outside| outside.copy_took = Duration::from_mins(11));
    world.run().await;
    let path = "docs/incidents/dr-tabletop.md";
    let notes = world.document(path).replacen(
        "### From",
        "- [ ] The door of the room was locked.\n- [x] exercise: somebody ticked this off.\n\n### From",
        1,
    );
    let outside = Outside {
        copy_took: Duration::from_secs(95),
        documents: BTreeMap::from([(path.to_owned(), notes)]),
        ..std::mem::take(&mut *self::world().outside.lock().unwrap())
    };
    let next =
        World { input: Input { date: Some("2027-01-05".parse().unwrap()), backup: None }, ..self::world() };
    *next.outside.lock().unwrap() = outside;
    next.run_again().await;
    let notes = next.document(path);
    let newest = notes.split("## 2026-10-06").next().unwrap();
    assert!(newest.contains("### From the last exercise (2026-10-06 Tabletop)"), "{newest}");
    assert!(
        newest.contains("- [x] copy-time: ") && newest.contains("→ looked for, not found again."),
        "{newest}"
    );
    assert!(newest.contains("- [ ] The door of the room was locked. → still open"), "{newest}");
    assert!(!newest.contains("ticked this off"), "{newest}");
}

#[tokio::test]
async fn a_control_is_put_on_the_checklist_once() {
    let before = "# System checklist\n\n## Disaster recovery\n\n- [x] `dr-parity-by-content`: ours\n\n## Other\n\n- [ ] x\n";
    let world = world()
        .with(|outside| drop(outside.documents.insert("SYSTEM_CHECKLIST.md".to_owned(), before.to_owned())));
    world.run().await;
    let list = world.document("SYSTEM_CHECKLIST.md");
    assert_eq!(list.matches("`dr-parity-by-content`").count(), 1, "{list}");
    assert!(list.contains("`dr-restore-from-bucket`") && list.ends_with("## Other\n\n- [ ] x\n"), "{list}");
    world.run_again().await;
    assert_eq!(world.document("SYSTEM_CHECKLIST.md"), list);
}
