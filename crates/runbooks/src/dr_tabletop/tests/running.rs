//! The run itself: its plan, its deaths, its story and its end.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::Clock;
use allclear_engine::report::{Form, Postmortem, to_markdown};
use allclear_engine::seam::{Recorded, Woken};
use allclear_engine::{
    ApprovedPlan, Entry, Event, MemoryJournal, Nobody, Outcome, PlanApproval, PlanRules, Seam, SeamError,
    Shown, execute,
};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::humans::AnswersOnly;
use super::world::*;
use crate::mocked::approver;
use crate::mocked::unplanned;

#[tokio::test]
async fn a_plan_names_every_effect_and_has_none() {
    let world = world();
    let plan = world.plan().await;
    assert!(world.calls.all().is_empty(), "{:?}", world.calls.all());
    let effects: Vec<&str> = plan.effects.iter().map(|effect| effect.effect.as_str()).collect();
    let expected = [
        "pagerduty.trigger",
        "pagerduty.call_in",
        "slack.post",
        "backup.take",
        "objects.copy",
        "staging.restore",
        "artifact.write",
        "backup.keep_file",
        "artifact.write",
        "backup.keep_file",
        "staging.smoke_test",
        "staging.smoke_test",
        "staging.smoke_test",
        "staging.smoke_test",
        "document.write",
        "document.write",
        "document.write",
        "document.write",
        "artifact.write",
        "pagerduty.resolve",
        // In case that a service is away for long: the line, the page where the line does not arrive, and their ends.
        "slack.post",
        "pagerduty.trigger",
        "pagerduty.resolve",
        "slack.post",
    ];
    assert_eq!(effects, expected);
    let shown = plan.effects.iter().flat_map(|effect| &effect.changes).map(ToString::to_string);
    assert!(shown.into_iter().any(|change| change.contains("s3://backups/supabase")));
}

#[tokio::test]
async fn what_was_planned_is_what_is_done() {
    let world = world();
    let plan = world.plan().await;
    let journal = MemoryJournal::new();
    let seam = Box::new(journal.seam(Arc::clone(&world.clock) as Arc<dyn Clock>).unwrap());
    let yes = PlanApproval::of(&plan, "run-1", "alex", Shown::Hash);
    let rules = PlanRules::anyone("kim", plan.made_at);
    let approved = ApprovedPlan::by(plan, "run-1", vec![yes], &rules).unwrap();
    let finished = execute(&world.runbook(), seam, approved, terms(approver())).await.unwrap();
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let drifted = |entry: &Entry| matches!(entry.event, Event::Drifted { .. });
    assert!(!journal.entries().unwrap().iter().any(drifted));
}

/// The connection breaks during the backup, the copy and the restore: each is looked for before it is done again.
#[tokio::test]
async fn what_was_done_is_found_and_what_was_not_is_done_again() {
    for (lost, times) in [(Lost::AfterTheDeed, 1), (Lost::BeforeTheDeed, 2)] {
        for (before, call) in ["take backup", "copy objects", "restore"].into_iter().enumerate() {
            let answers = std::iter::repeat_n(None, before).chain([Some(lost)]).collect();
            let world = world().with(|outside| outside.lost = answers);
            let journal = MemoryJournal::new();
            let finished = world.go_on(&journal, approver()).await.unwrap();
            assert_eq!(finished.outcome, Outcome::Verified, "{call}: {}", finished.says);
            assert_eq!(world.times(call), times, "{call}, lost {lost:?}");
            let entries = journal.entries().unwrap();
            let asked = entries.iter().filter(|entry| matches!(entry.event, Event::Reconciled { .. }));
            assert_eq!(asked.count(), 1, "{call}, lost {lost:?}");
        }
    }
}

/// A seam that dies while it records its `at`th entry: what the entry tells of has happened, and is not recorded.
struct Dies {
    seam: Box<dyn Seam>,
    at: usize,
}

#[async_trait]
impl Seam for Dies {
    async fn record(&mut self, key: &str, body: BoxFuture<'_, Event>) -> Result<Recorded, SeamError> {
        if self.at == 0 {
            body.await;
            return Err(SeamError::Store { doing: "dying", detail: key.to_owned() });
        }
        self.at -= 1;
        self.seam.record(key, body).await
    }

    fn recorded(&self, key: &str) -> Option<&Entry> {
        self.seam.recorded(key)
    }

    async fn sleep(&mut self, until: Timestamp) -> Result<Woken, SeamError> {
        self.seam.sleep(until).await
    }

    async fn signal(
        &mut self,
        gate: &str,
        until: Option<Timestamp>,
        patience: bool,
    ) -> Result<Woken, SeamError> {
        self.seam.signal(gate, until, patience).await
    }

    async fn claim(&mut self, resource: &str) -> Result<(), SeamError> {
        self.seam.claim(resource).await
    }

    fn incarnation(&self) -> u32 {
        self.seam.incarnation()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.seam.clock()
    }
}

/// R5 and the "never repeats": killed between each thing and its record, it goes on and does nothing twice.
#[tokio::test]
async fn killed_anywhere_it_goes_on_and_does_nothing_twice() {
    let mut deaths = 0;
    for at in 0.. {
        let world = world();
        let journal = MemoryJournal::new();
        let seam = Box::new(journal.seam(Arc::clone(&world.clock) as Arc<dyn Clock>).unwrap());
        let died =
            execute(&world.runbook(), Box::new(Dies { seam, at }), unplanned("run-1"), terms(approver()))
                .await;
        if died.is_ok() {
            break;
        }
        deaths += 1;
        let finished = world.go_on(&journal, approver()).await.unwrap();
        assert_eq!(finished.outcome, Outcome::Verified, "killed at {at}: {}", finished.says);
        for once in ["page", "take backup", "copy objects", "restore", "chat #ops-status", "close incident"] {
            assert_eq!(world.times(once), 1, "killed at {at}: {once}");
        }
        let writes: Vec<String> = world
            .calls
            .all()
            .into_iter()
            .filter(|call| call.starts_with("write ") || call.starts_with("call in"))
            .collect();
        assert_eq!(writes.len(), 5, "killed at {at}: {writes:?}");
        let outside = world.outside.lock().unwrap();
        assert!(outside.tried.values().all(|markers| markers.len() == 1), "killed at {at}");
    }
    assert!(deaths > 80, "{deaths}");
}

/// The engine's own story of the run, made from the journal alone.
#[tokio::test]
async fn the_story_of_the_run_begins_with_what_was_found_first() {
    let world = world().with(|outside| outside.copy_took = Duration::from_mins(11));
    let journal = MemoryJournal::new();
    world.go_on(&journal, approver()).await.unwrap();
    let story =
        to_markdown(&Postmortem::from_entries(&journal.entries().unwrap(), super::super::STEPS), Form::Full);
    assert!(story.contains("At the start the run found: 2026-10-06 is in the cadence"), "{story}");
    assert!(story.contains("copy-time: the copy of the buckets took 11 min"), "{story}");
}

#[tokio::test]
async fn a_run_that_waits_has_not_ended() {
    let world = world();
    let finished = world.run_with(Arc::new(Nobody)).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman, "{}", finished.says);
    assert!(world.calls.all().is_empty());
}

#[tokio::test]
async fn an_abort_is_heard_at_every_step() {
    let world = world();
    let journal = MemoryJournal::new();
    let seam = journal.seam(Arc::clone(&world.clock) as Arc<dyn Clock>).unwrap();
    let before_restore = Arc::new(AnswersOnly { gates: &["DR-P2 begin"] });
    execute(&world.runbook(), Box::new(seam), unplanned("run-1"), terms(before_restore)).await.unwrap();
    journal.abort("kim");
    let finished = world.go_on(&journal, approver()).await.unwrap();
    assert_eq!((finished.outcome, world.times("restore")), (Outcome::Rejected, 0), "{}", finished.says);
}
