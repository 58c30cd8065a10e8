//! PostgREST, the slice that is used: reads of all tables, guarded changes of the send queue and of vouchers, inserts, upserts
//! and deletes of targets, vouchers, their events and audit rows.
//!
//! What it refuses, it refuses with PostgREST's and the database's own codes, and what it cannot do it refuses as a missing
//! right: a value that is taken and then not kept would teach its callers that the real one keeps it.

mod answer;
mod body;
mod campaigns;
mod delete;
mod insert;
mod kind;
mod query;
mod tables;
mod vouchers;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::any;
use serde_json::{Map, Value};

use crate::fault::Fault;
use crate::keys::{Caller, caller};
use crate::server::Shared;
use crate::services::{header_text, project};
use crate::world::World;
use crate::world::rows::{Audit, DumpedSettings};
use answer::{Asked, refused};
use body::Given;
use insert::{Insert, insert};
use query::{RestError, Row};

/// Rows in one answer at most, as PostgREST is usually configured.
const MAX_ROWS: usize = 1_000;

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/supabase/rest/v1/{table}", any(handle))
        .route("/supabase/rest/v1/rpc/{function}", any(call))
}

/// Who may do everything here; anybody else is refused before anything is looked at.
fn only_service(headers: &HeaderMap, what: &str) -> Result<(), RestError> {
    match caller(headers) {
        Caller::Refused => Err(RestError::new(401, "PGRST301", "JWSError JWSInvalidSignature")),
        Caller::Anon => Err(RestError::new(401, "42501", format!("permission denied for {what}"))),
        Caller::Service => Ok(()),
    }
}

/// The one schema that is exposed, where another is asked for by the header that a request of this method names it in.
fn check_schema(method: &Method, headers: &HeaderMap) -> Result<(), RestError> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let schema = header_text(headers, if reads { "accept-profile" } else { "content-profile" });
    if matches!(schema, "" | "public") {
        return Ok(());
    }
    let hint = "Only the following schemas are exposed: public";
    Err(RestError::new(406, "PGRST106", format!("Invalid schema: {schema}")).hinting(hint))
}

/// The database has no functions to call.
async fn call(
    Path(function): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let no_function = || {
        let named: Vec<String> = if method == Method::POST {
            let body: Map<String, Value> = serde_json::from_slice(&body).unwrap_or_default();
            body.keys().cloned().collect()
        } else {
            let query = query.unwrap_or_default();
            form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name.into_owned()).collect()
        };
        let (with, list) = match named.join(", ") {
            none if none.is_empty() => ("without parameters".to_owned(), " without parameters".to_owned()),
            list => (format!("with parameters {list}"), format!("({list})")),
        };
        let message = format!("Could not find the function public.{function}{list} in the schema cache");
        let details = format!(
            "Searched for the function public.{function} {with}, but no matches were found in the schema cache."
        );
        RestError::new(404, "PGRST202", message).because(details)
    };
    let checked = only_service(&headers, &format!("function {function}"));
    let failure =
        checked.and_then(|()| check_schema(&method, &headers)).map_or_else(|why| why, |()| no_function());
    refused(&failure)
}

async fn handle(
    State(shared): State<Shared>,
    Path(table): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(refusal) = only_service(&headers, &format!("table {table}")) {
        return refused(&refusal);
    }
    let mut world = shared.world();
    if let Some(paused) = project::unreachable(&world) {
        return paused;
    }
    let asked =
        check_schema(&method, &headers).and_then(|()| Asked::parse(&query.unwrap_or_default(), &headers));
    let answer = asked.and_then(|asked| match method {
        Method::GET | Method::HEAD => read_table(&world, &table, &asked),
        Method::PATCH => patch(&mut world, &table, &asked, &headers, &body),
        Method::POST => insert_into(&mut world, &table, &asked, &headers, &body),
        Method::DELETE => delete(&mut world, &table, &asked),
        other => Err(RestError::new(405, "PGRST117", format!("Unsupported HTTP method: {other}"))),
    });
    answer.unwrap_or_else(|failure| refused(&failure))
}

fn read_table(world: &World, table: &str, asked: &Asked) -> Result<Response, RestError> {
    match table {
        "campaigns" => read(&world.campaigns, asked),
        "campaign_targets" => read(&world.targets, asked),
        "send_queue" => read(&world.queue, asked),
        "send_logs" => read(&world.sent, asked),
        "notifications" => read(&world.notifications, asked),
        "settings" if world.settings_as_in_dump => read(&[DumpedSettings], asked),
        "settings" => read(&world.settings, asked),
        "audit_log" => read(&world.audit, asked),
        "vouchers" => read(&world.vouchers, asked),
        "voucher_events" => read(&world.events, asked),
        "voucher_redemptions" => read(&world.redemptions, asked),
        "webhook_logs" => read(&world.webhook_logs, asked),
        "petrol_stations" => read(&world.petrol_stations, asked),
        "stations" => read(&world.stations, asked),
        _ => Err(no_table(table)),
    }
}

fn no_table(table: &str) -> RestError {
    let message = format!("Could not find the table 'public.{table}' in the schema cache");
    RestError::new(404, "PGRST205", message)
}

/// Of a table that is there and cannot be written here.
fn denied(table: &str) -> RestError {
    RestError::new(403, "42501", format!("permission denied for table {table}"))
}

fn read<R: Row>(rows: &[R], asked: &Asked) -> Result<Response, RestError> {
    let query = &asked.query;
    query.check::<R>()?;
    let places = query.places(rows);
    let total = places.len();
    // Without a count nobody knows that there are fewer, and the answer is an empty list.
    if asked.prefer.count && query.offset > total {
        return Ok(answer::beyond(query.offset, total));
    }
    let limit = query.limit.unwrap_or(MAX_ROWS).min(MAX_ROWS);
    let page: Vec<&R> = places.iter().skip(query.offset).take(limit).map(|&place| &rows[place]).collect();
    asked.check_single(page.len())?;
    let partial = asked.prefer.count && page.len() < total;
    let status = if partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    Ok(asked.rows(status, &page, &asked.range(query.offset, page.len(), total)))
}

/// Changes rows of the send queue or of vouchers; the sandbox knows no other change through PostgREST.
fn patch(
    world: &mut World,
    table: &str,
    asked: &Asked,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, RestError> {
    if !asked.query.is_filtered() {
        return Err(RestError::new(400, "21000", "UPDATE requires a WHERE clause"));
    }
    match table {
        "send_queue" => campaigns::patch_queue(world, asked, headers, body),
        "vouchers" => vouchers::patch(world, asked, headers, body),
        _ => Err(denied(table)),
    }
}

fn delete(world: &mut World, table: &str, asked: &Asked) -> Result<Response, RestError> {
    if !asked.query.is_filtered() {
        return Err(RestError::new(400, "21000", "DELETE requires a WHERE clause"));
    }
    delete::delete_from(world, table, asked)
}

/// What a body changes: the same for every row.
fn one_change<R: Row>(asked: &Asked, headers: &HeaderMap, body: &[u8]) -> Result<Given, RestError> {
    asked.query.check::<R>()?;
    let mut given = Given::rows::<R>(&asked.query, headers, body)?;
    match (given.pop(), given.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(RestError::new(400, "PGRST102", "All object keys must match")),
    }
}

/// The places of the rows that are to be changed, unless there are more or fewer than the request allows.
fn places<R: Row>(asked: &Asked, rows: &[R]) -> Result<Vec<usize>, RestError> {
    let places = asked.query.places(rows);
    asked.prefer.check_affected(places.len())?;
    asked.check_single(places.len())?;
    Ok(places)
}

/// The answer to a change: the rows if asked for, and which of how many.
fn changed<R: Row>(asked: &Asked, rows: &[R], places: &[usize]) -> Response {
    written(asked, rows, places, &asked.range(0, places.len(), places.len()))
}

/// The answer to a delete: rows that are gone are in no range.
fn deleted<R: Row>(asked: &Asked, rows: &[R], places: &[usize]) -> Response {
    written(asked, rows, places, &asked.range(0, 0, places.len()))
}

fn written<R: Row>(asked: &Asked, rows: &[R], places: &[usize], range: &str) -> Response {
    if asked.prefer.representation {
        let rows: Vec<&R> = places.iter().map(|&place| &rows[place]).collect();
        return asked.rows(StatusCode::OK, &rows, range);
    }
    asked.nothing(StatusCode::NO_CONTENT, range)
}

fn insert_into(
    world: &mut World,
    table: &str,
    asked: &Asked,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, RestError> {
    match table {
        "audit_log" => insert_audit(world, asked, headers, body),
        "campaign_targets" => campaigns::insert_targets(world, asked, headers, body),
        "vouchers" => vouchers::insert_vouchers(world, asked, headers, body),
        "voucher_events" => vouchers::insert_events(world, asked, headers, body),
        _ => Err(denied(table)),
    }
}

impl Insert for Audit {
    const UNIQUE: &'static [(&'static str, &'static [&'static str])] = &[("audit_log_pkey", &["id"])];

    fn table(world: &mut World) -> &mut Vec<Self> {
        &mut world.audit
    }

    fn effect(&self) -> (&'static str, String) {
        ("audit.insert", format!("{} {}", self.action, self.target_id))
    }

    fn merge(&mut self, new: &Self, given: &Given) {
        for name in given.names() {
            match name {
                "id" => self.id = new.id,
                "actor_id" => self.actor_id = new.actor_id,
                "action" => self.action.clone_from(&new.action),
                "target_table" => self.target_table.clone_from(&new.target_table),
                "target_id" => self.target_id.clone_from(&new.target_id),
                "diff" => self.diff.clone_from(&new.diff),
                "created_at" => self.created_at = new.created_at,
                _ => {}
            }
        }
    }
}

fn insert_audit(
    world: &mut World,
    asked: &Asked,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, RestError> {
    let given = Given::rows::<Audit>(&asked.query, headers, body)?;
    let rows = Given::each(given, |given| audit(world, given))?;
    let lost = world.has(Fault::AuditWriteLost);
    insert::<Audit>(world, asked, rows, lost)
}

fn audit(world: &mut World, given: &Given) -> Result<Audit, RestError> {
    Ok(Audit {
        id: given.uuid("id").unwrap_or_else(|| world.new_uuid()),
        actor_id: given.uuid("actor_id").unwrap_or(crate::world::OUR_ACTOR),
        action: given.required("action")?,
        target_table: given.text("target_table").unwrap_or_default(),
        target_id: given.text("target_id").unwrap_or_default(),
        diff: given.json("diff"),
        created_at: given.time("created_at").unwrap_or(world.now),
    })
}
