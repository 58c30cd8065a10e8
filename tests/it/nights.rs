//! Nothing is sent to a customer in quiet hours because of a run, whenever it begins, is killed, or is answered; judged by the
//! platform's rows and ledger.

use std::time::Duration;

use allclear::core::CampaignId;
use allclear::core::policy::{QuietHours, SendPolicy};
use allclear::engine::{Entry, Event, Outcome, Terms};
use allclear::sandbox::people::Act;
use allclear::sandbox::{Profile, Scenario, Trouble, WorldSpec, trouble};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::scene::{Scene, approved, small};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn spec(scenario: &str, start: &str, targets: u32) -> WorldSpec {
    let scenario = Scenario::named(scenario).unwrap();
    WorldSpec { profile: Profile::AsIs, start: at(start), targets_per_campaign: targets, ..small(scenario) }
}

/// What the run itself set going in quiet hours, and how many messages the platform's dispatcher tried in them after a start.
fn at_night(scene: &Scene) -> (Vec<String>, usize) {
    let (hours, zone) =
        (QuietHours::parse("22:00", "06:00").unwrap(), TimeZone::get("Africa/Kigali").unwrap());
    let is_quiet = |at: Timestamp| hours.contains(at.to_zoned_datetime(zone.clone()).time());
    let begins = ["campaign.start", "send_queue.restore", "send_queue.put_back", "notification.retry"];
    let ledger = scene.sandbox.ledger();
    let late = ledger.iter().filter(|entry| begins.contains(&entry.effect.as_str()) && is_quiet(entry.at));
    let late = late.map(|entry| format!("{} of {} at {}", entry.effect, entry.subject, entry.at)).collect();
    let started = ledger.iter().find(|entry| entry.effect == "campaign.start").map(|entry| entry.at);
    let sends = started.map_or(0, |started| {
        scene.sandbox.with_world(|world| {
            let minute = Duration::from_mins(1);
            let mut from = started;
            let mut sends = 0;
            while from < world.now() {
                if is_quiet(from) && is_quiet(from + minute) {
                    sends += world.tries_between(from, from + minute);
                }
                from += minute;
            }
            sends
        })
    });
    (late, sends)
}

fn nothing_at_night(scene: &Scene, shown: &str) {
    let (late, sends) = at_night(scene);
    assert!(late.is_empty() && sends == 0, "{shown}: {sends} tries, {late:?}");
}

#[tokio::test]
async fn what_begins_shortly_before_the_quiet_hours_is_over_by_then_or_waits() {
    let cases = [
        ("stalled", "2026-11-23T19:40:00Z", 400),
        ("stalled", "2026-11-23T19:56:00Z", 400),
        ("stalled", "2026-11-23T19:50:00Z", 30),
        ("unreachable", "2026-11-23T19:45:00Z", 100),
        ("rate-limited", "2026-11-23T19:38:00Z", 30),
        ("rate-limited", "2026-11-23T19:49:00Z", 60),
        ("outage", "2026-11-23T19:47:00Z", 60),
        ("invalid-numbers", "2026-11-23T19:50:00Z", 150),
        ("auth-expired", "2026-11-23T19:52:00Z", 100),
    ];
    for (scenario, start, targets) in cases {
        let scene = Scene::of(spec(scenario, start, targets)).await;
        let (_, finished) = scene.plan_and_run().await;
        let shown = format!("{scenario} {start}: {}", finished.says);
        assert_eq!(finished.outcome, Outcome::Verified, "{shown}");
        nothing_at_night(&scene, &shown);
    }
}

#[tokio::test]
async fn what_was_set_out_to_before_the_night_is_done_after_it() {
    for (scenario, start) in [("stalled", "2026-11-23T19:30:00Z"), ("rate-limited", "2026-11-23T19:30:00Z")] {
        let calm = Scene::of(spec(scenario, start, 100)).await;
        calm.plan_and_run().await;
        let begins = ["campaign.start", "send_queue.restore", "notification.retry", "send_queue.put_back"];
        let entries = calm.entries();
        // Also where it had only looked whether it may.
        let intended = entries.iter().filter(|entry| {
            let looked = matches!(entry.event, Event::Observed { .. }) && entry.key.contains("/may begin ");
            let set_out =
                matches!(&entry.event, Event::Intended { effect, .. } if begins.contains(&effect.as_str()));
            looked || set_out
        });
        let intended: Vec<u64> = intended.map(|entry| entry.seq).collect();
        assert!(intended.len() >= 8, "{scenario}: {intended:?}");
        for seq in intended {
            let scene = Scene::of(spec(scenario, start, 100)).await;
            let plan = scene.plan().await;
            scene.run_until_killed(approved(&plan, "drill-run"), seq).await;
            // Eleven at night in Kigali.
            scene.clock.advance_to(at("2026-11-23T21:00:00Z"));
            let already = scene.sandbox.ledger().len();
            let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
            let shown = format!("{scenario}, killed at {seq}: {}", finished.says);
            assert_eq!(finished.outcome, Outcome::Verified, "{shown}");
            let (late, _) = at_night(&scene);
            assert!(late.is_empty(), "{shown}: {late:?} after {already}");
        }
    }
}

#[tokio::test]
async fn a_start_whose_calls_are_lost_until_the_night_waits_for_the_morning() {
    for scenario in ["stalled", "rate-limited"] {
        let scene = Scene::of(spec(scenario, "2026-11-23T19:35:00Z", 100)).await;
        let trouble = Trouble {
            calls: "/start".to_owned(),
            writes: true,
            times: 12,
            answer: trouble::Answer::Lost,
            ..Trouble::default()
        };
        let plan = scene.plan().await;
        scene.sandbox.with_world(|world| world.trouble(trouble));
        let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
        let shown = format!("{scenario}: {}", finished.says);
        let (late, _) = at_night(&scene);
        assert!(late.is_empty(), "{shown}: {late:?}");
    }
}

#[tokio::test]
async fn what_needs_longer_than_a_day_is_spread_over_days_and_nothing_of_it_is_sent_at_night() {
    for replay in ["pause-start", "stop-start"] {
        let scene = Scene::with(
            "campaign-dispatcher-stalls",
            json!({ "replay": replay }),
            spec("stalled", "2026-11-23T08:00:00Z", 700),
        );
        let scene = scene.await;
        // One a minute: what waits needs more than 16 hours.
        let policy =
            SendPolicy { throttle_per_minute: 1, quiet_hours: QuietHours::parse("22:00", "06:00").unwrap() };
        scene.platform.policy.write(&policy).await.unwrap();
        let waiting = scene.sandbox.with_world(|world| world.due());
        let (plan, finished) = scene.plan_and_run().await;
        assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
        let moved = plan.effects.iter().filter(|effect| effect.effect == "send_queue.postpone").count();
        assert!(moved >= 4, "{moved}");
        let asked = |event: &Event| matches!(event, Event::Asked { question, .. } if question.question.contains("night"));
        assert!(!scene.entries().iter().any(|entry| asked(&entry.event)));
        let sent = scene.sandbox.with_world(|world| {
            world.advance_to(at("2026-11-26T20:00:00Z"));
            world.went_out_since(at("2026-11-23T08:00:00Z"))
        });
        nothing_at_night(&scene, replay);
        assert_eq!(scene.sandbox.with_world(|world| world.due()), 0);
        assert!(sent.accepted == sent.distinct && sent.distinct >= waiting, "{sent:?} of {waiting}");
    }
}

#[tokio::test]
async fn a_policy_that_would_hold_messages_back_by_day_is_no_all_clear_at_night() {
    for profile in [Profile::AsIs, Profile::Target] {
        let scenario = spec("quiet-hours-misconfigured", "2026-11-23T00:30:00Z", 100);
        let scene = Scene::of(WorldSpec { profile, ..scenario }).await;
        let (_, finished) = scene.plan_and_run().await;
        assert_eq!(finished.outcome, Outcome::Verified, "{profile:?}: {}", finished.says);
        let stored = scene.platform.policy.read().await.unwrap();
        assert!(stored.faults().is_empty(), "{profile:?}: {stored:?}; {}", finished.says);
    }
}

#[tokio::test]
async fn quiet_hours_that_somebody_swaps_while_a_run_waits_are_owed() {
    let scene = Scene::of(spec("rate-limited", "2026-11-23T08:00:00Z", 60)).await;
    let plan = scene.plan().await;
    let world = std::sync::Arc::clone(&scene.sandbox);
    let listener = move |entry: &Entry| {
        if matches!(&entry.event, Event::Applied { effect, .. } if effect == "message.send") {
            world.with_world(|world| world.let_quiet_hours_be("06:00", "22:00"));
        }
    };
    let terms = Terms { listener: Some(std::sync::Arc::new(listener)), ..scene.terms() };
    let finished = scene.run(approved(&plan, "drill-run"), terms).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(
        finished.says.contains("the sending policy was changed while this run went on"),
        "{}",
        finished.says
    );
}

#[tokio::test]
async fn sends_that_somebody_blocks_all_day_while_a_run_waits_are_not_begun_before_that_is_lifted() {
    // After the policy was checked, which a person may have repaired.
    for (scenario, after) in [("stalled", "campaign.pause"), ("rate-limited", "message.send")] {
        let scene = Scene::of(spec(scenario, "2026-11-23T08:00:00Z", 60)).await;
        let plan = scene.plan().await;
        let world = std::sync::Arc::clone(&scene.sandbox);
        let lifted = at("2026-11-23T11:30:00Z");
        let listener = move |entry: &Entry| {
            world.with_world(|world| {
                if matches!(&entry.event, Event::Applied { effect, .. } if effect == after) {
                    world.let_quiet_hours_be("09:00", "09:00");
                } else if world.now() >= lifted {
                    world.let_quiet_hours_be("22:00", "06:00");
                }
            });
        };
        let terms = Terms { listener: Some(std::sync::Arc::new(listener)), ..scene.terms() };
        let finished = scene.run(approved(&plan, "drill-run"), terms).await;
        let ledger = scene.sandbox.ledger();
        let starts = ledger.iter().filter(|entry| entry.effect == "campaign.start" && entry.changed);
        let first = starts.map(|entry| entry.at).min();
        let shown = format!("{scenario}: first start at {first:?}; {}", finished.says);
        assert!(first.is_some_and(|first| first >= lifted), "{shown}");
    }
}

/// The dispatcher looks at nobody's pause, so what waits with a paused campaign must not be due before its start either.
#[tokio::test]
async fn what_is_kept_for_the_morning_is_not_sent_at_night_whatever_wakes_the_dispatcher() {
    for profile in [Profile::AsIs, Profile::Target] {
        let world = WorldSpec { profile, ..spec("stalled", "2026-11-23T19:35:00Z", 600) };
        let scene = Scene::of(world).await;
        let plan = scene.plan().await;
        let (sandbox, once) = (std::sync::Arc::clone(&scene.sandbox), std::sync::Mutex::new(true));
        let listener = move |entry: &Entry| {
            let waits =
                matches!(&entry.event, Event::Slept { until, .. } if *until == at("2026-11-24T04:00:00Z"));
            if waits && std::mem::take(&mut *once.lock().unwrap()) {
                assert!(sandbox.with_world(|world| world.let_somebody(Act::Start, 1)));
            }
        };
        let terms = Terms { listener: Some(std::sync::Arc::new(listener)), ..scene.terms() };
        let finished = scene.run(approved(&plan, "drill-run"), terms).await;
        assert_eq!(finished.outcome, Outcome::Unverified, "one is somebody else's: {}", finished.says);
        let state = scene.sandbox.state();
        let ids = state["campaigns"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap());
        let others: Vec<CampaignId> = ids.skip(1).map(|id| id.parse().unwrap()).collect();
        let mut moved = 0;
        for id in others {
            let tries =
                async |since: &str| scene.platform.send_log.tally(Some(id), at(since)).await.unwrap().tries();
            let (tonight, tomorrow) =
                (tries("2026-11-23T19:45:00Z").await, tries("2026-11-24T04:00:00Z").await);
            assert_eq!(tonight, tomorrow, "{profile:?}: {id} was sent at night: {}", finished.says);
            moved += tomorrow;
        }
        assert!(moved > 0, "{profile:?}: {}", finished.says);
    }
}
