//! Vouchers through PostgREST: what the database allows is much more than the intended moves.

use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;

use super::answer::Asked;
use super::body::Given;
use super::insert::{Insert, insert, points_nowhere};
use super::query::RestError;
use crate::fault::Fault;
use crate::world::World;
use crate::world::rows::{Voucher, VoucherEvent};

const STATUSES: [&str; 6] = ["issued", "sent", "redeemed", "expired", "void", "cancelled"];
/// What cannot be null, where it is given at all.
const NOT_NULL: [&str; 10] = [
    "code_5",
    "amount_minor",
    "currency",
    "status",
    "whatsapp_e164",
    "policy_number",
    "qr_payload",
    "issued_at",
    "updated_at",
    "metadata",
];

impl Insert for Voucher {
    const UNIQUE: &'static [(&'static str, &'static [&'static str])] =
        &[("vouchers_pkey", &["id"]), ("vouchers_code5_key", &["code5"])];

    fn table(world: &mut World) -> &mut Vec<Self> {
        &mut world.vouchers
    }

    fn effect(&self) -> (&'static str, String) {
        ("voucher.reserve", self.id.to_string())
    }

    fn merge(&mut self, new: &Self, given: &Given) {
        // What the new row was made of was checked when it was made.
        let _ = change(self, given);
        self.touch(new.updated_at);
    }
}

impl Insert for VoucherEvent {
    const UNIQUE: &'static [(&'static str, &'static [&'static str])] = &[("voucher_events_pkey", &["id"])];

    fn table(world: &mut World) -> &mut Vec<Self> {
        &mut world.events
    }

    fn effect(&self) -> (&'static str, String) {
        ("voucher.event", format!("{} {}", self.voucher, self.event_type))
    }

    fn merge(&mut self, new: &Self, given: &Given) {
        for name in given.names() {
            match name {
                "id" => self.id = new.id,
                "voucher_id" => self.voucher = new.voucher,
                "event_type" => self.event_type.clone_from(&new.event_type),
                "actor_id" => self.actor = new.actor,
                "station_id" => self.station = new.station,
                "context" => self.context.clone_from(&new.context),
                "created_at" => self.created_at = new.created_at,
                _ => {}
            }
        }
    }
}

pub(super) fn patch(
    world: &mut World,
    asked: &Asked,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, RestError> {
    let given = super::one_change::<Voucher>(asked, headers, body)?;
    check(world, &given)?;
    if given.has("id") {
        given.only(&[])?;
    }
    let places = super::places(asked, &world.vouchers)?;
    if let Some(code) = code(&given) {
        check_code(world, &places, &code)?;
    }
    let lost = world.has(Fault::VoucherWriteLost);
    for &place in &places {
        let effect = effect_of(&given, &world.vouchers[place]);
        let (id, now) = (world.vouchers[place].id, world.now);
        world.ledger.note(now, effect, id, !lost);
        if !lost {
            change(&mut world.vouchers[place], &given)?;
            world.vouchers[place].touch(now);
        }
    }
    Ok(super::changed(asked, &world.vouchers, &places))
}

/// What holds for new rows and for changes: the types of a voucher's values are known to be right here.
fn check(world: &World, given: &Given) -> Result<(), RestError> {
    if let Some(name) = NOT_NULL.into_iter().find(|name| given.has(name) && given.text(name).is_none()) {
        return Err(given.missing(name));
    }
    if given.text("status").is_some_and(|status| !STATUSES.contains(&status.as_str())) {
        return Err(given.violates("vouchers_status_check"));
    }
    let is_code = |byte: u8| byte.is_ascii_alphanumeric();
    if code(given).is_some_and(|code| code.len() != 5 || !code.bytes().all(is_code)) {
        return Err(given.violates("vouchers_code_check"));
    }
    if given.has("whatsapp_e164") {
        given.digits("whatsapp_e164")?;
    }
    // Rows of before the constraint keep what they have.
    match given.uuid("station_scope") {
        Some(scope) if !world.stations.iter().any(|station| station.id == scope) => {
            Err(points_nowhere::<Voucher>("station_scope", &scope.to_string(), "stations"))
        }
        _ => Ok(()),
    }
}

/// The trigger keeps both columns equal.
fn code(given: &Given) -> Option<String> {
    given.text("code5").or_else(|| given.text("code_5"))
}

/// A code is one voucher's.
fn check_code(world: &World, places: &[usize], code: &str) -> Result<(), RestError> {
    let taken = |(place, row): (usize, &Voucher)| row.code == code && !places.contains(&place);
    if places.len() > 1 || (places.len() == 1 && world.vouchers.iter().enumerate().any(taken)) {
        let message = "duplicate key value violates unique constraint \"vouchers_code5_key\"";
        let details = format!("Key (code5)=({code}) already exists.");
        return Err(RestError::new(409, "23505", message).because(details));
    }
    Ok(())
}

fn effect_of(given: &Given, voucher: &Voucher) -> &'static str {
    match given.text("status").as_deref() {
        Some("void") => "voucher.void",
        Some("issued") if voucher.metadata["held_by"].is_string() => "voucher.release",
        None if given.has("station_scope") => "voucher.scope",
        None if given.json("metadata")["held_by"].is_string() => "voucher.adopt",
        _ => "voucher.update",
    }
}

/// Takes over what is given. `amount` is the trigger's work, whatever a request says, and so is `updated_at`.
fn change(voucher: &mut Voucher, given: &Given) -> Result<(), RestError> {
    fn set<T>(place: &mut T, given: Option<T>) {
        if let Some(given) = given {
            *place = given;
        }
    }
    set(&mut voucher.code, code(given));
    if let Some(minor) = given.int("amount_minor") {
        (voucher.amount_minor, voucher.amount_hundredths) = (minor, minor);
    }
    set(&mut voucher.currency, given.text("currency"));
    set(&mut voucher.status, given.text("status"));
    if given.has("whatsapp_e164") {
        voucher.msisdn = given.digits("whatsapp_e164")?;
    }
    set(&mut voucher.policy_number, given.text("policy_number"));
    set(&mut voucher.qr_payload, given.text("qr_payload"));
    set(&mut voucher.issued_at, given.time("issued_at"));
    if given.has("metadata") {
        voucher.metadata = given.json("metadata");
    }
    for name in given.names() {
        match name {
            "plate" => voucher.plate = given.text(name),
            "png_url" => voucher.png_url = given.text(name),
            "issued_by_admin" => voucher.issued_by_admin = given.uuid(name),
            "created_by" => voucher.created_by = given.uuid(name),
            "station_scope" => voucher.station_scope = given.uuid(name),
            "campaign_id" => voucher.campaign = given.uuid(name),
            "redeemed_at" => voucher.redeemed_at = given.time(name),
            "expires_at" => voucher.expires_at = given.time(name),
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn insert_vouchers(
    world: &mut World,
    asked: &Asked,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, RestError> {
    let given = Given::rows::<Voucher>(&asked.query, headers, body)?;
    let rows = Given::each(given, |given| voucher(world, given))?;
    let lost = world.has(Fault::VoucherWriteLost);
    insert::<Voucher>(world, asked, rows, lost)
}

fn voucher(world: &mut World, given: &Given) -> Result<Voucher, RestError> {
    check(world, given)?;
    let now = world.now;
    let mut row = Voucher {
        id: given.uuid("id").unwrap_or_else(|| world.new_uuid()),
        code: code(given).ok_or_else(|| given.missing("code_5"))?,
        amount_minor: given.int("amount_minor").ok_or_else(|| given.missing("amount_minor"))?,
        amount_hundredths: 0,
        currency: "RWF".to_owned(),
        plate: None,
        qr_payload: given.required("qr_payload")?,
        issued_by_admin: None,
        created_by: None,
        status: "issued".to_owned(),
        msisdn: given.digits("whatsapp_e164")?,
        policy_number: given.required("policy_number")?,
        station_scope: None,
        campaign: None,
        png_url: None,
        metadata: json!({}),
        issued_at: now,
        redeemed_at: None,
        expires_at: None,
        updated_at: now,
    };
    change(&mut row, given)?;
    Ok(row)
}

pub(super) fn insert_events(
    world: &mut World,
    asked: &Asked,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, RestError> {
    let given = Given::rows::<VoucherEvent>(&asked.query, headers, body)?;
    let rows = Given::each(given, |given| event(world, given))?;
    insert::<VoucherEvent>(world, asked, rows, false)
}

fn event(world: &mut World, given: &Given) -> Result<VoucherEvent, RestError> {
    let voucher = given.uuid("voucher_id").ok_or_else(|| given.missing("voucher_id"))?;
    if !world.vouchers.iter().any(|row| row.id == voucher) {
        return Err(points_nowhere::<VoucherEvent>("voucher_id", &voucher.to_string(), "vouchers"));
    }
    Ok(VoucherEvent {
        id: given.uuid("id").unwrap_or_else(|| world.new_uuid()),
        voucher,
        event_type: given.required("event_type")?,
        actor: given.uuid("actor_id"),
        station: given.uuid("station_id"),
        context: given.json("context"),
        created_at: given.time("created_at").unwrap_or(world.now),
    })
}
