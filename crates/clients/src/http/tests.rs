//! One read and one write against a server that misbehaves in every way.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::{Class, PortError, Service, VirtualClock};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};

use super::redactor::DETAIL;
use super::*;

fn clock() -> Arc<VirtualClock> {
    Arc::new(VirtualClock::at("2026-11-23T09:00:00Z".parse().unwrap()))
}

fn http(base: &str) -> Http {
    let rules = Rules { timeout: Duration::from_millis(300), max_body: 10_000, pace: Duration::ZERO };
    Http::new(client(rules.timeout, Trust::Nobody).unwrap(), Service::AdminApi, base, rules, clock())
}

/// Answers one request with these bytes and closes.
async fn server(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            if answer.is_empty() {
                // Keeps the connection and says nothing.
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            let _ = socket.write_all(&answer).await;
        }
    });
    base
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        .into_bytes()
}

const JSON: &str = "content-type: application/json\r\n";

async fn read(base: &str) -> Result<Value, PortError> {
    http(base).send(Call::read("/x")).await?.expect()
}

async fn write(base: &str) -> Result<Value, PortError> {
    http(base).send(Call::write(Method::POST, "/x", json!({}))).await?.expect()
}

#[tokio::test]
async fn a_read_may_be_made_again_and_a_write_may_have_happened() {
    let cut = format!("HTTP/1.1 200 OK\r\n{JSON}content-length: 100\r\n\r\n{{\"a\"").into_bytes();
    let cases: Vec<(&str, Vec<u8>, Class, Class)> = vec![
        ("no answer in time", Vec::new(), Class::RetryAfter(None), Class::OutcomeUnknown),
        ("reset in the body", cut, Class::RetryAfter(None), Class::OutcomeUnknown),
        ("5xx", answer("503 Busy", JSON, "{}"), Class::RetryAfter(None), Class::OutcomeUnknown),
        ("408", answer("408 Timeout", JSON, "{}"), Class::RetryAfter(None), Class::OutcomeUnknown),
        ("truncated JSON", answer("200 OK", JSON, "{\"a\":"), Class::RetryAfter(None), Class::OutcomeUnknown),
        (
            "a page",
            answer("200 OK", "content-type: text/html\r\n", "<html>"),
            Class::RetryAfter(None),
            Class::OutcomeUnknown,
        ),
        ("nothing", answer("200 OK", JSON, ""), Class::RetryAfter(None), Class::OutcomeUnknown),
        (
            "a body without end",
            answer("200 OK", JSON, &"x".repeat(20_000)),
            Class::Permanent,
            Class::OutcomeUnknown,
        ),
        (
            "404 page",
            answer("404 No", "content-type: text/html\r\n", "<html>"),
            Class::Permanent,
            Class::Permanent,
        ),
        ("404", answer("404 No", JSON, "{}"), Class::Permanent, Class::Permanent),
        ("409", answer("409 Conflict", JSON, "{}"), Class::Permanent, Class::Permanent),
        (
            "redirect",
            answer("307 Go", "location: http://169.254.169.254/a\r\n", ""),
            Class::Permanent,
            Class::Permanent,
        ),
    ];
    for (name, bytes, on_read, on_write) in cases {
        let base = server(bytes).await;
        assert_eq!(read(&base).await.unwrap_err().class(), on_read, "read: {name}");
        assert_eq!(write(&base).await.unwrap_err().class(), on_write, "write: {name}");
    }
}

#[tokio::test]
async fn a_refused_connection_proves_that_nothing_was_sent() {
    // Bound and never listening: nobody else can have the port while this is tried.
    let port = TcpSocket::new_v4().unwrap();
    port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let base = format!("http://{}", port.local_addr().unwrap());
    assert!(read(&base).await.unwrap_err().is_unavailable());
    assert!(write(&base).await.unwrap_err().is_unavailable());
}

#[tokio::test]
async fn a_connection_that_is_not_made_in_time_proves_that_nothing_was_sent() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    // Connections that nobody accepts, until there is room for no more: the next one hears nothing at all.
    let mut waiting = Vec::new();
    while let Ok(one) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(one);
        assert!(waiting.len() < 16, "this system takes connections without end");
    }
    let base = format!("http://{address}");
    assert!(read(&base).await.unwrap_err().is_unavailable());
    assert!(write(&base).await.unwrap_err().is_unavailable());
}

#[tokio::test]
async fn credentials_and_permissions_stop_everything() {
    for status in ["401 No", "403 No"] {
        let base = server(answer(status, JSON, "{\"message\":\"no\"}")).await;
        assert!(matches!(write(&base).await.unwrap_err().class(), Class::Stop(_)), "{status}");
    }
}

#[tokio::test]
async fn retry_after_is_read_as_seconds_or_date_and_nonsense_is_none() {
    let cases = [
        ("retry-after: 90\r\n", Some(90)),
        ("retry-after: Mon, 23 Nov 2026 09:01:00 GMT\r\n", Some(60)),
        ("retry-after: 1000000000\r\n", Some(3_600)),
        ("retry-after: -5\r\n", None),
        ("retry-after: soon\r\n", None),
        ("", None),
        ("ratelimit-reset: 7\r\n", Some(7)),
    ];
    for (header, wait) in cases {
        let base = server(answer("429 Slow", &format!("{JSON}{header}"), "{}")).await;
        let expected = Class::RetryAfter(wait.map(Duration::from_secs));
        assert_eq!(write(&base).await.unwrap_err().class(), expected, "{header:?}");
    }
}

#[tokio::test]
async fn nobody_comes_back_before_the_wait_that_was_asked_for_is_over() {
    let base = server(answer("429 Slow", &format!("{JSON}retry-after: 90\r\n"), "{}")).await;
    let clock = clock();
    let rules = Rules { timeout: Duration::from_secs(30), max_body: 10_000, pace: Duration::ZERO };
    let http =
        Http::new(client(rules.timeout, Trust::Nobody).unwrap(), Service::Slack, &base, rules, clock.clone());
    let asked = async |path: &str| {
        let call = Call::write(Method::POST, path, json!({}));
        match http.send(call).await.and_then(|reply| reply.expect::<Value>()).unwrap_err() {
            PortError::RateLimited { wait_seconds, detail, .. } => {
                (wait_seconds, detail.contains("was not called"))
            }
            other => panic!("{other}"),
        }
    };
    assert_eq!(asked("/post").await, (Some(90), false));
    clock.advance(Duration::from_millis(30_500));
    assert_eq!(asked("/post").await, (Some(60), true), "59.5 s are left");
    assert_eq!(asked("/other").await, (Some(90), false), "another call has limits of its own");
    clock.advance(Duration::from_millis(59_500));
    assert_eq!(asked("/post").await, (Some(90), false));
}

#[tokio::test]
async fn a_wait_until_a_date_is_not_cut_to_whole_seconds() {
    let date = "Mon, 23 Nov 2026 09:01:00 GMT";
    let base = server(answer("429 Slow", &format!("{JSON}retry-after: {date}\r\n"), "{}")).await;
    let clock = clock();
    clock.advance(Duration::from_millis(500));
    let rules = Rules { timeout: Duration::from_secs(30), max_body: 10_000, pace: Duration::ZERO };
    let http = Http::new(client(rules.timeout, Trust::Nobody).unwrap(), Service::Slack, &base, rules, clock);
    let reply = http.send(Call::read("/x")).await.unwrap();
    let class = reply.expect::<Value>().unwrap_err().class();
    assert_eq!(class, Class::RetryAfter(Some(Duration::from_mins(1))), "59.5 s, and not 59");
}

#[tokio::test]
async fn errors_show_no_numbers_no_control_characters_and_no_query() {
    let body = r#"{"message":"to +250788123012 \u001b[31mfailed"}"#;
    let base = server(answer("400 Bad", JSON, body)).await;
    let call = Call::read("/x").query("msisdn", "+250788123012");
    let error = http(&base).send(call).await.unwrap().expect_success().unwrap_err().to_string();
    assert!(!error.contains("788123012") && !error.contains('\u{1b}'), "{error}");
    assert!(error.contains("+250 78* *** 012"), "{error}");
}

#[test]
fn a_number_that_lies_across_the_cut_is_masked() {
    for before in DETAIL - 13..DETAIL {
        let shown = Redactor::default().clean(&format!("{} 250788123012", "x".repeat(before)));
        assert!(!shown.contains("2507"), "{shown}");
    }
}

#[tokio::test]
async fn a_secret_that_the_service_repeats_is_in_no_error() {
    let secret = "sk-Q7/w+9?ZxK2long";
    let percent = "sk-Q7%2Fw%2B9%3FZxK2long";
    let base64 = "c2stUTcvdys5P1p4SzJsb25n";
    for status in ["200 OK", "302 Go", "400 Bad", "401 No", "409 Conflict", "429 Slow", "500 Broken"] {
        for echo in [secret, percent, base64, &format!("Basic dXNlcjpz{}", "ay1RNy93Kzk/WnhLMmxvbmc=")] {
            for body in
                [json!({ "message": echo }), json!({ "code": echo }), json!({ "error": { "code": echo } })]
            {
                let location = format!("{JSON}location: https://{}.example/\r\n", "sk-q7");
                let base = server(answer(status, &location, &body.to_string())).await;
                let http = http(&base).bearer(&secret.into());
                let reply = http.send(Call::write(Method::POST, "/x", json!({}))).await.unwrap();
                let error = format!("{:?}", reply.expect::<Vec<u8>>().unwrap_err());
                for part in [secret, percent, "ZxK2", base64, "WnhLMmxv", "Kzk/Wnh"] {
                    assert!(!error.contains(part), "{status} {echo}: {error}");
                }
            }
        }
    }
}
