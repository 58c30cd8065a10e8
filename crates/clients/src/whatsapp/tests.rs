use std::time::Duration;

use allclear_core::ports::{CanSend, WhatsAppAccount as _};
use allclear_core::{Class, Service};

use super::GraphApi;
use super::wire::{Phone, regain_minutes};
use crate::config::WhatsAppNumber;
use crate::fake;

#[test]
fn regained_access_is_read_in_minutes() {
    let header = r#"{"123":[{"type":"whatsapp","call_count":100,"estimated_time_to_regain_access":12}]}"#;
    assert_eq!(regain_minutes(header), Some(12));
    assert_eq!(regain_minutes(r#"{"123":[{"call_count":1}]}"#), None);
    assert_eq!(regain_minutes("nonsense"), None);
}

#[test]
fn an_unknown_word_is_no_permission_to_send() {
    let phone: Phone = serde_json::from_str(
        r#"{"health_status":{"can_send_message":"MAYBE","entities":[{"errors":[{"error_code":131048}]}]}}"#,
    )
    .unwrap();
    let health = phone.health(None);
    assert_eq!((health.can_send, health.error_codes), (CanSend::Blocked, vec![131_048]));
}

#[tokio::test]
async fn the_wait_that_the_usage_header_names_is_told_with_a_rate_limit() {
    let usage = |minutes: u64| {
        format!(
            r#"x-business-use-case-usage: {{"2":[{{"type":"whatsapp","estimated_time_to_regain_access":{minutes}}}]}}"#
        )
    };
    let cases = [
        (400, usage(12), r#"{"error":{"code":80007}}"#, Some(720)),
        (429, usage(12), "{}", Some(720)),
        (429, format!("{}\r\nretry-after: 5", usage(12)), r#"{"error":{"code":4}}"#, Some(5)),
        (429, usage(100_000_000_000_000_000), r#"{"error":{"code":4}}"#, Some(3_600)),
        (429, usage(0), r#"{"error":{"code":4}}"#, None),
        (429, "x-business-use-case-usage: nonsense".to_owned(), r#"{"error":{"code":4}}"#, None),
    ];
    for (status, header, body, wait) in cases {
        let answer = fake::json(status, &format!("{header}\r\n"), body);
        let base = fake::serve(move |_| answer.clone()).await;
        let number = WhatsAppNumber {
            phone_id: "1".to_owned(),
            business_account: "2".to_owned(),
            canary: "+250788000001".parse().unwrap(),
            canary_template: "t".to_owned(),
        };
        let error = GraphApi::new(fake::http(Service::WhatsApp, &base), number).health().await.unwrap_err();
        assert_eq!(error.class(), Class::RetryAfter(wait.map(Duration::from_secs)), "{header}");
    }
}
