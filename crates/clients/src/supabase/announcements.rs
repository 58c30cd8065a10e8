//! Who runs what, in the audit log.

use std::collections::BTreeMap;

use allclear_core::owner::{
    Announced, AnnouncedEffect, Announcement, EffectFound, EffectPlace, Ended, effect_id, ended_id,
    started_id,
};
use allclear_core::ports::{Announcements, AuditLog as _, AuditRow};
use async_trait::async_trait;
use serde_json::json;

use super::{Result, Supabase, read, wire};

const STARTED: &str = "allclear_run_started";
const ENDED: &str = "allclear_run_ended";
const EFFECT: &str = "allclear_run_effect";
/// What the rows say that they concern: no table of the platform's.
const TABLE: &str = "allclear_runs";

#[async_trait]
impl Announcements for Supabase {
    /// `GET /audit_log?target_id=eq.RUNBOOK&action=in.(allclear_run_started,allclear_run_ended)`.
    async fn all(&self, runbook: &str) -> Result<Vec<Announced>> {
        let list = read("audit_log")
            .query("select", "id,actor_id,action,target_table,target_id,diff,created_at")
            .query("target_id", format!("eq.{runbook}"))
            .query("action", format!("in.({STARTED},{ENDED})"));
        let rows = self.all(list, |row: &wire::AuditRow| row.id).await?;
        let ends = rows.iter().filter(|row| row.action == ENDED);
        let ends: BTreeMap<_, _> = ends.map(|row| (row.id, how_it_ended(&row.diff))).collect();
        let announced = |row: &wire::AuditRow| {
            // A row of that name that is none of ours says nothing.
            let says: Announcement = serde_json::from_value(row.diff.clone()).ok()?;
            let number = u32::try_from(row.diff["number"].as_u64()?).ok()?;
            let ended = ends.get(&ended_id(runbook, number)).cloned();
            Some(Announced { number, says, since: row.created_at, ended })
        };
        let mut all: Vec<_> = rows.iter().filter(|row| row.action == STARTED).filter_map(announced).collect();
        all.sort_by_key(|one| one.number);
        Ok(all)
    }

    async fn announce(&self, number: u32, says: &Announcement) -> Result<()> {
        let mut diff = json!(says);
        diff["number"] = json!(number);
        self.insert(&AuditRow {
            id: started_id(&says.runbook, number),
            action: STARTED.to_owned(),
            target_table: TABLE.to_owned(),
            target_id: says.runbook.clone(),
            diff,
        })
        .await
    }

    async fn end(&self, one: &Announced, ended: &Ended) -> Result<()> {
        let Announcement { run, runbook, .. } = &one.says;
        let mut diff = json!(ended);
        diff["run"] = json!(run);
        diff["number"] = json!(one.number);
        self.insert(&AuditRow {
            id: ended_id(runbook, one.number),
            action: ENDED.to_owned(),
            target_table: TABLE.to_owned(),
            target_id: runbook.clone(),
            diff,
        })
        .await
    }

    /// The row concerns the run and not its runbook, so that [`all`](Announcements::all) need not read past it. Read back by
    /// `GET /audit_log?id=in.(EFFECT,END)`. It names no actor: each effect would try to sign in while the admin API is away.
    async fn announce_effect(&self, at: &EffectPlace, effect: &AnnouncedEffect) -> Result<EffectFound> {
        let id = effect_id(&effect.run, &at.key);
        let row = AuditRow {
            id,
            action: EFFECT.to_owned(),
            target_table: TABLE.to_owned(),
            target_id: effect.run.clone(),
            diff: json!(effect),
        };
        self.insert_audit(&row, None).await?;
        let end = at.number.map(|number| ended_id(&at.runbook, number));
        let ids: Vec<String> = [Some(id), end].into_iter().flatten().map(|id| id.to_string()).collect();
        let call = read("audit_log")
            .query("select", "id,actor_id,action,target_table,target_id,diff,created_at")
            .query("id", format!("in.({})", ids.join(",")));
        let mut found = EffectFound::default();
        for row in self.rows::<wire::AuditRow>(call).await? {
            if row.id == id {
                found.effect = serde_json::from_value(row.diff).ok();
            } else {
                found.ended = Some(how_it_ended(&row.diff));
            }
        }
        Ok(found)
    }
}

/// Its id alone says that the run has ended; what stands in the row is for people.
fn how_it_ended(diff: &serde_json::Value) -> Ended {
    serde_json::from_value(diff.clone())
        .unwrap_or_else(|_| Ended::by_itself("in a way that its row does not say"))
}
