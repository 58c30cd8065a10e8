//! What was shown is what is done, in random worlds.

use std::collections::BTreeSet;

use allclear::engine::{Outcome, Plan};
use allclear::sandbox::{Fault, FaultSet, PreviewAnswer, Profile, Scenario, WorldSpec};
use proptest::prelude::*;

use crate::scene::{Scene, approved, name, small};

/// How many random worlds for the first runbook, and half as many for each other; `ALLCLEAR_WORLDS` asks for more.
fn worlds() -> u32 {
    std::env::var("ALLCLEAR_WORLDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000)
}

pub(crate) fn whatsapp() -> impl Strategy<Value = Scenario> {
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

const PREVIEW_ANSWERS: [PreviewAnswer; 7] = [
    PreviewAnswer::Reset,
    PreviewAnswer::Silent,
    PreviewAnswer::KeyRefused,
    PreviewAnswer::RequestRefused,
    PreviewAnswer::TooMany,
    PreviewAnswer::Failing,
    PreviewAnswer::Empty,
];

pub(crate) fn previews() -> impl Strategy<Value = Scenario> {
    prop_oneof![
        Just(Scenario::Healthy),
        Just(Scenario::PreviewRemoved),
        Just(Scenario::PreviewBroken),
        Just(Scenario::PreviewNoPicture),
        (0..40_u64).prop_map(|minutes| Scenario::PreviewTimeout { minutes }),
        (0..40_u64).prop_map(|minutes| Scenario::PreviewNotConfigured { minutes }),
        (0..40_u64).prop_map(|minutes| Scenario::PreviewThrottled { minutes }),
        (0..40_u64, prop::sample::select(PREVIEW_ANSWERS.to_vec()))
            .prop_map(|(minutes, how)| Scenario::PreviewAnswers { how, minutes }),
    ]
}

pub(crate) fn dispatcher() -> impl Strategy<Value = Scenario> {
    prop_oneof![
        Just(Scenario::Healthy),
        Just(Scenario::Stalled),
        (0..40_u64).prop_map(|minutes| Scenario::StalledUnreachable { minutes }),
        Just(Scenario::StalledOneTick),
        Just(Scenario::TargetsNotUpdated),
        Just(Scenario::QuietHours),
        Just(Scenario::EmptyQueue),
    ]
}

pub(crate) fn stations() -> impl Strategy<Value = Scenario> {
    prop_oneof![
        Just(Scenario::Healthy),
        Just(Scenario::DoubleRedemption),
        Just(Scenario::DoubleOfUnknownWorth),
        Just(Scenario::Replays),
        Just(Scenario::KeyCollision),
        Just(Scenario::WrongScope),
        Just(Scenario::WrongStation),
    ]
}

pub(crate) fn world(scenario: impl Strategy<Value = Scenario>) -> impl Strategy<Value = WorldSpec> {
    let faults = prop::collection::btree_set(prop::sample::select(Fault::ALL.to_vec()), 0..3);
    let sizes = (1..7_u32, 20..120_u32, 0..30_u32, 0..5_u32);
    (any::<u64>(), 0..24_i64, sizes, any::<bool>(), scenario, faults).prop_map(
        |(seed, hour, (campaigns, targets_per_campaign, vouchers, stations), as_is, scenario, more)| {
            let profile = if as_is { Profile::AsIs } else { Profile::Target };
            let faults = more.into_iter().fold(FaultSet::of(profile), FaultSet::with);
            let start = small(scenario).start + std::time::Duration::from_secs(3600 * hour.unsigned_abs());
            WorldSpec {
                seed,
                start,
                campaigns,
                targets_per_campaign,
                notifications: 60,
                vouchers,
                stations,
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

async fn check(runbook: &'static str, spec: WorldSpec) {
    let shown = format!("{runbook} {spec:?}");
    // Whether a message arrived is seen on a phone there, and a drill's roles never say what happened.
    let asks = spec.faults().has(Fault::DeliveryNeverLogged);
    let scene = Scene::with(runbook, serde_json::Value::Null, spec).await;
    let plan = scene.plan().await;
    assert!(
        scene.sandbox.ledger().is_empty(),
        "planning changed something: {:?} in {shown}",
        scene.sandbox.ledger()
    );
    let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
    // In a world that loses both the answer and the audit row nobody but a person can tell who paused a campaign. What lasts
    // longer than a watch's patience interrupts the run.
    assert!(
        finished.outcome.is_final()
            || matches!(finished.outcome, Outcome::InDoubt | Outcome::Interrupted)
            || (asks && finished.outcome == Outcome::WaitingForHuman),
        "{} in {shown}",
        finished.says
    );

    let done: BTreeSet<_> = scene.requested().into_keys().collect();
    let (certain, conditional) = (named(&plan, true), named(&plan, false));
    let allowed: BTreeSet<_> = certain.union(&conditional).cloned().collect();
    let unplanned: Vec<_> = done.difference(&allowed).collect();
    assert!(unplanned.is_empty(), "not in the plan: {unplanned:?} in {shown}");
    // A second look may clear what the first one suspected: then nothing at all is done.
    if finished.says.starts_with("all clear") {
        assert!(done.is_empty(), "all clear, and done: {done:?} in {shown}");
    } else if finished.outcome == Outcome::Verified {
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

fn in_random_worlds(runbook: &'static str, cases: u32, scenario: impl Strategy<Value = Scenario>) {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 20,
        ..ProptestConfig::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    proptest!(config, |(spec in world(scenario))| {
        runtime.block_on(check(runbook, spec));
    });
    println!("{runbook}: plan equals run in {cases} random worlds");
}

#[test]
fn in_random_worlds_whatsapp_does_what_its_plan_named() {
    in_random_worlds("whatsapp-send-failures", worlds(), whatsapp());
}

#[test]
fn in_random_worlds_previews_do_what_their_plan_named() {
    in_random_worlds("voucher-preview-failures", worlds() / 2, previews());
}

#[test]
fn in_random_worlds_the_dispatcher_does_what_its_plan_named() {
    in_random_worlds("campaign-dispatcher-stalls", worlds() / 2, dispatcher());
}

#[test]
fn in_random_worlds_stations_do_what_their_plan_named() {
    in_random_worlds("station-redeem-anomalies", worlds() / 2, stations());
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
