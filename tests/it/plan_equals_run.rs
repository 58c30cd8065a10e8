//! What was shown is what is done, in random worlds.

use std::collections::BTreeSet;

use allclear::engine::{Outcome, Plan, Terms};
use allclear::sandbox::{Fault, FaultSet, Profile, Scenario, WorldSpec};
use proptest::prelude::*;

use crate::scene::{Scene, name, small};

/// How many random worlds; `ALLCLEAR_WORLDS` asks for more.
fn worlds() -> u32 {
    std::env::var("ALLCLEAR_WORLDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000)
}

fn scenario() -> impl Strategy<Value = Scenario> {
    prop_oneof![
        Just(Scenario::Healthy),
        (0..30_u64).prop_map(|minutes| Scenario::RateLimited { minutes }),
        (0..40_u64).prop_map(|percent| Scenario::InvalidNumbers { percent }),
        Just(Scenario::QuietHoursMisconfigured),
        Just(Scenario::ThrottleMisconfigured),
        (0..6_u64).prop_map(|minutes| Scenario::AuthExpired { minutes }),
        (0..6_u64).prop_map(|minutes| Scenario::PolicyBlocked { minutes }),
        (0..40_u64).prop_map(|minutes| Scenario::Outage { minutes }),
        (1..20_u64).prop_map(|minutes| Scenario::Flapping { minutes }),
    ]
}

fn world() -> impl Strategy<Value = WorldSpec> {
    let faults = prop::collection::btree_set(prop::sample::select(Fault::ALL.to_vec()), 0..3);
    (any::<u64>(), 0..24_i64, 1..7_u32, 20..120_u32, any::<bool>(), scenario(), faults).prop_map(
        |(seed, hour, campaigns, targets_per_campaign, as_is, scenario, more)| {
            let profile = if as_is { Profile::AsIs } else { Profile::Target };
            let faults = more.into_iter().fold(FaultSet::of(profile), FaultSet::with);
            let start = small(scenario).start + std::time::Duration::from_secs(3600 * hour.unsigned_abs());
            WorldSpec {
                seed,
                start,
                campaigns,
                targets_per_campaign,
                notifications: 60,
                profile,
                faults: Some(faults),
                ..small(scenario)
            }
        },
    )
}

fn named(plan: &Plan, certain: bool) -> BTreeSet<(String, String)> {
    plan.effects
        .iter()
        // Files stay on this machine; the platform's ledger does not know them.
        .filter(|effect| effect.effect != "artifact.write" && effect.condition.is_none() == certain)
        .map(|effect| name(&effect.effect, &effect.subject))
        .collect()
}

async fn check(spec: WorldSpec) {
    let shown = format!("{spec:?}");
    let scene = Scene::of(spec).await;
    let plan = scene.plan().await;
    assert!(
        scene.sandbox.ledger().is_empty(),
        "planning changed something: {:?} in {shown}",
        scene.sandbox.ledger()
    );
    let bound = Terms { plan: Some(plan.clone()), approved_by: Some("kim".to_owned()), ..scene.terms() };
    let finished = scene.run(bound).await;
    // In a world that loses both the answer and the audit row nobody but a person can tell who paused a campaign.
    assert!(
        finished.outcome.is_final() || finished.outcome == Outcome::InDoubt,
        "{} in {shown}",
        finished.says
    );

    let done: BTreeSet<_> = scene.requested().into_keys().collect();
    let (certain, conditional) = (named(&plan, true), named(&plan, false));
    let allowed: BTreeSet<_> = certain.union(&conditional).cloned().collect();
    let unplanned: Vec<_> = done.difference(&allowed).collect();
    assert!(unplanned.is_empty(), "not in the plan: {unplanned:?} in {shown}");
    if finished.outcome == Outcome::Verified {
        // What the world turned out not to need any more (all notifications were retried by then) is no effect.
        let missing: Vec<_> = certain
            .difference(&done)
            .filter(|(effect, _)| effect != "notification.retry" && effect != "send_queue.postpone")
            .collect();
        assert!(missing.is_empty(), "planned and not done: {missing:?} in {shown}");
        // A condition that did not come true has no effect; one that did is in the journal.
        let applied: BTreeSet<_> = scene.applied().into_keys().collect();
        let unexplained: Vec<_> = done.difference(&applied).collect();
        assert!(unexplained.is_empty(), "done and not in the journal: {unexplained:?} in {shown}");
    }
}

#[test]
fn in_random_worlds_a_run_does_what_its_plan_named() {
    let config = ProptestConfig {
        cases: worlds(),
        failure_persistence: None,
        max_shrink_iters: 20,
        ..ProptestConfig::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    proptest!(config, |(spec in world())| {
        runtime.block_on(check(spec));
    });
    println!("plan equals run in {} random worlds", worlds());
}

#[tokio::test]
async fn a_plan_is_refused_with_no_effect_when_the_world_has_drifted() {
    let scene = Scene::of(small(Scenario::Outage { minutes: 3 })).await;
    let plan = scene.plan().await;
    let campaign = plan.certain().find(|effect| effect.effect == "campaign.pause").unwrap();
    let id = campaign.changes[0].id.parse().unwrap();
    scene.sandbox.with_world(|world| assert!(world.let_somebody_else("pause", id)));
    let now = scene.plan().await;
    let refusal = plan.check_no_drift(&now).unwrap_err();
    assert!(refusal.to_string().contains("the world has moved"), "{refusal}");
    assert!(scene.effects().is_empty());
}
