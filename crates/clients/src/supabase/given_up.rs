//! What the dispatcher gave up, row by row, and why: from the queue, the send log, the targets and the opt-out list.
//!
//! Whoever has got the message is told by their number and not by the row: a campaign is for each number once, and neither the
//! queue nor the log says so by itself.

use std::collections::{HashMap, HashSet};

use allclear_core::CampaignId;
use allclear_core::ports::{GivenUpMessage, WhyGivenUp};
use uuid::Uuid;

use super::sends::{Tried, tried};
use super::wire::{ErrorText, OptedOut, QueuedTo, TriedRow};
use super::{Result, Supabase, read};

/// What the send log has of the messages in question.
#[derive(Default)]
struct Logged {
    /// Of each row the code of its last try, where that failed.
    last: HashMap<i64, Option<String>>,
    /// Numbers to which the campaign's message went out.
    got_it: HashSet<String>,
}

impl Logged {
    fn add(&mut self, row: TriedRow) {
        match tried(row.delivery_status.as_deref(), row.error.as_deref()) {
            Tried::Failed(text) => {
                let code = ErrorText::parse(text).code;
                self.last.extend(row.queue_id.map(|id| (id, Some(code))));
            }
            // Under way, as far as the log knows.
            Tried::NotYet => self.last.extend(row.queue_id.map(|id| (id, None))),
            Tried::WentOut => self.got_it.extend(row.msisdn_e164),
        }
    }
}

impl Supabase {
    /// Four walks, where there is anything: `send_queue`, `send_logs` and the `campaign_targets` that opted out, each with
    /// `campaign_id=eq.X`; and the setting `opt_out.list`.
    pub(super) async fn read_given_up(&self, campaign: CampaignId) -> Result<Vec<GivenUpMessage>> {
        let of_campaign = |name: &str| read(name).query("campaign_id", format!("eq.{campaign}"));
        if self.count(of_campaign("send_queue").query("status", "eq.FAILED")).await? == 0 {
            return Ok(Vec::new());
        }
        let (mut given_up, mut in_queue) = (Vec::new(), HashSet::new());
        let keep = |row: QueuedTo| match row.msisdn_e164 {
            number if row.status == "FAILED" => given_up.push((row.id, number.unwrap_or_default())),
            Some(number) => {
                in_queue.insert(number);
            }
            None => {}
        };
        let list = of_campaign("send_queue").query("select", "id,status,msisdn_e164");
        self.walk(list, |row: &QueuedTo| row.id, usize::MAX, keep).await?;
        let mut logged = Logged::default();
        let list = of_campaign("send_logs").query("select", "id,queue_id,msisdn_e164,delivery_status,error");
        self.walk(list, |row: &TriedRow| row.id, usize::MAX, |row| logged.add(row)).await?;
        let opted_out = self.opted_out_of(campaign).await?;

        let mut seen = HashSet::new();
        let message = |(row, number): (i64, String)| {
            let elsewhere =
                in_queue.contains(&number) || logged.got_it.contains(&number) || !seen.insert(number.clone());
            let why = match logged.last.remove(&row).flatten() {
                _ if elsewhere => WhyGivenUp::Elsewhere,
                _ if opted_out.contains(&number) => WhyGivenUp::OptedOut,
                Some(code) => WhyGivenUp::Failed(code),
                None => WhyGivenUp::NotLogged,
            };
            GivenUpMessage { row, why }
        };
        Ok(given_up.into_iter().map(message).collect())
    }

    /// The numbers that want no messages, by the campaign's targets and by the platform's list.
    async fn opted_out_of(&self, campaign: CampaignId) -> Result<HashSet<String>> {
        let mut numbers = self.opt_out_list().await?;
        let targets = read("campaign_targets")
            .query("select", "id,msisdn")
            .query("campaign_id", format!("eq.{campaign}"))
            .query("status", "eq.opted_out");
        let keep = |row: OptedOut| numbers.extend(row.msisdn);
        self.walk(targets, |row: &OptedOut| -> Uuid { row.id }, usize::MAX, keep).await?;
        Ok(numbers)
    }
}
