use allclear_core::{Class, Service};

use super::*;

pub(super) fn reply(status: u16, body: &str) -> Reply {
    crate::fake::reply(Service::EdgeFunctions, "POST /functions/v1/x", true, status, "application/json", body)
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

#[tokio::test]
async fn a_pinned_region_is_asked_for_and_named_where_it_fails() {
    for region in [Some("eu-west-3"), None] {
        let base = crate::fake::serve(move |asked| {
            let pinned = asked.head.to_ascii_lowercase().contains("x-region: eu-west-3");
            let status = if pinned == region.is_some() { 503 } else { 400 };
            crate::fake::json(status, "sb-error-code: BOOT_ERROR\r\nx-sb-edge-region: eu-west-3\r\n", "{}")
        })
        .await;
        let number = crate::sandbox::settings(&base, std::path::PathBuf::new()).unwrap().whatsapp;
        let function = SendFunction::new(crate::fake::http(Service::EdgeFunctions, &base), "send", number)
            .in_region(region.map(str::to_owned));
        let error = function.send_canary("marker").await.unwrap_err();
        assert_eq!(error.class(), Class::RetryAfter(None), "{error}");
        assert_eq!(error.to_string().contains("in the region eu-west-3"), region.is_some(), "{error}");
    }
}
