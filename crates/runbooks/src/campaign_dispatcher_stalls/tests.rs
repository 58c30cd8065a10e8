//! The procedure as a specification: mocks only, virtual time, no sandbox and no network.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear_core::campaign::{CampaignAction, CampaignChange};
use allclear_core::function::{DeployedFunction, FunctionCalls, FunctionStatus};
use allclear_core::policy::StoredPolicy;
use allclear_core::ports::*;
use allclear_core::target::{SendTally, TargetProgress};
use allclear_core::{Campaign, CampaignStatus, Clock as _, Platform, VirtualClock};
use allclear_engine::{Nobody, Outcome};
use jiff::Timestamp;

use super::{CampaignDispatcherStalls, Input, Replay};
use crate::mocked::{self, Calls, approver};

const ID: &str = "6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90";

/// What the dispatcher does in a test.
#[derive(Debug, Clone, Copy)]
struct Dispatcher {
    /// Answers from here on.
    healthy_from: Timestamp,
    /// After a start it sends in so many runs.
    ticks: u64,
    /// Whether it updates targets.
    updates_targets: bool,
    /// Whether it sends without being started anew.
    sends: bool,
    /// Until when it sent before, where that was not long ago.
    sent_until: Option<Timestamp>,
    /// Messages that wait although they went out.
    sent_twice: u64,
}

struct World {
    clock: Arc<VirtualClock>,
    calls: Calls,
    status: Arc<Mutex<(CampaignStatus, Option<Timestamp>)>>,
    dispatcher: Dispatcher,
    quiet: (&'static str, &'static str),
    /// Whether somebody started the campaign a short while ago.
    started_before: bool,
}

fn start() -> Timestamp {
    "2026-11-23T07:00:00Z".parse().unwrap()
}

fn stalled() -> World {
    World {
        clock: Arc::new(VirtualClock::at(start())),
        calls: Calls::default(),
        status: Arc::new(Mutex::new((CampaignStatus::Running, None))),
        dispatcher: Dispatcher {
            healthy_from: start(),
            ticks: 100,
            updates_targets: true,
            sends: false,
            sent_until: None,
            sent_twice: 0,
        },
        quiet: ("22:00", "06:00"),
        started_before: false,
    }
}

impl World {
    fn campaigns(&self) -> MockCampaigns {
        let mut mock = MockCampaigns::new();
        mock.expect_last_change().returning(|_| Ok(None));
        let campaign = |status: CampaignStatus| Campaign {
            id: ID.parse().unwrap(),
            name: "Spring".into(),
            status,
            started_at: None,
            finished_at: None,
        };
        let status = Arc::clone(&self.status);
        mock.expect_running().returning(move || Ok(vec![campaign(status.lock().unwrap().0.clone())]));
        let status = Arc::clone(&self.status);
        mock.expect_find().returning(move |_| Ok(campaign(status.lock().unwrap().0.clone())));
        let started_before = self.started_before;
        mock.expect_changes_since().returning(move |_, since| {
            let at = since + Duration::from_mins(1);
            let change = CampaignChange { action: CampaignAction::Start, ours: true, at };
            Ok(if started_before { vec![change] } else { vec![] })
        });
        let moves = |to: CampaignStatus, call: &'static str| {
            let (status, calls, clock) =
                (Arc::clone(&self.status), self.calls.clone(), Arc::clone(&self.clock));
            move |_| {
                calls.note(call);
                let started = (to == CampaignStatus::Running).then(|| clock.now());
                *status.lock().unwrap() = (to.clone(), started);
                Ok(())
            }
        };
        mock.expect_pause().returning(moves(CampaignStatus::Paused, "pause"));
        mock.expect_stop().returning(moves(CampaignStatus::Done, "stop"));
        mock.expect_start().returning(moves(CampaignStatus::Running, "start"));
        mock
    }

    /// Sends since a moment: one a minute from the start on.
    fn sends(&self) -> impl Fn(Timestamp) -> u64 + Send + Sync + 'static {
        let (clock, status, dispatcher) =
            (Arc::clone(&self.clock), Arc::clone(&self.status), self.dispatcher);
        move |since| {
            let earlier = dispatcher.sent_until.filter(|until| *until > since);
            let earlier =
                earlier.map_or(0, |until| until.duration_since(since).as_secs().unsigned_abs() / 60);
            let from = if dispatcher.sends {
                Some(start() - Duration::from_hours(1))
            } else {
                status.lock().unwrap().1
            };
            let Some(from) = from else { return earlier };
            let minute = |at: Timestamp| at.duration_since(from).as_secs().max(0).unsigned_abs() / 60;
            let until = minute(clock.now()).min(dispatcher.ticks);
            earlier + until.saturating_sub(minute(since))
        }
    }

    fn platform(&self) -> Platform {
        let (mut targets, mut queue, mut log) =
            (MockTargets::new(), MockSendQueue::new(), MockSendLog::new());
        let (sends, dispatcher, clock) = (self.sends(), self.dispatcher, Arc::clone(&self.clock));
        targets.expect_progress().returning(move |_| {
            let before = dispatcher.sent_until.unwrap_or(start() - Duration::from_hours(1));
            let moved = dispatcher.updates_targets && sends(before) > 0;
            let last = if moved { clock.now() } else { start() - Duration::from_mins(12) };
            Ok(TargetProgress { by_status: [("queued".to_owned(), 40)].into(), last_update_at: Some(last) })
        });
        queue
            .expect_depth()
            .returning(|_, _| Ok(QueueDepth { pending: 40, due: 40, ..QueueDepth::default() }));

        queue.expect_unsent_at().returning(|_, _, _| Ok(None));
        queue.expect_given_up_messages().returning(|_| Ok(Vec::new()));
        queue.expect_sent_but_pending().returning(move |_| Ok(dispatcher.sent_twice));
        let sends = self.sends();
        log.expect_tally()
            .returning(move |_, since| Ok(SendTally { sent: sends(since), ..SendTally::default() }));
        let mut functions = MockFunctionHost::new();
        functions.expect_find().returning(|slug| {
            let updated_at = start();
            Ok(Some(DeployedFunction {
                slug: slug.to_owned(),
                status: FunctionStatus::Active,
                version: 4,
                updated_at,
            }))
        });
        let clock = Arc::clone(&self.clock);
        functions.expect_calls_since().returning(move |_, _| {
            let healthy = clock.now() >= dispatcher.healthy_from;
            Ok(FunctionCalls { succeeded: if healthy { 5 } else { 0 }, failed: if healthy { 0 } else { 5 } })
        });
        let (mut policy, quiet) = (MockPolicyStore::new(), self.quiet);
        policy.expect_read().returning(move || {
            let (quiet_start, quiet_end) = (quiet.0.to_owned(), quiet.1.to_owned());
            Ok(StoredPolicy { quiet_start, quiet_end, throttle_per_minute: 60, opted_out: 0 })
        });
        Platform {
            campaigns: Arc::new(self.campaigns()),
            targets: Arc::new(targets),
            send_queue: Arc::new(queue),
            send_log: Arc::new(log),
            functions: Arc::new(functions),
            policy: Arc::new(policy),
            chat: Arc::new(mocked::chat(&self.calls)),
            paging: Arc::new(mocked::paging(&self.calls, "campaign-dispatcher")),
            audit: Arc::new(mocked::audit(&self.calls)),
            ..mocked::platform()
        }
    }

    async fn run(&self, input: Input) -> (Outcome, String) {
        let runbook = CampaignDispatcherStalls { on: self.platform(), input };
        let finished = mocked::run(&runbook, Arc::clone(&self.clock), approver()).await;
        (finished.outcome, finished.says)
    }
}

#[tokio::test]
async fn a_stall_is_paused_started_anew_watched_and_recorded() {
    let world = stalled();
    let (outcome, says) = world.run(Input::default()).await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    assert_eq!(world.calls.all(), ["pause", "start", "audit dispatcher_replay", "audit incident_resolution"]);
}

#[tokio::test]
async fn a_campaign_that_moves_is_left_alone() {
    let mut world = stalled();
    world.dispatcher.sends = true;
    let (outcome, says) = world.run(Input::default()).await;
    assert_eq!((outcome, world.calls.all().len()), (Outcome::Verified, 0), "{says}");
}

#[tokio::test]
async fn quiet_hours_are_no_stall() {
    let mut world = stalled();
    // 09:00 in Kigali, and it sent until the quiet hours began.
    world.quiet = ("08:00", "12:00");
    world.dispatcher.sent_until = Some("2026-11-23T06:00:00Z".parse().unwrap());
    let (outcome, says) = world.run(Input::default()).await;
    assert_eq!((outcome, world.calls.all().len()), (Outcome::Verified, 0), "{says}");
    assert!(says.contains("quiet hours"), "{says}");
}

#[tokio::test]
async fn quiet_hours_explain_no_stall_that_began_before_or_in_them_and_what_is_started_waits_for_their_end() {
    for sent_until in ["2026-11-23T05:30:00Z", "2026-11-23T06:40:00Z"] {
        let mut world = stalled();
        world.quiet = ("08:00", "12:00");
        world.dispatcher.sent_until = Some(sent_until.parse().unwrap());
        let (outcome, says) = world.run(Input::default()).await;
        assert_eq!(outcome, Outcome::Verified, "{sent_until}: {says}");
        assert_eq!(world.calls.all()[..2], ["pause", "start"], "{sent_until}");
        let started = world.status.lock().unwrap().1.unwrap();
        assert!(started >= "2026-11-23T10:00:00Z".parse().unwrap(), "started in quiet hours, at {started}");
    }
}

#[tokio::test]
async fn a_dispatcher_that_cannot_be_reached_does_not_rest() {
    let mut world = stalled();
    world.quiet = ("08:00", "12:00");
    world.dispatcher.sent_until = Some("2026-11-23T06:00:00Z".parse().unwrap());
    world.dispatcher.healthy_from = start() + Duration::from_mins(20);
    let (outcome, says) = world.run(Input::default()).await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    assert_eq!(world.calls.all()[..4], ["pause", "page", "chat #ops unreachable", "start"]);
    let started = world.status.lock().unwrap().1.unwrap();
    assert!(started >= "2026-11-23T10:00:00Z".parse().unwrap(), "started in quiet hours, at {started}");
}

#[tokio::test]
async fn while_the_dispatcher_cannot_be_reached_campaigns_stay_paused_and_engineering_knows() {
    let mut world = stalled();
    world.dispatcher.healthy_from = start() + Duration::from_mins(20);
    let (outcome, says) = world.run(Input::default()).await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    assert_eq!(world.calls.all()[..4], ["pause", "page", "chat #ops unreachable", "start"]);
    let started = world.status.lock().unwrap().1.unwrap();
    assert!(started >= world.dispatcher.healthy_from, "started at {started}, before it was healthy");
}

#[tokio::test]
async fn one_tick_is_no_recovery() {
    let mut world = stalled();
    world.dispatcher.ticks = 1;
    let (outcome, says) = world.run(Input::default()).await;
    assert_eq!(outcome, Outcome::Refuted, "{says}");
    assert_eq!(world.calls.all()[..5], ["pause", "start", "pause", "page", "chat #ops still-stalled"]);
}

#[tokio::test]
async fn targets_that_stay_while_messages_go_out_are_an_outcome_of_their_own() {
    let mut world = stalled();
    (world.dispatcher.sends, world.dispatcher.updates_targets) = (true, false);
    let (outcome, says) = world.run(Input::default()).await;
    assert_eq!((outcome, world.calls.all().len()), (Outcome::Unverified, 0), "{says}");
    assert!(says.contains("targets are not updated"), "{says}");
}

#[tokio::test]
async fn messages_that_went_out_already_keep_a_campaign_paused() {
    let mut world = stalled();
    world.dispatcher.sent_twice = 7;
    let (outcome, says) = world.run(Input::default()).await;
    assert_eq!(outcome, Outcome::Refused, "{says}");
    assert_eq!(world.calls.all(), ["pause", "audit incident_resolution"]);
}

#[tokio::test]
async fn a_stall_that_came_back_within_half_an_hour_is_not_replayed_without_a_person() {
    let mut world = stalled();
    world.started_before = true;
    let runbook = CampaignDispatcherStalls { on: world.platform(), input: Input::default() };
    let finished = mocked::run(&runbook, Arc::clone(&world.clock), Arc::new(Nobody)).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman, "{}", finished.says);
    assert_eq!(world.calls.all(), ["pause"]);
}

#[tokio::test]
async fn stop_then_start_is_by_choice_only_and_under_an_open_incident() {
    let world = stalled();
    let input = Input { replay: Replay::StopStart, ..Input::default() };
    let (outcome, says) = world.run(input.clone()).await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    assert_eq!(world.calls.all()[..5], ["pause", "page", "stop", "start", "resolve"]);

    let unasked = stalled();
    let runbook = CampaignDispatcherStalls { on: unasked.platform(), input };
    let finished = mocked::run(&runbook, Arc::clone(&unasked.clock), Arc::new(Nobody)).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman);
    assert!(!unasked.calls.contains("stop"));
}
