//! The world: all tables and services of the simulated platform, and how they change with time.
//!
//! Nothing runs in the background. Each request first calls [`World::advance_to`] with the clock's time, and whatever
//! would have happened since (dispatcher runs, deliveries) happens then, in order. So the same requests at the same
//! times always meet the same world.

mod dispatcher;
pub(crate) mod functions;
mod people;
mod reports;
pub(crate) mod rows;
mod seed;
pub(crate) mod stations;
mod truth;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::fault::{Fault, FaultSet};
use crate::ledger::Ledger;
use crate::people::Deed;
use crate::scenario::{Scenario, WorldSpec};
use crate::trouble::{self, Due, Trouble};
use rows::{
    Audit, Campaign, Function, Incident, Notification, PetrolStation, QueueStatus, Queued, Redemption,
    SendLog, Setting, SlackMessage, Station, Target, Voucher, VoucherEvent, WebhookLog,
};

use functions::DISPATCH_FUNCTION;

/// How often the dispatcher runs.
pub(crate) const TICK: Duration = Duration::from_mins(1);
/// How many rows it claims each time.
pub(crate) const BATCH: usize = 40;
/// The admin actor that the sandbox's credential belongs to.
pub(crate) const OUR_ACTOR: Uuid = Uuid::from_u128(0xa11c_1ea2_0000_4000_8000_0000_0000_0001);
/// Somebody else.
pub(crate) const OTHER_ACTOR: Uuid = Uuid::from_u128(0xa11c_1ea2_0000_4000_8000_0000_0000_0002);

pub(crate) const QUIET_HOURS: &str = "quiet_hours.rw";
pub(crate) const THROTTLE: &str = "send_throttle.whatsapp.per_minute";
pub(crate) const OPT_OUT: &str = "opt_out.list";

/// The whole platform.
#[derive(Debug)]
pub struct World {
    pub(crate) spec: WorldSpec,
    pub(crate) faults: FaultSet,
    pub(crate) now: Timestamp,
    pub(crate) campaigns: Vec<Campaign>,
    pub(crate) targets: Vec<Target>,
    pub(crate) queue: Vec<Queued>,
    pub(crate) sent: Vec<SendLog>,
    pub(crate) notifications: Vec<Notification>,
    pub(crate) settings: Vec<Setting>,
    pub(crate) audit: Vec<Audit>,
    pub(crate) vouchers: Vec<Voucher>,
    pub(crate) stations: Vec<Station>,
    pub(crate) petrol_stations: Vec<PetrolStation>,
    pub(crate) events: Vec<VoucherEvent>,
    pub(crate) redemptions: Vec<Redemption>,
    pub(crate) webhook_logs: Vec<WebhookLog>,
    /// When pictures of vouchers were made, where that was after the world began.
    pub(crate) pictures: BTreeMap<Uuid, Timestamp>,
    pub(crate) functions: Vec<Function>,
    /// The files that functions were deployed with; the one to begin with stands first.
    pub(crate) function_files: BTreeMap<String, Vec<(String, Vec<u8>)>>,
    /// The project's secrets, and since when they are what they are.
    pub(crate) secrets: BTreeMap<String, (String, Timestamp)>,
    pub(crate) project: Project,
    /// Calls of edge functions: when, which, and the status of the answer.
    pub(crate) function_calls: Vec<(Timestamp, &'static str, u16)>,
    /// Stored answers by idempotency key.
    pub(crate) idempotency: HashMap<String, Value>,
    /// Stations that are signed in, by token.
    pub(crate) station_sessions: HashMap<String, Uuid>,
    /// Campaigns that were made through the admin API: their targets are queued when they are started.
    pub(crate) saved_campaigns: BTreeSet<Uuid>,
    pub(crate) slack: Vec<SlackMessage>,
    /// How many messages were taken back: no other gets the time of one.
    pub(crate) slack_taken_back: usize,
    pub(crate) incidents: Vec<Incident>,
    pub(crate) tickets: Vec<Value>,
    pub(crate) ledger: Ledger,
    /// Frozen answers of GET-only admin routes, by URL.
    pub(crate) frozen: HashMap<String, Value>,
    /// Whether `settings` is the table of the production dump, which has no keys and values.
    pub(crate) settings_as_in_dump: bool,
    /// Admin sessions by cookie, and until when each holds.
    pub(crate) sessions: HashMap<String, Timestamp>,
    /// When wrong tokens came to the admin API's login, by address.
    pub(crate) wrong_tokens: HashMap<String, Vec<Timestamp>>,
    /// What people will do.
    people: Vec<Deed>,
    /// What goes wrong on the way.
    pub(crate) troubles: Vec<Due>,
    /// How many calls went wrong by it.
    pub(crate) troubled: u64,
    /// How many requests there were, by method and path.
    pub(crate) requests: BTreeMap<String, u64>,
    /// The throttle's window: when it began, and how many it let through.
    throttle_window: (Timestamp, u64),
    next_tick: Timestamp,
    /// Messages on their way: when they are delivered, and their place in `sent`.
    deliveries: VecDeque<(Timestamp, usize)>,
    /// Whether a campaign was started since the world began: what flapping and a stalled dispatcher wait for.
    started: bool,
    /// Whether the dispatcher took something since then.
    ticked: bool,
    counter: u64,
}

/// Why a send fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SendError {
    /// The code for `error_code`.
    pub(crate) code: String,
    /// What the function answers.
    pub(crate) http: u16,
    /// Seconds to wait.
    pub(crate) retry_after: Option<u64>,
}

impl SendError {
    fn of(code: &str, http: u16, retry_after: Option<u64>) -> Self {
        Self { code: code.to_owned(), http, retry_after }
    }

    /// As it stands in `send_logs.error`: the dispatcher keeps Graph's own body.
    pub(crate) fn to_log(&self) -> String {
        let mut error =
            self.by_graph().unwrap_or_else(|| json!({ "code": self.code, "message": "send failed" }));
        if let Some(seconds) = self.retry_after {
            error["retry_after"] = json!(seconds);
        }
        error.to_string()
    }

    /// As it stands in `notifications.error_message`: the notification sender's sentence, with Graph's body where there is
    /// one.
    pub(crate) fn to_notification(&self) -> String {
        let body = self.by_graph().unwrap_or(serde_json::Value::Null);
        format!("WhatsApp send failed ({}): {body}", self.http)
    }

    /// Graph's body; none where the failure is not WhatsApp's.
    fn by_graph(&self) -> Option<serde_json::Value> {
        let code: u32 = self.code.parse().ok()?;
        Some(json!({ "error": { "message": "send failed", "type": "OAuthException", "code": code } }))
    }
}

/// What the host says of the project.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Project {
    #[default]
    Up,
    /// It is up; PostgREST is not well.
    RestDown,
    Paused,
}

impl World {
    /// Makes a world.
    pub fn new(spec: WorldSpec) -> Self {
        seed::world(spec)
    }

    /// What the world's own clock shows: the time of the latest request.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Lets calls go wrong on the way.
    pub fn trouble(&mut self, trouble: Trouble) {
        self.troubles.push(trouble.into());
    }

    /// Ends all trouble; returns how many calls went wrong so far.
    pub fn calm(&mut self) -> u64 {
        self.troubles.clear();
        self.troubled
    }

    /// Counts a call, and says what goes wrong with it.
    pub(crate) fn count_call(&mut self, call: String) -> Option<Trouble> {
        let met = trouble::met(&mut self.troubles, &call, self.now);
        self.troubled += u64::from(met.is_some());
        *self.requests.entry(call).or_default() += 1;
        met
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults.has(fault)
    }

    /// A new id, the same in every world of this seed after the same requests.
    pub(crate) fn new_uuid(&mut self) -> Uuid {
        self.counter += 1;
        Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{} {}", self.spec.seed, self.counter).as_bytes())
    }

    pub(crate) fn new_number(&mut self) -> u64 {
        self.counter += 1;
        self.spec.seed.wrapping_mul(1_000_000_007).wrapping_add(self.counter)
    }

    /// Why a message that is sent now would fail; `to_customer` tells campaign sends from a canary.
    pub(crate) fn send_error(&self, at: Timestamp, to_customer: bool) -> Option<SendError> {
        let left = self.spec.ends_at().map(|end| end.duration_since(at).as_secs()).filter(|left| *left > 0);
        let lasting = left.map(i64::unsigned_abs);
        match self.spec.scenario {
            Scenario::RateLimited { .. } => lasting.map(|left| SendError::of("130429", 429, Some(left))),
            Scenario::AuthExpired { .. } => lasting.map(|_| SendError::of("190", 401, None)),
            Scenario::PolicyBlocked { .. } => lasting.map(|_| SendError::of("131048", 429, None)),
            Scenario::Outage { .. } => lasting.map(|_| SendError::of("http_503", 503, None)),
            Scenario::Flapping { .. } => {
                let relapsed = to_customer && self.started;
                (lasting.is_some() || relapsed).then(|| SendError::of("http_503", 503, None))
            }
            // These last as long as the setting does, and hold back customers' messages only.
            Scenario::QuietHoursMisconfigured => {
                (to_customer && self.is_quiet_at(at)).then(|| SendError::of("quiet_hours", 409, None))
            }
            Scenario::ThrottleMisconfigured => (to_customer && self.throttle() == 0).then(|| {
                if self.has(Fault::ThrottleZeroUnlimited) {
                    SendError::of("130429", 429, Some(60))
                } else {
                    SendError::of("throttled", 409, None)
                }
            }),
            _ => None,
        }
    }

    fn is_quiet_at(&self, at: Timestamp) -> bool {
        self.is_quiet_in("Africa/Kigali", at)
    }

    /// Whether the admin API takes it for quiet hours: it goes by its server's zone, and not by the recipients'.
    pub(crate) fn is_quiet_for_the_server(&self) -> bool {
        self.is_quiet_in("UTC", self.now)
    }

    fn is_quiet_in(&self, zone: &str, at: Timestamp) -> bool {
        let hours = &self.setting(QUIET_HOURS)["value"];
        let parse = |name: &str| {
            hours[name].as_str().and_then(|text| jiff::civil::Time::strptime("%H:%M", text).ok())
        };
        let (Some(start), Some(end)) = (parse("start"), parse("end")) else { return false };
        let zone = jiff::tz::TimeZone::get(zone).unwrap_or(jiff::tz::TimeZone::UTC);
        let now = at.to_zoned_datetime(zone).time();
        if start < end { start <= now && now < end } else { now >= start || now < end }
    }

    pub(crate) fn throttle(&self) -> u64 {
        self.setting(THROTTLE)["value"].as_u64().unwrap_or(60)
    }

    /// Takes one from the throttle's window, a whole minute of the clock. Otherwise when that window ends.
    pub(crate) fn take_from_throttle(&mut self) -> Result<(), Timestamp> {
        let (limit, now) = (self.throttle(), self.now);
        let began = Timestamp::from_second(now.as_second().div_euclid(60) * 60).unwrap_or(now);
        if self.throttle_window.0 != began {
            self.throttle_window = (began, 0);
        }
        if limit > 0 && self.throttle_window.1 >= limit {
            return Err(began + TICK);
        }
        self.throttle_window.1 += 1;
        Ok(())
    }

    pub(crate) fn setting(&self, key: &str) -> Value {
        let found = self.settings.iter().find(|setting| setting.key == key);
        found.map_or(Value::Null, |setting| json!({ "value": setting.value }))
    }

    pub(crate) fn set(&mut self, key: &str, value: Value) {
        let now = self.now;
        if let Some(setting) = self.settings.iter_mut().find(|setting| setting.key == key) {
            setting.value = value;
            setting.updated_at = now;
        }
    }

    pub(crate) fn campaign(&mut self, id: Uuid) -> Option<&mut Campaign> {
        self.campaigns.iter_mut().find(|campaign| campaign.id == id)
    }

    /// Appends an audit row, unless audit rows are lost today.
    pub(crate) fn note_audit(&mut self, actor: Uuid, action: &str, table: &str, id: &str, diff: Value) {
        if self.has(Fault::AuditWriteLost) {
            return;
        }
        let row = Audit {
            id: self.new_uuid(),
            actor_id: actor,
            action: action.to_owned(),
            target_table: table.to_owned(),
            target_id: id.to_owned(),
            diff,
            created_at: self.now,
        };
        self.audit.push(row);
    }

    /// Starts, pauses or stops a campaign, as the admin API does: the row first.
    pub(crate) fn act_on_campaign(&mut self, id: Uuid, action: &str, actor: Uuid) -> bool {
        let (now, keep) = (self.now, action == "start" && self.has(Fault::StartNotEffective));
        let Some(campaign) = self.campaign(id) else { return false };
        let before = campaign.status.clone();
        if !keep {
            match action {
                "start" => {
                    "running".clone_into(&mut campaign.status);
                    campaign.started_at = Some(now);
                }
                "pause" => "paused".clone_into(&mut campaign.status),
                _ => {
                    "done".clone_into(&mut campaign.status);
                    campaign.finished_at = Some(now);
                }
            }
        }
        let changed = campaign.status != before;
        // While the dispatcher does not run at all, a start does not reach it.
        self.started |= action == "start" && changed && !self.dispatcher_is_down(now);
        if actor == OUR_ACTOR {
            self.ledger.note(now, &format!("campaign.{action}"), id, changed);
        }
        let diff = json!({ "action": action, "state": action });
        self.note_audit(actor, &format!("campaign_{action}"), "campaigns", &id.to_string(), diff);
        if action == "start" && changed && self.saved_campaigns.contains(&id) {
            self.queue_targets(id);
            self.dispatch(now);
        }
        true
    }

    /// Lets somebody else start, pause or stop a campaign. False where there is no such campaign.
    pub fn let_somebody_else(&mut self, action: &str, campaign: Uuid) -> bool {
        self.act_on_campaign(campaign, action, OTHER_ACTOR)
    }

    /// From now on `settings` is as in the production dump: one row, without `key` and `value`. Nothing can be stored in it, and
    /// the admin API says "saved" all the same.
    pub fn let_settings_be_as_in_the_dump(&mut self) {
        self.settings_as_in_dump = true;
    }

    /// Lets somebody else mark waiting messages as skipped, by their rows in the queue. Returns which rows those are.
    pub fn let_somebody_skip(&mut self, which: impl Fn(i64) -> bool) -> Vec<i64> {
        let theirs = self.queue.iter_mut().filter(|row| row.status == QueueStatus::Pending && which(row.id));
        theirs
            .map(|row| {
                row.status = QueueStatus::Skipped;
                row.id
            })
            .collect()
    }

    /// Lets somebody else give a skipped message of a campaign back to the queue. False where none is skipped.
    pub fn let_somebody_give_one_back(&mut self, campaign: Uuid) -> bool {
        let row =
            self.queue.iter_mut().find(|row| row.campaign == campaign && row.status == QueueStatus::Skipped);
        row.is_some_and(|row| {
            row.status = QueueStatus::Pending;
            true
        })
    }

    /// Lets somebody else set the quiet hours.
    pub fn let_quiet_hours_be(&mut self, start: &str, end: &str) {
        self.set(QUIET_HOURS, json!({ "start": start, "end": end }));
    }

    /// Lets somebody else remove the function that renders previews.
    pub fn let_the_preview_function_vanish(&mut self) {
        self.functions.retain(|function| function.slug != functions::PREVIEW_FUNCTION);
    }

    /// Audit rows of an action get lost, as they do on the platform. Returns how many.
    pub fn lose_audit_rows(&mut self, action: &str) -> usize {
        let before = self.audit.len();
        self.audit.retain(|row| row.action != action);
        before - self.audit.len()
    }

    /// Marks a third of a campaign's waiting messages as skipped, as somebody else.
    fn let_somebody_skip_some_of(&mut self, campaign: Uuid) -> bool {
        let waiting =
            self.queue.iter().filter(|row| row.campaign == campaign && row.status == QueueStatus::Pending);
        let some: BTreeSet<i64> = waiting.map(|row| row.id).step_by(3).collect();
        !self.let_somebody_skip(|row| some.contains(&row)).is_empty()
    }

    /// How many notifications there are by status.
    pub fn notification_statuses(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for one in &self.notifications {
            *counts.entry(one.status).or_default() += 1;
        }
        counts
    }

    /// Lets a message of a campaign reach a number, past the queue.
    pub fn let_message_go_out(&mut self, campaign: Uuid, number: &str) {
        let now = self.now;
        if let Ok(digits) = number.trim_start_matches('+').parse() {
            self.log_send(None, Some(campaign), digits, now);
        }
    }

    /// Lets so many notifications have failed right before now, each with this text.
    pub fn let_notifications_fail(&mut self, many: usize, text: &str) {
        let at = self.now - Duration::from_secs(1);
        for one in self.notifications.iter_mut().filter(|one| one.status == "sent").take(many) {
            (one.status, one.error_message, one.created_at) = ("failed", Some(text.to_owned()), at);
        }
    }

    /// The rows of the queue that are marked as skipped, by whomever, each with when it would be due.
    pub fn skipped_rows(&self) -> Vec<(i64, Timestamp)> {
        let skipped = self.queue.iter().filter(|row| row.status == QueueStatus::Skipped);
        skipped.map(|row| (row.id, row.next_attempt_at)).collect()
    }

    /// Plays everything that happens up to `now`.
    pub fn advance_to(&mut self, now: Timestamp) {
        while self.next_tick <= now {
            let tick = self.next_tick;
            self.people_until(tick);
            self.deliver_until(tick);
            self.dispatch(tick);
            self.next_tick = tick + TICK;
        }
        self.people_until(now);
        self.deliver_until(now);
        self.now = self.now.max(now);
    }

    /// A summary for people and tests: what matters of the state, without times and ids that follow from them.
    pub fn summary(&self) -> Value {
        let campaigns: Vec<Value> = self
            .campaigns
            .iter()
            .map(|campaign| {
                let skipped = self.count(campaign.id, QueueStatus::Skipped);
                json!({ "id": campaign.id, "name": campaign.name, "status": campaign.status, "skipped": skipped })
            })
            .collect();
        let mut audit: BTreeMap<&str, u64> = BTreeMap::new();
        // What a run says before each try is not what it did: a run that was killed says it more often.
        let says = |row: &&Audit| row.action == "allclear_run_effect";
        for row in self.audit.iter().filter(|row| row.actor_id == OUR_ACTOR && !says(row)) {
            *audit.entry(&row.action).or_default() += 1;
        }
        let settings: BTreeMap<&str, &Value> = self.settings.iter().map(|s| (s.key, &s.value)).collect();
        let triggered = self.incidents.iter().filter(|incident| incident.dedup_key.contains('/')).count();
        json!({
            "campaigns": campaigns,
            "audit_by_us": audit,
            "settings": settings,
            "slack_messages": self.slack.len(),
            "incidents_by_us": triggered,
            "tickets": self.tickets.len(),
            "vouchers": self.vouchers_of_note(),
            "functions": self.functions.iter().map(|f| json!({ "slug": f.slug, "version": f.version })).collect::<Vec<_>>(),
            "resolved_incidents": self.incidents.iter().filter(|incident| incident.status == "resolved").count(),
            "canaries": self.sent.iter().filter(|sent| sent.campaign.is_none()).count(),
        })
    }

    /// How many sends to customers were tried in this span, whatever became of them.
    pub fn tries_between(&self, from: Timestamp, to: Timestamp) -> usize {
        let tries =
            self.sent.iter().filter(|sent| sent.queue.is_some() && (from..to).contains(&sent.sent_at));
        tries.count()
    }

    /// What campaigns that were made through the admin API sent: each message's number, in order.
    pub fn sent_by_saved_campaigns(&self) -> Vec<String> {
        let ours = |sent: &&SendLog| sent.campaign.is_some_and(|id| self.saved_campaigns.contains(&id));
        self.sent.iter().filter(ours).map(|sent| rows::e164(sent.msisdn)).collect()
    }

    /// SHA-256 over [`summary`](Self::summary).
    pub fn digest(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(64);
        for byte in Sha256::digest(self.summary().to_string().as_bytes()) {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// Somebody gives the campaigns and stations other names, in order and around.
    pub fn rename(&mut self, names: &[&str]) {
        let names = || names.iter().cycle().map(|name| (*name).to_owned());
        self.campaigns.iter_mut().zip(names()).for_each(|(campaign, name)| campaign.name = name);
        self.stations.iter_mut().zip(names()).for_each(|(station, name)| station.name = name);
    }

    /// What was said in Slack, in order.
    pub fn slack_texts(&self) -> Vec<String> {
        self.slack.iter().map(|message| message.text.clone()).collect()
    }

    /// Titles of PagerDuty's incidents that nobody has resolved.
    pub fn open_pages(&self) -> Vec<String> {
        let open = self.incidents.iter().filter(|incident| incident.status != "resolved");
        open.map(|incident| incident.title.clone()).collect()
    }

    /// What others were told and what was kept about it: Slack, PagerDuty, tickets, audit rows, events.
    pub fn told(&self) -> Vec<String> {
        let incidents =
            self.incidents.iter().map(|incident| format!("{} {}", incident.title, incident.notes.join(" ")));
        let tickets = self.tickets.iter().map(ToString::to_string);
        let audit = self.audit.iter().map(|row| format!("{} {} {}", row.action, row.target_id, row.diff));
        let events = self.events.iter().map(|event| event.context.to_string());
        self.slack_texts().into_iter().chain(incidents).chain(tickets).chain(audit).chain(events).collect()
    }

    /// Every redeemable code: what must be found nowhere outside the database.
    pub fn voucher_codes(&self) -> Vec<String> {
        self.vouchers.iter().map(|voucher| voucher.code.clone()).collect()
    }

    /// Vouchers that were taken back, replaced, or are bound to a station.
    fn vouchers_of_note(&self) -> Vec<Value> {
        let of_note = |voucher: &&Voucher| {
            voucher.status == "void"
                || voucher.metadata != json!({})
                || voucher.issued_recently(self.spec.start)
        };
        let shown = |voucher: &Voucher| {
            json!({
                "id": voucher.id, "status": voucher.status, "scope": voucher.station_scope,
                "replaces": voucher.metadata["replaces"], "held": voucher.metadata["held_by"].is_string(),
                "amount_minor": voucher.amount_minor,
            })
        };
        self.vouchers.iter().filter(of_note).map(shown).collect()
    }

    /// How many targets have a number that their campaign has already: none, by the database's unique key.
    pub fn targets_of_one_number(&self) -> usize {
        let mut seen = std::collections::BTreeSet::new();
        self.targets.iter().filter(|target| !seen.insert((target.campaign, target.msisdn))).count()
    }

    pub(crate) fn count(&self, campaign: Uuid, status: QueueStatus) -> u64 {
        self.queue.iter().filter(|row| row.campaign == campaign && row.status == status).count() as u64
    }
}
