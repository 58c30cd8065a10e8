use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use allclear_core::error::{StopReason, WaitSource};
use allclear_core::incident::IncidentStatus;
use allclear_core::ports::{Acknowledgements as _, OpenIncidents as _, Paging as _};
use allclear_core::{Class, Clock, PortError, VirtualClock};

use super::wire::Incidents;
use super::{PagerDuty, Region};
use crate::fake::{self, Asked};
use crate::http::Redactor;

/// A client whose both APIs are at one place.
fn client(base: &str) -> PagerDuty {
    let mut settings = crate::sandbox::settings(base, "unused".into()).unwrap();
    settings.endpoints.pagerduty = Region::Custom { events: base.to_owned(), rest: base.to_owned() };
    settings.timeout = Duration::from_secs(20);
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::at("2026-11-23T09:00:00Z".parse().unwrap()));
    let routing_key = settings.credentials.pagerduty_routing_key.clone();
    PagerDuty::connect(&settings, &routing_key, &clock).unwrap()
}

/// A service with one answer.
async fn answering(status: u16, headers: &str, body: &str) -> PagerDuty {
    let answer = fake::json(status, headers, body);
    client(&fake::serve(move |_| answer.clone()).await)
}

fn code(code: u32) -> String {
    format!(r#"{{"error":{{"message":"words","code":{code},"errors":["more words"]}}}}"#)
}

#[test]
fn an_unknown_status_is_kept_and_a_title_is_made_safe() {
    let text = r#"{"incidents":[{"id":"P1","incident_key":"k","title":"a\u001b[31mb","status":"snoozed","created_at":"2026-11-23T09:00:00Z"}]}"#;
    let found: Incidents = serde_json::from_str(text).unwrap();
    let incident =
        found.incidents.into_iter().next().unwrap().into_incident(|text| Redactor::default().clean(text));
    assert_eq!(incident.status, IncidentStatus::Other("snoozed".into()));
    assert!(!incident.title.contains('\u{1b}'));
}

/// Each code to a read and to a write; the status is one that by itself would mean something else where that is possible.
#[tokio::test]
async fn every_error_code_has_its_meaning() {
    use Class::{AlreadyDone, OutcomeUnknown, Permanent, RetryAfter, Stop};
    let cases = [
        (1001, 400, AlreadyDone, AlreadyDone, "resolved already"),
        (1002, 400, AlreadyDone, AlreadyDone, "acknowledged already"),
        (1005, 400, Permanent, Permanent, "read it again"),
        (1008, 400, Permanent, Permanent, "pagerduty_from"),
        (1015, 400, Permanent, Permanent, "nobody is on call"),
        (1018, 400, Stop(StopReason::Permission), Stop(StopReason::Permission), "may not"),
        (2001, 400, Permanent, Permanent, "invalid"),
        (2002, 400, Permanent, Permanent, "argument"),
        (2003, 400, Permanent, Permanent, "argument"),
        (2006, 400, Stop(StopReason::Credential), Stop(StopReason::Credential), "other region"),
        (2010, 400, Stop(StopReason::Permission), Stop(StopReason::Permission), "may not"),
        (2013, 400, Permanent, Permanent, "pagerduty_from"),
        (2014, 402, Permanent, Permanent, "plan"),
        (2016, 408, RetryAfter(None), OutcomeUnknown, "gave up"),
        (2018, 400, Stop(StopReason::Permission), Stop(StopReason::Permission), "only read"),
        (2020, 400, RetryAfter(None), RetryAfter(None), "too many"),
        // The vendor's description has this code as its example for every status.
        (2100, 401, Stop(StopReason::Credential), Stop(StopReason::Credential), "other region"),
        (2100, 403, Stop(StopReason::Permission), Stop(StopReason::Permission), "403"),
        (2100, 429, RetryAfter(None), RetryAfter(None), "429"),
        (2100, 400, Permanent, Permanent, "PagerDuty has no"),
        (5001, 400, Permanent, Permanent, "PagerDuty has no"),
        // Whatever code stands in a failure of the server, a write may have happened.
        (1001, 500, RetryAfter(None), OutcomeUnknown, "500"),
        (9999, 400, Permanent, Permanent, "9999"),
        (9999, 403, Stop(StopReason::Permission), Stop(StopReason::Permission), "403"),
    ];
    for (number, status, read, write, says) in cases {
        let pagerduty = answering(status, "", &code(number)).await;
        let of_read = pagerduty.find("k").await.unwrap_err();
        assert_eq!(of_read.class(), read, "{number}: {of_read}");
        assert!(of_read.to_string().contains(says), "{number}: {of_read}");
        let of_write = pagerduty.status_update("PINC1", "words").await.unwrap_err();
        assert_eq!(of_write.class(), write, "{number}: {of_write}");
    }
}

#[tokio::test]
async fn a_limit_is_one_with_a_reset_with_retry_after_and_with_nothing_at_all() {
    let nothing = "HTTP/1.1 429 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned();
    let cases = [
        (fake::json(429, "ratelimit-reset: 12\r\n", &code(2020)), Some(12), WaitSource::LimitHeader),
        (
            fake::json(429, "ratelimit-reset: 12\r\nretry-after: 7\r\n", &code(2020)),
            Some(7),
            WaitSource::RetryAfterHeader,
        ),
        (nothing, None, WaitSource::Ours),
    ];
    for (answer, seconds, source) in cases {
        let shown = answer.clone();
        let pagerduty = client(&fake::serve(move |_| answer.clone()).await);
        let error = pagerduty.find("k").await.unwrap_err();
        let PortError::RateLimited { wait_seconds, source_of_wait, .. } = error else { panic!("{shown}") };
        assert_eq!((wait_seconds, source_of_wait), (seconds, source), "{shown}");
    }
}

#[tokio::test]
async fn an_unknown_key_asks_about_the_region() {
    let by_status = answering(401, "", "{}").await.find("k").await.unwrap_err();
    assert!(by_status.to_string().contains("other region"), "{by_status}");
    let body = r#"{"status":"invalid event","message":"Event object is invalid","errors":["'routing_key' is invalid"]}"#;
    let event = answering(400, "", body).await.resolve("k").await.unwrap_err();
    assert_eq!(event.class(), Class::Permanent);
    assert!(event.to_string().contains("routing_key") && event.to_string().contains("region"), "{event}");

    assert_eq!("eu".parse::<Region>().unwrap().rest(), "https://api.eu.pagerduty.com");
    assert_eq!("us".parse::<Region>().unwrap().events(), "https://events.pagerduty.com");
    assert!("EU".parse::<Region>().unwrap_err().to_string().contains("pagerduty_region"));
    assert!(Region::Us.hint().contains("EU") && Region::Eu.hint().contains("US"));
}

fn entry(kind: &str, agent: &str, user: &str, at: &str) -> String {
    format!(
        r#"{{"id":"L","type":"{kind}","created_at":"{at}","agent":{{"id":"{user}","type":"{agent}"}},"channel":{{"type":"api"}}}}"#
    )
}

#[tokio::test]
async fn people_count_once_by_their_first_acknowledgement_and_services_never() {
    let ack = "acknowledge_log_entry";
    let first = [
        entry(ack, "user_reference", "PB", "2026-11-23T09:04:00Z"),
        entry(ack, "service_reference", "PSVC", "2026-11-23T09:01:00Z"),
        entry(ack, "integration_reference", "PINT", "2026-11-23T09:01:00Z"),
        entry("unacknowledge_log_entry", "user_reference", "PC", "2026-11-23T09:01:00Z"),
        r#"{"type":"acknowledge_log_entry","created_at":"2026-11-23T09:01:00Z","agent":null}"#.to_owned(),
        r#"{"type":"something_new","created_at":"nonsense"}"#.to_owned(),
    ];
    let second = [
        entry("acknowledgement_log_entry", "user_reference", "PA", "2026-11-23T05:02:00-04:00"),
        entry(ack, "user_reference", "PB", "2026-11-23T09:03:00Z"),
    ];
    let page = |entries: &[String], more: bool| {
        fake::json(200, "", &format!(r#"{{"log_entries":[{}],"more":{more}}}"#, entries.join(",")))
    };
    let (first, second) = (page(&first, true), page(&second, false));
    let base = fake::serve(move |asked| {
        assert_eq!(asked.query("limit").as_deref(), Some("100"));
        assert_eq!(asked.query("is_overview").as_deref(), Some("false"));
        if asked.query("offset").as_deref() == Some("0") { first.clone() } else { second.clone() }
    })
    .await;
    let seen = client(&base).of_incident("PINC1").await.unwrap();
    let seen: Vec<String> = seen.iter().map(|ack| format!("{} {}", ack.user, ack.at)).collect();
    assert_eq!(seen, ["PA 2026-11-23T09:02:00Z", "PB 2026-11-23T09:03:00Z"]);
}

#[tokio::test]
async fn open_incidents_are_asked_for_by_status_and_service_on_every_page() {
    let row = |id: &str, status: &str| {
        format!(
            r#"{{"id":"{id}","incident_key":"k","title":"t","status":"{status}","created_at":"2026-11-23T09:00:00Z"}}"#
        )
    };
    let page = |rows: &[String], more: bool| {
        fake::json(200, "", &format!(r#"{{"incidents":[{}],"more":{more}}}"#, rows.join(",")))
    };
    // One is opened while the pages are read, and moves another to the next page.
    let first = page(&[row("P3", "triggered"), row("P2", "acknowledged")], true);
    let second = page(&[row("P2", "acknowledged"), row("P1", "acknowledged")], false);
    let base = fake::serve(move |asked| {
        for part in [
            "statuses%5B%5D=triggered",
            "statuses%5B%5D=acknowledged",
            "service_ids%5B%5D=PA",
            "service_ids%5B%5D=PB",
        ] {
            assert!(asked.line.contains(part), "{}", asked.line);
        }
        assert_eq!(asked.query("date_range").as_deref(), Some("all"));
        if asked.query("offset").as_deref() == Some("0") { first.clone() } else { second.clone() }
    })
    .await;
    let open = client(&base).on_services(&["PA".to_owned(), "PB".to_owned()]).await.unwrap();
    let ids: Vec<&str> = open.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["P3", "P2", "P1"]);
    // Without a service, nothing is asked: the list would be that of all services.
    assert_eq!(answering(500, "", "").await.on_services(&[]).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_list_of_incidents_that_never_ends_is_not_taken_for_whole() {
    let body =
        r#"{"incidents":[{"id":"P1","incident_key":"k","title":"t","status":"triggered"}],"more":true}"#;
    let error = answering(200, "", body).await.on_services(&["PA".to_owned()]).await.unwrap_err();
    assert!(matches!(error, PortError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn an_acknowledgement_that_cannot_be_read_is_not_passed_over() {
    let body =
        r#"{"log_entries":[{"type":"acknowledge_log_entry","agent":{"id":"P","type":"user_reference"}}]}"#;
    let error = answering(200, "", body).await.of_incident("PINC1").await.unwrap_err();
    assert!(matches!(error, PortError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn a_log_that_never_ends_is_not_read_for_ever_and_is_not_taken_for_whole() {
    let body = format!(
        r#"{{"log_entries":[{}],"more":true}}"#,
        entry("notify_log_entry", "user_reference", "P", "2026-11-23T09:00:00Z")
    );
    let error = answering(200, "", &body).await.of_incident("PINC1").await.unwrap_err();
    assert!(error.to_string().contains("10,000"), "{error}");
}

#[tokio::test]
async fn what_is_no_id_never_comes_into_a_path() {
    let pagerduty = answering(200, "", "{}").await;
    for wrong in ["", "../users", "P1/notes", "P1?x=y", "P 1"] {
        let error = pagerduty.of_incident(wrong).await.unwrap_err();
        assert!(matches!(error, PortError::NotFound { .. }), "{wrong}: {error}");
    }
}

/// An account in which `PA` is assigned, `PB` was once, `PC` declined and `PD` was asked by a request.
fn account(asked: &Asked, responding: &str) -> String {
    let line = asked.line.as_str();
    if line.contains("/log_entries") {
        let once = r#"{"type":"assign_log_entry","assignees":[{"id":"PB","type":"user_reference"},{"id":"PX","type":"escalation_policy_reference"}]}"#;
        return fake::json(200, "", &format!(r#"{{"log_entries":[{once}],"more":false}}"#));
    }
    if line.contains("/users") {
        return fake::json(
            200,
            "",
            r#"{"users":[{"id":"PO","email":"other@example.test"},{"id":"PME","email":"OnCall@example.test"}]}"#,
        );
    }
    if line.starts_with("POST") {
        return responding.to_owned();
    }
    let incident = r#"{"incident":{"id":"PINC1","assignments":[{"at":"2026-11-23T09:00:00Z","assignee":{"id":"PA","type":"user_reference"}}],
        "incidents_responders":[{"state":"declined","user":{"id":"PC","type":"user_reference"}}],
        "responder_requests":[{"responder_request_targets":[{"responder_request_target":{"id":"PD","type":"user"}},{"id":"PE","type":"escalation_policy"}]}]}}"#;
    fake::json(200, "", incident)
}

#[tokio::test]
async fn only_who_was_not_asked_is_asked_and_in_the_name_of_a_user() {
    let posted: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&posted);
    let base = fake::serve(move |asked| {
        if asked.line.starts_with("POST") {
            kept.lock().unwrap().push(asked.body.clone());
        }
        account(&asked, &fake::json(200, "", r#"{"responder_request":{}}"#))
    })
    .await;
    let pagerduty = client(&base);
    assert_eq!(pagerduty.called_in("PINC1").await.unwrap(), ["PA", "PB", "PC", "PD"]);

    let users = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    pagerduty.call_in("PINC1", &users(&["PA", "PB", "PC", "PD"]), "join").await.unwrap();
    assert!(posted.lock().unwrap().is_empty(), "everybody was asked already");
    pagerduty.call_in("PINC1", &users(&["PZ", "PA", "PZ"]), "join").await.unwrap();
    let bodies: Vec<serde_json::Value> =
        posted.lock().unwrap().iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    let target = serde_json::json!({ "responder_request_target": { "id": "PZ", "type": "user_reference" } });
    let expected = serde_json::json!(
        { "requester_id": "PME", "message": "join", "responder_request_targets": [target] }
    );
    assert_eq!(bodies, [expected]);
}

#[tokio::test]
async fn a_feature_that_is_not_paid_for_says_what_to_do_instead() {
    for body in ["{}".to_owned(), code(2014)] {
        let base = fake::serve(move |asked| account(&asked, &fake::json(402, "", &body))).await;
        let error = client(&base).call_in("PINC1", &["PZ".to_owned()], "join").await.unwrap_err();
        assert!(matches!(error, PortError::Rejected { .. }), "{error}");
        assert!(error.to_string().contains("reach these people by hand"), "{error}");
    }
}

#[tokio::test]
async fn the_same_note_is_left_once() {
    let posts = Arc::new(Mutex::new(0));
    let kept = Arc::clone(&posts);
    let base = fake::serve(move |asked| {
        if asked.line.starts_with("POST") {
            *kept.lock().unwrap() += 1;
            return fake::json(200, "", r#"{"note":{"content":"new"}}"#);
        }
        fake::json(200, "", r#"{"notes":[{"content":"known"}]}"#)
    })
    .await;
    let pagerduty = client(&base);
    pagerduty.note("PINC1", "known").await.unwrap();
    assert_eq!(*posts.lock().unwrap(), 0);
    pagerduty.note("PINC1", "new").await.unwrap();
    assert_eq!(*posts.lock().unwrap(), 1);
}
