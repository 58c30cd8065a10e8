//! A real incident while the exercise is held.

use std::sync::Arc;

use allclear_core::Clock;
use allclear_core::incident::IncidentStatus;
use allclear_engine::gate::Question;
use allclear_engine::{
    Answer, ApprovedPlan, Attention, Entry, Event, Humans, MemoryJournal, Outcome, PlanApproval, PlanRules,
    Shown, execute,
};
use async_trait::async_trait;

use super::humans::{AnswersOnly, Person};
use super::world::*;
use crate::mocked::approver;

/// With a real incident that is opened while that call is made.
fn during(call: &'static str) -> World {
    let mut world = world().with(|outside| outside.incident_with = Some(call));
    world.exercise.incident_services = vec![SERVICE.to_owned()];
    world
}

/// Answers everything, and whether a real incident is over so many times at each place.
struct SaysOver {
    times: u32,
}

#[async_trait]
impl Humans for SaysOver {
    async fn ask(&self, question: &Question, _given: &[Answer]) -> Attention {
        let round = question.gate.rsplit(' ').next().and_then(|round| round.parse::<u32>().ok());
        if question.gate.contains("real incident") && round.is_some_and(|round| round > self.times) {
            return Attention::Absent;
        }
        Attention::Answer(Answer::to(question, question.presumed.as_str(), "alex").typing("stagingref"))
    }
}

#[tokio::test]
async fn whatever_it_comes_with_nothing_further_is_begun_and_the_team_is_told_once() {
    for (call, next) in [
        ("page", "take backup"),
        ("take backup", "copy objects"),
        ("copy objects", "restore"),
        ("restore", "write docs/incidents/dr-tabletop.md"),
    ] {
        let world = during(call);
        let journal = MemoryJournal::new();
        let waiting = world.go_on(&journal, Arc::new(SaysOver { times: 0 })).await.unwrap();
        assert_eq!(waiting.outcome, Outcome::WaitingForHuman, "{call}: {}", waiting.says);
        assert!(waiting.says.contains("real incident before"), "{call}: {}", waiting.says);
        assert_eq!((world.times(call), world.times(next)), (1, 0), "{call}");
        assert!(world.outside.lock().unwrap().tried.is_empty(), "{call}");
        let told = |world: &World| {
            let outside = world.outside.lock().unwrap();
            let about: Vec<String> = outside.messages.iter().map(|one| one.text.clone()).collect();
            about
                .into_iter()
                .filter(|text| text.contains("PINC9 \"Sends fail\", acknowledged"))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(&world).len(), 1, "{call}");
        assert!(told(&world)[0].starts_with("[DRILL] The exercise of 2026-10-06 has stopped"));

        // Somebody says that it is over, and it is not: asked again, and nobody told again.
        world.with_now(|outside| outside.open[0].status = IncidentStatus::Triggered);
        let waiting = world.go_on(&journal, Arc::new(SaysOver { times: 1 })).await.unwrap();
        assert_eq!(waiting.outcome, Outcome::WaitingForHuman, "{call}: {}", waiting.says);
        assert!(waiting.says.contains(" 2"), "{call}: {}", waiting.says);
        assert_eq!(world.times(next), 0, "{call}");

        // It is over: the exercise goes on where it stood, and does nothing twice.
        world.with_now(|outside| outside.open.clear());
        let finished = world.go_on(&journal, Arc::new(SaysOver { times: 9 })).await.unwrap();
        assert_eq!(finished.outcome, Outcome::Verified, "{call}: {}", finished.says);
        for once in ["page", "take backup", "copy objects", "restore"] {
            assert_eq!(world.times(once), 1, "{call}: {once}");
        }
        assert_eq!(told(&world).len(), 1, "{call}");
        assert!(world.artifact("tabletop-report.md").contains("A real incident went first"), "{call}");
    }
}

/// What tells the team is part of the plan, so that nobody is asked whether it may be told.
#[tokio::test]
async fn a_run_of_an_approved_plan_tells_the_team_without_asking_anybody() {
    let world = during("take backup");
    let plan = world.plan().await;
    let told = plan.effects.iter().filter(|effect| effect.title.contains("#ops-status"));
    assert_eq!(told.count(), 2, "the draft, and that it stopped");
    let journal = MemoryJournal::new();
    let seam = Box::new(journal.seam(Arc::clone(&world.clock) as Arc<dyn Clock>).unwrap());
    let yes = PlanApproval::of(&plan, "run-1", "alex", Shown::Hash);
    let rules = PlanRules::anyone("kim", plan.made_at);
    let approved = ApprovedPlan::by(plan, "run-1", vec![yes], &rules).unwrap();
    let humans = Arc::new(SaysOver { times: 0 });
    let waiting = execute(&world.runbook(), seam, approved, terms(humans)).await.unwrap();
    assert!(waiting.says.contains("real incident before the copy of the buckets 1"), "{}", waiting.says);
    let drifted = |entry: &Entry| matches!(entry.event, Event::Drifted { .. });
    assert!(!journal.entries().unwrap().iter().any(drifted));
    assert_eq!(world.times("chat #ops-status"), 2);
}

#[tokio::test]
async fn it_can_be_ended_there_and_closes_its_own_incident() {
    let world = during("copy objects");
    let person = Person {
        types: "stagingref",
        at: ("DR-R1 real incident before the question for the restore 1", "reject"),
    };
    let finished = world.run_with(Arc::new(person)).await;
    assert_eq!(finished.outcome, Outcome::Rejected, "{}", finished.says);
    assert_eq!((world.times("restore"), world.times("close incident")), (0, 1));
    assert_eq!(world.outside.lock().unwrap().open.len(), 1, "the real one stays");
}

#[tokio::test]
async fn it_is_seen_once_more_between_the_typed_target_and_the_restore() {
    // It comes while the question for the restore stands open.
    let world = during("never");
    let journal = MemoryJournal::new();
    let asked = world.go_on(&journal, Arc::new(AnswersOnly { gates: &["DR-P2 begin"] })).await.unwrap();
    assert!(asked.says.contains("DR-R1 restore"), "{}", asked.says);
    world.with_now(|outside| outside.open.push(real_incident()));
    let waiting = world.go_on(&journal, Arc::new(SaysOver { times: 0 })).await.unwrap();
    assert!(waiting.says.contains("real incident before the restore 1"), "{}", waiting.says);
    assert_eq!(world.times("restore"), 0);
}

#[tokio::test]
async fn beside_a_real_incident_no_exercise_begins() {
    let world = during("never").with(|outside| outside.open.push(real_incident()));
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Refused, "{}", finished.says);
    assert!(finished.says.contains("PINC9") && world.calls.all().is_empty(), "{}", finished.says);
    // Where no service is named, nobody is asked; what is an exercise's own is none.
    let mut unasked = self::world().with(|outside| outside.open.push(real_incident()));
    unasked.exercise.incident_services.clear();
    assert_eq!(unasked.run_with(approver()).await.outcome, Outcome::Verified);
    assert_eq!(during("never").run().await.outcome, Outcome::Verified);
}
