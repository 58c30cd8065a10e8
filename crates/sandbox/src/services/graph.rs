//! WhatsApp's Graph API: the phone number's health.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::{answer, has_bearer};
use crate::scenario::Scenario;
use crate::server::Shared;

pub(crate) fn routes() -> Router<Shared> {
    Router::new().route("/graph/v23.0/{id}", get(phone))
}

async fn phone(State(shared): State<Shared>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let world = shared.world();
    let now = world.now();
    let failing = world.send_error(now, false);
    let expired = matches!(world.spec.scenario, Scenario::AuthExpired { .. }) && failing.is_some();
    if expired || !has_bearer(&headers, crate::GRAPH_TOKEN) {
        let error = json!({ "message": "Error validating access token", "type": "OAuthException", "code": 190, "fbtrace_id": "SBX190" });
        return answer(401, json!({ "error": error }));
    }
    if id != crate::PHONE_ID {
        let error = json!({ "message": "Unsupported get request", "type": "GraphMethodException", "code": 100, "error_subcode": 33, "fbtrace_id": "SBX100" });
        return answer(400, json!({ "error": error }));
    }
    let (can_send, quality, errors): (&str, &str, Vec<Value>) = match world.spec.scenario {
        Scenario::PolicyBlocked { .. } if failing.is_some() => (
            "BLOCKED",
            "RED",
            vec![
                json!({ "error_code": 131_048, "error_description": "Spam rate limit hit", "possible_solution": "Check the quality rating" }),
            ],
        ),
        Scenario::RateLimited { .. } if failing.is_some() => ("LIMITED", "YELLOW", Vec::new()),
        _ => ("AVAILABLE", "GREEN", Vec::new()),
    };
    let entity =
        json!({ "entity_type": "PHONE_NUMBER", "id": id, "can_send_message": can_send, "errors": errors });
    let mut response = answer(
        200,
        json!({
            "id": id, "quality_rating": quality, "status": "CONNECTED", "throughput": { "level": "STANDARD" },
            "health_status": { "can_send_message": can_send, "entities": [entity] },
        }),
    );
    if let (Scenario::RateLimited { .. }, Some(left)) =
        (world.spec.scenario, failing.and_then(|error| error.retry_after))
    {
        let usage = json!({ crate::BUSINESS_ACCOUNT_ID: [{ "type": "whatsapp", "call_count": 100, "total_cputime": 25, "total_time": 25, "estimated_time_to_regain_access": left.div_ceil(60) }] });
        if let Ok(value) = usage.to_string().parse() {
            response.headers_mut().insert("x-business-use-case-usage", value);
        }
    }
    response
}
