//! WhatsApp's Graph API: the phone number's health, messages, and templates. Whatever else is asked for is an object that is not
//! there, as Graph says of what a caller may not see.

mod messages;
mod templates;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::{answer, has_bearer};
use crate::scenario::Scenario;
use crate::server::Shared;
use crate::world::{SendError, World};

pub(crate) fn routes() -> Router<Shared> {
    let graph = Router::new()
        .route("/{version}/{id}", get(phone))
        .route("/{version}/{id}/messages", post(messages::send))
        .route("/{version}/{id}/message_templates", get(templates::list))
        .fallback(unknown);
    Router::new().nest("/graph", graph)
}

/// Graph's error envelope.
fn refused(status: u16, code: u32, message: &str) -> Response {
    let error = json!({
        "message": message, "type": "OAuthException", "code": code, "fbtrace_id": format!("SBX{code}"),
    });
    answer(status, json!({ "error": error }))
}

/// With what a caller should look at beside the code.
fn refused_because(status: u16, code: u32, message: &str, details: &str) -> Response {
    let error = json!({
        "message": message, "type": "OAuthException", "code": code, "fbtrace_id": format!("SBX{code}"),
        "error_data": { "messaging_product": "whatsapp", "details": details },
    });
    answer(status, json!({ "error": error }))
}

/// Of an object that is not there, or not for this caller.
fn no_object(id: &str) -> Response {
    let message = format!(
        "Unsupported request. Object with ID '{id}' does not exist, cannot be loaded due to missing permissions, or does not \
         support this operation"
    );
    let error = json!({
        "message": message, "type": "GraphMethodException", "code": 100, "error_subcode": 33, "fbtrace_id": "SBX100",
    });
    answer(400, json!({ "error": error }))
}

/// Why a call is refused before anything of it is looked at.
fn refusal(world: &World, version: &str, headers: &HeaderMap) -> Option<Response> {
    let failing = world.send_error(world.now(), false);
    let expired = matches!(world.spec.scenario, Scenario::AuthExpired { .. }) && failing.is_some();
    if expired || !has_bearer(headers, crate::GRAPH_TOKEN) {
        return Some(refused(401, 190, "Error validating access token"));
    }
    let is_version = version.strip_prefix('v').is_some_and(|number| number.parse::<f32>().is_ok());
    (!is_version).then(|| refused(400, 2_500, &format!("Unknown path components: /{version}")))
}

async fn unknown(State(shared): State<Shared>, uri: Uri, headers: HeaderMap) -> Response {
    let (version, object) = uri.path().trim_start_matches('/').split_once('/').unwrap_or_default();
    refusal(&shared.world(), version, &headers).unwrap_or_else(|| no_object(object))
}

async fn phone(
    State(shared): State<Shared>,
    Path((version, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let world = shared.world();
    if let Some(refused) = refusal(&world, &version, &headers) {
        return refused;
    }
    if id != crate::PHONE_ID {
        return no_object(&id);
    }
    let failing = world.send_error(world.now(), false);
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
            "verified_name": "Sandbox", "display_phone_number": "+250 788 000 000", "name_status": "APPROVED",
            "code_verification_status": "VERIFIED", "platform_type": "CLOUD_API",
            "health_status": { "can_send_message": can_send, "entities": [entity] },
        }),
    );
    tell_usage(&world, failing.as_ref(), &mut response);
    response
}

/// While there is a rate limit, Graph says in a header how long it lasts.
fn tell_usage(world: &World, failing: Option<&SendError>, response: &mut Response) {
    let left = failing.and_then(|error| error.retry_after);
    if let (Scenario::RateLimited { .. }, Some(left)) = (world.spec.scenario, left) {
        let usage = json!({ crate::BUSINESS_ACCOUNT_ID: [{ "type": "whatsapp", "call_count": 100, "total_cputime": 25, "total_time": 25, "estimated_time_to_regain_access": left.div_ceil(60) }] });
        if let Ok(value) = usage.to_string().parse() {
            response.headers_mut().insert("x-business-use-case-usage", value);
        }
    }
}
