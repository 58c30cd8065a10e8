use std::time::Duration;

use allclear_core::error::StopReason;
use allclear_core::ports::{CanSend, WhatsAppAccount as _};
use allclear_core::{Class, PortError, Service};

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

/// What the phone's health comes to with one answer.
async fn asked(answer: String) -> PortError {
    let base = fake::serve(move |_| answer.clone()).await;
    let number = WhatsAppNumber {
        phone_id: "1".to_owned(),
        business_account: "2".to_owned(),
        canary: "+250788000001".parse().unwrap(),
        canary_template: "t".to_owned(),
    };
    GraphApi::new(fake::http(Service::WhatsApp, &base), number).health().await.unwrap_err()
}

/// Every code, with every status that it may come with: the code decides.
#[tokio::test]
async fn every_code_of_the_reference_is_told_with_its_advice_and_its_trace() {
    let key = Class::Stop(StopReason::Credential);
    let may = Class::Stop(StopReason::Permission);
    let policy = Class::Stop(StopReason::Policy);
    let wait = Class::RetryAfter(None);
    let cases: [(Class, &[u32]); 5] = [
        (wait, &[1, 2, 4, 80_007, 130_429, 131_000, 131_016, 131_056, 131_057, 133_004]),
        (policy, &[368, 130_497, 131_031, 131_042, 131_048, 131_064]),
        (key, &[0, 190]),
        (may, &[3, 10, 200, 299, 131_005, 131_045, 133_000, 133_010, 133_016]),
        (
            Class::Permanent,
            &[
                100, 130_472, 131_008, 131_009, 131_021, 131_026, 131_030, 131_047, 131_049, 131_050,
                132_000, 132_001, 132_005, 132_007, 132_008, 132_012, 132_015, 132_016, 132_068, 132_069,
            ],
        ),
    ];
    for (class, codes) in cases {
        for code in codes {
            for status in [400, 401, 403, 404, 429, 500, 503] {
                let body = format!(
                    r#"{{"error":{{"message":"m","type":"t","code":{code},"error_subcode":33,"fbtrace_id":"AbCdEf"}}}}"#
                );
                let error = asked(fake::json(status, "", &body)).await;
                assert_eq!(error.class(), class, "{code} as {status}: {error}");
                for word in ["fbtrace_id AbCdEf", "subcode 33", &code.to_string()] {
                    assert!(error.to_string().contains(word), "{code} as {status}: {error}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_code_that_nobody_knows_is_what_its_status_says() {
    let body = r#"{"error":{"message":"m","code":999999,"fbtrace_id":"AbCdEf"}}"#;
    for (status, class) in [
        (400, Class::Permanent),
        (404, Class::Permanent),
        (401, Class::Stop(StopReason::Credential)),
        (429, Class::RetryAfter(None)),
        (500, Class::RetryAfter(None)),
    ] {
        let error = asked(fake::json(status, "", body)).await;
        assert_eq!(error.class(), class, "{status}: {error}");
    }
    let error = asked(fake::json(400, "", body)).await;
    assert!(error.to_string().contains("do not know"), "{error}");
}

#[tokio::test]
async fn the_use_of_the_apps_limit_is_told_and_is_no_wait() {
    let header = "x-app-usage: {\"call_count\":100,\"total_time\":25,\"total_cputime\":30}\r\n";
    let error = asked(fake::json(400, header, r#"{"error":{"code":4}}"#)).await;
    assert_eq!(error.class(), Class::RetryAfter(None));
    assert!(error.to_string().contains("100 %"), "{error}");
    let header = "x-app-usage: {\"call_count\":100,\"estimated_time_to_regain_access\":3}\r\n";
    let error = asked(fake::json(400, header, r#"{"error":{"code":4}}"#)).await;
    assert_eq!(error.class(), Class::RetryAfter(Some(Duration::from_mins(3))));
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
        let error = asked(answer).await;
        assert_eq!(error.class(), Class::RetryAfter(wait.map(Duration::from_secs)), "{header}");
    }
}
