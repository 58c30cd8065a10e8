use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use allclear_core::error::StopReason;
use allclear_core::ports::{Chat as _, ChatMessage, Posted};
use allclear_core::{Class, PortError, Service};

use super::{Slack, escape, is_id};
use crate::fake;

fn message() -> ChatMessage {
    ChatMessage {
        channel: "#ops".to_owned(),
        text: "<!channel> down".to_owned(),
        about: "x".to_owned(),
        marker: "run-1/x".to_owned(),
    }
}

/// A client whose webhook of `#ops` is at `base`.
fn with_webhook(base: &str) -> Slack {
    Slack::new(fake::http(Service::Slack, base)).with_webhook(fake::http(Service::Slack, base), "#ops")
}

fn plain(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: text/html\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

#[test]
fn nobody_is_woken_by_foreign_words() {
    assert_eq!(escape("<!channel> & <@U1>"), "&lt;!channel&gt; &amp; &lt;@U1&gt;");
}

#[test]
fn names_of_channels_are_told_from_ids() {
    for id in ["C0123456789", "G01AB", "D0OPS"] {
        assert!(is_id(id), "{id}");
    }
    for name in ["#ops", "ops", "C0", "#C0123456789", "Cops1", "U0123456789"] {
        assert!(!is_id(name), "{name}");
    }
}

#[tokio::test]
async fn what_a_webhook_says_in_plain_text_has_a_meaning() {
    let key = Class::Stop(StopReason::Credential);
    let may = Class::Stop(StopReason::Permission);
    let cases = [
        (400, "invalid_payload", Class::Permanent),
        (400, "no_text", Class::Permanent),
        (400, "too_many_attachments", Class::Permanent),
        (400, "user_not_found", Class::Permanent),
        (403, "action_prohibited", may),
        (403, "posting_to_general_channel_denied", may),
        (403, "invalid_token", key),
        (403, "team_disabled", key),
        (404, "channel_not_found", Class::Permanent),
        (404, "no_service", key),
        (404, "no_service_id", key),
        (404, "no_active_hooks", key),
        (404, "no_team", key),
        (410, "channel_is_archived", Class::Permanent),
        (500, "rollup_error", Class::OutcomeUnknown),
        (500, "a word that we do not know", Class::OutcomeUnknown),
        (404, "a word that we do not know", Class::Permanent),
        // "ok" and nothing else is acceptance.
        (200, "okay", Class::OutcomeUnknown),
        (200, "", Class::OutcomeUnknown),
    ];
    for (status, word, expected) in cases {
        let answer = plain(status, "", word);
        let slack = with_webhook(&fake::serve(move |_| answer.clone()).await);
        let error = slack.post_by_webhook(&message()).await.unwrap_err();
        assert_eq!(error.class(), expected, "{word}: {error}");
    }
    let limited = plain(429, "retry-after: 30\r\n", "rate_limited");
    let slack = with_webhook(&fake::serve(move |_| limited.clone()).await);
    let error = slack.post_by_webhook(&message()).await.unwrap_err();
    assert!(matches!(error, PortError::RateLimited { wait_seconds: Some(30), .. }), "{error}");
}

#[tokio::test]
async fn a_webhook_posts_to_its_own_channel_only_and_its_text_can_be_found() {
    let bodies: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&bodies);
    let base = fake::serve(move |asked| {
        if asked.line.starts_with("POST") {
            kept.lock().unwrap().push(asked.body);
            return plain(200, "", "ok");
        }
        let sent: serde_json::Value = serde_json::from_str(&kept.lock().unwrap()[0]).unwrap();
        let history = serde_json::json!({ "ok": true, "messages": [{ "ts": "1.5", "text": sent["text"] }] });
        fake::json(200, "", &history.to_string())
    })
    .await;
    let slack = with_webhook(&base);
    let elsewhere = ChatMessage { channel: "#vendor-support".to_owned(), ..message() };
    let refused = slack.post_by_webhook(&elsewhere).await.unwrap_err();
    assert!(matches!(refused, PortError::NotFound { .. }), "{refused}");
    assert!(bodies.lock().unwrap().is_empty(), "it would have been read by others");

    slack.post_by_webhook(&message()).await.unwrap();
    assert!(bodies.lock().unwrap()[0].contains("&lt;!channel&gt; down [run-1/x]"));
    assert_eq!(slack.find("C0OPS", "run-1/x").await.unwrap(), Some(Posted { ts: "1.5".to_owned() }));
    // One marker may begin as another does.
    assert_eq!(slack.find("C0OPS", "run-1/").await.unwrap(), None);
    assert_eq!(slack.find("C0OPS", "1/x").await.unwrap(), None);
}

#[tokio::test]
async fn a_channels_id_is_looked_up_once_and_history_is_read_page_by_page() {
    let lists = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lists);
    let base = fake::serve(move |asked| {
        let second = asked.query("cursor").is_some();
        let body = if asked.line.contains("conversations.list") {
            counted.fetch_add(1, Ordering::SeqCst);
            if second {
                r#"{"ok":true,"channels":[{"id":"C0OPS","name":"ops"}],"response_metadata":{"next_cursor":""}}"#
            } else {
                r#"{"ok":true,"channels":[{"id":"C0X","name":"opsx"}],"response_metadata":{"next_cursor":"b=="}}"#
            }
        } else {
            assert_eq!(asked.query("channel").as_deref(), Some("C0OPS"));
            assert_eq!(asked.query("include_all_metadata").as_deref(), Some("true"));
            if second {
                r#"{"ok":true,"messages":[{"ts":"1.25","metadata":{"event_type":"allclear_message","event_payload":{"marker":"m"}}}],"response_metadata":{"next_cursor":"c"}}"#
            } else {
                r#"{"ok":true,"messages":[{"ts":"1.30","metadata":{"event_type":"of_others","event_payload":{"marker":"m"}}}],"response_metadata":{"next_cursor":"b"}}"#
            }
        };
        fake::json(200, "", body)
    })
    .await;
    let slack = Slack::new(fake::http(Service::Slack, &base));
    for _ in 0..2 {
        assert_eq!(slack.find("#ops", "m").await.unwrap(), Some(Posted { ts: "1.25".to_owned() }));
    }
    assert_eq!(lists.load(Ordering::SeqCst), 2, "two pages, once");
    assert!(matches!(slack.find("#nowhere", "m").await, Err(PortError::NotFound { .. })));
}

#[tokio::test]
async fn an_answer_names_its_thread_as_a_text_and_shows_in_the_channel() {
    let base = fake::serve(|asked| {
        if asked.line.starts_with("POST") {
            let body: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
            assert_eq!(body["thread_ts"], "1700000000.000100");
            assert_eq!(body["reply_broadcast"], true);
            return fake::json(200, "", r#"{"ok":true,"ts":"1700000001.000000"}"#);
        }
        assert!(asked.line.contains("conversations.replies"), "{}", asked.line);
        assert_eq!(asked.query("ts").as_deref(), Some("1700000000.000100"));
        fake::json(200, "", r#"{"ok":true,"messages":[]}"#)
    })
    .await;
    let slack = Slack::new(fake::http(Service::Slack, &base));
    let thread = Posted { ts: "1700000000.000100".to_owned() };
    assert_eq!(slack.reply(&thread, &message()).await.unwrap().ts, "1700000001.000000");
    assert_eq!(slack.find_reply("C0OPS", &thread, "run-1/x").await.unwrap(), None);
}

#[tokio::test]
async fn a_word_that_nobody_knows_is_refused_and_told() {
    let answer = fake::json(200, "", r#"{"ok":false,"error":"brand_new_word"}"#);
    let base = fake::serve(move |_| answer.clone()).await;
    let error = Slack::new(fake::http(Service::Slack, &base)).post(&message()).await.unwrap_err();
    assert_eq!(error.class(), Class::Permanent);
    assert!(error.to_string().contains("a word that we do not know"), "{error}");
}

/// A token that somebody revoked in the middle of an incident: every call says so, whatever the status, and the webhook
/// still works.
#[tokio::test]
async fn a_revoked_token_stops_every_call_and_leaves_the_webhook() {
    let base = fake::serve(|asked| {
        if asked.line.starts_with("POST / ") {
            return plain(200, "", "ok");
        }
        fake::json(200, "", r#"{"ok":false,"error":"token_revoked"}"#)
    })
    .await;
    let slack = with_webhook(&base);
    let posted = Posted { ts: "1.2".to_owned() };
    let errors = [
        slack.post(&message()).await.unwrap_err(),
        slack.reply(&posted, &message()).await.unwrap_err(),
        slack.find("#ops", "run-1/x").await.unwrap_err(),
        slack.find_reply("C0123456789", &posted, "run-1/x").await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.class(), Class::Stop(StopReason::Credential), "{error}");
        let said = error.to_string();
        assert!(
            said.contains("token_revoked") && said.contains("replace the credential for Slack"),
            "{said}"
        );
    }
    slack.post_by_webhook(&message()).await.unwrap();
}
