//! The dispatcher's queue, and the audit log.

use std::collections::HashSet;

use allclear_core::ports::{AuditLog, AuditRow, GivenUpMessage, QueueDepth, SendQueue};
use allclear_core::{CampaignId, QueueRows};
use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::wire::{Numbered, QueuedAs, SentFrom};
use super::{Result, Supabase, count_of, read, table, wire};
use crate::http::Call;

/// Ranges of ids in one call at most: an address of some four thousand characters passes every server that is known.
const RANGES: usize = 80;

/// After so many tries the dispatcher gives a message up.
const MOST_TRIES: u32 = 5;

/// The filters of one call. All of them hold.
type Filters = Vec<(&'static str, String)>;

fn rows_of(campaign: CampaignId, status: &str) -> Call {
    read("send_queue").query("campaign_id", format!("eq.{campaign}")).query("status", status)
}

fn filters(campaign: CampaignId, status: &str) -> Filters {
    vec![("campaign_id", format!("eq.{campaign}")), ("status", status.to_owned())]
}

fn reading(filters: &Filters) -> Call {
    filters.iter().fold(read("send_queue"), |call, (column, condition)| call.query(column, condition))
}

/// `id.eq.5,and(id.gte.7,id.lte.9)`, as it stands within `or(…)`.
fn within(ranges: &[(i64, i64)]) -> String {
    let one = |(first, last): &(i64, i64)| {
        if first == last { format!("id.eq.{first}") } else { format!("and(id.gte.{first},id.lte.{last})") }
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(",")
}

/// The rows of a campaign with a status and among these, for as many calls as their ranges need.
fn among(campaign: CampaignId, status: &str, rows: &QueueRows) -> Vec<Filters> {
    let some = |ranges: &[(i64, i64)]| {
        let mut all = filters(campaign, status);
        all.push(("or", format!("({})", within(ranges))));
        all
    };
    rows.ranges().chunks(RANGES).map(some).collect()
}

/// Those of these rows that wait and were never tried.
fn never_tried(campaign: CampaignId, rows: &QueueRows) -> Vec<Filters> {
    let mut waiting = among(campaign, "eq.PENDING", rows);
    for filters in &mut waiting {
        filters.push(("attempt", "eq.0".to_owned()));
    }
    waiting
}

/// The unsent rows of a campaign, those that wait and those of `held` that are skipped, for as many calls as the ranges
/// need: each call is about the rows from the first of its ranges to the first of the next call's.
fn unsent(campaign: CampaignId, held: &QueueRows) -> Vec<Filters> {
    let chunks: Vec<&[(i64, i64)]> = held.ranges().chunks(RANGES).collect();
    if chunks.is_empty() {
        return vec![filters(campaign, "eq.PENDING")];
    }
    let some = |(index, ranges): (usize, &&[(i64, i64)])| {
        let unsent = format!("(status.eq.PENDING,and(status.eq.SKIPPED,or({})))", within(ranges));
        let mut all = vec![("campaign_id", format!("eq.{campaign}")), ("or", unsent)];
        if index > 0 {
            all.push(("id", format!("gte.{}", ranges[0].0)));
        }
        if let Some(next) = chunks.get(index + 1) {
            all.push(("id", format!("lt.{}", next[0].0)));
        }
        all
    };
    chunks.iter().enumerate().map(some).collect()
}

/// Those that are due before a time.
fn due(mut rows: Vec<Filters>, at: Timestamp) -> Vec<Filters> {
    for filters in &mut rows {
        filters.push(("next_attempt_at", format!("lt.{at}")));
    }
    rows
}

/// Those from a row on.
fn from_row(mut rows: Vec<Filters>, first: i64) -> Vec<Filters> {
    for filters in &mut rows {
        filters.push(("id", format!("gte.{first}")));
    }
    rows
}

impl Supabase {
    async fn count_each(&self, rows: Vec<Filters>) -> Result<u64> {
        let mut all = 0;
        for filters in rows {
            all += self.count(reading(&filters)).await?;
        }
        Ok(all)
    }

    async fn change_each(&self, rows: Vec<Filters>, change: Value) -> Result<u64> {
        let mut all = 0;
        for filters in rows {
            all += self.change(&table("send_queue"), &filters, change.clone()).await?;
        }
        Ok(all)
    }

    async fn skip_each(&self, filters: &Filters) -> Result<Vec<i64>> {
        let skipped = json!({ "status": "SKIPPED" });
        let mut call = Call::write(Method::PATCH, table("send_queue"), skipped)
            .header("prefer", "return=representation, count=exact")
            .query("select", "id");
        for (column, condition) in filters {
            call = call.query(column, condition);
        }
        let reply = self.checked(call).await?;
        let rows: Vec<Numbered> = reply.expect()?;
        if rows.len() as u64 != count_of(&reply)? {
            return Err(reply.unusable("it does not show all the rows that it changed"));
        }
        Ok(rows.into_iter().map(|row| row.id).collect())
    }

    /// The row with so many of these before it, by id.
    async fn row_at(&self, rows: &Filters, place: u64) -> Result<Option<i64>> {
        let one =
            reading(rows).query("select", "id").query("order", "id").query("offset", place).query("limit", 1);
        // An offset beyond the rows is an empty list: it is refused only where their count is asked for.
        Ok(self.rows::<Numbered>(one).await?.pop().map(|row| row.id))
    }
}

#[async_trait]
impl SendQueue for Supabase {
    /// `HEAD /send_queue?campaign_id=eq.X&status=eq.FAILED` with an exact count.
    async fn given_up(&self, campaign: CampaignId) -> Result<u64> {
        self.count(rows_of(campaign, "eq.FAILED")).await
    }

    /// The walks of `given_up`.
    async fn given_up_messages(&self, campaign: CampaignId) -> Result<Vec<GivenUpMessage>> {
        self.read_given_up(campaign).await
    }

    async fn given_up_among(&self, campaign: CampaignId, rows: &QueueRows) -> Result<u64> {
        self.count_each(among(campaign, "eq.FAILED", rows)).await
    }

    /// `PATCH /send_queue?campaign_id=eq.X&status=eq.FAILED&or=(and(id.gte.A,id.lte.B),…)
    /// {status: PENDING, attempt: 0, next_attempt_at: T}`.
    async fn put_back(&self, campaign: CampaignId, rows: &QueueRows, at: Timestamp) -> Result<u64> {
        let waiting = json!({ "status": "PENDING", "attempt": 0, "next_attempt_at": at });
        self.change_each(among(campaign, "eq.FAILED", rows), waiting).await
    }

    async fn untried(&self, campaign: CampaignId, rows: &QueueRows) -> Result<u64> {
        self.count_each(never_tried(campaign, rows)).await
    }

    /// `PATCH /send_queue?campaign_id=eq.X&status=eq.PENDING&attempt=eq.0&or=(…) {status: FAILED, attempt: 5}`.
    async fn give_up(&self, campaign: CampaignId, rows: &QueueRows) -> Result<u64> {
        let given_up = json!({ "status": "FAILED", "attempt": MOST_TRIES });
        self.change_each(never_tried(campaign, rows), given_up).await
    }

    /// `GET /send_queue?select=campaign_id&status=eq.PENDING&campaign_id=gt.X&order=campaign_id&limit=1`, once for each campaign:
    /// the queue may have a hundred thousand rows, and its campaigns are few.
    async fn waiting_campaigns(&self) -> Result<Vec<CampaignId>> {
        let mut found: Vec<CampaignId> = Vec::new();
        loop {
            let mut next = read("send_queue")
                .query("select", "campaign_id")
                .query("status", "eq.PENDING")
                .query("order", "campaign_id")
                .query("limit", "1");
            next = match found.last() {
                None => next.query("campaign_id", "not.is.null"),
                Some(last) => next.query("campaign_id", format!("gt.{last}")),
            };
            let Some(row) = self.rows::<wire::OfCampaign>(next.clone()).await?.pop() else {
                return Ok(found);
            };
            if found.last().is_some_and(|last| row.campaign_id <= *last) {
                return Err(self.endless(&next, "the next campaign is not after the last one"));
            }
            found.push(row.campaign_id);
        }
    }

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

    /// One walk over the ids and states of all of the campaign's rows.
    async fn waiting(&self, campaign: CampaignId) -> Result<QueueRows> {
        let list =
            read("send_queue").query("campaign_id", format!("eq.{campaign}")).query("select", "id,status");
        let mut rows = Vec::new();
        let waits = |row: QueuedAs| rows.push((row.id, row.status == "PENDING"));
        self.walk(list, |row: &QueuedAs| row.id, usize::MAX, waits).await?;
        Ok(QueueRows::of(rows))
    }

    async fn skipped(&self, campaign: CampaignId, rows: &QueueRows) -> Result<u64> {
        self.count_each(among(campaign, "eq.SKIPPED", rows)).await
    }

    /// `PATCH /send_queue?campaign_id=eq.X&status=eq.PENDING&or=(and(id.gte.A,id.lte.B),…)&select=id {status: SKIPPED}`, with
    /// `return=representation`: only the answer says which rows it was that changed.
    async fn skip(&self, campaign: CampaignId, rows: &QueueRows) -> Result<Vec<i64>> {
        let mut changed = Vec::new();
        for filters in among(campaign, "eq.PENDING", rows) {
            changed.extend(self.skip_each(&filters).await?);
        }
        changed.sort_unstable();
        Ok(changed)
    }

    /// `PATCH /send_queue?campaign_id=eq.X&status=eq.SKIPPED&or=(and(id.gte.A,id.lte.B),…) {status: PENDING}`.
    async fn restore(&self, campaign: CampaignId, rows: &QueueRows) -> Result<u64> {
        self.change_each(among(campaign, "eq.SKIPPED", rows), json!({ "status": "PENDING" })).await
    }

    async fn due_before(&self, campaign: CampaignId, held: &QueueRows, at: Timestamp) -> Result<u64> {
        self.count_each(due(unsent(campaign, held), at)).await
    }

    /// `PATCH /send_queue?campaign_id=eq.X&or=(status.eq.PENDING,and(status.eq.SKIPPED,or(…)))&next_attempt_at=lt.T
    /// {next_attempt_at: T}`.
    async fn postpone(&self, campaign: CampaignId, held: &QueueRows, at: Timestamp) -> Result<u64> {
        self.change_each(due(unsent(campaign, held), at), json!({ "next_attempt_at": at })).await
    }

    /// `GET /send_queue?campaign_id=eq.X&or=(status.eq.PENDING,…)&order=id&offset=N&limit=1`.
    async fn unsent_at(&self, campaign: CampaignId, held: &QueueRows, place: u64) -> Result<Option<i64>> {
        let mut windows = unsent(campaign, held);
        let last = windows.pop();
        let mut place = place;
        for filters in windows {
            let within = self.count(reading(&filters)).await?;
            if place < within {
                return self.row_at(&filters, place).await;
            }
            place -= within;
        }
        match last {
            Some(filters) => self.row_at(&filters, place).await,
            None => Ok(None),
        }
    }

    async fn due_from(
        &self,
        campaign: CampaignId,
        held: &QueueRows,
        first: i64,
        at: Timestamp,
    ) -> Result<u64> {
        self.count_each(due(from_row(unsent(campaign, held), first), at)).await
    }

    /// As `postpone`, with `id=gte.N`.
    async fn postpone_from(
        &self,
        campaign: CampaignId,
        held: &QueueRows,
        first: i64,
        at: Timestamp,
    ) -> Result<u64> {
        let later = due(from_row(unsent(campaign, held), first), at);
        self.change_each(later, json!({ "next_attempt_at": at })).await
    }
}

#[async_trait]
impl AuditLog for Supabase {
    /// `POST /audit_log?on_conflict=id` with `resolution=ignore-duplicates`. There is no route for it in the admin API.
    ///
    /// The row names us as its actor if we have signed in to the admin API before or can do so now. While that API is down
    /// the row goes in without an actor: that the record exists matters more, and its id and target are ours.
    async fn insert(&self, row: &AuditRow) -> Result<()> {
        let actor = self.admin.actor_if_reachable().await?;
        self.insert_audit(row, actor).await
    }

    /// `GET /audit_log?id=eq.X`.
    async fn find(&self, id: Uuid) -> Result<Option<AuditRow>> {
        let call = read("audit_log")
            .query("select", "id,actor_id,action,target_table,target_id,diff,created_at")
            .query("id", format!("eq.{id}"));
        let row = self.rows::<wire::AuditRow>(call).await?.pop();
        Ok(row.map(audit_row))
    }

    /// `GET /audit_log?action=eq.A&target_id=eq.X`.
    async fn all_of(&self, action: &str, target: &str) -> Result<Vec<(AuditRow, Timestamp)>> {
        let list = read("audit_log")
            .query("select", "id,actor_id,action,target_table,target_id,diff,created_at")
            .query("action", format!("eq.{action}"))
            .query("target_id", format!("eq.{target}"));
        let mut rows = self.all(list, |row: &wire::AuditRow| row.id).await?;
        // The key of this table says nothing about the time.
        rows.sort_by_key(|row| row.created_at);
        Ok(rows.into_iter().map(|row| (row.created_at, row)).map(|(at, row)| (audit_row(row), at)).collect())
    }
}

fn audit_row(row: wire::AuditRow) -> AuditRow {
    AuditRow {
        id: row.id,
        action: row.action,
        target_table: row.target_table.unwrap_or_default(),
        target_id: row.target_id.unwrap_or_default(),
        diff: row.diff,
    }
}
