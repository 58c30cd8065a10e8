//! Campaign Dispatcher Stalls, each scenario and each of its branches.

use std::sync::Arc;

use allclear::engine::{Event, Outcome, Terms};
use allclear::sandbox::{Fault, FaultSet, Profile, Scenario, World, WorldSpec};
use serde_json::json;

use crate::drills::{outcome_of, statuses};
use crate::people::{beside, with_status};
use crate::scene::{Scene, approved, small};

const RUNBOOK: &str = "campaign-dispatcher-stalls";

#[tokio::test]
async fn a_stalled_dispatcher_is_replayed_and_the_movement_is_sustained() {
    for named in ["stalled", "unreachable"] {
        for profile in [Profile::AsIs, Profile::Target] {
            let (outcome, scene) = outcome_of(Scenario::named(named).unwrap(), profile).await;
            assert_eq!(outcome, Outcome::Verified, "{named} {profile:?}");
            let expected = ["running", "running", "running", "running", "paused", "draft"];
            assert_eq!(statuses(&scene), expected, "{named} {profile:?}");
            let effects = scene.effects();
            let stops: Vec<_> = effects.keys().filter(|(effect, _)| effect == "campaign.stop").collect();
            assert!(stops.is_empty(), "nothing final is written without being asked for: {stops:?}");
            let paged = effects.contains_key(&("pagerduty.trigger".to_owned(), "page".to_owned()));
            assert_eq!(paged, named == "unreachable", "{named}: {effects:?}");
        }
    }
}

#[tokio::test]
async fn what_only_looks_like_a_stall_is_left_alone() {
    for scenario in [Scenario::QuietHours, Scenario::EmptyQueue, Scenario::Healthy] {
        for profile in [Profile::AsIs, Profile::Target] {
            let scene = Scene::with(RUNBOOK, json!(null), WorldSpec { profile, ..small(scenario) }).await;
            let (_, finished) = scene.plan_and_run().await;
            assert_eq!(finished.outcome, Outcome::Verified, "{scenario:?}: {}", finished.says);
            assert!(finished.says.starts_with("all clear"), "{}", finished.says);
            assert!(scene.effects().is_empty(), "{scenario:?} {profile:?}: {:?}", scene.effects());
        }
    }
}

#[tokio::test]
async fn a_frozen_list_is_no_stall() {
    let faults = FaultSet::of(Profile::AsIs).with(Fault::StaleGetOnlyRoutes).with(Fault::StickyGreen);
    let spec = WorldSpec { faults: Some(faults), ..small(Scenario::Healthy) };
    let scene = Scene::with(RUNBOOK, json!(null), spec).await;
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(scene.effects().is_empty(), "{:?}", scene.effects());
}

#[tokio::test]
async fn one_tick_is_no_recovery_and_everything_is_paused_again() {
    for profile in [Profile::AsIs, Profile::Target] {
        let (outcome, scene) = outcome_of(Scenario::StalledOneTick, profile).await;
        assert_eq!(outcome, Outcome::Refuted, "{profile:?}");
        assert!(!statuses(&scene).contains(&"running".to_owned()), "{profile:?}: {:?}", statuses(&scene));
        let paged = scene.effects().contains_key(&("pagerduty.trigger".to_owned(), "page".to_owned()));
        assert!(paged, "engineering must know");
    }
}

#[tokio::test]
async fn one_movement_between_two_looks_is_no_recovery_and_two_are() {
    let cures = [(Scenario::StalledOneTick, false), (Scenario::Stalled, true)];
    for (scenario, moves_on) in cures {
        let scene =
            Scene::with(RUNBOOK, json!(null), WorldSpec { profile: Profile::Target, ..small(scenario) })
                .await;
        let running = with_status(&scene, "running");
        let start_all = move |world: &mut World| {
            for campaign in running {
                world.let_somebody_else("pause", campaign);
                world.let_somebody_else("start", campaign);
            }
        };
        let finished = beside(&scene, "look a second time", Box::new(start_all)).await;
        assert_eq!(finished.outcome == Outcome::Verified, moves_on, "{scenario:?}: {}", finished.says);
        assert_eq!(
            scene.effects().is_empty(),
            moves_on,
            "{scenario:?}: {} {:?}",
            finished.says,
            scene.effects()
        );
    }
}

#[tokio::test]
async fn a_dispatcher_that_sends_while_targets_stay_is_an_outcome_of_its_own() {
    let (outcome, scene) = outcome_of(Scenario::TargetsNotUpdated, Profile::Target).await;
    assert_eq!(outcome, Outcome::Unverified);
    assert!(scene.effects().is_empty(), "a replay would not cure it: {:?}", scene.effects());
    let says = match &scene.entries().last().unwrap().event {
        Event::Concluded { says, .. } => says.clone(),
        other => panic!("{other:?}"),
    };
    assert!(says.contains("the dispatcher is active and targets are not updated"), "{says}");
}

/// Few enough targets that one run of the dispatcher empties the queue.
fn soon_drained() -> WorldSpec {
    WorldSpec { targets_per_campaign: 20, profile: Profile::Target, ..small(Scenario::TargetsNotUpdated) }
}

/// That targets which show nothing of what was sent are told, and never called movement.
fn assert_silent(scene: &Scene, finished: &allclear::engine::Finished) {
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("targets are not updated"), "{}", finished.says);
    assert!(scene.effects().is_empty(), "{:?}", scene.effects());
}

#[tokio::test]
async fn a15_a_queue_that_ran_empty_between_two_looks_is_no_movement() {
    let scene = Scene::of(soon_drained()).await;
    let (_, finished) = scene.plan_and_run().await;
    assert_silent(&scene, &finished);
}

#[tokio::test]
async fn a15_answers_so_slow_that_the_sends_are_long_ago_are_no_movement() {
    let scene = Scene::of(soon_drained()).await;
    let plan = scene.plan().await;
    let clock = scene.clock.clone();
    let listener = move |entry: &allclear::engine::Entry| {
        if matches!(&entry.event, Event::Observed { of, .. } if of.subject == "first look") {
            clock.advance(std::time::Duration::from_mins(20));
        }
    };
    let terms = Terms { listener: Some(Arc::new(listener)), ..scene.terms() };
    let finished = scene.run(approved(&plan, "drill-run"), terms).await;
    assert_silent(&scene, &finished);
}

#[tokio::test]
async fn a15_a_queue_that_was_empty_from_the_beginning_and_targets_that_wait_are_told() {
    for minutes in [2, 20] {
        let scene = Scene::of(soon_drained()).await;
        scene.clock.advance(std::time::Duration::from_mins(minutes));
        let (_, finished) = scene.plan_and_run().await;
        assert_silent(&scene, &finished);
    }
}

#[tokio::test]
async fn a15_messages_that_somebody_took_out_of_the_queue_are_no_movement() {
    let scene = Scene::with(RUNBOOK, json!(null), small(Scenario::Stalled)).await;
    let plan = scene.plan().await;
    let sandbox = Arc::clone(&scene.sandbox);
    let listener = move |entry: &allclear::engine::Entry| {
        if matches!(&entry.event, Event::Observed { of, .. } if of.subject == "first look") {
            sandbox.with_world(|world| world.let_somebody_skip(|_| true));
        }
    };
    let terms = Terms { listener: Some(Arc::new(listener)), ..scene.terms() };
    let finished = scene.run(approved(&plan, "drill-run"), terms).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("due no more"), "{}", finished.says);
    assert!(scene.effects().is_empty(), "{:?}", scene.effects());
}

#[tokio::test]
async fn stop_then_start_is_done_only_when_asked_for_and_with_an_incident_open_in_between() {
    let input = json!({ "replay": "stop-start" });
    let scene =
        Scene::with(RUNBOOK, input, WorldSpec { profile: Profile::Target, ..small(Scenario::Stalled) }).await;
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let ledger = scene.sandbox.ledger();
    let place = |effect: &str| ledger.iter().position(|entry| entry.effect == effect).unwrap();
    assert!(place("pagerduty.trigger") < place("campaign.stop"));
    assert!(place("campaign.stop") < place("campaign.start"));
    assert!(place("campaign.start") < place("pagerduty.resolve"));
    let asked = scene.entries().iter().any(
        |entry| matches!(&entry.event, Event::Asked { question, .. } if question.shown.iter().any(|s| s.contains("`done`"))),
    );
    assert!(asked, "the consequence must be shown");
    let drifted = scene.entries().iter().any(|entry| matches!(entry.event, Event::Drifted { .. }));
    assert!(!drifted, "the plan names all of it");
}

#[tokio::test]
async fn messages_that_went_out_and_still_wait_are_not_sent_again() {
    let faults = FaultSet::of(Profile::Target).with(Fault::SendRowStaysPending);
    let spec = WorldSpec { profile: Profile::Target, faults: Some(faults), ..small(Scenario::Stalled) };
    let scene = Scene::of(spec).await;
    scene.sandbox.with_world(allclear::sandbox::World::leave_sent_rows_waiting);
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Refused, "{}", finished.says);
    assert!(!scene.effects().keys().any(|(effect, _)| effect == "campaign.start"), "{:?}", scene.effects());
}

/// Kills a run right after each entry that `at` names, lets it be away for an hour and a half, and takes it up again.
async fn away_after(spec: WorldSpec, at: impl Fn(&allclear::engine::Entry) -> bool) {
    let calm = Scene::with(RUNBOOK, json!(null), spec.clone()).await;
    let (_, finished) = calm.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let marks: Vec<u64> = calm.entries().iter().filter(|one| at(one)).map(|one| one.seq).collect();
    assert!(marks.len() > 3, "{marks:?}");
    for mark in marks {
        let scene = Scene::with(RUNBOOK, json!(null), spec.clone()).await;
        let plan = scene.plan().await;
        scene.run_until_killed(approved(&plan, "drill-run"), mark).await;
        let back = scene.sandbox.now() + std::time::Duration::from_mins(90);
        scene.clock.advance_to(back);
        let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
        let how = format!("{:?} {:?}, killed at {mark}: {}", spec.scenario, spec.profile, finished.says);
        assert_eq!(finished.outcome, Outcome::Verified, "{how}");
        let expected = ["running", "running", "running", "running", "paused", "draft"];
        assert_eq!(statuses(&scene), expected, "{how}");
        let effects = scene.effects();
        let pauses: Vec<_> = effects.iter().filter(|((effect, _), _)| effect == "campaign.pause").collect();
        assert!(pauses.iter().all(|(_, times)| **times == 1), "{how}: {pauses:?}");
    }
}

#[tokio::test]
async fn s6_what_went_out_while_the_run_was_away_is_movement() {
    for named in ["stalled", "unreachable"] {
        for profile in [Profile::AsIs, Profile::Target] {
            let scenario = Scenario::named(named).unwrap();
            let spec = WorldSpec { targets_per_campaign: 60, profile, ..small(scenario) };
            // From the first start on, and, where the dispatcher sends what is paused, from the pauses on.
            away_after(spec, |one| {
                one.key.contains("campaign.start")
                    || one.key.contains("campaign.pause")
                    || one.key.contains("CD-R1")
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_stall_right_before_the_quiet_hours_is_a_stall_and_is_started_after_them() {
    // It sent until 19:55, 19:56 and 19:57; the quiet hours begin at 20:00.
    for start in ["2026-11-23T20:08:00Z", "2026-11-23T20:09:00Z", "2026-11-23T20:10:00Z"] {
        let spec = WorldSpec { start: start.parse().unwrap(), ..small(Scenario::Stalled) };
        let scene = Scene::of(spec).await;
        let (_, finished) = scene.plan_and_run().await;
        assert_eq!(finished.outcome, Outcome::Verified, "{start}: {}", finished.says);
        let morning: jiff::Timestamp = "2026-11-24T04:00:00Z".parse().unwrap();
        let ledger = scene.sandbox.ledger();
        let starts: Vec<_> = ledger.iter().filter(|entry| entry.effect == "campaign.start").collect();
        assert_eq!(starts.len(), 4, "{start}: {}", finished.says);
        assert!(starts.iter().all(|entry| entry.at >= morning), "{start}: {starts:?}");
    }
}

#[tokio::test]
async fn a17b_a_named_campaign_that_does_not_run_is_no_all_clear() {
    let scene = Scene::of(small(Scenario::Stalled)).await;
    let state = scene.sandbox.state();
    let all = state["campaigns"].as_array().unwrap();
    let resting = all.iter().find(|one| one["status"] != "running").unwrap()["id"].clone();
    let input = json!({ "campaigns": [resting] });
    let scene = Scene::with("campaign-dispatcher-stalls", input, small(Scenario::Stalled)).await;
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("none of the campaigns that were named is running"), "{}", finished.says);
}
