//! The runbooks of stations and of the dispatcher on a real Postgres, with the platform's tables, keys and triggers, behind a
//! server that speaks PostgREST. What became of it is asked of the database and not of the product.
//!
//! | | |
//! |---|---|
//! | `platform.sql` | what the seed's tables lack, the admin API's actions and the dispatcher |
//! | `server` | the program of `tests/postgrest` |
//! | `door` | one address for all services: tables are Postgres', everything else is the sandbox's |
//! | `rows` | the sandbox's seeded world, as rows of the database |
//!
//! The sandbox's own tables stay as they were seeded: nothing of a run reaches them.

mod answers;
mod dispatcher;
mod door;
mod refusals;
mod rows;
mod server;
mod stations;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use allclear::clients::sandbox::SandboxControl;
use allclear::core::VirtualClock;
use allclear::engine::Finished;
use allclear::sandbox::{Sandbox, Scenario, WorldSpec};
use allclear_dr::cluster::{Cluster, ClusterOptions};
use allclear_dr::seed;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::scene::Scene;
use server::Server;

/// Every database of a test is a copy of this one.
const TEMPLATE: &str = "platform";
const PLATFORM: &str = include_str!("platform.sql");

/// One for all tests of this process; it is gone when that ends.
async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER
        .get_or_init(async || {
            let cluster = Cluster::start(&std::env::temp_dir(), &ClusterOptions::default()).unwrap();
            seed::project(&cluster, TEMPLATE).await.unwrap();
            seed::tables(&cluster, TEMPLATE).await.unwrap();
            cluster.run(TEMPLATE, PLATFORM).await.unwrap();
            let password = format!("ALTER ROLE authenticator PASSWORD '{}'", cluster.password());
            cluster.run(TEMPLATE, &password).await.unwrap();
            cluster
        })
        .await
}

/// A run's platform, its tables in a database of its own.
struct Real {
    scene: Scene,
    /// The base URL of all its services.
    base: String,
    cluster: &'static Cluster,
    database: String,
    _server: Server,
}

impl Real {
    /// The world that the sandbox seeds from this, in Postgres.
    async fn of(runbook: &'static str, spec: WorldSpec) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let cluster = cluster().await;
        let database = format!("run_{}", NUMBER.fetch_add(1, Ordering::SeqCst));
        copy_template(cluster, &database).await;
        let clock = Arc::new(VirtualClock::at(spec.start));
        let down_until = match spec.scenario {
            Scenario::StalledUnreachable { minutes } => Some(spec.start + Duration::from_secs(60 * minutes)),
            _ => None,
        };
        let sandbox = Sandbox::start_virtual(spec, Arc::clone(&clock)).await.unwrap();
        let client = connect(cluster, &database).await;
        rows::fill(&client, &sandbox, down_until).await;
        let server = Server::over(cluster, &database);
        let base = door::open(sandbox.base_url(), server.url(), client, Arc::clone(&clock)).await;
        let scene = Scene::behind(&base, runbook, json!(null), sandbox, clock);
        Self { scene, base, cluster, database, _server: server }
    }

    async fn run(&self) -> Finished {
        self.scene.plan_and_run().await.1
    }

    /// What the database says, as texts.
    async fn ask(&self, sql: &str) -> Vec<Vec<String>> {
        self.cluster.run(&self.database, sql).await.unwrap()
    }

    /// The first column of what the database says.
    async fn list(&self, sql: &str) -> Vec<String> {
        self.ask(sql).await.into_iter().map(|mut row| row.remove(0)).collect()
    }

    /// How often the audit log has each of our actions, as the sandbox's state tells it.
    async fn audit_by_us(&self) -> Value {
        let sql = format!(
            "SELECT json_object_agg(action, times) FROM (
               SELECT action, count(*) AS times FROM audit_log
               WHERE actor_id = '{}' AND action <> 'allclear_run_effect' GROUP BY 1) AS counted",
            door::OUR_ACTOR
        );
        serde_json::from_str(&self.list(&sql).await.remove(0)).unwrap()
    }

    async fn number(&self, sql: &str) -> u64 {
        self.list(sql).await.remove(0).parse().unwrap()
    }
}

/// For calls that no port makes. What TLS is made with comes with the first of our clients, and a client of `reqwest` needs it
/// also where it speaks without.
fn http() -> reqwest::Client {
    SandboxControl::at("http://127.0.0.1").unwrap();
    reqwest::Client::new()
}

/// Only one at a time: the template must not be in use.
async fn copy_template(cluster: &Cluster, database: &str) {
    static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _one = ONE.lock().await;
    cluster.run("postgres", &format!("CREATE DATABASE {database} TEMPLATE {TEMPLATE}")).await.unwrap();
}

async fn connect(cluster: &Cluster, database: &str) -> tokio_postgres::Client {
    let mut config = tokio_postgres::Config::new();
    config
        .host("127.0.0.1")
        .port(cluster.port())
        .user("postgres")
        .password(cluster.password())
        .dbname(database);
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// How the same world's drill ends on the sandbox alone, and in which state it leaves that.
async fn on_the_sandbox(runbook: &'static str, spec: WorldSpec) -> (Finished, Value) {
    let scene = Scene::with(runbook, json!(null), spec).await;
    let finished = scene.plan_and_run().await.1;
    let state = scene.sandbox.state();
    (finished, state)
}
