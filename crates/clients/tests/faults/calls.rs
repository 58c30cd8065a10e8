//! Every method of every port that talks to a service.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use allclear_clients::Settings;
use allclear_clients::management::Management;
use allclear_clients::pagerduty::PagerDuty;
use allclear_clients::smoke::{StagingSmokeTests, StationLogin};
use allclear_clients::storage::{BucketLists, EvidenceBucket, StorageAccess};
use allclear_core::function::{Bundle, Preview};
use allclear_core::notification::NotificationId;
use allclear_core::owner::{Announced, AnnouncedEffect, Announcement, EffectPlace, Ended, ProcessId};
use allclear_core::policy::{QuietHours, SendPolicy};
use allclear_core::ports::{
    Acknowledgements, AuditRow, BackupHost, ChatMessage, EvidenceShelf, NewReplacement, NewVoucherEvent,
    OpenIncidents, Page, Posted, SmokeTests, StoredObjects, Ticket,
};
use allclear_core::recovery::{SmokeResult, SmokeTest};
use allclear_core::station::StationId;
use allclear_core::target::TargetRange;
use allclear_core::voucher::{AsSeen, Voucher};
use allclear_core::{CampaignId, Clock, Platform, PortError, QueueRows, Service, VoucherId};
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

/// What a call found, where it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Good {
    /// It did what it is for.
    Done,
    /// It says in its own words what is wrong: a preview that fails is an answer about previews.
    Diagnosed,
}

type Outcome = Pin<Box<dyn Future<Output = Result<Good, PortError>> + Send>>;

/// All clients at one place: the platform, and those ports of the exercise that are services, each connected when it is
/// asked for.
pub(crate) struct Clients {
    pub(crate) platform: Platform,
    pub(crate) settings: Settings,
    pub(crate) storage: StorageAccess,
    pub(crate) clock: Arc<dyn Clock>,
}

impl std::ops::Deref for Clients {
    type Target = Platform;

    fn deref(&self) -> &Platform {
        &self.platform
    }
}

fn announcement() -> Announcement {
    let [run, runbook, by, host, environment] = ["run-1", "x", "kim", "x", "x"].map(str::to_owned);
    Announcement { run, runbook, by, host, environment }
}

fn announced_effect() -> AnnouncedEffect {
    let [run, effect, host] = ["run-1", "slack.post", "x"].map(str::to_owned);
    AnnouncedEffect { run, effect, process: ProcessId::random(), intended_at: Timestamp::UNIX_EPOCH, host }
}

impl Clients {
    fn people(&self) -> PagerDuty {
        let routing_key = &self.settings.credentials.pagerduty_routing_key;
        PagerDuty::connect(&self.settings, routing_key, &self.clock).unwrap()
    }

    fn host(&self) -> Management {
        Management::of_project(&self.settings, &self.settings.supabase_project, &self.clock).unwrap()
    }

    fn smoke(&self) -> StagingSmokeTests {
        let station = StationLogin { code: "ST000".to_owned(), passcode: "ST000".into() };
        StagingSmokeTests::new(&self.settings, station, &self.clock).unwrap()
    }

    fn stored(&self) -> BucketLists {
        BucketLists::connect(&self.settings, &self.storage, &self.clock).unwrap()
    }

    fn evidence(&self) -> EvidenceBucket {
        EvidenceBucket::connect(&self.settings, &self.storage, "exercises", "run", &self.clock).unwrap()
    }
}

/// One method.
#[derive(Clone, Copy)]
pub(crate) struct Method {
    /// `Port::method`, and in brackets what is asked for where that makes other calls.
    pub(crate) name: &'static str,
    pub(crate) call: fn(Clients, Arc<Scene>) -> Outcome,
}

/// What the world has for the methods to be about.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    campaign: CampaignId,
    rows: QueueRows,
    voucher: Voucher,
    seen: AsSeen,
    failed: Vec<NotificationId>,
    station: StationId,
    bundle: Bundle,
    since: Timestamp,
    later: Timestamp,
    posted: Posted,
    incident: String,
    /// What a smoke test does is done once for a marker.
    marker: String,
}

fn message() -> ChatMessage {
    let word = || "x".to_owned();
    ChatMessage { channel: "#ops".to_owned(), text: word(), about: word(), marker: word() }
}

impl Scene {
    pub(crate) async fn of(platform: &Platform, since: Timestamp) -> Self {
        let campaign = platform.campaigns.running().await.unwrap()[0].id;
        let voucher = platform.vouchers.newest_redeemable(1).await.unwrap()[0];
        let voucher = platform.vouchers.find(voucher).await.unwrap();
        let posted = platform.chat.post(&message()).await.unwrap();
        let word = || "scene".to_owned();
        let page = Page {
            dedup_key: word(),
            summary: word(),
            source: word(),
            severity: allclear_core::incident::Severity::Critical,
            details: word(),
        };
        platform.paging.trigger(&page).await.unwrap();
        let incident = platform.paging.find("scene").await.unwrap().unwrap().id;
        let seen = AsSeen { status: voucher.status.clone(), updated_at: voucher.updated_at };
        Self {
            campaign,
            rows: QueueRows::of([(1, true), (2, true)]),
            seen,
            failed: vec![NotificationId(Uuid::from_u128(3))],
            station: platform.stations.named("Station 1").await.unwrap()[0].id,
            bundle: platform.functions.bundle("voucher-preview").await.unwrap(),
            voucher,
            since,
            later: since + std::time::Duration::from_hours(1),
            posted,
            incident,
            marker: "scene".to_owned(),
        }
    }

    /// The same scene with a smoke test that was not made yet.
    pub(crate) fn marked(&self, marker: &str) -> Self {
        Self { marker: marker.to_owned(), ..self.clone() }
    }

    /// The same scene with an incident that nobody was called in to yet: whoever was is not asked again.
    pub(crate) async fn with_an_incident_of_its_own(&self, platform: &Platform, name: &str) -> Self {
        let word = || name.to_owned();
        let severity = allclear_core::incident::Severity::Critical;
        let page = Page { dedup_key: word(), summary: word(), source: word(), severity, details: word() };
        platform.paging.trigger(&page).await.unwrap();
        let incident = platform.paging.find(name).await.unwrap().unwrap().id;
        Self { incident, ..self.clone() }
    }

    fn replacement(&self) -> NewReplacement {
        NewReplacement {
            id: VoucherId(Uuid::from_u128(7)),
            original: self.voucher.id,
            amount: self.voucher.amount.clone(),
            msisdn: "+250788000001".parse().unwrap(),
            station_scope: None,
            campaign: None,
            expires_at: None,
            held_by: "run".to_owned(),
        }
    }
}

macro_rules! methods {
    ($($name:literal: |$platform:ident, $scene:ident| $call:expr),* $(,)?) => {
        &[$(Method {
            name: $name,
            call: |$platform, $scene| Box::pin(async move {
                let _ = &$scene;
                $call.await.map(|_| Good::Done)
            }),
        }),*]
    };
}

/// All of them, but for those that have more to say than that they failed.
const PLAIN: &[Method] = methods! {
    "Campaigns::running": |p, s| p.campaigns.running(),
    "Campaigns::find": |p, s| p.campaigns.find(s.campaign),
    "Campaigns::pause": |p, s| p.campaigns.pause(s.campaign),
    "Campaigns::start": |p, s| p.campaigns.start(s.campaign),
    "Campaigns::stop": |p, s| p.campaigns.stop(s.campaign),
    "Campaigns::changes_since": |p, s| p.campaigns.changes_since(s.campaign, s.since),
    "Campaigns::last_change": |p, s| p.campaigns.last_change(s.campaign),
    "Targets::failed": |p, s| p.targets.failed(s.campaign, TargetRange::default(), 5),
    "Targets::count_failed": |p, s| p.targets.count_failed(s.campaign),
    "Targets::progress": |p, s| p.targets.progress(s.campaign),
    "SendQueue::given_up": |p, s| p.send_queue.given_up(s.campaign),
    "SendQueue::given_up_messages": |p, s| p.send_queue.given_up_messages(s.campaign),
    "SendQueue::given_up_among": |p, s| p.send_queue.given_up_among(s.campaign, &s.rows),
    "SendQueue::put_back": |p, s| p.send_queue.put_back(s.campaign, &s.rows, s.later),
    "SendQueue::untried": |p, s| p.send_queue.untried(s.campaign, &s.rows),
    "SendQueue::give_up": |p, s| p.send_queue.give_up(s.campaign, &s.rows),
    "SendQueue::waiting_campaigns": |p, s| p.send_queue.waiting_campaigns(),
    "SendQueue::pending": |p, s| p.send_queue.pending(s.campaign),
    "SendQueue::depth": |p, s| p.send_queue.depth(s.campaign, s.since),
    "SendQueue::sent_but_pending": |p, s| p.send_queue.sent_but_pending(s.campaign),
    "SendQueue::waiting": |p, s| p.send_queue.waiting(s.campaign),
    "SendQueue::skipped": |p, s| p.send_queue.skipped(s.campaign, &s.rows),
    "SendQueue::skip": |p, s| p.send_queue.skip(s.campaign, &s.rows),
    "SendQueue::restore": |p, s| p.send_queue.restore(s.campaign, &s.rows),
    "SendQueue::due_before": |p, s| p.send_queue.due_before(s.campaign, &s.rows, s.later),
    "SendQueue::postpone": |p, s| p.send_queue.postpone(s.campaign, &s.rows, s.later),
    "SendQueue::unsent_at": |p, s| p.send_queue.unsent_at(s.campaign, &s.rows, 1),
    "SendQueue::due_from": |p, s| p.send_queue.due_from(s.campaign, &s.rows, 1, s.later),
    "SendQueue::postpone_from": |p, s| p.send_queue.postpone_from(s.campaign, &s.rows, 1, s.later),
    "SendLog::tally": |p, s| p.send_log.tally(Some(s.campaign), s.since),
    "SendLog::delivery_reports": |p, s| p.send_log.delivery_reports(s.later),
    "SendLog::status_reports": |p, s| p.send_log.status_reports("wamid.1", s.since),
    "SendLog::failed_sends": |p, s| p.send_log.failed_sends(s.campaign),
    "SendLog::to_number": |p, s| async move { p.send_log.to_number(&p.sender.canary_number(), s.since).await },
    "Notifications::tally": |p, s| p.notifications.tally(s.since),
    "Notifications::failed": |p, s| p.notifications.failed(s.since, 2),
    "Notifications::still_failed": |p, s| p.notifications.still_failed(&s.failed),
    "Notifications::retry": |p, s| p.notifications.retry(&s.failed),
    "PolicyStore::read": |p, s| p.policy.read(),
    "PolicyStore::write": |p, s| async move {
        let quiet_hours = QuietHours::parse("22:00", "06:00").unwrap();
        p.policy.write(&SendPolicy { quiet_hours, throttle_per_minute: 60 }).await
    },
    "Sender::send_canary": |p, s| p.sender.send_canary("marker"),
    "WhatsAppAccount::health": |p, s| p.whatsapp.health(),
    "Provider::open_ticket": |p, s| async move {
        p.provider.open_ticket(&Ticket { subject: "s".to_owned(), body: "b".to_owned() }).await
    },
    "Chat::post": |p, s| async move { p.chat.post(&message()).await },
    "Chat::find": |p, s| p.chat.find("#ops", "none"),
    "Chat::reply": |p, s| async move { p.chat.reply(&s.posted, &message()).await },
    "Chat::find_reply": |p, s| p.chat.find_reply("C0OPS", &s.posted, "none"),
    "Chat::post_by_webhook": |p, s| async move { p.chat.post_by_webhook(&message()).await },
    "Acknowledgements::of_incident": |p, s| async move { p.people().of_incident(&s.incident).await },
    "Acknowledgements::call_in": |p, s| async move {
        p.people().call_in(&s.incident, &["PSBXUSER2".to_owned()], "please join").await
    },
    "Acknowledgements::called_in": |p, s| async move { p.people().called_in(&s.incident).await },
    "OpenIncidents::on_services": |p, s| async move { p.people().on_services(&["PSBXSERVICE".to_owned()]).await },
    "BackupHost::hosted_backups": |p, s| async move { p.host().hosted_backups().await },
    "StoredObjects::of_bucket": |p, s| async move { p.stored().of_bucket("vouchers").await },
    // A file of its own each time: one that is there is not uploaded again.
    "EvidenceShelf::keep": |p, s| async move {
        p.evidence().keep(&Uuid::new_v4().to_string(), b"a line of a log\n").await
    },
    "EvidenceShelf::find": |p, s| async move {
        let absent = PortError::NotFound { service: Service::Storage, what: KEPT.to_owned() };
        p.evidence().find(KEPT).await?.ok_or(absent)
    },
    "EvidenceShelf::link": |p, s| async move {
        p.evidence().link(KEPT, std::time::Duration::from_mins(1)).await
    },
    "Paging::trigger": |p, s| async move {
        let word = || "x".to_owned();
        let severity = allclear_core::incident::Severity::Critical;
        p.paging.trigger(&Page { dedup_key: word(), summary: word(), severity, source: word(), details: word() }).await
    },
    "Paging::find": |p, s| p.paging.find("x"),
    "Paging::resolve": |p, s| p.paging.resolve("x"),
    "AuditLog::insert": |p, s| async move {
        let word = || "x".to_owned();
        let (action, target_table, target_id) = (word(), word(), word());
        p.audit.insert(&AuditRow { id: Uuid::from_u128(9), action, target_table, target_id, diff: json!({}) }).await
    },
    "AuditLog::find": |p, s| p.audit.find(Uuid::from_u128(9)),
    "AuditLog::all_of": |p, s| p.audit.all_of("allclear_holds", "whatsapp-send-failures"),
    "Announcements::all": |p, s| p.announcements.all("x"),
    "Announcements::announce": |p, s| async move { p.announcements.announce(0, &announcement()).await },
    "Announcements::end": |p, s| async move {
        let one = Announced { number: 0, says: announcement(), since: Timestamp::UNIX_EPOCH, ended: None };
        p.announcements.end(&one, &Ended::by_itself("x")).await
    },
    "Announcements::announce_effect": |p, s| async move {
        let at = EffectPlace { runbook: "x".to_owned(), number: Some(0), key: "VP-R2/effect".to_owned() };
        p.announcements.announce_effect(&at, &announced_effect()).await
    },
    "StatusPage::lights": |p, s| p.status_page.lights(),
    "Vouchers::find": |p, s| p.vouchers.find(s.voucher.id),
    "Vouchers::newest_redeemable": |p, s| p.vouchers.newest_redeemable(3),
    "Vouchers::without_picture": |p, s| p.vouchers.without_picture(s.since, 5),
    "Vouchers::set_scope": |p, s| p.vouchers.set_scope(s.voucher.id, &s.seen, s.station),
    "Replacements::of": |p, s| p.replacements.of(s.voucher.id),
    "Replacements::reserve": |p, s| async move { p.replacements.reserve(&s.replacement()).await },
    "Replacements::adopt": |p, s| p.replacements.adopt(s.voucher.id, "run", "another run"),
    "Replacements::void_original":
        |p, s| p.replacements.void_original(s.voucher.id, &s.seen, VoucherId(Uuid::from_u128(7))),
    "Replacements::release": |p, s| p.replacements.release(s.voucher.id, "run"),
    "RedemptionLog::redemptions": |p, s| p.redemptions.redemptions(s.since, None, 5),
    "RedemptionLog::attempts": |p, s| p.redemptions.attempts(s.since, None, 5),
    "RedemptionLog::redeemed_before": |p, s| p.redemptions.redeemed_before(&[s.voucher.id], s.since),
    "RedemptionLog::history": |p, s| p.redemptions.history(s.voucher.id),
    "RedemptionLog::add_event": |p, s| async move {
        let (id, kind) = (Uuid::from_u128(11), "note".to_owned());
        p.redemptions.add_event(&NewVoucherEvent { id, voucher: s.voucher.id, kind, context: json!({}) }).await
    },
    "Stations::look_up": |p, s| p.stations.look_up(s.station.0),
    "Stations::named": |p, s| p.stations.named("x"),
    "ProjectHost::status": |p, s| p.project.status(),
    "ProjectHost::health": |p, s| p.project.health(),
    "FunctionHost::find": |p, s| p.functions.find("voucher-preview"),
    "FunctionHost::calls_since": |p, s| p.functions.calls_since("voucher-preview", s.since),
    "FunctionHost::deploy": |p, s| p.functions.deploy("voucher-preview", &s.bundle),
};

/// Every method.
pub(crate) fn all() -> Vec<Method> {
    let preview = Method {
        name: "VoucherPreviews::preview",
        call: |platform, scene| {
            Box::pin(async move {
                Ok(match platform.previews.preview(scene.voucher.id).await? {
                    Preview::Rendered { .. } => Good::Done,
                    Preview::Failed { .. } => Good::Diagnosed,
                })
            })
        },
    };
    PLAIN.iter().copied().chain([preview]).chain(SMOKE.iter().copied()).collect()
}

macro_rules! smoke_tests {
    ($($name:literal: $test:ident),* $(,)?) => {
        &[$(Method {
            name: $name,
            call: |clients, scene| Box::pin(async move {
                Ok(match clients.smoke().try_out(SmokeTest::$test, &scene.marker).await? {
                    SmokeResult::Passed { .. } => Good::Done,
                    SmokeResult::Failed { .. } | SmokeResult::NotPossible { .. } => Good::Diagnosed,
                })
            }),
        }),*]
    };
}

/// A smoke test that fails is an answer about staging.
const SMOKE: &[Method] = smoke_tests! {
    "SmokeTests::try_out(issue)": VoucherIssue,
    "SmokeTests::try_out(redeem)": VoucherRedeem,
    "SmokeTests::try_out(send)": CampaignSend,
    "SmokeTests::try_out(station)": StationRedeem,
};

/// Ports of the exercise that other crates implement: databases and buckets, tried by tests of their own.
const ELSEWHERE: [&str; 3] = ["DatabaseBackups", "ObjectCopies", "StagingDatabase"];

/// A file that the evidence's bucket has from the start, in the run's folder.
pub(crate) const KEPT: &str = "backup.log";

/// The ports of the exercise that are Supabase's Storage, which is a server of its own.
const OF_STORAGE: [&str; 2] = ["StoredObjects::", "EvidenceShelf::"];

impl Method {
    /// Whether it talks to Storage and not to the sandbox's other services.
    pub(crate) fn is_of_storage(self) -> bool {
        OF_STORAGE.iter().any(|port| self.name.starts_with(port))
    }
}

/// Methods that talk to no service: files of this machine.
const LOCAL: &[&str] = &[
    "Artifacts::create",
    "Artifacts::find",
    "ArtifactWriter::append",
    "ArtifactWriter::finish",
    "Documents::read",
    "Documents::write",
    "FunctionHost::bundle",
    "RedemptionExports::repeats",
];

/// The methods of the ports as their source has them: a new one must come into the table.
pub(crate) fn in_source() -> Vec<String> {
    let sources = [
        include_str!("../../../core/src/ports.rs"),
        include_str!("../../../core/src/ports/functions.rs"),
        include_str!("../../../core/src/ports/vouchers.rs"),
        include_str!("../../../core/src/ports/recovery.rs"),
        include_str!("../../../core/src/ports/project.rs"),
    ];
    let mut names = Vec::new();
    for source in sources {
        let mut port = "";
        for line in source.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("pub trait ") {
                port = rest.split(':').next().unwrap_or_default();
            } else if let Some(rest) = line.strip_prefix("async fn ") {
                let method = rest.split(['(', '<']).next().unwrap_or_default();
                if !ELSEWHERE.contains(&port) {
                    names.push(format!("{port}::{method}"));
                }
            }
        }
    }
    names.retain(|name| !LOCAL.contains(&name.as_str()));
    names
}
