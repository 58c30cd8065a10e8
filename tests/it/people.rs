//! People act beside a run, several things are wrong at once, and what was wrong is over: judged by the ledger and by what
//! the world is at the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use allclear::core::Clock as _;
use allclear::engine::{Event, Finished, Note, Outcome, Terms};
use allclear::sandbox::{Fault, FaultSet, Profile, Scenario, World, WorldSpec};
use jiff::SignedDuration;
use serde_json::Value;
use uuid::Uuid;

use crate::scene::{Scene, approved, small};

pub(crate) type Act = Box<dyn FnOnce(&mut World) + Send>;

/// Plans, approves and runs; when the journal first says `words`, somebody acts.
pub(crate) async fn beside(scene: &Scene, words: &str, act: Act) -> Finished {
    let plan = scene.plan().await;
    let terms = listening(scene, words, act);
    scene.run(approved(&plan, "drill-run"), terms).await
}

/// The scene's terms, with somebody who acts when the journal first says `words`.
pub(crate) fn listening(scene: &Scene, words: &str, act: Act) -> Terms {
    let (words, once) = (words.to_owned(), Mutex::new(Some(act)));
    let sandbox = Arc::clone(&scene.sandbox);
    let listener = move |entry: &allclear::engine::Entry| {
        let said = serde_json::to_string(&entry.event).unwrap();
        if said.contains(&words)
            && let Some(act) = once.lock().unwrap().take()
        {
            sandbox.with_world(act);
        }
    };
    Terms { listener: Some(Arc::new(listener)), ..scene.terms() }
}

fn campaigns(state: &Value, status: &str) -> Vec<Uuid> {
    let all = state["campaigns"].as_array().unwrap();
    all.iter()
        .filter(|one| one["status"] == status)
        .map(|one| one["id"].as_str().unwrap().parse().unwrap())
        .collect()
}

pub(crate) fn with_status(scene: &Scene, status: &str) -> Vec<Uuid> {
    campaigns(&scene.sandbox.state(), status)
}

/// How often each effect of ours changed something.
fn did(scene: &Scene, effect: &str) -> usize {
    scene.effects().iter().filter(|((name, _), _)| name == effect).map(|(_, count)| count).sum()
}

fn whatsapp(scenario: Scenario) -> WorldSpec {
    WorldSpec { profile: Profile::AsIs, ..small(scenario) }
}

#[tokio::test]
async fn a2_what_a_person_did_to_a_paused_campaign_stands() {
    // What they do, and whether it looks the same as what the run left.
    let theirs: [(&str, &[&str]); 4] = [
        ("started and paused it again", &["start", "pause"]),
        ("paused it over again", &["pause"]),
        ("stopped it", &["stop"]),
        ("started and stopped it", &["start", "stop"]),
    ];
    for (how, actions) in theirs {
        for profile in [Profile::AsIs, Profile::Target] {
            let scenario = Scenario::named("rate-limited").unwrap();
            let scene = Scene::of(WorldSpec { profile, ..whatsapp(scenario) }).await;
            let taken = with_status(&scene, "running")[0];
            let act: Act = Box::new(move |world| {
                for action in actions {
                    assert!(world.let_somebody_else(action, taken));
                }
            });
            let finished = beside(&scene, "the rate limit is honoured", act).await;
            assert!(!with_status(&scene, "running").contains(&taken), "{how}: it runs; {}", finished.says);
            let started = scene.effects().get(&("campaign.start".to_owned(), taken.to_string())).copied();
            assert_eq!(started, None, "{how} {profile:?}");
            // The others come back, and only they are counted.
            assert_eq!(did(&scene, "campaign.start"), 3, "{how} {profile:?}: {}", finished.says);
            assert!(finished.says.contains("3 campaigns run again"), "{how}: {}", finished.says);
        }
    }
}

#[tokio::test]
async fn a2_a_run_that_brings_nothing_back_has_not_verified_anything() {
    let scene = Scene::of(whatsapp(Scenario::named("rate-limited").unwrap())).await;
    let all = with_status(&scene, "running");
    let act: Act = Box::new(move |world| {
        for campaign in &all {
            world.let_somebody_else("start", *campaign);
            world.let_somebody_else("pause", *campaign);
        }
    });
    let finished = beside(&scene, "the rate limit is honoured", act).await;
    assert_eq!(did(&scene, "campaign.start"), 0);
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
}

#[tokio::test]
async fn a3_sending_is_proven_to_have_stopped_whoever_paused_the_campaigns() {
    // Who paused what before the run: all, one, or stopped one for good.
    let before: [(&str, usize, &str); 3] = [("all", 4, "pause"), ("one", 1, "pause"), ("one", 1, "stop")];
    for (which, many, action) in before {
        let scene = Scene::of(whatsapp(Scenario::Outage { minutes: 25 })).await;
        let theirs: Vec<Uuid> = with_status(&scene, "running").into_iter().take(many).collect();
        scene.sandbox.with_world(|world| {
            for campaign in &theirs {
                world.let_somebody_else(action, *campaign);
            }
        });
        let began = scene.clock.now();
        let (_, finished) = scene.plan_and_run().await;
        let tries = scene.sandbox.with_world(|world| {
            world.tries_between(began + SignedDuration::from_mins(5), began + SignedDuration::from_mins(20))
        });
        assert_eq!(tries, 0, "{which} {action}: {}", finished.says);
        // What others paused is not started, and what was stopped beneath them is no good end.
        let started: Vec<_> =
            scene.effects().into_keys().filter(|(effect, _)| effect == "campaign.start").collect();
        assert!(theirs.iter().all(|one| started.iter().all(|(_, id)| *id != one.to_string())), "{started:?}");
        assert_eq!(finished.outcome, Outcome::Unverified, "{which} {action}: {}", finished.says);
        assert!(finished.says.contains("stay skipped"), "{which} {action}: {}", finished.says);
    }
}

#[tokio::test]
async fn a2_messages_that_stay_skipped_in_a_campaign_that_a_person_took_are_no_good_end() {
    for actions in [&["start"][..], &["start", "pause"], &["stop"]] {
        let scene = Scene::of(whatsapp(Scenario::Outage { minutes: 6 })).await;
        let taken = with_status(&scene, "running")[0];
        let act: Act = Box::new(move |world| {
            for action in actions {
                assert!(world.let_somebody_else(action, taken));
            }
        });
        let finished = beside(&scene, "were marked as skipped", act).await;
        let state = scene.sandbox.state();
        let one = state["campaigns"].as_array().unwrap().iter().find(|one| one["id"] == taken.to_string());
        let skipped = one.unwrap()["skipped"].as_u64().unwrap();
        assert!(
            skipped == 0 || finished.outcome == Outcome::Unverified,
            "{actions:?} {skipped}: {}",
            finished.says
        );
        assert!(skipped == 0 || finished.says.contains("stay skipped"), "{actions:?}: {}", finished.says);
    }
}

#[tokio::test]
async fn a4_a_message_that_goes_out_twice_is_no_progress() {
    for profile in [Profile::AsIs, Profile::Target] {
        let faults = FaultSet::of(profile).with(Fault::SendRowStaysPending);
        let spec = WorldSpec { profile, faults: Some(faults), ..small(Scenario::Stalled) };
        let scene = Scene::of(spec).await;
        let (_, finished) = scene.plan_and_run().await;
        assert_eq!(finished.outcome, Outcome::Refuted, "{profile:?}: {}", finished.says);
        assert!(finished.says.contains("the same message again"), "{profile:?}: {}", finished.says);
        assert_eq!(with_status(&scene, "running").len(), 0, "{profile:?}");
        let pages = scene.sandbox.with_world(|world| world.open_pages());
        assert!(pages.iter().any(|page| page.contains("still stalled")), "{pages:?}");
    }
}

#[tokio::test]
async fn c8_an_outage_that_is_over_harms_nothing_healthy() {
    for (minutes, later) in [(1, 12), (3, 11), (1, 25)] {
        let scene = Scene::of(whatsapp(Scenario::Outage { minutes })).await;
        let then = scene.clock.now() + SignedDuration::from_mins(later);
        scene.clock.sleep_until(then).await;
        let (plan, finished) = scene.plan_and_run().await;
        assert_eq!(did(&scene, "campaign.pause"), 0, "{minutes} {later}: {}", finished.says);
        assert!(plan.effects.iter().all(|effect| effect.effect != "campaign.pause"));
        assert_eq!(finished.outcome, Outcome::Verified, "{minutes} {later}: {}", finished.says);
        assert_eq!(did(&scene, "notification.retry"), 1, "what failed meanwhile is queued again");
    }
}

/// What a person may do with a campaign while others think about its queue.
const TAKES: [(&str, &[&str]); 5] = [
    ("started it", &["start"]),
    ("paused it over again", &["pause"]),
    ("stopped it", &["stop"]),
    ("started and paused it again", &["start", "pause"]),
    ("started and stopped it", &["start", "stop"]),
];

#[tokio::test]
async fn a_campaign_that_somebody_takes_before_its_queue_is_stopped_keeps_its_messages() {
    // While the question is open, and right before it is asked.
    for moment in ["Mark their unsent messages as skipped?", "is paused in data only"] {
        for (how, actions) in TAKES {
            let scene = Scene::of(whatsapp(Scenario::Outage { minutes: 6 })).await;
            let taken = with_status(&scene, "running")[0];
            let act: Act = Box::new(move |world| {
                for action in actions {
                    assert!(world.let_somebody_else(action, taken));
                }
            });
            let finished = beside(&scene, moment, act).await;
            let skips = scene.effects().get(&("send_queue.skip".to_owned(), taken.to_string())).copied();
            assert_eq!(skips, None, "{moment} {how}: {}", finished.says);
            assert_eq!(did(&scene, "send_queue.skip"), 3, "{moment} {how}: the others are stopped");
            assert_eq!(did(&scene, "campaign.start"), 3, "{moment} {how}: {}", finished.says);
            assert_ne!(finished.outcome, Outcome::Verified, "{moment} {how}: {}", finished.says);
            let told = serde_json::to_string(&scene.entries()).unwrap();
            assert!(told.contains("its messages were left as they are"), "{moment} {how}");
            assert!(told.contains("3 campaigns' unsent messages were marked as skipped"), "{moment} {how}");
        }
    }
}

#[tokio::test]
async fn a_campaign_of_others_that_somebody_starts_while_its_queue_is_asked_about_keeps_its_messages() {
    let scene = Scene::of(whatsapp(Scenario::Outage { minutes: 6 })).await;
    let taken = with_status(&scene, "running")[0];
    scene.sandbox.with_world(|world| assert!(world.let_somebody_else("pause", taken)));
    let act: Act = Box::new(move |world| {
        assert!(world.let_somebody_else("start", taken));
        assert!(world.let_somebody_else("pause", taken));
    });
    let finished = beside(&scene, "Mark their unsent messages as skipped?", act).await;
    let skips = scene.effects().get(&("send_queue.skip".to_owned(), taken.to_string())).copied();
    assert_eq!(skips, None, "{}", finished.says);
    assert_eq!(did(&scene, "send_queue.skip"), 3, "{}", finished.says);
}

/// Plans, approves and runs; when the journal says `words` for the `nth` time, a person takes one of the campaigns that run then.
async fn with_one_taken(scene: &Scene, words: &str, nth: usize, action: &'static str) -> (Finished, Uuid) {
    let plan = scene.plan().await;
    let (words, seen, taken) = (words.to_owned(), Mutex::new(0), Arc::new(Mutex::new(None)));
    let (sandbox, theirs) = (Arc::clone(&scene.sandbox), Arc::clone(&taken));
    let listener = move |entry: &allclear::engine::Entry| {
        let said = serde_json::to_string(&entry.event).unwrap();
        let mut seen = seen.lock().unwrap();
        *seen += usize::from(said.contains(&words));
        if *seen == nth && theirs.lock().unwrap().is_none() {
            // Not the one that the run is looking at.
            let running = campaigns(&sandbox.state(), "running");
            let one = running.into_iter().find(|one| !entry.key.contains(&one.to_string())).unwrap();
            assert!(sandbox.with_world(|world| world.let_somebody_else(action, one)));
            *theirs.lock().unwrap() = Some(one);
        }
    };
    let terms = Terms { listener: Some(Arc::new(listener)), ..scene.terms() };
    let finished = scene.run(approved(&plan, "drill-run"), terms).await;
    let taken = taken.lock().unwrap().unwrap_or_else(|| panic!("nobody acted: {}", finished.says));
    (finished, taken)
}

#[tokio::test]
async fn a1_what_somebody_takes_after_it_was_started_again_is_told_and_not_counted() {
    let stalled = || Scenario::named("stalled").unwrap();
    let limited = || Scenario::named("rate-limited").unwrap();
    for (scenario, words, nth, action) in [
        (limited(), "was resumed", 3, "pause"),
        (limited(), "was resumed", 4, "stop"),
        (limited(), "escalation over", 1, "pause"),
        (limited(), "notifications are queued again", 1, "stop"),
        (stalled(), "dispatcher_replay", 2, "pause"),
        (stalled(), "dispatcher_replay", 1, "stop"),
    ] {
        let scene = Scene::of(whatsapp(scenario)).await;
        let (finished, taken) = with_one_taken(&scene, words, nth, action).await;
        let shown = format!("{words} {nth}, {action}: {}", finished.says);
        assert!(!with_status(&scene, "running").contains(&taken), "{shown}");
        assert_eq!(finished.outcome, Outcome::Unverified, "{shown}");
        assert!(finished.says.contains("somebody else"), "{shown}");
        assert!(!finished.says.contains("4 campaigns"), "{shown}");
    }
}

#[tokio::test]
async fn people_of_a_worlds_script_act_when_it_says_and_once() {
    let limited = || whatsapp(Scenario::named("rate-limited").unwrap());
    let with = |script: &str| WorldSpec { people: script.parse().unwrap(), ..limited() };
    let first = |scene: &Scene| -> Uuid {
        let state = scene.sandbox.state();
        state["campaigns"][0]["id"].as_str().unwrap().parse().unwrap()
    };

    let scene = Scene::of(with("campaign.start*4:pause:1")).await;
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(did(&scene, "campaign.start"), 4, "{}", finished.says);
    assert!(with_status(&scene, "paused").contains(&first(&scene)), "{}", finished.says);
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);

    let scene = Scene::of(with("3m:stop:1")).await;
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(with_status(&scene, "done"), [first(&scene)], "{}", finished.says);
    assert!(!scene.effects().contains_key(&("campaign.start".to_owned(), first(&scene).to_string())));

    let scene = Scene::of(with("2m:post")).await;
    scene.plan_and_run().await;
    let posts = scene.sandbox.with_world(|world| world.slack_texts());
    assert_eq!(posts.iter().filter(|post| post.contains("looking at this")).count(), 1, "{posts:?}");
}

#[tokio::test]
async fn what_somebody_skips_while_a_run_handles_its_campaign_is_counted_told_and_left() {
    for scenario in ["rate-limited", "stalled"] {
        for profile in [Profile::AsIs, Profile::Target] {
            let script = "campaign.pause*4:skip:2".parse().unwrap();
            let spec = WorldSpec { profile, people: script, ..small(Scenario::named(scenario).unwrap()) };
            let scene = Scene::of(spec).await;
            let (_, finished) = scene.plan_and_run().await;
            assert_eq!(finished.outcome, Outcome::Verified, "{scenario} {profile:?}: {}", finished.says);
            let skipped = scene.sandbox.state()["campaigns"][1]["skipped"].as_u64().unwrap();
            assert!(skipped > 0);
            let told = scene.entries().into_iter().filter_map(|entry| match entry.event {
                Event::Noted { note: Note::OpenQuestion { says }, .. } => Some(says),
                _ => None,
            });
            let told: Vec<String> = told.filter(|says| says.contains("marked as skipped")).collect();
            assert_eq!(told.len(), 1, "{scenario} {profile:?}: {told:?}");
            assert!(told[0].starts_with(&format!("{skipped} messages of campaign")), "{told:?}");
        }
    }
}

#[tokio::test]
async fn what_somebody_skips_again_after_it_was_given_back_is_theirs_and_ends_nothing() {
    for script in ["send_queue.restore*1:skip:4", "send_queue.restore*4:skip:1"] {
        let people = script.parse().unwrap();
        let spec = WorldSpec { people, ..whatsapp(Scenario::named("rate-limited").unwrap()) };
        let scene = Scene::of(spec).await;
        let (_, finished) = scene.plan_and_run().await;
        assert_eq!(finished.outcome, Outcome::Verified, "{script}: {}", finished.says);
        assert_eq!(with_status(&scene, "running").len(), 4, "{script}: {}", finished.says);
        let skipped = scene.sandbox.with_world(|world| world.skipped_rows());
        let ledger = scene.sandbox.ledger();
        let restored: Vec<_> = ledger.iter().filter(|entry| entry.effect.starts_with("send_queue")).collect();
        assert!(!skipped.is_empty(), "{script}: {restored:?}");
        let said = serde_json::to_string(&scene.entries()).unwrap();
        assert!(said.contains(&format!("{} messages of campaign", skipped.len())), "{script}");
        // What they skipped is not the run's to give back.
        let undone = crate::left::undo(&scene).await.1;
        assert_eq!(
            scene.sandbox.with_world(|world| world.skipped_rows()),
            skipped,
            "{script}: {}",
            undone.map_or_else(String::new, |undone| undone.says)
        );
    }
}

#[tokio::test]
async fn a_campaign_that_somebody_stops_right_after_its_start_is_not_counted_although_nothing_waits() {
    for (scenario, script) in
        [("rate-limited", "campaign.start*1:stop:4"), ("stalled", "campaign.start*4:stop:4")]
    {
        let people = script.parse().unwrap();
        let scenario = Scenario::named(scenario).unwrap();
        let spec = WorldSpec { people, targets_per_campaign: 30, ..whatsapp(scenario) };
        let scene = Scene::of(spec).await;
        let (_, finished) = scene.plan_and_run().await;
        assert_eq!(with_status(&scene, "done").len(), 1, "{script}");
        assert_eq!(finished.outcome, Outcome::Unverified, "{script}: {}", finished.says);
        assert!(finished.says.contains("somebody else"), "{script}: {}", finished.says);
        assert!(!finished.says.contains("4 campaigns"), "{script}: {}", finished.says);
    }
}

/// Between a run's look and its write: the platform cannot refuse the write, so what it overrode is given back and told.
#[tokio::test]
async fn what_somebody_stops_or_pauses_right_before_our_write_is_theirs_again_and_told() {
    let races = [
        ("campaign.pause", "stop", "done"),
        ("campaign.start", "stop", "done"),
        ("campaign.start", "pause", "paused"),
    ];
    for scenario in ["stalled", "rate-limited"] {
        for (write, act, theirs) in races {
            let scenario = Scenario::named(scenario).unwrap();
            let scene = Scene::of(WorldSpec { profile: Profile::Target, ..small(scenario) }).await;
            let plan = scene.plan().await;
            let (sandbox, once) = (Arc::clone(&scene.sandbox), AtomicBool::new(true));
            let id: Uuid = scene.sandbox.state()["campaigns"][0]["id"].as_str().unwrap().parse().unwrap();
            let listener = move |entry: &allclear::engine::Entry| {
                let about_to = matches!(&entry.event, allclear::engine::Event::Intended { effect, .. } if effect == write);
                if about_to && entry.key.contains(&id.to_string()) && once.swap(false, Ordering::Relaxed) {
                    // A start finds it paused: somebody started it and takes it back at once.
                    let start = write == "campaign.start";
                    sandbox.with_world(|world| {
                        assert!(!start || world.let_somebody_else("start", id));
                        assert!(world.let_somebody_else(act, id));
                    });
                }
            };
            let terms = Terms { listener: Some(Arc::new(listener)), ..scene.terms() };
            let finished = scene.run(approved(&plan, "drill-run"), terms).await;
            let shown = format!("{scenario:?}, {act} before {write}: {}", finished.says);
            assert!(!finished.says.contains("4 campaigns"), "{shown}");
            let campaign = scene.sandbox.state()["campaigns"][0].take();
            assert_eq!(campaign["status"], theirs, "{shown}");
            let name = campaign["name"].as_str().unwrap();
            let told = |entry: &allclear::engine::Entry| match &entry.event {
                Event::Noted { note: Note::Affected { label, says, .. }, .. } => {
                    label == name && says.contains("somebody else")
                }
                Event::Noted { note: Note::Owed(owed), .. } => owed.says().contains(name),
                _ => false,
            };
            assert!(scene.entries().iter().any(told), "{shown}");
        }
    }
}
