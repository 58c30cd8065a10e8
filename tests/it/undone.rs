//! Every drill ended by a person in its middle, and undone: the world is as before, or what is not so is named.

use std::collections::BTreeMap;

use allclear::engine::report::{left, owed};
use allclear::engine::{Entry, Event, MemoryJournal, Outcome, Terms, execute};
use allclear::sandbox::{Profile, Scenario, World, WorldSpec};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::left::{aborted, undo};
use crate::scene::{Scene, approved, drill, small};

const DISPATCHER: &str = "campaign-dispatcher-stalls";

/// What a run may leave another way than it was: of each thing, by its name for people, how it is.
fn facts(scene: &Scene) -> BTreeMap<String, String> {
    let state = scene.sandbox.state();
    let mut facts = BTreeMap::new();
    let list = |key: &str| state[key].as_array().cloned().unwrap_or_default();
    for campaign in list("campaigns") {
        let name = campaign["name"].as_str().unwrap().to_owned();
        facts.insert(name, format!("{} {} skipped", campaign["status"], campaign["skipped"]));
    }
    for (key, value) in state["settings"].as_object().unwrap() {
        if key.starts_with("quiet_hours") || key.contains("throttle") {
            facts.entry("sending policy".to_owned()).or_insert_with(String::new).push_str(&value.to_string());
        }
    }
    for function in list("functions") {
        facts.insert(function["slug"].as_str().unwrap().to_owned(), function["version"].to_string());
    }
    for voucher in list("vouchers") {
        let name = match voucher["replaces"].as_str() {
            Some(original) => format!("replacement of {original}"),
            None => voucher["id"].as_str().unwrap().to_owned(),
        };
        facts.insert(name, voucher.to_string());
    }
    for page in scene.sandbox.with_world(|world| world.open_pages()) {
        // The platform's own alert goes by its key, and not by what it says.
        let name = if page == "Voucher previews fail" { "incident voucher-preview".to_owned() } else { page };
        facts.insert(name, "open".to_owned());
    }
    facts
}

/// The things that are not as before.
fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let names = before.keys().chain(after.keys());
    let mut names: Vec<String> =
        names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect();
    names.sort();
    names.dedup();
    names
}

/// What people are told of what the run left.
fn named(entries: &[Entry]) -> String {
    let left = left(entries);
    let left = left.iter().map(|one| format!("{} {} {}", one.id, one.label, one.statement.text()));
    let owed = owed(entries);
    let owed = owed.iter().map(|(_, says)| says.text().to_owned());
    left.chain(owed).collect::<Vec<_>>().join("\n")
}

/// A drill that is killed after one of its entries, and ended by a person before anybody takes it up.
async fn ended((runbook, input, spec): (&'static str, Value, WorldSpec), at: u64) -> Scene {
    let scene = Scene::with(runbook, input, spec).await;
    let plan = scene.plan().await;
    scene.run_until_killed(approved(&plan, "drill-run"), at).await;
    scene.journal.abort("lee");
    let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
    assert_eq!(finished.outcome, Outcome::Rejected, "{runbook} {at}: {}", finished.says);
    scene
}

fn drills() -> Vec<(&'static str, Value, WorldSpec)> {
    let whatsapp = "whatsapp-send-failures";
    let with_vouchers = |scenario| WorldSpec { vouchers: 60, stations: 6, ..small(scenario) };
    let named = |name: &str| Scenario::named(name).unwrap();
    vec![
        (
            whatsapp,
            Value::Null,
            WorldSpec { profile: Profile::AsIs, ..small(Scenario::Outage { minutes: 6 }) },
        ),
        (whatsapp, Value::Null, small(named("rate-limited"))),
        (whatsapp, Value::Null, small(named("throttle-misconfigured"))),
        (whatsapp, Value::Null, small(Scenario::Outage { minutes: 25 })),
        (DISPATCHER, Value::Null, small(named("stalled"))),
        (DISPATCHER, Value::Null, small(named("unreachable"))),
        (DISPATCHER, json!({ "replay": "stop-start" }), small(named("stalled"))),
        ("station-redeem-anomalies", Value::Null, with_vouchers(named("double-redemption"))),
        ("station-redeem-anomalies", Value::Null, with_vouchers(named("wrong-scope"))),
        ("voucher-preview-failures", Value::Null, with_vouchers(named("function-removed"))),
    ]
}

/// Where a run is cut: around its changes, where it matters most, and not at each of hundreds.
fn cuts(entries: &[Entry]) -> Vec<u64> {
    let changes = entries.iter().filter(|entry| {
        matches!(entry.event, Event::Intended { .. } | Event::Applied { .. } | Event::Judged { .. })
    });
    let all: Vec<u64> = changes.map(|entry| entry.seq).collect();
    let step = all.len().div_ceil(10).max(1);
    all.into_iter().step_by(step).collect()
}

#[tokio::test]
async fn what_a_drill_that_was_ended_in_its_middle_left_is_back_after_its_undo_or_named() {
    for (runbook, input, spec) in drills() {
        let calm = Scene::with(runbook, input.clone(), spec.clone()).await;
        let before = facts(&calm);
        calm.plan_and_run().await;
        let cuts = cuts(&calm.entries());
        assert!(!cuts.is_empty(), "{runbook} {:?} changes something", spec.scenario);
        for at in cuts {
            let about = format!("{runbook} {:?} {input} killed after entry {at}", spec.scenario);
            let scene = ended((runbook, input.clone(), spec.clone()), at).await;
            let entries = scene.entries();
            let told = named(&entries);
            for thing in changed(&before, &facts(&scene)) {
                assert!(told.contains(&thing), "{about}: {thing} is another and unnamed:\n{told}");
            }
            let (plan, finished) = undo(&scene).await;
            let says = finished.as_ref().map_or(plan.ends.clone(), |finished| finished.says.clone());
            if let Some(finished) = &finished {
                assert_eq!(finished.outcome, Outcome::Undone, "{about}: {says}");
            }
            let for_good: Vec<String> = left(&entries)
                .iter()
                .filter(|one| matches!(one.remedy, allclear::engine::report::Remedy::Stays { .. }))
                .map(|one| format!("{} {}", one.id, one.label))
                .collect();
            for thing in changed(&before, &facts(&scene)) {
                assert!(says.contains(&thing), "{about}: {thing} is not back, and unnamed: {says}");
                let is_for_good = for_good.iter().any(|one| one.contains(&thing));
                assert!(is_for_good, "{about}: {thing} was to be given back: {says}");
            }
        }
    }
}

fn status(scene: &Scene, campaign: Uuid) -> String {
    let state = scene.sandbox.state();
    let all = state["campaigns"].as_array().unwrap();
    let one = all.iter().find(|one| one["id"] == campaign.to_string()).unwrap();
    one["status"].as_str().unwrap().to_owned()
}

/// A run that was ended between stop and start, and the campaign that is stopped.
async fn stopped(after: fn(&Event) -> bool) -> (Scene, Uuid) {
    let drill = (DISPATCHER, json!({ "replay": "stop-start" }), small(Scenario::Stalled));
    let at = |entry: &Entry| after(&entry.event);
    let scene = aborted(drill, |_| (), at).await;
    let state = scene.sandbox.state();
    let all = state["campaigns"].as_array().unwrap();
    let one = all.iter().find(|one| one["status"] == "done").unwrap();
    let id = one["id"].as_str().unwrap().parse().unwrap();
    (scene, id)
}

fn is_stopped(event: &Event) -> bool {
    matches!(event, Event::Applied { effect, .. } if effect == "campaign.stop")
}

fn is_proven_stopped(event: &Event) -> bool {
    matches!(event, Event::Judged { effect, .. } if effect == "campaign.stop")
}

/// Pages about a stop that nobody has resolved.
fn pages_about_stops(scene: &Scene) -> Vec<String> {
    let open = scene.sandbox.with_world(|world| world.open_pages());
    open.into_iter().filter(|title| title.contains("is stopped and about to be started")).collect()
}

#[tokio::test]
async fn a_campaign_that_was_stopped_to_be_started_again_is_started_by_the_undo() {
    for (after, at) in [("done", is_stopped as fn(&Event) -> bool), ("proven", is_proven_stopped)] {
        let (scene, campaign) = stopped(at).await;
        let entries = scene.entries();
        let left = left(&entries);
        let first = left.iter().find(|one| one.id == campaign.to_string()).unwrap();
        assert_eq!(first.command("drill-run").as_deref(), Some("allclear undo drill-run"), "{after}");
        assert_eq!(pages_about_stops(&scene).len(), 1, "it is paged about");
        let (_, finished) = undo(&scene).await;
        let finished = finished.unwrap();
        assert_eq!(finished.outcome, Outcome::Undone, "{after}: {}", finished.says);
        assert_eq!(status(&scene, campaign), "running", "{after}: {}", finished.says);
        assert!(pages_about_stops(&scene).is_empty(), "{after}: its page is over: {}", finished.says);
    }
}

#[tokio::test]
async fn a_campaign_that_an_ended_run_left_stopped_keeps_the_next_run_from_ending_as_verified() {
    let (scene, campaign) = stopped(is_proven_stopped).await;
    scene.clock.advance_to(scene.sandbox.now() + std::time::Duration::from_hours(1));
    let plan = scene.plan_of("next-run").await;
    let seam = MemoryJournal::new().seam(scene.clock.clone()).unwrap();
    let input = json!({ "replay": "stop-start" });
    let terms = Terms { humans: drill(), input, ..Terms::new("next-run", "kim", "sandbox") };
    let finished =
        execute(&*scene.runbook(), Box::new(seam), approved(&plan, "next-run"), terms).await.unwrap();
    assert_eq!(status(&scene, campaign), "done", "{}", finished.says);
    assert_ne!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(finished.says.contains("`allclear undo drill-run` starts it"), "{}", finished.says);
}

#[tokio::test]
async fn a_stopped_campaign_that_somebody_took_meanwhile_is_left_alone_by_the_undo() {
    let theirs: [(&str, &[&str], &str); 3] = [
        ("started it", &["start"], "running"),
        ("started and stopped it", &["start", "stop"], "done"),
        ("started and paused it", &["start", "pause"], "paused"),
    ];
    for (how, actions, then) in theirs {
        let (scene, campaign) = stopped(is_proven_stopped).await;
        for action in actions {
            scene.clock.advance_to(scene.sandbox.now() + std::time::Duration::from_secs(1));
            scene.sandbox.with_world(|world: &mut World| assert!(world.let_somebody_else(action, campaign)));
        }
        let starts = |scene: &Scene| {
            scene.effects().get(&("campaign.start".to_owned(), campaign.to_string())).copied()
        };
        let before = starts(&scene);
        let (_, finished) = undo(&scene).await;
        let says = finished.map(|finished| finished.says);
        assert_eq!(status(&scene, campaign), then, "{how}: {says:?}");
        assert_eq!(starts(&scene), before, "{how}: {says:?}");
    }
}

#[tokio::test]
async fn a_campaign_that_somebody_takes_before_it_is_stopped_is_not_stopped() {
    let ways: [&[&str]; 4] = [&["start"], &["pause"], &["stop"], &["start", "pause"]];
    for actions in ways {
        let spec = small(Scenario::Stalled);
        let scene = Scene::with(DISPATCHER, json!({ "replay": "stop-start" }), spec).await;
        let state = scene.sandbox.state();
        let all = state["campaigns"].as_array().unwrap();
        let first = all.iter().find(|one| one["status"] == "running").unwrap();
        let taken: Uuid = first["id"].as_str().unwrap().parse().unwrap();
        let then = match actions.last() {
            Some(&"start") => "running",
            Some(&"stop") => "done",
            _ => "paused",
        };
        let act = Box::new(move |world: &mut World| {
            for action in actions {
                assert!(world.let_somebody_else(action, taken));
            }
        });
        let finished = crate::people::beside(&scene, "Stop this campaign and start it again", act).await;
        for effect in ["campaign.stop", "campaign.start"] {
            let ours = scene.effects().get(&(effect.to_owned(), taken.to_string())).copied();
            assert_eq!(ours, None, "{actions:?}: {}", finished.says);
        }
        assert_eq!(status(&scene, taken), then, "{actions:?}: {}", finished.says);
        assert!(pages_about_stops(&scene).is_empty(), "{actions:?}: {}", finished.says);
    }
}
