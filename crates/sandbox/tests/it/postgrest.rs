//! PostgREST: what it refuses as the real one does, and what the official client's calls come to.

use allclear_sandbox::{FaultSet, Scenario};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::{InBox, SERVICE_KEY, spec};

const ONE: &str = "application/vnd.pgrst.object+json";
const NEW: &str = "6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90";

impl InBox {
    /// As [`rest`](Self::rest), for an answer in this form.
    async fn rest_as(&self, form: &str, method: Method, path: &str, prefer: &str, body: &Value) -> Response {
        let url = format!("{}/supabase/rest/v1/{path}", self.sandbox.base_url());
        let mut request = self.client.request(method.clone(), url).header("apikey", SERVICE_KEY);
        request = request.bearer_auth(SERVICE_KEY).header("prefer", prefer).header("accept", form);
        if method != Method::GET {
            request = request.json(body);
        }
        request.send().await.unwrap()
    }

    /// Status and code of a refusal, which has PostgREST's shape.
    async fn refusal(&self, method: Method, path: &str, body: Option<Value>) -> (u16, String) {
        let answer = self.rest(method, path, "", body).await;
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        for name in ["code", "message", "details", "hint"] {
            assert!(body.get(name).is_some(), "{path}: {body}");
        }
        (status, body["code"].as_str().unwrap().to_owned())
    }
}

fn range(answer: &Response) -> &str {
    answer.headers()["content-range"].to_str().unwrap()
}

#[tokio::test]
async fn f_what_is_no_uuid_no_time_and_no_number_is_refused_in_filters_and_bodies() {
    let world = InBox::healthy().await;
    let refused = |status: u16, code: &str| (status, code.to_owned());
    for (path, code) in [
        ("campaigns?id=eq.banana", "22P02"),
        ("campaigns?id=in.(6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90,banana)", "22P02"),
        ("campaigns?or=(status.eq.running,not.and(id.eq.banana))", "22P02"),
        ("send_queue?id=gt.1.5", "22P02"),
        ("audit_log?created_at=gte.yesterday-ish", "22007"),
        ("audit_log?created_at=gte.2026-11-29T08:00:00+02:00", "22007"),
        ("campaigns?limit=many", "PGRST100"),
    ] {
        assert_eq!(world.refusal(Method::GET, path, None).await, refused(400, code), "{path}");
    }
    for (method, path, body, code) in [
        (Method::POST, "audit_log", json!({ "id": "banana", "action": "a" }), "22P02"),
        (Method::POST, "audit_log", json!({ "action": "a", "created_at": "soon" }), "22007"),
        (Method::PATCH, "vouchers?status=eq.issued", json!({ "station_scope": "banana" }), "22P02"),
        (Method::PATCH, "send_queue?status=eq.PENDING", json!({ "next_attempt_at": "soon" }), "22007"),
        (Method::PATCH, "vouchers?id=eq.banana", json!({ "status": "void" }), "22P02"),
    ] {
        assert_eq!(world.refusal(method, path, Some(body)).await, refused(400, code), "{path}");
    }
    assert!(world.sandbox.ledger().is_empty(), "nothing was changed");
}

#[tokio::test]
async fn f_a_column_that_is_unknown_is_refused_on_insert_and_on_update() {
    let world = InBox::healthy().await;
    let unknown = (400, "PGRST204".to_owned());
    for (method, path, body) in [
        (Method::POST, "audit_log", json!({ "action": "a", "colour": "red" })),
        (Method::POST, "audit_log?columns=action,colour", json!({ "action": "a" })),
        (Method::POST, "voucher_events", json!({ "colour": "red" })),
        (Method::PATCH, "vouchers?status=eq.issued", json!({ "status": "void", "colour": "red" })),
        (Method::PATCH, "send_queue?status=eq.PENDING", json!({ "status": "SKIPPED", "colour": "red" })),
    ] {
        assert_eq!(world.refusal(method, path, Some(body)).await, unknown, "{path}");
    }
    let known = json!({ "status": "SKIPPED", "msisdn_e164": "+250788000001" });
    let queue = world.refusal(Method::PATCH, "send_queue?status=eq.PENDING", Some(known)).await;
    assert_eq!(queue, (403, "42501".to_owned()), "what is not kept is not taken");
    assert!(world.sandbox.ledger().is_empty(), "nothing was changed");
    let id = world.rows("vouchers?order=id&limit=1").await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("vouchers?id=eq.{id}&select=policy_number,plate,amount");
    let change = json!({ "policy_number": "POL-1", "plate": "RAB 1", "amount_minor": 250_000 });
    assert_eq!(world.rest(Method::PATCH, &path, "", Some(change)).await.status(), 204);
    let kept = json!({ "policy_number": "POL-1", "plate": "RAB 1", "amount": 2500.0 });
    assert_eq!(world.rows(&path).await, [kept]);
}

#[tokio::test]
async fn f_a_single_object_is_one_row_and_nothing_else_in_reads_and_writes() {
    let world = InBox::healthy().await;
    let nothing = json!({});
    let ask = async |method: Method, path: &str, body: &Value| {
        let answer = world.rest_as(ONE, method, path, "return=representation", body).await;
        let (status, kind) = (answer.status().as_u16(), answer.headers()["content-type"].clone());
        (status, kind.to_str().unwrap().to_owned(), answer.json::<Value>().await.unwrap())
    };
    for (path, rows) in
        [("campaigns?status=eq.running", 4), ("campaigns?id=eq.6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90", 0)]
    {
        let (status, _, body) = ask(Method::GET, path, &nothing).await;
        assert_eq!((status, &body["code"]), (406, &json!("PGRST116")), "{path}");
        assert_eq!(body["details"], format!("The result contains {rows} rows"));
    }
    let (status, _, body) =
        ask(Method::PATCH, "vouchers?status=eq.issued", &json!({ "status": "void" })).await;
    assert_eq!((status, &body["code"]), (406, &json!("PGRST116")));
    let two = json!([{ "action": "a" }, { "action": "b" }]);
    assert_eq!(ask(Method::POST, "audit_log", &two).await.0, 406);
    assert!(world.sandbox.ledger().is_empty(), "a refused write is undone");
    let (status, kind, row) = ask(Method::POST, "audit_log?select=action", &json!({ "action": "a" })).await;
    assert_eq!((status, row), (201, json!({ "action": "a" })));
    assert!(kind.starts_with(ONE), "{kind}");
    let (status, _, row) = ask(Method::GET, "campaigns?order=id&limit=1&select=id", &nothing).await;
    assert!(status == 200 && row["id"].is_string(), "{row}");
}

#[tokio::test]
async fn f_ignored_duplicates_are_not_in_the_answer() {
    let world = InBox::healthy().await;
    let prefer = "resolution=ignore-duplicates, return=representation, count=exact";
    let insert = async |path: &str, body: Value| {
        let answer = world.rest(Method::POST, path, prefer, Some(body)).await;
        let counted = answer.headers().get("content-range").map_or("", |range| range.to_str().unwrap());
        (answer.status().as_u16(), counted.to_owned(), answer.json::<Value>().await.unwrap())
    };
    let row = json!({ "id": NEW, "action": "a" });
    let path = "audit_log?on_conflict=id&select=id";
    assert_eq!(insert(path, row.clone()).await, (201, "*/1".to_owned(), json!([{ "id": NEW }])));
    assert_eq!(insert(path, row.clone()).await, (201, "*/0".to_owned(), json!([])));
    // Without a key the primary one is meant.
    assert_eq!(insert("audit_log", row.clone()).await.2, json!([]));
    let no_key = insert("audit_log?on_conflict=action", row.clone()).await;
    assert_eq!((no_key.0, &no_key.2["code"]), (400, &json!("42P10")));
    let plain = world.refusal(Method::POST, "audit_log?on_conflict=id", Some(row)).await;
    assert_eq!(plain, (409, "23505".to_owned()), "a key alone ignores nothing");
    assert_eq!(world.rows("audit_log?action=eq.a").await.len(), 1);
}

#[tokio::test]
async fn f_counts_and_ranges_are_told_as_asked_for() {
    let world = InBox::healthy().await;
    for count in ["exact", "planned", "estimated"] {
        let prefer = format!("count={count}");
        let page = world.rest(Method::GET, "campaign_targets?limit=10&offset=5", &prefer, None).await;
        assert_eq!((page.status().as_u16(), range(&page)), (206, "5-14/600"), "{count}");
        assert_eq!(page.headers()["preference-applied"], prefer.as_str());
    }
    let beyond = world.rest(Method::GET, "campaign_targets?offset=601", "count=exact", None).await;
    assert_eq!((beyond.status().as_u16(), range(&beyond)), (416, "*/600"));
    let said = beyond.json::<Value>().await.unwrap()["details"].clone();
    assert_eq!(said, json!("An offset of 601 was requested, but there are only 600 rows."));
    let right_after = world.rest(Method::GET, "campaign_targets?offset=600", "count=exact", None).await;
    assert_eq!((right_after.status().as_u16(), range(&right_after)), (206, "*/600"));
    let uncounted = world.rest(Method::GET, "campaign_targets?offset=601", "", None).await;
    assert_eq!((uncounted.status().as_u16(), range(&uncounted)), (200, "*/*"));
    let change = || Some(json!({ "status": "SKIPPED" }));
    let first = "send_queue?id=lte.3";
    let plain = world.rest(Method::PATCH, first, "", change()).await;
    assert_eq!((plain.status().as_u16(), range(&plain)), (204, "0-2/*"));
    let counted = world.rest(Method::PATCH, first, "count=exact, return=representation", change()).await;
    assert_eq!((counted.status().as_u16(), range(&counted)), (200, "0-2/3"));
    let none = world.rest(Method::PATCH, "send_queue?id=lt.0", "count=exact", change()).await;
    assert_eq!(range(&none), "*/0");
    let not_kept = world.rest(Method::PATCH, first, "count=exact, max-affected=1", change()).await;
    assert_eq!(
        not_kept.headers()["preference-applied"],
        "count=exact",
        "without handling=strict it is ignored"
    );
    let odd = world.rest(Method::PATCH, first, "handling=strict, colour=red", change()).await;
    assert_eq!(odd.json::<Value>().await.unwrap()["code"], "PGRST122");
}

#[tokio::test]
async fn f_the_opposite_of_what_a_null_leaves_open_is_open_too() {
    let world = InBox::healthy().await;
    let count = async |filter: &str| world.rows(&format!("vouchers?select=id&{filter}")).await.len();
    let scope = world.rows("vouchers?station_scope=not.is.null&limit=1").await[0]["station_scope"].clone();
    let scope = scope.as_str().unwrap();
    let (all, null) = (count("").await, count("station_scope=is.null").await);
    let equal = count(&format!("station_scope=eq.{scope}")).await;
    assert!(null > 0 && equal > 0);
    let others = all - null - equal;
    for filter in [
        format!("station_scope=not.eq.{scope}"),
        format!("station_scope=neq.{scope}"),
        format!("station_scope=not.in.({scope})"),
        format!("not.or=(station_scope.eq.{scope})"),
        format!("and=(station_scope.not.eq.{scope})"),
    ] {
        assert_eq!(count(&filter).await, others, "{filter}");
    }
    assert_eq!(count("station_scope=not.is.null").await, all - null);
    assert_eq!(count(&format!("or=(station_scope.neq.{scope},station_scope.is.null)")).await, all - equal);
}

#[tokio::test]
async fn what_a_json_column_contains_is_found_as_postgres_finds_it() {
    let world = InBox::healthy().await;
    let count = async |filter: &str| world.rows(&format!("settings?select=key&{filter}")).await.len();
    let rows = world.rows("settings?key=eq.quiet_hours.rw&select=value").await;
    let whole = rows[0]["value"].clone();
    assert!(whole.is_object(), "{whole}");
    assert!(count(&format!("value=cs.{whole}")).await > 0);
    assert_eq!(count("value=cs.{}").await, 1, "of an object, a list and a number");
    assert_eq!(count("value=cs.{\"nobody\":[{\"is\":1}]}").await, 0);
    for (filter, refused) in [("value=cs.{banana", (400, "22P02")), ("key=cs.{}", (404, "42883"))] {
        let (status, code) = world.refusal(Method::GET, &format!("settings?{filter}"), None).await;
        assert_eq!((status, code.as_str()), refused, "{filter}");
    }
}

#[tokio::test]
async fn f_csv_has_the_columns_in_the_order_they_were_selected_in() {
    let world = InBox::healthy().await;
    let path = "campaigns?select=status,started_at,name,metadata&order=status,name&limit=2";
    let answer = world.rest_as("text/csv", Method::GET, path, "", &json!({})).await;
    assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8");
    let text = answer.text().await.unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines.len()), ("status,started_at,name,metadata", 3));
    let name = world.rows("campaigns?order=status,name&limit=1").await[0]["name"].clone();
    assert_eq!(lines[1], format!("draft,,{name},"), "nothing for a null, quotes for what has spaces");
    let pages = world.rest_as("text/html", Method::GET, "campaigns", "", &json!({})).await;
    assert_eq!(pages.status(), 406);
    assert_eq!(pages.json::<Value>().await.unwrap()["code"], "PGRST107");
}

#[tokio::test]
async fn f_a_number_is_a_target_of_a_campaign_once() {
    let world = InBox::of(spec(Scenario::Healthy, FaultSet::none())).await;
    let target = world.rows("campaign_targets?order=id&limit=1&select=campaign_id,msisdn").await.remove(0);
    let insert = |row: Value| world.refusal(Method::POST, "campaign_targets", Some(row));
    assert_eq!(insert(target.clone()).await, (409, "23505".to_owned()));
    let other = world.rows("campaigns?order=id&select=id").await;
    let other = other.iter().find(|one| one["id"] != target["campaign_id"]).unwrap()["id"].clone();
    let elsewhere = json!({ "campaign_id": other, "msisdn": "+250799999999" });
    let twice = json!([elsewhere, elsewhere]);
    assert_eq!(insert(twice).await, (409, "23505".to_owned()), "two of one request as well");
    assert_eq!(
        world.rest(Method::POST, "campaign_targets", "", Some(elsewhere)).await.status(),
        201,
        "and nothing of a refused request is kept"
    );
    let nowhere = insert(json!({ "campaign_id": NEW, "msisdn": "+250799999999" })).await;
    assert_eq!(nowhere, (409, "23503".to_owned()));
    let key = "campaign_targets?on_conflict=campaign_id,msisdn&select=msisdn";
    let prefer = "resolution=ignore-duplicates, return=representation";
    let ignored = world.rest(Method::POST, key, prefer, Some(target)).await;
    assert_eq!(ignored.json::<Value>().await.unwrap(), json!([]));
}

#[tokio::test]
async fn f_an_import_with_a_number_twice_fails_whole() {
    let world = InBox::healthy().await;
    let saved = world.admin("/api/campaigns", json!({ "type": "promo", "name": "Trial" })).await;
    let id = saved.json::<Value>().await.unwrap()["data"]["id"].clone();
    let import = |csv: &'static str| {
        world.admin("/api/campaigns/import-targets", json!({ "campaignId": id, "csv": csv }))
    };
    let twice = import("msisdn\n+250788000001\n+250788000001\n").await;
    assert_eq!(twice.status(), 500);
    assert_eq!(twice.json::<Value>().await.unwrap()["error"], "campaign_import_failed");
    assert_eq!(import("msisdn\n+250788000001\n").await.status(), 200);
    assert_eq!(import("msisdn\n+250788000001\n").await.status(), 500);
}

#[tokio::test]
async fn f_a_worlds_own_targets_keep_the_unique_key() {
    let spec = allclear_sandbox::WorldSpec {
        targets_per_campaign: 10_000,
        ..spec(Scenario::Healthy, FaultSet::none())
    };
    let world = InBox::of(spec).await;
    assert_eq!(world.sandbox.with_world(|world| world.targets_of_one_number()), 0);
}

#[tokio::test]
async fn times_and_refusals_are_written_as_by_postgres_and_postgrest_and_a_delete_tells_how_many() {
    let world = InBox::healthy().await;
    let row = json!({ "id": NEW, "action": "a", "created_at": "2026-11-29T10:00:00.120+02:00" });
    world.rest(Method::POST, "audit_log", "", Some(row)).await;
    let path = format!("audit_log?id=eq.{NEW}&select=created_at");
    assert_eq!(world.rows(&path).await, [json!({ "created_at": "2026-11-29T08:00:00.12+00:00" })]);
    let refused = world.rest(Method::GET, "no_such_table", "", None).await;
    assert_eq!(refused.headers()["content-type"], "application/json; charset=utf-8");
    for many in ["*/1", "*/0"] {
        let gone = world.rest(Method::DELETE, &format!("audit_log?id=eq.{NEW}"), "count=exact", None).await;
        assert_eq!((gone.status().as_u16(), range(&gone)), (204, many));
    }
}
