//! The disaster recovery exercise in whole runs: every service by real HTTP, in the sandbox; the two databases, the bucket
//! and the platform's buckets in [memory](stores), behind their ports; the team's documents in a folder.
//!
//! In memory, because an exercise over real Postgres takes seconds, and a matrix has hundreds. What the real ones do under
//! faults is in [`real`], in a smaller number, and in the tests of `allclear-dr`.

mod plans;
mod real;
mod storage_faults;
mod store_faults;
mod stores;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use allclear::clients::Settings;
use allclear::clients::documents::DocumentFolder;
use allclear::clients::management::Management;
use allclear::clients::pagerduty::PagerDuty;
use allclear::clients::smoke::{StagingSmokeTests, StationLogin};
use allclear::core::Clock;
use allclear::core::platform::Recovery;
use allclear::core::recovery::{Exercise, Objectives, Participant, Role};
use allclear::sandbox::{PAGERDUTY_ROUTING_KEY, PAGERDUTY_USERS, PROJECT};

pub(crate) use stores::{Content, StoreCall, StoreFault, StoreTrouble, Stores};

/// The cutover checklist's path.
const CHECKLIST: &str = "docs/incidents/cutover-checklist.md";

/// What the team has before its first exercise.
pub(crate) fn write_documents(folder: &Path) {
    std::fs::create_dir_all(folder.join("docs/incidents")).unwrap();
    std::fs::write(folder.join("SYSTEM_CHECKLIST.md"), "# System checklist\n\n- [x] Nightly backups\n")
        .unwrap();
    std::fs::write(folder.join(CHECKLIST), "# Cutover\n\n- [ ] Lower the TTL\n- [ ] Point the app\n")
        .unwrap();
}

pub(crate) fn exercise() -> Exercise {
    let names = ["kim", "alex", "robin", "sam"];
    let people = Role::ALL.into_iter().zip(names).zip(PAGERDUTY_USERS);
    let participants = people.map(|((role, name), user)| Participant {
        role,
        name: name.to_owned(),
        pagerduty_user: user.to_owned(),
    });
    Exercise {
        participants: participants.collect(),
        rollback_owner: "alex".to_owned(),
        status_channel: "#ops-status".to_owned(),
        destination: "s3://backups/supabase".to_owned(),
        copy_budget: Duration::from_mins(5),
        objectives: Objectives::default(),
        cutover_checklist: CHECKLIST.to_owned(),
        runbook_file: None,
        incident_services: Vec::new(),
    }
}

/// The exercise's ports. Staging's application is the sandbox itself, in the target profile.
pub(crate) fn recovery(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    stores: &Arc<Stores>,
    documents: &Path,
) -> Recovery {
    recovery_at("ST000", settings, clock, stores, documents)
}

/// The same with the station that redeems; its passcode is its code.
fn recovery_at(
    station: &str,
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    stores: &Arc<Stores>,
    documents: &Path,
) -> Recovery {
    let pagerduty = Arc::new(PagerDuty::connect(settings, &PAGERDUTY_ROUTING_KEY.into(), clock).unwrap());
    let station = StationLogin { code: station.to_owned(), passcode: station.into() };
    Recovery {
        host: Arc::new(Management::of_project(settings, PROJECT, clock).unwrap()),
        backups: Arc::clone(stores) as _,
        copies: Arc::clone(stores) as _,
        staging: Arc::clone(stores) as _,
        smoke: Arc::new(StagingSmokeTests::new(settings, station, clock).unwrap()),
        // Supabase Storage is another server than the sandbox: see `storage_faults`.
        stored: None,
        evidence: None,
        paging: Arc::clone(&pagerduty) as _,
        incidents: Arc::clone(&pagerduty) as _,
        acknowledgements: pagerduty,
        documents: Arc::new(DocumentFolder::at(documents.to_owned())),
        exercise: exercise(),
    }
}
