//! Each scenario of the runbook, from detection to its end.

use allclear::engine::report::{Postmortem, check_citations, time_spent};
use allclear::engine::{Event, Outcome};
use allclear::sandbox::{Profile, Scenario, WorldSpec};

use crate::scene::{Scene, small};

pub(crate) async fn outcome_of(scenario: Scenario, profile: Profile) -> (Outcome, Scene) {
    let scene = Scene::of(WorldSpec { profile, ..small(scenario) }).await;
    let (_, finished) = scene.plan_and_run().await;
    assert!(finished.outcome.is_final(), "{scenario:?} {profile:?}: {}", finished.says);
    if finished.outcome != Outcome::Verified {
        println!("{scenario:?} {profile:?}: {}", finished.says);
    }
    (finished.outcome, scene)
}

pub(crate) fn statuses(scene: &Scene) -> Vec<String> {
    let state = scene.sandbox.state();
    let campaigns = state["campaigns"].as_array().unwrap();
    campaigns.iter().map(|campaign| campaign["status"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_outage_that_ends_is_resolved_and_proven_in_both_profiles() {
    for named in [
        "rate-limited",
        "invalid-numbers",
        "outage",
        "quiet-hours-misconfigured",
        "throttle-misconfigured",
        "auth-expired",
        "policy-blocked",
    ] {
        for profile in [Profile::AsIs, Profile::Target] {
            let (outcome, scene) = outcome_of(Scenario::named(named).unwrap(), profile).await;
            assert_eq!(outcome, Outcome::Verified, "{named} {profile:?}");
            let expected = ["running", "running", "running", "running", "paused", "draft"];
            assert_eq!(
                statuses(&scene),
                expected,
                "{named} {profile:?}: what somebody else paused stays paused"
            );
        }
    }
}

#[tokio::test]
async fn nothing_is_done_where_nothing_is_wrong() {
    let (outcome, scene) = outcome_of(Scenario::Healthy, Profile::AsIs).await;
    assert_eq!(outcome, Outcome::Verified);
    assert!(scene.effects().is_empty(), "{:?}", scene.effects());
}

#[tokio::test]
async fn a_relapse_pauses_again_and_is_not_called_resolved() {
    for profile in [Profile::AsIs, Profile::Target] {
        let (outcome, scene) = outcome_of(Scenario::Flapping { minutes: 8 }, profile).await;
        assert_eq!(outcome, Outcome::Refuted, "{profile:?}");
        assert!(!statuses(&scene).contains(&"running".to_owned()), "{profile:?}: {:?}", statuses(&scene));
    }
}

#[tokio::test]
async fn the_provider_is_told_once_fifteen_minutes_after_the_first_failure() {
    let (_, scene) = outcome_of(Scenario::Outage { minutes: 25 }, Profile::Target).await;
    assert_eq!(scene.effects()[&("provider.ticket".to_owned(), "provider ticket".to_owned())], 1);
    let entries = scene.entries();
    let signal = entries.iter().find_map(|entry| match &entry.event {
        Event::Observed { of, value, .. } if of.step == "WA-D1" => value["first_failure_at"].as_str(),
        _ => None,
    });
    let first_failure: jiff::Timestamp = signal.unwrap().parse().unwrap();
    let deadline = entries.iter().find_map(|entry| match entry.event {
        Event::DeadlineSet { at, .. } => Some(at),
        _ => None,
    });
    assert_eq!(deadline.unwrap(), first_failure + std::time::Duration::from_mins(15));
    let (_, short) = outcome_of(Scenario::Outage { minutes: 1 }, Profile::Target).await;
    assert!(!short.effects().contains_key(&("provider.ticket".to_owned(), "provider ticket".to_owned())));
}

#[tokio::test]
async fn nothing_is_resumed_inside_quiet_hours() {
    // 21:45 in Kigali, a quarter of an hour before quiet hours.
    let spec = WorldSpec {
        start: "2026-11-23T19:45:00Z".parse().unwrap(),
        ..small(Scenario::Outage { minutes: 10 })
    };
    let scene = Scene::of(spec).await;
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let starts: Vec<_> =
        scene.sandbox.ledger().into_iter().filter(|entry| entry.effect == "campaign.start").collect();
    assert!(!starts.is_empty());
    let morning: jiff::Timestamp = "2026-11-24T04:00:00Z".parse().unwrap();
    assert!(starts.iter().all(|start| start.at >= morning), "{starts:?}");
}

#[tokio::test]
async fn the_same_seed_writes_the_same_journal_bytes() {
    let mut chains = Vec::new();
    for _ in 0..2 {
        let (_, scene) = outcome_of(Scenario::Outage { minutes: 25 }, Profile::AsIs).await;
        // Where the sandbox listens is the one thing that no seed decides.
        let address = scene.sandbox.base_url();
        let bodies = scene.journal.links().into_iter().map(|link| link.body.replace(&address, "SANDBOX"));
        chains.push(bodies.collect::<Vec<String>>());
    }
    let differ = chains[0].iter().zip(&chains[1]).find(|(one, other)| one != other);
    assert!(
        differ.is_none() && chains[0].len() == chains[1].len(),
        "two runs of one seed differ: {differ:#?}"
    );
    let world_minutes = {
        let entries: Vec<allclear::engine::Entry> =
            chains[0].iter().map(|link| serde_json::from_str(link).unwrap()).collect();
        entries.last().unwrap().at.duration_since(entries[0].at).as_secs() / 60
    };
    assert!(world_minutes >= 15, "a drill with an escalation, in virtual time: {world_minutes} min");
}

#[tokio::test]
async fn every_sentence_of_a_postmortem_cites_the_journal_and_its_times_add_up() {
    for scenario in [Scenario::Outage { minutes: 25 }, Scenario::Flapping { minutes: 8 }, Scenario::Healthy] {
        let (_, scene) = outcome_of(scenario, Profile::AsIs).await;
        let entries = scene.entries();
        let postmortem = Postmortem::from_entries(&entries, scene.runbook().steps());
        check_citations(&postmortem, &entries).unwrap();
        let spent = time_spent(&entries);
        let parts = spent.machine + spent.human + spent.waiting + spent.verifying + spent.interrupted;
        assert_eq!(parts, spent.wall_clock, "{scenario:?}");
    }
}

#[tokio::test]
async fn no_number_token_or_key_is_in_a_journal() {
    let (_, scene) = outcome_of(Scenario::InvalidNumbers { percent: 20 }, Profile::AsIs).await;
    let (_, outage) = outcome_of(Scenario::Outage { minutes: 25 }, Profile::AsIs).await;
    for link in scene.journal.links().iter().chain(&outage.journal.links()) {
        for secret in [
            "sandbox-admin-token",
            "sandbox-service-key",
            "sandbox-graph-token",
            "xoxb",
            "sandboxrouting",
            "session-",
        ] {
            assert!(!link.body.contains(secret), "{secret}: {}", link.body);
        }
        assert!(!link.body.contains("+2507880") && !link.body.contains("25078"), "{}", link.body);
    }
}
