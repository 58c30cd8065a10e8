//! Campaigns' targets and the send queue through PostgREST.

use axum::http::HeaderMap;
use axum::response::Response;
use jiff::Timestamp;

use super::answer::Asked;
use super::body::Given;
use super::insert::{Insert, insert, points_nowhere};
use super::query::{Filter, RestError};
use crate::fault::Fault;
use crate::world::World;
use crate::world::rows::{QueueStatus, Queued, Target};

/// The words that a target's status may be here. The database has no check, and takes any.
const STATUSES: [&str; 7] =
    ["queued", "queued_throttled", "sent", "delivered", "read", "failed", "opted_out"];

impl Insert for Target {
    const UNIQUE: &'static [(&'static str, &'static [&'static str])] = &[
        ("campaign_targets_pkey", &["id"]),
        ("campaign_targets_campaign_id_msisdn_key", &["campaign_id", "msisdn"]),
    ];

    fn table(world: &mut World) -> &mut Vec<Self> {
        &mut world.targets
    }

    fn effect(&self) -> (&'static str, String) {
        ("campaign.target", self.campaign.to_string())
    }

    fn merge(&mut self, new: &Self, given: &Given) {
        for name in given.names() {
            match name {
                "id" => self.id = new.id,
                "campaign_id" => self.campaign = new.campaign,
                "msisdn" => self.msisdn = new.msisdn,
                "status" => self.status = new.status,
                "error_code" => self.error_code.clone_from(&new.error_code),
                "last_update_at" => self.last_update_at = new.last_update_at,
                _ => {}
            }
        }
    }

    /// Without writing each number as a text: there are tens of thousands.
    fn clash(&self, other: &Self, key: &[&str]) -> bool {
        match key {
            ["id"] => self.id == other.id,
            _ => (self.campaign, self.msisdn) == (other.campaign, other.msisdn),
        }
    }
}

pub(super) fn insert_targets(
    world: &mut World,
    asked: &Asked,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, RestError> {
    let given = Given::rows::<Target>(&asked.query, headers, body)?;
    let rows = Given::each(given, |given| target(world, given))?;
    insert::<Target>(world, asked, rows, false)
}

fn target(world: &mut World, given: &Given) -> Result<Target, RestError> {
    given.only(&["id", "campaign_id", "msisdn", "status", "error_code", "last_update_at"])?;
    let campaign = given.uuid("campaign_id").ok_or_else(|| given.missing("campaign_id"))?;
    if world.campaign(campaign).is_none() {
        return Err(points_nowhere::<Target>("campaign_id", &campaign.to_string(), "campaigns"));
    }
    let status = given.text("status").unwrap_or_else(|| "queued".to_owned());
    let known = STATUSES.into_iter().find(|known| *known == status);
    Ok(Target {
        id: given.uuid("id").unwrap_or_else(|| world.new_uuid()),
        campaign,
        msisdn: given.digits("msisdn")?,
        status: known.ok_or_else(|| given.violates("campaign_targets_status_check"))?,
        error_code: given.text("error_code"),
        message_id: None,
        last_update_at: given.time("last_update_at").unwrap_or(world.now),
        bad: false,
    })
}

pub(super) fn patch_queue(
    world: &mut World,
    asked: &Asked,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, RestError> {
    let given = super::one_change::<Queued>(asked, headers, body)?;
    let change = Change::of(&given)?;
    let places = super::places(asked, &world.queue)?;
    let lost = world.has(Fault::QueueWriteLost);
    if !lost {
        for &place in &places {
            change.apply(&mut world.queue[place]);
        }
    }
    let of_campaign = |filter: &&Filter| filter.column == "campaign_id";
    let subject = asked.query.filters.iter().find(of_campaign).and_then(Filter::equals).unwrap_or("all");
    world.ledger.note(world.now, change.effect(), subject, !lost && !places.is_empty());
    Ok(super::changed(asked, &world.queue, &places))
}

/// A change of queue rows.
struct Change {
    status: Option<QueueStatus>,
    postponed_to: Option<Timestamp>,
    attempt: Option<u32>,
}

impl Change {
    fn of(given: &Given) -> Result<Self, RestError> {
        given.only(&["status", "next_attempt_at", "attempt"])?;
        if let Some(name) = given.names().find(|name| given.text(name).is_none()) {
            return Err(given.missing(name));
        }
        let status = given
            .text("status")
            .map(|word| QueueStatus::parse(&word).ok_or_else(|| given.violates("send_queue_status_check")));
        let attempt = given.int("attempt").map(|number| {
            let out_of_range = || RestError::new(400, "22003", "integer out of range");
            u32::try_from(number).map_err(|_| out_of_range())
        });
        Ok(Self {
            status: status.transpose()?,
            postponed_to: given.time("next_attempt_at"),
            attempt: attempt.transpose()?,
        })
    }

    fn apply(&self, row: &mut Queued) {
        row.status = self.status.unwrap_or(row.status);
        row.next_attempt_at = self.postponed_to.unwrap_or(row.next_attempt_at);
        row.attempt = self.attempt.unwrap_or(row.attempt);
    }

    fn effect(&self) -> &'static str {
        match (self.status, self.postponed_to) {
            (Some(QueueStatus::Skipped), _) => "send_queue.skip",
            (Some(QueueStatus::Pending), _) if self.attempt == Some(0) => "send_queue.put_back",
            (Some(QueueStatus::Pending), _) => "send_queue.restore",
            (Some(QueueStatus::Failed), _) => "send_queue.give_up",
            (None, Some(_)) => "send_queue.postpone",
            _ => "send_queue.update",
        }
    }
}
