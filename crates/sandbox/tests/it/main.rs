//! The sandbox over HTTP: what other tests trust it for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;
use std::time::Duration;

use allclear_core::VirtualClock;
use allclear_sandbox::{ADMIN_TOKEN, Fault, FaultSet, Profile, SERVICE_KEY, Sandbox, Scenario, WorldSpec};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

struct InBox {
    sandbox: Sandbox,
    clock: Arc<VirtualClock>,
    client: Client,
}

fn spec(scenario: Scenario, faults: FaultSet) -> WorldSpec {
    WorldSpec {
        scenario,
        targets_per_campaign: 100,
        notifications: 40,
        vouchers: 10,
        stations: 3,
        profile: Profile::Target,
        faults: Some(faults),
        ..WorldSpec::default()
    }
}

impl InBox {
    async fn of(spec: WorldSpec) -> Self {
        // A second test's installation fails and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = Arc::new(VirtualClock::at(spec.start));
        let sandbox = Sandbox::start_virtual(spec, Arc::clone(&clock)).await.unwrap();
        Self { sandbox, clock, client: Client::builder().no_proxy().build().unwrap() }
    }

    async fn healthy() -> Self {
        Self::of(spec(Scenario::Healthy, FaultSet::none())).await
    }

    async fn rest(&self, method: Method, path: &str, prefer: &str, body: Option<Value>) -> Response {
        let url = format!("{}/supabase/rest/v1/{path}", self.sandbox.base_url());
        let mut request =
            self.client.request(method, url).header("apikey", SERVICE_KEY).header("prefer", prefer);
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    async fn rows(&self, path: &str) -> Vec<Value> {
        self.rest(Method::GET, path, "", None).await.json().await.unwrap()
    }

    async fn sign_in(&self) -> String {
        let url = format!("{}/admin/api/auth/login", self.sandbox.base_url());
        let answer = self.client.post(url).json(&json!({ "token": ADMIN_TOKEN })).send().await.unwrap();
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
        cookie.split(';').next().unwrap().to_owned()
    }

    async fn admin(&self, path: &str, body: Value) -> Response {
        let url = format!("{}/admin{path}", self.sandbox.base_url());
        self.client.post(url).header("cookie", self.sign_in().await).json(&body).send().await.unwrap()
    }
}

#[tokio::test]
async fn the_same_seed_and_requests_meet_the_same_world() {
    let mut answers = Vec::new();
    for _ in 0..2 {
        let world = InBox::of(spec(Scenario::RateLimited { minutes: 3 }, FaultSet::none())).await;
        world.clock.advance(Duration::from_mins(10));
        let logs = world.rows("send_logs?order=id").await;
        answers.push((logs, world.sandbox.state_digest()));
    }
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].0.len() > 50);
}

#[tokio::test]
async fn postgrest_filters_orders_pages_and_counts() {
    let world = InBox::healthy().await;
    let running = world.rows("campaigns?status=eq.running&select=id,name&order=name.desc").await;
    assert_eq!(running.len(), 4);
    assert!(running.windows(2).all(|pair| pair[0]["name"].as_str() >= pair[1]["name"].as_str()));
    let page = world.rest(Method::GET, "campaign_targets?limit=10&offset=5", "count=exact", None).await;
    assert_eq!(page.status(), 206);
    assert_eq!(page.headers()["content-range"], "5-14/600");
    let head = world.rest(Method::HEAD, "send_queue?status=in.(PENDING,SKIPPED)", "count=exact", None).await;
    assert!(head.headers()["content-range"].to_str().unwrap().contains('/'));
    assert_eq!(world.rest(Method::GET, "campaigns?offset=100", "", None).await.status(), 416);
    assert_eq!(world.rest(Method::GET, "campaigns?nonsense=eq.1", "", None).await.status(), 400);
    assert_eq!(world.rest(Method::GET, "no_such_table", "", None).await.status(), 404);
    let url = format!("{}/supabase/rest/v1/campaigns", world.sandbox.base_url());
    assert_eq!(world.client.get(url).header("apikey", "wrong").send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_change_without_a_filter_is_refused_and_max_affected_needs_strict() {
    let world = InBox::healthy().await;
    let skip = Some(json!({ "status": "SKIPPED" }));
    assert_eq!(world.rest(Method::PATCH, "send_queue", "", skip.clone()).await.status(), 400);
    let strict = "handling=strict, max-affected=1";
    assert_eq!(
        world.rest(Method::PATCH, "send_queue?status=eq.PENDING", strict, skip.clone()).await.status(),
        400
    );
    assert!(world.sandbox.ledger().is_empty(), "nothing was changed");
    let lenient =
        world.rest(Method::PATCH, "send_queue?status=eq.PENDING", "max-affected=1, count=exact", skip).await;
    assert_eq!(lenient.status(), 204, "without strict it is silently ignored, as in the real one");
    assert_eq!(world.sandbox.ledger().len(), 1);
}

#[tokio::test]
async fn an_audit_row_is_inserted_once_for_its_id() {
    let world = InBox::healthy().await;
    let row = json!({ "id": "6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90", "action": "incident_resolution" });
    let keyed = "resolution=ignore-duplicates, return=minimal";
    for _ in 0..2 {
        let answer = world.rest(Method::POST, "audit_log?on_conflict=id", keyed, Some(row.clone())).await;
        assert_eq!(answer.status(), 201);
    }
    assert_eq!(world.rest(Method::POST, "audit_log", "", Some(row)).await.status(), 409);
    assert_eq!(world.rows("audit_log?action=eq.incident_resolution").await.len(), 1);
    let changed = world.sandbox.ledger().iter().filter(|entry| entry.changed).count();
    assert_eq!(changed, 1);
}

#[tokio::test]
async fn a_pause_stops_the_dispatcher_in_the_target_profile_and_not_in_the_platform_as_it_is() {
    for (faults, stops) in [(FaultSet::none(), true), (FaultSet::of(Profile::AsIs), false)] {
        let world = InBox::of(spec(Scenario::Healthy, faults)).await;
        for campaign in world.rows("campaigns?status=eq.running").await {
            let body = json!({ "campaignId": campaign["id"] });
            assert_eq!(world.admin("/api/campaigns/pause", body).await.status(), 200);
        }
        let before = world.rows("send_logs").await.len();
        world.clock.advance(Duration::from_mins(3));
        assert_eq!(world.rows("send_logs").await.len() == before, stops);
    }
}

#[tokio::test]
async fn lies_answer_well_and_the_ledger_knows_better() {
    let faults = FaultSet::none().with(Fault::SettingsWriteLost).with(Fault::Pause5xxAfterWrite);
    let world = InBox::of(spec(Scenario::Healthy, faults)).await;
    let settings = json!({ "quietHours": { "start": "21:00", "end": "05:00" }, "throttlePerMinute": 7, "optOutList": [] });
    assert_eq!(world.admin("/api/settings", settings).await.status(), 200);
    let id = world.rows("campaigns?status=eq.running").await[0]["id"].clone();
    assert_eq!(world.admin("/api/campaigns/pause", json!({ "campaignId": id })).await.status(), 503);
    let known: Vec<(String, bool)> =
        world.sandbox.ledger().into_iter().map(|entry| (entry.effect, entry.changed)).collect();
    assert_eq!(known, [("settings.write".to_owned(), false), ("campaign.pause".to_owned(), true)]);
}

#[tokio::test]
async fn an_unknown_admin_route_is_a_page_and_a_session_is_needed() {
    let world = InBox::of(spec(Scenario::Healthy, FaultSet::none().with(Fault::HtmlNotFound))).await;
    let base = world.sandbox.base_url();
    let unknown = world.client.get(format!("{base}/admin/api/station/history")).send().await.unwrap();
    assert_eq!(unknown.status(), 404);
    assert!(unknown.headers()["content-type"].to_str().unwrap().contains("html"));
    let closed = world.client.get(format!("{base}/admin/api/settings")).send().await.unwrap();
    assert_eq!(closed.status(), 401);
}
