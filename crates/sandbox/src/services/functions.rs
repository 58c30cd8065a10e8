//! Edge functions: the one that sends through WhatsApp, and the one that redeems.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{answer, project};
use crate::fault::Fault;
use crate::keys::{Caller, caller_of_function};
use crate::server::Shared;
use crate::world::rows::wamid;
use crate::world::{SendError, World};

const REDEEM_FUNCTION: &str = "ai-redeem-voucher";

pub(crate) fn routes() -> Router<Shared> {
    Router::new().route("/supabase/functions/v1/{slug}", post(call))
}

/// The region that runs functions where none is pinned.
const REGION: &str = "eu-west-3";

async fn call(
    State(shared): State<Shared>,
    Path(slug): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let region = headers.get("x-region").cloned();
    let mut response = run(&shared, &slug, &headers, &body);
    let region = region.unwrap_or(HeaderValue::from_static(REGION));
    response.headers_mut().insert("x-sb-edge-region", region);
    response
}

fn run(shared: &Shared, slug: &str, headers: &HeaderMap, body: &[u8]) -> Response {
    if let Some(paused) = project::unreachable(&shared.world()) {
        return paused;
    }
    if caller_of_function(headers) != Caller::Service {
        return with_code(
            answer(401, json!({ "code": "UNAUTHORIZED_INVALID_JWT", "message": "Invalid JWT" })),
            "UNAUTHORIZED_INVALID_JWT",
        );
    }
    if slug == REDEEM_FUNCTION {
        return redeem(&mut shared.world(), &serde_json::from_slice(body).unwrap_or_default());
    }
    if slug != "wa-send-media" {
        let body = json!({ "code": "NOT_FOUND", "message": "Requested function was not found" });
        return with_code(answer(404, body), "NOT_FOUND");
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let digits =
        body["msisdn"].as_str().and_then(|number| number.trim_start_matches('+').parse::<u64>().ok());
    let Some(msisdn) = digits else {
        return answer(
            400,
            json!({ "error": { "code": 131_009, "message": "Parameter value is not valid" } }),
        );
    };
    let mut world = shared.world();
    let now = world.now();
    if let Some(error) = world.send_error(now, false) {
        let tells_wait = !world.has(Fault::RetryAfterDropped);
        return refused(&error, tells_wait);
    }
    if world.has(Fault::AcceptedAndDropped) {
        world.ledger.note(now, "message.send", "canary", false);
        let id = world.new_number();
        return answer(202, json!({ "message_id": wamid(id) }));
    }
    let id = world.log_send(None, None, msisdn, now);
    world.ledger.note(now, "message.send", "canary", true);
    answer(202, json!({ "message_id": wamid(id) }))
}

/// Business failures are a 200 here too; it changes the row, and writes no redemption and no event.
fn redeem(world: &mut World, body: &Value) -> Response {
    let Some(id) = body["voucher_id"].as_str().and_then(|id| id.parse::<Uuid>().ok()) else {
        return answer(400, json!({ "success": false, "error": "voucher_id is missing" }));
    };
    let now = world.now();
    let issued = world.vouchers.iter_mut().find(|voucher| voucher.id == id && voucher.status == "issued");
    let Some(voucher) = issued else {
        return answer(200, json!({ "success": false, "error": "voucher is not issued" }));
    };
    "redeemed".clone_into(&mut voucher.status);
    voucher.redeemed_at = Some(now);
    voucher.touch(now);
    world.ledger.note(now, "voucher.redeem", id, true);
    answer(200, json!({ "success": true, "voucher_id": id }))
}

/// The function passes on what WhatsApp said, and the wait in a header of its own.
fn refused(error: &SendError, tells_wait: bool) -> Response {
    let code: Value = error.code.parse::<u64>().map_or(Value::Null, Value::from);
    let body = match error.http {
        503 => json!({ "message": "Service is temporarily unavailable" }),
        _ => json!({ "error": { "code": code, "message": "send failed" } }),
    };
    let mut response = answer(error.http, body);
    if let Some(seconds) = error.retry_after.filter(|_| tells_wait) {
        response.headers_mut().insert("retry-after", HeaderValue::from(seconds));
    }
    response
}

fn with_code(mut response: Response, code: &'static str) -> Response {
    response.headers_mut().insert("sb-error-code", HeaderValue::from_static(code));
    response
}
