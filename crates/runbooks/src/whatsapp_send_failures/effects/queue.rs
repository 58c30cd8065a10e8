//! The dispatcher's queue: stopping it for a campaign, giving it back, and moving sends to a later time.

use std::sync::Arc;

use allclear_core::ports::{Campaigns, Limits, SendLog, SendQueue};
use allclear_core::{CampaignStatus, Platform, PortError, QueueRows};
use allclear_engine::{
    Applied, Danger, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, NotBefore, Patience, Prediction,
    Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::stood::Stood;
use crate::effects::{Paused, Rows, change, unseen};
use crate::quiet::Start;
use crate::words::counted;

const FIELD: &str = "unsent messages";

/// Why a campaign that is not this run's own pause is left alone.
const SINCE_ASKED: &str = "somebody changed the campaign while the question was open";

/// What came of skipping a campaign's messages, or of giving them back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Skipped {
    pub(in super::super) rows: u64,
    /// Which messages are skipped by this run since: those and no others are given back.
    #[serde(default)]
    pub(in super::super) which: Option<QueueRows>,
    /// Why they were left as they are, where somebody had taken the campaign.
    #[serde(default)]
    pub(in super::super) left_alone: Option<String>,
}

/// Marks the messages of a campaign that were seen to wait as skipped: the one thing that really stops a dispatcher which
/// never looks at the campaign's status. Which messages those are is known before, so that after a crash in the middle
/// it is known what is this run's to give back.
#[derive(Clone)]
pub(in super::super) struct SkipQueue {
    campaigns: Arc<dyn Campaigns>,
    queue: Arc<dyn SendQueue>,
    log: Arc<dyn SendLog>,
    limits: Limits,
    start: Start,
    /// With all its messages that are to be skipped in the end.
    paused: Paused,
    /// Those of them that were skipped by this run, or by one that it took over from, before.
    before: QueueRows,
    stood: Option<Stood>,
}

impl SkipQueue {
    /// `paused` names the messages, and those of them that were skipped `before`; `stood` is how the campaign was when people were
    /// asked, which a plan does not know.
    pub(in super::super) fn of(
        on: &Platform,
        (paused, before): (&Paused, &QueueRows),
        stood: Option<&Stood>,
    ) -> Self {
        Self {
            before: before.clone(),
            campaigns: Arc::clone(&on.campaigns),
            queue: Arc::clone(&on.send_queue),
            log: Arc::clone(&on.send_log),
            limits: on.limits.clone(),
            start: Start::of_skipped(on, (paused.campaign, &paused.name), &paused.skipped),
            paused: paused.clone(),
            stood: stood.cloned(),
        }
    }

    fn id(&self) -> String {
        self.paused.campaign.to_string()
    }

    /// Which messages are skipped by this run, where it has just changed these. All that were meant, where no other of them is
    /// skipped; where an earlier try did it, none is changed any more.
    async fn ours(&self, changed: &[i64]) -> Result<QueueRows, PortError> {
        let meant = &self.paused.skipped;
        let skipped = self.queue.skipped(self.paused.campaign, meant).await?;
        let by_others = !changed.is_empty() && skipped > changed.len() as u64;
        let exactly = || self.before.and(&QueueRows::of_ids(changed.iter().copied()));
        Ok(if by_others { exactly() } else { meant.clone() })
    }

    /// Why its messages are somebody else's now: people think about the question for as long as they like, and meanwhile
    /// others act.
    async fn taken(&self) -> Result<Option<String>, PortError> {
        let Some(stood) = &self.stood else { return Ok(None) };
        let now = self.campaigns.find(self.paused.campaign).await?;
        let now = Stood::seen(&*self.campaigns, &self.paused, &now).await?;
        Ok(now.theirs.clone().or_else(|| (now != *stood).then(|| SINCE_ASKED.to_owned())))
    }
}

#[async_trait]
impl Effect for SkipQueue {
    type Receipt = Skipped;
    type Undo = RestoreQueue;

    fn name(&self) -> &'static str {
        "send_queue.skip"
    }

    fn subject(&self) -> String {
        format!("campaign {}", self.paused.campaign)
    }

    fn title(&self) -> String {
        format!("mark the unsent messages of campaign {} as skipped", self.paused.name)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn danger(&self) -> Danger {
        match self.limits.dangerous.most_messages {
            Some(limit) => Danger::Beyond { what: "messages", limit },
            None => Danger::None,
        }
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let waiting = self.queue.pending(self.paused.campaign).await?;
        let actual = if waiting > 0 { "waiting" } else { "none waiting" };
        let before = foreseen.or("queue", &self.id(), FIELD, actual);
        if before != "waiting" {
            return Ok(Prediction::default());
        }
        if let Some(says) = self.taken().await? {
            return Ok(Prediction::default().note(says));
        }
        let stop = change("queue", self.id(), &self.paused.name, FIELD, "waiting", "skipped");
        Ok(Prediction::of(stop).concerning(waiting).note(counted(
            waiting,
            "message waits now",
            "messages wait now",
        )))
    }

    fn foresee(&self, prediction: &Prediction) -> Skipped {
        // Only that somebody took it is a reason to change nothing; that none waits needs no word.
        let left_alone = prediction.notes.first().filter(|_| prediction.changes.is_empty()).cloned();
        Skipped { rows: 0, which: None, left_alone }
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<Skipped>, PortError> {
        let changed = self.queue.skip(self.paused.campaign, &self.paused.skipped).await?;
        let rows = changed.len() as u64;
        let which = Some(self.ours(&changed).await.map_err(|error| unseen(&error))?);
        Ok(Applied {
            receipt: Skipped { rows, which, left_alone: None },
            says: format!(
                "{} of {}: skipped",
                counted(rows, "unsent message", "unsent messages"),
                self.paused.name
            ),
        })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<Skipped>, PortError> {
        let waiting = self.queue.pending(self.paused.campaign).await?;
        if waiting > 0 {
            return Ok(Reconciled::DidNot {
                why: counted(waiting, "message still waits", "messages still wait"),
            });
        }
        let rows = self.queue.skipped(self.paused.campaign, &self.paused.skipped).await?;
        if rows == 0 {
            // They went out or were given up while the run was away; there is nothing to skip any more.
            let why = "none of its messages waits, and none is skipped".to_owned();
            return Ok(Reconciled::DidNot { why });
        }
        Ok(Reconciled::Happened(Applied {
            receipt: Skipped { rows, which: Some(self.paused.skipped.clone()), left_alone: None },
            says: format!("none wait, {rows} are skipped"),
        }))
    }

    fn patience(&self) -> Patience {
        let interval = self.limits.dispatcher_interval;
        Patience { every: interval / 2, within: interval * 3 }
    }

    async fn verify(
        &self,
        intent: &Intent,
        receipt: &Skipped,
        now: Timestamp,
    ) -> Result<Judgement, PortError> {
        if let Some(says) = &receipt.left_alone {
            return Ok(Judgement::verified(
                format!("{} is left alone: {says}", self.paused.name),
                Vec::new(),
            ));
        }
        let waiting = self.queue.pending(self.paused.campaign).await?;
        let queue = Evidence::new("send_queue (PostgREST)", format!("{waiting} waiting"));
        if waiting > 0 {
            let (name, waiting) = (&self.paused.name, counted(waiting, "message", "messages"));
            // A write that is lost is lost as a whole.
            if self.queue.skipped(self.paused.campaign, &self.paused.skipped).await? > 0 {
                let says = format!("{waiting} of {name} wait again: somebody gave them back or added them");
                return Ok(Judgement::unverifiable(says));
            }
            return Ok(Judgement::refuted(format!("{waiting} of {name} still waiting"), vec![queue]));
        }
        // A batch that the dispatcher had claimed just before may still go out. A run that was away in between asks about the
        // last two runs of the dispatcher: what went out before it came back says nothing about now.
        let interval = self.limits.dispatcher_interval;
        let since = (intent.at + interval).max(now - interval * 2);
        let sends = self.log.tally(Some(self.paused.campaign), since).await?;
        let log = Evidence::new("send_logs (PostgREST)", format!("since {since}: {sends}"));
        let evidence = vec![queue, log];
        if sends.tries() > 0 {
            return Ok(Judgement::refuted(format!("{} still sends", self.paused.name), evidence));
        }
        if now < intent.at + self.limits.dispatcher_interval * 2 {
            return Ok(Judgement::pending(
                format!("watch whether {} stops sending", self.paused.name),
                evidence,
            ));
        }
        Ok(Judgement::verified(format!("{} sends nothing any more", self.paused.name), evidence))
    }

    fn undo(&self, receipt: &Skipped) -> Option<RestoreQueue> {
        let (queue, campaigns) = (Arc::clone(&self.queue), Arc::clone(&self.campaigns));
        let skipped = receipt.which.clone().unwrap_or_else(|| self.paused.skipped.clone());
        receipt.left_alone.is_none().then(|| RestoreQueue {
            queue,
            paused: Paused { skipped, ..self.paused.clone() },
            long_after: Some(LongAfter { campaigns, start: self.start.clone() }),
            not_before: Some(self.start.clone().not_before()),
        })
    }
}

/// Gives the messages of a campaign that this run (or one that it took over from) skipped back to the dispatcher. Others of the
/// campaign that are skipped were skipped by somebody on purpose, and stay so.
#[derive(Clone)]
pub(in super::super) struct RestoreQueue {
    queue: Arc<dyn SendQueue>,
    paused: Paused,
    long_after: Option<LongAfter>,
    not_before: Option<NotBefore>,
}

/// What an undo, or a later run, adds: it comes after whatever people did since.
#[derive(Clone)]
struct LongAfter {
    campaigns: Arc<dyn Campaigns>,
    start: Start,
}

impl LongAfter {
    /// Why the messages stay skipped: the dispatcher would send them although somebody paused or stopped the campaign. Where somebody
    /// started it they are wanted.
    async fn keeps(&self, paused: &Paused) -> Result<Option<String>, PortError> {
        let now = self.campaigns.find(paused.campaign).await?;
        if now.status == CampaignStatus::Running {
            return Ok(None);
        }
        let why = paused.touched(&*self.campaigns, &now).await?;
        Ok(why.map(|why| format!("{why}; its messages stay skipped, start it first to have them sent")))
    }
}

impl RestoreQueue {
    pub(in super::super) fn of(on: &Platform, paused: &Paused) -> Self {
        let queue = Arc::clone(&on.send_queue);
        Self { queue, paused: paused.clone(), long_after: None, not_before: None }
    }

    /// By a run that did not skip them itself, outside quiet hours.
    pub(in super::super) fn long_after(on: &Platform, paused: &Paused, start: Start) -> Self {
        let (campaigns, not_before) = (Arc::clone(&on.campaigns), Some(start.clone().not_before()));
        Self { long_after: Some(LongAfter { campaigns, start }), not_before, ..Self::of(on, paused) }
    }

    /// Not so that they would be sent in quiet hours.
    pub(in super::super) fn outside_quiet_hours(self, start: Start) -> Self {
        Self { not_before: Some(start.not_before()), ..self }
    }
}

#[async_trait]
impl Effect for RestoreQueue {
    type Receipt = Skipped;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "send_queue.restore"
    }

    fn subject(&self) -> String {
        format!("campaign {}", self.paused.campaign)
    }

    fn title(&self) -> String {
        format!("give the skipped messages of campaign {} back to the queue", self.paused.name)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("messages that go out meanwhile stay sent")
    }

    fn not_before(&self) -> Option<NotBefore> {
        self.not_before.clone()
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let skipped = self.queue.skipped(self.paused.campaign, &self.paused.skipped).await?;
        let id = self.paused.campaign.to_string();
        let actual = if skipped > 0 { "skipped" } else { "none skipped" };
        if foreseen.or("queue", &id, FIELD, actual) != "skipped" {
            return Ok(Prediction::default());
        }
        if let Some(long_after) = &self.long_after
            && let Some(says) = long_after.keeps(&self.paused).await?
        {
            return Ok(Prediction::default().note(says));
        }
        let back = change("queue", id, &self.paused.name, FIELD, "skipped", "waiting");
        let prediction =
            Prediction::of(back).note(counted(skipped, "message is skipped now", "messages are skipped now"));
        Ok(match &self.long_after {
            Some(long_after) => prediction.note(long_after.start.when().await),
            None => prediction,
        })
    }

    fn foresee(&self, prediction: &Prediction) -> Skipped {
        let left_alone = prediction.notes.first().filter(|_| prediction.changes.is_empty()).cloned();
        Skipped { rows: 0, which: None, left_alone }
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<Skipped>, PortError> {
        let rows = self.queue.restore(self.paused.campaign, &self.paused.skipped).await?;
        Ok(Applied {
            receipt: Skipped { rows, which: None, left_alone: None },
            says: format!("{} of {} given back", counted(rows, "message", "messages"), self.paused.name),
        })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<Skipped>, PortError> {
        let skipped = self.queue.skipped(self.paused.campaign, &self.paused.skipped).await?;
        if skipped > 0 {
            return Ok(Reconciled::DidNot {
                why: counted(skipped, "message is still skipped", "messages are still skipped"),
            });
        }
        let rows = self.queue.pending(self.paused.campaign).await?;
        Ok(Reconciled::Happened(Applied {
            receipt: Skipped { rows, which: None, left_alone: None },
            says: "none are skipped any more".to_owned(),
        }))
    }

    async fn verify(
        &self,
        _intent: &Intent,
        receipt: &Skipped,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        if let Some(says) = &receipt.left_alone {
            return Ok(Judgement::verified(format!("{}: {says}", self.paused.name), Vec::new()));
        }
        let skipped = self.queue.skipped(self.paused.campaign, &self.paused.skipped).await?;
        let evidence = vec![Evidence::new("send_queue (PostgREST)", format!("{skipped} skipped"))];
        let name = &self.paused.name;
        Ok(if skipped == 0 {
            let says = format!("the messages of {name} that were skipped are in the queue again");
            Judgement::verified(says, evidence)
        } else if skipped < receipt.rows {
            // A write that is lost is lost as a whole.
            let again = counted(skipped, "of them was", "of them were");
            let says = format!(
                "the messages of {name} that were skipped were given back, and {again} skipped again by somebody"
            );
            Judgement::verified(says, evidence)
        } else {
            Judgement::refuted(
                format!("{} of {name} still skipped", counted(skipped, "message", "messages")),
                evidence,
            )
        })
    }
}

/// Moves a campaign's due messages to the end of the rate limit. The time is absolute, so doing it twice changes
/// nothing the second time.
#[derive(Clone)]
pub(in super::super) struct PostponeSends {
    queue: Arc<dyn SendQueue>,
    paused: Paused,
    until: Timestamp,
}

impl PostponeSends {
    pub(in super::super) fn of(on: &Platform, paused: &Paused, until: Timestamp) -> Self {
        Self { queue: Arc::clone(&on.send_queue), paused: paused.clone(), until }
    }
}

#[async_trait]
impl Effect for PostponeSends {
    type Receipt = Rows;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "send_queue.postpone"
    }

    fn subject(&self) -> String {
        format!("campaign {}", self.paused.campaign)
    }

    fn title(&self) -> String {
        format!("reschedule the unsent messages of campaign {}", self.paused.name)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("the earlier times of the messages are not kept; they go out by themselves after the time shown")
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let due = self.queue.due_before(self.paused.campaign, &self.paused.skipped, self.until).await?;
        if due == 0 {
            return Ok(Prediction::default());
        }
        // The moment itself moves with every look at the limit, so it is a remark and not part of the plan's hash.
        let id = self.paused.campaign;
        let later =
            change("queue", id, &self.paused.name, "earliest send", "as queued", "after the rate limit");
        Ok(Prediction::of(later).note(format!(
            "{}, not before {}",
            counted(due, "message", "messages"),
            self.until
        )))
    }

    fn foresee(&self, _prediction: &Prediction) -> Rows {
        Rows { rows: 0 }
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<Rows>, PortError> {
        let rows = self.queue.postpone(self.paused.campaign, &self.paused.skipped, self.until).await?;
        let says = format!(
            "{} of {} moved to {}",
            counted(rows, "message", "messages"),
            self.paused.name,
            self.until
        );
        Ok(Applied { receipt: Rows { rows }, says })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<Rows>, PortError> {
        let due = self.queue.due_before(self.paused.campaign, &self.paused.skipped, self.until).await?;
        if due > 0 {
            return Ok(Reconciled::DidNot {
                why: counted(due, "message is due earlier", "messages are due earlier"),
            });
        }
        Ok(Reconciled::Happened(Applied {
            receipt: Rows { rows: 0 },
            says: "no message is due earlier".to_owned(),
        }))
    }

    async fn verify(
        &self,
        _intent: &Intent,
        _receipt: &Rows,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let due = self.queue.due_before(self.paused.campaign, &self.paused.skipped, self.until).await?;
        let evidence =
            vec![Evidence::new("send_queue (PostgREST)", format!("{due} due before {}", self.until))];
        Ok(if due == 0 {
            Judgement::verified(
                format!("no message of {} is due before {}", self.paused.name, self.until),
                evidence,
            )
        } else {
            Judgement::refuted(
                format!(
                    "{} of {} due before {}",
                    counted(due, "message", "messages"),
                    self.paused.name,
                    self.until
                ),
                evidence,
            )
        })
    }
}
