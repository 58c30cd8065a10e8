//! What people do at PagerDuty: in an exercise whoever is asked acknowledges, one after another; in an incident somebody
//! resolves what is open.

use std::time::Duration;

use allclear_core::recovery::Role;
use jiff::Timestamp;

use super::wire::{self, Agent};
use super::{PAGERDUTY_USERS, USERS};
use crate::scenario::Twist;
use crate::world::World;

/// How an exercise's alert begins. Nobody acknowledges by himself what is no exercise.
const DRILL: &str = "[DRILL]";
/// Between one person's acknowledgement and the next one's.
const PACE: Duration = Duration::from_secs(25);
/// When the late one acknowledges; the written runbook asks for five minutes.
const LATE: Duration = Duration::from_mins(7);

/// When a person acknowledges; `None` where that one does not at all.
fn answers_after(user: &str, twist: Twist) -> Option<Duration> {
    let place = PAGERDUTY_USERS.iter().position(|one| *one == user)?;
    match (twist, Role::ALL[place]) {
        (Twist::LateAcknowledgement, Role::SupportManager) => Some(LATE),
        (Twist::LateAcknowledgement, Role::StakeholderCommunications) => None,
        _ => Some(PACE * (place as u32 + 1)),
    }
}

/// Lets everybody who was asked do what they have done by now.
pub(super) fn answer(world: &mut World) {
    let Some(twist) = world.spec.scenario.exercise() else { return };
    let now = world.now();
    for incident in world.incidents.iter_mut().filter(|one| one.title.starts_with(DRILL)) {
        let asked = [(USERS[0].id, incident.created_at)].into_iter().chain(incident.called_in.clone());
        let mut due: Vec<(Timestamp, &'static str)> = asked
            .filter_map(|(user, at)| {
                Some(((incident.created_at + answers_after(user, twist)?).max(at), user))
            })
            .filter(|(at, user)| *at <= now && !has_acknowledged(&incident.log, user))
            .collect();
        due.sort_unstable();
        for (at, user) in due {
            wire::log(incident, "acknowledge", at, Agent::User(user));
            if incident.status == "triggered" {
                incident.status = "acknowledged";
            }
        }
    }
}

/// Lets a person resolve whatever is open. Whether anything was.
pub(crate) fn let_somebody_resolve(world: &mut World) -> bool {
    let now = world.now();
    let mut any = false;
    for incident in world.incidents.iter_mut().filter(|one| one.status != "resolved") {
        incident.status = "resolved";
        wire::log(incident, "resolve", now, Agent::User(USERS[1].id));
        any = true;
    }
    any
}

fn has_acknowledged(log: &[serde_json::Value], user: &str) -> bool {
    log.iter().any(|entry| entry["type"] == "acknowledge_log_entry" && entry["agent"]["id"] == user)
}
