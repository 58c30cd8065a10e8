//! PagerDuty: the Events API tells it, the REST API shows what it knows.
//!
//! * 202 from the Events API is acceptance, not an incident: an acknowledge or resolve without an open alert is dropped,
//!   and still 202. So every event is confirmed by `GET /incidents?incident_key=`.
//! * A dedup key makes repeated triggers one alert while that is open; after it is resolved the same key opens a new one.
//! * A region's key is a 401 in the other region.

#[cfg(test)]
mod tests;
mod wire;

use allclear_core::PortError;
use allclear_core::incident::Incident;
use allclear_core::ports::{Page, Paging};
use async_trait::async_trait;
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::http::{Call, Http};

/// PagerDuty cuts summaries here.
const SUMMARY: usize = 1_024;

/// The client.
#[derive(Debug)]
pub struct PagerDuty {
    events: Http,
    rest: Http,
    routing_key: SecretString,
    from: String,
}

impl PagerDuty {
    pub(crate) fn new(events: Http, rest: Http, routing_key: SecretString, from: &str) -> Self {
        events.keep_secret(&routing_key);
        Self { events, rest, routing_key, from: from.to_owned() }
    }

    async fn event(&self, action: &str, dedup_key: &str, payload: Option<Value>) -> Result<(), PortError> {
        let mut body = json!({
            "routing_key": self.routing_key.expose_secret(),
            "event_action": action,
            "dedup_key": dedup_key,
        });
        if let Some(payload) = payload {
            body["payload"] = payload;
        }
        let reply = self.events.send(Call::write(Method::POST, "/v2/enqueue", body)).await?;
        let accepted: wire::Accepted = reply.expect()?;
        if accepted.status == "success" { Ok(()) } else { Err(reply.unusable("it did not accept the event")) }
    }
}

#[async_trait]
impl Paging for PagerDuty {
    async fn trigger(&self, page: &Page) -> Result<(), PortError> {
        let summary: String = page.summary.chars().take(SUMMARY).collect();
        let payload = json!({
            "summary": summary,
            "source": page.source,
            "severity": page.severity.as_str(),
            "custom_details": { "details": page.details },
        });
        self.event("trigger", &page.dedup_key, Some(payload)).await
    }

    /// `GET /incidents?incident_key=K&date_range=all`, newest first.
    async fn find(&self, dedup_key: &str) -> Result<Option<Incident>, PortError> {
        let call = Call::read("/incidents")
            .query("incident_key", dedup_key)
            .query("date_range", "all")
            .query("sort_by", "created_at:desc")
            .query("limit", 1)
            .header("accept", "application/vnd.pagerduty+json;version=2")
            .header("from", &self.from);
        let found: wire::Incidents = self.rest.send(call).await?.expect()?;
        Ok(found.incidents.into_iter().next().map(|row| row.into_incident(|text| self.rest.clean(text))))
    }

    async fn resolve(&self, dedup_key: &str) -> Result<(), PortError> {
        self.event("resolve", dedup_key, None).await
    }
}
