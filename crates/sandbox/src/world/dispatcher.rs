//! What happens by itself: the dispatcher's runs, and deliveries.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::rows::{QueueStatus, Queued, SendLog};
use super::{BATCH, DISPATCH_FUNCTION, SendError, World};
use crate::fault::Fault;
use crate::scenario::Scenario;

/// How long a message is on its way.
const DELIVERY: Duration = Duration::from_secs(5);
const SLOW_DELIVERY: Duration = Duration::from_mins(3);
/// Waits between attempts, as the platform's dispatcher has them.
const BACKOFF: [u64; 5] = [15, 30, 60, 120, 300];

impl World {
    /// Makes sent rows wait again, as a deployment does that never marks them.
    pub fn leave_sent_rows_waiting(&mut self) {
        for row in self.queue.iter_mut().filter(|row| row.status == QueueStatus::Sent) {
            row.status = QueueStatus::Pending;
        }
    }

    /// Lets the dispatcher have given up up to so many of a campaign's messages that were not tried before, each after its last try ended with this
    /// text in the send log; without one the log knows of no try. Returns which rows those are.
    pub fn let_messages_be_given_up(&mut self, campaign: Uuid, many: usize, text: Option<&str>) -> Vec<i64> {
        let at = self.now;
        let mut rows = Vec::new();
        let waits = |row: &&mut Queued| {
            row.campaign == campaign && row.status == QueueStatus::Pending && row.attempt == 0
        };
        for row in self.queue.iter_mut().filter(waits).take(many) {
            row.status = QueueStatus::Failed;
            row.attempt = BACKOFF.len() as u32;
            rows.push(row.id);
            let Some(text) = text else { continue };
            self.sent.push(SendLog {
                id: self.sent.len() as i64 + 1,
                queue: Some(row.id),
                campaign: Some(campaign),
                msisdn: row.msisdn,
                sent_at: at,
                message_id: None,
                delivery_status: "failed",
                error: Some(text.to_owned()),
            });
        }
        rows
    }

    /// Queues a campaign's targets, as a start does: each once.
    pub(super) fn queue_targets(&mut self, campaign: Uuid) {
        for (place, target) in self.targets.iter().enumerate() {
            let waits = target.campaign == campaign && target.status == "queued";
            if waits && !self.queue.iter().any(|row| row.target == place) {
                self.queue.push(Queued {
                    id: self.queue.len() as i64 + 1,
                    campaign,
                    msisdn: target.msisdn,
                    attempt: 0,
                    next_attempt_at: self.now,
                    status: QueueStatus::Pending,
                    target: place,
                });
            }
        }
    }

    /// One run of the dispatcher: claims up to [`BATCH`] due rows, a fair share from each campaign.
    pub(super) fn dispatch(&mut self, at: Timestamp) {
        if self.dispatcher_is_down(at) {
            self.function_calls.push((at, DISPATCH_FUNCTION, 503));
            return;
        }
        self.function_calls.push((at, DISPATCH_FUNCTION, 200));
        if self.dispatcher_takes_nothing(at) {
            return;
        }
        for index in self.claim(at) {
            self.ticked |= self.started;
            self.send_row(index, at);
        }
    }

    pub(super) fn dispatcher_is_down(&self, at: Timestamp) -> bool {
        matches!(self.spec.scenario, Scenario::StalledUnreachable { .. })
            && self.spec.ends_at().is_some_and(|end| at < end)
    }

    fn dispatcher_takes_nothing(&self, at: Timestamp) -> bool {
        match self.spec.scenario {
            Scenario::Stalled | Scenario::StalledUnreachable { .. } => !self.started,
            Scenario::StalledOneTick => !self.started || self.ticked,
            Scenario::QuietHours => self.is_quiet_at(at),
            _ => false,
        }
    }

    fn claim(&self, at: Timestamp) -> Vec<usize> {
        let eligible = self.sending_campaigns(at);
        if eligible.is_empty() {
            return Vec::new();
        }
        let share = BATCH.div_ceil(eligible.len());
        let mut left: Vec<(Uuid, usize)> = eligible.into_iter().map(|id| (id, share)).collect();
        let mut claimed = Vec::with_capacity(BATCH);
        for (index, row) in self.queue.iter().enumerate() {
            if claimed.len() == BATCH {
                break;
            }
            if row.status != QueueStatus::Pending || row.next_attempt_at > at {
                continue;
            }
            if let Some((_, left)) = left.iter_mut().find(|(id, left)| *id == row.campaign && *left > 0) {
                *left -= 1;
                claimed.push(index);
            }
        }
        claimed
    }

    /// Campaigns of which the dispatcher takes due rows: with a pause that is not effective, all that were ever started.
    fn sending_campaigns(&self, at: Timestamp) -> Vec<Uuid> {
        let ignores_status = self.has(Fault::PauseNotEffective);
        let sends = |campaign: &&super::rows::Campaign| {
            campaign.status == "running" || (ignores_status && campaign.started_at.is_some())
        };
        let with_rows = |id: &Uuid| {
            let is_due = |row: &Queued| row.status == QueueStatus::Pending && row.next_attempt_at <= at;
            self.queue.iter().any(|row| row.campaign == *id && is_due(row))
        };
        self.campaigns.iter().filter(sends).map(|campaign| campaign.id).filter(with_rows).collect()
    }

    fn send_row(&mut self, index: usize, at: Timestamp) {
        let target = self.queue[index].target;
        let failure = if self.targets[target].bad {
            Some(SendError { code: "131026".to_owned(), http: 400, retry_after: None })
        } else {
            self.send_error(at, true)
        };
        let (id, campaign, msisdn) =
            (self.queue[index].id, self.queue[index].campaign, self.queue[index].msisdn);
        match failure {
            None => {
                let message = self.log_send(Some(id), Some(campaign), msisdn, at);
                if !self.has(Fault::SendRowStaysPending) {
                    self.queue[index].status = QueueStatus::Sent;
                }
                if self.has(Fault::TargetsStayQueued) {
                    return;
                }
                let target = &mut self.targets[target];
                target.status = "sent";
                target.message_id = Some(message);
                target.last_update_at = at;
            }
            Some(error) => self.fail_row(index, at, &error),
        }
    }

    pub(super) fn fail_row(&mut self, index: usize, at: Timestamp, error: &SendError) {
        let row = &mut self.queue[index];
        let attempt = row.attempt as usize;
        row.attempt += 1;
        // A number that cannot receive is not tried again.
        if attempt + 1 >= BACKOFF.len() || error.code == "131026" {
            row.status = QueueStatus::Failed;
        } else {
            row.next_attempt_at = at + Duration::from_secs(BACKOFF[attempt]);
        }
        let (queue, campaign, msisdn, target) = (row.id, row.campaign, row.msisdn, row.target);
        self.sent.push(SendLog {
            id: self.sent.len() as i64 + 1,
            queue: Some(queue),
            campaign: Some(campaign),
            msisdn,
            sent_at: at,
            message_id: None,
            delivery_status: if self.has(Fault::DeliveryNeverLogged) { "FAILED" } else { "failed" },
            error: Some(error.to_log()),
        });
        if self.has(Fault::TargetsStayQueued) {
            return;
        }
        let target = &mut self.targets[target];
        target.status = "failed";
        target.error_code = Some(error.code.clone());
        target.last_update_at = at;
    }

    /// Records a message that went out; it is delivered a little later.
    pub(crate) fn log_send(
        &mut self,
        queue: Option<i64>,
        campaign: Option<Uuid>,
        msisdn: u64,
        at: Timestamp,
    ) -> u64 {
        let message = self.new_number();
        let takes = if self.has(Fault::DeliverySlow) { SLOW_DELIVERY } else { DELIVERY };
        self.deliveries.push_back((at + takes, self.sent.len()));
        self.sent.push(SendLog {
            id: self.sent.len() as i64 + 1,
            queue,
            campaign,
            msisdn,
            sent_at: at,
            message_id: Some(message),
            delivery_status: if self.has(Fault::DeliveryNeverLogged) { "SENT" } else { "sent" },
            error: None,
        });
        message
    }

    pub(super) fn deliver_until(&mut self, now: Timestamp) {
        while self.deliveries.front().is_some_and(|(at, _)| *at <= now) {
            let Some((at, place)) = self.deliveries.pop_front() else { return };
            let fails = self.has(Fault::CanaryFails) && self.sent[place].campaign.is_none();
            let status = if fails { "failed" } else { "delivered" };
            if !self.has(Fault::DeliveryNeverLogged) {
                self.sent[place].delivery_status = status;
            }
            self.keep_reports(place, status, at);
            let Some(queue) = self.sent[place].queue else { continue };
            if self.has(Fault::TargetsStayQueued) {
                continue;
            }
            // Queue ids are places plus one.
            let target = self.queue[(queue - 1) as usize].target;
            self.targets[target].status = "delivered";
            self.targets[target].last_update_at = at;
        }
    }
}
