//! The project at its host, and what its own addresses answer while it is paused.

use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer;
use super::management::{refusal, with_limits};
use crate::server::Shared;
use crate::world::{Project, World};

/// All services that the health endpoint knows.
const SERVICES: [&str; 8] =
    ["auth", "db", "db_postgres_user", "pooler", "realtime", "rest", "storage", "pg_bouncer"];

/// The gateway's answer for a project that is paused, whatever was asked.
pub(crate) fn unreachable(world: &World) -> Option<Response> {
    (world.project == Project::Paused)
        .then(|| answer(540, json!({ "message": "Project is paused; restore it in the dashboard" })))
}

pub(super) async fn project(
    State(shared): State<Shared>,
    Path(project): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refusal(&headers, &project) {
        return refused;
    }
    let body = shown(&project, shared.world().project);
    with_limits(answer(200, body))
}

/// The project, as the host describes it.
pub(super) fn shown(id: &str, project: Project) -> Value {
    let status = match project {
        Project::Up => "ACTIVE_HEALTHY",
        Project::RestDown => "ACTIVE_UNHEALTHY",
        Project::Paused => "INACTIVE",
    };
    json!({
        "id": id, "ref": id, "organization_id": "sandbox", "organization_slug": "sandbox", "name": "sandbox",
        "region": "eu-west-3", "created_at": "2025-01-01T00:00:00Z", "status": status,
        "database": {
            "host": format!("db.{id}.supabase.co"), "version": "17.6.1", "postgres_engine": "17", "release_channel": "ga",
        },
    })
}

/// `services` is required and may be given several times, or once with commas.
pub(super) async fn health(
    State(shared): State<Shared>,
    Path(project): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refusal(&headers, &project) {
        return refused;
    }
    let query = query.unwrap_or_default();
    let mut services = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "services" => services.extend(value.split(',').map(str::to_owned)),
            "timeout_ms" if value.parse::<u16>().is_ok_and(|wait| wait <= 10_000) => {}
            "timeout_ms" => return invalid("timeout_ms: give 0 to 10000"),
            _ => {}
        }
    }
    if services.is_empty() {
        return invalid("services: Required");
    }
    if services.iter().any(|service| !SERVICES.contains(&service.as_str())) {
        return invalid("services: Invalid enum value");
    }
    let world = shared.world();
    let rows: Vec<Value> = services.iter().map(|service| row(service, world.project)).collect();
    with_limits(answer(200, Value::Array(rows)))
}

fn invalid(message: &str) -> Response {
    with_limits(answer(400, json!({ "message": message })))
}

fn row(service: &str, project: Project) -> Value {
    let is_down = match project {
        Project::Up => false,
        Project::RestDown => service == "rest",
        Project::Paused => true,
    };
    if is_down {
        return json!({ "name": service, "healthy": false, "status": "UNHEALTHY", "error": "connection refused" });
    }
    json!({ "name": service, "healthy": true, "status": "ACTIVE_HEALTHY" })
}
