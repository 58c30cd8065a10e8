//! The admin API's pages: lists that a fetch cache may have frozen long ago.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer;
use crate::fault::Fault;
use crate::server::Shared;
use crate::world::World;
use crate::world::rows::{e164, wamid};

/// A page's query, the part that all lists share.
pub(crate) struct Paging {
    limit: usize,
    offset: usize,
    status: Option<String>,
}

impl Paging {
    pub(crate) fn parse(query: &str, default_limit: usize) -> Self {
        let mut paging = Self { limit: default_limit, offset: 0, status: None };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "limit" => paging.limit = value.parse().unwrap_or(default_limit),
                "offset" => paging.offset = value.parse().unwrap_or(0),
                "status" => paging.status = Some(value.into_owned()),
                _ => {}
            }
        }
        paging
    }

    pub(crate) fn admits(&self, status: &str) -> bool {
        self.status.as_deref().is_none_or(|wanted| wanted == status)
    }

    pub(crate) fn page(&self, rows: Vec<Value>) -> Value {
        let total = rows.len();
        let data: Vec<Value> = rows.into_iter().skip(self.offset).take(self.limit).collect();
        let has_more = self.offset + data.len() < total;
        json!({ "data": data, "total": total, "hasMore": has_more })
    }
}

/// Answers from the frozen copy where there is one. A page that is not whole is never frozen: its upstream answers 206.
fn maybe_frozen(world: &mut World, fault: Fault, url: String, page: Value) -> Response {
    if !world.has(fault) {
        return answer(200, page);
    }
    if page["hasMore"] == json!(true) {
        return answer(200, page);
    }
    let frozen = world.frozen.entry(url).or_insert(page).clone();
    answer(200, frozen)
}

/// `GET /api/integrations/status`. Each light is a real POST to the function behind it.
pub(crate) async fn integrations(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let mut world = shared.world();
    let now = world.now();
    if world.has(Fault::ProbeSideEffect) {
        world.ledger.note(now, "dispatcher.probe", "campaign-dispatch", true);
    }
    let send = match world.send_error(now, false) {
        Some(error) if error.http >= 500 => {
            json!({ "status": "red", "message": format!("HTTP {}", error.http) })
        }
        Some(error) => json!({ "status": "amber", "message": format!("HTTP {}", error.http) }),
        None => json!({ "status": "green", "message": "OK" }),
    };
    let green = json!({ "status": "green", "message": "OK" });
    let preview = match world.render() {
        Ok(_) => green.clone(),
        Err(no) if no.http >= 500 => json!({ "status": "red", "message": format!("HTTP {}", no.http) }),
        Err(no) => json!({ "status": "amber", "message": format!("HTTP {}", no.http) }),
    };
    let is_green = send["status"] == "green" && preview["status"] == "green";
    let page = json!({ "voucherPreview": preview, "whatsappSend": send, "campaignDispatcher": green, "storageSignedUrl": green });
    let forced = query.is_some_and(|query| query.contains("force=true")) && !world.has(Fault::ForceIgnored);
    if forced || !world.has(Fault::StickyGreen) {
        return answer(200, page);
    }
    // It was green before the incident, and a green answer is kept for a year.
    let kept = json!({ "voucherPreview": green, "whatsappSend": green, "campaignDispatcher": green, "storageSignedUrl": green });
    answer(200, if is_green { page } else { kept })
}

/// `GET /api/campaigns`: fresh, because the route also has a POST.
pub(crate) async fn campaigns(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let world = shared.world();
    let paging = Paging::parse(&query.unwrap_or_default(), 50);
    let rows = world.campaigns.iter().filter(|c| paging.admits(&c.status)).map(|campaign| {
        json!({
            "id": campaign.id, "name": campaign.name, "type": campaign.kind, "status": campaign.status,
            "templateId": "custom_text", "createdAt": campaign.created_at.to_string(),
            "startedAt": campaign.started_at.map(|at| at.to_string()),
            "finishedAt": campaign.finished_at.map(|at| at.to_string()), "metadata": null,
        })
    });
    answer(200, paging.page(rows.collect()))
}

/// `GET /api/campaigns/:id/targets`.
pub(crate) fn targets(world: &mut World, campaign: Uuid, query: &str) -> Response {
    let paging = Paging::parse(query, 50);
    let rows = world.targets.iter().filter(|t| t.campaign == campaign && paging.admits(t.status)).map(|target| {
        json!({
            "id": target.id, "msisdn": e164(target.msisdn), "userId": null, "personalizedVars": {},
            "status": target.status, "errorCode": target.error_code, "messageId": target.message_id.map(wamid),
            "lastUpdateAt": target.last_update_at.to_string(),
        })
    });
    let page = paging.page(rows.collect());
    maybe_frozen(world, Fault::StaleGetOnlyRoutes, format!("targets {campaign} {query}"), page)
}

/// `GET /api/notifications`.
pub(crate) async fn notifications(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let paging = Paging::parse(&query, 100);
    let mut world = shared.world();
    let rows = world.notifications.iter().filter(|n| paging.admits(n.status)).map(|one| {
        json!({
            "id": one.id, "toRole": "customer", "type": "order_update", "status": one.status,
            "createdAt": one.created_at.to_string(), "sentAt": one.sent_at.map(|at| at.to_string()),
        })
    });
    let page = paging.page(rows.collect());
    maybe_frozen(&mut world, Fault::StaleGetOnlyRoutes, format!("notifications {query}"), page)
}

/// `GET /api/logs`.
pub(crate) async fn logs(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let paging = Paging::parse(&query, 50);
    let mut world = shared.world();
    if world.has(Fault::LogsEmptyFallback) {
        return answer(200, json!({ "audit": [], "events": [], "totals": { "audit": 0, "voucher": 0 } }));
    }
    let rows: Vec<Value> = world
        .audit
        .iter()
        .rev()
        .skip(paging.offset)
        .take(paging.limit)
        .map(|row| {
            json!({
                "id": row.id, "actor": row.actor_id, "action": row.action, "target_table": row.target_table,
                "target_id": row.target_id, "created_at": row.created_at.to_string(), "diff": row.diff,
            })
        })
        .collect();
    let page = json!({ "audit": rows, "events": [], "totals": { "audit": world.audit.len(), "voucher": 0 } });
    maybe_frozen(&mut world, Fault::StaleGetOnlyRoutes, format!("logs {query}"), page)
}
