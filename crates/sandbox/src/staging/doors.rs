//! The doors: the admin API, the station app's server and the function that redeems.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio_postgres::Error;

use super::{Staging, failed, healthy};
use crate::services::{answer, has_bearer, header_text};

const SESSION: &str = "admin_session=staging";
/// How a station's token begins; its id follows.
const STATION_TOKEN: &str = "station-";

pub(super) async fn login(Json(body): Json<Value>) -> Response {
    if body["token"].as_str() != Some(crate::ADMIN_TOKEN) {
        return answer(401, json!({ "error": "invalid_token" }));
    }
    let cookie = [(header::SET_COOKIE, format!("{SESSION}; HttpOnly; Path=/"))];
    let body = json!({ "ok": true, "actorId": "5a9db0c0-0000-4000-8000-000000000001", "label": "staging", "expiresAt": 4_102_444_800_u32 });
    (cookie, Json(body)).into_response()
}

fn is_signed_in(headers: &HeaderMap) -> bool {
    header_text(headers, "cookie") == SESSION
}

fn unauthorized() -> Response {
    answer(401, json!({ "error": "unauthorized" }))
}

fn invalid() -> Response {
    answer(400, json!({ "error": "invalid_payload" }))
}

/// Issues vouchers; a second request with the same key gets the first one's answer.
pub(super) async fn generate(
    State(staging): State<Staging>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if !is_signed_in(&headers) {
        return unauthorized();
    }
    let key = header_text(&headers, "x-idempotency-key").to_owned();
    let number = body["recipients"][0]["msisdn"].as_str().unwrap_or_default().to_owned();
    let Some(amount) =
        body["amount"].as_i64().filter(|amount| *amount > 0 && !number.is_empty() && !key.is_empty())
    else {
        return invalid();
    };
    let issued = async {
        let mut client = staging.connect().await?;
        let work = client.transaction().await?;
        let known =
            work.query_opt("select payload::text from idempotency_keys where key = $1", &[&key]).await?;
        if let Some(known) = known {
            return known.try_get::<_, String>(0);
        }
        let minor = i32::try_from(amount.saturating_mul(100)).unwrap_or(i32::MAX);
        let row = work
            .query_one(
                "insert into vouchers (id, code_5, amount_minor, currency, status, whatsapp_e164, policy_number, qr_payload) \
                 select gen_random_uuid(), code, $1, 'RWF', 'issued', $2, 'SMOKE', 'smoke:' || code \
                 from (select upper(substr(md5(random()::text), 1, 5)) as code) made \
                 returning json_build_object('id', id, 'code5', code_5, 'msisdn', whatsapp_e164, 'status', status)::text",
                &[&minor, &number],
            )
            .await?;
        let page = format!("{{\"vouchers\":[{}]}}", row.try_get::<_, String>(0)?);
        work.execute(
            "insert into idempotency_keys (key, payload) values ($1, $2::text::jsonb)",
            &[&key, &page],
        )
        .await?;
        work.commit().await?;
        Ok(page)
    };
    let issued: Result<String, Error> = issued.await;
    match issued {
        Ok(page) => healthy("voucher_generate", serde_json::from_str(&page).unwrap_or_default()),
        Err(error) => failed("voucher_generate_failed")(error),
    }
}

pub(super) async fn save_campaign(
    State(staging): State<Staging>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if !is_signed_in(&headers) {
        return unauthorized();
    }
    let text = |field: &str| body[field].as_str().map(str::to_owned);
    let (Some(id), Some(name), Some(kind)) = (text("id"), text("name"), text("type")) else {
        return invalid();
    };
    let saved = async {
        let client = staging.connect().await?;
        client
            .execute(
                "insert into campaigns (id, name, type, status, template_id) \
                 values ($1::text::uuid, $2, $3, 'draft', 'custom_text') on conflict (id) do nothing",
                &[&id, &name, &kind],
            )
            .await
    };
    match saved.await {
        Ok(_) => answer(200, json!({ "data": { "id": id } })),
        Err(error) => failed("campaign_upsert_failed")(error),
    }
}

pub(super) async fn import_targets(
    State(staging): State<Staging>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if !is_signed_in(&headers) {
        return unauthorized();
    }
    let (Some(id), Some(csv)) = (body["campaignId"].as_str(), body["csv"].as_str()) else { return invalid() };
    let (id, numbers) = (id.to_owned(), csv.lines().skip(1).map(str::to_owned).collect::<Vec<_>>());
    let imported = async {
        let client = staging.connect().await?;
        client
            .execute(
                "insert into campaign_targets (id, campaign_id, msisdn) \
                 select gen_random_uuid(), $1::text::uuid, unnest($2::text[])",
                &[&id, &numbers],
            )
            .await
    };
    match imported.await {
        Ok(imported) => answer(200, json!({ "imported": imported })),
        Err(error) => failed("campaign_import_failed")(error),
    }
}

/// Starts a campaign, and lets the dispatcher run once. As in reality it sends whatever waits, of any campaign.
pub(super) async fn start_campaign(
    State(staging): State<Staging>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if !is_signed_in(&headers) {
        return unauthorized();
    }
    let Some(id) = body["campaignId"].as_str().map(str::to_owned) else { return invalid() };
    match dispatch(&staging, &id).await {
        Ok(numbers) => {
            staging.sent().extend(numbers);
            healthy("campaignDispatch", json!({ "id": id, "state": "running", "message": "started" }))
        }
        Err(error) => failed("campaign_update_failed")(error),
    }
}

async fn dispatch(staging: &Staging, campaign: &String) -> Result<Vec<String>, Error> {
    let mut client = staging.connect().await?;
    let work = client.transaction().await?;
    work.execute(
        "update campaigns set status = 'running', started_at = now() where id = $1::text::uuid",
        &[campaign],
    )
    .await?;
    work.execute(
        "insert into send_queue (campaign_id, msisdn_e164, payload, status) \
         select campaign_id, msisdn, '{}', 'PENDING' from campaign_targets \
         where campaign_id = $1::text::uuid and status = 'queued'",
        &[campaign],
    )
    .await?;
    let sent = work
        .query(
            "with taken as (update send_queue set status = 'SENT' where status = 'PENDING' \
             returning id, campaign_id, msisdn_e164), \
             logged as (insert into send_logs (queue_id, campaign_id, msisdn_e164, sent_at, provider_msg_id, delivery_status) \
             select id, campaign_id, msisdn_e164, now(), 'wamid.staging.' || id, 'sent' from taken), \
             shown as (update campaign_targets t set status = 'sent', last_update_at = now() from taken \
             where t.campaign_id = taken.campaign_id and t.msisdn = taken.msisdn_e164) \
             select msisdn_e164 from taken",
            &[],
        )
        .await?;
    work.commit().await?;
    sent.iter().map(|row| row.try_get(0)).collect()
}

/// Every station's passcode is its own code: this is a sandbox.
pub(super) async fn station_login(State(staging): State<Staging>, Json(body): Json<Value>) -> Response {
    let code = body["stationCode"].as_str().filter(|code| body["passcode"].as_str() == Some(code));
    let Some(code) = code.map(str::to_owned) else { return unauthorized() };
    let found = async {
        let client = staging.connect().await?;
        let sql = "select id::text, name from stations where engencode = $1";
        client.query_opt(sql, &[&code]).await?.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
    };
    let found: Result<Option<(String, String)>, Error> = found.await;
    match found {
        Ok(Some((id, name))) => answer(
            200,
            json!({ "token": format!("{STATION_TOKEN}{id}"), "stationId": id, "stationName": name, "operatorName": "Operator" }),
        ),
        Ok(None) => unauthorized(),
        Err(error) => failed("station_login_failed")(error),
    }
}

/// One conditional change; redemption and event belong to it. Business results come as 200.
pub(super) async fn station_redeem(
    State(staging): State<Staging>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let token = header_text(&headers, "authorization").strip_prefix("Bearer ").unwrap_or_default();
    let Some(station) = token.strip_prefix(STATION_TOKEN).map(str::to_owned) else { return unauthorized() };
    let key = header_text(&headers, "idempotency-key").to_owned();
    if key.is_empty() {
        return answer(400, json!({ "error": "missing_key" }));
    }
    let Some(code) = body["voucherCode"].as_str().map(str::to_owned) else { return invalid() };
    match redeem(&staging, &station, &code, &key).await {
        Ok(true) => answer(200, json!({ "status": "redeemed", "reference": key })),
        Ok(false) => answer(200, json!({ "status": "already_redeemed", "reference": key })),
        Err(error) => failed("redeem_failed")(error),
    }
}

async fn redeem(staging: &Staging, station: &String, code: &String, key: &String) -> Result<bool, Error> {
    let mut client = staging.connect().await?;
    let work = client.transaction().await?;
    let condition = if staging.redeems_twice { "true" } else { "status in ('issued', 'sent')" };
    let sql = format!(
        "with done as (update vouchers set status = 'redeemed', redeemed_at = now() \
             where upper(coalesce(code5, code_5)) = $2 and {condition} \
             and (station_scope is null or station_scope = $1::text::uuid) returning id), \
             told as (insert into voucher_events (id, voucher_id, event_type, station_id, context) \
             select gen_random_uuid(), id, 'redeemed', $1::text::uuid, '{{}}' from done) \
             insert into voucher_redemptions (id, voucher_id, station_id, meta) \
             select gen_random_uuid(), done.id, (select p.id from petrol_stations p join stations s on s.name = p.name \
             where s.id = $1::text::uuid), jsonb_build_object('idempotency_key', $3::text) from done"
    );
    let changed = work.execute(&sql, &[station, code, key]).await?;
    work.commit().await?;
    Ok(changed == 1)
}

/// Business failures are a 200 here too; it writes no redemption.
pub(super) async fn redeem_by_function(
    State(staging): State<Staging>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if !has_bearer(&headers, crate::SERVICE_KEY) {
        return answer(401, json!({ "error": "unauthorized" }));
    }
    let Some(id) = body["voucher_id"].as_str().map(str::to_owned) else { return invalid() };
    let changed = async {
        let client = staging.connect().await?;
        let sql = "update vouchers set status = 'redeemed', redeemed_at = now() \
                   where id = $1::text::uuid and status = 'issued'";
        client.execute(sql, &[&id]).await
    };
    match changed.await {
        Ok(1) => answer(200, json!({ "success": true, "voucher_id": id })),
        Ok(_) => answer(200, json!({ "success": false, "error": "voucher is not issued" })),
        Err(error) => failed("redeem_failed")(error),
    }
}
