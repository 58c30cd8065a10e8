//! PostgREST, the slice that is used: reads of all tables, guarded changes of the send queue and of vouchers, inserts of
//! vouchers, their events and audit rows.

mod query;
mod tables;
mod vouchers;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fault::Fault;
use crate::keys::{Caller, caller};
use crate::server::Shared;
use crate::services::project;
use crate::world::World;
use crate::world::rows::{Audit, QueueStatus};
use query::{Filter, Query, RestError, Row};

/// Rows in one answer at most, as PostgREST is usually configured.
const MAX_ROWS: usize = 1_000;

pub(crate) fn routes() -> Router<Shared> {
    Router::new().route("/supabase/rest/v1/{table}", any(handle))
}

async fn handle(
    State(shared): State<Shared>,
    Path(table): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match caller(&headers) {
        Caller::Refused => return error(&RestError::new(401, "PGRST301", "JWSError JWSInvalidSignature")),
        Caller::Anon => {
            let message = format!("permission denied for table {table}");
            return error(&RestError::new(401, "42501", message));
        }
        Caller::Service => {}
    }
    let prefer = Prefer::parse(&headers);
    let mut world = shared.world();
    if let Some(paused) = project::unreachable(&world) {
        return paused;
    }
    let answer = Query::parse(&query.unwrap_or_default()).and_then(|query| match method {
        Method::GET | Method::HEAD => read_table(&world, &table, &query, &prefer, &headers),
        Method::PATCH => patch(&mut world, &table, &query, &prefer, &body),
        Method::POST => insert(&mut world, &table, &query, &prefer, &body),
        _ => Err(RestError::new(405, "PGRST117", "method not allowed here")),
    });
    answer.unwrap_or_else(|failure| error(&failure))
}

/// What the `Prefer` header asks for.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "the header is a list of switches")]
struct Prefer {
    count: bool,
    representation: bool,
    strict: bool,
    max_affected: Option<usize>,
    ignore_duplicates: bool,
    applied: Vec<String>,
}

impl Prefer {
    fn parse(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        for item in values.flat_map(|value| value.split(',')).map(str::trim) {
            match item {
                "count=exact" => prefer.count = true,
                "return=representation" => prefer.representation = true,
                "handling=strict" => prefer.strict = true,
                "resolution=ignore-duplicates" => prefer.ignore_duplicates = true,
                "return=minimal" => {}
                other => match other.strip_prefix("max-affected=") {
                    Some(number) => prefer.max_affected = number.parse().ok(),
                    None => continue,
                },
            }
            prefer.applied.push(item.to_owned());
        }
        prefer
    }
}

fn read_table(
    world: &World,
    table: &str,
    query: &Query,
    prefer: &Prefer,
    headers: &HeaderMap,
) -> Result<Response, RestError> {
    match table {
        "campaigns" => read(&world.campaigns, query, prefer, headers),
        "campaign_targets" => read(&world.targets, query, prefer, headers),
        "send_queue" => read(&world.queue, query, prefer, headers),
        "send_logs" => read(&world.sent, query, prefer, headers),
        "notifications" => read(&world.notifications, query, prefer, headers),
        "settings" => read(&world.settings, query, prefer, headers),
        "audit_log" => read(&world.audit, query, prefer, headers),
        "vouchers" => read(&world.vouchers, query, prefer, headers),
        "voucher_events" => read(&world.events, query, prefer, headers),
        "voucher_redemptions" => read(&world.redemptions, query, prefer, headers),
        "webhook_logs" => read(&world.webhook_logs, query, prefer, headers),
        "petrol_stations" => read(&world.petrol_stations, query, prefer, headers),
        "stations" => read(&world.stations, query, prefer, headers),
        _ => Err(RestError::new(
            404,
            "PGRST205",
            format!("Could not find the table 'public.{table}' in the schema cache"),
        )),
    }
}

fn read<R: Row>(
    rows: &[R],
    query: &Query,
    prefer: &Prefer,
    headers: &HeaderMap,
) -> Result<Response, RestError> {
    query.check_columns::<R>()?;
    let places = query.places(rows);
    let total = places.len();
    if query.offset > 0 && query.offset >= total {
        return Err(RestError::new(416, "PGRST103", "Requested range not satisfiable"));
    }
    let limit = query.limit.unwrap_or(MAX_ROWS).min(MAX_ROWS);
    let page: Vec<Value> =
        places.iter().skip(query.offset).take(limit).map(|&place| query.render(&rows[place])).collect();
    let singular = headers
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.as_bytes().starts_with(b"application/vnd.pgrst.object"));
    if singular && page.len() != 1 {
        let message = "JSON object requested, multiple (or no) rows returned";
        return Err(RestError::new(406, "PGRST116", message));
    }
    let count = if prefer.count { total.to_string() } else { "*".to_owned() };
    let range = if page.is_empty() {
        format!("*/{count}")
    } else {
        format!("{}-{}/{count}", query.offset, query.offset + page.len() - 1)
    };
    let partial = prefer.count && page.len() < total;
    let status = if partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let body = if singular { page.into_iter().next().unwrap_or(Value::Null) } else { Value::Array(page) };
    Ok(with_headers(status, &body, &range, prefer))
}

/// Changes rows of the send queue or of vouchers; the sandbox knows no other change through PostgREST.
fn patch(
    world: &mut World,
    table: &str,
    query: &Query,
    prefer: &Prefer,
    body: &[u8],
) -> Result<Response, RestError> {
    if query.filters.is_empty() {
        return Err(RestError::new(400, "21000", "PATCH requires a filter; it would change the whole table"));
    }
    match table {
        "send_queue" => patch_queue(world, query, prefer, body),
        "vouchers" => vouchers::patch(world, query, prefer, body),
        _ => Err(RestError::new(403, "42501", format!("permission denied for table {table}"))),
    }
}

/// Refuses a change of more rows than the request allows.
fn check_affected(prefer: &Prefer, rows: usize) -> Result<(), RestError> {
    if prefer.strict && prefer.max_affected.is_some_and(|most| rows > most) {
        return Err(RestError::new(
            400,
            "PGRST124",
            "Query result exceeds max-affected preference constraint",
        ));
    }
    Ok(())
}

fn patch_queue(
    world: &mut World,
    query: &Query,
    prefer: &Prefer,
    body: &[u8],
) -> Result<Response, RestError> {
    query.check_columns::<crate::world::rows::Queued>()?;
    let change = Change::parse(body)?;
    let places = query.places(&world.queue);
    check_affected(prefer, places.len())?;
    let lost = world.has(Fault::QueueWriteLost);
    if !lost {
        for &place in &places {
            change.apply(&mut world.queue[place]);
        }
    }
    let subject = query
        .filters
        .iter()
        .find(|filter| filter.column == "campaign_id")
        .and_then(Filter::equals)
        .unwrap_or("all");
    world.ledger.note(world.now, change.effect(), subject, !lost && !places.is_empty());
    let rows: Vec<Value> = places.iter().map(|&place| query.render(&world.queue[place])).collect();
    Ok(changed(rows, prefer))
}

/// The answer to a change: the rows if asked for, and how many.
fn changed(rows: Vec<Value>, prefer: &Prefer) -> Response {
    let range = format!("*/{}", if prefer.count { rows.len().to_string() } else { "*".to_owned() });
    if prefer.representation {
        return with_headers(StatusCode::OK, &Value::Array(rows), &range, prefer);
    }
    with_headers(StatusCode::NO_CONTENT, &Value::Null, &range, prefer)
}

/// A change of a queue row.
enum Change {
    Status(QueueStatus),
    Postpone(jiff::Timestamp),
}

impl Change {
    fn parse(body: &[u8]) -> Result<Self, RestError> {
        let body: Value =
            serde_json::from_slice(body).map_err(|e| RestError::new(400, "PGRST102", e.to_string()))?;
        if let Some(status) = body["status"].as_str() {
            let message = || "new row for relation \"send_queue\" violates check constraint \"send_queue_status_check\"";
            return QueueStatus::parse(status)
                .map(Self::Status)
                .ok_or_else(|| RestError::new(400, "23514", message()));
        }
        let at = body["next_attempt_at"].as_str().and_then(|text| text.parse().ok());
        at.map(Self::Postpone).ok_or_else(|| RestError::new(400, "PGRST204", "no known column in the body"))
    }

    fn apply(&self, row: &mut crate::world::rows::Queued) {
        match self {
            Self::Status(status) => row.status = *status,
            Self::Postpone(at) => row.next_attempt_at = *at,
        }
    }

    fn effect(&self) -> &'static str {
        match self {
            Self::Status(QueueStatus::Skipped) => "send_queue.skip",
            Self::Status(QueueStatus::Pending) => "send_queue.restore",
            Self::Status(_) => "send_queue.update",
            Self::Postpone(_) => "send_queue.postpone",
        }
    }
}

fn insert(
    world: &mut World,
    table: &str,
    query: &Query,
    prefer: &Prefer,
    body: &[u8],
) -> Result<Response, RestError> {
    let body: Value =
        serde_json::from_slice(body).map_err(|e| RestError::new(400, "PGRST102", e.to_string()))?;
    match table {
        "audit_log" => insert_audit(world, query, prefer, &body),
        "vouchers" => vouchers::insert(world, query, prefer, &body),
        "voucher_events" => vouchers::insert_event(world, query, prefer, &body),
        _ => Err(RestError::new(403, "42501", format!("permission denied for table {table}"))),
    }
}

fn missing(name: &str) -> RestError {
    RestError::new(400, "23502", format!("null value in column \"{name}\" violates not-null constraint"))
}

fn insert_audit(
    world: &mut World,
    query: &Query,
    prefer: &Prefer,
    body: &Value,
) -> Result<Response, RestError> {
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let given = text("id").and_then(|id| id.parse::<Uuid>().ok());
    let row = Audit {
        id: given.unwrap_or_else(|| world.new_uuid()),
        actor_id: text("actor_id").and_then(|id| id.parse().ok()).unwrap_or(crate::world::OUR_ACTOR),
        action: text("action").ok_or_else(|| missing("action"))?,
        target_table: text("target_table").unwrap_or_default(),
        target_id: text("target_id").unwrap_or_default(),
        diff: body["diff"].clone(),
        created_at: world.now,
    };
    let exists = world.audit.iter().any(|other| other.id == row.id);
    if exists && !(prefer.ignore_duplicates && query.on_conflict.as_deref() == Some("id")) {
        return Err(RestError::new(
            409,
            "23505",
            "duplicate key value violates unique constraint \"audit_log_pkey\"",
        ));
    }
    let lost = world.has(Fault::AuditWriteLost);
    let subject = format!("{} {}", row.action, row.target_id);
    world.ledger.note(world.now, "audit.insert", subject, !exists && !lost);
    let rendered = query.render(&row);
    if !exists && !lost {
        world.audit.push(row);
    }
    let body = if prefer.representation { Value::Array(vec![rendered]) } else { Value::Null };
    Ok(with_headers(StatusCode::CREATED, &body, "*/*", prefer))
}

fn with_headers(status: StatusCode, body: &Value, range: &str, prefer: &Prefer) -> Response {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json; charset=utf-8"));
    for (name, value) in
        [("content-range", range.to_owned()), ("preference-applied", prefer.applied.join(", "))]
    {
        if let Ok(value) = value.parse()
            && !range.is_empty()
        {
            headers.insert(name, value);
        }
    }
    response
}

fn error(error: &RestError) -> Response {
    let status = StatusCode::from_u16(error.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = json!({ "code": error.code, "message": error.message, "details": null, "hint": null });
    (status, axum::Json(body)).into_response()
}
