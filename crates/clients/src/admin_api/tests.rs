use super::wire::Envelope;

#[test]
fn a_degraded_integration_in_a_200_is_no_success() {
    let degraded: Envelope = serde_json::from_str(
        r#"{"id":"x","integration":{"target":"t","status":"degraded","reason":"missing_endpoint"}}"#,
    )
    .unwrap();
    assert_eq!(degraded.healthy().unwrap_err(), "the integration is degraded (missing_endpoint)");
    let healthy: Envelope =
        serde_json::from_str(r#"{"message":"Settings saved.","integration":{"status":"ok"}}"#).unwrap();
    assert!(healthy.healthy().is_ok());
}
