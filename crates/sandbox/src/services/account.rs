//! What the Management API answers of the account and of a project's keys and secrets: what its command line asks for.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::answer;
use super::management::{needs_token, refusal, with_limits};
use super::project::shown;
use crate::server::Shared;

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/supabase-management/v1/projects", get(projects))
        .route("/supabase-management/v1/organizations", get(organizations))
        .route("/supabase-management/v1/projects/{project}/api-keys", get(api_keys))
        .route("/supabase-management/v1/projects/{project}/secrets", get(secrets).post(set).delete(unset))
        .route("/supabase-management/v1/projects/{project}/functions/{slug}/body", get(body))
        .route("/supabase-management/{*rest}", any(no_route))
}

/// As the vendor's framework says it.
async fn no_route(method: Method, Path(path): Path<String>, headers: HeaderMap) -> Response {
    let message = format!("Cannot {method} /{path}");
    needs_token(&headers).unwrap_or_else(|| with_limits(answer(404, json!({ "message": message }))))
}

async fn projects(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let body = json!([shown(crate::PROJECT, shared.world().project)]);
    needs_token(&headers).unwrap_or_else(|| with_limits(answer(200, body)))
}

async fn organizations(headers: HeaderMap) -> Response {
    let body = json!([{ "id": "sandbox", "slug": "sandbox", "name": "Sandbox" }]);
    needs_token(&headers).unwrap_or_else(|| with_limits(answer(200, body)))
}

async fn api_keys(Path(project): Path<String>, headers: HeaderMap) -> Response {
    let legacy = |name: &str, key: &str| {
        json!({
            "name": name, "api_key": key, "id": name, "type": "legacy", "hash": digest(key), "prefix": &key[..5],
            "description": format!("Legacy {name} API key"),
        })
    };
    let new = |kind: &str, key: &str| {
        json!({
            "name": "default", "api_key": key, "id": digest(key)[..8], "type": kind, "hash": digest(key),
            "prefix": key, "description": null,
        })
    };
    let keys = json!([
        legacy("anon", crate::ANON_KEY),
        legacy("service_role", crate::SERVICE_KEY),
        new("publishable", crate::PUBLISHABLE_KEY),
        new("secret", crate::SECRET_KEY),
    ]);
    refusal(&headers, &project).unwrap_or_else(|| with_limits(answer(200, keys)))
}

fn digest(text: &str) -> String {
    crate::hex(&Sha256::digest(text.as_bytes()))
}

/// By name; of their values only a digest is shown.
async fn secrets(State(shared): State<Shared>, Path(project): Path<String>, headers: HeaderMap) -> Response {
    let world = shared.world();
    let row = |(name, (value, at)): (&String, &(String, jiff::Timestamp))| json!({ "name": name, "value": digest(value), "updated_at": at.to_string() });
    let rows = world.secrets.iter().map(row).collect();
    refusal(&headers, &project).unwrap_or_else(|| with_limits(answer(200, rows)))
}

async fn set(
    State(shared): State<Shared>,
    Path(project): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(refused) = refusal(&headers, &project) {
        return refused;
    }
    let body: Vec<Value> = serde_json::from_slice(&body).unwrap_or_default();
    let pair = |one: &Value| {
        let name = one["name"]
            .as_str()
            .filter(|name| (1..=256).contains(&name.len()) && !name.starts_with("SUPABASE_"))?;
        let value = one["value"].as_str().filter(|value| value.len() <= 24_576)?;
        Some((name.to_owned(), value.to_owned()))
    };
    let pairs: Option<Vec<_>> = body.iter().map(pair).collect();
    let Some(pairs) = pairs.filter(|pairs| !pairs.is_empty()) else {
        return with_limits(answer(400, json!({ "message": "0.name: Invalid secret" })));
    };
    let mut world = shared.world();
    let now = world.now();
    for (name, value) in pairs {
        world.ledger.note(now, "secret.set", &name, true);
        world.secrets.insert(name, (value, now));
    }
    with_limits(StatusCode::CREATED.into_response())
}

async fn unset(
    State(shared): State<Shared>,
    Path(project): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(refused) = refusal(&headers, &project) {
        return refused;
    }
    let names: Vec<String> = serde_json::from_slice(&body).unwrap_or_default();
    let mut world = shared.world();
    let now = world.now();
    for name in names {
        let was_there = world.secrets.remove(&name).is_some();
        world.ledger.note(now, "secret.unset", name, was_there);
    }
    with_limits(StatusCode::OK.into_response())
}

/// A function's source: a form with a part for each file, and one that names the file to begin with.
async fn body(
    State(shared): State<Shared>,
    Path((project, slug)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refusal(&headers, &project) {
        return refused;
    }
    let world = shared.world();
    if world.function(&slug).is_none() {
        return with_limits(answer(404, json!({ "message": "Function not found" })));
    }
    let unknown = || {
        let source = format!("// {slug}, as it was deployed before the sandbox began.\n");
        vec![(format!("{slug}/index.ts"), source.into_bytes())]
    };
    let files = world.function_files.get(&slug).cloned().unwrap_or_else(unknown);
    let entry = files.first().map(|(name, _)| name.clone()).unwrap_or_default();
    let metadata = json!({ "deno2_entrypoint_path": entry }).to_string();
    let mut form = part("name=\"metadata\"", metadata.as_bytes());
    for (name, content) in &files {
        form.extend(part(&format!("name=\"file\"; filename=\"{name}\""), content));
    }
    form.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    with_limits(([(header::CONTENT_TYPE, kind)], form).into_response())
}

const BOUNDARY: &str = "sandbox-function-body";

fn part(disposition: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}
