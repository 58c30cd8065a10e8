//! A plan names what a run does, and a run does what was planned.

use std::sync::Arc;

use allclear_engine::*;

use crate::toy::*;

async fn plan_of(shared: &Shared) -> Plan {
    plan(&FlipAll::of(shared), terms(), clock()).await.unwrap()
}

#[tokio::test]
async fn a_plan_names_exactly_the_effects_of_the_run_and_changes_nothing() {
    let shared = world(&["a", "b", "c"]);
    shared.lock().unwrap().on.insert("b".into(), true);
    let plan = plan_of(&shared).await;
    assert!(shared.lock().unwrap().ledger.is_empty());
    let planned: Vec<String> = plan.certain().map(|effect| effect.subject.clone()).collect();
    run_on(&MemoryJournal::new(), &FlipAll::of(&shared), clock(), Terms { plan: Some(plan), ..terms() })
        .await;
    assert_eq!(shared.lock().unwrap().ledger, planned);
}

#[tokio::test]
async fn the_same_world_gives_the_same_hash_and_another_world_another() {
    let shared = world(&["a", "b"]);
    let first = plan_of(&shared).await;
    let second = plan_of(&shared).await;
    assert_eq!(first.hash, second.hash);
    assert_eq!(first.check_no_drift(&second), Ok(()));
    shared.lock().unwrap().on.insert("a".into(), true);
    let moved = plan_of(&shared).await;
    let refusal = first.check_no_drift(&moved).unwrap_err();
    assert!(matches!(&refusal, Refusal::Drift { what } if what.contains("flip a")), "{refusal}");
}

#[tokio::test]
async fn a_changed_plan_file_is_refused_with_no_effect() {
    let shared = world(&["a"]);
    let mut plan = plan_of(&shared).await;
    plan.effects[0].changes[0].after = "off".into();
    let finished =
        run_on(&MemoryJournal::new(), &FlipAll::of(&shared), clock(), Terms { plan: Some(plan), ..terms() })
            .await;
    assert_eq!(finished.outcome, Outcome::Refused);
    assert!(shared.lock().unwrap().ledger.is_empty());
}

#[tokio::test]
async fn an_effect_that_nobody_was_shown_asks_first() {
    let shared = world(&["a"]);
    let plan = plan_of(&shared).await;
    shared.lock().unwrap().on.insert("b".into(), false);
    let bound = Terms { plan: Some(plan), ..terms() };
    let journal = MemoryJournal::new();
    let finished = run_on(&journal, &FlipAll::of(&shared), clock(), bound.clone()).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman);
    assert_eq!(shared.lock().unwrap().ledger, ["a"]);
    let approving = Terms { humans: Arc::new(AutoApprove { role: "commander".into() }), ..bound };
    let finished = run_on(&journal, &FlipAll::of(&shared), clock(), approving).await;
    assert_eq!(finished.outcome, Outcome::Verified);
    assert_eq!(shared.lock().unwrap().ledger, ["a", "b"]);
}
