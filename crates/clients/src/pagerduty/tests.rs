use allclear_core::incident::IncidentStatus;

use super::wire::Incidents;
use crate::http::Redactor;

#[test]
fn an_unknown_status_is_kept_and_a_title_is_made_safe() {
    let text = r#"{"incidents":[{"id":"P1","incident_key":"k","title":"a\u001b[31mb","status":"snoozed","created_at":"2026-11-23T09:00:00Z"}]}"#;
    let found: Incidents = serde_json::from_str(text).unwrap();
    let incident =
        found.incidents.into_iter().next().unwrap().into_incident(|text| Redactor::default().clean(text));
    assert_eq!(incident.status, IncidentStatus::Other("snoozed".into()));
    assert!(!incident.title.contains('\u{1b}'));
}
