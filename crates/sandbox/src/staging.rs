//! A staging platform over a real database: what the smoke tests of the disaster recovery exercise talk to.
//!
//! It offers the doors that the smoke tests use, in the target profile, and does everything in the database it is given,
//! with the rights of `service_role`. So it works just as far as the restored copy does: a lost grant, a trigger that is
//! missing or a table that is not there makes a smoke test fail, as it would with the real application.
//!
//! Each request has a connection of its own: a restore swaps the database under a running application.

mod doors;
mod tables;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;

use crate::scenario::Twist;
use crate::services::answer;

/// A running staging platform. Dropping it stops the server.
#[derive(Debug)]
pub struct StagingPlatform {
    address: SocketAddr,
    server: JoinHandle<()>,
    staging: Staging,
}

/// What the doors share.
#[derive(Debug, Clone)]
struct Staging {
    database: Arc<str>,
    sent: Arc<Mutex<Vec<String>>>,
    /// Whether a station may redeem a voucher that is redeemed already.
    redeems_twice: bool,
}

impl StagingPlatform {
    /// Starts it on loopback over a database, e.g. `postgres://postgres@127.0.0.1:5432/postgres`; port 0 takes a free one.
    /// The database is asked when the first request comes.
    pub async fn start(database: &str, port: u16, twist: Twist) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let redeems_twice = twist == Twist::SmokeTestFails;
        let staging = Staging { database: database.into(), sent: Arc::default(), redeems_twice };
        let app = router(staging.clone());
        let server = tokio::spawn(async move {
            // Serving ends only with the task; an accept that fails is tried again by axum itself.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, server, staging })
    }

    /// Where it listens. The services stand below it as they do in a [`Sandbox`](crate::Sandbox).
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The numbers that messages went to, in order: what WhatsApp would have seen.
    pub fn sent(&self) -> Vec<String> {
        self.staging.sent().clone()
    }
}

impl Drop for StagingPlatform {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Staging {
    fn sent(&self) -> MutexGuard<'_, Vec<String>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection with the application's rights.
    async fn connect(&self) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.database, NoTls).await?;
        tokio::spawn(async move {
            // The client's own calls say what went wrong.
            let _ = connection.await;
        });
        client.batch_execute("set role service_role").await?;
        Ok(client)
    }
}

fn router(staging: Staging) -> Router {
    Router::new()
        .route("/admin/api/auth/login", post(doors::login))
        .route("/admin/api/vouchers/generate", post(doors::generate))
        .route("/admin/api/campaigns", post(doors::save_campaign))
        .route("/admin/api/campaigns/import-targets", post(doors::import_targets))
        .route("/admin/api/campaigns/start", post(doors::start_campaign))
        .route("/admin/api/station/login", post(doors::station_login))
        .route("/admin/api/station/redeem", post(doors::station_redeem))
        .route("/supabase/functions/v1/ai-redeem-voucher", post(doors::redeem_by_function))
        .route("/supabase/rest/v1/{table}", get(tables::rows))
        .with_state(staging)
}

/// The database's own words, with the status that PostgREST gives them.
fn refused(error: &tokio_postgres::Error) -> Response {
    let Some(said) = error.as_db_error() else {
        return answer(503, json!({ "code": "PGRST000", "message": "could not connect to the database" }));
    };
    let status = match said.code().code() {
        "42501" => 403,
        "42P01" | "42703" | "42883" => 404,
        "23505" | "23503" => 409,
        "23502" | "23514" => 400,
        _ => 500,
    };
    answer(status, json!({ "code": said.code().code(), "message": said.message() }))
}

/// As the admin API answers when the database refuses: its own word, and nothing of why.
fn failed(word: &str) -> impl Fn(tokio_postgres::Error) -> Response + '_ {
    move |error| {
        let why =
            error.as_db_error().map_or_else(|| "no connection".to_owned(), |said| said.message().to_owned());
        let status = if error.as_db_error().is_some() { 500 } else { 503 };
        answer(status, json!({ "error": word, "message": why }))
    }
}

fn healthy(target: &str, body: Value) -> Response {
    let mut body = body;
    body["integration"] = json!({ "target": target, "status": "ok" });
    answer(200, body)
}
