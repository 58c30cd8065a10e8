//! The target, the restore, and whether staging works.

use std::collections::VecDeque;
use std::sync::Arc;

use allclear_core::recovery::*;
use allclear_engine::Outcome;

use super::humans::Person;
use super::world::*;

/// R1: the objection comes before anybody is called and before anything is done.
#[tokio::test]
async fn a_target_that_is_production_is_refused_before_anything() {
    let objection = "the target is the production cluster (7001)";
    let wrong = || TargetCheck {
        target: identity("db.production.example", "prodref", "7001"),
        objections: vec![objection.to_owned()],
        ..fit()
    };
    let world = world().with(|outside| outside.checks = VecDeque::from([wrong()]));
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Refused, "{}", finished.says);
    assert!(finished.says.contains(objection) && world.calls.all().is_empty(), "{:?}", world.calls.all());
    let plan = world.plan().await;
    assert!(!plan.has_effects() && plan.ends.contains(objection), "{}", plan.ends);
}

#[tokio::test]
async fn an_objection_that_appears_later_is_refused_too() {
    let wrong = TargetCheck { objections: vec!["the staging marker is missing".to_owned()], ..fit() };
    for looks in 1..4 {
        let checks = std::iter::repeat_n(fit(), looks).chain([wrong.clone()]).collect();
        let world = world().with(|outside| outside.checks = checks);
        let finished = world.run().await;
        assert_eq!(finished.outcome, Outcome::Refused, "after {looks}: {}", finished.says);
        assert_eq!(world.times("restore"), 0, "after {looks}");
        assert!(world.artifact("tabletop-report.md").contains("Nothing was restored."));
    }
}

#[tokio::test]
async fn another_target_than_was_confirmed_is_never_restored_into() {
    let other = TargetCheck { target: identity("db.staging.example", "stagingref", "7003"), ..fit() };
    // The looks: at the start, before the question, after the confirmation, in the effect.
    for looks in 2..4 {
        let checks = std::iter::repeat_n(fit(), looks).chain([other.clone()]).collect();
        let world = world().with(|outside| outside.checks = checks);
        let finished = world.run().await;
        assert_eq!(finished.outcome, Outcome::Refused, "after {looks}: {}", finished.says);
        assert!(finished.says.contains("7003") && world.times("restore") == 0, "{}", finished.says);
    }
}

#[tokio::test]
async fn a_target_that_is_typed_wrong_is_not_confirmed() {
    let world = world();
    let finished = world.run_with(Arc::new(Person { types: "prodref", at: ("", "") })).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman, "{}", finished.says);
    assert!(finished.says.contains("DR-R1 restore") && world.times("restore") == 0, "{}", finished.says);
    let typed = world.run_with(Arc::new(Person { types: "stagingref", at: ("", "") })).await;
    assert_eq!(typed.outcome, Outcome::Verified, "{}", typed.says);
}

#[tokio::test]
async fn a_no_ends_the_exercise_and_closes_its_incident() {
    for gate in ["DR-P2 begin", "DR-R1 restore"] {
        let world = world();
        let finished = world.run_with(Arc::new(Person { types: "stagingref", at: (gate, "reject") })).await;
        assert_eq!(finished.outcome, Outcome::Rejected, "{gate}: {}", finished.says);
        assert_eq!(world.times("restore"), 0);
        assert_eq!(world.times("page"), world.times("close incident"), "{gate}");
        assert_eq!(world.times("write docs/incidents/dr-tabletop.md"), 0, "{gate}");
    }
}

/// R4: the figures are kept, and the run does not end well.
#[tokio::test]
async fn one_changed_row_refutes_the_exercise_and_its_figures_are_kept() {
    let world = world().with(|outside| outside.changed_row = true);
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Refuted, "{}", finished.says);
    assert!(finished.says.contains("public.vouchers: content differs"), "{}", finished.says);
    assert!(world.artifact("rowcount.csv").contains("public.vouchers,5000,5000,c3a7,0000,content differs"));
    assert!(world.artifact("backup.log").contains("Backup, restore and parity: NOT proven"));
    assert!(world.outside.lock().unwrap().tried.is_empty(), "what is not equal is not worth a smoke test");
    let retro = world.document("docs/incidents/dr-tabletop.md");
    assert!(retro.contains("- [ ] parity: ") && retro.contains("Refuted: "), "{retro}");
    assert!(!world.document("SYSTEM_CHECKLIST.md").contains("dr-parity-by-content"));
}

#[tokio::test]
async fn a_failed_smoke_test_refutes_and_one_that_is_not_possible_is_a_finding() {
    let failed = SmokeResult::Failed { says: "two redemptions for two requests".to_owned() };
    let world = world().with(|outside| drop(outside.smoke.insert(SmokeTest::StationRedeem, failed)));
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Refuted, "{}", finished.says);
    assert!(finished.says.contains("station redeem"), "{}", finished.says);
    assert_eq!(world.outside.lock().unwrap().tried.len(), 4, "the others are tried all the same");

    let not_possible = SmokeResult::NotPossible { says: "staging has no station app".to_owned() };
    let world =
        self::world().with(|outside| drop(outside.smoke.insert(SmokeTest::StationRedeem, not_possible)));
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(finished.says.contains("3 of 4 smoke tests passed, 1 finding"), "{}", finished.says);
    assert!(
        world
            .document("docs/incidents/dr-tabletop.md")
            .contains("- [ ] smoke-tests: station redeem: not possible")
    );
}

#[tokio::test]
async fn where_no_smoke_test_is_possible_nobody_knows_whether_staging_works() {
    let not_possible = || SmokeResult::NotPossible { says: "404, a page".to_owned() };
    let all = || SmokeTest::ALL.into_iter().map(|test| (test, not_possible()));
    let finished = world().with(|outside| outside.smoke.extend(all())).run().await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("no smoke test could be made"), "{}", finished.says);
}

#[tokio::test]
async fn a_smoke_test_that_could_not_be_made_proves_nothing() {
    let world = world().with(|outside| drop(outside.smoke.remove(&SmokeTest::CampaignSend)));
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("not known: campaign send"), "{}", finished.says);
}
