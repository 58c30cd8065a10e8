//! Calling everybody, and seeing who answered: by person, by PagerDuty's own clock, from the incident's log entries.
//!
//! Nothing is guessed: who is not in the log entries did not acknowledge, and when the log entries cannot be read, nobody's
//! acknowledgement is known.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::PortError;
use allclear_core::incident::Incident;
use allclear_core::platform::Recovery;
use allclear_core::ports::{Acknowledgements, Paging};
use allclear_core::recovery::{Participant, Role};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, Observation, Prediction, Probe,
    Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::texts;
use super::words::{clock, span};
use crate::effects::change;

/// The written runbook's five minutes.
pub(super) const ACKNOWLEDGE_WITHIN: Duration = Duration::from_mins(5);

/// One person's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Called {
    pub(super) role: Role,
    pub(super) name: String,
    /// How long after the incident was opened; `None` while they did not acknowledge.
    pub(super) after: Option<Duration>,
    /// When, by PagerDuty's clock.
    pub(super) at: Option<Timestamp>,
}

impl Called {
    pub(super) fn is_in_time(&self) -> bool {
        self.after.is_some_and(|after| after <= ACKNOWLEDGE_WITHIN)
    }

    /// As a sentence without its full stop.
    pub(super) fn says(&self) -> String {
        let Self { role, name, .. } = self;
        match (self.after, self.at) {
            (Some(after), Some(at)) => {
                let late = if self.is_in_time() { "" } else { ", late" };
                format!("{name} ({role}) acknowledged after {} at {}{late}", span(after), clock(at))
            }
            _ => format!("{name} ({role}) did not acknowledge"),
        }
    }
}

/// Everybody's answers, or why they are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Roll {
    Read(Vec<Called>),
    Unread { says: String },
}

/// The exercise's own incident, as PagerDuty has it.
pub(super) struct OwnIncident {
    paging: Arc<dyn Paging>,
    dedup_key: String,
}

impl OwnIncident {
    pub(super) fn of(recovery: &Recovery, dedup_key: &str) -> Self {
        Self { paging: Arc::clone(&recovery.paging), dedup_key: dedup_key.to_owned() }
    }
}

#[async_trait]
impl Probe for OwnIncident {
    type Value = Option<Incident>;

    fn subject(&self) -> String {
        "incident".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Option<Incident>>, PortError> {
        let incident = self.paging.find(&self.dedup_key).await?;
        let says = match &incident {
            Some(one) => format!("the exercise's incident is {}, {}", one.id, one.status),
            None => "the exercise has no incident yet".to_owned(),
        };
        let evidence = vec![Evidence::new("PagerDuty REST, incidents by dedup key", says.clone())];
        Ok(Observation { value: incident, says, evidence })
    }
}

/// Reads who acknowledged.
#[derive(Clone)]
pub(super) struct RollCall {
    log: Arc<dyn Acknowledgements>,
    incident: String,
    opened: Timestamp,
    people: Vec<Participant>,
    when: &'static str,
}

impl RollCall {
    /// `when` tells several looks apart.
    pub(super) fn of(
        recovery: &Recovery,
        incident: &str,
        opened: Timestamp,
        people: &[Participant],
        when: &'static str,
    ) -> Self {
        Self {
            log: Arc::clone(&recovery.acknowledgements),
            incident: incident.to_owned(),
            opened,
            people: people.to_vec(),
            when,
        }
    }
}

#[async_trait]
impl Probe for RollCall {
    type Value = Vec<Called>;

    fn subject(&self) -> String {
        self.when.to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Vec<Called>>, PortError> {
        let seen = self.log.of_incident(&self.incident).await?;
        let called = |one: &Participant| {
            let at = seen.iter().filter(|ack| ack.user == one.pagerduty_user).map(|ack| ack.at).min();
            // Before the incident was opened nobody can acknowledge it; PagerDuty's seconds are rounded.
            let after = at.map(|at| at.duration_since(self.opened).try_into().unwrap_or_default());
            Called { role: one.role, name: one.name.clone(), after, at }
        };
        let roll: Vec<Called> = self.people.iter().map(called).collect();
        let answered = roll.iter().filter(|one| one.after.is_some()).count();
        let says = format!("{answered} of {} acknowledged", roll.len());
        let source = "PagerDuty REST, log entries by person";
        let evidence = roll.iter().map(|one| Evidence::new(source, one.says())).collect();
        Ok(Observation { value: roll, says, evidence })
    }
}

/// Whether everybody answered; for waiting.
pub(super) fn everybody(roll: &[Called]) -> Result<(), String> {
    let missing: Vec<&str> =
        roll.iter().filter(|one| one.after.is_none()).map(|one| one.name.as_str()).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("not yet acknowledged: {}", missing.join(", "))) }
}

/// Asks everybody to respond whom PagerDuty did not ask by itself: only who is on call hears of an alert.
///
/// Killed in the middle: who was asked already stands in PagerDuty, and is not asked again.
#[derive(Clone)]
pub(super) struct CallIn {
    log: Arc<dyn Acknowledgements>,
    /// None while planning.
    incident: Option<String>,
    users: Vec<String>,
}

impl CallIn {
    pub(super) fn everybody(recovery: &Recovery, incident: Option<&str>, people: &[Participant]) -> Self {
        let mut users: Vec<String> = people.iter().map(|one| one.pagerduty_user.clone()).collect();
        users.sort();
        users.dedup();
        let log = Arc::clone(&recovery.acknowledgements);
        Self { log, incident: incident.map(str::to_owned), users }
    }

    /// Who was not asked yet.
    async fn missing(&self) -> Result<Vec<String>, PortError> {
        let Some(incident) = &self.incident else { return Ok(self.users.clone()) };
        let asked = self.log.called_in(incident).await?;
        Ok(self.users.iter().filter(|user| !asked.contains(user)).cloned().collect())
    }
}

#[async_trait]
impl Effect for CallIn {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "pagerduty.call_in"
    }

    fn subject(&self) -> String {
        "participants of the exercise".to_owned()
    }

    fn title(&self) -> String {
        "ask every participant to respond who is not on call".to_owned()
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("people who were told stay told")
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let missing = self.missing().await?;
        if missing.is_empty() {
            return Ok(Prediction::default());
        }
        let asked = format!("all {}", self.users.len());
        let to =
            change("exercise", "participants", "participants", "asked to respond", "who is on call", &asked);
        Ok(Prediction::of(to).note(format!("PagerDuty users {}", missing.join(", "))))
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        let missing = self.missing().await?;
        if let Some(incident) = self.incident.as_deref().filter(|_| !missing.is_empty()) {
            self.log.call_in(incident, &missing, texts::CALL_IN).await?;
        }
        Ok(Applied { receipt: (), says: format!("{} were asked to respond", missing.len()) })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        let missing = self.missing().await?;
        Ok(if missing.is_empty() {
            let says = "PagerDuty has asked everybody".to_owned();
            Reconciled::Happened(Applied { receipt: (), says })
        } else {
            Reconciled::DidNot { why: format!("PagerDuty has not asked {}", missing.join(", ")) }
        })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        let missing = self.missing().await?;
        let source = "PagerDuty REST, the incident's responders";
        Ok(if missing.is_empty() {
            let shows = format!("asked: {}", self.users.join(", "));
            Judgement::verified("everybody was asked to respond", vec![Evidence::new(source, shows)])
        } else {
            let shows = format!("not asked: {}", missing.join(", "));
            Judgement::pending(
                "PagerDuty does not show everybody as asked",
                vec![Evidence::new(source, shows)],
            )
        })
    }
}
