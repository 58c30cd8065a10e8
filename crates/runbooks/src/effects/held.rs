//! What a run that has ended still holds: campaigns that it paused, and messages of them that it marked as skipped.
//!
//! A run writes on the platform's record what it is about to hold, before it does. The next run of the same runbook goes by
//! that record alone: the row says which run it was, its announcement says that it has ended, and the campaign's own last
//! change says that its pause still stands. Where one of the three does not say so, nothing is adopted: a run on
//! another machine may still go on, and a pause by a person is theirs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use allclear_core::campaign::CampaignAction;
use allclear_core::ports::{Announcements, AuditLog, AuditRow, Campaigns, SendLog, SendQueue};
use allclear_core::{Campaign, CampaignId, CampaignStatus, Platform, PortError, QueueRows};
use allclear_engine::{Because, Effect, Evidence, Halt, Observation, Outcome, Probe, Run, Step};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{AuditNote, Paused};
use crate::words::counted;

/// The action of the rows that name campaigns which a run is about to pause, or has taken over.
pub(super) const HOLDS: &str = "allclear_holds";
/// The same for campaigns whose messages it is about to mark as skipped.
const SKIPS: &str = "allclear_skips";
/// Once it has: which messages it were. People skip messages too, and theirs are not given back.
const SKIPPED: &str = "allclear_skipped";
/// What the dispatcher had in its hands when messages were skipped goes out this long after it at most.
const IN_FLIGHT: Duration = Duration::from_mins(2);

/// A row that was tried at once, so as to hold up no pause.
#[must_use]
pub(crate) struct Tried {
    note: Option<AuditNote>,
    step: Step,
}

impl Tried {
    /// What it names is done by now, so waiting costs nothing: a later run, on another machine, knows nothing else.
    pub(crate) async fn make_sure(self, run: &mut Run) -> Result<(), Halt> {
        let Some(note) = self.note.filter(|_| !run.is_plan()) else { return Ok(()) };
        run.tell_last(&self.step, note.numbered(3).excused(Because::HeldByNobodyAtTheEnd)).await.map(drop)
    }
}

/// Puts on the platform's record that this run is about to pause these campaigns.
pub(crate) async fn record_pauses(
    run: &mut Run,
    step: &Step,
    (on, runbook): (&Platform, &str),
    campaigns: impl Iterator<Item = CampaignId>,
) -> Result<Tried, Halt> {
    let campaigns: Vec<CampaignId> = campaigns.collect();
    let nothing = Tried { note: None, step: *step };
    if campaigns.is_empty() {
        return Ok(nothing);
    }
    let note = row(run, step, (on, runbook, HOLDS), &campaigns, &BTreeMap::new());
    let is_there = try_twice(run, step, &note).await?;
    Ok(if is_there { nothing } else { Tried { note: Some(note), ..nothing } })
}

/// A few tries, and a few more where they failed or were refused, or the row is not there: without it nobody but this run knows what
/// it holds. Returns whether it is there.
async fn try_twice(run: &mut Run, step: &Step, note: &AuditNote) -> Result<bool, Halt> {
    let because = Because::HeldByNobodyAtTheEnd;
    let first = run.attempt_briefly(step, note.clone().excused(because)).await?;
    if first.is_proven() || run.is_plan() {
        return Ok(true);
    }
    let again = note.clone().numbered(2).excused(because);
    Ok(run.attempt_briefly(step, again).await?.is_proven())
}

/// The same for messages that are about to be marked as skipped, with which those are: what others had marked before is not
/// this run's to give back. People have thought about the question for as long as they liked, so this is waited for as well.
pub(crate) async fn record_skips(
    run: &mut Run,
    step: &Step,
    (on, runbook): (&Platform, &str),
    campaigns: &[Paused],
) -> Result<(), Halt> {
    let Some(note) = row_of_skipped(run, step, (on, runbook, SKIPS), campaigns) else { return Ok(()) };
    if try_twice(run, step, &note).await? {
        return Ok(());
    }
    Tried { note: Some(note), step: *step }.make_sure(run).await
}

/// Which messages it were in the end.
pub(crate) async fn record_skipped(
    run: &mut Run,
    step: &Step,
    (on, runbook): (&Platform, &str),
    campaigns: &[Paused],
) -> Result<(), Halt> {
    let Some(note) = row_of_skipped(run, step, (on, runbook, SKIPPED), campaigns) else { return Ok(()) };
    if try_twice(run, step, &note).await? {
        return Ok(());
    }
    Tried { note: Some(note), step: *step }.make_sure(run).await
}

fn row_of_skipped(
    run: &Run,
    step: &Step,
    of: (&Platform, &str, &str),
    campaigns: &[Paused],
) -> Option<AuditNote> {
    let ids: Vec<CampaignId> = campaigns.iter().map(|one| one.campaign).collect();
    let rows = campaigns.iter().map(|one| (one.campaign, &one.skipped)).collect();
    (!ids.is_empty()).then(|| row(run, step, of, &ids, &rows))
}

fn row(
    run: &Run,
    step: &Step,
    (on, runbook, action): (&Platform, &str, &str),
    campaigns: &[CampaignId],
    rows: &BTreeMap<CampaignId, &QueueRows>,
) -> AuditNote {
    let facts = json!({ "run": run.id(), "campaigns": campaigns, "rows": rows });
    AuditNote::of(on, run.id(), action, "campaigns", runbook, &facts).at(step)
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
    /// When that run set out to pause it, by the platform's clock.
    #[serde(default)]
    pub(crate) since: Option<Timestamp>,
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
    log: Arc<dyn SendLog>,
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

/// The runs that have ended, also by a person's word: one that was taken over applies nothing more, wherever it is.
#[derive(Default)]
struct EndedRuns {
    /// Those gave back all that they had skipped.
    verified: Vec<String>,
    otherwise: Vec<String>,
}

impl EndedRuns {
    fn has(&self, run: &String) -> bool {
        self.verified.contains(run) || self.otherwise.contains(run)
    }
}

/// What runs wrote of messages that they skip.
struct Skips {
    set_out: Vec<Row>,
    done: Vec<Row>,
}

/// What ended runs skipped of one campaign.
struct OfEnded {
    at: Timestamp,
    by: String,
    rows: QueueRows,
    /// Whether those are known to be theirs.
    is_sure: bool,
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
            log: Arc::clone(&on.send_log),
            runbook,
            run: run.to_owned(),
            only: only.to_vec(),
        }
    }

    async fn rows(&self, action: &str) -> Result<Vec<Row>, PortError> {
        let rows = self.audit.all_of(action, self.runbook).await?;
        Ok(rows.into_iter().filter_map(Row::of).filter(|row| row.run != self.run).collect())
    }

    async fn ended(&self) -> Result<EndedRuns, PortError> {
        let announced = self.announcements.all(self.runbook).await?;
        let mut ended = EndedRuns::default();
        for one in announced {
            let Some(end) = one.ended else { continue };
            if end.how == Outcome::Verified.title() {
                ended.verified.push(one.says.run);
            } else {
                ended.otherwise.push(one.says.run);
            }
        }
        Ok(ended)
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
        let skips = self.skips().await?;
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            all.push((id, self.look(id, &rows, &skips, &ended).await?));
        }
        Ok(all)
    }

    async fn skips(&self) -> Result<Skips, PortError> {
        Ok(Skips { set_out: self.rows(SKIPS).await?, done: self.rows(SKIPPED).await? })
    }

    /// What ended runs skipped of a campaign; `None` where nothing is known of any.
    async fn skipped_of(
        &self,
        id: CampaignId,
        skips: &Skips,
        ended: &EndedRuns,
    ) -> Result<Option<OfEnded>, PortError> {
        let last = |rows: &[Row]| -> Option<(String, QueueRows, Timestamp)> {
            let row = rows.iter().rfind(|row| row.rows.contains_key(&id))?;
            ended.otherwise.contains(&row.run).then(|| (row.run.clone(), row.rows[&id].clone(), row.at))
        };
        let done = last(&skips.done);
        let Some((by, meant, at)) = last(&skips.set_out) else {
            return Ok(done.map(|(by, rows, at)| OfEnded { at, by, rows, is_sure: true }));
        };
        if let Some((by, rows, done_at)) = &done
            && *done_at >= at
        {
            return Ok(Some(OfEnded { at, by: by.clone(), rows: rows.clone(), is_sure: true }));
        }
        // It ended between setting out and saying so. One request skips them all: where one of them waits, or they went on going
        // out, it was not made, and whatever is skipped was skipped by others.
        let before = done.map_or_else(QueueRows::default, |(_, rows, _)| rows);
        if self.queue.untried(id, &meant).await? > 0 {
            return Ok(Some(OfEnded { at, by, rows: before, is_sure: true }));
        }
        let went_out = self.log.tally(Some(id), at + IN_FLIGHT).await?.tries() > 0;
        Ok(Some(OfEnded { at, by, rows: before.and(&meant), is_sure: !went_out }))
    }

    /// The campaign, if the pause of an ended run still stands; otherwise why not.
    async fn look(
        &self,
        id: CampaignId,
        rows: &[Row],
        skips: &Skips,
        ended: &EndedRuns,
    ) -> Result<Found, PortError> {
        let names = |row: &&Row| row.campaigns.contains(&id);
        let has_ended = |row: &&Row| ended.has(&row.run);
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
        let Some(pauser) = pauser else { return Ok(Found::SomebodyElses(campaign.name)) };
        let skipped = self.skipped_of(id, skips, ended).await?.filter(|one| one.is_sure);
        let rows = skipped.map_or_else(QueueRows::default, |one| one.rows);
        let count = self.queue.skipped(id, &rows).await?;
        let skipped = if count > 0 { rows } else { QueueRows::default() };
        let since = Some(pauser.at);
        let held = Held { campaign: id, name: campaign.name, by: last.run.clone(), skipped, since };
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

/// Looks which campaigns a run of this program paused last, as the platform's audit log says, whatever is known of that run.
pub(crate) struct PausedByRuns {
    campaigns: Arc<dyn Campaigns>,
    of: Vec<Campaign>,
}

impl PausedByRuns {
    pub(crate) fn of(on: &Platform, campaigns: &[Campaign]) -> Self {
        Self { campaigns: Arc::clone(&on.campaigns), of: campaigns.to_vec() }
    }
}

#[async_trait]
impl Probe for PausedByRuns {
    type Value = Vec<(CampaignId, String)>;

    fn subject(&self) -> String {
        "paused by runs".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Self::Value>, PortError> {
        let mut value = Vec::new();
        for campaign in self.of.iter().filter(|campaign| campaign.status == CampaignStatus::Paused) {
            let last = self.campaigns.last_change(campaign.id).await?;
            if last.is_some_and(|last| last.ours && last.action == CampaignAction::Pause) {
                value.push((campaign.id, campaign.name.clone()));
            }
        }
        let names: Vec<&str> = value.iter().map(|(_, name)| name.as_str()).collect();
        let says = if names.is_empty() {
            "no campaign with messages waiting is as a run of this program paused it".to_owned()
        } else {
            format!("paused last by a run of this program: {}", names.join(", "))
        };
        let evidence = vec![Evidence::new("audit_log and campaigns (PostgREST)", says.clone())];
        Ok(Observation { value, says, evidence })
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

/// Messages of one campaign that an ended run marked as skipped, and nobody sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SkippedMessages {
    pub(crate) campaign: CampaignId,
    pub(crate) name: String,
    pub(crate) messages: u64,
    /// Which.
    pub(crate) rows: QueueRows,
    /// Which run.
    pub(crate) by: String,
    /// When that run set out to skip them, by the platform's clock.
    pub(crate) since: Timestamp,
    /// What keeps them from being given back, in words.
    pub(crate) keeps: Option<String>,
}

/// Looks for messages that ended runs marked as skipped and that are so still: whoever started their campaign, or will, does not know
/// that it runs without them. What a campaign that a run still holds has comes back with it.
pub(crate) struct SkippedByEnded(HeldByEnded);

impl SkippedByEnded {
    /// By runs of the runbook that skips; `only` of these campaigns, of all when empty.
    pub(crate) fn of(on: &Platform, runbook: &'static str, run: &str, only: &[CampaignId]) -> Self {
        Self(HeldByEnded::of(on, runbook, run, only))
    }

    async fn all(&self) -> Result<Vec<SkippedMessages>, PortError> {
        let looks = &self.0;
        let skips = looks.skips().await?;
        let of_rows = |rows: &[Row]| rows.iter().flat_map(|row| row.rows.keys().copied()).collect::<Vec<_>>();
        let mut ids = [of_rows(&skips.set_out), of_rows(&skips.done)].concat();
        ids.retain(|id| looks.only.is_empty() || looks.only.contains(id));
        ids.sort();
        ids.dedup();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ended = looks.ended().await?;
        let held = looks.all().await?;
        let comes_back = |id: CampaignId| {
            held.iter().any(|(of, found)| *of == id && matches!(found, Found::Held { skipped: 1.., .. }))
        };
        let mut all = Vec::new();
        for id in ids {
            let Some(OfEnded { at: since, by, rows, is_sure }) = looks.skipped_of(id, &skips, &ended).await?
            else {
                continue;
            };
            let messages = looks.queue.skipped(id, &rows).await?;
            if messages == 0 || comes_back(id) {
                continue;
            }
            let campaign = looks.campaigns.find(id).await?;
            let keeps = if !is_sure {
                Some(
                    "that run ended as it was about to skip messages of it, so whose these are is not known: set those that are to be \
                     sent to PENDING by hand"
                        .to_owned(),
                )
            } else if campaign.status == CampaignStatus::Running {
                None
            } else {
                Some(format!(
                    "the campaign is {} by now; once somebody starts it, `allclear run {}` gives them back",
                    campaign.status, looks.runbook
                ))
            };
            all.push(SkippedMessages { campaign: id, name: campaign.name, messages, rows, by, since, keeps });
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
            "beside campaigns that ended runs hold, no messages are skipped by such a run".to_owned()
        } else {
            format!("messages are skipped by runs that have ended: {}", shows.join("; "))
        };
        let evidence = vec![Evidence::new("audit_log and send_queue (PostgREST)", says.clone())];
        Ok(Observation { value, says, evidence })
    }
}

/// What was skipped and is not given back keeps a run from ending as verified: nobody sends it.
pub(crate) async fn owe_skipped(run: &mut Run, step: &Step, skipped: &[SkippedMessages]) -> Result<(), Halt> {
    for one in skipped {
        let why = one.keeps.clone().unwrap_or_else(|| {
            "nobody sends them while the campaign runs: `allclear run whatsapp-send-failures` gives them back".to_owned()
        });
        let says = format!(
            "{} of campaign {} skipped by run {}, which has ended (its own `allclear undo {}` gives them back, on the machine that has \
             it): {why}",
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
