//! The dispatcher's queue: stopping it for a campaign, giving it back, and moving sends to a later time.

use std::sync::Arc;

use allclear_core::ports::{Limits, SendLog, SendQueue};
use allclear_core::{Platform, PortError};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, Patience, Prediction, Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::effects::{Paused, change};
use crate::words::counted;

const FIELD: &str = "unsent messages";

/// How many rows an effect changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Rows {
    pub(in super::super) rows: u64,
}

/// Marks a campaign's waiting messages as skipped: the one thing that really stops a dispatcher which never looks at
/// the campaign's status. One statement of the database, so there is no half of it.
#[derive(Clone)]
pub(in super::super) struct SkipQueue {
    queue: Arc<dyn SendQueue>,
    log: Arc<dyn SendLog>,
    limits: Limits,
    paused: Paused,
}

impl SkipQueue {
    pub(in super::super) fn of(on: &Platform, paused: &Paused) -> Self {
        Self {
            queue: Arc::clone(&on.send_queue),
            log: Arc::clone(&on.send_log),
            limits: on.limits.clone(),
            paused: paused.clone(),
        }
    }

    fn id(&self) -> String {
        self.paused.campaign.to_string()
    }
}

#[async_trait]
impl Effect for SkipQueue {
    type Receipt = Rows;
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

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let waiting = self.queue.pending(self.paused.campaign).await?;
        let actual = if waiting > 0 { "waiting" } else { "none waiting" };
        let before = foreseen.or("queue", &self.id(), FIELD, actual);
        if before != "waiting" {
            return Ok(Prediction::default());
        }
        let stop = change("queue", self.id(), &self.paused.name, FIELD, "waiting", "skipped");
        Ok(Prediction::of(stop).note(counted(waiting, "message waits now", "messages wait now")))
    }

    fn foresee(&self, _prediction: &Prediction) -> Rows {
        Rows { rows: 0 }
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<Rows>, PortError> {
        let rows = self.queue.skip_pending(self.paused.campaign).await?;
        Ok(Applied {
            receipt: Rows { rows },
            says: format!(
                "{} of {}: skipped",
                counted(rows, "unsent message", "unsent messages"),
                self.paused.name
            ),
        })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<Rows>, PortError> {
        let waiting = self.queue.pending(self.paused.campaign).await?;
        if waiting > 0 {
            return Ok(Reconciled::DidNot {
                why: counted(waiting, "message still waits", "messages still wait"),
            });
        }
        let rows = self.queue.skipped(self.paused.campaign).await?;
        Ok(Reconciled::Happened(Applied {
            receipt: Rows { rows },
            says: format!("none wait, {rows} are skipped"),
        }))
    }

    fn patience(&self) -> Patience {
        let interval = self.limits.dispatcher_interval;
        Patience { every: interval / 2, within: interval * 3 }
    }

    async fn verify(&self, intent: &Intent, _receipt: &Rows, now: Timestamp) -> Result<Judgement, PortError> {
        let waiting = self.queue.pending(self.paused.campaign).await?;
        let queue = Evidence::new("send_queue (PostgREST)", format!("{waiting} waiting"));
        if waiting > 0 {
            return Ok(Judgement::refuted(
                format!("{} of {} still waiting", counted(waiting, "message", "messages"), self.paused.name),
                vec![queue],
            ));
        }
        // A batch that the dispatcher had claimed just before may still go out.
        let since = intent.at + self.limits.dispatcher_interval;
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

    fn undo(&self, _receipt: &Rows) -> Option<RestoreQueue> {
        Some(RestoreQueue { queue: Arc::clone(&self.queue), paused: self.paused.clone() })
    }
}

/// Gives a campaign's skipped messages back to the dispatcher.
#[derive(Clone)]
pub(in super::super) struct RestoreQueue {
    queue: Arc<dyn SendQueue>,
    paused: Paused,
}

impl RestoreQueue {
    pub(in super::super) fn of(on: &Platform, paused: &Paused) -> Self {
        Self { queue: Arc::clone(&on.send_queue), paused: paused.clone() }
    }
}

#[async_trait]
impl Effect for RestoreQueue {
    type Receipt = Rows;
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

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let skipped = self.queue.skipped(self.paused.campaign).await?;
        let id = self.paused.campaign.to_string();
        let actual = if skipped > 0 { "skipped" } else { "none skipped" };
        if foreseen.or("queue", &id, FIELD, actual) != "skipped" {
            return Ok(Prediction::default());
        }
        let back = change("queue", id, &self.paused.name, FIELD, "skipped", "waiting");
        Ok(Prediction::of(back).note(counted(skipped, "message is skipped now", "messages are skipped now")))
    }

    fn foresee(&self, _prediction: &Prediction) -> Rows {
        Rows { rows: 0 }
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<Rows>, PortError> {
        let rows = self.queue.restore_skipped(self.paused.campaign).await?;
        Ok(Applied {
            receipt: Rows { rows },
            says: format!("{} of {} given back", counted(rows, "message", "messages"), self.paused.name),
        })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<Rows>, PortError> {
        let skipped = self.queue.skipped(self.paused.campaign).await?;
        if skipped > 0 {
            return Ok(Reconciled::DidNot {
                why: counted(skipped, "message is still skipped", "messages are still skipped"),
            });
        }
        let rows = self.queue.pending(self.paused.campaign).await?;
        Ok(Reconciled::Happened(Applied {
            receipt: Rows { rows },
            says: "none are skipped any more".to_owned(),
        }))
    }

    async fn verify(
        &self,
        _intent: &Intent,
        _receipt: &Rows,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let skipped = self.queue.skipped(self.paused.campaign).await?;
        let evidence = vec![Evidence::new("send_queue (PostgREST)", format!("{skipped} skipped"))];
        Ok(if skipped == 0 {
            Judgement::verified(
                format!("all messages of {} are in the queue again", self.paused.name),
                evidence,
            )
        } else {
            Judgement::refuted(
                format!("{} of {} still skipped", counted(skipped, "message", "messages"), self.paused.name),
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

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let due = self.queue.due_before(self.paused.campaign, self.until).await?;
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
        let rows = self.queue.postpone(self.paused.campaign, self.until).await?;
        let says = format!(
            "{} of {} moved to {}",
            counted(rows, "message", "messages"),
            self.paused.name,
            self.until
        );
        Ok(Applied { receipt: Rows { rows }, says })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<Rows>, PortError> {
        let due = self.queue.due_before(self.paused.campaign, self.until).await?;
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
        let due = self.queue.due_before(self.paused.campaign, self.until).await?;
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
