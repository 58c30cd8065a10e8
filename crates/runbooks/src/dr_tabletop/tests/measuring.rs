//! How long the recovery takes and how old its data is, measured on the run's clock and the databases'.

use std::time::Duration;

use allclear_core::Clock as _;
use allclear_core::recovery::{Objectives, SmokeResult, SmokeTest};
use allclear_engine::Outcome;

use super::world::*;

const NOTES: &str = "docs/incidents/dr-tabletop.md";

fn objectives(rto: u64, rpo: u64) -> Objectives {
    Objectives { rto: Some(Duration::from_secs(rto)), rpo: Some(Duration::from_secs(rpo)) }
}

/// The copy takes its time on the clock, so that what is between snapshot and restore is known.
fn slow() -> World {
    world().with(|outside| {
        outside.copy_passes = Duration::from_mins(10);
        outside.restore_passes = Duration::from_mins(4);
    })
}

#[tokio::test]
async fn the_recovery_is_measured_and_the_notes_tell_the_next_exercise() {
    let mut world = slow();
    world.exercise.objectives = objectives(240, 600);
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let (backup, restored) = world.moments();
    assert_eq!(restored.duration_since(backup).as_secs(), 600);
    let notes = world.document(NOTES);
    assert!(
        notes.contains("\nMeasured: recovery time 4 min (RTO), age of the data 10 min (RPO).\n"),
        "{notes}"
    );
    assert!(!notes.contains("- [ ] recovery-time") && !notes.contains("- [ ] data-age"), "{notes}");
    let report = world.artifact("tabletop-report.md");
    assert!(
        report.contains("- Recovery time 4 min (RTO 4 min: kept); no earlier exercise measured it."),
        "{report}"
    );

    world.clock.sleep_until(after(86_400)).await;
    world.with_now(|outside| outside.restore_passes = Duration::from_mins(5));
    world.run_again().await;
    let report = world.artifact("tabletop-report.md");
    assert!(
        report.contains("- Recovery time 5 min (RTO 4 min: missed); 1 min more than in 2026-10-06 Tabletop."),
        "{report}"
    );
    assert!(
        report.contains("- Age of the data 10 min (RPO 10 min: kept); the same as in 2026-10-06 Tabletop."),
        "{report}"
    );
    assert!(report.contains("| 2026-10-06 Tabletop | 4 min | 10 min |"), "{report}");
    let notes = world.document(NOTES);
    assert!(notes.contains("- [ ] recovery-time: recovery time 5 min (RTO 4 min: missed)"), "{notes}");
}

#[tokio::test]
async fn a_missed_objective_is_a_finding_and_no_failure() {
    let mut world = slow();
    world.exercise.objectives = objectives(239, 599);
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(finished.says.contains("2 findings"), "{}", finished.says);
    let notes = world.document(NOTES);
    for says in [
        "- [ ] recovery-time: recovery time 4 min (RTO 3 min 59 s: missed)",
        "- [ ] data-age: age of the data 10 min (RPO 9 min 59 s: missed)",
    ] {
        assert!(notes.contains(says), "{notes}");
    }
}

#[tokio::test]
async fn what_was_not_recovered_has_no_time_and_is_no_kept_objective() {
    let failed = SmokeResult::Failed { says: "two redemptions for two requests".to_owned() };
    for (world, why) in [
        (slow().with(|outside| outside.changed_row = true), "staging is not equal to the snapshot"),
        (
            slow().with(|outside| drop(outside.smoke.insert(SmokeTest::StationRedeem, failed))),
            "not every smoke test that is possible passed",
        ),
    ] {
        let mut world = world;
        world.exercise.objectives = objectives(3_600, 3_600);
        assert_eq!(world.run().await.outcome, Outcome::Refuted);
        let notes = world.document(NOTES);
        assert!(
            notes.contains("Measured: recovery time not measured, age of the data 10 min (RPO)."),
            "{notes}"
        );
        assert!(
            notes.contains(&format!("- [ ] recovery-time: recovery time not measured, RTO 1 h: {why}")),
            "{notes}"
        );
        assert!(!notes.contains("- [ ] data-age"), "{notes}");
    }
}

#[tokio::test]
async fn a_snapshot_from_after_the_restore_is_a_clock_that_is_wrong_and_no_age() {
    let mut world = slow().with(|outside| outside.staging_behind = Duration::from_mins(15));
    world.exercise.objectives = objectives(3_600, 3_600);
    world.run().await;
    let notes = world.document(NOTES);
    assert!(
        notes.contains("- [ ] data-age: age of the data not measured, RPO 1 h: by staging's clock"),
        "{notes}"
    );
}
