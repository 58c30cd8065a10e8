//! Voucher Preview Failures, each scenario and each of its branches.

use std::sync::Arc;

use allclear::engine::gate::Question;
use allclear::engine::{Answer, Attention, Event, Humans, Note, Outcome, Terms, plan};
use allclear::sandbox::{Fault, FaultSet, Profile, Scenario, Trouble, WorldSpec, trouble};
use serde_json::json;

use crate::drills::outcome_of;
use crate::scene::{Scene, approved, small};

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

/// What people were shown when they were asked.
fn shown(scene: &Scene) -> String {
    let asked = scene.entries().into_iter().filter_map(|entry| match entry.event {
        Event::Asked { .. } => Some(serde_json::to_string(&entry.event).unwrap()),
        _ => None,
    });
    asked.collect()
}

#[tokio::test]
async fn c9_each_answer_has_its_own_diagnosis_and_none_of_these_is_redeployed() {
    let answers = [
        ("not-configured", "Set VOUCHER_PREVIEW_ENDPOINT to enable previews", "reads the same"),
        ("silent-503", "Set VOUCHER_PREVIEW_ENDPOINT to enable previews", "reads the same"),
        ("connection-reset", "fetch failed", "does not reach"),
        ("timeout", "This operation was aborted", "not answer in time"),
        ("key-refused", "Invalid JWT", "refuses the platform's own credential"),
        ("request-refused", "amount must be a positive number", "does not take the platform's request"),
        ("too-many-calls", "Too many requests", "takes no more calls"),
        ("old-build-fails", "HTTP 500", "cannot be told from here"),
        ("empty-answer", "names no picture", "cannot be told from here"),
    ];
    for (named, words, diagnosis) in answers {
        for profile in [Profile::AsIs, Profile::Target] {
            let (outcome, scene) = outcome_of(Scenario::named(named).unwrap(), profile).await;
            assert_eq!(outcome, Outcome::Verified, "{named} {profile:?}");
            let effects = scene.effects();
            assert!(!effects.keys().any(|(effect, _)| effect == "function.deploy"), "{named}: {effects:?}");
            let shown = shown(&scene);
            assert!(shown.contains(words) && shown.contains(diagnosis), "{named}: {shown}");
        }
    }
}

#[tokio::test]
async fn c9_a_status_other_than_503_is_not_called_unconfigured_by_the_platforms_default_words() {
    let (_, scene) = outcome_of(Scenario::named("old-build-fails").unwrap(), Profile::AsIs).await;
    let shown = shown(&scene);
    assert!(!shown.contains("not configured"), "{shown}");
}

#[tokio::test]
async fn c9_answers_without_anything_in_them_are_told_as_that_and_not_redeployed() {
    let ok = r#"{"imageUrl":null,"integration":{"status":"ok","target":"voucher_preview"}}"#;
    for body in ["", "null", "{}", ok] {
        let scene = Scene::with(RUNBOOK, json!(null), with_vouchers(Scenario::Healthy, Profile::AsIs)).await;
        let answer = trouble::Answer::Says { status: 200, body: body.to_owned() };
        let calls = "POST /admin/api/vouchers/preview".to_owned();
        let trouble = Trouble { calls, times: u32::MAX, answer, ..Trouble::default() };
        scene.sandbox.with_world(|world| world.trouble(trouble));
        let (_, finished) = scene.plan_and_run().await;
        assert_eq!(finished.outcome, Outcome::Interrupted, "{body}: {}", finished.says);
        assert!(shown(&scene).contains("names no picture"), "{body}: {}", shown(&scene));
        assert!(!scene.effects().keys().any(|(effect, _)| effect == "function.deploy"), "{body}");
        assert!(!scene.effects().keys().any(|(effect, _)| effect == "pagerduty.resolve"), "{body}");
    }
}

/// Does not choose what is presumed.
struct Chooses(&'static str);

#[async_trait::async_trait]
impl Humans for Chooses {
    async fn ask(&self, question: &Question, given: &[Answer]) -> Attention {
        let choice = if question.choices.iter().any(|one| one.id == self.0) { self.0 } else { "approve" };
        if given.is_empty() {
            Attention::Answer(Answer::to(question, choice, "lea"))
        } else {
            Attention::Absent
        }
    }
}

#[tokio::test]
async fn c9_a_person_may_find_that_it_is_the_build_and_it_is_redeployed_once() {
    for named in ["silent-503", "old-build-fails"] {
        let scene = Scene::of(with_vouchers(Scenario::named(named).unwrap(), Profile::AsIs)).await;
        let plan = scene.plan().await;
        let terms = Terms { humans: Arc::new(Chooses("redeploy")), ..scene.terms() };
        let finished = scene.run(approved(&plan, "drill-run"), terms).await;
        assert_eq!(finished.outcome, Outcome::Verified, "{named}: {}", finished.says);
        let deployed = ("function.deploy".to_owned(), "voucher-preview".to_owned());
        assert_eq!(scene.effects().get(&deployed), Some(&1), "{named}: {:?}", scene.effects());
    }
}

/// A world in which stored pictures are shown to whoever asks for a voucher that has one.
fn with_stored(scenario: Scenario) -> WorldSpec {
    let faults = FaultSet::of(Profile::AsIs).with(Fault::StoredPreviews);
    WorldSpec { faults: Some(faults), ..with_vouchers(scenario, Profile::AsIs) }
}

#[tokio::test]
async fn pictures_that_were_stored_before_are_no_evidence_of_health() {
    let scene = Scene::with(RUNBOOK, json!(null), with_stored(Scenario::Healthy)).await;
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(!finished.says.contains("all clear"), "{}", finished.says);
}

#[tokio::test]
async fn a_voucher_whose_stored_picture_is_shown_hides_none_of_the_others() {
    let has_picture = {
        let scene = Scene::of(with_stored(Scenario::PreviewBroken)).await;
        scene.platform.vouchers.newest_redeemable(100).await.unwrap().pop().unwrap()
    };
    let input = json!({ "voucher": has_picture });
    let scene = Scene::with(RUNBOOK, input, with_stored(Scenario::PreviewBroken)).await;
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let deployed = ("function.deploy".to_owned(), "voucher-preview".to_owned());
    assert_eq!(scene.effects().get(&deployed), Some(&1), "{:?}", scene.effects());
}

#[tokio::test]
async fn all_clear_rests_on_several_vouchers() {
    let scene = Scene::with(RUNBOOK, json!(null), with_vouchers(Scenario::Healthy, Profile::AsIs)).await;
    let (_, finished) = scene.plan_and_run().await;
    assert!(finished.says.contains("3 vouchers were tried"), "{}", finished.says);
    assert!(finished.says.contains("3 of them rendered just now"), "{}", finished.says);
}

#[tokio::test]
async fn a_voucher_that_the_platform_does_not_have_is_told_and_nothing_is_done() {
    for scenario in [Scenario::Healthy, Scenario::PreviewBroken] {
        let input = json!({ "voucher": "6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90" });
        let scene = Scene::with(RUNBOOK, input, with_vouchers(scenario, Profile::AsIs)).await;
        let plan = plan(&*scene.runbook(), scene.terms(), scene.clock.clone()).await;
        let said = plan.unwrap_err().to_string();
        assert!(said.contains("has no voucher"), "{said}");
        assert!(scene.effects().is_empty(), "{:?}", scene.effects());
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
    let entries = scene.entries();
    let noted = |is: fn(&Note) -> bool| {
        entries.iter().any(|entry| matches!(&entry.event, Event::Noted { note, .. } if is(note)))
    };
    assert!(noted(|note| matches!(note, Note::Owed(owed) if owed.says().contains("degraded"))));
    assert!(noted(|note| matches!(note, Note::Closed(closing) if closing.says().contains("degraded"))));
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
    let nobody = Terms { humans: Arc::new(allclear::engine::Nobody), ..scene.terms() };
    let finished = scene.run(approved(&plan, "drill-run"), nobody).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman, "{}", finished.says);
    assert!(!scene.effects().keys().any(|(effect, _)| effect == "function.deploy"));
}
