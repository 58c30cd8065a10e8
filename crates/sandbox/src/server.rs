//! The server: one listener for all services, on loopback.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use allclear_core::{Clock, VirtualClock};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::clock::ScaledClock;
use crate::ledger::LedgerEntry;
use crate::scenario::WorldSpec;
use crate::services::{
    account, admin, functions, graph, management, pagerduty, provider, slack, station, storage,
};
use crate::world::World;
use crate::{control, rest};

/// The world's clock.
#[derive(Debug, Clone)]
pub enum Time {
    /// Stands still until somebody advances it.
    Virtual(Arc<VirtualClock>),
    /// Runs with the wall's clock, faster.
    Scaled(ScaledClock),
}

/// What all handlers share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    world: Arc<Mutex<World>>,
    pub(crate) time: Time,
    pub(crate) shutdown: Arc<Notify>,
    pub(crate) stage: Arc<OnceLock<Value>>,
    last_request: Arc<Mutex<Instant>>,
}

impl Shared {
    /// The world, brought up to now.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.advance_to(self.clock().now());
        world
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        match &self.time {
            Time::Virtual(clock) => clock.as_ref(),
            Time::Scaled(clock) => clock,
        }
    }
}

/// A running sandbox. Dropping it stops the server.
#[derive(Debug)]
pub struct Sandbox {
    shared: Shared,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Sandbox {
    /// Starts a sandbox with a clock that stands still until it is slept on. Share the clock with the engine.
    pub async fn start_virtual(spec: WorldSpec, clock: Arc<VirtualClock>) -> io::Result<Self> {
        Self::start(spec, Time::Virtual(clock), 0).await
    }

    /// Starts a sandbox on loopback; port 0 takes a free one. The world begins at what the clock shows.
    pub async fn start(mut spec: WorldSpec, time: Time, port: u16) -> io::Result<Self> {
        spec.start = match &time {
            Time::Virtual(clock) => clock.now(),
            Time::Scaled(clock) => clock.anchor,
        };
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let shared = Shared {
            world: Arc::new(Mutex::new(World::new(spec))),
            time,
            shutdown: Arc::new(Notify::new()),
            stage: Arc::default(),
            last_request: Arc::new(Mutex::new(Instant::now())),
        };
        let app = router(shared.clone());
        let server = tokio::spawn(async move {
            // Serving ends only with the task; an accept that fails is tried again by axum itself.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { shared, address, server })
    }

    /// Where it listens, e.g. `http://127.0.0.1:41234`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The effect ledger so far.
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.shared.world().ledger().entries().to_vec()
    }

    /// Digest of the state that matters.
    pub fn state_digest(&self) -> String {
        self.shared.world().digest()
    }

    /// Summary of the state that matters.
    pub fn state(&self) -> Value {
        self.shared.world().summary()
    }

    /// What the world's clock shows.
    pub fn now(&self) -> Timestamp {
        self.shared.clock().now()
    }

    /// Changes the world directly: faults and what others do.
    pub fn with_world<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.shared.world())
    }

    /// Says where the databases and buckets of an exercise are; whoever drills asks for it. The first word counts.
    pub fn tell_stage(&self, stage: Value) {
        let _ = self.shared.stage.set(stage);
    }

    /// How long ago the last request came, in real time.
    pub fn idle_for(&self) -> Duration {
        self.shared.last_request.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Returns when somebody asked for the shutdown.
    pub async fn wait_for_shutdown(&self) {
        self.shared.shutdown.notified().await;
        // The answer to the request that asked for it is still to be written.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .merge(control::routes())
        .merge(rest::routes())
        .merge(functions::routes())
        .merge(management::routes())
        .merge(account::routes())
        .merge(storage::routes())
        .merge(station::routes())
        .merge(graph::routes())
        .merge(pagerduty::routes())
        .merge(slack::routes())
        .merge(provider::routes())
        .merge(admin::routes(shared.clone()))
        .fallback(admin::not_found)
        .layer(middleware::from_fn_with_state(shared.clone(), count_and_trouble))
        .with_state(shared)
}

/// Counts requests, and lets those go wrong that are meant to.
async fn count_and_trouble(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    if path.starts_with("/_sandbox") {
        return next.run(request).await;
    }
    *shared.last_request.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    let call = format!("{} {path}", request.method());
    let trouble = shared.world().count_call(call);
    let mut answer = match trouble {
        None => next.run(request).await,
        Some(trouble) if trouble.acts() => trouble.answer(Some(next.run(request).await)).await,
        Some(trouble) => trouble.answer(None).await,
    };
    // By the world's clock, and not by that of the machine that it runs on.
    let date = shared.clock().now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(date) = date.parse() {
        answer.headers_mut().insert("date", date);
    }
    answer
}
