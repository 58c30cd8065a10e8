//! What the official clients of Slack and PagerDuty send, and the admin API's door.

use allclear_sandbox::{ADMIN_TOKEN, PAGERDUTY_KEY, PAGERDUTY_ROUTING_KEY, SLACK_TOKEN};
use reqwest::Method;
use serde_json::{Value, json};

use super::InBox;

impl InBox {
    /// As `@slack/web-api` calls: everything by POST, as a form, what is no text as JSON in it.
    async fn slack(&self, method: &str, arguments: &[(&str, &str)]) -> Value {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(arguments).finish();
        let url = format!("{}/slack/api/{method}", self.sandbox.base_url());
        let request = self.client.post(url).bearer_auth(SLACK_TOKEN).body(form);
        let kind = "application/x-www-form-urlencoded";
        request.header("content-type", kind).send().await.unwrap().json().await.unwrap()
    }

    async fn pagerduty(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}/pagerduty/{path}", self.sandbox.base_url());
        let mut request = self.client.request(method, url);
        request = request.header("authorization", format!("Token token={PAGERDUTY_KEY}"));
        request = request.header("accept", "application/json").header("from", "oncall@example.test");
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn log_in(&self, from: &str, token: &str) -> reqwest::Response {
        let url = format!("{}/admin/api/auth/login", self.sandbox.base_url());
        let request = self.client.post(url).header("x-forwarded-for", from);
        request.json(&json!({ "token": token })).send().await.unwrap()
    }
}

#[tokio::test]
async fn f_slack_takes_forms_by_post_as_its_official_client_sends_them() {
    let world = InBox::healthy().await;
    let metadata = r#"{"event_type":"run","event_payload":{"marker":"m & = %"}}"#;
    let posted = world
        .slack("chat.postMessage", &[("channel", "#ops"), ("text", "a & b = 100 %"), ("metadata", metadata)])
        .await;
    assert_eq!(posted["ok"], true, "{posted}");
    let ts = posted["ts"].as_str().unwrap();
    let reply = [("channel", "C0OPS"), ("text", "more"), ("thread_ts", ts), ("reply_broadcast", "true")];
    assert_eq!(world.slack("chat.postMessage", &reply).await["ok"], true);
    let asked = [("channel", "C0OPS"), ("include_all_metadata", "true"), ("limit", "10")];
    let history = world.slack("conversations.history", &asked).await;
    assert_eq!(history["messages"].as_array().unwrap().len(), 2, "{history}");
    assert_eq!(history["messages"][1]["text"], "a & b = 100 %");
    assert_eq!(history["messages"][1]["metadata"]["event_payload"]["marker"], "m & = %");
    let replies = world.slack("conversations.replies", &[("channel", "C0OPS"), ("ts", ts)]).await;
    assert_eq!(replies["messages"].as_array().unwrap().len(), 2, "{replies}");
    let first = world.slack("conversations.list", &[("limit", "3")]).await;
    let cursor = first["response_metadata"]["next_cursor"].as_str().unwrap();
    let rest = world.slack("conversations.list", &[("limit", "3"), ("cursor", cursor)]).await;
    assert_eq!(
        (first["channels"].as_array().unwrap().len(), rest["channels"].as_array().unwrap().len()),
        (3, 1)
    );
    let wrong =
        world.slack("chat.postMessage", &[("channel", "ops"), ("text", "t"), ("metadata", "{")]).await;
    assert_eq!(wrong["error"], "invalid_metadata_format");
    assert_eq!(world.slack("chat.scheduleMessage", &[]).await["error"], "unknown_method");
}

#[tokio::test]
async fn f_pagerduty_says_what_an_incident_is_counts_and_finds_by_mail() {
    let world = InBox::healthy().await;
    let event = json!({
        "routing_key": PAGERDUTY_ROUTING_KEY, "event_action": "trigger", "dedup_key": "k",
        "payload": { "summary": "s", "source": "s", "severity": "info" },
    });
    let url = format!("{}/pagerduty-events/v2/enqueue", world.sandbox.base_url());
    assert_eq!(world.client.post(url).json(&event).send().await.unwrap().status(), 202);
    let (_, list) = world.pagerduty(Method::GET, "incidents?total=true&limit=1", None).await;
    let count = list["total"].as_u64().unwrap();
    assert!(count >= 1, "{list}");
    let (_, plain) = world.pagerduty(Method::GET, "incidents?limit=1", None).await;
    assert_eq!(plain["total"], Value::Null, "it is told only where it was asked for");
    let (_, found) = world.pagerduty(Method::GET, "incidents?incident_key=k", None).await;
    let path = format!("incidents/{}", found["incidents"][0]["id"].as_str().unwrap());
    let become_ = async |status: &str| {
        let body = json!({ "incident": { "type": "incident_reference", "status": status } });
        let (http, body) = world.pagerduty(Method::PUT, &path, Some(body)).await;
        (http, body["error"]["code"].as_u64())
    };
    assert_eq!(become_("acknowledged").await, (200, None));
    assert_eq!(become_("acknowledged").await, (400, Some(1002)));
    assert_eq!(become_("resolved").await, (200, None));
    assert_eq!(become_("acknowledged").await, (400, Some(1001)), "it is resolved, whatever was asked for");
    let (_, users) = world.pagerduty(Method::GET, "users?query=Second@Example.test&total=true", None).await;
    assert_eq!(
        (users["users"][0]["email"].as_str(), users["total"].as_u64()),
        (Some("second@example.test"), Some(1))
    );
}

#[tokio::test]
async fn f_five_wrong_tokens_lock_their_address_out_for_a_minute() {
    let world = InBox::healthy().await;
    for _ in 0..5 {
        assert_eq!(world.log_in("10.0.0.1, 10.9.9.9", "wrong-token").await.status(), 401);
    }
    let locked = world.log_in("10.0.0.1", ADMIN_TOKEN).await;
    assert_eq!(locked.status(), 429, "the right one too");
    assert!(!locked.headers().contains_key("retry-after"));
    assert_eq!(locked.json::<Value>().await.unwrap()["error"], "rate_limited");
    assert_eq!(world.log_in("10.0.0.2", ADMIN_TOKEN).await.status(), 200);
    world.clock.advance(std::time::Duration::from_secs(61));
    assert_eq!(world.log_in("10.0.0.1", ADMIN_TOKEN).await.status(), 200);
    let short = world.log_in("10.0.0.1", "short").await;
    assert_eq!(short.status(), 400);
    assert!(short.json::<Value>().await.unwrap()["message"]["fieldErrors"]["token"].is_array());
}

#[tokio::test]
async fn f_sessions_come_with_two_cookies_are_renewed_and_end() {
    let world = InBox::healthy().await;
    let signed_in = world.log_in("", ADMIN_TOKEN).await;
    let cookies: Vec<&str> =
        signed_in.headers().get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
    assert_eq!(cookies.len(), 2);
    for part in ["Max-Age=43200", "Secure", "HttpOnly", "SameSite=strict", "Expires="] {
        assert!(cookies[1].contains(part), "{cookies:?}");
    }
    assert!(cookies[0].starts_with("admin_actor_id=;"), "{cookies:?}");
    let session = cookies[1].split(';').next().unwrap();
    let ask = async || {
        let url = format!("{}/admin/api/settings", world.sandbox.base_url());
        let answer = world.client.get(url).header("cookie", session).send().await.unwrap();
        (answer.status().as_u16(), answer.headers().contains_key("set-cookie"))
    };
    assert_eq!(ask().await, (200, false));
    world.clock.advance(std::time::Duration::from_hours(10));
    assert_eq!(ask().await, (200, true), "little is left of it");
    world.clock.advance(std::time::Duration::from_hours(2));
    assert_eq!(ask().await, (401, false));
}

#[tokio::test]
async fn f_settings_as_in_the_dump_have_one_row_and_keep_nothing() {
    let world = InBox::healthy().await;
    let url = format!("{}/_sandbox/act", world.sandbox.base_url());
    let done = world.client.post(url).json(&json!({ "act": "settings_as_in_dump" })).send().await.unwrap();
    assert_eq!(done.status(), 200);
    let rows = world.rows("settings").await;
    assert!(rows.len() == 1 && rows[0]["id"] == 1 && rows[0].get("key").is_none(), "{rows:?}");
    let refused = world.rest(Method::GET, "settings?select=key,value", "", None).await;
    assert_eq!(refused.status(), 400);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "42703");
    let wanted = json!({ "quietHours": { "start": "21:00", "end": "05:00" }, "throttlePerMinute": 7, "optOutList": [] });
    let saved = world.admin("/api/settings", wanted).await.json::<Value>().await.unwrap();
    assert_eq!(saved["integration"]["status"], "ok", "it says so");
    let url = format!("{}/admin/api/settings", world.sandbox.base_url());
    let shown = world.client.get(url).header("cookie", world.sign_in().await).send().await.unwrap();
    let shown: Value = shown.json().await.unwrap();
    assert_eq!(
        (&shown["throttlePerMinute"], &shown["integration"]["status"]),
        (&json!(60), &json!("degraded"))
    );
    assert!(world.sandbox.ledger().iter().all(|entry| !entry.changed), "nothing was kept");
    let odd = json!({ "quietHours": {}, "throttlePerMinute": 7, "optOutList": [7] });
    assert_eq!(world.admin("/api/settings", odd).await.status(), 400);
}
