//! Over days: what does not drain outside the quiet hours of one day is left to the next ones.
//!
//! The dispatcher looks at no quiet hours, so nothing may be due that it would still be sending when they begin. It does look at
//! the earliest time of a message, so that of what is left to a later day is moved there.

use std::sync::Arc;

use allclear_core::ports::SendQueue;
use allclear_core::{Platform, PortError};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Halt, Intent, Judgement, NoUndo, Observation, Prediction, Probe,
    Reconciled, Repeat, Run, Step,
};
use async_trait::async_trait;
use jiff::Timestamp;

use crate::effects::{Paused, Rows, change};
use crate::words::counted;

/// Messages of one campaign that are left to a later day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Later {
    /// How many of its messages come before.
    pub(crate) place: u64,
    /// Not before.
    pub(crate) at: Timestamp,
}

/// Leaves to later days what of a campaign does not fit into its first, before it is started.
pub(crate) async fn spread(
    run: &mut Run,
    step: &Step,
    on: &Platform,
    campaign: &Paused,
    later: &[Later],
) -> Result<(), Halt> {
    for (part, later) in (2..).zip(later) {
        if let Some(first) = run.probe(step, UnsentAt::of(on, campaign, later.place)).await? {
            run.perform(step, SpreadSends::of(on, campaign, part, first, later.at)).await?;
        }
    }
    Ok(())
}

/// Leaves all of a campaign's messages to the time at which it will be started: a dispatcher may send what is paused, and that
/// must not be at night.
pub(crate) async fn hold_until(
    run: &mut Run,
    step: &Step,
    on: &Platform,
    campaign: &Paused,
    at: Timestamp,
) -> Result<(), Halt> {
    match run.probe(step, UnsentAt::of(on, campaign, 0)).await? {
        Some(first) => run.perform(step, SpreadSends::of(on, campaign, 1, first, at)).await.map(drop),
        None => Ok(()),
    }
}

/// Finds the row with which a later day's messages of a campaign begin.
struct UnsentAt {
    queue: Arc<dyn SendQueue>,
    campaign: Paused,
    place: u64,
}

impl UnsentAt {
    fn of(on: &Platform, campaign: &Paused, place: u64) -> Self {
        Self { queue: Arc::clone(&on.send_queue), campaign: campaign.clone(), place }
    }
}

#[async_trait]
impl Probe for UnsentAt {
    type Value = Option<i64>;

    fn subject(&self) -> String {
        format!("campaign {} after {}", self.campaign.campaign, self.place)
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Option<i64>>, PortError> {
        let row = self.queue.unsent_at(self.campaign.campaign, &self.campaign.skipped, self.place).await?;
        let name = &self.campaign.name;
        let before = counted(self.place, "message", "messages");
        let says = match row {
            None if self.place == 0 => format!("nothing of {name} waits"),
            Some(_) if self.place == 0 => format!("{name} has messages that wait"),
            Some(_) => format!("{before} of {name} are sent on days before, the others after"),
            None => format!("{name} has no more than {before} left"),
        };
        let shows = row.map_or_else(|| "none".to_owned(), |row| format!("row {row}"));
        Ok(Observation { value: row, says, evidence: vec![Evidence::new("send_queue (PostgREST)", shows)] })
    }
}

/// Moves what of a campaign does not fit into a day to the next day that allows it: the messages from one row on. The time
/// and the row are absolute, so doing it twice changes nothing the second time.
#[derive(Clone)]
pub(crate) struct SpreadSends {
    queue: Arc<dyn SendQueue>,
    paused: Paused,
    part: usize,
    first: i64,
    at: Timestamp,
}

impl SpreadSends {
    pub(crate) fn of(on: &Platform, paused: &Paused, part: usize, first: i64, at: Timestamp) -> Self {
        Self { queue: Arc::clone(&on.send_queue), paused: paused.clone(), part, first, at }
    }

    async fn due(&self) -> Result<u64, PortError> {
        self.queue.due_from(self.paused.campaign, &self.paused.skipped, self.first, self.at).await
    }
}

#[async_trait]
impl Effect for SpreadSends {
    type Receipt = Rows;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "send_queue.postpone"
    }

    fn subject(&self) -> String {
        format!("campaign {} part {}", self.paused.campaign, self.part)
    }

    fn title(&self) -> String {
        format!("leave part {} of the messages of campaign {} to a later day", self.part, self.paused.name)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("the earlier times of the messages are not kept; they go out by themselves after the time shown")
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let due = self.due().await?;
        if due == 0 {
            return Ok(Prediction::default());
        }
        let field = format!("earliest send of part {}", self.part);
        let later =
            change("queue", self.paused.campaign, &self.paused.name, &field, "as queued", "a later day");
        let says = format!("{}, not before {}", counted(due, "message", "messages"), self.at);
        Ok(Prediction::of(later).note(says))
    }

    fn foresee(&self, _prediction: &Prediction) -> Rows {
        Rows { rows: 0 }
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<Rows>, PortError> {
        let rows =
            self.queue.postpone_from(self.paused.campaign, &self.paused.skipped, self.first, self.at).await?;
        let moved = counted(rows, "message", "messages");
        let says = format!("{moved} of {} moved to {}", self.paused.name, self.at);
        Ok(Applied { receipt: Rows { rows }, says })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<Rows>, PortError> {
        let due = self.due().await?;
        if due > 0 {
            let why = counted(due, "message is due earlier", "messages are due earlier");
            return Ok(Reconciled::DidNot { why });
        }
        let says = "no message of this part is due earlier".to_owned();
        Ok(Reconciled::Happened(Applied { receipt: Rows { rows: 0 }, says }))
    }

    async fn verify(
        &self,
        _intent: &Intent,
        _receipt: &Rows,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let due = self.due().await?;
        let evidence = vec![Evidence::new("send_queue (PostgREST)", format!("{due} due before {}", self.at))];
        let name = &self.paused.name;
        Ok(if due == 0 {
            let says = format!("part {} of the messages of {name} is not due before {}", self.part, self.at);
            Judgement::verified(says, evidence)
        } else {
            let due = counted(due, "message", "messages");
            Judgement::refuted(format!("{due} of {name} due before {}", self.at), evidence)
        })
    }
}
