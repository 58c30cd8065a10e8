//! What each smoke test does.

use std::time::Duration;

use allclear_core::PortError;
use allclear_core::recovery::SmokeResult;
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::StagingSmokeTests;
use crate::http::{Call, Reply};

type Result<T> = std::result::Result<T, PortError>;

/// How long a started campaign may take to send its one message.
const SEND_WITHIN: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What a smoke voucher is worth, in the admin API's unit.
const AMOUNT: u32 = 100;

#[derive(Deserialize)]
struct Generated {
    vouchers: Vec<Issued>,
}

#[derive(Deserialize)]
struct Issued {
    id: Uuid,
}

#[derive(Deserialize)]
struct VoucherRow {
    code_5: String,
    status: String,
}

#[derive(Deserialize)]
struct SentRow {
    msisdn_e164: String,
}

#[derive(Deserialize)]
struct Function {
    success: bool,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Deserialize)]
struct Login {
    token: String,
}

#[derive(Deserialize)]
struct Redeemed {
    status: String,
    #[serde(default)]
    message: Option<String>,
}

impl StagingSmokeTests {
    pub(super) async fn issue_voucher(&self, marker: &str) -> Result<SmokeResult> {
        let id = self.issue(marker, "issue").await?;
        let row = self.voucher(id).await?;
        Ok(passed(format!("voucher {id} was issued and the database has it as {}", row.status)))
    }

    /// By the function that redeems: it changes the row and writes no redemption.
    pub(super) async fn redeem_voucher(&self, marker: &str) -> Result<SmokeResult> {
        let id = self.issue(marker, "issue").await?;
        if self.voucher(id).await?.status != "redeemed" {
            let body = json!({ "voucher_id": id, "customer_msisdn": self.number.expose() });
            let call = Call::write(Method::POST, "/functions/v1/ai-redeem-voucher", body);
            let reply = self.functions.send(call).await?;
            let answer: Function = answered(&reply)?;
            if !answer.success {
                let why = reply.clean(answer.error.as_deref().unwrap_or("no reason given"));
                return Ok(failed(format!("the function refused to redeem voucher {id}: {why}")));
            }
        }
        let status = self.voucher(id).await?.status;
        Ok(if status == "redeemed" {
            passed(format!("voucher {id} was redeemed and the database says so"))
        } else {
            failed(format!("the function answered success and voucher {id} is {status}"))
        })
    }

    /// A station asks twice under two keys; there must be one redemption.
    pub(super) async fn redeem_at_station(&self, marker: &str) -> Result<SmokeResult> {
        let id = self.issue(marker, "station").await?;
        let code = self.voucher(id).await?.code_5;
        let login = json!({
            "stationCode": self.station.code,
            "passcode": self.station.passcode.expose_secret(),
        });
        let reply = self.stations.send(Call::read("/api/station/login").posting(login)).await?;
        let session: Login = reply.expect()?;
        let token = session.token.into();
        self.stations.keep_secret(&token);
        let first = self.redeem_with(&token, &code, &format!("{marker}-1")).await?;
        let second = self.redeem_with(&token, &code, &format!("{marker}-2")).await?;
        let redemptions = self
            .count(Call::read("/rest/v1/voucher_redemptions").query("voucher_id", format!("eq.{id}")))
            .await?;
        let status = self.voucher(id).await?.status;
        let recorded =
            if redemptions == 1 { "1 redemption".to_owned() } else { format!("{redemptions} redemptions") };
        let seen =
            format!("the station was told {first}, then {second}; voucher {id} is {status} with {recorded}");
        let holds = redemptions == 1 && status == "redeemed" && second == "already_redeemed";
        Ok(if holds { passed(seen) } else { failed(seen) })
    }

    async fn redeem_with(&self, token: &secrecy::SecretString, code: &str, key: &str) -> Result<String> {
        let body = json!({ "voucherCode": code, "method": "code" });
        let call = Call::write(Method::POST, "/api/station/redeem", body)
            .header("authorization", format!("Bearer {}", token.expose_secret()))
            .header("idempotency-key", key);
        let reply = self.stations.send(call).await?;
        let redeemed: Redeemed = answered(&reply)?;
        let words =
            redeemed.message.map_or(redeemed.status.clone(), |says| format!("{} ({says})", redeemed.status));
        Ok(reply.clean(&words))
    }

    pub(super) async fn send_campaign(&self, marker: &str) -> Result<SmokeResult> {
        let campaign = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("smoke {marker}").as_bytes());
        let mut sent = self.sent(campaign).await?;
        if sent.is_empty() {
            let waiting = Call::read("/rest/v1/send_queue").query("status", "eq.PENDING");
            let waiting = self.count(waiting).await?;
            if waiting > 0 {
                return Ok(failed(format!(
                    "{waiting} messages of the restored copy wait in staging's send queue; nothing was started, because they would go to real people"
                )));
            }
            self.start_campaign(campaign, marker).await?;
            sent = self.wait_for_send(campaign).await?;
        }
        let strangers = sent.iter().filter(|row| row.msisdn_e164 != self.number.expose()).count();
        Ok(match (sent.len(), strangers) {
            (1, 0) => passed(format!("campaign {campaign} sent one message, to {}", self.number)),
            (0, _) => failed(format!("campaign {campaign} was started and sent nothing within two minutes")),
            (messages, strangers) => failed(format!(
                "campaign {campaign} sent {messages} messages, {strangers} of them to numbers that are not allow-listed: stop staging's dispatcher"
            )),
        })
    }

    async fn start_campaign(&self, campaign: Uuid, marker: &str) -> Result<()> {
        let body = json!({
            "id": campaign, "name": format!("Smoke test {marker}"), "type": "promo",
            "templateId": "custom_text", "status": "draft",
        });
        self.admin_write("/api/campaigns", &body).await?;
        let targets = Call::read("/rest/v1/campaign_targets").query("campaign_id", format!("eq.{campaign}"));
        // A second import of the same number fails instead of merging.
        if self.count(targets).await? == 0 {
            let csv = format!("msisdn\n{}\n", self.number.expose());
            self.admin_write("/api/campaigns/import-targets", &json!({ "campaignId": campaign, "csv": csv }))
                .await?;
        }
        self.admin_write("/api/campaigns/start", &json!({ "campaignId": campaign })).await
    }

    async fn wait_for_send(&self, campaign: Uuid) -> Result<Vec<SentRow>> {
        let give_up_at = self.clock.now() + SEND_WITHIN;
        loop {
            let sent = self.sent(campaign).await?;
            if !sent.is_empty() || self.clock.now() >= give_up_at {
                return Ok(sent);
            }
            self.clock.sleep_until(self.clock.now() + LOOK_EVERY).await;
        }
    }

    async fn sent(&self, campaign: Uuid) -> Result<Vec<SentRow>> {
        let call = Call::read("/rest/v1/send_logs")
            .query("select", "msisdn_e164")
            .query("campaign_id", format!("eq.{campaign}"));
        self.tables.send(call).await?.expect()
    }

    /// Issues a voucher to our own number, once for a marker and a purpose.
    async fn issue(&self, marker: &str, purpose: &str) -> Result<Uuid> {
        let key = format!("smoke-{marker}-{purpose}");
        let body = json!({
            "amount": AMOUNT, "currency": "RWF", "recipients": [{ "msisdn": self.number.expose() }],
        });
        let make = || {
            Call::write(Method::POST, "/api/vouchers/generate", body.clone())
                .header("x-idempotency-key", key.clone())
        };
        let reply = self.admin.call(make).await?;
        let generated: Generated = answered(&reply)?;
        let first = generated.vouchers.into_iter().next();
        first.map(|one| one.id).ok_or_else(|| reply.unusable("it issued no voucher"))
    }

    async fn voucher(&self, id: Uuid) -> Result<VoucherRow> {
        let call =
            Call::read("/rest/v1/vouchers").query("select", "code_5,status").query("id", format!("eq.{id}"));
        let reply = self.tables.send(call).await?;
        let rows: Vec<VoucherRow> = reply.expect()?;
        rows.into_iter().next().ok_or_else(|| PortError::Rejected {
            service: reply.service,
            call: reply.call.clone(),
            code: None,
            detail: format!("voucher {id} was issued and the database does not have it"),
        })
    }

    async fn count(&self, call: Call) -> Result<u64> {
        let reply = self.tables.send(call.query("select", "id")).await?;
        Ok(reply.expect::<Vec<Value>>()?.len() as u64)
    }

    async fn admin_write(&self, path: &'static str, body: &Value) -> Result<()> {
        let reply = self.admin.call(|| Call::write(Method::POST, path, body.clone())).await?;
        answered::<Value>(&reply).map(drop)
    }
}

/// The body of an answer. A server's own error is a refusal here: all that is tried is keyed, so it may be tried again, and
/// the test is about whether it works.
fn answered<T: serde::de::DeserializeOwned>(reply: &Reply) -> Result<T> {
    match reply.json() {
        Some(body) if reply.status >= 500 => {
            let words = body["error"].as_str().or(body["message"].as_str()).unwrap_or("no reason given");
            Err(reply.rejected(&reply.status.to_string(), words))
        }
        _ => reply.expect(),
    }
}

fn passed(says: String) -> SmokeResult {
    SmokeResult::Passed { says }
}

fn failed(says: String) -> SmokeResult {
    SmokeResult::Failed { says }
}
