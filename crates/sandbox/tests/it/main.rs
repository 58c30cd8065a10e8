//! The sandbox over HTTP: what other tests trust it for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod postgrest;
mod storage;
mod vendors;
mod vouchers;

use std::sync::Arc;
use std::time::Duration;

use allclear_core::VirtualClock;
use allclear_sandbox::{
    ADMIN_TOKEN, ANON_KEY, Fault, FaultSet, MANAGEMENT_TOKEN, PROJECT, PUBLISHABLE_KEY, Profile, SECRET_KEY,
    SERVICE_KEY, Sandbox, Scenario, WorldSpec,
};
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
        let mut request = self
            .client
            .request(method, url)
            .header("apikey", SERVICE_KEY)
            .bearer_auth(SERVICE_KEY)
            .header("prefer", prefer);
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    async fn admin_path(&self, path: &str, action: &str, body: Value) -> Response {
        self.admin(&format!("{path}/{action}"), body).await
    }

    async fn rows(&self, path: &str) -> Vec<Value> {
        self.rest(Method::GET, path, "", None).await.json().await.unwrap()
    }

    async fn sign_in(&self) -> String {
        let url = format!("{}/admin/api/auth/login", self.sandbox.base_url());
        let answer = self.client.post(url).json(&json!({ "token": ADMIN_TOKEN })).send().await.unwrap();
        let cookies = answer.headers().get_all("set-cookie").iter();
        let session =
            cookies.map(|cookie| cookie.to_str().unwrap()).find(|one| one.starts_with("admin_session="));
        session.unwrap().split(';').next().unwrap().to_owned()
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
    assert_eq!(world.rest(Method::GET, "campaigns?offset=100", "count=exact", None).await.status(), 416);
    assert_eq!(world.rest(Method::GET, "campaigns?nonsense=eq.1", "", None).await.status(), 400);
    assert_eq!(world.rest(Method::GET, "no_such_table", "", None).await.status(), 404);
    let url = format!("{}/supabase/rest/v1/campaigns", world.sandbox.base_url());
    assert_eq!(world.client.get(url).header("apikey", "wrong").send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn keys_are_taken_as_each_kind_is_meant_and_no_other_way() {
    let world = InBox::healthy().await;
    let ask = async |apikey: &str, bearer: &str, agent: &str| {
        let at = |path: &str| format!("{}/supabase/{path}", world.sandbox.base_url());
        let with = |mut request: reqwest::RequestBuilder| {
            request = request.header("user-agent", agent);
            request = if apikey.is_empty() { request } else { request.header("apikey", apikey) };
            if bearer.is_empty() { request } else { request.bearer_auth(bearer) }
        };
        let table = with(world.client.get(at("rest/v1/campaigns?limit=1"))).send().await.unwrap();
        let function = with(world.client.post(at("functions/v1/wa-send-media")).json(&json!({})));
        // A body that is none is refused by the function itself: the key was taken.
        (table.status().as_u16(), function.send().await.unwrap().status().as_u16())
    };
    let (tool, browser) = ("allclear/0", "Mozilla/5.0");
    let cases = [
        (SERVICE_KEY, SERVICE_KEY, tool, (200, 400)),
        (SERVICE_KEY, "", tool, (401, 401)),
        (SERVICE_KEY, ANON_KEY, tool, (401, 401)),
        (ANON_KEY, ANON_KEY, tool, (401, 401)),
        (SECRET_KEY, "", tool, (200, 400)),
        (SECRET_KEY, SECRET_KEY, tool, (200, 400)),
        (SECRET_KEY, "", browser, (401, 401)),
        (SECRET_KEY, PUBLISHABLE_KEY, tool, (401, 401)),
        (PUBLISHABLE_KEY, "", tool, (401, 401)),
        (PUBLISHABLE_KEY, SECRET_KEY, tool, (401, 401)),
        ("", SECRET_KEY, tool, (401, 401)),
        ("", "", tool, (401, 401)),
        ("wrong", "wrong", tool, (401, 401)),
    ];
    for (apikey, bearer, agent, expected) in cases {
        assert_eq!(ask(apikey, bearer, agent).await, expected, "{apikey} {bearer} {agent}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_management_api_tells_the_limits_too() {
    let world = InBox::healthy().await;
    let base = format!("{}/supabase-management/v1/projects", world.sandbox.base_url());
    for (project, token, status) in [
        (PROJECT, "wrong", 401),
        ("abcdefghijklmnopqrst", MANAGEMENT_TOKEN, 404),
        (PROJECT, MANAGEMENT_TOKEN, 400),
    ] {
        let answer =
            world.client.get(format!("{base}/{project}/health")).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), status);
        for name in ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"] {
            assert!(answer.headers().contains_key(name), "{status} has no {name}");
        }
    }
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

/// A voucher as the database has it.
async fn voucher(world: &InBox, filter: &str) -> Value {
    world.rows(&format!("vouchers?{filter}&order=id&limit=1")).await[0].clone()
}

impl InBox {
    async fn station(&self) -> String {
        let url = format!("{}/admin/api/station/login", self.sandbox.base_url());
        let login = json!({ "stationCode": "ST000", "passcode": "ST000" });
        let answer: Value = self.client.post(url).json(&login).send().await.unwrap().json().await.unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }

    async fn redeem(&self, token: &str, key: Option<&str>, code: &Value) -> (u16, Value) {
        let url = format!("{}/admin/api/station/redeem", self.sandbox.base_url());
        let mut request =
            self.client.post(url).bearer_auth(token).json(&json!({ "voucherCode": code, "method": "code" }));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }
}

#[tokio::test]
async fn a_station_redeems_once_and_a_key_is_for_one_voucher() {
    let world = InBox::healthy().await;
    let token = world.station().await;
    let open = world.rows("vouchers?status=eq.issued&station_scope=is.null&order=id&limit=2").await;
    let (first, second) = (&open[0]["code5"], &open[1]["code5"]);
    assert_eq!(world.redeem(&token, None, first).await.0, 400, "a key is required");
    assert_eq!(world.redeem("nobody", Some("k"), first).await.0, 401);
    assert_eq!(world.redeem(&token, Some("k"), &json!("NOSUC")).await.0, 404);
    for _ in 0..2 {
        let (status, answer) = world.redeem(&token, Some("k"), first).await;
        assert_eq!((status, answer["status"].as_str()), (200, Some("redeemed")), "the same request again");
    }
    assert_eq!(world.redeem(&token, Some("other"), first).await.1["status"], "already_redeemed");
    let redemptions =
        world.rows(&format!("voucher_redemptions?voucher_id=eq.{}", open[0]["id"].as_str().unwrap())).await;
    assert_eq!(redemptions.len(), 1);
    assert_eq!(
        world.redeem(&token, Some("k"), second).await.1["status"],
        "redeemed",
        "same key, other voucher"
    );

    let collides =
        InBox::of(spec(Scenario::Healthy, FaultSet::none().with(Fault::StationKeyCollision))).await;
    let token = collides.station().await;
    collides.redeem(&token, Some("k"), first).await;
    let (_, answer) = collides.redeem(&token, Some("k"), second).await;
    assert_eq!(answer["voucherId"], open[0]["id"], "the first voucher's answer for the second: the wart");
}

#[tokio::test]
async fn a_voucher_changes_only_if_it_is_as_expected_and_one_at_a_time() {
    let world = InBox::healthy().await;
    let row = voucher(&world, "status=eq.redeemed").await;
    let (id, seen) = (row["id"].as_str().unwrap(), row["updated_at"].as_str().unwrap());
    let prefer = "return=minimal, count=exact, handling=strict, max-affected=1";
    let change = Some(json!({ "status": "void" }));
    let count = |response: &Response| response.headers()["content-range"].to_str().unwrap().to_owned();
    let filter = format!("vouchers?id=eq.{id}&status=eq.redeemed&updated_at=eq.{}", seen.replace('+', "%2B"));
    let stale =
        world.rest(Method::PATCH, &filter.replace("eq.redeemed", "eq.issued"), prefer, change.clone()).await;
    assert_eq!(count(&stale), "*/0");
    let done = world.rest(Method::PATCH, &filter, prefer, change.clone()).await;
    assert_eq!(count(&done), "0-0/1");
    let again = world.rest(Method::PATCH, &filter, prefer, change.clone()).await;
    assert_eq!(count(&again), "*/0", "its time has moved");
    let many = world.rest(Method::PATCH, "vouchers?status=eq.issued", prefer, change).await;
    assert_eq!(many.status(), 400);
    let odd = world.rest(Method::PATCH, &filter, prefer, Some(json!({ "status": "banana" }))).await;
    assert_eq!(odd.status(), 400);
}

#[tokio::test]
async fn the_target_profile_voids_and_replaces_as_its_contract_says() {
    let world = InBox::healthy().await;
    let redeemed = voucher(&world, "status=eq.redeemed").await;
    let path = format!("/api/vouchers/{}", redeemed["id"].as_str().unwrap());
    let void = |body: Value| world.admin_path(&path, "void", body);
    assert_eq!(void(json!({ "reason": "x", "expectedStatus": "redeemed" })).await.status(), 409);
    assert_eq!(
        void(json!({ "reason": "double_redemption", "expectedStatus": "issued", "secondApprover": "lea" }))
            .await
            .status(),
        409
    );
    let allowed =
        json!({ "reason": "double_redemption", "expectedStatus": "redeemed", "secondApprover": "lea" });
    assert_eq!(void(allowed).await.status(), 200);
    assert_eq!(world.admin_path(&path, "replace", json!({})).await.status(), 400, "a key is required");
}

#[tokio::test]
async fn the_host_of_functions_takes_a_deployment_and_names_what_is_wrong_with_others() {
    let world = InBox::of(spec(Scenario::PreviewRemoved, FaultSet::none())).await;
    let base =
        format!("{}/supabase-management/v1/projects/{}", world.sandbox.base_url(), allclear_sandbox::PROJECT);
    let get = |path: &str, token: &str| world.client.get(format!("{base}/{path}")).bearer_auth(token).send();
    assert_eq!(get("functions/voucher-preview", "expired").await.unwrap().status(), 401);
    let missing = get("functions/voucher-preview", allclear_sandbox::MANAGEMENT_TOKEN).await.unwrap();
    assert_eq!(
        (missing.status().as_u16(), missing.headers()["x-ratelimit-limit"].to_str().unwrap()),
        (404, "120")
    );
    let deploy = |entrypoint: &str| {
        let metadata = json!({ "entrypoint_path": entrypoint }).to_string();
        let file = reqwest::multipart::Part::bytes(b"code".to_vec()).file_name("index.ts");
        let form = reqwest::multipart::Form::new().text("metadata", metadata).part("file", file);
        let url = format!("{base}/functions/deploy?slug=voucher-preview");
        world.client.post(url).bearer_auth(allclear_sandbox::MANAGEMENT_TOKEN).multipart(form).send()
    };
    assert_eq!(deploy("other.ts").await.unwrap().status(), 400);
    assert_eq!(deploy("index.ts").await.unwrap().status(), 201);
    let there: Value = get("functions/voucher-preview", allclear_sandbox::MANAGEMENT_TOKEN)
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!((there["status"].as_str(), there["version"].as_u64()), (Some("ACTIVE"), Some(1)));
}
