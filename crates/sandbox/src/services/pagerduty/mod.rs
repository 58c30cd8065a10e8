//! PagerDuty: the Events API (accepts at once, acts later) and the REST API. What the vendor's description rejects is
//! rejected here too, and replies have its shapes.

mod events;
mod people;
mod rest;
mod wire;
mod writes;

pub(crate) use people::let_somebody_resolve;

use axum::Router;
use axum::response::Response;
use axum::routing::{any, get, post};
use serde_json::json;

use super::answer;
use crate::server::Shared;

/// A user of the account.
struct User {
    id: &'static str,
    email: &'static str,
    name: &'static str,
}

/// Everybody. The first is on call.
const USERS: &[User] = &[
    User { id: "PSBXUSER1", email: "oncall@example.test", name: "On Call" },
    User { id: "PSBXUSER2", email: "second@example.test", name: "Second Person" },
    User { id: "PSBXUSER3", email: "third@example.test", name: "Third Person" },
    User { id: "PSBXUSER4", email: "fourth@example.test", name: "Fourth Person" },
];
/// The ids of everybody. In a disaster recovery exercise each has the role of the same place in
/// [`Role::ALL`](allclear_core::recovery::Role::ALL).
pub const PAGERDUTY_USERS: [&str; 4] = [USERS[0].id, USERS[1].id, USERS[2].id, USERS[3].id];
/// The one escalation policy.
const POLICY: &str = "PSBXPOLICY";
/// The one service.
const SERVICE: &str = "PSBXSERVICE";
const SERVICE_NAME: &str = "Platform";

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/pagerduty-events/v2/enqueue", post(events::enqueue))
        .route("/pagerduty/users", get(rest::users))
        .route("/pagerduty/users/{id}", get(rest::user))
        .route("/pagerduty/services", get(rest::services))
        .route("/pagerduty/services/{id}", get(rest::service))
        .route("/pagerduty/escalation_policies", get(rest::policies))
        .route("/pagerduty/escalation_policies/{id}", get(rest::policy))
        .route("/pagerduty/oncalls", get(rest::on_calls))
        .route("/pagerduty/incidents", get(rest::list).post(writes::create).put(writes::update_several))
        .route("/pagerduty/incidents/{id}", get(rest::one).put(writes::update))
        .route("/pagerduty/incidents/{id}/notes", get(rest::notes).post(rest::note))
        .route("/pagerduty/incidents/{id}/status_updates", post(rest::status_update))
        .route("/pagerduty/incidents/{id}/log_entries", get(rest::log))
        .route("/pagerduty/incidents/{id}/responder_requests", post(rest::call_in))
        .route("/pagerduty/{*rest}", any(async || refused(404, 2100, "Not Found")))
}

/// PagerDuty's error envelope.
fn refused(status: u16, code: u32, message: &str) -> Response {
    answer(status, json!({ "error": { "message": message, "code": code } }))
}
