//! Allclear inside an axum service: `POST /incidents` plans, approves and runs the WhatsApp procedure in the background,
//! `GET /incidents/{id}` tells how it stands.
//!
//! Run it: `cargo run --example embed`. It brings its own sandbox, sends itself one request, and prints the outcome.

use std::sync::Arc;
use std::time::Duration;

use allclear::core::{Clock, Platform, VirtualClock};
use allclear::engine::sqlite::{NewRun, Store};
use allclear::engine::{
    Announcing, ApprovedPlan, AutoApprove, PlanApproval, PlanRules, Shown, Terms, execute, plan,
};
use allclear::sandbox::{Sandbox, WorldSpec};
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the service holds: the platform's ports, time, and the store of runs.
#[derive(Clone)]
struct Service {
    platform: Platform,
    clock: Arc<dyn Clock>,
    store: Store,
}

async fn begin(State(service): State<Service>) -> Json<Value> {
    let id = format!("run-{}", service.store.runs().map_or(0, |runs| runs.len()) + 1);
    let answered = id.clone();
    tokio::spawn(async move {
        let outcome = run(service, id).await;
        println!("{}", outcome.unwrap_or_else(|error| format!("failed: {error}")));
    });
    Json(json!({ "run": answered }))
}

async fn run(service: Service, id: String) -> Result<String, Failure> {
    let entry = allclear::runbooks::find("whatsapp-send-failures")?;
    let runbook = (entry.build)(Value::Null, service.platform.clone())?;
    let platform = Some(service.platform.identity.clone());
    // Whoever else runs the same on this platform, from a terminal or another service: one goes on, the others end as refused.
    let announcing = Announcing::on(service.platform.announcements.clone(), "the incident service");
    let announcing = announcing.knowing_store(&service.store);
    let seen = announcing.ended_before(entry.id).await;
    let announcing = Some(announcing.seen(seen));
    let terms = Terms { platform, announcing, ..Terms::new(id.clone(), "on-call", "sandbox") };
    // What would change, object by object. A real service shows it to a person, who gives its hash back: that, and who it
    // was, is the approval. This one is a rehearsal, and there alone a role may play the person.
    let plan = plan(&*runbook, terms.clone(), Arc::clone(&service.clock)).await?;
    let yes = PlanApproval::of(&plan, &*id, "incident-commander", Shown::Role);
    let rules = PlanRules::anyone("on-call", service.clock.now());
    let approved = ApprovedPlan::by(plan, &*id, vec![yes], &rules)?;
    let new = NewRun {
        id,
        runbook: entry.id.to_owned(),
        environment: "sandbox".to_owned(),
        platform: service.platform.identity.clone(),
        operator: "on-call".to_owned(),
        input: Value::Null,
        context: Value::Null,
    };
    let seam = service.store.begin(&new, Arc::clone(&service.clock))?;
    let humans = Arc::new(AutoApprove { role: "incident-commander".to_owned() });
    let finished = execute(&*runbook, Box::new(seam), approved, Terms { humans, ..terms }).await?;
    Ok(format!("{}: {}", finished.outcome, finished.says))
}

async fn status(State(service): State<Service>, Path(id): Path<String>) -> Json<Value> {
    match service.store.find(&id) {
        Ok(run) => Json(json!({ "run": run.id, "outcome": run.outcome, "entries": run.entries })),
        Err(error) => Json(json!({ "error": error.to_string() })),
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let world = WorldSpec::default();
    let clock = Arc::new(VirtualClock::at(world.start));
    let sandbox = Sandbox::start_virtual(world, Arc::clone(&clock)).await?;
    let folder = std::env::temp_dir().join(format!("allclear-embed-{}", std::process::id()));
    let clock: Arc<dyn Clock> = clock;
    let settings = allclear::clients::sandbox::settings(&sandbox.base_url(), folder.join("artifacts"))?;
    let platform = allclear::clients::connect(settings, &clock)?;
    let service = Service { platform, clock, store: Store::open(&folder.join("runs.db"))? };

    let app = Router::new()
        .route("/incidents", post(begin))
        .route("/incidents/{id}", get(status))
        .with_state(service);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    println!("serving on http://{address}");

    let web = reqwest::Client::builder().no_proxy().build()?;
    let begun: Value = web.post(format!("http://{address}/incidents")).send().await?.json().await?;
    let id = begun["run"].as_str().unwrap_or_default().to_owned();
    loop {
        let state: Value = web.get(format!("http://{address}/incidents/{id}")).send().await?.json().await?;
        if !state["outcome"].is_null() {
            println!("{state}");
            std::fs::remove_dir_all(folder)?;
            return if state["outcome"] == "verified" {
                Ok(())
            } else {
                Err("the run did not end verified".into())
            };
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
