//! A platform of mocks: every call that a test does not expect fails it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear_core::incident::{Incident, IncidentStatus};
use allclear_core::policy::{QuietHours, SendPolicy};
use allclear_core::ports::*;
use allclear_core::{Platform, Rehearsal, VirtualClock};
use allclear_engine::{ApprovedPlan, AutoApprove, Finished, Humans, MemoryJournal, Runbook, Terms, execute};

/// All ports mocked, none expecting anything but that no other run is known. Tests replace the ports that they are about.
pub(crate) fn platform() -> Platform {
    let mut announcements = MockAnnouncements::new();
    announcements.expect_all().returning(|_| Ok(Vec::new()));
    Platform {
        identity: "unit".into(),
        campaigns: Arc::new(MockCampaigns::new()),
        targets: Arc::new(MockTargets::new()),
        send_queue: Arc::new(MockSendQueue::new()),
        send_log: Arc::new(MockSendLog::new()),
        notifications: Arc::new(MockNotifications::new()),
        policy: Arc::new(MockPolicyStore::new()),
        sender: Arc::new(MockSender::new()),
        whatsapp: Arc::new(MockWhatsAppAccount::new()),
        vouchers: Arc::new(MockVouchers::new()),
        previews: Arc::new(MockVoucherPreviews::new()),
        replacements: Arc::new(MockReplacements::new()),
        redemptions: Arc::new(MockRedemptionLog::new()),
        redemption_exports: Arc::new(MockRedemptionExports::new()),
        stations: Arc::new(MockStations::new()),
        functions: Arc::new(MockFunctionHost::new()),
        project: Arc::new(MockProjectHost::new()),
        provider: Arc::new(MockProvider::new()),
        chat: Arc::new(MockChat::new()),
        paging: Arc::new(MockPaging::new()),
        audit: Arc::new(MockAuditLog::new()),
        announcements: Arc::new(announcements),
        times: Arc::new(allclear_core::HeardTimes::default()),
        artifacts: Arc::new(MockArtifacts::new()),
        status_page: Arc::new(MockStatusPage::new()),
        limits: Limits {
            recipients_zone: "Africa/Kigali".into(),
            default_policy: SendPolicy {
                quiet_hours: QuietHours::parse("22:00", "06:00").unwrap(),
                throttle_per_minute: 60,
            },
            dispatcher_interval: Duration::from_mins(1),
            dispatcher_batch: 40,
            status_page_is_safe: false,
            ops_channel: "#ops".into(),
            data_ops_channel: "#data-ops".into(),
            vendor_channel: "#vendor-support".into(),
            preview_function: "voucher-preview".into(),
            dispatch_function: "campaign-dispatch".into(),
            dangerous: DangerousApprovals::default(),
        },
        rehearsal: Some(sandbox()),
        recovery: None,
    }
}

/// Where mocks are rehearsed on.
fn sandbox() -> Rehearsal {
    Rehearsal::at("http://127.0.0.1:1").unwrap()
}

/// No plan: what a test is about is seldom how it was planned.
pub(crate) fn unplanned(run: &str) -> ApprovedPlan {
    ApprovedPlan::unplanned(&sandbox(), run)
}

/// What was called, in order: the specification that tests compare with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<String>>>);

impl Calls {
    pub(crate) fn note(&self, call: impl Into<String>) {
        self.0.lock().unwrap().push(call.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn contains(&self, call: &str) -> bool {
        self.all().iter().any(|one| one == call)
    }
}

/// An audit log that keeps what is inserted.
pub(crate) fn audit(calls: &Calls) -> MockAuditLog {
    let rows: Arc<Mutex<Vec<AuditRow>>> = Arc::default();
    let mut mock = MockAuditLog::new();
    let (kept, calls) = (Arc::clone(&rows), calls.clone());
    mock.expect_all_of().returning(|_, _| Ok(Vec::new()));
    mock.expect_insert().returning(move |row| {
        // What every pause is preceded by is no news.
        if !row.action.starts_with("allclear_") {
            calls.note(format!("audit {}", row.action));
        }
        kept.lock().unwrap().push(row.clone());
        Ok(())
    });
    mock.expect_find().returning(move |id| Ok(rows.lock().unwrap().iter().find(|row| row.id == id).cloned()));
    mock
}

/// A chat that keeps what is posted, in a thread or not; calls are noted as `chat #channel about`.
pub(crate) fn chat(calls: &Calls) -> MockChat {
    let markers: Arc<Mutex<Vec<String>>> = Arc::default();
    let mut mock = MockChat::new();
    let (kept, noted) = (Arc::clone(&markers), calls.clone());
    let keep = move |message: &ChatMessage| {
        assert!(!message.text.contains("+250"), "a number in a chat: {}", message.text);
        noted.note(format!("chat {} {}", message.channel, message.about));
        kept.lock().unwrap().push(message.marker.clone());
        Ok(Posted { ts: "1.000001".into() })
    };
    let keep_answer = keep.clone();
    mock.expect_post().returning(keep);
    mock.expect_reply().returning(move |_, message| keep_answer(message));
    let answers = Arc::clone(&markers);
    let look = |markers: &Mutex<Vec<String>>, marker: &str| {
        let known = markers.lock().unwrap().iter().any(|one| one == marker);
        known.then(|| Posted { ts: "1.000001".into() })
    };
    mock.expect_find().returning(move |_, marker| Ok(look(&markers, marker)));
    mock.expect_find_reply().returning(move |_, _, marker| Ok(look(&answers, marker)));
    mock
}

/// A paging service in which the incident `open` is open already.
pub(crate) fn paging(calls: &Calls, open: &str) -> MockPaging {
    let incident = |key: &str| Incident {
        id: "P1".into(),
        dedup_key: Some(key.to_owned()),
        title: key.to_owned(),
        status: IncidentStatus::Triggered,
        created_at: None,
    };
    let incidents: Arc<Mutex<Vec<Incident>>> = Arc::new(Mutex::new(vec![incident(open)]));
    let mut mock = MockPaging::new();
    let (kept, noted) = (Arc::clone(&incidents), calls.clone());
    mock.expect_trigger().returning(move |page| {
        noted.note("page");
        kept.lock().unwrap().push(incident(&page.dedup_key));
        Ok(())
    });
    let (kept, noted) = (Arc::clone(&incidents), calls.clone());
    mock.expect_resolve().returning(move |key| {
        noted.note("resolve");
        let mut incidents = kept.lock().unwrap();
        for incident in incidents.iter_mut().filter(|incident| incident.dedup_key.as_deref() == Some(key)) {
            incident.status = IncidentStatus::Resolved;
        }
        Ok(())
    });
    mock.expect_find().returning(move |key| {
        let incidents = incidents.lock().unwrap();
        Ok(incidents.iter().rfind(|incident| incident.dedup_key.as_deref() == Some(key)).cloned())
    });
    mock
}

/// Runs a procedure to its end in virtual time, as kim; `humans` answer its gates.
pub(crate) async fn run(
    runbook: &dyn Runbook,
    clock: Arc<VirtualClock>,
    humans: Arc<dyn Humans>,
) -> Finished {
    let terms = Terms { humans, ..Terms::new("run-1", "kim", "unit") };
    let seam = Box::new(MemoryJournal::new().seam(clock).unwrap());
    execute(runbook, seam, unplanned("run-1"), terms).await.unwrap()
}

/// Somebody who approves.
pub(crate) fn approver() -> Arc<dyn Humans> {
    Arc::new(AutoApprove { role: "commander".into() })
}
