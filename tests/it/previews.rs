//! Voucher Preview Failures, each scenario and each of its branches.

use std::sync::Arc;

use allclear::engine::{Event, Note, Outcome, Terms};
use allclear::sandbox::{Fault, FaultSet, Profile, Scenario, WorldSpec};
use serde_json::json;

use crate::drills::outcome_of;
use crate::scene::{Scene, small};

const RUNBOOK: &str = "voucher-preview-failures";

fn with_vouchers(scenario: Scenario, profile: Profile) -> WorldSpec {
    WorldSpec { profile, vouchers: 20, stations: 2, ..small(scenario) }
}

fn slack(scene: &Scene) -> Vec<String> {
    scene.sandbox.with_world(|world| world.slack_texts())
}

#[tokio::test]
async fn every_failure_is_repaired_proven_by_a_decoded_picture_and_closed() {
    for named in
        ["function-removed", "function-broken", "no-picture", "timeout", "not-configured", "throttled"]
    {
        for profile in [Profile::AsIs, Profile::Target] {
            let (outcome, scene) = outcome_of(Scenario::named(named).unwrap(), profile).await;
            assert_eq!(outcome, Outcome::Verified, "{named} {profile:?}");
            let effects = scene.effects();
            let deploys = effects.get(&("function.deploy".to_owned(), "voucher-preview".to_owned()));
            let redeployed = ["function-removed", "function-broken", "no-picture"].contains(&named);
            assert_eq!(deploys.copied(), redeployed.then_some(1), "{named}: {effects:?}");
            let closed = effects.get(&("pagerduty.resolve".to_owned(), "voucher-preview".to_owned()));
            assert_eq!(closed.copied(), Some(1), "{named}: {effects:?}");
            let told = slack(&scene);
            assert_eq!(told.len(), 2, "once at the beginning and once at the end: {told:?}");
            assert!(told[0].starts_with("Voucher previews unavailable; fallback to code view."), "{told:?}");
        }
    }
}

#[tokio::test]
async fn a_green_light_is_no_evidence() {
    // The status page keeps its old green answer in this profile, and the run must not be fooled by it.
    let spec = with_vouchers(Scenario::PreviewRemoved, Profile::AsIs);
    let scene = Scene::of(spec).await;
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(!scene.effects().is_empty());
}

#[tokio::test]
async fn nothing_is_done_where_previews_render() {
    let scene = Scene::with(RUNBOOK, json!(null), with_vouchers(Scenario::Healthy, Profile::AsIs)).await;
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(scene.effects().is_empty(), "{:?}", scene.effects());
}

#[tokio::test]
async fn a_deployment_that_only_says_so_is_refuted_and_the_incident_stays_open() {
    for scenario in [Scenario::PreviewRemoved, Scenario::PreviewBroken] {
        let faults = FaultSet::of(Profile::Target).with(Fault::DeployNotEffective);
        let spec = WorldSpec { faults: Some(faults), ..with_vouchers(scenario, Profile::Target) };
        let scene = Scene::of(spec).await;
        let (_, finished) = scene.plan_and_run().await;
        assert_eq!(finished.outcome, Outcome::Refuted, "{scenario:?}: {}", finished.says);
        assert!(!scene.effects().keys().any(|(effect, _)| effect == "pagerduty.resolve"));
    }
}

#[tokio::test]
async fn pages_that_do_not_say_they_are_degraded_are_an_open_question() {
    let faults = FaultSet::of(Profile::Target).with(Fault::DegradedUnsaid);
    let spec = WorldSpec { faults: Some(faults), ..with_vouchers(Scenario::PreviewRemoved, Profile::Target) };
    let scene = Scene::of(spec).await;
    scene.plan_and_run().await;
    let open = scene.entries().iter().any(|entry| {
        matches!(&entry.event, Event::Noted { note: Note::OpenQuestion { says }, .. } if says.contains("degraded"))
    });
    assert!(open);
}

#[tokio::test]
async fn impacted_vouchers_are_named_by_id_and_no_code_leaves_the_database() {
    let scene = Scene::of(with_vouchers(Scenario::PreviewBroken, Profile::AsIs)).await;
    scene.plan_and_run().await;
    let entries = scene.entries();
    let impacted = entries.iter().filter(|entry| {
        matches!(&entry.event, Event::Noted { note: Note::Affected { kind, .. }, .. } if kind == "voucher")
    });
    assert_eq!(impacted.count(), 12);
    let codes = scene.sandbox.with_world(|world| world.voucher_codes());
    for link in scene.journal.links() {
        let leaked = codes.iter().find(|code| link.body.contains(&format!("\"{code}\"")));
        assert!(leaked.is_none(), "{leaked:?} in {}", link.body);
    }
}

#[tokio::test]
async fn without_a_person_nothing_is_deployed() {
    let scene = Scene::of(with_vouchers(Scenario::PreviewBroken, Profile::Target)).await;
    let plan = scene.plan().await;
    let nobody = Terms { plan: Some(plan), humans: Arc::new(allclear::engine::Nobody), ..scene.terms() };
    let finished = scene.run(nobody).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman, "{}", finished.says);
    assert!(!scene.effects().keys().any(|(effect, _)| effect == "function.deploy"));
}
