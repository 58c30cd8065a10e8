//! What a run that has ended still holds: campaigns that it paused, and messages of them that it marked as skipped.
//!
//! A run writes on the platform's record what it is about to hold, before it does. The next run of the same runbook goes by
//! that record alone: the row says which run it was, its announcement says that it has ended, and the campaign's own last
//! change says that its pause still stands. Where one of the three does not say so, nothing is adopted: a run on
//! another machine may still go on, and a pause by a person is theirs.

use std::collections::BTreeMap;
use std::sync::Arc;

use allclear_core::campaign::CampaignAction;
use allclear_core::ports::{Announcements, AuditLog, AuditRow, Campaigns, SendQueue};
use allclear_core::{CampaignId, CampaignStatus, Platform, PortError, QueueRows};
use allclear_engine::{Because, Effect, Evidence, Halt, Observation, Probe, Run, Step};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{AuditNote, Paused};
use crate::words::counted;

/// The action of the rows that name campaigns which a run is about to pause, or has taken over.
const HOLDS: &str = "allclear_holds";
/// The same for campaigns whose messages it is about to mark as skipped.
const SKIPS: &str = "allclear_skips";

/// Puts on the platform's record that this run is about to pause these campaigns. It holds up no pause, and where it
/// cannot be recorded that matters only to a later run, should this one leave something paused.
pub(crate) async fn record_pauses(
    run: &mut Run,
    step: &Step,
    (on, runbook): (&Platform, &str),
    campaigns: impl Iterator<Item = CampaignId>,
) -> Result<(), Halt> {
    record(run, step, (on, runbook), HOLDS, campaigns.collect(), BTreeMap::new()).await
}

/// The same for messages that are about to be marked as skipped, with which those are: what others had marked before is not
/// this run's to give back.
pub(crate) async fn record_skips(
    run: &mut Run,
    step: &Step,
    (on, runbook): (&Platform, &str),
    campaigns: &[Paused],
) -> Result<(), Halt> {
    let ids = campaigns.iter().map(|one| one.campaign).collect();
    let rows = campaigns.iter().map(|one| (one.campaign, &one.skipped)).collect();
    record(run, step, (on, runbook), SKIPS, ids, rows).await
}

async fn record(
    run: &mut Run,
    step: &Step,
    (on, runbook): (&Platform, &str),
    action: &str,
    campaigns: Vec<CampaignId>,
    rows: BTreeMap<CampaignId, &QueueRows>,
) -> Result<(), Halt> {
    if campaigns.is_empty() {
        return Ok(());
    }
    let facts = json!({ "run": run.id(), "campaigns": campaigns, "rows": rows });
    let note = AuditNote::of(on, run.id(), action, "campaigns", runbook, &facts).at(step);
    run.attempt_briefly(step, note.excused(Because::HeldByNobodyAtTheEnd)).await.map(drop)
}

/// One campaign that an ended run left paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) campaign: CampaignId,
    pub(crate) name: String,
    /// Which run.
    pub(crate) by: String,
    /// Its messages that such a run marked as skipped.
    pub(crate) skipped: QueueRows,
}

impl Held {
    /// As if this run had paused it: it is brought back by the same rules.
    pub(crate) fn taken_over(&self) -> Paused {
        let (campaign, name) = (self.campaign, self.name.clone());
        let (skipped, taken_over_from) = (self.skipped.clone(), Some(self.by.clone()));
        Paused { campaign, name, by_us: true, skipped, started_at: None, taken_over_from }
    }
}

/// Looks for what ended runs of this runbook hold.
pub(crate) struct HeldByEnded {
    audit: Arc<dyn AuditLog>,
    announcements: Arc<dyn Announcements>,
    campaigns: Arc<dyn Campaigns>,
    queue: Arc<dyn SendQueue>,
    runbook: &'static str,
    run: String,
    only: Vec<CampaignId>,
}

/// A row that names campaigns.
struct Row {
    run: String,
    campaigns: Vec<CampaignId>,
    /// Of each campaign, which messages.
    rows: BTreeMap<CampaignId, QueueRows>,
    at: Timestamp,
}

impl Row {
    fn of((row, at): (AuditRow, Timestamp)) -> Option<Self> {
        let run = row.diff["run"].as_str()?.to_owned();
        let campaigns = Vec::deserialize(&row.diff["campaigns"]).ok()?;
        // Where it does not say which messages, none of them is known to be ours.
        let rows = BTreeMap::deserialize(&row.diff["rows"]).unwrap_or_default();
        Some(Self { run, campaigns, rows, at })
    }
}

impl HeldByEnded {
    /// `only` these campaigns; all when empty.
    pub(crate) fn of(on: &Platform, runbook: &'static str, run: &str, only: &[CampaignId]) -> Self {
        Self {
            audit: Arc::clone(&on.audit),
            announcements: Arc::clone(&on.announcements),
            campaigns: Arc::clone(&on.campaigns),
            queue: Arc::clone(&on.send_queue),
            runbook,
            run: run.to_owned(),
            only: only.to_vec(),
        }
    }

    async fn rows(&self, action: &str) -> Result<Vec<Row>, PortError> {
        let rows = self.audit.all_of(action, self.runbook).await?;
        Ok(rows.into_iter().filter_map(Row::of).filter(|row| row.run != self.run).collect())
    }

    /// The runs that have ended, also by a person's word: one that was taken over applies nothing more, wherever it is.
    async fn ended(&self) -> Result<Vec<String>, PortError> {
        let announced = self.announcements.all(self.runbook).await?;
        Ok(announced.iter().filter(|one| !one.goes_on()).map(|one| one.says.run.clone()).collect())
    }

    /// What every campaign came to that a run of this runbook named.
    async fn all(&self) -> Result<Vec<(CampaignId, Found)>, PortError> {
        let rows = self.rows(HOLDS).await?;
        let mut ids: Vec<CampaignId> = rows.iter().flat_map(|row| row.campaigns.iter().copied()).collect();
        ids.retain(|id| self.only.is_empty() || self.only.contains(id));
        ids.sort();
        ids.dedup();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ended = self.ended().await?;
        let skips = self.rows(SKIPS).await?;
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            all.push((id, self.look(id, &rows, &skips, &ended).await?));
        }
        Ok(all)
    }

    /// The campaign, if the pause of an ended run still stands; otherwise why not.
    async fn look(
        &self,
        id: CampaignId,
        rows: &[Row],
        skips: &[Row],
        ended: &[String],
    ) -> Result<Found, PortError> {
        let names = |row: &&Row| row.campaigns.contains(&id);
        let has_ended = |row: &&Row| ended.contains(&row.run);
        let Some(last) = rows.iter().rfind(names).filter(has_ended) else { return Ok(Found::GoesOn) };
        let campaign = self.campaigns.find(id).await?;
        let change = self.campaigns.last_change(id).await?;
        if campaign.status == CampaignStatus::Done {
            let stopped = change.is_some_and(|change| change.ours && change.action == CampaignAction::Stop);
            let by = last.run.clone();
            return Ok(if stopped { Found::Stopped { name: campaign.name, by } } else { Found::NotPaused });
        }
        if campaign.status != CampaignStatus::Paused {
            return Ok(Found::NotPaused);
        }
        let ours = change.filter(|change| change.ours && change.action == CampaignAction::Pause);
        // Whoever took it over wrote a row of their own: the pause is older than that, and not older than the first.
        let pauser = ours.and_then(|pause| rows.iter().filter(names).find(|row| row.at <= pause.at));
        if pauser.is_none() {
            return Ok(Found::SomebodyElses(campaign.name));
        }
        let skip = skips.iter().rfind(names).filter(has_ended);
        let rows = skip.and_then(|row| row.rows.get(&id)).cloned().unwrap_or_default();
        let count = self.queue.skipped(id, &rows).await?;
        let skipped = if count > 0 { rows } else { QueueRows::default() };
        let held = Held { campaign: id, name: campaign.name, by: last.run.clone(), skipped };
        Ok(Found::Held { held, skipped: count })
    }
}

/// What one campaign came to.
enum Found {
    Held {
        held: Held,
        /// How many of its messages are still marked.
        skipped: u64,
    },
    /// The run that named it last has not ended, as far as is known.
    GoesOn,
    NotPaused,
    /// To be started again, which did not come to pass.
    Stopped {
        name: String,
        by: String,
    },
    SomebodyElses(String),
}

#[async_trait]
impl Probe for HeldByEnded {
    type Value = Vec<Held>;

    fn subject(&self) -> String {
        "held by ended runs".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Vec<Held>>, PortError> {
        let (mut held, mut evidence) = (Vec::new(), Vec::new());
        let source = "audit_log and campaigns (PostgREST)";
        for (_, found) in self.all().await? {
            match found {
                Found::Held { held: one, skipped } => {
                    let shows = format!(
                        "{} is paused by run {}, which has ended; {skipped} skipped",
                        one.name, one.by
                    );
                    evidence.push(Evidence::new(source, shows));
                    held.push(one);
                }
                Found::SomebodyElses(name) => {
                    evidence.push(Evidence::new(source, format!("{name} is paused by somebody else")));
                }
                Found::GoesOn | Found::NotPaused | Found::Stopped { .. } => {}
            }
        }
        let says = match held.first() {
            None => "no run that has ended holds a campaign".to_owned(),
            Some(first) => {
                let mut says = format!(
                    "{} still held by run {}, which has ended, and brought back at the resume: ",
                    counted(held.len(), "campaign is", "campaigns are"),
                    first.by
                );
                says.push_str(&held.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", "));
                says
            }
        };
        if evidence.is_empty() {
            evidence.push(Evidence::new(source, says.clone()));
        }
        Ok(Observation { value: held, says, evidence })
    }
}

/// One campaign that an ended run stopped, to start it again, and did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoppedCampaign {
    pub(crate) campaign: CampaignId,
    pub(crate) name: String,
    /// Which run.
    pub(crate) by: String,
}

/// Looks for what ended runs of this runbook stopped and did not start again.
pub(crate) struct StoppedByEnded(HeldByEnded);

impl StoppedByEnded {
    /// `only` these campaigns; all when empty.
    pub(crate) fn of(on: &Platform, runbook: &'static str, run: &str, only: &[CampaignId]) -> Self {
        Self(HeldByEnded::of(on, runbook, run, only))
    }
}

#[async_trait]
impl Probe for StoppedByEnded {
    type Value = Vec<StoppedCampaign>;

    fn subject(&self) -> String {
        "stopped by ended runs".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Vec<StoppedCampaign>>, PortError> {
        let all = self.0.all().await?.into_iter();
        let stopped = all.filter_map(|(campaign, found)| match found {
            Found::Stopped { name, by } => Some(StoppedCampaign { campaign, name, by }),
            _ => None,
        });
        let value: Vec<StoppedCampaign> = stopped.collect();
        let says = match value.len() {
            0 => "no run that has ended left a campaign stopped".to_owned(),
            some => format!(
                "{} stopped by a run that has ended",
                counted(some, "campaign was left", "campaigns were left")
            ),
        };
        let shows = value.iter().map(|one| format!("{} is stopped by run {}", one.name, one.by));
        let shows = if value.is_empty() { says.clone() } else { shows.collect::<Vec<_>>().join("; ") };
        let evidence = vec![Evidence::new("audit_log and campaigns (PostgREST)", shows)];
        Ok(Observation { value, says, evidence })
    }
}

/// Messages of one running campaign that an ended run marked as skipped, and nobody sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SkippedMessages {
    pub(crate) campaign: CampaignId,
    pub(crate) name: String,
    pub(crate) messages: u64,
    /// Which.
    pub(crate) rows: QueueRows,
    /// Which run.
    pub(crate) by: String,
}

/// Looks for messages that ended runs marked as skipped and that are so still, while their campaign runs: whoever started it does
/// not know that it runs without them.
pub(crate) struct SkippedByEnded(HeldByEnded);

impl SkippedByEnded {
    /// By runs of the runbook that skips; `only` of these campaigns, of all when empty.
    pub(crate) fn of(on: &Platform, runbook: &'static str, run: &str, only: &[CampaignId]) -> Self {
        Self(HeldByEnded::of(on, runbook, run, only))
    }

    async fn all(&self) -> Result<Vec<SkippedMessages>, PortError> {
        let looks = &self.0;
        let mut skips = looks.rows(SKIPS).await?;
        if skips.is_empty() {
            return Ok(Vec::new());
        }
        let ended = looks.ended().await?;
        skips.retain(|row| ended.contains(&row.run));
        let mut all: Vec<SkippedMessages> = Vec::new();
        // The newest first: whoever took a campaign over names its messages again.
        for row in skips.into_iter().rev() {
            for (id, rows) in row.rows {
                let wanted = looks.only.is_empty() || looks.only.contains(&id);
                if !wanted || all.iter().any(|one| one.campaign == id) {
                    continue;
                }
                let campaign = looks.campaigns.find(id).await?;
                let messages = looks.queue.skipped(id, &rows).await?;
                if campaign.status == CampaignStatus::Running && messages > 0 {
                    all.push(SkippedMessages {
                        campaign: id,
                        name: campaign.name,
                        messages,
                        rows,
                        by: row.run.clone(),
                    });
                }
            }
        }
        Ok(all)
    }
}

#[async_trait]
impl Probe for SkippedByEnded {
    type Value = Vec<SkippedMessages>;

    fn subject(&self) -> String {
        "skipped by ended runs".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Self::Value>, PortError> {
        let value = self.all().await?;
        let shows: Vec<String> =
            value.iter().map(|one| format!("{}: {} by run {}", one.name, one.messages, one.by)).collect();
        let says = if value.is_empty() {
            "no running campaign has messages that a run which has ended marked as skipped".to_owned()
        } else {
            format!("messages of running campaigns are skipped by runs that have ended: {}", shows.join("; "))
        };
        let evidence = vec![Evidence::new("audit_log and send_queue (PostgREST)", says.clone())];
        Ok(Observation { value, says, evidence })
    }
}

/// What was skipped and is not given back keeps a run from ending as verified: nobody sends it.
pub(crate) async fn owe_skipped(run: &mut Run, step: &Step, skipped: &[SkippedMessages]) -> Result<(), Halt> {
    for one in skipped {
        let says = format!(
            "{} of campaign {} skipped by run {}, which has ended, and nobody sends them while the campaign runs: \
             `allclear run whatsapp-send-failures` gives them back, or `allclear undo {}` on the machine that has that run",
            counted(one.messages, "message is", "messages are"),
            one.name,
            one.by,
            one.by
        );
        run.owe(step, &format!("messages of campaign {} skipped by an ended run", one.campaign), says)
            .await?;
    }
    Ok(())
}
