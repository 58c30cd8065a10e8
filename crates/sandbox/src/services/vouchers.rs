//! The admin API's vouchers: list, preview, generate; and in the target profile void, replace and scope.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};
use uuid::Uuid;

use super::admin::no_such_route;
use super::admin_pages::Paging;
use super::{answer, header_text};
use crate::fault::{Fault, Profile};
use crate::server::Shared;
use crate::world::World;
use crate::world::functions::Shown;
use crate::world::rows::{Voucher, e164};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/admin/api/vouchers", get(list))
        .route("/admin/api/vouchers/preview", post(preview))
        .route("/admin/api/vouchers/generate", post(generate))
        .route("/admin/api/vouchers/{id}", axum::routing::patch(scope))
        .route("/admin/api/vouchers/{id}/void", post(void))
        .route("/admin/api/vouchers/{id}/replace", post(replace))
}

async fn list(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let paging = Paging::parse(&query.unwrap_or_default(), 25);
    let world = shared.world();
    if world.has(Fault::VouchersFixtureFallback) {
        let fixtures = (1..=25).map(|n| json!({ "id": format!("voucher-{n}"), "amount": 2000, "currency": "RWF", "status": "issued" }));
        return answer(200, paging.page(fixtures.collect()));
    }
    // Vouchers without a user are odd to the response's schema, and all of ours are.
    if world.has(Fault::RowBreaksList) && !world.vouchers.is_empty() {
        return answer(400, json!({ "error": "invalid_query", "message": "Expected string, received null" }));
    }
    let rows = world.vouchers.iter().filter(|v| paging.admits(&v.status)).map(render);
    answer(200, paging.page(rows.collect()))
}

fn render(voucher: &Voucher) -> Value {
    json!({
        "id": voucher.id, "msisdn": e164(voucher.msisdn), "amount": voucher.amount_minor / 100, "currency": "RWF",
        "status": voucher.status, "stationScope": voucher.station_scope, "issuedAt": voucher.issued_at.to_string(),
        "redeemedAt": voucher.redeemed_at.map(|at| at.to_string()),
    })
}

/// `POST /api/vouchers/preview`: never from a cache. A failure says so with the function's own status.
async fn preview(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut world = shared.world();
    let id = body["voucherId"].as_str().and_then(|id| id.parse::<Uuid>().ok());
    let Some(place) = id.and_then(|id| world.vouchers.iter().position(|voucher| voucher.id == id)) else {
        return answer(400, json!({ "error": "invalid_payload" }));
    };
    match world.preview(&world.vouchers[place]) {
        // As the platform passes an empty answer on: well, and with nothing in it.
        Ok(Shown::Nothing) => answer(
            200,
            json!({
                "imageUrl": null, "pdfUrl": null, "expiresAt": null,
                "integration": { "target": "voucher_preview", "status": "ok" },
            }),
        ),
        Ok(shown) => {
            let (id, now) = (world.vouchers[place].id, world.now());
            if shown == Shown::Rendered {
                world.vouchers[place].png_url = Some(format!("{id}.png"));
                world.pictures.insert(id, now);
            }
            let host = header_text(&headers, "host");
            let url =
                format!("http://{host}/supabase/storage/v1/object/sign/vouchers/{id}.png?token=sandbox");
            let expires = world.now() + jiff::SignedDuration::from_hours(1);
            answer(
                200,
                json!({
                    "imageUrl": url, "pdfUrl": null, "expiresAt": expires.to_string(),
                    "integration": { "target": "voucher_preview", "status": "ok" },
                }),
            )
        }
        Err(no) => {
            let status = if world.has(Fault::DegradedUnsaid) { "ok" } else { "degraded" };
            let integration = json!({ "target": "voucher_preview", "status": status, "message": no.message });
            answer(no.http, json!({ "integration": integration }))
        }
    }
}

/// Issues vouchers. On the real schema it always fails: three columns that may not be null are left out.
async fn generate(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut world = shared.world();
    if world.has(Fault::GenerateRejected) {
        return answer(500, json!({ "error": "voucher_generate_failed" }));
    }
    let key = header_text(&headers, "x-idempotency-key").to_owned();
    let print = if world.has(Fault::IdemKeyReuse) { String::new() } else { body.to_string() };
    let stored = format!("{key} {print}");
    if let Some(answered) = world.idempotency.get(&stored).filter(|_| !key.is_empty()) {
        return answer(200, answered.clone());
    }
    let numbers = body["recipients"].as_array().into_iter().flatten();
    let digits: Vec<u64> =
        numbers.filter_map(|one| one["msisdn"].as_str()?.trim_start_matches('+').parse().ok()).collect();
    let Some(amount) = body["amount"].as_i64().filter(|amount| *amount > 0 && !digits.is_empty()) else {
        return answer(400, json!({ "error": "invalid_payload" }));
    };
    let mut vouchers = Vec::new();
    for msisdn in digits {
        let voucher = issue(&mut world, msisdn, amount * 100, None, json!({}));
        vouchers.push(
            json!({ "id": voucher.id, "code5": voucher.code, "msisdn": e164(msisdn), "status": "issued" }),
        );
        let now = world.now();
        world.ledger.note(now, "voucher.issue", &key, true);
        world.vouchers.push(voucher);
    }
    let page =
        json!({ "vouchers": vouchers, "integration": { "target": "voucher_generate", "status": "ok" } });
    world.idempotency.insert(stored, page.clone());
    answer(200, page)
}

fn issue(world: &mut World, msisdn: u64, amount_minor: i64, scope: Option<Uuid>, metadata: Value) -> Voucher {
    let id = world.new_uuid();
    let code: String = id.simple().to_string().to_uppercase().chars().take(5).collect();
    Voucher {
        id,
        qr_payload: format!("voucher:{code}"),
        code,
        amount_minor,
        amount_hundredths: amount_minor,
        currency: "RWF".to_owned(),
        plate: None,
        issued_by_admin: None,
        created_by: Some(crate::world::OUR_ACTOR),
        status: "issued".to_owned(),
        msisdn,
        policy_number: "POL-000000".to_owned(),
        station_scope: scope,
        campaign: None,
        png_url: None,
        metadata,
        issued_at: world.now(),
        redeemed_at: None,
        expires_at: None,
        updated_at: world.now(),
    }
}

/// Finds the voucher of a path, where the profile has the route.
fn find(world: &World, id: &str) -> Result<usize, Box<Response>> {
    if world.spec.profile != Profile::Target {
        return Err(Box::new(no_such_route(world)));
    }
    let id = id.parse::<Uuid>().ok();
    let place = id.and_then(|id| world.vouchers.iter().position(|voucher| voucher.id == id));
    place.ok_or_else(|| Box::new(answer(404, json!({ "error": "not_found" }))))
}

/// From issued and sent freely, from redeemed only for a double redemption and with a second approver.
async fn void(State(shared): State<Shared>, Path(id): Path<String>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut world = shared.world();
    let place = match find(&world, &id) {
        Ok(place) => place,
        Err(response) => return *response,
    };
    let now = world.now();
    let voucher = &mut world.vouchers[place];
    let doubled = body["reason"] == "double_redemption" && body["secondApprover"].is_string();
    let allowed =
        matches!(voucher.status.as_str(), "issued" | "sent") || (voucher.status == "redeemed" && doubled);
    if body["expectedStatus"].as_str() != Some(&voucher.status) || !allowed {
        return answer(409, json!({ "error": "conflict", "status": voucher.status }));
    }
    "void".clone_into(&mut voucher.status);
    voucher.touch(now);
    let id = voucher.id;
    world.ledger.note(now, "voucher.void", id, true);
    answer(200, json!({ "id": id, "status": "void" }))
}

/// At most one live replacement; a repeated key gives the same one.
async fn replace(State(shared): State<Shared>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let mut world = shared.world();
    let place = match find(&world, &id) {
        Ok(place) => place,
        Err(response) => return *response,
    };
    if header_text(&headers, "x-idempotency-key").is_empty() {
        return answer(400, json!({ "error": "missing_key" }));
    }
    let original = world.vouchers[place].clone();
    let names = json!(original.id);
    let existing =
        world.vouchers.iter().find(|other| other.metadata["replaces"] == names && other.status != "void");
    let replacement = if let Some(existing) = existing {
        existing.clone()
    } else {
        let metadata = json!({ "replaces": original.id });
        let made =
            issue(&mut world, original.msisdn, original.amount_minor, original.station_scope, metadata);
        let (now, id) = (world.now(), made.id);
        world.ledger.note(now, "voucher.replace", id, true);
        world.vouchers.push(made.clone());
        made
    };
    answer(201, json!({ "original": render(&original), "replacement": render(&replacement) }))
}

async fn scope(State(shared): State<Shared>, Path(id): Path<String>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut world = shared.world();
    let place = match find(&world, &id) {
        Ok(place) => place,
        Err(response) => return *response,
    };
    let now = world.now();
    let voucher = &mut world.vouchers[place];
    if body["expected"] != json!(voucher.station_scope) {
        return answer(409, json!({ "error": "conflict", "stationScope": voucher.station_scope }));
    }
    voucher.station_scope = body["stationScope"].as_str().and_then(|id| id.parse().ok());
    voucher.touch(now);
    let (id, scope) = (voucher.id, voucher.station_scope);
    world.ledger.note(now, "voucher.scope", id, true);
    answer(200, json!({ "id": id, "stationScope": scope }))
}
