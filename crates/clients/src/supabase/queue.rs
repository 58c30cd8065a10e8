//! The dispatcher's queue, and the audit log.

use std::collections::HashSet;

use allclear_core::ports::{AuditLog, AuditRow, QueueDepth, SendQueue};
use allclear_core::{CampaignId, PortError};
use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::wire::{Numbered, SentFrom};
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

    /// `HEAD /send_queue?campaign_id=eq.X&status=eq.S` for each status.
    async fn depth(&self, campaign: CampaignId, now: Timestamp) -> Result<QueueDepth> {
        let count = async |status: &str| self.count(rows_of(campaign, status)).await;
        let due = rows_of(campaign, "eq.PENDING").query("next_attempt_at", format!("lte.{now}"));
        Ok(QueueDepth {
            pending: count("eq.PENDING").await?,
            due: self.count(due).await?,
            sent: count("eq.SENT").await?,
            failed: count("eq.FAILED").await?,
            skipped: count("eq.SKIPPED").await?,
        })
    }

    /// Two walks: the ids of waiting rows, and the queue ids of the send log that went out.
    async fn sent_but_pending(&self, campaign: CampaignId) -> Result<u64> {
        let mut waiting = HashSet::new();
        let pending = rows_of(campaign, "eq.PENDING").query("select", "id");
        self.walk(
            pending,
            |row: &Numbered| row.id,
            usize::MAX,
            |row| {
                waiting.insert(row.id);
            },
        )
        .await?;
        let mut sent = HashSet::new();
        let log = read("send_logs")
            .query("select", "id,queue_id")
            .query("campaign_id", format!("eq.{campaign}"))
            .query("error", "is.null");
        self.walk(
            log,
            |row: &SentFrom| row.id,
            usize::MAX,
            |row| {
                sent.extend(row.queue_id.filter(|id| waiting.contains(id)));
            },
        )
        .await?;
        Ok(sent.len() as u64)
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
            .keyed()
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
