//! The sandbox's own controls: for drills and tests, on loopback only.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::people::Act;
use crate::scenario::WorldSpec;
use crate::server::{Shared, Time};
use crate::services::answer;
use crate::trouble::Trouble;
use crate::world::{OTHER_ACTOR, Project, World};

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/_sandbox/health", get(async || answer(200, json!({ "ok": true }))))
        .route("/_sandbox/environment", get(environment))
        .route("/_sandbox/stage", get(stage))
        .route("/_sandbox/ledger", get(ledger))
        .route("/_sandbox/state", get(state))
        .route("/_sandbox/requests", get(requests))
        .route("/_sandbox/clock", get(clock))
        .route("/_sandbox/clock/advance", post(advance))
        .route("/_sandbox/faults", post(faults))
        .route("/_sandbox/reset", post(reset))
        .route("/_sandbox/act", post(act))
        .route("/_sandbox/shutdown", post(shutdown))
}

/// What somebody may want to point at the sandbox: base paths and credentials.
async fn environment() -> Response {
    answer(
        200,
        json!({
            "paths": {
                "admin": "/admin", "supabase": "/supabase", "graph": "/graph", "pagerduty_events": "/pagerduty-events",
                "pagerduty_rest": "/pagerduty", "slack": "/slack", "provider": "/provider",
                "supabase_management": "/supabase-management",
            },
            "credentials": {
                "admin_token": crate::ADMIN_TOKEN, "service_key": crate::SERVICE_KEY, "graph_token": crate::GRAPH_TOKEN,
                "pagerduty_rest_key": crate::PAGERDUTY_KEY, "pagerduty_routing_key": crate::PAGERDUTY_ROUTING_KEY,
                "slack_token": crate::SLACK_TOKEN, "provider_token": crate::PROVIDER_TOKEN,
                "management_token": crate::MANAGEMENT_TOKEN,
            },
            "supabase": { "project": crate::PROJECT },
            "whatsapp": { "phone_id": crate::PHONE_ID, "business_account": crate::BUSINESS_ACCOUNT_ID },
        }),
    )
}

/// Where the databases and buckets of an exercise are; `null` where none is held.
async fn stage(State(shared): State<Shared>) -> Response {
    answer(200, shared.stage.get().cloned().unwrap_or_default())
}

async fn ledger(State(shared): State<Shared>) -> Response {
    answer(200, json!(shared.world().ledger().entries()))
}

async fn state(State(shared): State<Shared>) -> Response {
    let world = shared.world();
    answer(200, json!({ "state": world.summary(), "digest": world.digest() }))
}

async fn requests(State(shared): State<Shared>) -> Response {
    answer(200, json!(shared.world().requests))
}

async fn clock(State(shared): State<Shared>) -> Response {
    let now = shared.clock().now();
    answer(
        200,
        match shared.time {
            Time::Virtual(_) => json!({ "now": now, "kind": "virtual" }),
            Time::Scaled(clock) => json!({
                "now": now, "kind": "scaled", "anchor": clock.anchor, "real_anchor": clock.real_anchor, "speed": clock.speed,
            }),
        },
    )
}

async fn advance(State(shared): State<Shared>, body: Bytes) -> Response {
    #[derive(Deserialize)]
    struct Advance {
        to: Timestamp,
    }
    let Time::Virtual(clock) = &shared.time else {
        return answer(409, json!({ "error": "this clock runs by itself" }));
    };
    match serde_json::from_slice::<Advance>(&body) {
        Ok(advance) => answer(200, json!({ "now": clock.advance_to(advance.to) })),
        Err(error) => answer(400, json!({ "error": error.to_string() })),
    }
}

async fn faults(State(shared): State<Shared>, body: Bytes) -> Response {
    #[derive(Deserialize)]
    #[serde(default, deny_unknown_fields)]
    #[derive(Default)]
    struct Switches {
        enable: Vec<Fault>,
        disable: Vec<Fault>,
        /// Paths (a part is enough) whose next answer is lost after the request was acted upon.
        lose_answer: Vec<String>,
        /// What goes wrong on the way from now on.
        trouble: Vec<Trouble>,
    }
    let switches: Switches = match serde_json::from_slice(&body) {
        Ok(switches) => switches,
        Err(error) => return answer(400, json!({ "error": error.to_string() })),
    };
    let mut world = shared.world();
    for fault in switches.enable {
        world.faults = std::mem::take(&mut world.faults).with(fault);
    }
    for fault in switches.disable {
        world.faults = std::mem::take(&mut world.faults).without(fault);
    }
    let lost = switches.lose_answer.into_iter().map(Trouble::lost_answer);
    lost.chain(switches.trouble).for_each(|trouble| world.trouble(trouble));
    answer(200, json!({ "faults": world.faults, "troubled": world.troubled }))
}

/// A new world. Virtual time cannot go back, so its start is now at the earliest.
async fn reset(State(shared): State<Shared>, body: Bytes) -> Response {
    let spec: Result<WorldSpec, _> =
        if body.is_empty() { Ok(shared.world().spec.clone()) } else { serde_json::from_slice(&body) };
    match spec {
        Err(error) => answer(400, json!({ "error": error.to_string() })),
        Ok(spec) if spec.check().is_err() => answer(400, json!({ "error": spec.check().err() })),
        Ok(mut spec) => {
            spec.start = spec.start.max(shared.clock().now());
            *shared.world() = World::new(spec);
            answer(200, json!({ "ok": true }))
        }
    }
}

/// Somebody else does something: what drift is made of.
async fn act(State(shared): State<Shared>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut world = shared.world();
    let id = body["id"].as_str().and_then(|id| id.parse().ok());
    let done = match (body["act"].as_str(), id) {
        (Some("pause_campaign"), Some(id)) => world.act_on_campaign(id, "pause", OTHER_ACTOR),
        (Some("start_campaign"), Some(id)) => world.act_on_campaign(id, "start", OTHER_ACTOR),
        (Some("stop_campaign"), Some(id)) => world.act_on_campaign(id, "stop", OTHER_ACTOR),
        (Some("pause_project"), _) => world.set_project(Project::Paused),
        (Some("settings_as_in_dump"), _) => {
            world.let_settings_be_as_in_the_dump();
            true
        }
        (Some("break_rest"), _) => world.set_project(Project::RestDown),
        (Some("void_voucher"), Some(id)) => world.let_somebody_void(id),
        (Some(name), None) => {
            let which = body["which"].as_u64().and_then(|which| usize::try_from(which).ok()).unwrap_or(1);
            let act = Act::ALL.into_iter().find(|act| act.name() == name);
            act.is_some_and(|act| world.let_somebody(act, which))
        }
        _ => false,
    };
    answer(if done { 200 } else { 400 }, json!({ "done": done }))
}

async fn shutdown(State(shared): State<Shared>) -> Response {
    shared.shutdown.notify_one();
    answer(200, json!({ "ok": true }))
}
