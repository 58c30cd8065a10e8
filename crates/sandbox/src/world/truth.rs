//! How the world really is, for tests to judge by: what no service in it says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use uuid::Uuid;

use super::functions::Shown;
use super::rows::QueueStatus;
use super::{QUIET_HOURS, World};
use crate::scenario::Scenario;

/// What went out to customers in a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WentOut {
    /// Messages that WhatsApp accepted.
    pub accepted: usize,
    /// Rows of the queue that they were sent for.
    pub distinct: usize,
}

/// What of the errors in the send log passes: a rate limit, an outage, hours and a throttle.
const PASSING: [&str; 4] = ["130429", "http_503", "quiet_hours", "throttled"];

impl World {
    /// Why a message to a customer would fail now.
    pub fn fails_for_customers(&self) -> Option<String> {
        self.send_error(self.now, true).map(|error| format!("{error:?}"))
    }

    /// Whether this world's dispatcher rests now because it is quiet hours.
    pub fn rests(&self) -> bool {
        let keeps_hours = match self.spec.scenario {
            Scenario::QuietHours => true,
            // Once they are those of the night.
            Scenario::QuietHoursMisconfigured => self.setting(QUIET_HOURS)["value"]["start"] == "22:00",
            _ => false,
        };
        keeps_hours && self.is_quiet_at(self.now)
    }

    /// How many messages of running campaigns are due now.
    pub fn due(&self) -> usize {
        let sends = |id: Uuid| self.campaigns.iter().any(|one| one.id == id && one.status == "running");
        let due = self.queue.iter().filter(|row| {
            row.status == QueueStatus::Pending && row.next_attempt_at <= self.now && sends(row.campaign)
        });
        due.count()
    }

    /// How many messages of a campaign the dispatcher has given up because of something that passes, to recipients who got none.
    pub fn lost(&self, campaign: Uuid) -> usize {
        let passes = |row: i64| {
            let last = self.sent.iter().rfind(|sent| sent.queue == Some(row));
            let error = last.and_then(|sent| sent.error.as_deref()).unwrap_or_default();
            PASSING.iter().any(|code| error.contains(code))
        };
        let got = |to: u64| {
            self.sent
                .iter()
                .any(|sent| sent.campaign == Some(campaign) && sent.msisdn == to && sent.error.is_none())
        };
        let given_up = self
            .queue
            .iter()
            .filter(|row| row.campaign == campaign && row.status == QueueStatus::Failed && passes(row.id));
        given_up.filter(|row| !got(row.msisdn)).count()
    }

    /// What went out to customers since.
    pub fn went_out_since(&self, since: Timestamp) -> WentOut {
        let sent = self.sent.iter().filter(|sent| sent.sent_at > since && sent.error.is_none());
        let rows: Vec<i64> = sent.filter_map(|sent| sent.queue).collect();
        WentOut { accepted: rows.len(), distinct: rows.iter().collect::<BTreeSet<_>>().len() }
    }

    /// Whether a preview is made, and is a picture.
    pub fn previews_work(&self) -> bool {
        matches!(self.render(), Ok(Shown::Rendered)) && self.previews_are_pictures()
    }

    /// Vouchers that were redeemed at two stations and can be redeemed on: nobody took them back.
    pub fn doubles_that_stand(&self) -> Vec<Uuid> {
        let mut stations: BTreeMap<Uuid, BTreeSet<Option<Uuid>>> = BTreeMap::new();
        for redemption in &self.redemptions {
            stations.entry(redemption.voucher).or_default().insert(redemption.station);
        }
        let stands = |id: &Uuid| self.vouchers.iter().any(|one| one.id == *id && one.status != "void");
        stations.into_iter().filter(|(id, at)| at.len() > 1 && stands(id)).map(|(id, _)| id).collect()
    }
}
