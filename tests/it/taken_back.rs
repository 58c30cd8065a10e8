//! The process dies after its request and before the answer, and somebody takes back what it did before it comes back: what
//! they did stands, is told, and is not done again. Judged by the ledger and by what the world is at the end.

use allclear::core::CampaignId;
use allclear::engine::{Event, Finished, Outcome, Terms};
use allclear::sandbox::{Profile, Scenario, World, WorldSpec};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

use crate::scene::{Scene, approved, small};

fn spec(scenario: &str) -> WorldSpec {
    WorldSpec { profile: Profile::AsIs, ..small(Scenario::named(scenario).unwrap()) }
}

/// Which entry of an undisturbed run sets out to do `effect` for the first time, and for which campaign.
async fn first_intent(scenario: &str, effect: &str) -> (u64, Uuid) {
    let calm = Scene::of(spec(scenario)).await;
    calm.plan_and_run().await;
    let entries = calm.entries();
    let intended = |entry: &&allclear::engine::Entry| matches!(&entry.event, Event::Intended { .. });
    let first = entries.iter().filter(intended).find(|entry| entry.key.contains(effect)).unwrap();
    let words = first.key.split([' ', ':', '/', '#']);
    (first.seq, words.filter_map(|word| word.parse().ok()).next_back().unwrap())
}

/// The request of `effect` arrives, its answer does not, and the process is gone; somebody does `actions` before it comes back.
async fn taken_back(scenario: &str, effect: &str, actions: &[&str]) -> (Scene, Uuid, Finished) {
    let (at, campaign) = first_intent(scenario, effect).await;
    let scene = Scene::of(spec(scenario)).await;
    let plan = scene.plan().await;
    scene.run_until_killed(approved(&plan, "drill-run"), at).await;
    let (campaigns, id) = (&scene.platform.campaigns, CampaignId(campaign));
    match effect {
        "campaign.pause" => campaigns.pause(id).await.unwrap(),
        _ => campaigns.start(id).await.unwrap(),
    }
    scene.clock.advance(Duration::from_secs(40));
    scene.sandbox.with_world(|world| {
        for action in actions {
            assert!(world.let_somebody_else(action, campaign), "{action}");
        }
    });
    scene.clock.advance(Duration::from_mins(2));
    let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
    (scene, campaign, finished)
}

fn status(scene: &Scene, campaign: Uuid) -> String {
    let state = scene.sandbox.state();
    let all = state["campaigns"].as_array().unwrap();
    let one = all.iter().find(|one| one["id"] == campaign.to_string()).unwrap();
    one["status"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_somebody_takes_back_while_the_run_is_away_is_not_done_again() {
    let cases: [(&str, &str, &[&str], &str); 8] = [
        ("rate-limited", "campaign.pause", &["start"], "running"),
        ("rate-limited", "campaign.pause", &["stop"], "done"),
        ("rate-limited", "campaign.start", &["pause"], "paused"),
        ("rate-limited", "campaign.start", &["stop"], "done"),
        ("stalled", "campaign.pause", &["start"], "running"),
        ("stalled", "campaign.pause", &["start", "stop"], "done"),
        ("stalled", "campaign.start", &["pause"], "paused"),
        ("stalled", "campaign.start", &["stop"], "done"),
    ];
    for (scenario, effect, actions, stays) in cases {
        let (scene, campaign, finished) = taken_back(scenario, effect, actions).await;
        let shown = format!("{scenario}, {effect}, then {actions:?}: {}", finished.says);
        assert_eq!(status(&scene, campaign), stays, "{shown}");
        let did = scene.effects().get(&(effect.to_owned(), campaign.to_string())).copied();
        assert_eq!(did, Some(1), "{shown}");
        assert_eq!(finished.outcome, Outcome::Unverified, "{shown}");
        assert!(finished.says.contains("somebody else"), "{shown}");
        // Nothing stops the others from coming back.
        assert!(!finished.says.contains("4 campaigns"), "{shown}");
        assert!(finished.says.contains("3 campaigns"), "{shown}");
    }
}

#[tokio::test]
async fn what_somebody_takes_while_the_run_watches_it_keeps_none_of_the_others_from_coming_back() {
    for (scenario, words) in [("rate-limited", "after the resume"), ("stalled", "has sent nothing yet")] {
        for (action, stays) in [("pause", "paused"), ("stop", "done")] {
            let scene = Scene::of(spec(scenario)).await;
            let (_, taken) = first_intent(scenario, "campaign.start").await;
            let act = Box::new(move |world: &mut World| assert!(world.let_somebody_else(action, taken)));
            let finished = crate::people::beside(&scene, words, act).await;
            let shown = format!("{scenario}, {action}: {}", finished.says);
            assert_eq!(status(&scene, taken), stays, "{shown}");
            let state = scene.sandbox.state();
            let running =
                state["campaigns"].as_array().unwrap().iter().filter(|one| one["status"] == "running");
            assert_eq!(running.count(), 3, "{shown}");
            assert_eq!(finished.outcome, Outcome::Unverified, "{shown}");
            assert!(finished.says.contains("3 campaigns"), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_stalled_campaign_that_somebody_pauses_around_our_pause_is_told() {
    // Before ours, and over it.
    for (words, nth) in [("campaign.pause", 1), ("was paused", 2)] {
        let scene = Scene::of(spec("stalled")).await;
        let plan = scene.plan().await;
        let running = |scene: &Scene| {
            let state = scene.sandbox.state();
            let all = state["campaigns"].as_array().unwrap().clone();
            let running = all.into_iter().filter(|one| one["status"] == "running");
            running.map(|one| one["id"].as_str().unwrap().parse::<Uuid>().unwrap()).collect::<Vec<_>>()
        };
        let taken = running(&scene)[0];
        let (sandbox, seen) = (Arc::clone(&scene.sandbox), Mutex::new(0));
        let listener = move |entry: &allclear::engine::Entry| {
            let said = serde_json::to_string(&entry.event).unwrap();
            let mut seen = seen.lock().unwrap();
            *seen += usize::from(said.contains(words));
            if *seen == nth {
                *seen += 1;
                sandbox.with_world(|world: &mut World| assert!(world.let_somebody_else("pause", taken)));
            }
        };
        let terms = Terms { listener: Some(Arc::new(listener)), ..scene.terms() };
        let finished = scene.run(approved(&plan, "drill-run"), terms).await;
        assert_eq!(status(&scene, taken), "paused", "{words}: {}", finished.says);
        assert_eq!(running(&scene).len(), 3, "{words}: {}", finished.says);
        assert_eq!(finished.outcome, Outcome::Unverified, "{words}: {}", finished.says);
    }
}

#[tokio::test]
async fn a_run_that_dies_before_it_stops_a_queue_and_comes_back_late_ends_no_worse() {
    for minutes in [20, 40] {
        let short = || WorldSpec { targets_per_campaign: 60, ..spec("rate-limited") };
        let calm = Scene::of(short()).await;
        calm.plan_and_run().await;
        let entries = calm.entries();
        let skips: Vec<u64> = entries
            .iter()
            .filter(|entry| matches!(&entry.event, Event::Intended { .. }))
            .filter(|entry| entry.key.contains("send_queue.skip"))
            .map(|entry| entry.seq)
            .collect();
        for at in skips {
            let scene = Scene::of(short()).await;
            let plan = scene.plan().await;
            scene.run_until_killed(approved(&plan, "drill-run"), at).await;
            scene.clock.advance(Duration::from_mins(minutes));
            let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
            let shown = format!("{minutes} min after entry {at}: {}", finished.says);
            assert_eq!(finished.outcome, Outcome::Verified, "{shown}");
            let state = scene.sandbox.state();
            let all = state["campaigns"].as_array().unwrap();
            assert_eq!(all.iter().filter(|one| one["status"] == "running").count(), 4, "{shown}");
        }
    }
}
