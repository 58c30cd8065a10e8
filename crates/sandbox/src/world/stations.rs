//! Stations, vouchers, and what stations did with them before the world begins.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::World;
use super::rows::{PetrolStation, Redemption, Station, Voucher, VoucherEvent, WebhookLog};
use super::seed::Dice;
use crate::scenario::Scenario;

/// What the station app calls.
pub(crate) const REDEEM: &str = "/api/station/redeem";

pub(super) fn seed(world: &mut World, dice: &mut Dice) {
    stations(world, dice);
    ordinary(world, dice);
    match world.spec.scenario {
        Scenario::DoubleRedemption => doubles(world, dice, 3, false),
        Scenario::DoubleOfUnknownWorth => doubles(world, dice, 2, true),
        Scenario::Replays => replays(world, dice),
        Scenario::KeyCollision => key_collision(world, dice),
        Scenario::WrongScope => wrong_scope(world, dice),
        Scenario::WrongStation => wrong_station(world, dice),
        scenario if scenario.breaks_previews() => without_pictures(world, dice),
        _ => {}
    }
}

/// Each station stands in both tables, under the same name and another id.
fn stations(world: &mut World, dice: &mut Dice) {
    let fewest = if world.spec.scenario.redeems_wrongly() { 3 } else { 0 };
    for n in 0..world.spec.stations.max(fewest) {
        let name = format!("Station {}", n + 1);
        world.stations.push(Station {
            id: dice.uuid(),
            name: name.clone(),
            code: format!("ST{n:03}"),
            created_at: world.spec.start - SignedDuration::from_hours(900),
        });
        world.petrol_stations.push(PetrolStation { id: dice.uuid(), name });
    }
}

/// Vouchers that nothing is wrong with: a third of them redeemed once, five hours ago.
fn ordinary(world: &mut World, dice: &mut Dice) {
    let start = world.spec.start;
    for n in 0..world.spec.vouchers {
        let redeemed = dice.below(3) == 0;
        let scope = dice.below(u64::from(world.spec.stations).max(1)) as usize;
        let issued_at = start - SignedDuration::from_hours(72);
        let voucher = issue(world, dice, format!("{:05}", n % 100_000), issued_at);
        let scope = world.stations.get(scope).map(|station| station.id).filter(|_| n % 4 == 0);
        let place = world.vouchers.len() - 1;
        world.vouchers[place].station_scope = scope;
        if redeemed {
            let key = format!("key{n:05}");
            redeem(world, dice, voucher, 0, &key, start - SignedDuration::from_hours(5));
        }
    }
}

fn issue(world: &mut World, dice: &mut Dice, code: String, issued_at: Timestamp) -> Uuid {
    let id = dice.uuid();
    let by_admin_api = dice.below(2) == 0;
    let francs = 2_000 + 500 * dice.below(5) as i64;
    // The money trap: the same worth, written 100 times larger by the other flow.
    let amount_minor = if by_admin_api { francs * 100 } else { francs };
    let author = dice.uuid();
    world.vouchers.push(Voucher {
        id,
        qr_payload: format!("voucher:{code}"),
        code,
        amount_minor,
        amount_hundredths: amount_minor,
        currency: "RWF".to_owned(),
        plate: None,
        issued_by_admin: (!by_admin_api).then_some(author),
        created_by: by_admin_api.then_some(author),
        status: "issued".to_owned(),
        msisdn: dice.msisdn(),
        policy_number: format!("POL-{:06}", dice.below(1_000_000)),
        station_scope: None,
        campaign: None,
        png_url: Some(format!("{id}.png")),
        metadata: json!({}),
        issued_at,
        redeemed_at: None,
        expires_at: None,
        updated_at: issued_at,
    });
    event(world, dice, id, "issued", None, issued_at);
    id
}

fn event(
    world: &mut World,
    dice: &mut Dice,
    voucher: Uuid,
    kind: &str,
    station: Option<Uuid>,
    at: Timestamp,
) {
    let (id, event_type, context) = (dice.uuid(), kind.to_owned(), json!({}));
    let row = VoucherEvent { id, voucher, event_type, actor: None, station, context, created_at: at };
    world.events.push(row);
}

/// A redemption as the platform keeps it: request, redemption, event, and the row.
fn redeem(world: &mut World, dice: &mut Dice, voucher: Uuid, station: usize, key: &str, at: Timestamp) {
    let place = station.min(world.stations.len().saturating_sub(1));
    let petrol = world.petrol_stations.get(place).map(|station| station.id);
    let here = world.stations.get(place).map(|station| station.id);
    attempt(world, voucher, here, key, "redeemed", at);
    let id = dice.uuid();
    let meta = json!({ "idempotency_key": key });
    world.redemptions.push(Redemption { id, voucher, station: petrol, meta, created_at: at });
    event(world, dice, voucher, "redeemed", here, at);
    if let Some(row) = world.vouchers.iter_mut().find(|row| row.id == voucher) {
        "redeemed".clone_into(&mut row.status);
        row.redeemed_at = Some(at);
        row.updated_at = at;
    }
}

fn attempt(world: &mut World, voucher: Uuid, station: Option<Uuid>, key: &str, outcome: &str, at: Timestamp) {
    let code = world.vouchers.iter().find(|row| row.id == voucher).map(|row| row.code.clone());
    world.webhook_logs.push(WebhookLog {
        id: world.webhook_logs.len() as i64 + 1,
        endpoint: REDEEM,
        status_code: 200,
        error_message: outcome.to_owned(),
        headers: json!({ "idempotency-key": key }),
        payload: payload(code.as_deref(), station),
        received_at: at,
    });
}

/// A request of the station app as the log keeps it.
pub(crate) fn payload(code: Option<&str>, station: Option<Uuid>) -> Value {
    json!({ "voucherCode": code, "stationId": station, "method": "code" })
}

impl World {
    /// Vouchers with more than one redemption, by id.
    pub fn vouchers_redeemed_twice(&self) -> Vec<Uuid> {
        let mut ids: Vec<Uuid> = self.redemptions.iter().map(|redemption| redemption.voucher).collect();
        ids.sort();
        let mut twice: Vec<Uuid> =
            ids.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        twice.dedup();
        twice
    }

    /// Replacements that a run holds, by id.
    pub fn vouchers_held(&self) -> Vec<Uuid> {
        let held = self.vouchers.iter().filter(|row| row.metadata["held_by"].is_string());
        held.map(|row| row.id).collect()
    }

    /// Gives a voucher another date. False where there is no such voucher.
    pub fn let_expire(&mut self, voucher: Uuid, at: Timestamp) -> bool {
        let Some(row) = self.vouchers.iter_mut().find(|row| row.id == voucher) else { return false };
        row.expires_at = Some(at);
        true
    }

    /// Lets somebody else change what a voucher is worth. False where there is no such voucher.
    pub fn let_somebody_change_the_worth(&mut self, voucher: Uuid, amount_minor: i64) -> bool {
        let Some(row) = self.vouchers.iter_mut().find(|row| row.id == voucher) else { return false };
        row.amount_minor = amount_minor;
        true
    }

    /// Lets a voucher's scope be an id of the other table of stations. False where there is no such voucher.
    pub fn let_scope_be_wrong(&mut self, voucher: Uuid) -> bool {
        let wrong = self.petrol_stations.first().map(|station| station.id);
        let Some(row) = self.vouchers.iter_mut().find(|row| row.id == voucher) else { return false };
        row.station_scope = wrong;
        true
    }

    /// Moves a voucher's redemptions: the n-th to this station (by its place) and time, under this key; further ones stay. The
    /// station app's requests are as they were.
    pub fn let_redemptions_be(&mut self, voucher: Uuid, all: &[(usize, Option<&str>, Timestamp)]) {
        let stations: Vec<Uuid> = self.petrol_stations.iter().map(|station| station.id).collect();
        let rows = self.redemptions.iter_mut().filter(|row| row.voucher == voucher);
        for (row, (station, key, at)) in rows.zip(all) {
            row.station = stations.get(*station).copied();
            row.meta = json!({ "idempotency_key": key });
            row.created_at = *at;
        }
    }

    /// Every request of the first station's app comes with one key.
    pub fn let_keys_collide(&mut self) {
        let here = self.stations.first().map(|station| json!(station.id)).unwrap_or_default();
        for request in self.webhook_logs.iter_mut().filter(|one| one.payload["stationId"] == here) {
            request.headers = json!({ "idempotency-key": "NTU1NTU1NTUtNTU1NS00NTU1" });
        }
    }

    /// Empties what stations did: the redemptions, or the station app's requests.
    pub fn forget_redemptions(&mut self) {
        self.redemptions.clear();
    }

    /// As [`forget_redemptions`](Self::forget_redemptions), of the station app's requests.
    pub fn forget_requests(&mut self) {
        self.webhook_logs.clear();
    }

    /// Lets somebody else take a voucher back. False where there is no such voucher.
    pub fn let_somebody_void(&mut self, voucher: Uuid) -> bool {
        self.let_somebody_set(voucher, "void")
    }

    /// Lets somebody else write a voucher's status by hand. False where there is no such voucher.
    pub fn let_somebody_set(&mut self, voucher: Uuid, status: &str) -> bool {
        let now = self.now;
        let Some(row) = self.vouchers.iter_mut().find(|row| row.id == voucher) else { return false };
        status.clone_into(&mut row.status);
        row.touch(now);
        true
    }
}

fn minutes_ago(world: &World, minutes: i64) -> Timestamp {
    world.spec.start - SignedDuration::from_mins(minutes)
}

fn recent(world: &mut World, dice: &mut Dice, n: u32) -> Uuid {
    let at = world.spec.start - SignedDuration::from_hours(3);
    issue(world, dice, format!("S{n:04}"), at)
}

/// Redeemed at two stations within half an hour, with two keys: two attempts that both succeeded.
fn doubles(world: &mut World, dice: &mut Dice, count: u32, last_of_unknown_worth: bool) {
    for n in 0..count {
        let voucher = recent(world, dice, n);
        let at = minutes_ago(world, 50 - i64::from(n));
        redeem(world, dice, voucher, 0, &format!("first{n}"), at);
        redeem(world, dice, voucher, 1, &format!("second{n}"), at + SignedDuration::from_mins(20));
    }
    if last_of_unknown_worth && let Some(last) = world.vouchers.last_mut() {
        last.issued_by_admin = None;
        last.created_by = None;
    }
}

/// The offline queue sent the same request again, and the redemption was stored twice.
fn replays(world: &mut World, dice: &mut Dice) {
    for n in 0..2 {
        let voucher = recent(world, dice, n);
        let (at, key) = (minutes_ago(world, 40), format!("queued{n}"));
        redeem(world, dice, voucher, 0, &key, at);
        redeem(world, dice, voucher, 0, &key, at + SignedDuration::from_secs(15));
    }
}

/// One key for every voucher of a station: the first is redeemed, the others get its answer.
fn key_collision(world: &mut World, dice: &mut Dice) {
    let key = "NTU1NTU1NTUtNTU1NS00NTU1";
    let here = world.stations.first().map(|station| station.id);
    let first = recent(world, dice, 0);
    let at = minutes_ago(world, 45);
    redeem(world, dice, first, 0, key, at);
    for n in 1..4 {
        let voucher = recent(world, dice, n);
        attempt(world, voucher, here, key, "replay", at + SignedDuration::from_mins(i64::from(n) * 5));
    }
}

/// The scope is the id of the same station in the other table.
fn wrong_scope(world: &mut World, dice: &mut Dice) {
    for n in 0..2 {
        let voucher = recent(world, dice, n);
        let wrong = world.petrol_stations.first().map(|station| station.id);
        if let Some(row) = world.vouchers.last_mut() {
            row.station_scope = wrong;
        }
        refused_here(world, voucher, n);
    }
}

/// The scope is right, and the customer is somewhere else.
fn wrong_station(world: &mut World, dice: &mut Dice) {
    let voucher = recent(world, dice, 0);
    let elsewhere = world.stations.get(1).map(|station| station.id);
    if let Some(row) = world.vouchers.last_mut() {
        row.station_scope = elsewhere;
    }
    refused_here(world, voucher, 0);
}

fn refused_here(world: &mut World, voucher: Uuid, n: u32) {
    let here = world.stations.first().map(|station| station.id);
    let at = minutes_ago(world, 30 - i64::from(n));
    attempt(world, voucher, here, &format!("scope{n}"), "invalid_station", at);
}

/// Vouchers that were issued while previews failed.
fn without_pictures(world: &mut World, dice: &mut Dice) {
    for n in 0..12 {
        let at = minutes_ago(world, i64::from(n) + 1);
        issue(world, dice, format!("S{n:04}"), at);
        if let Some(row) = world.vouchers.last_mut() {
            row.png_url = None;
        }
    }
}
