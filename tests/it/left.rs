//! What a run leaves behind when a person ends it, and what an undo gives back: judged by the world before, after the run, and
//! after the undo.

use allclear::core::owner::{Announcement, Ended, announce, end};
use allclear::engine::{Entry, Event, Finished, MemoryJournal, Outcome, Plan, Terms, UndoRun, execute, plan};
use allclear::sandbox::{Profile, Scenario, World, WorldSpec};
use serde_json::Value;

use crate::drills::statuses;
use crate::scene::{Scene, approved, drill, small};

const WHATSAPP: &str = "whatsapp-send-failures";

/// Of the rows of the queue, these.
type Which = fn(i64) -> bool;

/// Who had marked which messages as skipped before the run: one here and there, every second, and all of an earlier run's.
const BEFORE: [(&str, Which); 3] = [
    ("here and there", |row| row % 7 == 0),
    ("every second", |row| row % 2 == 0),
    ("one block", |row| (100..400).contains(&row)),
];

/// A world in which sending fails and the dispatcher looks at no campaign's status, so that the queue has to be stopped.
fn outage() -> WorldSpec {
    WorldSpec { profile: Profile::AsIs, ..small(Scenario::Outage { minutes: 6 }) }
}

fn theirs(scene: &Scene, which: Which) -> Vec<i64> {
    scene.sandbox.with_world(|world: &mut World| world.let_somebody_skip(which))
}

fn skipped(scene: &Scene) -> Vec<i64> {
    scene.sandbox.with_world(|world| world.skipped_rows().into_iter().map(|(row, _)| row).collect())
}

/// Runs until the process dies right after the last entry that `at` names in a run that nobody disturbs; a person ends it, and
/// whoever takes it up finds that.
pub(crate) async fn aborted(
    (runbook, input, spec): (&'static str, Value, WorldSpec),
    prepare: impl Fn(&mut World),
    at: impl Fn(&Entry) -> bool,
) -> Scene {
    let calm = Scene::with(runbook, input.clone(), spec.clone()).await;
    calm.sandbox.with_world(|world| prepare(world));
    calm.plan_and_run().await;
    let last = calm.entries().iter().rfind(|entry| at(entry)).unwrap().seq;
    let scene = Scene::with(runbook, input, spec).await;
    scene.sandbox.with_world(|world| prepare(world));
    let plan = scene.plan().await;
    let word = |word: &str| word.to_owned();
    let says = Announcement {
        run: word("drill-run"),
        runbook: word(runbook),
        by: word("kim"),
        host: word("a laptop"),
        environment: word("sandbox"),
    };
    announce(&*scene.platform.announcements, &says, None).await.unwrap();
    scene.run_until_killed(approved(&plan, "drill-run"), last).await;
    scene.journal.abort("lee");
    let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
    assert_eq!(finished.outcome, Outcome::Rejected, "{}", finished.says);
    end(&*scene.platform.announcements, runbook, "drill-run", &Ended::by_itself("rejected")).await.unwrap();
    scene
}

/// Takes back what the run left.
pub(crate) async fn undo(scene: &Scene) -> (Plan, Option<Finished>) {
    let undo = UndoRun::of(scene.runbook(), scene.journal.journal("drill-run").unwrap()).unwrap();
    let terms = || Terms { humans: drill(), input: undo.input(), ..Terms::new("undo-run", "kim", "sandbox") };
    let plan = plan(&undo, terms(), scene.clock.clone()).await.unwrap();
    if !plan.has_effects() {
        return (plan, None);
    }
    let seam = MemoryJournal::new().seam(scene.clock.clone()).unwrap();
    let finished = execute(&undo, Box::new(seam), approved(&plan, "undo-run"), terms()).await.unwrap();
    (plan, Some(finished))
}

/// The campaign whose messages were skipped first, as keys name it.
fn first_skipped(sandbox: &allclear::sandbox::Sandbox) -> String {
    let ledger = sandbox.ledger();
    let first = ledger.iter().find(|entry| entry.effect == "send_queue.skip" && entry.changed);
    first.map(|entry| entry.subject.clone()).unwrap_or_default()
}

/// The last proof that a queue is stopped, before anything is resumed.
fn queues_are_stopped(entry: &Entry) -> bool {
    entry.key.contains("send_queue.skip/verify") && !entry.key.contains("-R1")
}

#[tokio::test]
async fn messages_that_others_had_skipped_are_not_given_back_by_a_whole_run() {
    for (who, which) in BEFORE {
        let scene = Scene::with(WHATSAPP, Value::Null, outage()).await;
        let before = theirs(&scene, which);
        let (_, finished) = scene.plan_and_run().await;
        assert_eq!(finished.outcome, Outcome::Verified, "{who}: {}", finished.says);
        let stopped = scene.effects().into_keys().any(|(effect, _)| effect == "send_queue.skip");
        assert!(stopped, "{who}: the queue had to be stopped");
        assert_eq!(skipped(&scene), before, "{who}: {}", finished.says);
    }
}

#[tokio::test]
async fn messages_that_others_had_skipped_are_not_given_back_by_an_undo() {
    for (who, which) in BEFORE {
        let prepare = |world: &mut World| drop(world.let_somebody_skip(which));
        let scene = aborted((WHATSAPP, Value::Null, outage()), prepare, queues_are_stopped).await;
        let before = Scene::with(WHATSAPP, Value::Null, outage()).await;
        let before = theirs(&before, which);
        assert!(skipped(&scene).len() > before.len(), "{who}: the run has skipped some");
        let (_, finished) = undo(&scene).await;
        let finished = finished.unwrap();
        assert_eq!(finished.outcome, Outcome::Undone, "{who}: {}", finished.says);
        assert_eq!(skipped(&scene), before, "{who}: {}", finished.says);
    }
}

#[tokio::test]
async fn messages_that_others_had_skipped_are_not_given_back_by_a_run_that_takes_over() {
    for (who, which) in BEFORE {
        let prepare = |world: &mut World| drop(world.let_somebody_skip(which));
        let scene = aborted((WHATSAPP, Value::Null, outage()), prepare, queues_are_stopped).await;
        let before = Scene::with(WHATSAPP, Value::Null, outage()).await;
        let before = theirs(&before, which);
        scene.clock.advance_to(scene.sandbox.now() + std::time::Duration::from_hours(1));
        let plan = scene.plan_of("next-run").await;
        let seam = MemoryJournal::new().seam(scene.clock.clone()).unwrap();
        let terms = Terms { humans: drill(), ..Terms::new("next-run", "kim", "sandbox") };
        let finished =
            execute(&*scene.runbook(), Box::new(seam), approved(&plan, "next-run"), terms).await.unwrap();
        assert_eq!(finished.outcome, Outcome::Verified, "{who}: {}", finished.says);
        assert_eq!(skipped(&scene), before, "{who}: {}", finished.says);
    }
}

#[tokio::test]
async fn a_message_that_somebody_gives_back_right_after_the_skip_ends_nothing_and_the_others_are_resumed() {
    let scene = Scene::with(WHATSAPP, Value::Null, outage()).await;
    let plan = scene.plan().await;
    let world = std::sync::Arc::clone(&scene.sandbox);
    let listener = move |entry: &Entry| {
        let Event::Applied { effect, of, .. } = &entry.event else { return };
        if effect == "send_queue.skip" && entry.key.contains(&first_skipped(&world)) {
            let id = of.subject.trim_start_matches("campaign ").parse().unwrap();
            world.with_world(|world| assert!(world.let_somebody_give_one_back(id)));
        }
    };
    let terms = Terms { listener: Some(std::sync::Arc::new(listener)), ..scene.terms() };
    let finished = scene.run(approved(&plan, "drill-run"), terms).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("wait again"), "{}", finished.says);
    assert_eq!(statuses(&scene).iter().filter(|status| *status == "running").count(), 4, "{}", finished.says);
    assert!(skipped(&scene).is_empty(), "{}", finished.says);
}

#[tokio::test]
async fn an_undo_keeps_messages_skipped_of_a_campaign_that_somebody_stopped_or_paused() {
    for actions in [&["stop"][..], &["start", "pause"]] {
        let scene = aborted((WHATSAPP, Value::Null, outage()), |_| {}, queues_are_stopped).await;
        let campaigns = scene.sandbox.state()["campaigns"].as_array().unwrap().clone();
        let theirs = campaigns.iter().find(|one| one["skipped"].as_u64() > Some(0)).unwrap();
        let id = theirs["id"].as_str().unwrap();
        for action in actions {
            scene.clock.advance_to(scene.sandbox.now() + std::time::Duration::from_secs(1));
            scene.sandbox.with_world(|world| assert!(world.let_somebody_else(action, id.parse().unwrap())));
        }
        let kept = |scene: &Scene| {
            let state = scene.sandbox.state();
            let all = state["campaigns"].as_array().unwrap();
            all.iter().find(|one| one["id"] == id).unwrap()["skipped"].as_u64()
        };
        let before = kept(&scene);
        let (_, finished) = undo(&scene).await;
        let finished = finished.unwrap();
        assert_eq!(kept(&scene), before, "{actions:?}: {}", finished.says);
        assert!(
            finished.says.contains("left alone") || finished.says.contains("stay skipped"),
            "{}",
            finished.says
        );
        let others = scene.sandbox.state()["campaigns"].as_array().unwrap().clone();
        let others = others.iter().filter(|one| one["id"] != id);
        assert!(others.clone().all(|one| one["skipped"] == 0), "{actions:?}: {}", finished.says);
    }
}

#[tokio::test]
async fn an_undo_sends_nothing_at_night_and_its_plan_says_so() {
    let scene = aborted((WHATSAPP, Value::Null, outage()), |_| {}, queues_are_stopped).await;
    scene.clock.advance_to("2026-11-23T23:30:00Z".parse().unwrap());
    let (begun, morning) = (scene.sandbox.now(), "2026-11-24T04:00:00Z".parse().unwrap());
    let (plan, finished) = undo(&scene).await;
    let finished = finished.unwrap();
    assert_eq!(finished.outcome, Outcome::Undone, "{}", finished.says);
    let an_hour_later = morning + std::time::Duration::from_hours(1);
    scene.clock.advance_to(an_hour_later);
    let sent = |from, to| scene.sandbox.with_world(|world| world.tries_between(from, to));
    assert_eq!(sent(begun, morning), 0, "half past one in the night");
    assert!(sent(morning, an_hour_later) > 0, "what is given back goes out by day");
    let sends = ["campaign.start", "send_queue.restore"];
    let makes_send = plan.effects.iter().filter(|effect| sends.contains(&effect.effect.as_str()));
    let says_when = |note: &String| note.contains("outside quiet hours 22:00–06:00");
    let silent: Vec<_> = makes_send.filter(|one| !one.notes.iter().any(says_when)).collect();
    assert!(silent.is_empty(), "{silent:?}");
}
