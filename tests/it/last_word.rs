//! What a run says last is so as it says it: also where what it rests on was proven hours ago, by a process that died, or before a
//! wait. Judged by what people or the world did in between.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear::core::owner::{Ended, end};
use allclear::engine::{
    Announcing, Entry, Event, Finished, MemoryJournal, Outcome, SeamError, Terms, execute,
};
use allclear::sandbox::{Fault, FaultSet, Profile, Scenario, Trouble, World, WorldSpec};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::left::{aborted, undo};
use crate::people::{beside, with_status};
use crate::scene::{Scene, approved, small};

const WHATSAPP: &str = "whatsapp-send-failures";
const DISPATCHER: &str = "campaign-dispatcher-stalls";
const STATIONS: &str = "station-redeem-anomalies";

fn spec(scenario: Scenario) -> WorldSpec {
    WorldSpec { vouchers: 40, stations: 4, ..small(scenario) }
}

fn vouchers(scene: &Scene) -> Vec<Value> {
    scene.sandbox.state()["vouchers"].as_array().unwrap().clone()
}

fn id(voucher: &Value) -> Uuid {
    voucher["id"].as_str().unwrap().parse().unwrap()
}

/// The vouchers that replace others, with those.
fn replacements(scene: &Scene) -> Vec<(Uuid, Uuid)> {
    let all = vouchers(scene);
    let of = |one: &Value| Some((id(one), one["replaces"].as_str()?.parse().unwrap()));
    all.iter().filter_map(of).collect()
}

fn posts(scene: &Scene, words: &str) -> usize {
    scene.sandbox.with_world(|world| world.slack_texts()).iter().filter(|text| text.contains(words)).count()
}

/// What somebody does.
type Act<'a> = &'a dyn Fn(&Scene);

/// Dies right before its last word, somebody acts, and it is taken up half a day later.
async fn taken_up_late(
    runbook: &'static str,
    scenario: Scenario,
    act: impl FnOnce(&Scene),
) -> (Scene, Finished) {
    let calm = Scene::with(runbook, Value::Null, spec(scenario)).await;
    let (_, finished) = calm.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{runbook}: {}", finished.says);
    let last = calm.entries().iter().rfind(|entry| !entry.key.starts_with('~')).unwrap().seq;
    let scene = Scene::with(runbook, Value::Null, spec(scenario)).await;
    let plan = scene.plan().await;
    scene.run_until_killed(approved(&plan, "drill-run"), last).await;
    act(&scene);
    scene.clock.advance(Duration::from_hours(12));
    let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
    (scene, finished)
}

fn stop_everything(scene: &Scene) {
    for campaign in with_status(scene, "running") {
        assert!(scene.sandbox.with_world(|world| world.let_somebody_else("stop", campaign)));
    }
}

#[tokio::test]
async fn s1_what_was_proven_before_the_process_died_is_looked_at_again_before_the_last_word() {
    let give_back = |scene: &Scene| {
        let (_, original) = replacements(scene)[0];
        assert!(scene.sandbox.with_world(|world| world.let_somebody_set(original, "issued")));
    };
    let wrong_again = |scene: &Scene| {
        for voucher in vouchers(scene) {
            scene.sandbox.with_world(|world| world.let_scope_be_wrong(id(&voucher)));
        }
    };
    let away = |scene: &Scene| scene.sandbox.with_world(World::let_the_preview_function_vanish);
    let cases: [(&'static str, Scenario, Act<'_>, &str); 5] = [
        (WHATSAPP, Scenario::Outage { minutes: 6 }, &stop_everything, "somebody else took it"),
        (DISPATCHER, Scenario::Stalled, &stop_everything, "somebody else took it"),
        (STATIONS, Scenario::DoubleRedemption, &give_back, "its customer has two"),
        (STATIONS, Scenario::WrongScope, &wrong_again, "somebody else changed the scope"),
        ("voucher-preview-failures", Scenario::PreviewBroken, &away, "fail again"),
    ];
    for (runbook, scenario, act, words) in cases {
        let (scene, finished) = taken_up_late(runbook, scenario, act).await;
        let shown = format!("{runbook} {scenario:?}: {}", finished.says);
        assert_eq!(finished.outcome, Outcome::Refuted, "{shown}");
        assert!(finished.says.contains(words), "{shown}");
        assert_eq!(posts(&scene, "ends as refuted"), 1, "{shown}: people are told");
    }
}

#[tokio::test]
async fn s1_where_nothing_happened_meanwhile_a_late_last_word_is_as_good() {
    for (runbook, scenario) in
        [(WHATSAPP, Scenario::Outage { minutes: 6 }), (STATIONS, Scenario::DoubleRedemption)]
    {
        let (scene, finished) = taken_up_late(runbook, scenario, |_| ()).await;
        assert_eq!(finished.outcome, Outcome::Verified, "{runbook}: {}", finished.says);
        assert_eq!(posts(&scene, "ends as refuted"), 0, "{runbook}");
    }
}

#[tokio::test]
async fn s1_an_all_clear_says_as_of_when_it_is() {
    let (_, finished) = taken_up_late(STATIONS, Scenario::Healthy, |_| ()).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(finished.says.contains("(as it was at 2026-11-23 07:00 UTC)"), "{}", finished.says);
}

#[tokio::test]
async fn s2_s3_a_voucher_that_somebody_changes_before_the_run_tells_of_it_is_not_counted() {
    let scene = Scene::with(STATIONS, Value::Null, spec(Scenario::DoubleRedemption)).await;
    let first = scene.sandbox.with_world(|world| world.vouchers_redeemed_twice()[0]);
    let act = move |world: &mut World| assert!(world.let_somebody_set(first, "issued"));
    let finished = beside(&scene, "incident_note", Box::new(act)).await;
    let shown = finished.says;
    assert_ne!(finished.outcome, Outcome::Verified, "{shown}");
    assert!(shown.contains("its customer has two"), "{shown}");
}

#[tokio::test]
async fn s5_a_replacement_that_somebody_gives_out_by_hand_is_left_to_them_and_the_others_go_on() {
    let scene = Scene::with(STATIONS, Value::Null, spec(Scenario::DoubleRedemption)).await;
    let act = |world: &mut World| {
        let held = world.vouchers_held();
        assert!(world.let_somebody_set(held[0], "issued"));
    };
    // Once the first one is held.
    let finished = beside(&scene, "effect\":\"voucher.void\"", Box::new(act)).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(
        finished.says.contains("gave its replacement") && finished.says.contains("by hand"),
        "{}",
        finished.says
    );
    assert!(!finished.says.contains("another run"), "{}", finished.says);
    let released = scene.effects().iter().filter(|((effect, _), _)| effect == "voucher.release").count();
    assert_eq!(released, 2, "the others: {:?}", scene.effects());
}

/// A run that skipped messages, was ended, and whose campaigns a person started since.
async fn skipped_by_ended() -> Scene {
    let outage = WorldSpec { profile: Profile::AsIs, ..small(Scenario::Outage { minutes: 6 }) };
    let skipped = |entry: &Entry| entry.key.contains("send_queue.skip/verify");
    let scene = aborted((WHATSAPP, Value::Null, outage), |_| (), skipped).await;
    for campaign in with_status(&scene, "paused") {
        scene.sandbox.with_world(|world| world.let_somebody_else("start", campaign));
    }
    scene.clock.advance(Duration::from_hours(1));
    assert!(!skipped_rows(&scene).is_empty());
    scene
}

fn skipped_rows(scene: &Scene) -> Vec<i64> {
    scene.sandbox.with_world(|world| world.skipped_rows().into_iter().map(|(row, _)| row).collect())
}

fn running(world: &World) -> Vec<Uuid> {
    let all = world.summary()["campaigns"].as_array().unwrap().clone();
    all.iter().filter(|one| one["status"] == "running").map(id).collect()
}

/// Somebody pauses and starts all that runs.
fn replay_all(world: &mut World) {
    for campaign in running(world) {
        assert!(world.let_somebody_else("pause", campaign) && world.let_somebody_else("start", campaign));
    }
}

/// Another run, from another machine: it knows what the platform's record says.
async fn next(scene: &Scene, runbook: &'static str) -> Finished {
    let next = scene.of_runbook(runbook);
    let plan = allclear::engine::plan(&*next, of(scene, "next"), scene.clock.clone()).await.unwrap();
    let seam = MemoryJournal::new().seam(scene.clock.clone()).unwrap();
    execute(&*next, Box::new(seam), approved(&plan, "next"), of(scene, "next")).await.unwrap()
}

#[tokio::test]
async fn s4_messages_that_an_ended_run_skipped_keep_a_run_that_cannot_give_them_back_from_an_all_clear() {
    let scene = skipped_by_ended().await;
    let finished = next(&scene, DISPATCHER).await;
    assert_ne!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let (_, undone) = undo(&scene).await;
    assert_eq!(undone.unwrap().outcome, Outcome::Undone);
    assert!(skipped_rows(&scene).is_empty());
}

#[tokio::test]
async fn s4_messages_that_an_ended_run_skipped_are_given_back_by_the_next_and_sent() {
    let scene = skipped_by_ended().await;
    let finished = next(&scene, WHATSAPP).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(
        finished.says.contains("the messages again that run drill-run had left skipped"),
        "{}",
        finished.says
    );
    assert!(skipped_rows(&scene).is_empty());
    scene.clock.advance(Duration::from_hours(3));
    scene.sandbox.state();
    assert_eq!(scene.sandbox.with_world(|world| world.due()), 0, "all of it went out");
}

#[tokio::test]
async fn s4_what_a_person_paused_since_is_not_sent_by_giving_back_its_messages() {
    let scene = skipped_by_ended().await;
    let rows = skipped_rows(&scene).len();
    // A dispatcher that looks at no campaign's status would send them.
    let act = |world: &mut World| {
        for campaign in running(world) {
            assert!(world.let_somebody_else("pause", campaign));
        }
    };
    let runbook = scene.of_runbook(WHATSAPP);
    let terms = of(&scene, "next");
    let plan = allclear::engine::plan(&*runbook, terms, scene.clock.clone()).await.unwrap();
    scene.sandbox.with_world(act);
    let seam = MemoryJournal::new().seam(scene.clock.clone()).unwrap();
    let finished =
        execute(&*runbook, Box::new(seam), approved(&plan, "next"), of(&scene, "next")).await.unwrap();
    assert_ne!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(skipped_rows(&scene).len(), rows, "{}", finished.says);
}

fn of(scene: &Scene, run: &str) -> Terms {
    Terms { run: run.to_owned(), input: Value::Null, ..scene.terms() }
}

#[tokio::test]
async fn s8_what_a_run_looks_at_does_not_move_while_it_is_away() {
    let scene = Scene::with(STATIONS, Value::Null, spec(Scenario::DoubleRedemption)).await;
    let plan = scene.plan().await;
    scene.run_until_killed(approved(&plan, "drill-run"), 2).await;
    scene.clock.advance(Duration::from_hours(30));
    let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(finished.says.contains("3 vouchers were voided and replaced"), "{}", finished.says);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn e1_a_run_that_was_taken_over_while_it_was_suspended_says_nothing_more() {
    let scene = Scene::with(STATIONS, Value::Null, spec(Scenario::DoubleRedemption)).await;
    let plan = scene.plan().await;
    let announcing = || Announcing::on(scene.platform.announcements.clone(), "a laptop");
    let terms = || Terms { announcing: Some(announcing()), ..scene.terms() };
    let record = scene.platform.announcements.clone();
    let taken = std::sync::Mutex::new(false);
    let handle = tokio::runtime::Handle::current();
    // As the last effect is applied, somebody says that its machine is gone.
    let listener = move |entry: &Entry| {
        let is_last = matches!(&entry.event, Event::Judged { effect, .. } if effect == "slack.post");
        if is_last && !std::mem::replace(&mut *taken.lock().unwrap(), true) {
            let gone = Ended::taken_over("taken over by lee on a desk: burnt".to_owned());
            let record = record.clone();
            let told = handle.spawn(async move { end(&*record, STATIONS, "drill-run", &gone).await });
            while !told.is_finished() {
                std::thread::yield_now();
            }
        }
    };
    let terms = Terms { listener: Some(std::sync::Arc::new(listener)), ..terms() };
    let seam = scene.journal.seam(scene.clock.clone()).unwrap();
    let ended = execute(&*scene.runbook(), Box::new(seam), approved(&plan, "drill-run"), terms).await;
    assert!(matches!(&ended, Err(SeamError::Owned { says, .. }) if says.contains("taken over")), "{ended:?}");
}

#[tokio::test]
async fn e3_one_bad_answer_to_the_last_look_ends_nothing() {
    let spec = || WorldSpec { vouchers: 40, ..small(Scenario::PreviewBroken) };
    for status in [429, 503, 404] {
        let scene = Scene::with("voucher-preview-failures", Value::Null, spec()).await;
        let glitch = move |world: &mut World| {
            let says = json!({ "says": { "status": status, "body": "a glitch" } });
            let trouble = json!({ "calls": "GET /supabase/storage", "answer": says });
            world.trouble(serde_json::from_value::<Trouble>(trouble).unwrap());
        };
        // The message is sent, and only the look before the end is still to come.
        let finished = beside(&scene, "channel #ops previews work", Box::new(glitch)).await;
        assert_eq!(finished.outcome, Outcome::Verified, "{status}: {}", finished.says);
    }
}

/// Dies right before its first pause, and is taken up so many minutes later.
async fn dies_before_the_first_pause(
    scenario: Scenario,
    minutes: u64,
    act: impl FnOnce(&Scene),
) -> (Scene, Finished) {
    let calm = Scene::of(spec(scenario)).await;
    calm.plan_and_run().await;
    let pauses =
        |entry: &&Entry| matches!(&entry.event, Event::Intended { effect, .. } if effect == "campaign.pause");
    let first = calm.entries().iter().find(pauses).unwrap().seq;
    let scene = Scene::of(spec(scenario)).await;
    let plan = scene.plan().await;
    scene.run_until_killed(approved(&plan, "drill-run"), first - 1).await;
    act(&scene);
    scene.clock.advance(Duration::from_mins(minutes));
    let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
    (scene, finished)
}

#[tokio::test]
async fn f4_f6_what_was_found_hours_ago_is_looked_at_again_before_anything_is_touched_or_told() {
    let replay = |scene: &Scene| {
        for campaign in with_status(scene, "running") {
            for action in ["pause", "start"] {
                assert!(scene.sandbox.with_world(|world| world.let_somebody_else(action, campaign)));
            }
        }
    };
    let nothing = |_: &Scene| ();
    // While messages are sent still: silence would say nothing.
    let cases: [(Scenario, u64, Act<'_>); 2] =
        [(Scenario::Outage { minutes: 6 }, 22, &nothing), (Scenario::Stalled, 120, &replay)];
    for (scenario, minutes, act) in cases {
        let (scene, finished) = dies_before_the_first_pause(scenario, minutes, act).await;
        let shown = format!("{scenario:?}: {} {:?}", finished.says, scene.effects());
        assert_eq!(finished.outcome, Outcome::Refuted, "{shown}");
        let touched =
            ["campaign.pause", "campaign.start", "provider.ticket", "pagerduty.trigger", "slack.post"];
        assert!(scene.effects().keys().all(|(effect, _)| !touched.contains(&effect.as_str())), "{shown}");
    }
}

/// Dies after its first pause, somebody replays what runs still, and it is taken up again.
async fn replayed_between_pauses(runbook: &'static str, scenario: Scenario) {
    let calm = Scene::with(runbook, Value::Null, spec(scenario)).await;
    calm.plan_and_run().await;
    let pauses =
        |entry: &&Entry| matches!(&entry.event, Event::Intended { effect, .. } if effect == "campaign.pause");
    let second = calm.entries().iter().filter(pauses).nth(1).unwrap().seq;
    let scene = Scene::with(runbook, Value::Null, spec(scenario)).await;
    let plan = scene.plan().await;
    scene.run_until_killed(approved(&plan, "drill-run"), second - 1).await;
    let theirs = with_status(&scene, "running");
    assert!(theirs.len() > 1, "{runbook}");
    scene.sandbox.with_world(replay_all);
    let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
    let shown = format!("{runbook}: {} {:?}", finished.says, scene.effects());
    assert_ne!(finished.outcome, Outcome::Verified, "{shown}");
    let touched = |effect: &str, campaign: &Uuid| {
        scene.effects().contains_key(&(effect.to_owned(), campaign.to_string()))
    };
    for campaign in &theirs {
        for effect in ["campaign.pause", "campaign.stop", "campaign.start"] {
            assert!(!touched(effect, campaign), "{effect}: {shown}");
        }
    }
    assert_eq!(with_status(&scene, "running").len(), theirs.len() + 1, "{shown}: the paused one runs again");
}

#[tokio::test]
async fn f5_what_somebody_replays_between_two_pauses_of_a_run_is_theirs() {
    replayed_between_pauses(DISPATCHER, Scenario::Stalled).await;
    replayed_between_pauses(WHATSAPP, Scenario::Outage { minutes: 6 }).await;
}

#[tokio::test]
async fn f5_what_somebody_starts_anew_after_the_run_did_is_not_paused_again() {
    for (runbook, scenario) in
        [(WHATSAPP, Scenario::Flapping { minutes: 6 }), (DISPATCHER, Scenario::StalledOneTick)]
    {
        let scene = Scene::with(runbook, Value::Null, spec(scenario)).await;
        let theirs: Arc<Mutex<Vec<Uuid>>> = Arc::default();
        let seen = Arc::clone(&theirs);
        let act = move |world: &mut World| {
            seen.lock().unwrap().extend(running(world));
            // People are no machines.
            world.advance_to(world.now() + Duration::from_secs(5));
            replay_all(world);
        };
        let finished = beside(&scene, "was resumed", Box::new(act)).await;
        let (effects, theirs) = (scene.effects(), theirs.lock().unwrap().clone());
        let shown = format!("{runbook}: {} {effects:?}", finished.says);
        assert_ne!(finished.outcome, Outcome::Verified, "{shown}");
        assert!(!theirs.is_empty(), "{shown}");
        for campaign in theirs {
            let pauses = effects.get(&("campaign.pause".to_owned(), campaign.to_string()));
            assert_eq!(pauses, Some(&1), "{shown}: it is not paused a second time");
        }
    }
}

#[tokio::test]
async fn f7_a_start_that_does_not_hold_is_told_at_once() {
    for (runbook, scenario) in [(WHATSAPP, Scenario::Outage { minutes: 6 }), (DISPATCHER, Scenario::Stalled)]
    {
        let faults = FaultSet::of(Profile::Target).with(Fault::StartNotEffective);
        let lying = WorldSpec { faults: Some(faults), profile: Profile::Target, ..spec(scenario) };
        let scene = Scene::with(runbook, Value::Null, lying).await;
        let (_, finished) = scene.plan_and_run().await;
        assert_ne!(finished.outcome, Outcome::Verified, "{runbook}: {}", finished.says);
        let paused = scene.effects().keys().filter(|(effect, _)| effect == "campaign.pause").count();
        assert!(paused > 1, "{runbook}");
        assert_eq!(posts(&scene, "was started and that does not hold"), paused, "{runbook}");
    }
}
