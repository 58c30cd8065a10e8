//! What an ended run left for others to say: its open pages, its alarms, its row in the platform's record, the messages that it
//! skipped. Judged by PagerDuty, Slack, the audit log and the queue.

use std::time::Duration;

use allclear::core::owner::{Announcement, Ended, announce, end};
use allclear::engine::{Entry, Finished, MemoryJournal, Outcome, Terms, execute, plan};
use allclear::sandbox::{Profile, Scenario, Trouble, World, WorldSpec};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::left::aborted;
use crate::people::{beside, listening, with_status};
use crate::scene::{Scene, approved, small};

const WHATSAPP: &str = "whatsapp-send-failures";
const DISPATCHER: &str = "campaign-dispatcher-stalls";
const PREVIEWS: &str = "voucher-preview-failures";
const STATIONS: &str = "station-redeem-anomalies";

/// A dispatcher that looks at no campaign's status, so that the queue has to be stopped.
fn outage(minutes: u64) -> WorldSpec {
    WorldSpec { profile: Profile::AsIs, ..small(Scenario::Outage { minutes }) }
}

/// Another run, an hour later and from another machine: it knows what the platform's record says.
async fn next(scene: &Scene, runbook: &'static str) -> Finished {
    next_in(scene, runbook, &MemoryJournal::new()).await
}

async fn next_in(scene: &Scene, runbook: &'static str, journal: &MemoryJournal) -> Finished {
    next_about(scene, runbook, &Value::Null, journal).await
}

/// The same about less than all.
async fn next_about(
    scene: &Scene,
    runbook: &'static str,
    input: &Value,
    journal: &MemoryJournal,
) -> Finished {
    scene.clock.advance(Duration::from_hours(1));
    let terms = || Terms { run: "next".to_owned(), input: input.clone(), ..scene.terms() };
    let entry = allclear::runbooks::find(runbook).unwrap();
    let next = (entry.build)(input.clone(), scene.platform.clone()).unwrap();
    let plan = plan(&*next, terms(), scene.clock.clone()).await.unwrap();
    let seam = journal.seam(scene.clock.clone()).unwrap();
    execute(&*next, Box::new(seam), approved(&plan, "next"), terms()).await.unwrap()
}

fn open_pages(scene: &Scene) -> Vec<String> {
    scene.sandbox.with_world(|world| world.open_pages())
}

fn posts(scene: &Scene, words: &str) -> usize {
    scene.sandbox.with_world(|world| world.slack_texts()).iter().filter(|text| text.contains(words)).count()
}

fn skipped(scene: &Scene) -> Vec<i64> {
    scene.sandbox.with_world(|world| world.skipped_rows()).into_iter().map(|(row, _)| row).collect()
}

fn rows_of(scene: &Scene, action: &str) -> u64 {
    scene.sandbox.state()["audit_by_us"][action].as_u64().unwrap_or_default()
}

#[tokio::test]
async fn f5_a_page_and_an_alarm_of_an_ended_run_are_answered_by_the_next() {
    let stalled = small(Scenario::StalledUnreachable { minutes: 20 });
    for (runbook, spec) in [(WHATSAPP, outage(30)), (DISPATCHER, stalled)] {
        let paged = |entry: &Entry| entry.key.contains("pagerduty.trigger/verify");
        let scene = aborted((runbook, Value::Null, spec), |_| (), paged).await;
        let own = |scene: &Scene| {
            // Not the alert that told of the incident.
            let ours = |title: &&String| title.contains("15 minutes") || title.contains("dispatcher is");
            open_pages(scene).iter().filter(ours).count()
        };
        assert_eq!(own(&scene), 1, "{runbook}");
        let finished = next(&scene, runbook).await;
        assert_eq!(finished.outcome, Outcome::Verified, "{runbook}: {}", finished.says);
        assert_eq!(own(&scene), 0, "{runbook}: {}", finished.says);
        let resolutions = scene
            .sandbox
            .with_world(|world| world.told())
            .into_iter()
            .filter(|row| row.starts_with("incident_resolution"));
        let resolutions: Vec<String> = resolutions.collect();
        assert_eq!(resolutions.len(), 1, "{runbook}: {resolutions:?}");
    }
}

#[tokio::test]
async fn f5_a_line_that_is_the_last_word_in_the_channel_is_answered_by_the_next() {
    let written = |entry: &Entry| entry.key.contains("escalation/slack.post/verify");
    let scene = aborted((WHATSAPP, Value::Null, outage(30)), |_| (), written).await;
    assert_eq!((posts(&scene, "WhatsApp sends fail"), posts(&scene, "is over")), (1, 0));
    let finished = next(&scene, WHATSAPP).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(posts(&scene, "What run drill-run said here is over"), 1, "{}", finished.says);
    // Once: whoever comes after has nothing to answer.
    next(&scene, WHATSAPP).await;
    assert_eq!(posts(&scene, "is over"), 1);
}

#[tokio::test]
async fn f4_previews_that_an_ended_run_repaired_are_told_and_their_incident_is_closed() {
    let repaired = |entry: &Entry| entry.key.starts_with("VP-R1") && entry.key.contains("/verify");
    let spec = small(Scenario::PreviewBroken);
    let scene = aborted((PREVIEWS, Value::Null, spec), |_| (), repaired).await;
    assert_eq!((open_pages(&scene).len(), posts(&scene, "Voucher previews unavailable")), (1, 1));
    let finished = next(&scene, PREVIEWS).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(open_pages(&scene), Vec::<String>::new(), "{}", finished.says);
    assert_eq!(posts(&scene, "is over"), 1, "{}", finished.says);
}

#[tokio::test]
async fn f1_what_somebody_skips_right_before_the_run_does_stays_skipped() {
    for moment in ["allclear_skips", "\"effect\":\"send_queue.skip\""] {
        let scene = Scene::with(WHATSAPP, Value::Null, outage(6)).await;
        let act = |world: &mut World| assert!(!world.let_somebody_skip(|row| row % 50 == 0).is_empty());
        let finished = beside(&scene, moment, Box::new(act)).await;
        let left = skipped(&scene);
        assert!(!left.is_empty(), "{moment}: {}", finished.says);
        assert!(left.iter().all(|row| row % 50 == 0), "{moment}: {left:?} {}", finished.says);
        scene.clock.advance(Duration::from_hours(3));
        scene.sandbox.state();
        assert_eq!(scene.sandbox.with_world(|world| world.due()), 0, "{moment}: all others went out");
    }
}

#[tokio::test]
async fn f1_what_somebody_skips_after_a_run_died_before_it_skipped_anything_is_theirs() {
    let set_out = |entry: &Entry| entry.key.contains("allclear_skips") && entry.key.contains("/verify");
    let scene = aborted((WHATSAPP, Value::Null, outage(6)), |_| (), set_out).await;
    assert!(skipped(&scene).is_empty());
    let theirs = scene.sandbox.with_world(|world| world.let_somebody_skip(|row| row % 50 == 0));
    assert!(!theirs.is_empty());
    let finished = next(&scene, WHATSAPP).await;
    let left = skipped(&scene);
    assert!(theirs.iter().all(|row| left.contains(row)), "{theirs:?} {left:?} {}", finished.says);
}

#[tokio::test]
async fn f2_skipped_messages_of_a_campaign_that_somebody_took_are_named_by_the_next_run() {
    for action in ["pause", "stop"] {
        let started = |entry: &Entry| entry.key.contains("campaign.start/verify");
        let scene = aborted((WHATSAPP, Value::Null, outage(6)), |_| (), started).await;
        let before = skipped(&scene).len();
        assert!(before > 0);
        for campaign in with_status(&scene, "running") {
            scene.sandbox.with_world(|world| world.let_somebody_else(action, campaign));
        }
        let journal = MemoryJournal::new();
        let finished = next_in(&scene, WHATSAPP, &journal).await;
        assert_ne!(finished.outcome, Outcome::Verified, "{action}: {}", finished.says);
        let told = serde_json::to_string(&journal.entries().unwrap()).unwrap();
        assert!(told.contains("skipped by run drill-run, which has ended"), "{action}: {}", finished.says);
    }
}

#[tokio::test]
async fn b1_one_refusal_of_the_row_that_names_what_is_held_loses_nothing() {
    for action in ["allclear_holds", "allclear_skips", "allclear_skipped"] {
        let scene = Scene::with(WHATSAPP, Value::Null, outage(6)).await;
        let refuse = |world: &mut World| {
            let says = json!({ "says": { "status": 401, "body": "{\"message\":\"JWT expired\"}" } });
            let trouble = json!({ "calls": "POST /supabase/rest/v1/audit_log", "answer": says });
            world.trouble(serde_json::from_value::<Trouble>(trouble).unwrap());
        };
        let plan = scene.plan().await;
        let terms = listening(&scene, action, Box::new(refuse));
        let mut finished = scene.run(approved(&plan, "drill-run"), terms).await;
        if finished.outcome == Outcome::Interrupted {
            finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
        }
        assert_eq!(finished.outcome, Outcome::Verified, "{action}: {}", finished.says);
        let named = rows_of(&scene, "allclear_skipped");
        assert!(named >= 1 && rows_of(&scene, "allclear_holds") == 1, "{action}: {}", finished.says);
    }
}

#[tokio::test]
async fn b3_notifications_that_failed_while_an_ended_run_had_the_campaigns_are_put_back_by_the_next() {
    let paused = |entry: &Entry| entry.key.contains("send_queue.skip/verify") && !entry.key.contains("-R1");
    let scene = aborted((WHATSAPP, Value::Null, outage(6)), |_| (), paused).await;
    let failed = |scene: &Scene| {
        scene.sandbox.with_world(|world| world.notification_statuses()).get("failed").copied().unwrap_or(0)
    };
    assert!(failed(&scene) > 0);
    let finished = next(&scene, WHATSAPP).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(failed(&scene), 0, "{}", finished.says);
}

#[tokio::test]
async fn f3_a_voucher_whose_worth_somebody_changes_is_gone_on_with_after_one_question_for_each_effect() {
    let spec = WorldSpec { vouchers: 40, stations: 4, ..small(Scenario::DoubleRedemption) };
    let scene = Scene::with(STATIONS, Value::Null, spec).await;
    let plan = scene.plan().await;
    let first: Uuid = scene.sandbox.with_world(|world| world.vouchers_redeemed_twice()[0]);
    scene.sandbox.with_world(|world| assert!(world.let_somebody_change_the_worth(first, 700)));
    let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
    assert!(
        [Outcome::Verified, Outcome::Unverified].contains(&finished.outcome),
        "{} {}",
        finished.outcome,
        finished.says
    );
    assert!(scene.sandbox.with_world(|world| world.vouchers_held()).is_empty(), "{}", finished.says);
}

#[tokio::test]
async fn f5_a_narrower_run_in_between_lets_nothing_be_forgotten() {
    let paged = |entry: &Entry| entry.key.contains("pagerduty.trigger/verify");
    let scene = aborted((WHATSAPP, Value::Null, outage(30)), |_| (), paged).await;
    let own = |scene: &Scene| open_pages(scene).iter().filter(|title| title.contains("15 minutes")).count();
    let one = with_status(&scene, "paused")[0];
    let narrow = json!({ "campaigns": [one] });
    let finished = next_about(&scene, WHATSAPP, &narrow, &MemoryJournal::new()).await;
    assert_eq!(own(&scene), 1, "{}", finished.says);
    assert!(!finished.says.contains("had left open was ended"), "{}", finished.says);
    let word = |word: &str| word.to_owned();
    let says = Announcement {
        run: word("next"),
        runbook: word(WHATSAPP),
        by: word("kim"),
        host: word("a laptop"),
        environment: word("sandbox"),
    };
    announce(&*scene.platform.announcements, &says, None).await.unwrap();
    end(&*scene.platform.announcements, WHATSAPP, "next", &Ended::by_itself("verified")).await.unwrap();
    let journal = MemoryJournal::new();
    let third = next_named(&scene, "third", &journal).await;
    assert_eq!(third.outcome, Outcome::Verified, "{}", third.says);
    assert_eq!(own(&scene), 0, "{}", third.says);
}

async fn next_named(scene: &Scene, run: &str, journal: &MemoryJournal) -> Finished {
    let terms = || Terms { run: run.to_owned(), input: Value::Null, ..scene.terms() };
    let next = scene.of_runbook(WHATSAPP);
    let plan = plan(&*next, terms(), scene.clock.clone()).await.unwrap();
    let seam = journal.seam(scene.clock.clone()).unwrap();
    execute(&*next, Box::new(seam), approved(&plan, run), terms()).await.unwrap()
}

#[tokio::test]
async fn b1_campaigns_that_a_run_paused_are_no_all_clear_though_no_row_names_them() {
    for runbook in [DISPATCHER, WHATSAPP] {
        let spec = if runbook == DISPATCHER { small(Scenario::Stalled) } else { outage(6) };
        let paused =
            |entry: &Entry| entry.key.contains("campaign.pause/verify") && !entry.key.contains("-R1");
        let scene = aborted((runbook, Value::Null, spec), |_| (), paused).await;
        scene.sandbox.with_world(|world| assert!(world.lose_audit_rows("allclear_holds") > 0));
        let finished = next(&scene, runbook).await;
        assert_ne!(finished.outcome, Outcome::Verified, "{runbook}: {}", finished.says);
    }
}

#[tokio::test]
async fn b3_notifications_are_put_back_also_where_only_skipped_messages_were_left() {
    let started = |entry: &Entry| entry.key.contains("campaign.start/verify");
    let scene = aborted((WHATSAPP, Value::Null, outage(6)), |_| (), started).await;
    let failed = |scene: &Scene| {
        scene.sandbox.with_world(|world| world.notification_statuses()).get("failed").copied().unwrap_or(0)
    };
    assert!(failed(&scene) > 0 && !skipped(&scene).is_empty());
    let finished = next(&scene, WHATSAPP).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!((failed(&scene), skipped(&scene).len()), (0, 0), "{}", finished.says);
}
