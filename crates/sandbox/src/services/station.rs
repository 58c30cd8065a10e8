//! The station app's server, in the target profile: the real platform has none.
//!
//! Business results come as 200, because the app shows any other status as an unknown error.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};
use uuid::Uuid;

use super::admin::no_such_route;
use super::{answer, header_text};
use crate::fault::{Fault, Profile};
use crate::server::Shared;
use crate::world::World;
use crate::world::rows::{Redemption, VoucherEvent, WebhookLog};
use crate::world::stations::{REDEEM, payload};

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/admin/api/station/login", post(login))
        .route("/admin/api/station/redeem", post(redeem))
}

/// Every station's passcode is its own code: this is a sandbox.
async fn login(State(shared): State<Shared>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut world = shared.world();
    if world.spec.profile != Profile::Target {
        return no_such_route(&world);
    }
    let code = body["stationCode"].as_str().filter(|code| body["passcode"].as_str() == Some(code));
    let found = code.and_then(|code| world.stations.iter().find(|station| station.code == code)).cloned();
    let Some(station) = found else { return answer(401, json!({ "error": "invalid_token" })) };
    let token = format!("station-{}", world.new_uuid());
    world.station_sessions.insert(token.clone(), station.id);
    let expires = world.now() + jiff::SignedDuration::from_hours(12);
    answer(
        200,
        json!({
            "token": token, "stationId": station.id, "stationName": station.name, "operatorName": "Operator",
            "expiresAt": expires.to_string(),
        }),
    )
}

async fn redeem(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut world = shared.world();
    if world.spec.profile != Profile::Target {
        return no_such_route(&world);
    }
    let token = header_text(&headers, "authorization").strip_prefix("Bearer ").unwrap_or_default();
    let Some(station) = world.station_sessions.get(token).copied() else {
        return answer(401, json!({ "error": "unauthorized" }));
    };
    let key = header_text(&headers, "idempotency-key").to_owned();
    if key.is_empty() {
        return answer(400, json!({ "error": "missing_key" }));
    }
    let Some(code) = body["voucherCode"].as_str() else {
        return answer(400, json!({ "error": "invalid_payload" }));
    };
    // The key alone is not enough: the app's own key is the same for every voucher of a station.
    let print = if world.has(Fault::StationKeyCollision) { "" } else { code };
    let stored = format!("station {station} {key} {print}");
    if let Some(answered) = world.idempotency.get(&stored).cloned() {
        log(&mut world, &key, code, station, "replay");
        return answer(200, answered);
    }
    let (http, result) = attempt(&mut world, &key, code, station);
    if http == 200 {
        world.idempotency.insert(stored, result.clone());
    }
    answer(http, result)
}

/// One conditional change; redemption and event belong to it.
fn attempt(world: &mut World, key: &str, code: &str, station: Uuid) -> (u16, Value) {
    let now = world.now();
    let Some(place) = world.vouchers.iter().position(|voucher| voucher.code == code) else {
        log(world, key, code, station, "not_found");
        return (404, json!({ "error": "not_found" }));
    };
    let voucher = &world.vouchers[place];
    let (id, francs) = (voucher.id, voucher.amount_minor);
    if voucher.station_scope.is_some_and(|scope| scope != station) {
        log(world, key, code, station, "invalid_station");
        let message = "This voucher belongs to another station.";
        return (200, json!({ "status": "invalid_station", "message": message, "retryable": false }));
    }
    let expired = voucher.expires_at.is_some_and(|expires| expires <= now);
    let redeemable = matches!(voucher.status.as_str(), "issued" | "sent") && !expired;
    if redeemable {
        let row = &mut world.vouchers[place];
        "redeemed".clone_into(&mut row.status);
        row.redeemed_at = Some(now);
        row.touch(now);
        let name = world.stations.iter().find(|one| one.id == station).map(|one| one.name.clone());
        let petrol =
            world.petrol_stations.iter().find(|one| Some(&one.name) == name.as_ref()).map(|one| one.id);
        world.ledger.note(now, "voucher.redeem", id, true);
        let (redemption, event) = (world.new_uuid(), world.new_uuid());
        let meta = json!({ "idempotency_key": key });
        world.redemptions.push(Redemption {
            id: redemption,
            voucher: id,
            station: petrol,
            meta,
            created_at: now,
        });
        world.events.push(VoucherEvent {
            id: event,
            voucher: id,
            event_type: "redeemed".to_owned(),
            actor: None,
            station: Some(station),
            context: json!({}),
            created_at: now,
        });
    }
    let status = if redeemable { "redeemed" } else { "already_redeemed" };
    log(world, key, code, station, status);
    let redeemed_at = world.vouchers[place].redeemed_at.map(|at| at.to_string());
    (
        200,
        json!({
            "status": status, "amount": francs, "currency": "RWF", "maskedMsisdn": "+250 78* *** ***",
            "redeemedAt": redeemed_at, "voucherId": id, "reference": key,
        }),
    )
}

fn log(world: &mut World, key: &str, code: &str, station: Uuid, outcome: &str) {
    let row = WebhookLog {
        id: world.webhook_logs.len() as i64 + 1,
        endpoint: REDEEM,
        status_code: if outcome == "not_found" { 404 } else { 200 },
        error_message: outcome.to_owned(),
        headers: json!({ "idempotency-key": key }),
        payload: payload(Some(code), Some(station)),
        received_at: world.now(),
    };
    world.webhook_logs.push(row);
}
