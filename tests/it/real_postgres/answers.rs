//! The same requests to both: what the sandbox answers is what a real server over a real Postgres answers, in all that anybody
//! reads of it. Where this server departs from PostgREST, the line says how: `tests/postgrest/README.md` has all of it.

use allclear::sandbox::{Profile, SERVICE_KEY, Scenario, WorldSpec};
use axum::http::Method;
use serde_json::{Value, json};

use super::{Real, http};
use crate::scene::small;

/// What a caller reads of an answer.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    range: String,
    applied: String,
    body: Value,
}

/// One request.
struct Asked {
    method: Method,
    target: String,
    prefer: &'static str,
    accept: &'static str,
    body: Value,
}

impl Asked {
    fn read(target: impl Into<String>) -> Self {
        let (method, target) = (Method::GET, target.into());
        Self { method, target, prefer: "", accept: "application/json", body: Value::Null }
    }

    fn counting(target: impl Into<String>) -> Self {
        Self { prefer: "count=exact", ..Self::read(target) }
    }

    fn change(target: impl Into<String>, body: Value) -> Self {
        let prefer = "return=minimal, count=exact, handling=strict, max-affected=1";
        Self { method: Method::PATCH, prefer, body, ..Self::read(target) }
    }

    fn insert(target: &str, body: Value) -> Self {
        let prefer = "resolution=ignore-duplicates, return=minimal";
        Self { method: Method::POST, prefer, body, ..Self::read(target) }
    }

    async fn at(&self, base: &str) -> Answer {
        let url = format!("{base}/supabase/rest/v1/{}", self.target);
        let mut call = http().request(self.method.clone(), url).header("accept", self.accept);
        call = call.header("apikey", SERVICE_KEY).bearer_auth(SERVICE_KEY);
        if !self.prefer.is_empty() {
            call = call.header("prefer", self.prefer);
        }
        if !self.body.is_null() {
            call = call.json(&self.body);
        }
        let answer = call.send().await.unwrap();
        let header = |name: &str| {
            answer.headers().get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
        };
        let (status, range, applied) =
            (answer.status().as_u16(), header("content-range"), header("preference-applied"));
        let text = answer.text().await.unwrap();
        Answer { status, range, applied, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }
}

async fn both() -> Real {
    let scenario = Scenario::DoubleRedemption;
    let spec = WorldSpec { profile: Profile::Target, vouchers: 12, stations: 4, ..small(scenario) };
    Real::of("station-redeem-anomalies", spec).await
}

/// That both answer the same to each; all differences at once.
async fn same(real: &Real, requests: &[Asked]) {
    let sandbox = real.scene.sandbox.base_url();
    let mut differ = Vec::new();
    for asked in requests {
        let (theirs, ours) = (asked.at(&real.base).await, asked.at(&sandbox).await);
        if theirs != ours {
            let Asked { method, target, prefer, .. } = asked;
            differ.push(format!("{method} {target} {prefer}\n  real    {theirs:?}\n  sandbox {ours:?}"));
        }
    }
    assert!(differ.is_empty(), "\n{}", differ.join("\n"));
}

/// The id of the n-th row of a table.
async fn id(real: &Real, table: &str, place: usize) -> String {
    real.list(&format!("SELECT id::text FROM {table} ORDER BY id OFFSET {place} LIMIT 1")).await.remove(0)
}

#[tokio::test]
async fn reads_are_answered_alike() {
    let real = both().await;
    let (campaign, voucher) = (id(&real, "campaigns", 1).await, id(&real, "vouchers", 3).await);
    let queue = format!("send_queue?campaign_id=eq.{campaign}");
    let columns = "id,status,amount_minor,currency,code5,code_5,whatsapp_e164,campaign_id,station_scope,redeemed_at,expires_at,\
                   updated_at,metadata";
    same(
        &real,
        &[
            Asked::read(format!("vouchers?select={columns}&order=id")),
            Asked::read(format!("vouchers?select={columns}&id=eq.{voucher}")),
            Asked::read("campaigns?select=id,name,type,status,created_at,started_at,finished_at&order=id"),
            Asked::read("campaigns?select=name&started_at=is.null&order=name.desc"),
            Asked::read("campaigns?select=name,started_at&order=started_at.desc,name"),
            Asked::read("campaigns?select=name,started_at&order=started_at.asc.nullsfirst,name"),
            Asked::read("campaigns?select=name&started_at=not.gte.2020-01-01T00:00:00Z"),
            Asked::read("campaigns?select=name&name=like.*r*&order=name"),
            Asked::read("campaigns?select=name&name=ilike.R*&order=name"),
            Asked::read("campaigns?select=name&name=in.(\"Harvest 1\",\"none, or other\")"),
            Asked::read("campaigns?select=name&status=neq.running&order=name"),
            Asked::read("campaigns?select=name&status=not.in.(running,draft)"),
            Asked::read(format!("{queue}&select=id,status,attempt,next_attempt_at&order=id&limit=3")),
            Asked::read(format!("{queue}&select=id&order=id&offset=2&limit=3")),
            Asked::read(format!("{queue}&select=id&order=id&offset=100000&limit=3")),
            Asked::counting(format!("{queue}&select=id&order=id&limit=3")),
            Asked::counting(format!("{queue}&select=id&order=id&limit=0")),
            Asked { method: Method::HEAD, ..Asked::counting(format!("{queue}&status=eq.PENDING&limit=1")) },
            Asked { method: Method::HEAD, ..Asked::counting(format!("{queue}&status=eq.FAILED&limit=1")) },
            Asked::read("send_queue?select=id&order=id&or=(id.eq.5,and(id.gte.7,id.lte.9))"),
            Asked::read("send_queue?select=id&order=id&id=lt.9&or=(status.eq.SENT,and(status.eq.PENDING,or(id.eq.8)))"),
            Asked::read("send_queue?select=campaign_id&status=eq.PENDING&order=campaign_id&limit=1&campaign_id=not.is.null"),
            Asked::read("send_logs?select=id,queue_id,sent_at,error&error=is.null&order=id&limit=5"),
            Asked::read("settings?select=key,value&key=in.(quiet_hours.rw,opt_out.list)&order=key"),
            Asked::read("voucher_redemptions?select=id,station_id,key:meta->>idempotency_key,created_at&order=created_at,id"),
            Asked::read(
                "webhook_logs?select=id,error_message,received_at,key:headers->>idempotency-key,code:payload->>voucherCode\
                 &endpoint=eq./api/station/redeem&order=id&limit=4",
            ),
            Asked::read(format!("vouchers?select=id,metadata->>held_by&id=eq.{voucher}")),
            Asked::read("vouchers?select=id&metadata->>held_by=eq.nobody"),
            Asked::read("vouchers?select=code5&order=code5&limit=2&status=in.(issued,sent)"),
            Asked { accept: "application/vnd.pgrst.object+json", ..Asked::read(format!("vouchers?select=code5&id=eq.{voucher}")) },
            Asked { accept: "application/vnd.pgrst.object+json", ..Asked::read("vouchers?select=code5&code5=eq.NONE0") },
        ],
    )
    .await;
    // PostgREST tells how many there are in `Content-Range` too.
    let beyond = Asked::counting(format!("{queue}&select=id&order=id&offset=100000&limit=3"));
    let sandbox = real.scene.sandbox.base_url();
    let (theirs, ours) = (beyond.at(&real.base).await, beyond.at(&sandbox).await);
    assert_eq!((theirs.status, theirs.body), (ours.status, ours.body));
    // Numbers have the digits that the column has, `20.00`; this server leaves the zeros out.
    let amounts = Asked::read("vouchers?select=amount&order=id");
    let (theirs, ours) = (amounts.at(&real.base).await.body, amounts.at(&sandbox).await.body);
    let numbers = |rows: &Value| {
        rows.as_array().unwrap().iter().map(|row| row["amount"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&theirs), numbers(&ours));
}

#[tokio::test]
async fn refusals_are_worded_alike() {
    let real = both().await;
    let (voucher, petrol) = (id(&real, "vouchers", 0).await, id(&real, "petrol_stations", 0).await);
    let nowhere = "6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90";
    let new = |more: Value| {
        let mut row = json!({
            "id": nowhere, "code5": "NEW00", "qr_payload": "q", "amount_minor": 2_000, "currency": "RWF", "policy_number": "p",
            "whatsapp_e164": "+250788000001", "status": "void", "metadata": { "held_by": "run" },
        });
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    let taken = real.list(&format!("SELECT code5 FROM vouchers WHERE id = '{voucher}'")).await.remove(0);
    same(
        &real,
        &[
            Asked::read("vouchers?id=eq.banana"),
            Asked::read("vouchers?id=in.(6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90,banana)"),
            Asked::read("send_queue?id=gt.1.5"),
            Asked::read("send_queue?next_attempt_at=lt.yesterday-ish"),
            Asked::read("send_queue?next_attempt_at=lt.2026-02-30"),
            Asked::read("send_queue?next_attempt_at=gte.2026-11-29T08:00:00+02:00"),
            Asked::read("no_such_table"),
            Asked { method: Method::HEAD, ..Asked::counting("vouchers?id=eq.banana") },
            Asked::change(format!("vouchers?id=eq.{voucher}"), json!({ "colour": "red" })),
            Asked::change("vouchers?status=in.(issued,redeemed)", json!({ "status": "void" })),
            Asked::change(format!("vouchers?id=eq.{voucher}"), json!({ "station_scope": petrol })),
            Asked::change(format!("vouchers?id=eq.{voucher}"), json!({ "station_scope": "banana" })),
            Asked::change(format!("vouchers?id=eq.{voucher}"), json!({ "updated_at": "soon" })),
            Asked {
                prefer: "handling=strict, colour=red",
                ..Asked::change(format!("vouchers?id=eq.{voucher}"), json!({ "status": "void" }))
            },
            Asked::change(format!("vouchers?id=eq.{nowhere}"), json!({ "status": "void" })),
            Asked::insert("vouchers?on_conflict=id", new(json!({ "station_scope": petrol }))),
            Asked::insert("vouchers?on_conflict=id", new(json!({ "colour": "red" }))),
            Asked::insert("vouchers?on_conflict=id", new(json!({ "id": "banana" }))),
            Asked::insert("vouchers?on_conflict=id", new(json!({ "code5": taken }))),
            Asked::insert("vouchers?on_conflict=status", new(json!({}))),
            Asked::insert(
                "voucher_events?on_conflict=id",
                json!({ "id": nowhere, "voucher_id": nowhere, "event_type": "void", "context": {} }),
            ),
            Asked { prefer: "", ..Asked::insert("vouchers", new(json!({ "id": voucher }))) },
        ],
    )
    .await;
}

#[tokio::test]
async fn writes_are_answered_alike_and_happen_once() {
    let real = both().await;
    let new = "6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90";
    let voucher = id(&real, "vouchers", 0).await;
    let row = json!({ "id": new, "action": "a", "target_table": "t", "target_id": "x", "diff": { "n": 1 } });
    let full = |asked: Asked| Asked { prefer: "return=representation, count=exact", ..asked };
    let held = format!("vouchers?id=eq.{voucher}&metadata->>held_by=eq.run");
    same(
        &real,
        &[
            Asked::insert("audit_log?on_conflict=id", row.clone()),
            Asked::insert("audit_log?on_conflict=id", row.clone()),
            Asked { prefer: "", ..Asked::insert("audit_log", row) },
            Asked::change(format!("vouchers?id=eq.{voucher}"), json!({ "metadata": { "held_by": "run" } })),
            Asked::change(held.clone(), json!({ "status": "void" })),
            Asked::change(format!("{held}&status=eq.issued"), json!({ "status": "void" })),
            full(Asked::change(format!("{held}&select=id,status,metadata"), json!({ "metadata": {} }))),
            Asked {
                prefer: "return=minimal, count=exact",
                ..Asked::change("send_queue?id=lte.4", json!({ "status": "SKIPPED" }))
            },
            Asked {
                prefer: "return=minimal",
                ..Asked::change("send_queue?id=lte.4", json!({ "status": "PENDING" }))
            },
            Asked {
                prefer: "count=exact, max-affected=1",
                ..Asked::change("send_queue?id=lte.2", json!({ "status": "SKIPPED" }))
            },
            Asked {
                method: Method::DELETE,
                prefer: "return=representation",
                ..Asked::read(format!("audit_log?id=eq.{new}&select=id,action"))
            },
            Asked { method: Method::DELETE, ..Asked::read(format!("audit_log?id=eq.{new}")) },
        ],
    )
    .await;
    assert_eq!(real.number("SELECT count(*) FROM send_queue WHERE status = 'SKIPPED'").await, 2);
}
