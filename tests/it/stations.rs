//! Station Redeem Anomalies, each scenario, and what happens when others act at the same time.

use std::sync::Arc;

use allclear::clients::sandbox::SandboxControl;
use allclear::engine::gate::Question;
use allclear::engine::{Answer, Attention, Event, Finished, Humans, Outcome, Terms};
use allclear::sandbox::{Fault, FaultSet, Profile, Sandbox, Scenario, WorldSpec};
use serde_json::{Value, json};

use crate::scene::{Scene, approved, small};

const RUNBOOK: &str = "station-redeem-anomalies";

fn world(scenario: Scenario, profile: Profile) -> WorldSpec {
    WorldSpec { profile, vouchers: 40, stations: 4, ..small(scenario) }
}

async fn handled(scenario: Scenario, profile: Profile) -> (Finished, Scene) {
    let scene = Scene::with(RUNBOOK, json!(null), world(scenario, profile)).await;
    let (_, finished) = scene.plan_and_run().await;
    (finished, scene)
}

fn count(scene: &Scene, effect: &str) -> usize {
    scene.effects().iter().filter(|((name, _), _)| name == effect).map(|(_, times)| times).sum()
}

/// Vouchers of the last day: those that incidents are about.
fn vouchers(scene: &Scene) -> Vec<Value> {
    scene.sandbox.state()["vouchers"].as_array().unwrap().clone()
}

/// Every original has at most one replacement, and it can be redeemed only where the original cannot.
fn never_two(scene: &Scene) {
    let all = vouchers(scene);
    for original in all.iter().filter(|one| one["replaces"].is_null()) {
        let replacements: Vec<&Value> = all.iter().filter(|one| one["replaces"] == original["id"]).collect();
        assert!(replacements.len() <= 1, "{replacements:?}");
        for replacement in replacements {
            let usable = |one: &Value| one["status"] == "issued" || one["status"] == "redeemed";
            assert!(!(usable(original) && usable(replacement)), "{original} and {replacement}");
            assert_eq!(replacement["amount_minor"], original["amount_minor"], "the worth must be the same");
        }
    }
}

#[tokio::test]
async fn vouchers_that_were_redeemed_twice_are_voided_and_replaced_once() {
    for profile in [Profile::AsIs, Profile::Target] {
        let (finished, scene) = handled(Scenario::DoubleRedemption, profile).await;
        assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
        for (effect, times) in
            [("voucher.reserve", 3), ("voucher.void", 3), ("voucher.release", 3), ("voucher.event", 6)]
        {
            assert_eq!(count(&scene, effect), times, "{effect} {:?}", scene.effects());
        }
        never_two(&scene);
        let all = vouchers(&scene);
        assert_eq!(
            all.iter().filter(|one| one["status"] == "issued" && one["held"] == false).count(),
            3,
            "{all:?}"
        );
        let approvers: Vec<String> = scene
            .entries()
            .into_iter()
            .filter_map(|entry| match entry.event {
                Event::Answered { answer, .. } => Some(answer.by),
                _ => None,
            })
            .collect();
        assert_eq!(
            approvers.len(),
            2,
            "more than one voucher takes two people beside the requester: {approvers:?}"
        );
    }
}

#[tokio::test]
async fn a_voucher_whose_worth_cannot_be_told_is_left_to_a_person() {
    let (finished, scene) = handled(Scenario::DoubleOfUnknownWorth, Profile::AsIs).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("its worth cannot be told"), "{}", finished.says);
    assert_eq!((count(&scene, "voucher.void"), count(&scene, "voucher.release")), (1, 1));
    never_two(&scene);
}

#[tokio::test]
async fn a_replay_is_no_double_redemption_and_nothing_is_wrong_where_nothing_is() {
    for scenario in [Scenario::Replays, Scenario::Healthy] {
        for profile in [Profile::AsIs, Profile::Target] {
            let (finished, scene) = handled(scenario, profile).await;
            assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
            assert!(finished.says.starts_with("all clear"), "{}", finished.says);
            assert!(scene.effects().is_empty(), "{scenario:?}: {:?}", scene.effects());
        }
    }
}

#[tokio::test]
async fn one_key_for_all_vouchers_is_the_apps_fault_and_no_voucher_is_touched() {
    let (finished, scene) = handled(Scenario::KeyCollision, Profile::AsIs).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("one idempotency key came with 4 vouchers"), "{}", finished.says);
    let effects = scene.effects();
    assert!(!effects.keys().any(|(effect, _)| effect.starts_with("voucher.")), "{effects:?}");
    let told = scene.sandbox.with_world(|world| world.slack_texts());
    assert!(told.iter().any(|text| text.contains("idempotency key")), "{told:?}");
}

#[tokio::test]
async fn a_scope_of_the_wrong_table_is_corrected_and_data_ops_are_told() {
    for profile in [Profile::AsIs, Profile::Target] {
        let (finished, scene) = handled(Scenario::WrongScope, profile).await;
        assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
        assert_eq!(count(&scene, "voucher.scope"), 2);
        let data_ops = ("slack.post".to_owned(), "C0DATA".to_owned());
        assert_eq!(scene.effects().get(&data_ops), Some(&1), "{:?}", scene.effects());
    }
}

#[tokio::test]
async fn a_customer_at_the_wrong_station_is_the_operators_to_explain() {
    let (finished, scene) = handled(Scenario::WrongStation, Profile::Target).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(count(&scene, "voucher.scope"), 0, "a wider scope would open a door to fraud");
    let told = scene.sandbox.with_world(|world| world.slack_texts());
    assert!(told.iter().any(|text| text.starts_with("For the operator of Station 1")), "{told:?}");
}

/// Approves, and lets something happen in the world first.
struct Meanwhile {
    sandbox: Arc<Sandbox>,
    names: [&'static str; 2],
    happens: fn(&Sandbox),
}

#[async_trait::async_trait]
impl Humans for Meanwhile {
    async fn ask(&self, question: &Question, given: &[Answer]) -> Attention {
        let Some(by) = self.names.get(given.len()) else { return Attention::Absent };
        (self.happens)(&self.sandbox);
        let answer = Answer::to(question, "approve", *by);
        // Once refused, the same person would only be refused again.
        if given.iter().any(|earlier| earlier.by == answer.by) {
            Attention::Absent
        } else {
            Attention::Answer(answer)
        }
    }
}

async fn handled_while(names: [&'static str; 2], happens: fn(&Sandbox)) -> (Finished, Scene) {
    let scene = Scene::with(RUNBOOK, json!(null), world(Scenario::DoubleRedemption, Profile::Target)).await;
    let plan = scene.plan().await;
    let humans = Arc::new(Meanwhile { sandbox: Arc::clone(&scene.sandbox), names, happens });
    let terms = Terms { humans, ..scene.terms() };
    let finished = scene.run(approved(&plan, "drill-run"), terms).await;
    (finished, scene)
}

#[tokio::test]
async fn a_voucher_that_changed_since_it_was_looked_at_is_never_voided() {
    let (finished, scene) = handled_while(["lea", "ren"], |sandbox| {
        sandbox.with_world(|world| {
            let ids: Vec<_> = world.vouchers_redeemed_twice();
            assert!(world.let_somebody_void(ids[0]));
        });
    })
    .await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("was left as it is"), "{}", finished.says);
    assert_eq!(count(&scene, "voucher.void"), 2, "the two others: {:?}", scene.effects());
    assert_eq!(count(&scene, "voucher.release"), 2);
    never_two(&scene);
}

#[tokio::test]
async fn the_same_person_twice_is_one_person() {
    let (finished, scene) = handled_while(["lea", "lea"], |_| {}).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman, "{}", finished.says);
    assert_eq!(count(&scene, "voucher.reserve"), 0);
}

#[tokio::test]
async fn whoever_started_the_run_does_not_approve_it() {
    let (finished, scene) = handled_while(["kim", "lea"], |_| {}).await;
    assert_ne!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(count(&scene, "voucher.reserve"), 0);
}

#[tokio::test]
async fn lost_answers_lead_to_one_replacement_each() {
    let calls = [
        "POST /supabase/rest/v1/vouchers",
        "PATCH /supabase/rest/v1/vouchers",
        "PATCH /supabase/rest/v1/vouchers",
    ];
    let scene = Scene::with(RUNBOOK, json!(null), world(Scenario::DoubleRedemption, Profile::AsIs)).await;
    SandboxControl::at(&scene.sandbox.base_url()).unwrap().faults(&[], &[], &calls).await.unwrap();
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!((count(&scene, "voucher.void"), count(&scene, "voucher.release")), (3, 3));
    never_two(&scene);
}

#[tokio::test]
async fn writes_that_only_say_so_are_refuted() {
    for scenario in [Scenario::DoubleRedemption, Scenario::WrongScope] {
        let faults = FaultSet::of(Profile::Target).with(Fault::VoucherWriteLost);
        let spec = WorldSpec { faults: Some(faults), ..world(scenario, Profile::Target) };
        let scene = Scene::with(RUNBOOK, json!(null), spec).await;
        let (_, finished) = scene.plan_and_run().await;
        assert_eq!(finished.outcome, Outcome::Refuted, "{scenario:?}: {}", finished.says);
    }
}

#[tokio::test]
async fn a2_a_replacement_that_somebody_takes_back_is_told_and_not_counted() {
    let has_one = "the customer has one replacement";
    for (words, nth) in [(has_one, 1), (has_one, 3), ("redeemed twice and voided and replaced", 1)] {
        let scene = Scene::with(RUNBOOK, json!(null), world(Scenario::DoubleRedemption, Profile::AsIs)).await;
        let plan = scene.plan().await;
        let (sandbox, seen) = (Arc::clone(&scene.sandbox), std::sync::Mutex::new(0));
        let listener = move |entry: &allclear::engine::Entry| {
            let said = serde_json::to_string(&entry.event).unwrap();
            let mut seen = seen.lock().unwrap();
            *seen += usize::from(said.contains(words));
            if *seen == nth && said.contains(words) {
                let state = sandbox.state();
                let made = state["vouchers"].as_array().unwrap().iter().find(|one| {
                    !one["replaces"].is_null() && one["status"] == "issued" && one["held"] == false
                });
                let id = made.unwrap()["id"].as_str().unwrap().parse().unwrap();
                assert!(sandbox.with_world(|world| world.let_somebody_void(id)));
            }
        };
        let terms = Terms { listener: Some(Arc::new(listener)), ..scene.terms() };
        let finished = scene.run(approved(&plan, "drill-run"), terms).await;
        let shown = format!("{words} {nth}: {}", finished.says);
        assert_eq!(finished.outcome, Outcome::Unverified, "{shown}");
        assert!(finished.says.contains("2 vouchers were voided and replaced"), "{shown}");
        assert!(finished.says.contains("has no voucher"), "{shown}");
    }
}
