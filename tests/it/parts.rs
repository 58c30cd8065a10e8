//! Queues that need longer than a day are resumed in parts; judged by the platform's rows: each message went out once, and
//! none in quiet hours.

use std::collections::BTreeMap;

use allclear::core::CampaignId;
use allclear::core::policy::{QuietHours, SendPolicy};
use allclear::engine::report::left;
use allclear::engine::{Finished, Outcome, Plan};
use allclear::sandbox::{Profile, SERVICE_KEY, Scenario, WorldSpec};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::drills::statuses;
use crate::scene::{Scene, approved, small};

/// A world whose policy lets so few messages out that its queues need days.
async fn slow(profile: Profile, campaigns: u32, targets_per_campaign: u32) -> Scene {
    let scenario = Scenario::named("invalid-numbers").unwrap();
    let spec = WorldSpec { profile, campaigns, targets_per_campaign, ..small(scenario) };
    let scene = Scene::of(spec).await;
    let policy = SendPolicy { throttle_per_minute: 1, quiet_hours: quiet() };
    scene.platform.policy.write(&policy).await.unwrap();
    scene
}

fn quiet() -> QuietHours {
    QuietHours::parse("22:00", "06:00").unwrap()
}

pub(crate) async fn rows(scene: &Scene, query: &str) -> Vec<Value> {
    let url = format!("{}/supabase/rest/v1/{query}&order=id&limit=1000", scene.sandbox.base_url());
    let client = reqwest::Client::new();
    let (mut all, mut last): (Vec<Value>, i64) = (Vec::new(), 0);
    loop {
        let asked = client.get(format!("{url}&id=gt.{last}"));
        let asked = asked.header("apikey", SERVICE_KEY).bearer_auth(SERVICE_KEY).send().await.unwrap();
        let some: Vec<Value> = serde_json::from_str(&asked.text().await.unwrap()).unwrap();
        let Some(end) = some.last() else { return all };
        last = end["id"].as_i64().unwrap();
        all.extend(some);
    }
}

/// How often the message of each row of the queue went out, and when the first and the last did.
async fn sent(scene: &Scene) -> (BTreeMap<i64, usize>, Vec<Timestamp>) {
    let (mut times, mut at) = (BTreeMap::new(), Vec::new());
    for row in rows(scene, "send_logs?select=id,queue_id,sent_at,error&error=is.null").await {
        if let Some(queue) = row["queue_id"].as_i64() {
            *times.entry(queue).or_default() += 1;
            at.push(row["sent_at"].as_str().unwrap().parse().unwrap());
        }
    }
    (times, at)
}

async fn by_status(scene: &Scene) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for row in rows(scene, "send_queue?select=id,status").await {
        *counts.entry(row["status"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

/// Lets the rest of the last part go out.
fn let_drain(scene: &Scene) {
    let later = scene.sandbox.now() + std::time::Duration::from_hours(16);
    scene.sandbox.with_world(|world| world.advance_to(later));
}

async fn all_came_back(scene: &Scene, finished: &Finished, begun: Timestamp) {
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let ended = scene.sandbox.now();
    let_drain(scene);
    let counts = by_status(scene).await;
    assert!(!counts.contains_key("SKIPPED") && !counts.contains_key("PENDING"), "{counts:?}");
    let (times, at) = sent(scene).await;
    assert!(times.values().all(|times| *times == 1), "each once: {times:?}");
    assert_eq!(times.len(), counts["SENT"]);
    let zone = TimeZone::get("Africa/Kigali").unwrap();
    let late: Vec<&Timestamp> = at
        .iter()
        .filter(|at| **at > begun && **at < ended)
        .filter(|at| quiet().contains(at.to_zoned_datetime(zone.clone()).time()))
        .collect();
    assert!(late.is_empty(), "sent in quiet hours: {late:?}");
}

fn parts_named(plan: &Plan) -> Vec<&str> {
    plan.seen.iter().map(|seen| seen.says.as_str()).filter(|says| says.contains(": part ")).collect()
}

fn waits(scene: &Scene) -> Vec<u64> {
    let entries = scene.entries();
    entries.iter().filter(|entry| entry.key.starts_with("WA-R1/wait until")).map(|entry| entry.seq).collect()
}

#[tokio::test]
async fn b4_queues_that_need_days_are_resumed_in_parts_each_message_once_and_none_at_night() {
    for profile in [Profile::AsIs, Profile::Target] {
        let scene = slow(profile, 6, 700).await;
        let begun = scene.sandbox.now();
        let (plan, finished) = scene.plan_and_run().await;
        let named = parts_named(&plan);
        assert!(
            named.len() > 1 && named[0].contains("the last of all is sent by about 2026-11-"),
            "{:?}",
            plan.seen
        );
        assert!(!waits(&scene).is_empty(), "{profile:?}: a later part is waited for");
        all_came_back(&scene, &finished, begun).await;
        assert_eq!(statuses(&scene).iter().filter(|status| *status == "running").count(), 4, "{profile:?}");
    }
}

#[tokio::test]
async fn b4_a_campaign_that_needs_days_on_its_own_is_spread_over_them() {
    for profile in [Profile::AsIs, Profile::Target] {
        let scene = slow(profile, 1, 2_600).await;
        let begun = scene.sandbox.now();
        let (plan, finished) = scene.plan_and_run().await;
        assert!(parts_named(&plan).len() > 1, "{:?}", plan.seen);
        all_came_back(&scene, &finished, begun).await;
        let ended = scene.sandbox.now().duration_since(begun);
        assert!(ended.as_hours() > 40, "{profile:?}: {ended:?}");
    }
}

#[tokio::test]
async fn b4_killed_between_parts_nothing_is_repeated() {
    for profile in [Profile::AsIs, Profile::Target] {
        let calm = slow(profile, 6, 700).await;
        calm.plan_and_run().await;
        for wait in waits(&calm) {
            for at in [wait, wait + 1, wait + 3] {
                let scene = slow(profile, 6, 700).await;
                let begun = scene.sandbox.now();
                let plan = scene.plan().await;
                scene.run_until_killed(approved(&plan, "drill-run"), at).await;
                let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
                assert_eq!(scene.effects(), calm.effects(), "{profile:?}, killed at {at}");
                all_came_back(&scene, &finished, begun).await;
            }
        }
    }
}

#[tokio::test]
async fn b4_stopped_between_parts_the_rest_is_listed_with_the_command() {
    for profile in [Profile::AsIs, Profile::Target] {
        let scene = slow(profile, 6, 700).await;
        let plan = scene.plan().await;
        let calm = slow(profile, 6, 700).await;
        calm.plan_and_run().await;
        scene.run_until_killed(approved(&plan, "drill-run"), waits(&calm)[0]).await;
        scene.journal.abort("lee");
        let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
        assert_eq!(finished.outcome, Outcome::Rejected, "{}", finished.says);
        let left = left(&scene.entries());
        let mut paused = Vec::new();
        for campaign in scene.sandbox.state()["campaigns"].as_array().unwrap() {
            let id: CampaignId = campaign["id"].as_str().unwrap().parse().unwrap();
            let held = left.iter().find(|one| one.kind == "campaign" && one.id == id.to_string());
            let is_paused = campaign["status"] == "paused" && held.is_some();
            if is_paused {
                assert_eq!(held.unwrap().command("drill-run").as_deref(), Some("allclear undo drill-run"));
                paused.push(id);
            }
            let queue = left
                .iter()
                .any(|one| one.kind == "queue" && one.id == id.to_string() && one.now == "skipped");
            assert_eq!(queue, is_paused && profile == Profile::AsIs, "{profile:?}: {left:?}");
        }
        assert!(!paused.is_empty() && paused.len() < 4, "{profile:?}: {paused:?}");
    }
}

#[tokio::test]
async fn messages_that_others_had_skipped_are_in_no_part() {
    let scene = slow(Profile::AsIs, 6, 1_000).await;
    let before = scene.sandbox.with_world(|world| {
        world.let_somebody_skip(|row| row % 3 == 0);
        world.skipped_rows()
    });
    let (plan, finished) = scene.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(!parts_named(&plan).is_empty(), "it needs more than a day: {} {:?}", finished.says, plan.seen);
    let_drain(&scene);
    let after = scene.sandbox.with_world(|world| world.skipped_rows());
    assert_eq!(after, before, "none is given back, and none is moved to another day");
    let counts = by_status(&scene).await;
    assert!(!counts.contains_key("PENDING"), "all the others went out: {counts:?}");
}

#[tokio::test]
async fn b4_a_run_that_was_away_starts_nothing_at_night() {
    for profile in [Profile::AsIs, Profile::Target] {
        let spec = || WorldSpec { profile, ..small(Scenario::named("rate-limited").unwrap()) };
        let calm = Scene::of(spec()).await;
        calm.plan_and_run().await;
        let started = calm.entries().into_iter().filter(|entry| {
            matches!(&entry.event, allclear::engine::Event::Applied { .. })
                && entry.key.contains("campaign.start")
        });
        let started: Vec<u64> = started.map(|entry| entry.seq).collect();
        assert_eq!(started.len(), 4, "{started:?}");
        for (nth, at) in started[..3].iter().enumerate() {
            let scene = Scene::of(spec()).await;
            let plan = scene.plan().await;
            scene.run_until_killed(approved(&plan, "drill-run"), at + 1).await;
            // It comes back at half past one in the night of the recipients.
            scene.clock.advance_to("2026-11-23T23:30:00Z".parse().unwrap());
            let begun = scene.sandbox.now();
            let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
            let zone = TimeZone::get("Africa/Kigali").unwrap();
            let (_, sent) = sent(&scene).await;
            let late: Vec<&Timestamp> = sent
                .iter()
                .filter(|at| **at > begun + std::time::Duration::from_mins(10))
                .filter(|at| quiet().contains(at.to_zoned_datetime(zone.clone()).time()))
                .collect();
            assert!(late.is_empty(), "{profile:?}, killed after {} starts: {late:?}", nth + 1);
            assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
        }
    }
}
