//! The sandbox lies. Whatever it says, the outcome is never verified.

mod worlds;

use allclear::engine::Outcome;
use allclear::sandbox::{Fault, FaultSet, Profile, Scenario, WorldSpec};

use crate::scene::{Scene, small};

#[tokio::test]
async fn no_lie_ends_verified() {
    let lies = [
        (Fault::AcceptedAndDropped, Scenario::RateLimited { minutes: 3 }),
        (Fault::AuditWriteLost, Scenario::Outage { minutes: 3 }),
        (Fault::SettingsWriteLost, Scenario::QuietHoursMisconfigured),
        (Fault::SettingsWriteLost, Scenario::ThrottleMisconfigured),
        (Fault::StartNotEffective, Scenario::Outage { minutes: 3 }),
        (Fault::RetryNotEffective, Scenario::Outage { minutes: 3 }),
    ];
    for (lie, scenario) in lies {
        for profile in [Profile::AsIs, Profile::Target] {
            let faults = FaultSet::of(profile).with(lie);
            let scene = Scene::of(WorldSpec { profile, faults: Some(faults), ..small(scenario) }).await;
            let (_, finished) = scene.plan_and_run().await;
            let untrue = [Outcome::Refuted, Outcome::Unverified, Outcome::Interrupted];
            assert!(
                untrue.contains(&finished.outcome),
                "{lie} {profile:?}: {} {}",
                finished.outcome,
                finished.says
            );
        }
    }
}

#[tokio::test]
async fn a_queue_that_only_says_it_stopped_is_refuted() {
    let faults = FaultSet::of(Profile::AsIs).with(Fault::QueueWriteLost);
    let scene = Scene::of(WorldSpec { faults: Some(faults), ..small(Scenario::Outage { minutes: 3 }) }).await;
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Refuted, "{}", finished.says);
}

#[tokio::test]
async fn warts_that_only_look_bad_are_seen_through() {
    let warts =
        [Fault::Pause5xxAfterWrite, Fault::StickyGreen, Fault::StaleGetOnlyRoutes, Fault::RetryAfterDropped];
    for wart in warts {
        let faults = FaultSet::of(Profile::Target).with(wart);
        let spec = WorldSpec {
            profile: Profile::Target,
            faults: Some(faults),
            ..small(Scenario::RateLimited { minutes: 3 })
        };
        let scene = Scene::of(spec).await;
        let (_, finished) = scene.plan_and_run().await;
        assert_eq!(finished.outcome, Outcome::Verified, "{wart}: {}", finished.says);
        let pauses: Vec<usize> = scene
            .effects()
            .iter()
            .filter(|((effect, _), _)| effect == "campaign.pause")
            .map(|(_, count)| *count)
            .collect();
        assert_eq!(pauses, [1, 1, 1, 1], "{wart}");
    }
}

#[tokio::test]
async fn telling_that_fails_is_noted_and_holds_nothing_up() {
    for lie in [Fault::SlackMessageLost, Fault::PagerDutyDropped] {
        let faults = FaultSet::of(Profile::Target).with(lie);
        let spec = WorldSpec {
            profile: Profile::Target,
            faults: Some(faults),
            ..small(Scenario::Outage { minutes: 25 })
        };
        let scene = Scene::of(spec).await;
        let (_, finished) = scene.plan_and_run().await;
        assert_eq!(finished.outcome, Outcome::Verified, "{lie}: {}", finished.says);
    }
}

#[tokio::test]
async fn a_lost_audit_row_is_never_verified_whatever_the_runbook() {
    for scenario in [Scenario::Stalled, Scenario::DoubleRedemption, Scenario::WrongScope] {
        for profile in [Profile::AsIs, Profile::Target] {
            let faults = FaultSet::of(profile).with(Fault::AuditWriteLost);
            let scene = Scene::of(WorldSpec { profile, faults: Some(faults), ..small(scenario) }).await;
            let (_, finished) = scene.plan_and_run().await;
            assert_eq!(finished.outcome, Outcome::Refuted, "{scenario:?} {profile:?}: {}", finished.says);
        }
    }
}
