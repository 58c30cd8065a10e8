//! Vouchers through PostgREST: what the database allows is much more than the intended moves.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;
use uuid::Uuid;

use super::query::{Query, RestError};
use super::{Prefer, changed, check_affected, missing, with_headers};
use crate::fault::Fault;
use crate::world::World;
use crate::world::rows::{Voucher, VoucherEvent};

const STATUSES: [&str; 6] = ["issued", "sent", "redeemed", "expired", "void", "cancelled"];

pub(super) fn patch(
    world: &mut World,
    query: &Query,
    prefer: &Prefer,
    body: &[u8],
) -> Result<Response, RestError> {
    query.check_columns::<Voucher>()?;
    let body: Value =
        serde_json::from_slice(body).map_err(|e| RestError::new(400, "PGRST102", e.to_string()))?;
    let status = body["status"].as_str();
    if status.is_some_and(|status| !STATUSES.contains(&status)) {
        let message = "new row for relation \"vouchers\" violates check constraint \"vouchers_status_check\"";
        return Err(RestError::new(400, "23514", message));
    }
    check_scope(world, &body)?;
    let places = query.places(&world.vouchers);
    check_affected(prefer, places.len())?;
    let lost = world.has(Fault::VoucherWriteLost);
    for &place in &places {
        let effect = effect_of(&body, &world.vouchers[place]);
        let (id, now) = (world.vouchers[place].id, world.now);
        world.ledger.note(now, effect, id, !lost);
        if !lost {
            change(&mut world.vouchers[place], &body, now);
        }
    }
    let rows: Vec<Value> = places.iter().map(|&place| query.render(&world.vouchers[place])).collect();
    Ok(changed(rows, prefer))
}

/// The foreign key of `station_scope`: it points to `stations`. Rows of before the constraint keep what they have.
fn check_scope(world: &World, body: &Value) -> Result<(), RestError> {
    let scope = body["station_scope"].as_str().and_then(|id| id.parse::<Uuid>().ok());
    match scope {
        Some(scope) if !world.stations.iter().any(|station| station.id == scope) => {
            let message = "insert or update on table \"vouchers\" violates foreign key constraint \"vouchers_station_scope_fkey\"";
            Err(RestError::new(409, "23503", message))
        }
        _ => Ok(()),
    }
}

fn effect_of(body: &Value, voucher: &Voucher) -> &'static str {
    match body["status"].as_str() {
        Some("void") => "voucher.void",
        Some("issued") if voucher.metadata["held_by"].is_string() => "voucher.release",
        None if body.get("station_scope").is_some() => "voucher.scope",
        None if body["metadata"]["held_by"].is_string() => "voucher.adopt",
        _ => "voucher.update",
    }
}

fn change(voucher: &mut Voucher, body: &Value, now: jiff::Timestamp) {
    if let Some(status) = body["status"].as_str() {
        status.clone_into(&mut voucher.status);
    }
    if let Some(scope) = body.get("station_scope") {
        voucher.station_scope = scope.as_str().and_then(|id| id.parse().ok());
    }
    if let Some(metadata) = body.get("metadata") {
        voucher.metadata = metadata.clone();
    }
    voucher.touch(now);
}

pub(super) fn insert(
    world: &mut World,
    query: &Query,
    prefer: &Prefer,
    body: &Value,
) -> Result<Response, RestError> {
    let text = |name: &'static str| body[name].as_str().map(str::to_owned).ok_or_else(|| missing(name));
    let code = text("code5")?;
    if code.len() != 5 || !code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) {
        let message = "new row for relation \"vouchers\" violates check constraint \"vouchers_code_check\"";
        return Err(RestError::new(400, "23514", message));
    }
    let amount_minor = body["amount_minor"].as_i64().ok_or_else(|| missing("amount_minor"))?;
    let uuid = |name: &str| body[name].as_str().and_then(|id| id.parse::<Uuid>().ok());
    let digits =
        text("whatsapp_e164")?.trim_start_matches('+').parse().map_err(|_| missing("whatsapp_e164"))?;
    text("qr_payload")?;
    check_scope(world, body)?;
    let (now, id) = (world.now, uuid("id").unwrap_or_else(|| world.new_uuid()));
    let row = Voucher {
        id,
        amount_minor,
        // The trigger's work, whatever the request says.
        amount_hundredths: amount_minor,
        issued_by_admin: uuid("issued_by_admin"),
        created_by: uuid("created_by"),
        status: body["status"].as_str().unwrap_or("issued").to_owned(),
        msisdn: digits,
        policy_number: text("policy_number")?,
        station_scope: uuid("station_scope"),
        campaign: uuid("campaign_id"),
        png_url: None,
        metadata: body["metadata"].clone(),
        issued_at: now,
        redeemed_at: None,
        expires_at: body["expires_at"].as_str().and_then(|at| at.parse().ok()),
        updated_at: now,
        code,
    };
    let exists = world.vouchers.iter().any(|other| other.id == row.id);
    if exists && !ignores_duplicates(query, prefer) {
        return Err(duplicate("vouchers_pkey"));
    }
    if !exists && world.vouchers.iter().any(|other| other.code == row.code) {
        return Err(duplicate("vouchers_code5_key"));
    }
    let lost = world.has(Fault::VoucherWriteLost);
    world.ledger.note(now, "voucher.reserve", row.id, !exists && !lost);
    let rendered = query.render(&row);
    if !exists && !lost {
        world.vouchers.push(row);
    }
    let body = if prefer.representation { Value::Array(vec![rendered]) } else { Value::Null };
    Ok(with_headers(StatusCode::CREATED, &body, "*/*", prefer))
}

pub(super) fn insert_event(
    world: &mut World,
    query: &Query,
    prefer: &Prefer,
    body: &Value,
) -> Result<Response, RestError> {
    let uuid = |name: &str| body[name].as_str().and_then(|id| id.parse::<Uuid>().ok());
    let row = VoucherEvent {
        id: uuid("id").unwrap_or_else(|| world.new_uuid()),
        voucher: uuid("voucher_id").ok_or_else(|| missing("voucher_id"))?,
        event_type: body["event_type"].as_str().ok_or_else(|| missing("event_type"))?.to_owned(),
        station: uuid("station_id"),
        context: body["context"].clone(),
        created_at: world.now,
    };
    if !world.vouchers.iter().any(|voucher| voucher.id == row.voucher) {
        let message = "insert or update on table \"voucher_events\" violates foreign key constraint";
        return Err(RestError::new(409, "23503", message));
    }
    let exists = world.events.iter().any(|other| other.id == row.id);
    if exists && !ignores_duplicates(query, prefer) {
        return Err(duplicate("voucher_events_pkey"));
    }
    let now = world.now;
    let subject = format!("{} {}", row.voucher, row.event_type);
    world.ledger.note(now, "voucher.event", subject, !exists);
    if !exists {
        world.events.push(row);
    }
    Ok(with_headers(StatusCode::CREATED, &Value::Null, "*/*", prefer))
}

fn ignores_duplicates(query: &Query, prefer: &Prefer) -> bool {
    prefer.ignore_duplicates && query.on_conflict.as_deref() == Some("id")
}

fn duplicate(constraint: &str) -> RestError {
    RestError::new(409, "23505", format!("duplicate key value violates unique constraint \"{constraint}\""))
}
