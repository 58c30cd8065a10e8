//! The dispatcher's queue, and the audit log.

use allclear_core::ports::{AuditLog, AuditRow, SendQueue};
use allclear_core::{CampaignId, PortError};
use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::{Result, Supabase, read, table, wire};
use crate::http::Call;

const UNSENT: &str = "in.(PENDING,SKIPPED)";

fn rows_of(campaign: CampaignId, status: &str) -> Call {
    read("send_queue").query("campaign_id", format!("eq.{campaign}")).query("status", status)
}

fn filters(campaign: CampaignId, status: &str) -> Vec<(&'static str, String)> {
    vec![("campaign_id", format!("eq.{campaign}")), ("status", status.to_owned())]
}

#[async_trait]
impl SendQueue for Supabase {
    async fn pending(&self, campaign: CampaignId) -> Result<u64> {
        self.count(rows_of(campaign, "eq.PENDING")).await
    }

    async fn skipped(&self, campaign: CampaignId) -> Result<u64> {
        self.count(rows_of(campaign, "eq.SKIPPED")).await
    }

    /// `PATCH /send_queue?campaign_id=eq.X&status=eq.PENDING {status: SKIPPED}`: one statement.
    async fn skip_pending(&self, campaign: CampaignId) -> Result<u64> {
        self.change(&table("send_queue"), &filters(campaign, "eq.PENDING"), json!({ "status": "SKIPPED" }))
            .await
    }

    /// `PATCH /send_queue?campaign_id=eq.X&status=eq.SKIPPED {status: PENDING}`: one statement.
    async fn restore_skipped(&self, campaign: CampaignId) -> Result<u64> {
        self.change(&table("send_queue"), &filters(campaign, "eq.SKIPPED"), json!({ "status": "PENDING" }))
            .await
    }

    async fn due_before(&self, campaign: CampaignId, at: Timestamp) -> Result<u64> {
        self.count(rows_of(campaign, UNSENT).query("next_attempt_at", format!("lt.{at}"))).await
    }

    /// `PATCH /send_queue?campaign_id=eq.X&status=in.(PENDING,SKIPPED)&next_attempt_at=lt.T {next_attempt_at: T}`.
    async fn postpone(&self, campaign: CampaignId, at: Timestamp) -> Result<u64> {
        let mut earlier = filters(campaign, UNSENT);
        earlier.push(("next_attempt_at", format!("lt.{at}")));
        self.change(&table("send_queue"), &earlier, json!({ "next_attempt_at": at })).await
    }
}

#[async_trait]
impl AuditLog for Supabase {
    /// `POST /audit_log?on_conflict=id` with `resolution=ignore-duplicates`. There is no route for it in the admin API.
    ///
    /// The row names us as its actor if we have signed in to the admin API before or can do so now. While that API is down
    /// the row goes in without an actor: that the record exists matters more, and its id and target are ours.
    async fn insert(&self, row: &AuditRow) -> Result<()> {
        let body = json!({
            "id": row.id,
            "actor_id": self.admin.actor_if_reachable().await?,
            "action": row.action,
            "target_table": row.target_table,
            "target_id": row.target_id,
            "diff": row.diff,
        });
        let call = Call::write(Method::POST, table("audit_log"), body)
            .query("on_conflict", "id")
            .header("prefer", "resolution=ignore-duplicates, return=minimal");
        match self.checked(call).await {
            Ok(_) | Err(PortError::AlreadyDone { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// `GET /audit_log?id=eq.X`.
    async fn find(&self, id: Uuid) -> Result<Option<AuditRow>> {
        let call = read("audit_log")
            .query("select", "id,actor_id,action,target_table,target_id,diff,created_at")
            .query("id", format!("eq.{id}"));
        let row = self.rows::<wire::AuditRow>(call).await?.pop();
        Ok(row.map(|row| AuditRow {
            id: row.id,
            action: row.action,
            target_table: row.target_table.unwrap_or_default(),
            target_id: row.target_id.unwrap_or_default(),
            diff: row.diff,
        }))
    }
}
