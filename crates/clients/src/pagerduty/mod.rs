//! PagerDuty: the Events API tells it, the REST API shows what it knows.
//!
//! | fact | from |
//! |---|---|
//! | an account lives in one [`Region`]; its key is a 401 in the other | service regions |
//! | 202 from the Events API is acceptance, not an incident: an acknowledge or resolve without an open alert is dropped, and still 202. Every event is confirmed by `GET /incidents?incident_key=` | Events API v2, overview |
//! | a dedup key makes repeated triggers one alert while that is open; after it is resolved the same key opens a new one | Events API v2, alert deduplication |
//! | a summary has 1,024 characters and a dedup key 255 at most | Events API v2, send an event |
//! | an acknowledge over the Events API is the integration's, not a person's | log entries, `agent` |
//! | an incident's `acknowledgements` are the current ones only; who ever acknowledged stands in its log entries | REST API, incidents and log entries |
//! | the type is `acknowledge_log_entry` in real entries and `acknowledgement_log_entry` in the schema: both are read | REST API description |
//! | lists have `limit` (100 at most) and `offset`, and say `more`; beyond 10,000 it is a 400 | REST API, pagination |
//! | writes to incidents carry `From`, the e-mail of a user; responder requests carry the user's id in the body | REST API, incidents |
//! | responder requests are a paid feature: 402 | REST API, abilities |
//! | `ratelimit-reset` says in seconds when to come back; a 429 may have neither headers nor a body | REST API, rate limits |
//! | error codes say more than statuses; the table is in `error.rs` | REST API, errors |
//!
//! What it deliberately does not do: create incidents by REST (limited to human speed), acknowledge or resolve by REST (then
//! it would be in the name of a person who did not), guess the region, or retry.

mod error;
mod region;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;

use allclear_core::incident::Incident;
use allclear_core::ports::{Acknowledgements, OpenIncidents, Page, Paging};
use allclear_core::recovery::Acknowledgement;
use allclear_core::text::{line, neutral};
use allclear_core::{Clock, PortError, Service};
use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use region::Region;

use crate::config::{ConfigError, Settings};
use crate::http::{Call, Http};
use crate::wiring::Wiring;

/// PagerDuty cuts summaries here.
const SUMMARY: usize = 1_024;
/// The most entries of a page.
const LIMIT: usize = 100;
/// Offset and limit may not go beyond 10,000.
const PAGES: usize = 100;

/// Who is on call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnCall {
    /// PagerDuty's user id.
    pub user: String,
    /// Who is asked first has level 1.
    pub level: u32,
    /// Until when; `None` where it never ends.
    pub until: Option<Timestamp>,
}

/// The client.
#[derive(Debug)]
pub struct PagerDuty {
    events: Http,
    rest: Http,
    routing_key: SecretString,
    from: String,
    region: Region,
}

impl PagerDuty {
    /// The account of an environment, with the routing key of one of its services. Talks to nobody yet.
    pub fn connect(
        settings: &Settings,
        routing_key: &SecretString,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        Self::wired(&Wiring::of(settings, clock)?, settings, routing_key)
    }

    pub(crate) fn wired(
        wiring: &Wiring<'_>,
        settings: &Settings,
        routing_key: &SecretString,
    ) -> Result<Self, ConfigError> {
        let region = settings.endpoints.pagerduty.clone();
        let events = wiring.http(Service::PagerDuty, "pagerduty_events", region.events())?;
        events.keep_secret(routing_key);
        let rest = wiring
            .http(Service::PagerDuty, "pagerduty_rest", region.rest())?
            .token("Token token=", &settings.credentials.pagerduty_rest_key);
        let from = settings.pagerduty_from.clone();
        Ok(Self { events, rest, routing_key: routing_key.clone(), from, region })
    }

    /// Acknowledges the alert of a dedup key in the integration's name (`POST /v2/enqueue`), which stops its escalation. It
    /// counts as nobody's acknowledgement, and without an open alert it is dropped and accepted all the same.
    pub async fn acknowledge(&self, dedup_key: &str) -> Result<(), PortError> {
        self.event("acknowledge", dedup_key, None).await
    }

    /// Who is on call for an escalation policy now, by level (`GET /oncalls`).
    pub async fn on_calls(&self, escalation_policy: &str) -> Result<Vec<OnCall>, PortError> {
        let mut found = Vec::new();
        for page in 0..PAGES {
            let call = Call::read("/oncalls")
                .query("escalation_policy_ids[]", escalation_policy)
                .query("time_zone", "UTC")
                .query("earliest", "true")
                .query("limit", LIMIT)
                .query("offset", page * LIMIT);
            let page: wire::OnCalls = self.read(call).await?;
            let more = page.more && !page.oncalls.is_empty();
            found.extend(page.oncalls.into_iter().map(|row| OnCall {
                user: row.user.id,
                level: row.escalation_level,
                until: row.end,
            }));
            if !more {
                break;
            }
        }
        found.sort_by(|one, other| (one.level, &one.user).cmp(&(other.level, &other.user)));
        Ok(found)
    }

    /// Leaves a note at an incident (`POST /incidents/{id}/notes`) unless it has that note: a note has no key, so its words
    /// are looked for first, and again after a lost answer.
    pub async fn note(&self, incident: &str, text: &str) -> Result<(), PortError> {
        let text = neutral(text);
        let path = format!("{}/notes", self.incident_path(incident)?);
        let known: wire::Notes = self.read(Call::read(path.clone())).await?;
        if known.notes.iter().any(|note| note.content == text) {
            return Ok(());
        }
        let body = json!({ "note": { "content": text } });
        let _: wire::Noted = self.write(Call::write(Method::POST, path, body)).await?;
        Ok(())
    }

    /// Tells an incident's subscribers how it stands (`POST /incidents/{id}/status_updates`). Neither keyed nor readable:
    /// after a lost answer only they can tell whether it came.
    pub async fn status_update(&self, incident: &str, message: &str) -> Result<(), PortError> {
        let path = format!("{}/status_updates", self.incident_path(incident)?);
        let body = json!({ "message": neutral(message) });
        let _: wire::Updated = self.write(Call::write(Method::POST, path, body)).await?;
        Ok(())
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
        if !reply.is_success() {
            return Err(error::classify_event(&reply, &self.region));
        }
        let accepted: wire::Accepted = reply.expect()?;
        if accepted.status == "success" { Ok(()) } else { Err(reply.unusable("it did not accept the event")) }
    }

    async fn read<T: DeserializeOwned>(&self, call: Call) -> Result<T, PortError> {
        let call = call.header("accept", "application/vnd.pagerduty+json;version=2");
        let reply = self.rest.send(call).await?;
        if reply.is_success() { reply.expect() } else { Err(error::classify(&reply, &self.region)) }
    }

    async fn write<T: DeserializeOwned>(&self, call: Call) -> Result<T, PortError> {
        self.read(call.header("from", &self.from)).await
    }

    /// An id goes into a path, so it may be nothing else than an id.
    fn incident_path(&self, incident: &str) -> Result<String, PortError> {
        if !incident.is_empty() && incident.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(format!("/incidents/{incident}"));
        }
        let what = format!("incident `{}`", self.rest.clean(incident));
        Err(PortError::NotFound { service: Service::PagerDuty, what })
    }

    /// All log entries of an incident, newest first. One that comes in between moves the others to later pages, so some may
    /// be read twice and none is missed.
    async fn log(&self, incident: &str) -> Result<Vec<Value>, PortError> {
        let path = format!("{}/log_entries", self.incident_path(incident)?);
        let mut entries = Vec::new();
        for page in 0..PAGES {
            let call = Call::read(path.clone())
                .query("is_overview", "false")
                .query("time_zone", "UTC")
                .query("limit", LIMIT)
                .query("offset", page * LIMIT);
            let page: wire::LogPage = self.read(call).await?;
            let more = page.more && !page.log_entries.is_empty();
            entries.extend(page.log_entries);
            if !more {
                return Ok(entries);
            }
        }
        Err(self.malformed(&path, "it has more than 10,000 log entries, which cannot all be read"))
    }

    /// The id of the user in whose name we act (`GET /users`, all pages: its `query` is of names, not of e-mails).
    async fn requester(&self) -> Result<String, PortError> {
        for page in 0..PAGES {
            let call = Call::read("/users").query("limit", LIMIT).query("offset", page * LIMIT);
            let page: wire::Users = self.read(call).await?;
            let more = page.more && !page.users.is_empty();
            let user = page.users.into_iter().find(|user| user.email.eq_ignore_ascii_case(&self.from));
            match user {
                Some(user) => return Ok(user.id),
                None if more => {}
                None => break,
            }
        }
        let what = format!("user `{}` (`pagerduty_from` must be the e-mail of a user)", self.from);
        Err(PortError::NotFound { service: Service::PagerDuty, what })
    }

    fn malformed(&self, path: &str, detail: &str) -> PortError {
        PortError::Malformed {
            service: Service::PagerDuty,
            call: format!("GET {path}"),
            detail: self.rest.clean(detail),
        }
    }
}

#[async_trait]
impl Paging for PagerDuty {
    async fn trigger(&self, page: &Page) -> Result<(), PortError> {
        let summary: String = line(&page.summary).chars().take(SUMMARY).collect();
        let payload = json!({
            "summary": summary,
            "source": page.source,
            "severity": page.severity.as_str(),
            "custom_details": { "details": neutral(&page.details) },
        });
        self.event("trigger", &page.dedup_key, Some(payload)).await
    }

    /// `GET /incidents?incident_key=K&date_range=all`, newest first.
    async fn find(&self, dedup_key: &str) -> Result<Option<Incident>, PortError> {
        let call = Call::read("/incidents")
            .query("incident_key", dedup_key)
            .query("date_range", "all")
            .query("sort_by", "created_at:desc")
            .query("limit", 1);
        let found: wire::Incidents = self.read(call).await?;
        Ok(found.incidents.into_iter().next().map(|row| row.into_incident(|text| self.rest.clean(text))))
    }

    async fn resolve(&self, dedup_key: &str) -> Result<(), PortError> {
        self.event("resolve", dedup_key, None).await
    }
}

#[async_trait]
impl OpenIncidents for PagerDuty {
    /// `GET /incidents?statuses[]=triggered&statuses[]=acknowledged&service_ids[]=…&date_range=all`. One that is opened in between moves
    /// the others to later pages, so some may be read twice and none is missed.
    async fn on_services(&self, services: &[String]) -> Result<Vec<Incident>, PortError> {
        let mut found: Vec<Incident> = Vec::new();
        if services.is_empty() {
            // Without a service the list would be that of all.
            return Ok(found);
        }
        for page in 0..PAGES {
            let call = Call::read("/incidents")
                .query("statuses[]", "triggered")
                .query("statuses[]", "acknowledged")
                .query("date_range", "all")
                .query("sort_by", "created_at:desc")
                .query("limit", LIMIT)
                .query("offset", page * LIMIT);
            let call = services.iter().fold(call, |call, service| call.query("service_ids[]", service));
            let page: wire::Incidents = self.read(call).await?;
            let more = page.more && !page.incidents.is_empty();
            for row in page.incidents {
                let incident = row.into_incident(|text| self.rest.clean(text));
                if !found.iter().any(|known| known.id == incident.id) {
                    found.push(incident);
                }
            }
            if !more {
                return Ok(found);
            }
        }
        Err(self.malformed("/incidents", "more than 10,000 incidents are open, which cannot all be read"))
    }
}

#[async_trait]
impl Acknowledgements for PagerDuty {
    /// `GET /incidents/{id}/log_entries`, all pages. Only agents that are users count: an integration acknowledges what an
    /// event told it to.
    async fn of_incident(&self, incident: &str) -> Result<Vec<Acknowledgement>, PortError> {
        let mut seen: Vec<Acknowledgement> = Vec::new();
        for entry in self.log(incident).await?.iter().filter(|entry| wire::is_acknowledgement(entry)) {
            // Passing one over would make somebody late who was not.
            let entry = wire::AcknowledgeEntry::deserialize(entry)
                .map_err(|error| self.malformed("…/log_entries", &error.to_string()))?;
            let Some(agent) = entry.agent.filter(|agent| agent.kind == "user_reference") else { continue };
            match seen.iter_mut().find(|known| known.user == agent.id) {
                Some(known) => known.at = known.at.min(entry.created_at),
                None => seen.push(Acknowledgement { user: agent.id, at: entry.created_at }),
            }
        }
        seen.sort_by(|one, other| (one.at, &one.user).cmp(&(other.at, &other.user)));
        Ok(seen)
    }

    /// `POST /incidents/{id}/responder_requests` with those who were not asked yet; with nobody left it sends nothing. Not
    /// keyed: after a lost answer [`called_in`](Acknowledgements::called_in) says who was asked.
    async fn call_in(&self, incident: &str, users: &[String], message: &str) -> Result<(), PortError> {
        let asked = self.called_in(incident).await?;
        let mut missing: Vec<&String> = users.iter().filter(|user| !asked.contains(user)).collect();
        missing.sort();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        let target =
            |user: &&String| json!({ "responder_request_target": { "id": user, "type": "user_reference" } });
        let body = json!({
            "requester_id": self.requester().await?,
            "message": neutral(message),
            "responder_request_targets": missing.iter().map(target).collect::<Vec<_>>(),
        });
        let path = format!("{}/responder_requests", self.incident_path(incident)?);
        let _: wire::Requested = self.write(Call::write(Method::POST, path, body)).await?;
        Ok(())
    }

    /// Those whom the incident is or was assigned to (a resolved one is assigned to nobody, so the log is read as well), and
    /// those who were asked by a responder request, whatever they answered.
    async fn called_in(&self, incident: &str) -> Result<Vec<String>, PortError> {
        let shown: wire::OneIncident = self.read(Call::read(self.incident_path(incident)?)).await?;
        let mut users = shown.asked();
        users.extend(self.log(incident).await?.iter().flat_map(wire::assigned_by));
        users.sort();
        users.dedup();
        Ok(users)
    }
}
