//! Somebody is told when a run waits long for a service, and that it goes on; judged by Slack's history, PagerDuty's
//! incidents, and the world without the trouble.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use allclear::engine::{Entry, Event, Finished, Note, Outcome, Plan, Terms};
use allclear::sandbox::{Fault, FaultSet, LedgerEntry, Profile, Scenario, Trouble, WorldSpec, trouble};

use crate::drills::statuses;
use crate::scene::{Scene, approved, small};

/// Each runbook, and the call that its first change goes by.
const DRILLS: [(Scenario, Profile, &str); 4] = [
    (Scenario::Stalled, Profile::Target, "POST /admin/api/campaigns/pause"),
    (Scenario::Outage { minutes: 6 }, Profile::Target, "POST /admin/api/campaigns/pause"),
    (Scenario::PreviewRemoved, Profile::Target, "/functions/deploy"),
    (Scenario::DoubleRedemption, Profile::Target, "POST /supabase/rest/v1/vouchers"),
];

fn spec(scenario: Scenario, profile: Profile) -> WorldSpec {
    WorldSpec { profile, vouchers: 20, stations: 3, targets_per_campaign: 120, ..small(scenario) }
}

fn away(calls: &str, minutes: u64) -> Trouble {
    let body = "<html>502 Bad Gateway</html>".to_owned();
    Trouble {
        calls: calls.to_owned(),
        lasts: Some(minutes * 60),
        answer: trouble::Answer::Says { status: 502, body },
        ..Trouble::default()
    }
}

/// Runs until it ends, taken up again whenever it is interrupted. Returns how often that was.
async fn run_on(scene: &Scene, troubles: Vec<Trouble>) -> (Finished, u32) {
    let plan = scene.plan().await;
    for trouble in troubles {
        scene.sandbox.with_world(|world| world.trouble(trouble));
    }
    go_on(scene, &plan).await
}

async fn go_on(scene: &Scene, plan: &Plan) -> (Finished, u32) {
    for interrupted in 0..40 {
        let finished = scene.run(approved(plan, "drill-run"), scene.terms()).await;
        if finished.outcome != Outcome::Interrupted {
            return (finished, interrupted);
        }
    }
    panic!("it is interrupted for ever")
}

fn slack(scene: &Scene, words: &str) -> usize {
    let texts = scene.sandbox.with_world(|world| world.slack_texts());
    texts.iter().filter(|text| text.contains(words)).count()
}

/// What changed beside what is told, and beside what is put back: how many the dispatcher gives up before anything is paused
/// depends on how long a service was away. Of that see [`nothing_is_lost`].
fn changed(scene: &Scene) -> BTreeMap<(String, String), usize> {
    let beside = [
        "slack.post",
        "pagerduty.trigger",
        "pagerduty.resolve",
        "provider.ticket",
        "message.send",
        "send_queue.put_back",
    ];
    scene.effects().into_iter().filter(|((effect, _), _)| !beside.contains(&effect.as_str())).collect()
}

/// What was given up meanwhile is put back once, and no message is lost.
fn nothing_is_lost(scene: &Scene, about: &str) {
    let effects = scene.effects();
    let back = effects.iter().filter(|((effect, _), _)| effect == "send_queue.put_back");
    assert!(back.into_iter().all(|(_, times)| *times == 1), "{about}: {effects:?}");
    let state = scene.sandbox.state();
    for campaign in state["campaigns"].as_array().unwrap().iter().filter(|one| one["status"] == "running") {
        let id = campaign["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(scene.sandbox.with_world(|world| world.lost(id)), 0, "{about}: {campaign}");
    }
}

fn our_pages(scene: &Scene) -> Vec<String> {
    let open = scene.sandbox.with_world(|world| world.open_pages());
    open.into_iter().filter(|title| title.contains("does not get on")).collect()
}

#[tokio::test]
async fn b1_a_service_that_is_away_for_two_hours_is_told_once_interrupts_and_the_world_is_as_without() {
    for (scenario, profile, call) in DRILLS {
        let calm = Scene::of(spec(scenario, profile)).await;
        let (_, undisturbed) = calm.plan_and_run().await;
        assert_eq!(undisturbed.outcome, Outcome::Verified, "{scenario:?}: {}", undisturbed.says);

        let scene = Scene::of(spec(scenario, profile)).await;
        let (finished, interrupted) = run_on(&scene, vec![away(call, 120)]).await;
        assert_eq!(finished.outcome, Outcome::Verified, "{scenario:?}: {}", finished.says);
        assert!(interrupted > 0, "{scenario:?}: two hours are longer than a process waits");
        assert_eq!(changed(&scene), changed(&calm), "{scenario:?}");
        nothing_is_lost(&scene, &format!("{scenario:?}"));
        assert_eq!(statuses(&scene), statuses(&calm), "{scenario:?}");
        assert_eq!(slack(&scene, "does not get on"), 1, "{scenario:?}: once");
        assert_eq!(slack(&scene, "gets on again"), 1, "{scenario:?}: the all-clear");
        assert_eq!(our_pages(&scene), Vec::<String>::new(), "{scenario:?}");
        let is_ours =
            |entry: &LedgerEntry| entry.effect == "pagerduty.trigger" && entry.subject.contains("/stuck");
        let paged = scene.sandbox.ledger().iter().filter(|entry| is_ours(entry)).count();
        assert_eq!(paged, 0, "{scenario:?}: a line that arrives wakes nobody");
    }
}

#[tokio::test]
async fn b1_what_passes_within_minutes_is_told_to_nobody() {
    for (scenario, profile, call) in DRILLS {
        let scene = Scene::of(spec(scenario, profile)).await;
        let (finished, interrupted) = run_on(&scene, vec![away(call, 2)]).await;
        assert_eq!(
            (finished.outcome, interrupted),
            (Outcome::Verified, 0),
            "{scenario:?}: {}",
            finished.says
        );
        assert_eq!(slack(&scene, "does not get on"), 0, "{scenario:?}");
    }
}

#[tokio::test]
async fn b1_where_the_channel_does_not_take_it_whoever_is_on_call_is_paged_and_the_page_is_resolved() {
    let (scenario, profile, call) = DRILLS[0];
    let faults = FaultSet::of(profile).with(Fault::SlackMessageLost);
    let scene = Scene::of(WorldSpec { faults: Some(faults), ..spec(scenario, profile) }).await;
    let plan = scene.plan().await;
    scene.sandbox.with_world(|world| world.trouble(away(call, 120)));
    let first = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
    assert_eq!(first.outcome, Outcome::Interrupted, "{}", first.says);
    assert_eq!(our_pages(&scene).len(), 1, "somebody is paged while it waits");
    let (finished, _) = go_on(&scene, &plan).await;
    assert_eq!(our_pages(&scene), Vec::<String>::new(), "{}", finished.says);
    assert!(statuses(&scene).iter().filter(|status| *status == "running").count() >= 4, "{}", finished.says);
}

#[tokio::test]
async fn b1_a_run_that_was_stuck_while_it_looked_and_finds_nothing_takes_its_word_back() {
    let scene =
        Scene::with("campaign-dispatcher-stalls", serde_json::Value::Null, small(Scenario::Healthy)).await;
    let (finished, _) = run_on(&scene, vec![away("GET /supabase/rest/v1/campaigns", 9)]).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(finished.says.starts_with("all clear"), "{}", finished.says);
    assert_eq!(slack(&scene, "does not get on"), 1);
    assert_eq!(slack(&scene, "gets on again"), 1);
}

#[tokio::test]
async fn b1_killed_at_any_entry_around_the_telling_it_is_told_once_and_answered_once() {
    let (scenario, profile, call) = DRILLS[0];
    let scene = Scene::of(spec(scenario, profile)).await;
    run_on(&scene, vec![away(call, 8)]).await;
    let entries = scene.entries();
    let near: Vec<u64> = entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.key.starts_with("~stuck"))
        .flat_map(|(place, _)| [place as u64, place as u64 + 1])
        .collect();
    assert!(near.len() > 10, "the telling and its end are recorded: {}", near.len());
    for at in near {
        let scene = Scene::of(spec(scenario, profile)).await;
        let plan = scene.plan().await;
        scene.sandbox.with_world(|world| world.trouble(away(call, 8)));
        scene.run_until_killed(approved(&plan, "drill-run"), at).await;
        let (finished, _) = go_on(&scene, &plan).await;
        assert_eq!(finished.outcome, Outcome::Verified, "killed at {at}: {}", finished.says);
        assert_eq!(slack(&scene, "does not get on"), 1, "killed at {at}");
        assert_eq!(slack(&scene, "gets on again"), 1, "killed at {at}");
    }
}

/// One answer to a read that is away for a moment, as the database, PostgREST or the gateway before them words it.
const PASSING: [(u16, &str); 10] = [
    (520, "<html>Web server is returning an unknown error</html>"),
    (524, "<html>A timeout occurred</html>"),
    (500, r#"{"code":"57014","message":"canceling statement due to statement timeout"}"#),
    (500, r#"{"code":"57P01","message":"terminating connection due to administrator command"}"#),
    (503, r#"{"code":"PGRST002","message":"Could not query the database for the schema cache. Retrying."}"#),
    (504, r#"{"code":"PGRST003","message":"Timed out acquiring connection from connection pool."}"#),
    (503, r#"{"code":"53300","message":"too many connections for role"}"#),
    (500, r#"{"code":"40001","message":"could not serialize access"}"#),
    (503, r#"{"code":"08006","message":"connection failure"}"#),
    (500, r#"{"code":"25006","message":"cannot execute UPDATE in a read-only transaction"}"#),
];

#[tokio::test]
async fn b8_a_failed_read_in_planning_or_detection_is_tried_again() {
    for (scenario, profile, _) in DRILLS {
        let calm = Scene::of(spec(scenario, profile)).await;
        let (_, undisturbed) = calm.plan_and_run().await;
        for (status, body) in PASSING {
            let once = || Trouble {
                calls: "GET /supabase/rest/v1/".to_owned(),
                answer: trouble::Answer::Says { status, body: body.to_owned() },
                ..Trouble::default()
            };
            let scene = Scene::of(spec(scenario, profile)).await;
            scene.sandbox.with_world(|world| world.trouble(once()));
            let (finished, interrupted) = run_on(&scene, vec![once()]).await;
            assert_eq!(
                finished.outcome, undisturbed.outcome,
                "{scenario:?} {status} {body}: {}",
                finished.says
            );
            assert_eq!((interrupted, changed(&scene)), (0, changed(&calm)), "{scenario:?} {status} {body}");
        }
    }
}

#[tokio::test]
async fn b1_a_run_waits_for_the_paging_service_before_it_leaves_its_own_page_open() {
    // Minutes are waited out; hours interrupt, and whoever resumes closes it.
    for (minutes, first) in [(5, Outcome::Verified), (3 * 60, Outcome::Interrupted)] {
        let scene = Scene::of(spec(Scenario::named("unreachable").unwrap(), Profile::Target)).await;
        let open = || scene.sandbox.with_world(|world| world.open_pages());
        let others = open();
        let plan = scene.plan().await;
        let (sandbox, once) = (Arc::clone(&scene.sandbox), AtomicBool::new(true));
        let listener = move |entry: &allclear::engine::Entry| {
            let said = serde_json::to_string(&entry.event).unwrap();
            if said.contains("campaigns advance") && once.swap(false, Ordering::Relaxed) {
                sandbox.with_world(|world| world.trouble(away("POST /pagerduty-events", minutes)));
            }
        };
        let terms = Terms { listener: Some(Arc::new(listener)), ..scene.terms() };
        let finished = scene.run(approved(&plan, "drill-run"), terms).await;
        assert_eq!(finished.outcome, first, "{minutes} min: {}", finished.says);
        assert_eq!(open() == others, first == Outcome::Verified, "{minutes} min: {:?}", open());
        let (finished, _) = go_on(&scene, &plan).await;
        assert_eq!(finished.outcome, Outcome::Verified, "{minutes} min: {}", finished.says);
        assert_eq!(open(), others, "{minutes} min");
    }
}

/// Troubles from the moment on that the journal says these words.
fn when(scene: &Scene, words: &'static str, trouble: Trouble) -> Terms {
    let (sandbox, once) = (Arc::clone(&scene.sandbox), AtomicBool::new(true));
    let listener = move |entry: &Entry| {
        let said = serde_json::to_string(&entry.event).unwrap();
        if said.contains(words) && once.swap(false, Ordering::Relaxed) {
            sandbox.with_world(|world| world.trouble(trouble.clone()));
        }
    };
    Terms { listener: Some(Arc::new(listener)), ..scene.terms() }
}

#[tokio::test]
async fn b1_a_run_waits_for_the_chat_service_before_it_ends_with_people_untold() {
    let last = [
        (Scenario::PreviewRemoved, "the incident is closed", "previews work again"),
        (Scenario::DoubleRedemption, "incident_note", "Station redeem anomalies"),
        (Scenario::named("wrong-station").unwrap(), "SR-I2", "For the operator of"),
    ];
    for (scenario, words, message) in last {
        for (minutes, first) in [(3, Outcome::Verified), (3 * 60, Outcome::Interrupted)] {
            let scene = Scene::of(spec(scenario, Profile::Target)).await;
            let plan = scene.plan().await;
            let terms = when(&scene, words, away("/slack/", minutes));
            let finished = scene.run(approved(&plan, "drill-run"), terms).await;
            assert_eq!(finished.outcome, first, "{scenario:?}, {minutes} min: {}", finished.says);
            let (finished, _) = go_on(&scene, &plan).await;
            assert_eq!(finished.outcome, Outcome::Verified, "{scenario:?}, {minutes} min: {}", finished.says);
            assert_eq!(slack(&scene, message), 1, "{scenario:?}, {minutes} min");
            assert_eq!(our_pages(&scene), Vec::<String>::new(), "{scenario:?}, {minutes} min");
        }
    }
}

/// Whoever could not be told that there are no previews, and is told that they work again, needs no first message any more.
#[tokio::test]
async fn what_could_not_be_told_at_first_and_is_over_by_the_end_keeps_no_run_from_its_end() {
    let scene = Scene::of(spec(Scenario::PreviewRemoved, Profile::Target)).await;
    let plan = scene.plan().await;
    let terms = when(&scene, "second look", away("/slack/", 4));
    let finished = scene.run(approved(&plan, "drill-run"), terms).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!((slack(&scene, "fallback to code view"), slack(&scene, "previews work again")), (0, 1));
    let told: Vec<String> = scene.entries().iter().filter_map(told).collect();
    assert!(told[0].starts_with("it is not known whether support was told to fall back"), "{told:?}");
}

/// What was proven before the wait may be over after it: nobody is told so, and no end rests on it.
#[tokio::test]
async fn what_breaks_again_while_the_last_message_waits_is_not_told_as_over_and_is_no_good_end() {
    for minutes in [3, 3 * 60] {
        let scene = Scene::of(spec(Scenario::PreviewRemoved, Profile::Target)).await;
        let plan = scene.plan().await;
        let (sandbox, once) = (Arc::clone(&scene.sandbox), AtomicBool::new(true));
        let listener = move |entry: &Entry| {
            let said = serde_json::to_string(&entry.event).unwrap();
            if said.contains("the incident is closed") && once.swap(false, Ordering::Relaxed) {
                sandbox.with_world(|world| {
                    world.trouble(away("/slack/", minutes));
                    world.let_the_preview_function_vanish();
                });
            }
        };
        let terms = Terms { listener: Some(Arc::new(listener)), ..scene.terms() };
        let first = scene.run(approved(&plan, "drill-run"), terms).await;
        let finished =
            if first.outcome == Outcome::Interrupted { go_on(&scene, &plan).await.0 } else { first };
        assert_eq!(finished.outcome, Outcome::Refuted, "{minutes} min: {}", finished.says);
        assert!(finished.says.contains("previews worked and fail again"), "{}", finished.says);
        assert_eq!(slack(&scene, "previews work again"), 0, "{minutes} min");
    }
}

#[tokio::test]
async fn a_deadline_that_passes_while_people_are_told_tells_nobody_twice() {
    for fault in [Fault::PagerDutyDropped, Fault::SlackMessageLost] {
        for profile in [Profile::AsIs, Profile::Target] {
            let faults = FaultSet::of(profile).with(fault);
            let scenario = Scenario::named("policy-blocked").unwrap();
            let scene = Scene::of(WorldSpec { faults: Some(faults), ..spec(scenario, profile) }).await;
            let (_, finished) = scene.plan_and_run().await;
            let shown = format!("{fault} {profile:?}: {}", finished.says);
            assert_eq!(finished.outcome, Outcome::Verified, "{shown}");
            assert_eq!(statuses(&scene).iter().filter(|status| *status == "running").count(), 4, "{shown}");
            let tickets =
                scene.effects().get(&("provider.ticket".to_owned(), "provider ticket".to_owned())).copied();
            assert_eq!(tickets, Some(1), "{shown}");
            // Where the page is not there, nobody says that whoever is on call was told.
            let told: Vec<String> = scene.entries().iter().filter_map(told).collect();
            let paged = told.iter().any(|says| says.starts_with("whoever is on call was told"));
            assert_eq!(paged, fault != Fault::PagerDutyDropped, "{shown}: {told:?}");
        }
    }
}

/// What is said of telling people.
fn told(entry: &Entry) -> Option<String> {
    match &entry.event {
        Event::Noted { note: Note::Told(claim), .. } => Some(claim.says().to_owned()),
        _ => None,
    }
}
