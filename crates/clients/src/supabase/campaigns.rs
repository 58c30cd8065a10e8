//! Campaigns and targets.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use allclear_core::campaign::{CampaignAction, CampaignChange};
use allclear_core::ports::{Campaigns, Targets};
use allclear_core::target::{TargetProgress, TargetRange};
use allclear_core::{Campaign, CampaignId, CampaignStatus, PortError, Recipient, Target, TargetStatus};
use async_trait::async_trait;
use jiff::Timestamp;

use super::wire::{AuditRow, CampaignRow, Changed, TargetRow};
use super::{Result, Supabase, read};

const STATUSES: [TargetStatus; 7] = [
    TargetStatus::Queued,
    TargetStatus::QueuedThrottled,
    TargetStatus::Sent,
    TargetStatus::Delivered,
    TargetStatus::Read,
    TargetStatus::Failed,
    TargetStatus::OptedOut,
];
/// More changes of one campaign than happen in one moment.
const AT_ONCE: u32 = 10;
const CAMPAIGN: &str = "id,name,status,started_at,finished_at";

impl Supabase {
    fn campaign(&self, row: CampaignRow) -> Campaign {
        let CampaignRow { id, name, status, started_at, finished_at } = row;
        Campaign { id, name: self.http.clean(&name), status, started_at, finished_at }
    }
}

#[async_trait]
impl Campaigns for Supabase {
    /// `GET /campaigns?status=eq.running`.
    async fn running(&self) -> Result<Vec<Campaign>> {
        let status = format!("eq.{}", CampaignStatus::Running);
        let list = read("campaigns").query("select", CAMPAIGN).query("status", status);
        let rows = self.all(list, |row: &CampaignRow| row.id).await?;
        Ok(rows.into_iter().map(|row| self.campaign(row)).collect())
    }

    /// `GET /campaigns?id=eq.X`.
    async fn find(&self, id: CampaignId) -> Result<Campaign> {
        let call = read("campaigns").query("select", CAMPAIGN).query("id", format!("eq.{id}"));
        let found = self.rows::<CampaignRow>(call).await?.pop();
        let service = self.http.service();
        found
            .map(|row| self.campaign(row))
            .ok_or_else(|| PortError::NotFound { service, what: format!("campaign {id}") })
    }

    /// `POST /api/campaigns/pause` of the admin API.
    async fn pause(&self, id: CampaignId) -> Result<()> {
        self.admin.act(id, "pause").await
    }

    /// `POST /api/campaigns/start` of the admin API.
    async fn start(&self, id: CampaignId) -> Result<()> {
        self.admin.act(id, "start").await
    }

    /// `POST /api/campaigns/stop` of the admin API.
    async fn stop(&self, id: CampaignId) -> Result<()> {
        self.admin.act(id, "stop").await
    }

    /// `GET /audit_log?target_id=eq.X&action=in.(...)&created_at=gte.T`.
    async fn changes_since(&self, id: CampaignId, since: Timestamp) -> Result<Vec<CampaignChange>> {
        let us = self.admin.actor().await?;
        let list = read("audit_log")
            .query("select", "id,actor_id,action,target_table,target_id,created_at")
            .query("target_id", format!("eq.{id}"))
            .query("action", "in.(campaign_pause,campaign_start,campaign_stop)")
            .query("created_at", format!("gte.{since}"));
        let mut rows = self.all(list, |row: &AuditRow| row.id).await?;
        // The key of this table says nothing about the time.
        rows.sort_by_key(|row| row.created_at);
        Ok(rows.into_iter().map(|row| change_of(&row, &us)).collect())
    }

    /// `GET /audit_log?target_id=eq.X&action=in.(...)&order=created_at.desc&limit=1`.
    async fn last_change(&self, id: CampaignId) -> Result<Option<CampaignChange>> {
        let us = self.admin.actor().await?;
        let last = read("audit_log")
            .query("select", "id,actor_id,action,target_table,target_id,created_at")
            .query("target_id", format!("eq.{id}"))
            .query("action", "in.(campaign_pause,campaign_start,campaign_stop)")
            .query("order", "created_at.desc")
            .query("limit", AT_ONCE);
        let rows = self.rows::<AuditRow>(last).await?.into_iter().map(|row| change_of(&row, &us));
        // Of two changes in the same moment nobody knows which came last; then somebody else's stands.
        Ok(rows.min_by_key(|change| (Reverse(change.at), change.ours)))
    }
}

fn change_of(row: &AuditRow, us: &str) -> CampaignChange {
    let ours = row.actor_id.as_deref() == Some(us);
    CampaignChange { ours, action: CampaignAction::from(row.action.as_str()), at: row.created_at }
}

/// Whether a code holds nothing that must be taken out: too short for a secret or a number.
fn is_short_word(code: &str) -> bool {
    code.len() <= 6 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[async_trait]
impl Targets for Supabase {
    /// `GET /campaign_targets?campaign_id=eq.X&status=eq.failed&id=gt.Y&id=lte.Z&order=id`. Only the columns that are not
    /// known from the request: there may be a million rows.
    async fn failed(&self, campaign: CampaignId, range: TargetRange, limit: u32) -> Result<Vec<Target>> {
        let mut call = read("campaign_targets")
            .query("select", "id,msisdn,error_code,last_update_at")
            .query("campaign_id", format!("eq.{campaign}"))
            .query("status", format!("eq.{}", TargetStatus::Failed))
            .query("order", "id")
            .query("limit", limit);
        if let Some(after) = range.after {
            call = call.query("id", format!("gt.{after}"));
        }
        if let Some(until) = range.until {
            call = call.query("id", format!("lte.{until}"));
        }
        let target = |row: TargetRow<'_>| Target {
            id: row.id,
            campaign,
            recipient: Recipient::read(row.msisdn.as_ref().map_or("", |text| &text.0)),
            status: TargetStatus::Failed,
            error_code: row.error_code.map(|code| {
                if is_short_word(&code.0) { code.0.into_owned() } else { self.http.clean(&code.0) }
            }),
            last_update_at: row.last_update_at,
        };
        // Borrowed from the answer: two strings fewer for each row.
        let reply = self.checked(call).await?;
        let rows: Vec<TargetRow<'_>> = reply.expect()?;
        Ok(rows.into_iter().map(target).collect())
    }

    /// `HEAD /campaign_targets?campaign_id=eq.X&status=eq.failed` with an exact count.
    async fn count_failed(&self, campaign: CampaignId) -> Result<u64> {
        let call = read("campaign_targets")
            .query("campaign_id", format!("eq.{campaign}"))
            .query("status", format!("eq.{}", TargetStatus::Failed));
        self.count(call).await
    }

    /// `HEAD /campaign_targets?campaign_id=eq.X[&status=eq.S]` for each status, and the newest change.
    async fn progress(&self, campaign: CampaignId) -> Result<TargetProgress> {
        let all = || read("campaign_targets").query("campaign_id", format!("eq.{campaign}"));
        let mut by_status = BTreeMap::new();
        for status in STATUSES {
            let count = self.count(all().query("status", format!("eq.{status}"))).await?;
            if count > 0 {
                by_status.insert(status.to_string(), count);
            }
        }
        let newest = all()
            .query("select", "last_update_at")
            .query("last_update_at", "not.is.null")
            .query("order", "last_update_at.desc")
            .query("limit", 1);
        let last_update_at = self.rows::<Changed>(newest).await?.pop().map(|row| row.last_update_at);
        Ok(TargetProgress { by_status, last_update_at })
    }
}
