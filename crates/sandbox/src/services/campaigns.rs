//! The admin API's ways to make a campaign: save its row, import its targets, and what starting it then does.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{admin_pages, answer};
use crate::server::Shared;
use crate::world::World;
use crate::world::rows::{Campaign, Target};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/admin/api/campaigns", axum::routing::get(admin_pages::campaigns).post(save))
        .route("/admin/api/campaigns/import-targets", post(import))
}

/// An upsert by id. A campaign that is there keeps what it is.
async fn save(State(shared): State<Shared>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let kind = ["promo", "voucher"].into_iter().find(|kind| body["type"] == *kind);
    let id = match body["id"].as_str().map(str::parse::<Uuid>) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => return answer(400, json!({ "error": "invalid_payload" })),
    };
    let (Some(kind), Some(name)) = (kind, body["name"].as_str()) else {
        return answer(400, json!({ "error": "invalid_payload" }));
    };
    let mut world = shared.world();
    let (now, id) = (world.now(), id.unwrap_or_else(|| world.new_uuid()));
    let is_new = world.campaign(id).is_none();
    if is_new {
        world.campaigns.push(Campaign {
            id,
            name: name.to_owned(),
            kind,
            status: "draft".to_owned(),
            created_at: now,
            started_at: None,
            finished_at: None,
        });
        world.saved_campaigns.insert(id);
    }
    world.ledger.note(now, "campaign.save", id, is_new);
    answer(200, json!({ "data": { "id": id, "name": name, "type": kind, "status": "draft" } }))
}

/// The CSV's column `msisdn`. A number that the campaign has already, or that comes twice, fails the whole import.
async fn import(State(shared): State<Shared>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let campaign = body["campaignId"].as_str().and_then(|id| id.parse::<Uuid>().ok());
    let (Some(campaign), Some(csv)) = (campaign, body["csv"].as_str()) else {
        return answer(400, json!({ "error": "invalid_payload" }));
    };
    let mut lines = csv.lines();
    if lines.next().map(str::trim) != Some("msisdn") {
        return answer(400, json!({ "error": "csv_parse_failed" }));
    }
    let numbers: Vec<u64> =
        lines.filter_map(|line| line.trim().trim_start_matches('+').parse().ok()).collect();
    if numbers.is_empty() {
        return answer(400, json!({ "error": "empty_targets" }));
    }
    let mut world = shared.world();
    let known =
        |world: &World| world.targets.iter().any(|t| t.campaign == campaign && numbers.contains(&t.msisdn));
    let distinct: BTreeSet<u64> = numbers.iter().copied().collect();
    if !world.saved_campaigns.contains(&campaign) || distinct.len() < numbers.len() || known(&world) {
        return answer(500, json!({ "error": "campaign_import_failed" }));
    }
    let now = world.now();
    for msisdn in &numbers {
        let target = Target {
            id: world.new_uuid(),
            campaign,
            msisdn: *msisdn,
            status: "queued",
            error_code: None,
            message_id: None,
            last_update_at: now,
            bad: false,
        };
        world.targets.push(target);
    }
    world.ledger.note(now, "campaign.import", campaign, true);
    answer(200, json!({ "imported": numbers.len() }))
}
