//! The WhatsApp provider's ticket intake: it takes a ticket and gives a number, and that is all it can do.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};

use super::{answer, has_bearer};
use crate::server::Shared;

pub(crate) fn routes() -> Router<Shared> {
    Router::new().route("/provider/tickets", post(open))
}

async fn open(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    if !has_bearer(&headers, crate::PROVIDER_TOKEN) {
        return answer(401, json!({ "error": "unauthorized" }));
    }
    let ticket: Value = serde_json::from_slice(&body).unwrap_or_default();
    if !ticket["subject"].is_string() || !ticket["body"].is_string() {
        return answer(400, json!({ "error": "subject and body are required" }));
    }
    let mut world = shared.world();
    let now = world.now();
    world.ledger.note(now, "provider.ticket", "provider ticket", true);
    world.tickets.push(ticket);
    answer(201, json!({ "ticket": format!("T-{}", 1000 + world.tickets.len()) }))
}
