use allclear_core::{Class, Service};
use reqwest::header::{HeaderMap, HeaderValue};

use super::*;

pub(super) fn reply(status: u16, body: &str) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    Reply {
        service: Service::EdgeFunctions,
        call: "POST /functions/v1/x".to_owned(),
        writes: true,
        status,
        headers,
        body: body.as_bytes().to_vec(),
        now: jiff::Timestamp::UNIX_EPOCH,
        redactor: crate::http::Redactor::default(),
    }
}

#[test]
fn only_a_message_id_is_acceptance() {
    assert_eq!(accepted(&reply(202, r#"{"message_id":"wamid.1"}"#)).unwrap().message_id, "wamid.1");
    let skipped =
        accepted(&reply(202, r#"{"status":"skipped","reason":"endpoint_not_configured"}"#)).unwrap_err();
    assert_eq!(skipped.class(), Class::Permanent);
    assert_eq!(accepted(&reply(202, "{}")).unwrap_err().class(), Class::OutcomeUnknown);
}

#[test]
fn whatsapps_code_decides_and_not_the_status() {
    let cases = [
        (400, 130_429, Class::RetryAfter(None)),
        (500, 131_016, Class::RetryAfter(None)),
        (400, 190, Class::Stop(StopReason::Credential)),
        (429, 131_048, Class::Stop(StopReason::Policy)),
        (400, 131_026, Class::Permanent),
        (500, 999_999, Class::Permanent),
    ];
    for (status, code, class) in cases {
        let error = accepted(&reply(status, &format!(r#"{{"error":{{"code":{code}}}}}"#))).unwrap_err();
        assert_eq!(error.class(), class, "{status} {code}");
    }
    assert_eq!(accepted(&reply(503, "{}")).unwrap_err().class(), Class::RetryAfter(None));
    assert_eq!(accepted(&reply(546, "{}")).unwrap_err().class(), Class::OutcomeUnknown);
}
