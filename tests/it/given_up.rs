//! Messages that the dispatcher gave up because of what is over: none is lost in a run that ends verified, and nobody gets one
//! twice. Judged by the platform's rows and its send log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use allclear::core::VirtualClock;
use allclear::core::policy::{QuietHours, SendPolicy};
use allclear::engine::gate::Question;
use allclear::engine::{Answer, Attention, Event, Finished, Humans, MemoryJournal, Outcome, Terms, execute};
use allclear::sandbox::{Profile, Scenario, WorldSpec};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::left::{aborted, undo};
use crate::parts::rows;
use crate::people::{Act, beside};
use crate::scene::{Scene, approved, drill, small};

const WHATSAPP: &str = "whatsapp-send-failures";
const DISPATCHER: &str = "campaign-dispatcher-stalls";
const LIMITED: &str = r#"{"error":{"message":"(#130429) Rate limit hit","code":130429}}"#;

/// Queues so short that each message is tried often.
fn short(profile: Profile, minutes: u64) -> WorldSpec {
    WorldSpec { profile, targets_per_campaign: 60, ..small(Scenario::RateLimited { minutes }) }
}

/// A world that has been failing for so long when somebody begins.
async fn late(spec: WorldSpec, minutes: u64) -> Scene {
    let scene = Scene::with(WHATSAPP, Value::Null, spec).await;
    let begins = scene.sandbox.now() + Duration::from_mins(minutes);
    scene.clock.advance_to(begins);
    scene.sandbox.with_world(|world| world.advance_to(begins));
    scene
}

fn drain(scene: &Scene) {
    let later = scene.sandbox.now() + Duration::from_hours(1);
    scene.sandbox.with_world(|world| world.advance_to(later));
}

/// The rows that are given up.
async fn given_up(scene: &Scene) -> BTreeSet<i64> {
    let all = rows(scene, "send_queue?select=id,status&status=eq.FAILED").await;
    all.iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

/// How often the message went out to each recipient of each campaign.
async fn got(scene: &Scene) -> BTreeMap<(String, String), usize> {
    let mut times = BTreeMap::new();
    for row in rows(scene, "send_logs?select=id,campaign_id,msisdn_e164&error=is.null").await {
        let Some(campaign) = row["campaign_id"].as_str() else { continue };
        let to = (campaign.to_owned(), row["msisdn_e164"].as_str().unwrap().to_owned());
        *times.entry(to).or_default() += 1;
    }
    times
}

/// That a verified run loses no message of its campaigns and sends none twice.
async fn nothing_lost_and_nothing_twice(scene: &Scene, finished: &Finished, how: &str) {
    assert_eq!(finished.outcome, Outcome::Verified, "{how}: {}", finished.says);
    drain(scene);
    assert_eq!(given_up(scene).await, BTreeSet::new(), "{how}: {}", finished.says);
    let times = got(scene).await;
    let queued = rows(scene, "send_queue?select=id").await.len();
    assert_eq!(times.len(), queued, "{how}: each recipient; {}", finished.says);
    assert!(times.values().all(|times| *times == 1), "{how}: once");
}

fn running(scene: &Scene) -> Vec<Uuid> {
    let state = scene.sandbox.state();
    let all = state["campaigns"].as_array().unwrap();
    let running = all.iter().filter(|one| one["status"] == "running");
    running.map(|one| one["id"].as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn s1_what_a_limit_used_up_before_the_run_began_is_put_back_and_sent() {
    for profile in [Profile::AsIs, Profile::Target] {
        // While it lasts, right after, so long after that nothing is paused for it, and when nobody sees it any more.
        for (lasts, begins) in [(20, 12), (12, 12), (12, 15), (12, 22)] {
            let how = format!("{profile:?}: a limit of {lasts} minutes, {begins} minutes in");
            let scene = late(short(profile, lasts), begins).await;
            assert!(given_up(&scene).await.len() > 5, "{how}: {:?}", given_up(&scene).await);
            let before = given_up(&scene).await.len();
            let (plan, finished) = scene.plan_and_run().await;
            let told: Vec<&String> = plan.effects.iter().flat_map(|one| &one.notes).collect();
            let counted: usize = told
                .iter()
                .filter(|note| note.contains("given up because WhatsApp limited our rate"))
                .map(|note| note.split(' ').next().unwrap().parse::<usize>().unwrap())
                .sum();
            assert_eq!(counted, before, "{how}: {told:?}");
            nothing_lost_and_nothing_twice(&scene, &finished, &how).await;
        }
    }
}

#[tokio::test]
async fn s1_what_was_given_up_long_ago_is_no_all_clear() {
    for (text, says) in [(LIMITED, "nothing is paused"), ("it broke", "all clear")] {
        let scene = Scene::with(WHATSAPP, Value::Null, small(Scenario::Healthy)).await;
        let campaign = running(&scene)[0];
        let given = scene.sandbox.with_world(|world| world.let_messages_be_given_up(campaign, 3, Some(text)));
        let (_, finished) = scene.plan_and_run().await;
        assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
        assert!(finished.says.starts_with(says), "{}", finished.says);
        let back = given_up(&scene).await.is_empty();
        assert_eq!(back, text == LIMITED, "{}", finished.says);
        let told = serde_json::to_string(&scene.entries()).unwrap();
        assert!(back || told.contains("were given up and are not put back: 3"), "{given:?}");
    }
    // Nothing was sent for half an hour, which proves nothing.
    let scene = late(short(Profile::AsIs, 12), 60).await;
    assert!(given_up(&scene).await.len() > 5);
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
}

/// Says yes, and takes so long for it.
struct Slow {
    clock: Arc<VirtualClock>,
    takes: Duration,
}

#[async_trait::async_trait]
impl Humans for Slow {
    async fn ask(&self, question: &Question, _given: &[Answer]) -> Attention {
        self.clock.advance(self.takes);
        Attention::Answer(Answer::to(question, "approve", "incident-commander"))
    }
}

#[tokio::test]
async fn s1_what_is_given_up_while_people_think_is_put_back_and_sent() {
    for minutes in [10, 20] {
        let scene = Scene::with(WHATSAPP, Value::Null, short(Profile::AsIs, 20)).await;
        let plan = scene.plan().await;
        let humans = Arc::new(Slow { clock: scene.clock.clone(), takes: Duration::from_mins(minutes) });
        let finished = scene.run(approved(&plan, "drill-run"), Terms { humans, ..scene.terms() }).await;
        let back = scene.effects().keys().filter(|(effect, _)| effect == "send_queue.put_back").count();
        assert!(back > 0, "{minutes}: {:?}", scene.effects());
        let drifted = scene.entries().iter().any(|one| matches!(one.event, Event::Drifted { .. }));
        assert!(!drifted, "the plan names it");
        nothing_lost_and_nothing_twice(&scene, &finished, &format!("{minutes} minutes")).await;
    }
}

#[tokio::test]
async fn s1_killed_at_each_entry_of_the_put_back_nothing_is_lost_or_sent_twice() {
    for profile in [Profile::AsIs, Profile::Target] {
        let calm = late(short(profile, 20), 12).await;
        calm.plan_and_run().await;
        let marks: Vec<u64> = calm
            .entries()
            .iter()
            .filter(|one| one.key.contains("send_queue.put_back"))
            .map(|one| one.seq)
            .collect();
        assert!(marks.len() > 4, "{marks:?}");
        for at in marks {
            for away in [0, 3] {
                let scene = late(short(profile, 20), 12).await;
                let plan = scene.plan().await;
                scene.run_until_killed(approved(&plan, "drill-run"), at).await;
                let back = scene.sandbox.now() + Duration::from_hours(away);
                scene.clock.advance_to(back);
                let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
                let how = format!("{profile:?}, killed at {at}, away for {away} h");
                nothing_lost_and_nothing_twice(&scene, &finished, &how).await;
            }
        }
    }
}

#[tokio::test]
async fn s1_of_a_campaign_that_somebody_took_nothing_is_put_back_and_that_is_told() {
    for actions in [&["pause"][..], &["start", "pause"], &["stop"]] {
        let scene = late(short(Profile::Target, 20), 12).await;
        let taken = running(&scene)[0];
        let before = given_up(&scene).await;
        let act: Act = Box::new(move |world| {
            for action in actions {
                assert!(world.let_somebody_else(action, taken));
            }
        });
        let finished = beside(&scene, "the rate limit is honoured", act).await;
        drain(&scene);
        let theirs: BTreeSet<i64> =
            rows(&scene, &format!("send_queue?select=id,status&campaign_id=eq.{taken}&status=eq.FAILED"))
                .await
                .iter()
                .map(|row| row["id"].as_i64().unwrap())
                .collect();
        assert!(!theirs.is_empty() && theirs.is_subset(&before), "{actions:?}: {theirs:?}");
        assert_eq!(given_up(&scene).await, theirs, "{actions:?}: of the others none; {}", finished.says);
        let told = scene.entries().iter().any(|one| {
            serde_json::to_string(&one.event).unwrap().contains("it is not this run's, so they are left")
        });
        assert!(told, "{actions:?}: {}", finished.says);
    }
}

#[tokio::test]
async fn s1_what_an_ended_run_held_comes_back_with_what_was_given_up_of_it() {
    for profile in [Profile::AsIs, Profile::Target] {
        let give_up = |world: &mut allclear::sandbox::World| {
            let state = world.summary();
            let campaigns = state["campaigns"].as_array().unwrap();
            let running = campaigns.iter().filter(|one| one["status"] == "running");
            for one in running {
                world.let_messages_be_given_up(
                    one["id"].as_str().unwrap().parse().unwrap(),
                    7,
                    Some(LIMITED),
                );
            }
        };
        let paused = |entry: &allclear::engine::Entry| {
            (entry.key.contains("campaign.pause/verify") || entry.key.contains("send_queue.skip/verify"))
                && !entry.key.contains("-R1")
        };
        let spec = WorldSpec { profile, ..small(Scenario::Outage { minutes: 6 }) };
        let scene = aborted((WHATSAPP, Value::Null, spec), give_up, paused).await;
        assert!(given_up(&scene).await.len() >= 28);
        let later = scene.sandbox.now() + Duration::from_hours(1);
        scene.clock.advance_to(later);
        let plan = scene.plan_of("next-run").await;
        let seam = MemoryJournal::new().seam(scene.clock.clone()).unwrap();
        let terms = Terms { humans: drill(), ..Terms::new("next-run", "kim", "sandbox") };
        let finished =
            execute(&*scene.runbook(), Box::new(seam), approved(&plan, "next-run"), terms).await.unwrap();
        assert_eq!(finished.outcome, Outcome::Verified, "{profile:?}: {}", finished.says);
        assert!(finished.says.contains("had left paused"), "{}", finished.says);
        let later = scene.sandbox.now() + Duration::from_hours(3);
        scene.sandbox.with_world(|world| world.advance_to(later));
        assert_eq!(given_up(&scene).await, BTreeSet::new(), "{profile:?}: {}", finished.says);
        assert!(got(&scene).await.values().all(|times| *times == 1), "{profile:?}");
    }
}

/// What was done to campaigns and their queues, and how often.
fn changes(scene: &Scene) -> BTreeMap<(String, String), usize> {
    let mut all = scene.effects();
    all.retain(|(effect, _), _| effect.starts_with("campaign.") || effect.starts_with("send_queue."));
    all
}

#[tokio::test]
async fn s1_a_second_run_after_the_first_finds_nothing_to_put_back() {
    let scene = late(short(Profile::AsIs, 20), 12).await;
    let (_, finished) = scene.plan_and_run().await;
    nothing_lost_and_nothing_twice(&scene, &finished, "first").await;
    let before = changes(&scene);
    let plan = scene.plan_of("next-run").await;
    let seam = MemoryJournal::new().seam(scene.clock.clone()).unwrap();
    let terms = Terms { humans: drill(), ..Terms::new("next-run", "kim", "sandbox") };
    let second =
        execute(&*scene.runbook(), Box::new(seam), approved(&plan, "next-run"), terms).await.unwrap();
    assert_eq!(changes(&scene), before, "{}", second.says);
    assert!(got(&scene).await.values().all(|times| *times == 1));
}

/// A world whose sends fail, in which so many messages of the first campaign were given up with this text.
async fn with_given_up(profile: Profile, many: usize, text: Option<&str>) -> (Scene, Uuid, Vec<i64>) {
    let spec = WorldSpec { profile, ..small(Scenario::Outage { minutes: 6 }) };
    let scene = Scene::with(WHATSAPP, Value::Null, spec).await;
    let campaign = running(&scene)[0];
    let rows = scene.sandbox.with_world(|world| world.let_messages_be_given_up(campaign, many, text));
    assert_eq!(rows.len(), many);
    (scene, campaign, rows)
}

#[tokio::test]
async fn s1_only_what_passes_is_put_back_and_what_nobody_knows_is_no_good_end() {
    use Outcome::{Unverified, Verified};
    let graph = |code: u32| format!(r#"{{"error":{{"message":"no","code":{code}}}}}"#);
    for (text, back, outcome) in [
        (Some(graph(130_429)), true, Verified),
        (Some(graph(131_016)), true, Verified),
        (Some(graph(190)), true, Verified),
        (Some(graph(131_056)), true, Verified),
        (Some("TypeError: fetch failed".to_owned()), true, Verified),
        (Some(graph(131_026)), false, Verified),
        (Some(graph(131_050)), false, Verified),
        (Some(graph(131_049)), false, Verified),
        (Some(graph(132_001)), false, Unverified),
        (Some(graph(131_053)), false, Unverified),
        // Nobody was asked whether that was lifted.
        (Some(graph(131_048)), false, Unverified),
        (Some("it broke".to_owned()), false, Unverified),
        (None, false, Unverified),
    ] {
        let (scene, _, rows) = with_given_up(Profile::Target, 3, text.as_deref()).await;
        let (_, finished) = scene.plan_and_run().await;
        assert_eq!(finished.outcome, outcome, "{text:?}: {}", finished.says);
        if outcome == Unverified {
            assert!(finished.says.contains("were given up and are not put back: 3"), "{}", finished.says);
        }
        drain(&scene);
        let left = given_up(&scene).await;
        assert_eq!(rows.iter().all(|row| !left.contains(row)), back, "{text:?}: {left:?}");
    }
}

#[tokio::test]
async fn s1_of_several_causes_in_one_campaign_only_what_passes_is_put_back() {
    let (scene, campaign, passing) = with_given_up(Profile::Target, 5, Some(LIMITED)).await;
    let theirs = r#"{"error":{"message":"no","code":131026}}"#;
    let theirs = scene.sandbox.with_world(|world| world.let_messages_be_given_up(campaign, 3, Some(theirs)));
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    drain(&scene);
    assert_eq!(given_up(&scene).await, theirs.iter().copied().collect(), "{passing:?} are back");
    let put_back: Vec<_> = scene.entries().into_iter().filter(|entry| {
        matches!(&entry.event, Event::Applied { effect, says, .. } if effect == "send_queue.put_back" && says.starts_with("5 messages"))
    }).collect();
    assert_eq!(put_back.len(), 1, "five of the eight, and no more");
}

#[tokio::test]
async fn s1_whoever_got_the_message_by_another_way_gets_no_second() {
    // Before the run, and while it waits.
    for meanwhile in [false, true] {
        let (scene, campaign, given) = with_given_up(Profile::Target, 4, Some(LIMITED)).await;
        let numbers =
            rows(&scene, &format!("send_queue?select=id,msisdn_e164&id=in.({},{})", given[0], given[1]))
                .await;
        let numbers: Vec<String> =
            numbers.iter().map(|row| row["msisdn_e164"].as_str().unwrap().to_owned()).collect();
        let send = move |world: &mut allclear::sandbox::World| {
            for number in &numbers {
                world.let_message_go_out(campaign, number);
            }
        };
        let finished = if meanwhile {
            beside(&scene, "messages given up", Box::new(send)).await
        } else {
            scene.sandbox.with_world(send);
            scene.plan_and_run().await.1
        };
        assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
        drain(&scene);
        assert!(got(&scene).await.values().all(|times| *times == 1), "{meanwhile}");
        assert_eq!(given_up(&scene).await, BTreeSet::from([given[0], given[1]]), "{meanwhile}");
    }
}

#[tokio::test]
async fn s1_an_undo_gives_up_again_what_was_not_tried_since() {
    let give_up = |world: &mut allclear::sandbox::World| {
        let id = world.summary()["campaigns"][0]["id"].as_str().unwrap().parse().unwrap();
        world.let_messages_be_given_up(id, 5, Some(LIMITED));
    };
    let is_back = |entry: &allclear::engine::Entry| entry.key.contains("send_queue.put_back/verify");
    let spec = WorldSpec { profile: Profile::Target, ..small(Scenario::Outage { minutes: 6 }) };
    let scene = aborted((WHATSAPP, Value::Null, spec), give_up, is_back).await;
    assert_eq!(given_up(&scene).await, BTreeSet::new(), "they are put back");
    let (_, finished) = undo(&scene).await;
    let finished = finished.unwrap();
    assert_eq!(finished.outcome, Outcome::Undone, "{}", finished.says);
    let failed = rows(&scene, "send_queue?select=id,attempt,status&status=eq.FAILED").await;
    assert_eq!(failed.len(), 5, "{}", finished.says);
    assert!(failed.iter().all(|row| row["attempt"] == json!(5)), "{failed:?}");
}

#[tokio::test]
async fn s1_what_is_put_back_is_planned_with_the_rest_and_never_sent_at_night() {
    for profile in [Profile::AsIs, Profile::Target] {
        // 20:40 in Kigali; with what was given up a queue reaches into the night, without it does not.
        let start: Timestamp = "2026-11-23T18:40:00Z".parse().unwrap();
        let spec = WorldSpec { profile, start, ..short(profile, 20) };
        let scene = Scene::with(WHATSAPP, Value::Null, spec).await;
        let policy =
            SendPolicy { throttle_per_minute: 2, quiet_hours: QuietHours::parse("22:00", "06:00").unwrap() };
        scene.platform.policy.write(&policy).await.unwrap();
        for campaign in running(&scene) {
            scene.sandbox.with_world(|world| world.let_messages_be_given_up(campaign, 1_000, Some(LIMITED)));
        }
        let begun = scene.sandbox.now();
        let (_, finished) = scene.plan_and_run().await;
        let ended = scene.sandbox.now();
        nothing_lost_and_nothing_twice(&scene, &finished, &format!("{profile:?}")).await;
        let zone = TimeZone::get("Africa/Kigali").unwrap();
        for row in
            rows(&scene, "send_logs?select=id,queue_id,sent_at&error=is.null&queue_id=not.is.null").await
        {
            let at: Timestamp = row["sent_at"].as_str().unwrap().parse().unwrap();
            let there = at.to_zoned_datetime(zone.clone()).time();
            let is_ours = at > begun && at < ended;
            assert!(!is_ours || !policy.quiet_hours.contains(there), "{profile:?}: {at}");
        }
        let starts = scene.sandbox.ledger().into_iter().filter(|one| one.effect == "campaign.start");
        let morning: Timestamp = "2026-11-24T04:00:00Z".parse().unwrap();
        assert!(starts.map(|one| one.at).all(|at| at >= morning), "{profile:?}: {}", finished.says);
    }
}

#[tokio::test]
async fn s1_what_was_given_up_is_put_back_once_a_stalled_dispatcher_moves() {
    for named in ["stalled", "unreachable"] {
        for profile in [Profile::AsIs, Profile::Target] {
            for (text, outcome) in [(Some(LIMITED), Outcome::Verified), (None, Outcome::Unverified)] {
                let spec = WorldSpec { profile, ..small(Scenario::named(named).unwrap()) };
                let scene = Scene::with(DISPATCHER, Value::Null, spec).await;
                let campaign = running(&scene)[0];
                let given =
                    scene.sandbox.with_world(|world| world.let_messages_be_given_up(campaign, 9, text));
                // Long ago: what was tried a minute ago is no stall.
                let later = scene.sandbox.now() + Duration::from_mins(7);
                scene.clock.advance_to(later);
                let (_, finished) = scene.plan_and_run().await;
                let how = format!("{named} {profile:?} {text:?}: {}", finished.says);
                assert_eq!(finished.outcome, outcome, "{how}");
                let drained = scene.sandbox.now() + Duration::from_hours(2);
                scene.sandbox.with_world(|world| world.advance_to(drained));
                assert_eq!(
                    given_up(&scene).await.len(),
                    if text.is_some() { 0 } else { given.len() },
                    "{how}"
                );
                assert!(got(&scene).await.values().all(|times| *times == 1), "{how}");
            }
        }
    }
}
