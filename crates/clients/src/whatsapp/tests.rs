use super::wire::{Phone, regain_minutes};
use allclear_core::ports::CanSend;

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
