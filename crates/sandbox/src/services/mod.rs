//! The services beside the database: the admin API with vouchers and stations, edge functions and their host, file
//! storage, WhatsApp, PagerDuty, Slack, the provider.

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod admin_pages;
mod campaigns;
pub(crate) mod functions;
pub(crate) mod graph;
pub(crate) mod management;
pub(crate) mod pagerduty;
pub(crate) mod project;
pub(crate) mod provider;
mod sessions;
pub(crate) mod slack;
pub(crate) mod station;
pub(crate) mod storage;
pub(crate) mod vouchers;

use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

/// A JSON answer.
pub(crate) fn answer(status: u16, body: Value) -> Response {
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body)).into_response()
}

/// The text of a header.
pub(crate) fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Whether the request carries this bearer token.
pub(crate) fn has_bearer(headers: &HeaderMap, token: &str) -> bool {
    header_text(headers, header::AUTHORIZATION.as_str()).strip_prefix("Bearer ") == Some(token)
}
