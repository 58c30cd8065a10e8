use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use allclear_core::ports::{AuditLog, AuditRow, Campaigns, SendLog as _, SendQueue as _, Targets as _};
use allclear_core::{CampaignId, Class, PortError, QueueRows, Service};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Supabase;
use super::wire::ErrorText;
use crate::admin_api::AdminApi;
use crate::fake::{self, Asked};

const LOGIN: &str = r#"{"actorId":"us"}"#;
const COOKIE: &str = "set-cookie: admin_session=s3cr3t-cookie; Path=/\r\n";

/// Supabase at `base`, and an admin API at `admin`.
fn supabase(base: &str, admin: &str) -> Supabase {
    let admin = AdminApi::new(fake::http(Service::AdminApi, admin), "admin-token".into());
    Supabase::new(fake::http(Service::Supabase, base), Arc::new(admin))
}

/// Rows as PostgREST gives them: above the key, in its order, and no more than `most`.
fn page(asked: &Asked, rows: &[Value], most: usize) -> String {
    let after = asked.query("id").map(|filter| filter.trim_start_matches("gt.").to_owned());
    let key = |row: &Value| row["id"].as_str().map_or_else(|| row["id"].to_string(), str::to_owned);
    let above = |row: &&Value| match (&after, row["id"].as_i64()) {
        (None, _) => true,
        (Some(after), Some(id)) => id > after.parse().unwrap(),
        (Some(after), None) => key(row) > *after,
    };
    let mut rows: Vec<&Value> = rows.iter().filter(above).collect();
    rows.sort_by_key(|row| (row["id"].as_i64(), key(row)));
    rows.truncate(most.min(asked.query("limit").unwrap().parse().unwrap()));
    fake::json(200, "", &json!(rows).to_string())
}

fn id(number: usize) -> Uuid {
    Uuid::from_u128(number as u128)
}

fn since() -> Timestamp {
    "2026-11-23T00:00:00Z".parse().unwrap()
}

/// Nobody listens there.
const DOWN: &str = "http://127.0.0.1:1";

#[tokio::test]
async fn all_running_campaigns_are_read_however_many_there_are() {
    let rows: Vec<Value> = (0..2_345)
        .map(|n| json!({ "id": id(n), "name": "c", "status": "running", "started_at": null, "finished_at": null }))
        .collect();
    let base = fake::serve(move |asked| page(&asked, &rows, 1_000)).await;
    let found = supabase(&base, DOWN).running().await.unwrap();
    assert_eq!(found.len(), 2_345);
    assert!(found.windows(2).all(|pair| pair[0].id < pair[1].id));
}

#[tokio::test]
async fn all_changes_are_read_and_stand_in_the_order_of_time() {
    let at = |n: usize| since() + std::time::Duration::from_secs(10_000 - n as u64);
    let rows: Vec<Value> = (0..1_500)
        .map(|n| {
            let actor = if n % 2 == 0 { "us" } else { "somebody" };
            json!({ "id": id(n), "actor_id": actor, "action": "campaign_pause", "target_table": "campaigns",
                "target_id": id(7), "created_at": at(n) })
        })
        .collect();
    let base = fake::serve(move |asked| page(&asked, &rows, 400)).await;
    let admin = fake::serve(|_| fake::json(200, COOKIE, LOGIN)).await;
    let changes = supabase(&base, &admin).changes_since(CampaignId(id(7)), since()).await.unwrap();
    assert_eq!(changes.len(), 1_500);
    assert!(changes.windows(2).all(|pair| pair[0].at <= pair[1].at));
    assert_eq!(changes.iter().filter(|change| change.ours).count(), 750);
}

#[tokio::test]
async fn all_messages_to_a_number_are_read_newest_last() {
    let at = |n: i64| since() + std::time::Duration::from_secs((n * 7_919 % 5_000) as u64);
    let rows: Vec<Value> = (1..=1_200)
        .map(|n| json!({ "id": n, "provider_msg_id": format!("wamid.{n}"), "sent_at": at(n) }))
        .collect();
    let base = fake::serve(move |asked| page(&asked, &rows, 1_000)).await;
    let number = "+250788123012".parse().unwrap();
    let sent = supabase(&base, DOWN).to_number(&number, since()).await.unwrap();
    assert_eq!(sent.len(), 1_200);
    assert!(sent.windows(2).all(|pair| pair[0].sent_at <= pair[1].sent_at));
}

#[tokio::test]
async fn a_server_that_gives_the_same_page_again_is_not_read_for_ever() {
    let row =
        json!([{ "id": id(1), "name": "c", "status": "running", "started_at": null, "finished_at": null }]);
    let base = fake::serve(move |_| fake::json(200, "", &row.to_string())).await;
    let error = supabase(&base, DOWN).running().await.unwrap_err();
    assert!(matches!(error, PortError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn an_answer_that_was_cut_on_the_way_is_asked_for_again_and_another_shape_is_not() {
    for (body, passes) in
        [("[{\"id\": 1, \"na", true), ("", true), ("<html>", true), ("{\"rows\": []}", false), ("[1]", false)]
    {
        let base = fake::serve(move |_| fake::json(200, "", body)).await;
        let error = supabase(&base, DOWN).running().await.unwrap_err();
        let class = if passes { Class::RetryAfter(None) } else { Class::Permanent };
        assert_eq!(error.class(), class, "{body}: {error}");
    }
}

#[tokio::test]
async fn one_number_that_cannot_be_read_does_not_break_the_page() {
    let row = |n: usize, msisdn: Value| {
        json!({ "id": id(n), "campaign_id": id(7), "msisdn": msisdn, "status": "failed",
            "error_code": "131026", "last_update_at": null })
    };
    let rows = json!([row(1, json!("+250788123012")), row(2, json!("0788 123 013")), row(3, Value::Null)]);
    let base = fake::serve(move |_| fake::json(200, "", &rows.to_string())).await;
    let page = supabase(&base, DOWN)
        .failed(CampaignId(id(7)), allclear_core::target::TargetRange::default(), 1_000)
        .await
        .unwrap();
    let named: Vec<String> = page.iter().map(|target| target.recipient.to_string()).collect();
    assert_eq!(
        named,
        [
            "+250 78* *** 012",
            "no phone number (12 characters, 10 of them digits)",
            "no phone number (0 characters, 0 of them digits)"
        ]
    );
    assert!(!format!("{page:?}").contains("788"), "{page:?}");
}

#[tokio::test]
async fn a_table_that_is_not_there_is_a_wrong_environment_and_not_a_missing_row() {
    for code in ["PGRST205", "PGRST202", "42P01", "42883"] {
        let body =
            json!({ "code": code, "message": "Could not find the table 'public.send_queue'" }).to_string();
        let base = fake::serve(move |_| fake::json(404, "", &body)).await;
        let supabase = supabase(&base, DOWN);
        let (campaign, rows) = (CampaignId(id(7)), QueueRows::of([(1, true)]));
        for error in [
            supabase.skip(campaign, &rows).await.map(drop),
            Campaigns::find(&supabase, campaign).await.map(drop),
        ] {
            let error = error.unwrap_err();
            assert!(
                matches!(&error, PortError::Rejected { code: Some(said), .. } if said == code),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn an_audit_row_does_not_need_the_admin_api() {
    let row = AuditRow {
        id: id(1),
        action: "incident_resolution".to_owned(),
        target_table: "campaigns".to_owned(),
        target_id: "x".to_owned(),
        diff: json!({}),
    };
    let (inserts, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(std::sync::Mutex::new(Vec::new())));
    let (count, keep) = (Arc::clone(&inserts), Arc::clone(&seen));
    let base = fake::serve(move |asked| {
        count.fetch_add(1, Ordering::SeqCst);
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        keep.lock().unwrap().push(body["actor_id"].clone());
        fake::json(201, "", "")
    })
    .await;
    let page =
        fake::serve(|_| "HTTP/1.1 502 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned()).await;
    let well = fake::serve(|_| fake::json(200, COOKIE, LOGIN)).await;
    for admin in [DOWN, &page, &well] {
        supabase(&base, admin).insert(&row).await.unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), [Value::Null, Value::Null, json!("us")]);

    let refused = fake::serve(|_| fake::json(401, "", "{}")).await;
    let error = supabase(&base, &refused).insert(&row).await.unwrap_err();
    assert!(matches!(error.class(), Class::Stop(_)), "{error}");
    assert_eq!(inserts.load(Ordering::SeqCst), 3);
}

#[test]
fn error_texts_of_all_shapes_have_a_code() {
    let cases = [
        (r#"{"code":"130429","message":"x","retry_after":300}"#, "130429", Some(300)),
        (r#"{"code":131026}"#, "131026", None),
        (r#"{"error":{"message":"at 17:04:10 (10 s)","type":"OAuthException","code":190}}"#, "190", None),
        (r#"{"error":{"message":"wait","code":130429,"retry_after":60}}"#, "130429", Some(60)),
        (r#"{"error":"quiet_hours"}"#, "quiet_hours", None),
        (
            r#"WhatsApp send failed (400): {"error":{"message":"Undeliverable","code":131026}}"#,
            "131026",
            None,
        ),
        ("WhatsApp send failed (503): null", "http_503", None),
        ("WhatsApp send failed (400): null", "http_400", None),
        ("The operation was aborted due to timeout", "timeout", None),
        ("Request timed out after 30000 ms", "timeout", None),
        ("WhatsApp error (#131048) Spam", "131048", None),
        ("it broke", "unknown", None),
        ("", "unknown", None),
    ];
    for (text, code, retry_after) in cases {
        assert_eq!(ErrorText::parse(text), ErrorText { code: code.to_owned(), retry_after }, "{text}");
    }
}

/// The real dispatcher keeps Graph's body as it came, in a column that may cut it.
#[test]
fn c3_a_code_is_read_from_the_bodys_own_field() {
    let message = "Error validating access token: Session has expired on Sunday, 22-Nov-26 17:04:10 PST";
    let body = json!({ "error": { "message": message, "type": "OAuthException", "code": 190,
        "error_subcode": 463, "fbtrace_id": "A131026x" } });
    let data = json!({ "error": { "message": "(#131026) 4 of 10", "code": 131_026,
        "error_data": { "messaging_product": "whatsapp", "details": "code 190, 17:04:10" } } });
    let body_text = body.to_string();
    let cut = |of: &str, after: &str| {
        let end = of.find(after).unwrap() + after.len();
        of[..end].to_owned()
    };
    let ordered =
        format!(r#"{{"error":{{"message":"{message}","code":190,"error_subcode":463,"fbtrace_id":"A"}}}}"#);
    for (text, code) in [
        (body_text.clone(), "190"),
        (data.to_string(), "131026"),
        (json!(body_text).to_string(), "190"),
        (json!({ "error": body_text }).to_string(), "190"),
        (
            json!({ "error": "send_failed_for_a_reason_that_is_too_long_for_a_code", "details": body_text })
                .to_string(),
            "190",
        ),
        (json!({ "message": data.to_string() }).to_string(), "131026"),
        (json!({ "error": { "message": body_text } }).to_string(), "190"),
        (json!({ "errors": [{ "code": 131_053, "title": "Media upload error" }] }).to_string(), "131053"),
        (json!({ "error": { "message": "(#130429) 17:04:10" } }).to_string(), "130429"),
        (cut(&ordered, r#""code":190,"#), "190"),
        (cut(&ordered, r#""error_subcode":463"#), "190"),
        (cut(&ordered, r#""fbtrace"#), "190"),
        (format!("WhatsApp send failed (401): {}", cut(&ordered, r#""code":190,"err"#)), "190"),
        // The cut goes through the code, so what stands there may be the beginning of another.
        (cut(&ordered, r#""code":190"#), "unknown"),
        (cut(&ordered, "17:04:10"), "unknown"),
        (format!("WhatsApp send failed (400): {}", cut(&ordered, "17:04:10")), "http_400"),
        (r#"{"error":{"message":"timeout of 190 after 17:04:10","code":null}}"#.to_owned(), "unknown"),
        (r#"{"error":{"message":"see (#190)"}}"#.to_owned(), "unknown"),
        ("see ticket (#190) of 17:04:10".to_owned(), "unknown"),
        (r#"HTTP 400 at 17:04:10: {"error":{"code":190}}"#.to_owned(), "190"),
        ("131026".to_owned(), "131026"),
        ("http_503".to_owned(), "http_503"),
        ("quiet_hours".to_owned(), "quiet_hours"),
        (" 131026 ".to_owned(), "131026"),
    ] {
        assert_eq!(ErrorText::parse(&text).code, code, "{text}");
    }
}

#[test]
fn c3_any_cut_of_a_body_gives_its_code_or_none() {
    let body = json!({ "error": { "code": 131_026, "message": "4 \"quoted\" at 17:04:10, {190}: é",
        "error_data": { "details": "[10, 200]" }, "type": "OAuthException" } });
    let text = body.to_string();
    for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
        let code = ErrorText::parse(&text[..end]).code;
        assert!(["131026", "unknown"].contains(&code.as_str()), "{code}: {}", &text[..end]);
    }
}

#[test]
fn c4_the_senders_own_texts_say_what_may_be_retried() {
    use allclear_core::send_fault::SendFault;
    for (text, code, again) in [
        ("WhatsApp send failed (503): null", "http_503", true),
        ("WhatsApp send failed (500): null", "http_500", true),
        ("WhatsApp send failed (408): null", "http_408", true),
        ("WhatsApp send failed (425): null", "http_425", true),
        ("WhatsApp send failed (429): null", "http_429", true),
        (r#"WhatsApp send failed (503): {"message":"17:04:10"}"#, "http_503", true),
        (r#"WhatsApp send failed (400): {"error":{"message":"(#130429)","code":130429}}"#, "130429", true),
        (r#"WhatsApp send failed (400): {"error":{"message":"x","code":131026}}"#, "131026", false),
        (r#"WhatsApp send failed (500): {"error":{"message":"x","code":131048}}"#, "131048", false),
        ("WhatsApp send failed (400): null", "http_400", false),
        ("WhatsApp send failed (404): null", "http_404", false),
        ("WhatsApp send failed (401): null", "http_401", false),
        ("WhatsApp send failed (0): null", "unknown", false),
        ("Signal timed out.", "timeout", true),
        ("The signal has been aborted", "timeout", true),
        ("TypeError: fetch failed", "network_error", true),
        (
            "error sending request for url (https://graph.facebook.com/v20.0/1/messages): connection closed before message completed",
            "network_error",
            true,
        ),
        ("read ECONNRESET", "network_error", true),
        ("missing recipient", "unknown", false),
    ] {
        assert_eq!(ErrorText::parse(text).code, code, "{text}");
        assert_eq!(SendFault::from_text(code).may_be_retried(), again, "{text}");
    }
}

#[test]
fn a_tally_never_has_a_phone_number_or_a_stray_number_for_a_code() {
    for text in [
        "Message to 250788123012 failed",
        "250788123012",
        r#"{"code":"250788123012"}"#,
        r#"{"code":"to +250788123012"}"#,
        "socket closed after 200 ms",
        "retry in 10 s",
        "retry: 10 s",
        "10 messages left",
        "Error validating access token: Session has expired on Sunday, 22-Nov-26 17:04:10 PST",
        "Error code 190: expired",
        "error code 190 expired",
        "131026: Message undeliverable",
        r#"{"error":{"message":"at 17:04:10"}}"#,
        r#"{"error":{"code":"250788123012"}}"#,
        "",
    ] {
        assert_eq!(ErrorText::parse(text).code, "unknown", "{text}");
    }
    for (text, code) in [
        ("(#130429) Rate limit hit", "130429"),
        ("190", "190"),
        ("http_503: upstream", "http_503"),
        ("throttled", "throttled"),
    ] {
        assert_eq!(ErrorText::parse(text).code, code, "{text}");
    }
}

#[tokio::test]
async fn a_change_that_does_not_say_it_was_held_to_one_row_is_not_believed() {
    let cases = [
        ("preference-applied: return=minimal, count=exact, handling=strict, max-affected=1\r\n", true),
        ("preference-applied: handling=strict,max-affected=1\r\n", true),
        ("preference-applied: return=minimal, count=exact\r\n", false),
        ("preference-applied: handling=strict\r\n", false),
        ("preference-applied: handling=strict, max-affected=10\r\n", false),
        ("", false),
    ];
    for (header, believed) in cases {
        let base = fake::serve(move |asked| {
            assert!(asked.head.contains("handling=strict, max-affected=1"), "{}", asked.head);
            fake::json(200, &format!("content-range: */1\r\n{header}"), "[]")
        })
        .await;
        let answer = supabase(&base, DOWN).change_one("/rest/v1/vouchers", &[], json!({})).await;
        match answer {
            Ok(changed) => assert!(believed && changed == 1, "{header}"),
            Err(error) => assert!(!believed && error.class() == Class::OutcomeUnknown, "{header}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_table_that_is_not_known_yet_is_asked_for_once_more_and_only_where_that_is_harmless() {
    for code in ["PGRST202", "PGRST205"] {
        for known_after in [1, 9] {
            let asked = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&asked);
            let base = fake::serve(move |_| {
                let n = count.fetch_add(1, Ordering::SeqCst);
                match n {
                    n if n < known_after => fake::json(404, "", &json!({ "code": code }).to_string()),
                    _ => fake::json(200, "content-range: */0\r\n", "[]"),
                }
            })
            .await;
            let supabase = supabase(&base, DOWN);
            let began = supabase.http.now();
            let read = AuditLog::find(&supabase, id(1)).await;
            assert_eq!(read.is_ok(), known_after == 1, "{code} {read:?}");
            assert_eq!(asked.load(Ordering::SeqCst), 2, "{code}: asked once more, and once only");
            assert_eq!(supabase.http.now().duration_since(began), jiff::SignedDuration::from_secs(1));
            asked.store(0, Ordering::SeqCst);
            let counted = supabase.pending(CampaignId(id(1))).await;
            assert_eq!(
                (counted.is_ok(), asked.load(Ordering::SeqCst)),
                (known_after == 1, 2),
                "{code} {counted:?}"
            );
            asked.store(0, Ordering::SeqCst);
            let inserted = supabase.insert_once("voucher_events", json!({ "id": id(1) })).await;
            assert_eq!((inserted.is_ok(), asked.load(Ordering::SeqCst)), (known_after == 1, 2), "{code}");
            asked.store(0, Ordering::SeqCst);
            let changed = supabase.change("/rest/v1/vouchers", &[], json!({})).await;
            assert_eq!(changed.unwrap_err().class(), Class::Permanent);
            assert_eq!(asked.load(Ordering::SeqCst), 1, "{code}: a change is not made again");
        }
    }
}
