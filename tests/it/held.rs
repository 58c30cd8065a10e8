//! A later run takes over what an ended run still holds, by the platform's own record; judged by the campaigns and rows.

use allclear::core::CampaignId;
use allclear::core::owner::{Announcement, Ended, announce, end};
use allclear::engine::{Finished, Outcome, Plan, execute};
use allclear::sandbox::{Profile, Scenario, WorldSpec};
use serde_json::Value;

use crate::drills::statuses;
use crate::scene::{Scene, approved, drill, small};

const WHATSAPP: (&str, Scenario) = ("whatsapp-send-failures", Scenario::Outage { minutes: 6 });
const DISPATCHER: (&str, Scenario) = ("campaign-dispatcher-stalls", Scenario::Stalled);

/// A run that paused and was ended by a person right after. `announced`: whether the platform knows the run, and
/// `ended`: whether it knows that it has ended.
async fn aborted((runbook, scenario): (&'static str, Scenario), profile: Profile, ended: bool) -> Scene {
    let spec = WorldSpec { profile, ..small(scenario) };
    let calm = Scene::with(runbook, Value::Null, spec.clone()).await;
    calm.plan_and_run().await;
    // After the last proof that sending stopped.
    let last = |entry: &&allclear::engine::Entry| {
        let is_proof =
            entry.key.contains("campaign.pause/verify") || entry.key.contains("send_queue.skip/verify");
        is_proof && !entry.key.contains("-R1")
    };
    let at = calm.entries().iter().rfind(last).unwrap().seq;

    let scene = Scene::with(runbook, Value::Null, spec).await;
    let plan = scene.plan().await;
    let says = announcement(runbook, "drill-run");
    announce(&*scene.platform.announcements, &says, None).await.unwrap();
    scene.run_until_killed(approved(&plan, "drill-run"), at).await;
    assert!(paused(&scene).len() > 1, "{:?}", statuses(&scene));
    if ended {
        scene.journal.abort("lee");
        let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
        assert_eq!(finished.outcome, Outcome::Rejected, "{}", finished.says);
        end(&*scene.platform.announcements, runbook, "drill-run", &Ended::by_itself("rejected"))
            .await
            .unwrap();
    }
    scene
}

fn paused(scene: &Scene) -> Vec<CampaignId> {
    let state = scene.sandbox.state();
    let campaigns = state["campaigns"].as_array().unwrap();
    let paused = campaigns.iter().filter(|campaign| campaign["status"] == "paused");
    paused.map(|campaign| campaign["id"].as_str().unwrap().parse().unwrap()).collect()
}

/// The next run of the same runbook, an hour later: all that failed is over.
async fn next(scene: &Scene) -> (Plan, Finished) {
    let later = scene.sandbox.now() + std::time::Duration::from_hours(1);
    scene.clock.advance_to(later);
    let plan = scene.plan_of("next-run").await;
    let seam = allclear::engine::MemoryJournal::new().seam(scene.clock.clone()).unwrap();
    let terms = allclear::engine::Terms {
        humans: drill(),
        ..allclear::engine::Terms::new("next-run", "kim", "sandbox")
    };
    let finished =
        execute(&*scene.runbook(), Box::new(seam), approved(&plan, "next-run"), terms).await.unwrap();
    (plan, finished)
}

fn skipped(scene: &Scene) -> usize {
    scene.sandbox.with_world(|world| world.skipped_rows().len())
}

#[tokio::test]
async fn b2_a_later_run_brings_back_what_an_aborted_run_left_paused_and_skipped() {
    for profile in [Profile::AsIs, Profile::Target] {
        for runbook in [WHATSAPP, DISPATCHER] {
            let scene = aborted(runbook, profile, true).await;
            let (plan, finished) = next(&scene).await;
            let shown = plan.seen.iter().any(|seen| seen.says.contains("still held by run drill-run"));
            assert!(shown, "{runbook:?} {profile:?}: {:?}", plan.seen);
            assert_eq!(finished.outcome, Outcome::Verified, "{runbook:?} {profile:?}: {}", finished.says);
            let expected = ["running", "running", "running", "running", "paused", "draft"];
            assert_eq!(statuses(&scene), expected, "{runbook:?} {profile:?}");
            assert_eq!(skipped(&scene), 0, "{runbook:?} {profile:?}");
        }
    }
}

#[tokio::test]
async fn b2_what_a_run_of_another_machine_holds_that_goes_on_is_not_adopted() {
    for runbook in [WHATSAPP, DISPATCHER] {
        let scene = aborted(runbook, Profile::Target, false).await;
        let before = paused(&scene);
        let (_, finished) = next(&scene).await;
        assert_eq!(paused(&scene), before, "{runbook:?}: {}", finished.says);
    }
}

#[tokio::test]
async fn b2_a_later_pause_by_a_person_stands() {
    for runbook in [WHATSAPP, DISPATCHER] {
        let scene = aborted(runbook, Profile::Target, true).await;
        let theirs = paused(&scene)[0];
        scene.sandbox.with_world(|world| {
            assert!(world.let_somebody_else("start", theirs.0));
            assert!(world.let_somebody_else("pause", theirs.0));
        });
        let (_, finished) = next(&scene).await;
        assert_eq!(finished.outcome, Outcome::Verified, "{runbook:?}: {}", finished.says);
        assert!(paused(&scene).contains(&theirs), "{runbook:?}");
        assert_eq!(
            paused(&scene).len(),
            2,
            "{runbook:?}: the others run again, beside the one that was never ours"
        );
    }
}

#[tokio::test]
async fn b2_what_two_runs_in_a_row_left_is_brought_back_by_the_third() {
    let scene = aborted(WHATSAPP, Profile::Target, true).await;
    // The second takes it over and is ended before it resumes anything.
    let later = scene.sandbox.now() + std::time::Duration::from_hours(1);
    scene.clock.advance_to(later);
    let plan = scene.plan_of("second-run").await;
    let second = announcement(WHATSAPP.0, "second-run");
    announce(&*scene.platform.announcements, &second, None).await.unwrap();
    let journal = allclear::engine::MemoryJournal::new();
    let seam = journal.seam(scene.clock.clone()).unwrap();
    journal.abort("lee");
    let terms = allclear::engine::Terms {
        humans: drill(),
        ..allclear::engine::Terms::new("second-run", "kim", "sandbox")
    };
    execute(&*scene.runbook(), Box::new(seam), approved(&plan, "second-run"), terms).await.unwrap();
    end(&*scene.platform.announcements, WHATSAPP.0, "second-run", &Ended::by_itself("rejected"))
        .await
        .unwrap();
    let (_, finished) = next(&scene).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(paused(&scene).len(), 1, "{}", finished.says);
}

fn announcement(runbook: &str, run: &str) -> Announcement {
    let word = |word: &str| word.to_owned();
    Announcement {
        run: word(run),
        runbook: word(runbook),
        by: word("kim"),
        host: word("a laptop"),
        environment: word("sandbox"),
    }
}
