//! The beginning of a world: its rows, and two hours of history that led to the incident.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::rows::{Campaign, Incident, Notification, QueueStatus, Queued, SendLog, Setting, Target};
use super::{
    BATCH, OPT_OUT, OTHER_ACTOR, QUIET_HOURS, SendError, THROTTLE, TICK, World, functions, stations,
};
use crate::fault::Fault;
use crate::fault::FaultSet;
use crate::ledger::Ledger;
use crate::scenario::{Scenario, WorldSpec};

/// How long before the start sends began to fail.
const FAILING_FOR: u64 = 12;
/// How much of the history before that is kept, in minutes.
const HISTORY: u64 = 40;
const NAMES: [&str; 8] = [
    "Back to school",
    "Harvest",
    "Fuel Friday",
    "Loyalty",
    "Rainy season",
    "New station",
    "Winter",
    "Spring",
];

/// A small generator (splitmix64): enough to spread things, and the same everywhere.
pub(super) struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    pub(super) fn uuid(&mut self) -> Uuid {
        let bytes = (u128::from(self.roll()) << 64) | u128::from(self.roll());
        uuid::Builder::from_random_bytes(bytes.to_be_bytes()).into_uuid()
    }

    pub(super) fn msisdn(&mut self) -> u64 {
        250_780_000_000 + self.below(9_999_999)
    }
}

pub(super) fn world(spec: WorldSpec) -> World {
    let mut dice = Dice(spec.seed);
    let mut world = World {
        faults: faults(&spec),
        now: spec.start,
        campaigns: Vec::new(),
        targets: Vec::new(),
        queue: Vec::new(),
        sent: Vec::new(),
        notifications: Vec::new(),
        settings: settings(spec.scenario, spec.start),
        audit: Vec::new(),
        vouchers: Vec::new(),
        stations: Vec::new(),
        petrol_stations: Vec::new(),
        events: Vec::new(),
        redemptions: Vec::new(),
        webhook_logs: Vec::new(),
        pictures: BTreeMap::new(),
        functions: functions::deployed(spec.scenario, spec.start),
        function_files: BTreeMap::new(),
        secrets: BTreeMap::new(),
        project: super::Project::default(),
        function_calls: Vec::new(),
        idempotency: HashMap::new(),
        station_sessions: HashMap::new(),
        saved_campaigns: BTreeSet::new(),
        slack: Vec::new(),
        slack_taken_back: 0,
        incidents: Vec::new(),
        tickets: Vec::new(),
        ledger: Ledger::default(),
        frozen: HashMap::new(),
        settings_as_in_dump: false,
        sessions: HashMap::new(),
        wrong_tokens: HashMap::new(),
        people: spec.people.0.clone(),
        troubles: Vec::new(),
        troubled: 0,
        requests: BTreeMap::new(),
        throttle_window: (spec.start, 0),
        next_tick: spec.start + TICK,
        deliveries: VecDeque::new(),
        started: false,
        ticked: false,
        counter: 0,
        spec,
    };
    campaigns(&mut world, &mut dice);
    history(&mut world, &mut dice);
    notifications(&mut world, &mut dice);
    stations::seed(&mut world, &mut dice);
    if let Some((dedup_key, title)) = world.spec.scenario.alert() {
        world.incidents.push(Incident {
            id: "PSEEDED1".to_owned(),
            dedup_key: dedup_key.to_owned(),
            title: title.to_owned(),
            status: "triggered",
            created_at: world.spec.start - Duration::from_mins(8),
            notes: Vec::new(),
            log: Vec::new(),
            called_in: Vec::new(),
        });
    }
    world
}

/// The faults that are on, with what the scenario itself consists of.
fn faults(spec: &WorldSpec) -> FaultSet {
    match spec.scenario {
        Scenario::TargetsNotUpdated => spec.faults().with(Fault::TargetsStayQueued),
        _ => spec.faults(),
    }
}

fn settings(scenario: Scenario, updated_at: Timestamp) -> Vec<Setting> {
    let hours = match scenario {
        Scenario::QuietHoursMisconfigured => json!({ "start": "06:00", "end": "22:00" }),
        // From the moment on at which sending stopped to two hours after the start, in Kigali.
        Scenario::QuietHours => {
            let zone = jiff::tz::TimeZone::get("Africa/Kigali").unwrap_or(jiff::tz::TimeZone::UTC);
            let shown = |at: Timestamp| at.to_zoned_datetime(zone.clone()).strftime("%H:%M").to_string();
            let began = updated_at - Duration::from_mins(FAILING_FOR);
            json!({ "start": shown(began), "end": shown(updated_at + Duration::from_hours(2)) })
        }
        _ => json!({ "start": "22:00", "end": "06:00" }),
    };
    let throttle = if scenario == Scenario::ThrottleMisconfigured { 0 } else { 60 };
    vec![
        Setting { key: QUIET_HOURS, value: hours, updated_at },
        Setting { key: THROTTLE, value: json!(throttle), updated_at },
        Setting { key: OPT_OUT, value: json!(["+250788000777", "+250788000778"]), updated_at },
    ]
}

fn campaigns(world: &mut World, dice: &mut Dice) {
    let start = world.spec.start;
    for n in 0..world.spec.campaigns {
        let status = match n {
            0..=3 => "running",
            4 => "paused",
            _ => "draft",
        };
        let started_at = (status != "draft").then(|| start - Duration::from_hours(2));
        let campaign = Campaign {
            id: dice.uuid(),
            name: format!("{} {}", NAMES[n as usize % NAMES.len()], n / NAMES.len() as u32 + 1),
            kind: if n % 2 == 0 { "promo" } else { "voucher" },
            status: status.to_owned(),
            created_at: start - Duration::from_hours(48),
            started_at,
            finished_at: None,
        };
        targets(world, dice, &campaign, n);
        world.campaigns.push(campaign);
    }
    let paused: Vec<Uuid> = world.campaigns.iter().filter(|c| c.status == "paused").map(|c| c.id).collect();
    for id in paused {
        let diff = json!({ "action": "pause", "state": "paused" });
        world.note_audit(OTHER_ACTOR, "campaign_pause", "campaigns", &id.to_string(), diff);
    }
}

/// Campaigns have queues of different lengths, so that a resume has an order.
fn targets(world: &mut World, dice: &mut Dice, campaign: &Campaign, n: u32) {
    let bad_percent = match world.spec.scenario {
        Scenario::InvalidNumbers { percent } => percent,
        _ => 0,
    };
    let count = world.spec.targets_per_campaign;
    let already = u64::from(count) * u64::from(n % 4) / 8;
    let mut taken = BTreeSet::new();
    for t in 0..u64::from(count) {
        // A campaign has a number once; the next free one is taken, so that everything after it stays as it was.
        let mut msisdn = dice.msisdn();
        while !taken.insert(msisdn) {
            msisdn += 1;
        }
        let done = campaign.started_at.is_some() && t < already;
        let place = world.targets.len();
        world.targets.push(Target {
            id: dice.uuid(),
            campaign: campaign.id,
            msisdn,
            status: if done { "delivered" } else { "queued" },
            error_code: None,
            message_id: done.then(|| dice.roll()),
            last_update_at: world.spec.start - Duration::from_hours(1),
            bad: !done && dice.below(100) < bad_percent,
        });
        // Somebody else's paused campaign keeps its messages in a list of its own, out of the queue: in this world the
        // dispatcher's disregard for a campaign's status concerns what is queued.
        if campaign.status == "running" && !done && world.spec.scenario != Scenario::EmptyQueue {
            world.queue.push(Queued {
                id: world.queue.len() as i64 + 1,
                campaign: campaign.id,
                msisdn,
                attempt: 0,
                next_attempt_at: world.spec.start - Duration::from_hours(2),
                status: QueueStatus::Pending,
                target: place,
            });
        }
    }
}

/// The dispatcher's runs before the start: first they went well, then they failed.
fn history(world: &mut World, dice: &mut Dice) {
    let start = world.spec.start;
    let incident = world.spec.scenario.fails_sends();
    let stalled = world.spec.scenario.stalls() && world.spec.scenario != Scenario::TargetsNotUpdated;
    let mut places: VecDeque<usize> = spread(world).into();
    // A small world has a short history, but always the minutes that failed.
    let per_minute = (places.len() / HISTORY as usize).clamp(1, BATCH);
    let minutes = HISTORY.min((places.len() / per_minute) as u64);
    for minute in (1..=minutes).rev() {
        let at = start - Duration::from_mins(minute);
        if stalled && minute <= FAILING_FOR {
            world.function_calls.push((
                at,
                functions::DISPATCH_FUNCTION,
                if world.dispatcher_is_down(start) { 503 } else { 200 },
            ));
            continue;
        }
        world.function_calls.push((at, functions::DISPATCH_FUNCTION, 200));
        let failing = incident && minute <= FAILING_FOR;
        for _ in 0..per_minute {
            let Some(index) = places.pop_front() else { return };
            let bad = world.targets[world.queue[index].target].bad;
            let error = match world.spec.scenario {
                _ if !failing => None,
                Scenario::InvalidNumbers { .. } => {
                    bad.then(|| SendError { code: "131026".to_owned(), http: 400, retry_after: None })
                }
                _ => world.send_error(start, true).or_else(|| world.send_error(start, false)),
            };
            match error {
                Some(error) => {
                    world.fail_row(index, at, &error);
                    // Far enough in the past that the next attempt is due at the start.
                    world.queue[index].attempt = world.queue[index].attempt.min(1);
                }
                None => sent_long_ago(world, dice, index, at),
            }
        }
    }
}

fn sent_long_ago(world: &mut World, dice: &mut Dice, index: usize, at: Timestamp) {
    let row = &mut world.queue[index];
    row.status = QueueStatus::Sent;
    let message = dice.roll();
    let stays_queued =
        world.has(Fault::TargetsStayQueued) && at > world.spec.start - Duration::from_mins(FAILING_FOR);
    let row = &world.queue[index];
    let target = &mut world.targets[row.target];
    target.bad = false;
    if !stays_queued {
        target.status = "delivered";
        target.message_id = Some(message);
        target.last_update_at = at;
    }
    world.sent.push(SendLog {
        id: world.sent.len() as i64 + 1,
        queue: Some(row.id),
        campaign: Some(row.campaign),
        msisdn: row.msisdn,
        sent_at: at,
        message_id: Some(message),
        delivery_status: if world.has(Fault::DeliveryNeverLogged) { "SENT" } else { "delivered" },
        error: None,
    });
    world.keep_reports(world.sent.len() - 1, "delivered", at);
}

/// Queue rows with the campaigns taking turns, at most half of each.
fn spread(world: &World) -> Vec<usize> {
    let mut by_campaign: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
    for (index, row) in world.queue.iter().enumerate() {
        by_campaign.entry(row.campaign).or_default().push(index);
    }
    let longest = by_campaign.values().map(Vec::len).max().unwrap_or(0);
    let mut places = Vec::new();
    for n in 0..longest {
        for rows in by_campaign.values().filter(|rows| n < rows.len() / 2) {
            places.push(rows[n]);
        }
    }
    places
}

fn notifications(world: &mut World, dice: &mut Dice) {
    let start = world.spec.start;
    let failing = world.send_error(start, false).or_else(|| world.send_error(start, true));
    for n in 0..world.spec.notifications {
        // The latest twentieth falls into the last ten minutes.
        let recent = n % 20 == 0;
        let age = if recent { dice.below(600) } else { 3_600 + dice.below(82_800) };
        let created_at = start - Duration::from_secs(age + 1);
        let failure = failing.as_ref().filter(|_| {
            recent
                && !matches!(
                    world.spec.scenario,
                    Scenario::QuietHoursMisconfigured | Scenario::ThrottleMisconfigured
                )
        });
        world.notifications.push(Notification {
            id: dice.uuid(),
            msisdn: dice.msisdn(),
            status: if failure.is_some() { "failed" } else { "sent" },
            error_message: failure.map(super::SendError::to_notification),
            created_at,
            sent_at: failure.is_none().then_some(created_at),
        });
    }
}
