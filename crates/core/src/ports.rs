//! The ports: traits behind which the outside services sit, cut by what a procedure needs.
//!
//! Reads of a written state go another way than the write did: the admin API writes, PostgREST reads back,
//! because most of the admin API's own reads may be a year old (its fetch cache freezes GET-only routes).
//!
//! Every method may fail with a [`PortError`]; its [`class`](PortError::class) says what to do. With the feature
//! `mock`, each trait `X` has a mockall mock `MockX`.

mod functions;
mod project;
mod recovery;
mod vouchers;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::campaign::CampaignChange;
use crate::delivery::StatusReport;
use crate::incident::{Incident, Severity};
use crate::notification::{FailedNotification, NotificationId, RetryAnswer};
use crate::owner::{Announced, AnnouncedEffect, Announcement, EffectFound, EffectPlace, Ended};
use crate::policy::{SendPolicy, StoredPolicy};
use crate::target::{SendTally, TargetProgress, TargetRange};
use crate::{Campaign, CampaignId, Msisdn, PortError, QueueRows, Recipient, Target};

pub use functions::*;
pub use project::*;
pub use recovery::*;
pub use vouchers::*;

type Result<T> = std::result::Result<T, PortError>;

/// Campaigns and what may be done to them.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Campaigns: Send + Sync {
    /// All campaigns that the database says are running, by id. Read fresh (PostgREST).
    async fn running(&self) -> Result<Vec<Campaign>>;

    /// One campaign, read fresh (PostgREST). [`PortError::NotFound`] where there is none.
    async fn find(&self, id: CampaignId) -> Result<Campaign>;

    /// `POST /api/campaigns/pause`. Not keyed. The row is written before the dispatcher is called, so an error
    /// answer does not mean that nothing happened: errors of this call are [`PortError::OutcomeUnknown`].
    async fn pause(&self, id: CampaignId) -> Result<()>;

    /// `POST /api/campaigns/start`. As [`pause`](Self::pause); overwrites `started_at`.
    async fn start(&self, id: CampaignId) -> Result<()>;

    /// `POST /api/campaigns/stop`. As [`pause`](Self::pause), and meant to be final: it writes `done` and `finished_at`,
    /// which a start afterwards leaves as it is.
    async fn stop(&self, id: CampaignId) -> Result<()>;

    /// What was done to a campaign at or after `since`, from the platform's audit log, oldest first.
    async fn changes_since(&self, id: CampaignId, since: Timestamp) -> Result<Vec<CampaignChange>>;

    /// What was done to a campaign last, by the same log; `None` where the log has nothing of it.
    async fn last_change(&self, id: CampaignId) -> Result<Option<CampaignChange>>;
}

/// Targets of campaigns.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Targets: Send + Sync {
    /// Up to `limit` failed targets of a campaign with ids in a range, by id (PostgREST, by key and not by offset, so
    /// that rows that change in between are neither skipped nor repeated). A server may give fewer than `limit` though
    /// there are more.
    async fn failed(&self, campaign: CampaignId, range: TargetRange, limit: u32) -> Result<Vec<Target>>;

    /// How many failed targets a campaign has (an exact count).
    async fn count_failed(&self, campaign: CampaignId) -> Result<u64>;

    /// How far a campaign is, counted by status, and when a target last changed. Read past the admin API, whose list of
    /// targets may be frozen and look like a stall.
    async fn progress(&self, campaign: CampaignId) -> Result<TargetProgress>;
}

/// What lies in the dispatcher's queue for one campaign.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueDepth {
    /// Waiting, whether due or not.
    pub pending: u64,
    /// Waiting and due, so the dispatcher should take them.
    pub due: u64,
    /// Sent.
    pub sent: u64,
    /// Given up.
    pub failed: u64,
    /// Marked not to be sent.
    pub skipped: u64,
}

impl std::fmt::Display for QueueDepth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pending, due, sent, failed, skipped } = self;
        write!(f, "{pending} pending ({due} due), {sent} sent, {failed} failed, {skipped} skipped")
    }
}

/// Why a message that the dispatcher gave up was not sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyGivenUp {
    /// By its last try in the send log, as [`SendFault::from_text`](crate::send_fault::SendFault::from_text) reads it.
    Failed(String),
    /// The send log has no try of it that failed.
    NotLogged,
    /// Whoever it was for has got the campaign's message all the same, or another row of the queue is for them.
    Elsewhere,
    /// Whoever it was for has opted out since.
    OptedOut,
}

/// A message that the dispatcher has given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUpMessage {
    /// Its row in the queue.
    pub row: i64,
    /// Why.
    pub why: WhyGivenUp,
}

/// The dispatcher's queue: what is really sent.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait SendQueue: Send + Sync {
    /// How many messages of a campaign the dispatcher has given up (an exact count).
    async fn given_up(&self, campaign: CampaignId) -> Result<u64>;

    /// Each of them by its row, ascending, and why it was not sent.
    async fn given_up_messages(&self, campaign: CampaignId) -> Result<Vec<GivenUpMessage>>;

    /// How many of these rows of a campaign the dispatcher has given up.
    async fn given_up_among(&self, campaign: CampaignId, rows: &QueueRows) -> Result<u64>;

    /// Lets those of these rows that were given up wait again, with all their tries before them and not due before `at`. Returns
    /// how many rows it changed. Idempotent.
    async fn put_back(&self, campaign: CampaignId, rows: &QueueRows, at: Timestamp) -> Result<u64>;

    /// How many of these rows of a campaign wait and were not tried since they were put back.
    async fn untried(&self, campaign: CampaignId, rows: &QueueRows) -> Result<u64>;

    /// Takes [`put_back`](Self::put_back) back for those of these rows that were not tried since. Returns how many rows it
    /// changed. Idempotent.
    async fn give_up(&self, campaign: CampaignId, rows: &QueueRows) -> Result<u64>;

    /// The campaigns that have messages waiting, whatever their own status is, by id: the dispatcher sends for all of them.
    async fn waiting_campaigns(&self) -> Result<Vec<CampaignId>>;

    /// How many rows of a campaign wait to be sent.
    async fn pending(&self, campaign: CampaignId) -> Result<u64>;

    /// How many rows of a campaign there are by status, and how many are due at `now`.
    async fn depth(&self, campaign: CampaignId, now: Timestamp) -> Result<QueueDepth>;

    /// How many waiting rows of a campaign have gone out already, by the send log: a start would send them again. Some
    /// deployments never mark a sent row.
    async fn sent_but_pending(&self, campaign: CampaignId) -> Result<u64>;

    /// Which rows of a campaign wait to be sent.
    async fn waiting(&self, campaign: CampaignId) -> Result<QueueRows>;

    /// How many of these rows of a campaign are marked not to be sent.
    async fn skipped(&self, campaign: CampaignId, rows: &QueueRows) -> Result<u64>;

    /// Marks those of these rows that wait `SKIPPED`: the one thing that really stops the dispatcher, which never looks at a
    /// campaign's status. Returns the ids of the rows that this call changed: somebody else may have skipped others of them a moment
    /// before. Idempotent, and whole unless the rows are in very many ranges.
    async fn skip(&self, campaign: CampaignId, rows: &QueueRows) -> Result<Vec<i64>>;

    /// Marks those of these rows that are skipped `PENDING` again. Returns how many rows it changed. Others of the campaign may
    /// be skipped too, by the platform or by people, and stay so. Idempotent.
    async fn restore(&self, campaign: CampaignId, rows: &QueueRows) -> Result<u64>;

    /// How many unsent rows of a campaign (that wait, or of `held` are skipped) are due before `at`.
    async fn due_before(&self, campaign: CampaignId, held: &QueueRows, at: Timestamp) -> Result<u64>;

    /// Moves every unsent row of a campaign (as [`due_before`](Self::due_before)) that is due before `at` to `at`. Returns how many
    /// rows it changed. Idempotent: the time is absolute.
    async fn postpone(&self, campaign: CampaignId, held: &QueueRows, at: Timestamp) -> Result<u64>;

    /// The id of a campaign's unsent row (as [`due_before`](Self::due_before)) with so many before it, by id; `None` where there are
    /// fewer.
    async fn unsent_at(&self, campaign: CampaignId, held: &QueueRows, place: u64) -> Result<Option<i64>>;

    /// As [`due_before`](Self::due_before), for the rows from `first` on.
    async fn due_from(
        &self,
        campaign: CampaignId,
        held: &QueueRows,
        first: i64,
        at: Timestamp,
    ) -> Result<u64>;

    /// As [`postpone`](Self::postpone), for the rows from `first` on.
    async fn postpone_from(
        &self,
        campaign: CampaignId,
        held: &QueueRows,
        first: i64,
        at: Timestamp,
    ) -> Result<u64>;
}

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// WhatsApp's message id.
    pub message_id: String,
    /// When the platform sent it.
    pub sent_at: Timestamp,
    /// `sent`, `delivered` or `failed`, as the webhook reported.
    pub status: Option<String>,
    /// The error code, where it failed.
    pub error_code: Option<String>,
}

/// Whether the platform writes down that messages arrived, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryReports {
    /// In the send log, or nothing went out that could tell.
    Written,
    /// Not in the log; but WhatsApp's reports are kept as they came.
    ByWebhook,
    /// Messages went out, and none of them was ever reported as delivered.
    NeverWritten,
}

/// Somebody to whom the last send of a campaign failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedSend {
    /// The number, or that there is none.
    pub recipient: Recipient,
    /// Why, as [`SendFault::from_text`](crate::send_fault::SendFault::from_text) reads it.
    pub code: String,
    /// When.
    pub at: Timestamp,
}

/// The send log: evidence of what went out.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait SendLog: Send + Sync {
    /// Sends and failures at or after `since`, counted; of one campaign, or of all.
    async fn tally(&self, campaign: Option<CampaignId>, since: Timestamp) -> Result<SendTally>;

    /// Whether, and where, the platform writes down that messages arrived, by what it has of the days before `now`.
    async fn delivery_reports(&self, now: Timestamp) -> Result<DeliveryReports>;

    /// WhatsApp's reports about one message that came at or after `since`, where the platform keeps them as they came.
    async fn status_reports(&self, message_id: &str, since: Timestamp) -> Result<Vec<StatusReport>>;

    /// To whom the last send of a campaign failed, in the order of the log: for platforms that never mark a target.
    async fn failed_sends(&self, campaign: CampaignId) -> Result<Vec<FailedSend>>;

    /// Messages to one number at or after `since`, newest last.
    async fn to_number(&self, number: &Msisdn, since: Timestamp) -> Result<Vec<Delivery>>;
}

/// Notifications: single messages beside campaigns.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Notifications: Send + Sync {
    /// Notifications created at or after `since`: how many are sent and how many failed.
    async fn tally(&self, since: Timestamp) -> Result<SendTally>;

    /// Up to `limit` failed notifications created at or after `since`, by creation, then id.
    async fn failed(&self, since: Timestamp, limit: u32) -> Result<Vec<FailedNotification>>;

    /// How many of these notifications are failed now, read fresh.
    async fn still_failed(&self, ids: &[NotificationId]) -> Result<u64>;

    /// `POST /api/notifications/retry`, at most 50 ids: puts them back in the queue and sends nothing itself
    /// (the platform's `resend` sends *and* queues, so it is not offered here).
    async fn retry(&self, ids: &[NotificationId]) -> Result<RetryAnswer>;
}

/// The stored sending policy.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait PolicyStore: Send + Sync {
    /// What is stored (PostgREST). The admin API answers with invented defaults when its read fails, so it is
    /// not asked.
    async fn read(&self) -> Result<StoredPolicy>;

    /// `POST /api/settings`: replaces all three fields; the opt-out list is read and written back unchanged.
    /// The platform answers "Settings saved." even when they are not: read back.
    async fn write(&self, policy: &SendPolicy) -> Result<()>;
}

/// An accepted message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// WhatsApp's message id. A 202 without one ("skipped") is no acceptance, and no value of this type.
    pub message_id: String,
}

/// The edge function that sends through WhatsApp.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Sender: Send + Sync {
    /// Sends one real message to the environment's own canary number. Not keyed: an answer that is lost leaves
    /// the outcome unknown. `marker` travels in the message's context.
    async fn send_canary(&self, marker: &str) -> Result<Accepted>;

    /// The number that canaries go to.
    fn canary_number(&self) -> Msisdn;
}

/// Whether WhatsApp lets a phone number send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CanSend {
    /// Yes.
    Available,
    /// With restrictions.
    Limited,
    /// No.
    Blocked,
}

/// WhatsApp's own view of our phone number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhoneHealth {
    /// May it send?
    pub can_send: CanSend,
    /// Quality rating as WhatsApp words it (GREEN, YELLOW, RED, UNKNOWN).
    pub quality: String,
    /// Error codes that WhatsApp gives for the number, its account or its templates.
    pub error_codes: Vec<u32>,
    /// How long until a rate limit ends, in minutes, from the business-use-case usage header.
    pub regain_access_minutes: Option<u64>,
}

/// WhatsApp's Graph API, the part that diagnoses.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait WhatsAppAccount: Send + Sync {
    /// `GET /{phone-id}?fields=...,health_status`. A read; sends nothing.
    async fn health(&self) -> Result<PhoneHealth>;

    /// The ids a provider needs in a ticket: account and phone number.
    fn ids(&self) -> AccountIds;
}

/// Ids of the WhatsApp account, for the provider's ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountIds {
    /// The WhatsApp business account.
    pub business_account: String,
    /// The phone number's id (not the number).
    pub phone: String,
}

/// A ticket for the WhatsApp provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// One line.
    pub subject: String,
    /// The whole text: ids, time window, codes with counts, what was tried.
    pub body: String,
}

/// The provider's ticket intake. Neither keyed nor readable; a second ticket is harmless, the provider joins them.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Provider: Send + Sync {
    /// Opens a ticket; returns its reference.
    async fn open_ticket(&self, ticket: &Ticket) -> Result<String>;
}

/// A message to a chat channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Which channel, e.g. `#ops`.
    pub channel: String,
    /// The text. Foreign words in it are escaped by the client.
    pub text: String,
    /// What it is about, in a word or two: tells several messages to one channel apart.
    pub about: String,
    /// What we find it again by; unique per message.
    pub marker: String,
}

/// Where a message stands in its channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// Slack's `ts`: its id within the channel.
    pub ts: String,
}

/// Chat.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Chat: Send + Sync {
    /// `chat.postMessage`. Slack has no public idempotency key; the marker goes into the message's metadata.
    async fn post(&self, message: &ChatMessage) -> Result<Posted>;

    /// Looks for our own message by its marker (`conversations.history` with metadata).
    async fn find(&self, channel: &str, marker: &str) -> Result<Option<Posted>>;

    /// Answers in the thread of a message of the same channel, and shows the answer in the channel too: who reads the
    /// channel only must not miss it. As [`post`](Self::post).
    async fn reply(&self, to: &Posted, message: &ChatMessage) -> Result<Posted>;

    /// Looks for our own answer in a thread by its marker (`conversations.replies` with metadata).
    async fn find_reply(&self, channel: &str, to: &Posted, marker: &str) -> Result<Option<Posted>>;

    /// Posts by the channel's incoming webhook: for when [`post`](Self::post) was refused or not reached, and never after an
    /// unknown outcome. It says no more than that it was accepted; [`find`](Self::find) knows the message by its text.
    /// [`PortError::NotFound`] where the environment has no webhook for the channel.
    async fn post_by_webhook(&self, message: &ChatMessage) -> Result<()>;
}

/// An alert for the paging service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Chosen by us and stored before sending; makes repeated triggers one alert while it is open.
    pub dedup_key: String,
    /// What happened, at most 1,024 characters.
    pub summary: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub source: String,
    /// Further text for whoever answers.
    pub details: String,
}

/// Paging.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Paging: Send + Sync {
    /// Triggers an alert (Events API v2). 202 is not an incident: confirm with [`find`](Self::find).
    async fn trigger(&self, page: &Page) -> Result<()>;

    /// The newest incident for a dedup key, open or resolved (`GET /incidents?incident_key=`).
    async fn find(&self, dedup_key: &str) -> Result<Option<Incident>>;

    /// Resolves the alert of a dedup key (Events API v2).
    async fn resolve(&self, dedup_key: &str) -> Result<()>;
}

/// A row for the platform's audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// Chosen by us, so that inserting it twice is inserting it once.
    pub id: Uuid,
    /// What was done, e.g. `incident_resolution`.
    pub action: String,
    /// What it concerns: a table.
    pub target_table: String,
    /// What it concerns: a row.
    pub target_id: String,
    /// What changed, as JSON.
    pub diff: serde_json::Value,
}

/// The platform's audit log.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Inserts a row unless its id is there already.
    async fn insert(&self, row: &AuditRow) -> Result<()>;

    /// Reads a row back. The platform loses audit writes silently, so only this proves one.
    async fn find(&self, id: Uuid) -> Result<Option<AuditRow>>;

    /// The rows of one action about one thing, each with the platform's time of it, oldest first.
    async fn all_of(&self, action: &str, target: &str) -> Result<Vec<(AuditRow, Timestamp)>>;
}

/// Who runs what, on the platform's own record: the audit log, which all machines share.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Announcements: Send + Sync {
    /// All announcements of a runbook, ended ones too, by number.
    async fn all(&self, runbook: &str) -> Result<Vec<Announced>>;

    /// Inserts the announcement with this number, unless there is one: its id is made of runbook and number, so that of two
    /// at once the database keeps one. Whose it is, reading back tells.
    async fn announce(&self, number: u32, says: &Announcement) -> Result<()>;

    /// Inserts the row that says that a run has ended. Happens once, by its id.
    async fn end(&self, one: &Announced, ended: &Ended) -> Result<()>;

    /// Inserts what a run is about to do, unless there is a row for that place of it, and reads back which one there is, and
    /// whether the run has ended.
    async fn announce_effect(&self, at: &EffectPlace, effect: &AnnouncedEffect) -> Result<EffectFound>;
}

/// A finished file that a run left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name inside the run's folder.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its content, in hex.
    pub sha256: String,
}

/// A file being written. Nothing is visible under its name until [`finish`](Self::finish).
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ArtifactWriter: Send {
    /// Appends bytes.
    async fn append(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes the file durable and visible, atomically.
    async fn finish(&mut self) -> Result<Artifact>;
}

/// Files that a run leaves: readable by their owner only, since an export holds phone numbers.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Artifacts: Send + Sync {
    /// Starts a file, replacing one of that name when it is finished.
    async fn create(&self, name: &str) -> Result<Box<dyn ArtifactWriter>>;

    /// A finished file, re-read from disk: size and checksum as they are now.
    async fn find(&self, name: &str) -> Result<Option<Artifact>>;
}

/// One light of the platform's own status page. A hint for people, never evidence: green is sticky there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusLight {
    /// Which integration, as the platform names it.
    pub integration: String,
    /// `green`, `amber` or `red`.
    pub status: String,
    /// The platform's message.
    pub message: String,
}

/// The platform's own status page.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait StatusPage: Send + Sync {
    /// `GET /api/integrations/status`. Careful: with some deployments each call makes the dispatcher send, so
    /// procedures ask only when the environment allows it.
    async fn lights(&self) -> Result<Vec<StatusLight>>;
}

/// Who approves what cannot be taken back, and for how long an approval is worth something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DangerousApprovals {
    /// Names that may answer; anybody when empty.
    pub among: Vec<String>,
    /// How many different people must agree at least. A runbook may ask for more.
    pub needed: u8,
    /// A question that is older than this counts as rejected, because the world may have moved on. `None` in a drill, where an
    /// hour takes half a minute and people do not hurry with it.
    pub valid_for: Option<Duration>,
    /// How many messages one person may hold back at once; any number when `None`.
    #[serde(default)]
    pub most_messages: Option<u64>,
}

impl Default for DangerousApprovals {
    /// Any one person, at any time.
    fn default() -> Self {
        Self { among: Vec::new(), needed: 1, valid_for: None, most_messages: None }
    }
}

/// What an environment is configured to allow, beside its ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The IANA zone of the recipients, for quiet hours.
    pub recipients_zone: String,
    /// The policy to fall back to where the stored one is broken.
    pub default_policy: SendPolicy,
    /// How often the dispatcher runs.
    pub dispatcher_interval: Duration,
    /// How many messages the dispatcher sends in one interval at most.
    pub dispatcher_batch: u32,
    /// Whether a read of the status page is known to have no side effect here.
    pub status_page_is_safe: bool,
    /// The chat channel for operations and support.
    pub ops_channel: String,
    /// The chat channel of Data Ops, who own the mapping of scopes.
    pub data_ops_channel: String,
    /// The chat channel shared with the vendor's support.
    pub vendor_channel: String,
    /// The edge function that renders previews.
    pub preview_function: String,
    /// The edge function that dispatches campaigns. Never called by us: each call sends messages.
    pub dispatch_function: String,
    /// Who approves what cannot be taken back.
    pub dangerous: DangerousApprovals,
}
