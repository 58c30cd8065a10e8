//! The exercise as a specification: mocks only, virtual time, no database, no bucket and no network.

mod following;
mod giving_way;
mod humans;
mod measuring;
mod noting;
mod people;
mod restoring;
mod running;
mod saving;
mod world;

use std::sync::Arc;

use allclear_core::VirtualClock;
use allclear_core::incident::{IncidentStatus, Severity};
use allclear_engine::Outcome;

use self::world::*;
use super::{DrTabletop, Input};
use crate::mocked::{self, approver};

#[tokio::test]
async fn all_goes_well_phase_by_phase() {
    let world = world();
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(
        finished.says,
        "backup dr-2026-10-06 was restored from the bucket and staging is equal to its snapshot in 3 tables; \
         4 of 4 smoke tests passed, 0 findings"
    );
    let expected = [
        "page",
        "call in PDATA PSTAKE PSUPP",
        "chat #ops-status",
        "take backup",
        "copy objects",
        "restore",
        "keep rowcount.csv",
        "keep backup.log",
        "write docs/incidents/templates/status-page-update.md",
        "write docs/incidents/templates/escalation-email.md",
        "write docs/incidents/dr-tabletop.md",
        "write SYSTEM_CHECKLIST.md",
        "close incident",
    ];
    assert_eq!(world.calls.all(), expected);
    let outside = world.outside.lock().unwrap();
    assert_eq!(outside.tried.len(), 4);
    for name in ["backup.log", "rowcount.csv"] {
        assert_eq!(outside.bucket[name], outside.artifacts[name], "{name}");
    }
}

#[tokio::test]
async fn what_is_written_reads_as_it_should() {
    let world = world();
    world.run().await;
    insta::assert_snapshot!("report", world.artifact("tabletop-report.md"));
    insta::assert_snapshot!("backup_log", world.artifact("backup.log"));
    insta::assert_snapshot!("rowcount", world.artifact("rowcount.csv").replace("\r\n", "\n"));
    insta::assert_snapshot!("retro", world.document("docs/incidents/dr-tabletop.md"));
    insta::assert_snapshot!("checklist", world.document("SYSTEM_CHECKLIST.md"));
    insta::assert_snapshot!("status_page", world.document("docs/incidents/templates/status-page-update.md"));
    insta::assert_snapshot!(
        "escalation_email",
        world.document("docs/incidents/templates/escalation-email.md")
    );
    let outside = world.outside.lock().unwrap();
    insta::assert_snapshot!("holding_statement", outside.messages[0].text);
    insta::assert_debug_snapshot!("page", outside.pages[0]);
}

/// R10: nothing of the exercise looks like an incident.
#[tokio::test]
async fn everything_that_leaves_says_that_it_is_a_drill_and_wakes_nobody_for_real() {
    let world = world();
    world.run().await;
    let outside = world.outside.lock().unwrap();
    let page = &outside.pages[0];
    assert_eq!((outside.pages.len(), page.severity), (1, Severity::Info));
    assert!(page.summary.starts_with("[DRILL] DR-Tabletop"), "{}", page.summary);
    assert_eq!(page.dedup_key, "dr-tabletop/2026-10-06/run-1");
    assert_eq!(outside.messages.len(), 1, "the draft is posted once");
    assert!(outside.messages.iter().all(|message| message.text.starts_with("[DRILL]")));
    assert_eq!(outside.incident.as_ref().unwrap().status, IncidentStatus::Resolved);
}

#[tokio::test]
async fn an_environment_without_recovery_is_told_what_is_missing() {
    let runbook = DrTabletop { on: mocked::platform(), input: Input::default() };
    let finished = mocked::run(&runbook, Arc::new(VirtualClock::at(start())), approver()).await;
    assert_eq!(finished.outcome, Outcome::Refused);
    assert!(finished.says.contains("not configured"), "{}", finished.says);
}

#[tokio::test]
async fn the_day_is_looked_up_in_the_cadence_and_the_backup_is_named_after_it() {
    let world = world().on_date("2026-11-25");
    world.run().await;
    let report = world.artifact("tabletop-report.md");
    assert!(report.contains("Held outside the cadence") && report.contains("dr-2026-11-25"), "{report}");
    assert!(report.contains("Next exercise: 2027-01-05 14:00 UTC."), "{report}");
}
