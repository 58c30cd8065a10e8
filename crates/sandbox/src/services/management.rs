//! Supabase's Management API: functions, deployments, the log of calls, backups; the project itself is in `project`.

use axum::Router;
use axum::extract::{Multipart, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{answer, has_bearer, project};
use crate::fault::{Fault, Profile};
use crate::server::Shared;
use crate::world::rows::Function;

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/supabase-management/v1/projects/{project}", get(project::project))
        .route("/supabase-management/v1/projects/{project}/health", get(project::health))
        .route("/supabase-management/v1/projects/{project}/functions", get(list))
        .route("/supabase-management/v1/projects/{project}/functions/deploy", post(deploy))
        .route("/supabase-management/v1/projects/{project}/functions/{slug}", get(one).delete(remove))
        .route("/supabase-management/v1/projects/{project}/database/backups", get(backups))
        .route("/supabase-management/v1/projects/{project}/analytics/endpoints/{which}", get(logs))
}

/// The guard that all routes share: the token, then the project.
pub(super) fn refusal(headers: &HeaderMap, project: &str) -> Option<Response> {
    if let Some(refused) = needs_token(headers) {
        return Some(refused);
    }
    (project != crate::PROJECT).then(|| with_limits(answer(404, json!({ "message": "Project not found" }))))
}

/// The guard of what belongs to the account.
pub(super) fn needs_token(headers: &HeaderMap) -> Option<Response> {
    (!has_bearer(headers, crate::MANAGEMENT_TOKEN)).then(unauthorized)
}

fn unauthorized() -> Response {
    with_limits(answer(401, json!({ "message": "Unauthorized" })))
}

/// Every reply, a refusal too, tells how much of the minute's budget is left.
pub(super) fn with_limits(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in
        [("x-ratelimit-limit", "120"), ("x-ratelimit-remaining", "119"), ("x-ratelimit-reset", "60")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn render(function: &Function) -> Value {
    json!({
        "id": format!("fn-{}", function.slug), "slug": function.slug, "name": function.slug, "status": function.status,
        "version": function.version, "created_at": 1_700_000_000_000_i64,
        "updated_at": function.updated_at.as_millisecond(), "verify_jwt": true,
        "ezbr_sha256": format!("{:064x}", function.version),
    })
}

/// The backups that the host keeps: one for each of the last seven days.
async fn backups(State(shared): State<Shared>, Path(project): Path<String>, headers: HeaderMap) -> Response {
    if let Some(refused) = refusal(&headers, &project) {
        return refused;
    }
    let world = shared.world();
    if world.token_expired() {
        return unauthorized();
    }
    let day = |n: i64| {
        json!({
            "id": 1_000 - n, "is_physical_backup": false, "status": "COMPLETED",
            "inserted_at": (world.spec.start - jiff::SignedDuration::from_hours(24 * n + 3)).to_string(),
        })
    };
    let backups: Vec<Value> = (0..7).map(day).collect();
    let body = json!({
        "region": "eu-west-3", "walg_enabled": true, "pitr_enabled": false, "backups": backups,
        "physical_backup_data": {},
    });
    with_limits(answer(200, body))
}

async fn list(State(shared): State<Shared>, Path(project): Path<String>, headers: HeaderMap) -> Response {
    if let Some(refused) = refusal(&headers, &project) {
        return refused;
    }
    let world = shared.world();
    let functions: Vec<Value> = world
        .functions
        .iter()
        .filter_map(|function| world.function(&function.slug))
        .map(|f| render(&f))
        .collect();
    with_limits(answer(200, json!(functions)))
}

async fn one(
    State(shared): State<Shared>,
    Path((project, slug)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refusal(&headers, &project) {
        return refused;
    }
    match shared.world().function(&slug) {
        Some(function) => with_limits(answer(200, render(&function))),
        None => with_limits(answer(404, json!({ "message": "Function not found" }))),
    }
}

async fn remove(
    State(shared): State<Shared>,
    Path((project, slug)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refusal(&headers, &project) {
        return refused;
    }
    let mut world = shared.world();
    let (now, before) = (world.now(), world.functions.len());
    world.functions.retain(|function| function.slug != slug);
    let was_there = world.functions.len() < before;
    world.ledger.note(now, "function.delete", &slug, was_there);
    if was_there {
        with_limits(answer(200, json!({ "message": "ok" })))
    } else {
        with_limits(answer(404, json!({ "message": "Function not found" })))
    }
}

#[derive(Debug, Deserialize)]
struct Slug {
    slug: String,
}

async fn deploy(
    State(shared): State<Shared>,
    Path(project): Path<String>,
    Query(Slug { slug }): Query<Slug>,
    headers: HeaderMap,
    mut parts: Multipart,
) -> Response {
    if let Some(refused) = refusal(&headers, &project) {
        return refused;
    }
    let (mut files, mut metadata) = (Vec::new(), Value::Null);
    while let Ok(Some(part)) = parts.next_field().await {
        let (name, file) = (part.name().map(str::to_owned), part.file_name().map(str::to_owned));
        let Ok(content) = part.bytes().await else { break };
        match name.as_deref() {
            Some("file") => files.extend(file.map(|name| (name, content.to_vec()))),
            Some("metadata") => metadata = serde_json::from_slice(&content).unwrap_or_default(),
            _ => {}
        }
    }
    let entrypoint = metadata["entrypoint_path"].as_str();
    let is_entry = |(name, _): &(String, Vec<u8>)| Some(name.as_str()) == entrypoint;
    if !files.iter().any(is_entry) {
        let message = "Entrypoint path does not exist in the bundle";
        return with_limits(answer(400, json!({ "message": message })));
    }
    let mut world = shared.world();
    let now = world.now();
    let lost = world.has(Fault::DeployNotEffective);
    // The one to begin with stands first.
    files.sort_by_key(|file| !is_entry(file));
    world.function_files.insert(slug.clone(), files);
    world.ledger.note(now, "function.deploy", &slug, !lost);
    let function = if lost {
        Function { slug, status: "ACTIVE", version: 1, updated_at: now, broken: true }
    } else {
        world.deploy(&slug)
    };
    with_limits(answer(201, render(&function)))
}

#[derive(Debug, Deserialize)]
struct LogQuery {
    sql: String,
    iso_timestamp_start: String,
}

/// Calls by status, of the function that the query names. Two dialects are in use: the target profile has the newer
/// endpoint, the other one only the older.
async fn logs(
    State(shared): State<Shared>,
    Path((project, which)): Path<(String, String)>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refusal(&headers, &project) {
        return refused;
    }
    let world = shared.world();
    let known = if world.spec.profile == Profile::Target { "logs" } else { "logs.all" };
    if which != known {
        return with_limits(answer(404, json!({ "message": "Cannot GET this endpoint" })));
    }
    let Ok(since) = query.iso_timestamp_start.parse::<jiff::Timestamp>() else {
        return with_limits(answer(
            200,
            json!({ "result": [], "error": "iso_timestamp_start is no timestamp" }),
        ));
    };
    let mut counts = std::collections::BTreeMap::new();
    for (at, slug, status) in &world.function_calls {
        if *at >= since && query.sql.contains(&format!("/functions/v1/{slug}")) {
            *counts.entry(*status).or_insert(0_u64) += 1;
        }
    }
    let result: Vec<Value> =
        counts.into_iter().map(|(status, calls)| json!({ "status_code": status, "calls": calls })).collect();
    with_limits(answer(200, json!({ "result": result })))
}
