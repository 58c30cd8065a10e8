//! Backup, copy of the buckets, and what is kept of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use allclear_core::error::{Service, StopReason};
use allclear_core::{Clock, PortError};
use allclear_engine::{MemoryJournal, Outcome};

use super::humans::AnswersOnly;
use super::world::*;
use crate::mocked::approver;

/// R5, the seed's first finding.
#[tokio::test]
async fn a_refused_token_is_named_and_the_run_goes_on_there_once_it_is_rotated() {
    let world = world().with(|outside| outside.refusals = 3);
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let log = world.artifact("backup.log");
    assert!(log.contains("Hosted backups: refused, the access token is the cause"), "{log}");
    assert!(world.document("docs/incidents/dr-tabletop.md").contains("- [ ] manifest-token: "));
    assert!(world.artifact("tabletop-report.md").contains("→ found again."));
    for once in ["page", "take backup", "copy objects", "restore"] {
        assert_eq!(world.times(once), 1, "{once}");
    }
}

#[tokio::test]
async fn while_nobody_rotates_the_token_the_run_waits_and_repeats_nothing_when_it_is_resumed() {
    let world = world().with(|outside| outside.refusals = 1);
    let journal = MemoryJournal::new();
    let until_the_token = Arc::new(AnswersOnly { gates: &["DR-P2 begin"] });
    let waiting = world.go_on(&journal, until_the_token).await.unwrap();
    assert_eq!(waiting.outcome, Outcome::WaitingForHuman, "{}", waiting.says);
    assert!(waiting.says.contains("DR-B1 token 1") && world.times("take backup") == 0, "{}", waiting.says);
    let finished = world.go_on(&journal, approver()).await.unwrap();
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!((world.times("page"), world.times("chat #ops-status")), (1, 1));
}

#[tokio::test]
async fn a_token_that_stays_refused_ends_the_exercise_before_the_backup() {
    let world = world().with(|outside| outside.refusals = 1_000);
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("still refused") && world.times("take backup") == 0, "{}", finished.says);
    assert_eq!(world.times("close incident"), 1);
    assert!(world.artifact("tabletop-report.md").contains("Ended early"));
}

/// The seed's second finding.
#[tokio::test]
async fn a_copy_above_its_budget_is_a_finding_that_says_what_would_help() {
    let world = world().with(|outside| outside.copy_took = Duration::from_mins(11));
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let retro = world.document("docs/incidents/dr-tabletop.md");
    assert!(
        retro.contains(
            "- [ ] copy-time: the copy of the buckets took 11 min, budget 5 min: 5000 objects of 30.0 KiB on average; \
             objects this small are bound by round trips and not by their size"
        ),
        "{retro}"
    );
    assert!(retro.contains("Owner: Data Platform Lead (Alex). Due: 2026-10-20."), "{retro}");
}

#[tokio::test]
async fn a_copy_that_has_what_the_platform_lists_is_told_and_is_no_finding() {
    let old = Some(start() - Duration::from_hours(1));
    // Younger than the copy: it need not be in it.
    let listed = [("1.png", old), ("2.png", old), ("3.png", Some(after(1)))];
    let listed = listed.map(|(name, changed)| stored(name, 10, changed)).to_vec();
    let world = world().with(|outside| outside.listed = Some(Ok(listed)));
    assert_eq!(world.run().await.outcome, Outcome::Verified);
    let says = "the platform lists 3 objects, and the copy has them with their sizes; \
                1 changed after the copy had begun and count for nothing";
    assert!(world.artifact("backup.log").contains(&format!("Object lists: {says}")));
    assert!(
        world.artifact("tabletop-report.md").contains(&format!("- Beside the platform's own list: {says}."))
    );
    assert!(!world.document("docs/incidents/dr-tabletop.md").contains("object-lists"));
}

#[tokio::test]
async fn an_object_that_only_one_side_knows_is_a_finding_and_the_exercise_goes_on() {
    let old = Some(start() - Duration::from_hours(1));
    let listed = vec![stored("1.png", 10, old), stored("lost.png", 10, old)];
    let world = world().with(|outside| outside.listed = Some(Ok(listed)));
    assert_eq!(world.run().await.outcome, Outcome::Verified);
    let notes = world.document("docs/incidents/dr-tabletop.md");
    for says in
        ["1 not in the copy (vouchers/lost.png)", "1 in the copy and not on the list (vouchers/2.png)"]
    {
        assert!(notes.contains(says), "{notes}");
    }
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_a_finding_and_proves_nothing() {
    let error = PortError::Stopped {
        service: Service::Storage,
        call: "GET /bucket/vouchers".to_owned(),
        reason: StopReason::Permission,
        detail: "403 AccessDenied".to_owned(),
    };
    let world = world().with(|outside| outside.listed = Some(Err(error)));
    assert_eq!(world.run().await.outcome, Outcome::Verified);
    let notes = world.document("docs/incidents/dr-tabletop.md");
    assert!(
        notes.contains("object-lists: the copy was not compared with the platform's own list"),
        "{notes}"
    );
    assert!(!world.artifact("tabletop-report.md").contains("Beside the platform's own list"));
}

#[tokio::test]
async fn the_exercises_files_are_kept_as_evidence_once_though_an_answer_was_lost() {
    let lost = VecDeque::from([Lost::BeforeTheDeed, Lost::AfterTheDeed]);
    let world = world().with(|outside| {
        outside.shelf = Some(BTreeMap::new());
        outside.uploads_lost = lost;
    });
    assert_eq!(world.run().await.outcome, Outcome::Verified);
    let kept = world.outside.lock().unwrap().shelf.clone().unwrap();
    for name in ["backup.log", "rowcount.csv", "tabletop-report.md"] {
        assert_eq!(String::from_utf8(kept[name].clone()).unwrap(), world.artifact(name), "{name}");
    }
    let report = world.artifact("tabletop-report.md");
    assert!(
        report.contains("- backup.log, as evidence at storage://exercises/run-1/backup.log."),
        "{report}"
    );
}

#[tokio::test]
async fn e33_a_second_exercise_on_one_day_takes_a_backup_of_its_own() {
    let world = world();
    world.run().await;
    world.clock.sleep_until(after(7_200)).await;
    let finished = world.run_again().await;
    assert_eq!((finished.outcome, world.times("take backup")), (Outcome::Verified, 2), "{}", finished.says);
    assert!(finished.says.contains("backup dr-2026-10-06-2 was restored"), "{}", finished.says);
    assert_eq!((world.times("copy objects"), world.times("restore")), (2, 2));
    assert!(!world.document("docs/incidents/dr-tabletop.md").contains("fresh-backup"));
}

#[tokio::test]
async fn a_backup_of_an_earlier_exercise_is_no_backup_of_this_one() {
    let mut world = world();
    world.input.backup = Some("dr-2026-10-06".parse().unwrap());
    world.run().await;
    world.clock.sleep_until(after(7_200)).await;
    world.outside.lock().unwrap().restored = None;
    let finished = world.run_again().await;
    assert_eq!((finished.outcome, world.times("take backup")), (Outcome::Verified, 1), "{}", finished.says);
    assert!(
        world.document("docs/incidents/dr-tabletop.md").contains("- [ ] fresh-backup: backup dr-2026-10-06")
    );
}
