//! The procedure as a specification: mocks only, virtual time, no sandbox and no network.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear_core::policy::StoredPolicy;
use allclear_core::ports::*;
use allclear_core::target::SendTally;
use allclear_core::{
    Campaign, CampaignStatus, Msisdn, Platform, PortError, QueueRows, Service, VirtualClock,
};
use allclear_engine::{AutoApprove, Event, Finished, MemoryJournal, Outcome, Terms, execute};
use jiff::Timestamp;

use super::{Input, WhatsAppSendFailures};
use crate::mocked;

/// The little of a platform that these tests need: one campaign, its queue, a policy, and a record of what was called.
#[derive(Debug)]
struct State {
    now: Arc<VirtualClock>,
    status: CampaignStatus,
    policy: StoredPolicy,
    error_code: String,
    sends_work_from: Timestamp,
    canaries: Vec<(String, Timestamp)>,
    audit: Option<AuditRow>,
    calls: Vec<String>,
}

type Shared = Arc<Mutex<State>>;

const ID: &str = "6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90";

fn start() -> Timestamp {
    "2026-11-23T07:00:00Z".parse().unwrap()
}

fn failing_with(code: &str, minutes: u64) -> Shared {
    Arc::new(Mutex::new(State {
        now: Arc::new(VirtualClock::at(start())),
        status: CampaignStatus::Running,
        policy: StoredPolicy {
            quiet_start: "22:00".into(),
            quiet_end: "06:00".into(),
            throttle_per_minute: 60,
            opted_out: 2,
        },
        error_code: code.to_owned(),
        sends_work_from: start() + Duration::from_secs(minutes * 60),
        canaries: Vec::new(),
        audit: None,
        calls: Vec::new(),
    }))
}

fn campaign(state: &State) -> Campaign {
    Campaign {
        id: ID.parse().unwrap(),
        name: "Spring".into(),
        status: state.status.clone(),
        started_at: None,
        finished_at: None,
    }
}

fn campaigns(shared: &Shared) -> MockCampaigns {
    let mut mock = MockCampaigns::new();
    mock.expect_last_change().returning(|_| Ok(None));
    let s = Arc::clone(shared);
    mock.expect_running().returning(move || {
        let state = s.lock().unwrap();
        Ok(if state.status == CampaignStatus::Running { vec![campaign(&state)] } else { Vec::new() })
    });
    let s = Arc::clone(shared);
    mock.expect_find().returning(move |_| Ok(campaign(&s.lock().unwrap())));
    mock.expect_changes_since().returning(|_, _| Ok(vec![]));
    let s = Arc::clone(shared);
    mock.expect_pause().returning(move |_| {
        let mut state = s.lock().unwrap();
        state.status = CampaignStatus::Paused;
        state.calls.push("pause".into());
        Ok(())
    });
    let s = Arc::clone(shared);
    mock.expect_start().returning(move |_| {
        let mut state = s.lock().unwrap();
        state.status = CampaignStatus::Running;
        state.calls.push("start".into());
        Ok(())
    });
    mock
}

fn send_log(shared: &Shared) -> MockSendLog {
    let mut mock = MockSendLog::new();
    let s = Arc::clone(shared);
    mock.expect_tally().returning(move |_, since| {
        let state = s.lock().unwrap();
        // Before the start everything failed; after a resume it works.
        if since < start() {
            let failed = [(state.error_code.clone(), 40)].into();
            let first = start() - Duration::from_mins(5);
            return Ok(SendTally {
                sent: 60,
                failed,
                retry_after_seconds: Some(300),
                first_failure_at: Some(first),
                last_failure_at: Some(start()),
                ..SendTally::default()
            });
        }
        let resumed = state.calls.last().is_some_and(|call| call == "start");
        Ok(SendTally { sent: if resumed { 20 } else { 0 }, ..SendTally::default() })
    });
    let s = Arc::clone(shared);
    mock.expect_delivery_reports().returning(|_| Ok(DeliveryReports::Written));
    mock.expect_to_number().returning(move |_, since| {
        let state = s.lock().unwrap();
        let delivered = state.canaries.iter().filter(|(_, at)| *at >= since).map(|(id, at)| Delivery {
            message_id: id.clone(),
            sent_at: *at,
            status: Some("delivered".into()),
            error_code: None,
        });
        Ok(delivered.collect())
    });
    mock
}

fn sender(shared: &Shared) -> MockSender {
    let mut mock = MockSender::new();
    let s = Arc::clone(shared);
    mock.expect_send_canary().returning(move |_| {
        use allclear_core::Clock as _;
        let mut state = s.lock().unwrap();
        let now = state.now.now();
        if now < state.sends_work_from {
            let (service, call) = (Service::EdgeFunctions, "POST send".to_owned());
            return Err(PortError::Unavailable { service, call, detail: "503".into() });
        }
        let id = format!("wamid.{}", state.canaries.len());
        state.canaries.push((id.clone(), now));
        state.calls.push("canary".into());
        Ok(Accepted { message_id: id })
    });
    mock.expect_canary_number().returning(|| "+250788000001".parse::<Msisdn>().unwrap());
    mock
}

fn queue() -> MockSendQueue {
    let mut mock = MockSendQueue::new();
    mock.expect_waiting_campaigns().returning(|| Ok(vec![ID.parse().unwrap()]));
    mock.expect_pending().returning(|_| Ok(100));
    mock.expect_depth().returning(|_, _| Ok(QueueDepth { pending: 100, ..QueueDepth::default() }));
    mock.expect_waiting().returning(|_| Ok(QueueRows::of((1..=100).map(|id| (id, true)))));
    mock.expect_skipped().returning(|_, _| Ok(0));
    mock.expect_due_before().returning(|_, _, _| Ok(0));
    mock.expect_given_up_messages().returning(|_| Ok(Vec::new()));
    mock
}

fn policy(shared: &Shared) -> MockPolicyStore {
    let mut mock = MockPolicyStore::new();
    let s = Arc::clone(shared);
    mock.expect_read().returning(move || Ok(s.lock().unwrap().policy.clone()));
    let s = Arc::clone(shared);
    mock.expect_write().returning(move |wanted| {
        let mut state = s.lock().unwrap();
        state.policy.quiet_start = wanted.quiet_hours.start.strftime("%H:%M").to_string();
        state.policy.quiet_end = wanted.quiet_hours.end.strftime("%H:%M").to_string();
        state.policy.throttle_per_minute = wanted.throttle_per_minute;
        state.calls.push("settings".into());
        Ok(())
    });
    mock
}

fn audit(shared: &Shared) -> MockAuditLog {
    let mut mock = MockAuditLog::new();
    mock.expect_all_of().returning(|_, _| Ok(Vec::new()));
    let s = Arc::clone(shared);
    mock.expect_insert().returning(move |row| {
        let mut state = s.lock().unwrap();
        state.audit = Some(row.clone());
        // What every pause is preceded by is no news.
        if !row.action.starts_with("allclear_") {
            state.calls.push("audit".into());
        }
        Ok(())
    });
    let s = Arc::clone(shared);
    mock.expect_find().returning(move |id| Ok(s.lock().unwrap().audit.clone().filter(|row| row.id == id)));
    mock
}

fn tellers(shared: &Shared) -> (MockProvider, MockPaging, MockChat) {
    let (mut provider, mut paging, mut chat) = (MockProvider::new(), MockPaging::new(), MockChat::new());
    let s = Arc::clone(shared);
    provider.expect_open_ticket().returning(move |ticket| {
        assert!(ticket.body.contains("Error code") && !ticket.body.contains("+250"), "{}", ticket.body);
        s.lock().unwrap().calls.push("ticket".into());
        Ok("T-1".into())
    });
    // Both are down: telling must not hold up the rest.
    let down = || PortError::Rejected {
        service: Service::Slack,
        call: "x".into(),
        code: None,
        detail: "down".into(),
    };
    paging.expect_find().returning(move |_| Err(down()));
    paging.expect_trigger().returning(move |_| Err(down()));
    paging.expect_resolve().returning(move |_| Err(down()));
    chat.expect_post().returning(move |_| Err(down()));
    (provider, paging, chat)
}

fn platform(shared: &Shared) -> Platform {
    let mut whatsapp = MockWhatsAppAccount::new();
    whatsapp.expect_health().returning(|| {
        Ok(PhoneHealth {
            can_send: CanSend::Available,
            quality: "GREEN".into(),
            error_codes: vec![],
            regain_access_minutes: None,
        })
    });
    whatsapp.expect_ids().returning(|| AccountIds { business_account: "2".into(), phone: "1".into() });
    let mut notifications = MockNotifications::new();
    notifications.expect_tally().returning(|_| Ok(SendTally::default()));
    notifications.expect_failed().returning(|_, _| Ok(vec![]));
    notifications.expect_still_failed().returning(|_| Ok(0));
    let (provider, paging, chat) = tellers(shared);
    Platform {
        campaigns: Arc::new(campaigns(shared)),
        send_queue: Arc::new(queue()),
        send_log: Arc::new(send_log(shared)),
        notifications: Arc::new(notifications),
        policy: Arc::new(policy(shared)),
        sender: Arc::new(sender(shared)),
        whatsapp: Arc::new(whatsapp),
        provider: Arc::new(provider),
        chat: Arc::new(chat),
        paging: Arc::new(paging),
        audit: Arc::new(audit(shared)),
        ..mocked::platform()
    }
}

async fn run(shared: &Shared) -> (Finished, MemoryJournal) {
    let journal = MemoryJournal::new();
    let clock = Arc::clone(&shared.lock().unwrap().now);
    let runbook = WhatsAppSendFailures { on: platform(shared), input: Input::default() };
    let humans = Arc::new(AutoApprove { role: "commander".into() });
    let terms = Terms { humans, ..Terms::new("run-1", "kim", "unit") };
    let finished =
        execute(&runbook, Box::new(journal.seam(clock).unwrap()), mocked::unplanned("run-1"), terms)
            .await
            .unwrap();
    (finished, journal)
}

fn calls(shared: &Shared) -> Vec<String> {
    shared.lock().unwrap().calls.clone()
}

#[tokio::test]
async fn an_outage_is_paused_waited_out_proven_by_a_delivered_canary_resumed_and_recorded() {
    let shared = failing_with("http_503", 5);
    let (finished, _) = run(&shared).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(calls(&shared), ["pause", "canary", "start", "audit"]);
}

#[tokio::test]
async fn the_provider_is_told_when_it_lasts_and_services_for_telling_that_are_down_hold_nothing_up() {
    let shared = failing_with("http_503", 30);
    let (finished, _) = run(&shared).await;
    assert_eq!(calls(&shared), ["pause", "ticket", "canary", "start", "audit"]);
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    let says = "a canary was delivered; 1 campaign runs again that this run had paused; open: nobody was told that WhatsApp sends fail";
    assert!(finished.says.contains(says), "{}", finished.says);
}

#[tokio::test]
async fn a_rate_limit_is_waited_out_before_anything_is_sent() {
    let shared = failing_with("130429", 0);
    let (finished, _) = run(&shared).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let first_canary = shared.lock().unwrap().canaries[0].1;
    assert!(
        first_canary >= start() + Duration::from_mins(5),
        "{first_canary}: the sends were told to wait 300 s"
    );
}

#[tokio::test]
async fn a_broken_policy_is_repaired_keeping_what_is_sound_and_never_to_zero() {
    let shared = failing_with("quiet_hours", 0);
    shared.lock().unwrap().policy = StoredPolicy {
        quiet_start: "now".into(),
        quiet_end: "06:00".into(),
        throttle_per_minute: 45,
        opted_out: 2,
    };
    let (finished, _) = run(&shared).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let policy = shared.lock().unwrap().policy.clone();
    assert_eq!((policy.quiet_start.as_str(), policy.throttle_per_minute), ("22:00", 45));
}

#[tokio::test]
async fn spam_restrictions_are_told_at_once_and_wait_for_a_person() {
    let shared = failing_with("131048", 0);
    let (finished, journal) = run(&shared).await;
    // Neither PagerDuty nor Slack works here.
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("nobody was told"), "{}", finished.says);
    assert_eq!(calls(&shared), ["pause", "ticket", "canary", "start", "audit"]);
    let asked =
        journal.entries().unwrap().into_iter().any(
            |e| matches!(&e.event, Event::Asked { question, .. } if question.question.contains("lifted")),
        );
    assert!(asked);
}

#[tokio::test]
async fn somebody_elses_pause_is_not_ours_to_resume() {
    let shared = failing_with("http_503", 0);
    shared.lock().unwrap().status = CampaignStatus::Paused;
    let (finished, _) = run(&shared).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(calls(&shared), ["canary", "audit"]);
}
