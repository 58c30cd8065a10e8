//! The admin API: sessions, campaign actions, notifications, settings.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{admin_pages, answer, campaigns, sessions, vouchers};
use crate::fault::{Fault, Profile};
use crate::server::Shared;
use crate::world::rows::QueueStatus;
use crate::world::{OPT_OUT, OUR_ACTOR, QUIET_HOURS, THROTTLE, World};

pub(crate) fn routes(shared: Shared) -> Router<Shared> {
    let guarded = Router::new()
        .route("/admin/api/integrations/status", get(admin_pages::integrations))
        .merge(campaigns::routes())
        .route("/admin/api/campaigns/{action}", post(act_by_body))
        .route("/admin/api/campaigns/{id}/{action}", post(act_by_path).get(of_campaign))
        .route("/admin/api/notifications", get(admin_pages::notifications))
        .route("/admin/api/notifications/retry", post(retry))
        .route("/admin/api/notifications/{id}", post(one_notification))
        .route("/admin/api/settings", get(read_settings).post(write_settings))
        .route("/admin/api/wa/send", post(wa_send))
        .route("/admin/api/logs", get(admin_pages::logs))
        .merge(vouchers::routes())
        .route("/admin/api/audit-log", post(audit))
        .route_layer(middleware::from_fn_with_state(shared, sessions::require));
    sessions::routes().merge(guarded)
}

/// What an unknown route answers: the real platform sends a page, not JSON.
pub(crate) async fn not_found(State(shared): State<Shared>) -> Response {
    no_such_route(&shared.world())
}

pub(crate) fn no_such_route(world: &World) -> Response {
    if !world.has(Fault::HtmlNotFound) {
        return answer(404, json!({ "error": "not_found" }));
    }
    let page = "<!DOCTYPE html><html><body><h1>404</h1><p>This page could not be found.</p></body></html>";
    (StatusCode::NOT_FOUND, Html(page)).into_response()
}

async fn act_by_body(State(shared): State<Shared>, Path(action): Path<String>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(id) = body["campaignId"].as_str().and_then(|id| id.parse().ok()) else {
        return answer(
            400,
            json!({ "error": "invalid_payload", "message": { "fieldErrors": { "campaignId": ["Invalid uuid"] } } }),
        );
    };
    act(&mut shared.world(), id, &action)
}

async fn act_by_path(State(shared): State<Shared>, Path((id, action)): Path<(String, String)>) -> Response {
    match id.parse() {
        Ok(id) => act(&mut shared.world(), id, &action),
        Err(_) => answer(400, json!({ "error": "invalid_campaign_id" })),
    }
}

fn act(world: &mut World, id: Uuid, action: &str) -> Response {
    if !matches!(action, "start" | "pause" | "stop") {
        return answer(404, json!({ "error": "not_found" }));
    }
    if !world.act_on_campaign(id, action, OUR_ACTOR) {
        return answer(500, json!({ "error": "campaign_update_failed" }));
    }
    if action == "pause" && world.has(Fault::Pause5xxAfterWrite) {
        let integration = json!({ "target": "campaignDispatch", "status": "degraded", "reason": "network_error", "message": "This operation was aborted" });
        return answer(503, json!({ "id": id, "state": "paused", "integration": integration }));
    }
    let state = match action {
        "start" => "running",
        "pause" => "paused",
        _ => "done",
    };
    let integration = json!({ "target": "campaignDispatch", "status": "ok" });
    answer(
        200,
        json!({ "id": id, "state": state, "message": format!("Campaign {state}."), "integration": integration }),
    )
}

async fn of_campaign(
    State(shared): State<Shared>,
    Path((id, what)): Path<(String, String)>,
    axum::extract::RawQuery(query): axum::extract::RawQuery,
) -> Response {
    let mut world = shared.world();
    let Ok(id) = id.parse::<Uuid>() else { return answer(400, json!({ "error": "invalid_campaign_id" })) };
    match what.as_str() {
        "targets" => admin_pages::targets(&mut world, id, &query.unwrap_or_default()),
        "status" if world.spec.profile == Profile::Target => campaign_status(&mut world, id),
        _ => no_such_route(&world),
    }
}

/// The target profile's status endpoint, which the real platform lacks.
fn campaign_status(world: &mut World, id: Uuid) -> Response {
    let Some(state) = world.campaign(id).map(|campaign| campaign.status.clone()) else {
        return answer(404, json!({ "error": "not_found" }));
    };
    let of = |status: &str| world.targets.iter().filter(|t| t.campaign == id && t.status == status).count();
    let last = world.targets.iter().filter(|t| t.campaign == id).map(|t| t.last_update_at).max();
    let queue = json!({
        "queued": of("queued"), "queued_throttled": of("queued_throttled"), "sent": of("sent"), "delivered": of("delivered"),
        "read": of("read"), "failed": of("failed"), "opted_out": of("opted_out"),
        "pending": world.count(id, QueueStatus::Pending),
    });
    answer(
        200,
        json!({ "id": id, "state": state, "queue": queue, "lastProgressAt": last.map(|at| at.to_string()) }),
    )
}

async fn retry(State(shared): State<Shared>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let ids: Vec<Uuid> =
        body["ids"].as_array().into_iter().flatten().filter_map(|id| id.as_str()?.parse().ok()).collect();
    if ids.is_empty() || ids.len() > 50 {
        return answer(
            400,
            json!({ "error": "invalid_payload", "message": { "fieldErrors": { "ids": ["between 1 and 50"] } } }),
        );
    }
    let mut world = shared.world();
    let lost = world.has(Fault::RetryNotEffective);
    let (mut queued, mut blocked, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for id in ids {
        match world.notifications.iter().position(|one| one.id == id) {
            None => missing.push(id),
            Some(place) if world.notifications[place].status == "failed" => {
                if world.is_quiet_for_the_server() {
                    blocked.push(json!({ "id": id, "reason": "quiet_hours", "blockedAt": world.now() }));
                    continue;
                }
                if let Some(why) = held_by_throttle(&mut world, id) {
                    blocked.push(why);
                    continue;
                }
                if !lost {
                    world.notifications[place].status = "queued";
                }
                queued.push(id);
            }
            Some(place) => {
                let reason = format!("already_{}", world.notifications[place].status);
                blocked.push(json!({ "id": id, "reason": reason }));
            }
        }
    }
    let now = world.now();
    for id in &queued {
        world.ledger.note(now, "notification.retry", id, !lost);
    }
    let diff = json!({ "queued": queued.len() });
    world.note_audit(OUR_ACTOR, "notification_retry", "notifications", "batch", diff);
    answer(200, json!({ "queued": queued, "blocked": blocked, "missing": missing }))
}

/// What a retry is told where the sending throttle's window is full.
fn held_by_throttle(world: &mut World, id: Uuid) -> Option<Value> {
    if !world.has(Fault::RetryThrottled) {
        return None;
    }
    let end = world.take_from_throttle().err()?;
    let (limit, start) = (world.throttle(), end - crate::world::TICK);
    Some(json!({
        "id": id, "reason": "throttled", "message": "The sending throttle is reached.", "blockedAt": world.now(),
        "throttle": { "count": limit, "limit": limit, "windowStart": start, "windowEnd": end },
    }))
}

async fn one_notification(State(shared): State<Shared>, Path(id): Path<String>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut world = shared.world();
    let now = world.now();
    let (cancel_fails, double) =
        (world.has(Fault::NotificationCancelEnum), world.has(Fault::ResendDoubleSend));
    let found =
        id.parse::<Uuid>().ok().and_then(|id| world.notifications.iter_mut().find(|one| one.id == id));
    let Some(one) = found else { return answer(404, json!({ "error": "not_found" })) };
    match body["action"].as_str() {
        Some("cancel") if one.status != "queued" => answer(409, json!({ "error": "invalid_status" })),
        Some("cancel") if cancel_fails => answer(500, json!({ "error": "cancel_failed" })),
        Some("cancel") => {
            one.status = "cancelled";
            answer(200, json!({ "status": "cancelled" }))
        }
        Some("resend") => {
            one.status = "queued";
            let (msisdn, sends) = (one.msisdn, if double { 2 } else { 1 });
            for _ in 0..sends {
                world.log_send(None, None, msisdn, now);
                world.ledger.note(now, "message.send", &id, true);
            }
            answer(200, json!({ "status": "sent" }))
        }
        _ => answer(400, json!({ "error": "invalid_payload" })),
    }
}

async fn read_settings(State(shared): State<Shared>) -> Response {
    let world = shared.world();
    if world.settings_as_in_dump {
        return answer(200, default_settings());
    }
    answer(
        200,
        json!({
            "quietHours": world.setting(QUIET_HOURS)["value"],
            "throttlePerMinute": world.throttle(),
            "optOutList": world.setting(OPT_OUT)["value"],
        }),
    )
}

fn are_texts(list: &Value) -> bool {
    list.as_array().is_some_and(|list| list.iter().all(Value::is_string))
}

/// What the platform shows where it cannot read its settings. The integration's status is the only sign.
fn default_settings() -> Value {
    json!({
        "quietHours": { "start": "22:00", "end": "06:00" }, "throttlePerMinute": 60, "optOutList": ["+250788000000"],
        "integration": { "target": "settings_store", "status": "degraded" },
    })
}

async fn write_settings(State(shared): State<Shared>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (hours, throttle, opt_out) = (&body["quietHours"], &body["throttlePerMinute"], &body["optOutList"]);
    if !hours.is_object() || throttle.as_u64().is_none() || !are_texts(opt_out) {
        return answer(400, json!({ "error": "invalid_payload" }));
    }
    let mut world = shared.world();
    let now = world.now();
    let lost = world.has(Fault::SettingsWriteLost) || world.settings_as_in_dump;
    if !lost {
        world.set(QUIET_HOURS, hours.clone());
        world.set(THROTTLE, throttle.clone());
        world.set(OPT_OUT, opt_out.clone());
    }
    world.ledger.note(now, "settings.write", "sending policy", !lost);
    world.note_audit(OUR_ACTOR, "settings_update", "settings", "settings", json!({}));
    answer(
        200,
        json!({ "message": "Settings saved.", "integration": { "target": "settings_store", "status": "ok" } }),
    )
}

async fn wa_send() -> Response {
    // No endpoint is configured behind it in either profile: 202 here means that nothing was sent.
    answer(202, json!({ "status": "skipped", "reason": "endpoint_not_configured" }))
}

async fn audit(State(shared): State<Shared>, body: Bytes) -> Response {
    let mut world = shared.world();
    if world.spec.profile != Profile::Target {
        return no_such_route(&world);
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let (action, now) = (text("action"), world.now());
    let lost = world.has(Fault::AuditWriteLost);
    world.ledger.note(now, "audit.insert", &action, !lost);
    world.note_audit(OUR_ACTOR, &action, &text("targetTable"), &text("targetId"), body["diff"].clone());
    let id = world.audit.last().map(|row| row.id);
    answer(201, json!({ "id": id }))
}
