//! A real incident goes first: it is looked for between the exercise's parts, and where one is open the exercise stops.
//!
//! It is looked for before anybody is called (then nothing begins), and before the backup, the copy, the question for the restore, the
//! restore itself, the smoke tests and the review. What has begun is not cut off: a backup and a copy only read, and a restore is
//! whole or not at all, on staging. Nothing further is begun; whoever takes part is told, once; and a question stands open, so that
//! the run can be gone on with or ended.

use std::sync::Arc;

use allclear_core::PortError;
use allclear_core::incident::Incident;
use allclear_core::platform::{Platform, Recovery};
use allclear_core::ports::{ChatMessage, OpenIncidents};
use allclear_engine::{Approval, Escalation, Evidence, Gate, Halt, Observation, Probe, Run, Step};
use async_trait::async_trait;
use jiff::Timestamp;

use super::exercise::{Tabletop, unproven_is_a_finding};
use super::findings::Topic;
use super::words::inline;
use super::{DR_N1, DR_P2, refused, texts};
use crate::effects::PostMessage;

/// What the dedup keys of every exercise's own incidents begin with, also of those that an earlier one left open.
const OF_AN_EXERCISE: &str = "dr-tabletop/";

/// How often somebody says that it is over while it is not.
const MOST_ANSWERS: u32 = 20;

/// Looks for incidents that are open on the team's services and belong to no exercise.
struct RealIncidents {
    incidents: Arc<dyn OpenIncidents>,
    services: Vec<String>,
    when: String,
}

impl RealIncidents {
    /// `None` where no service is configured to be looked at. `when` tells several looks apart.
    fn of(recovery: &Recovery, when: String) -> Option<Self> {
        let services = recovery.exercise.incident_services.clone();
        (!services.is_empty()).then(|| Self { incidents: Arc::clone(&recovery.incidents), services, when })
    }
}

/// An incident as a line for people.
fn named(incident: &Incident) -> String {
    format!("{} \"{}\", {}", incident.id, inline(&incident.title), incident.status)
}

fn all_named(open: &[Incident]) -> String {
    open.iter().map(named).collect::<Vec<_>>().join("; ")
}

#[async_trait]
impl Probe for RealIncidents {
    type Value = Vec<Incident>;

    fn subject(&self) -> String {
        format!("real incidents {}", self.when)
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Vec<Incident>>, PortError> {
        let mut open = self.incidents.on_services(&self.services).await?;
        let of_an_exercise =
            |one: &Incident| one.dedup_key.as_ref().is_some_and(|key| key.starts_with(OF_AN_EXERCISE));
        open.retain(|one| !of_an_exercise(one));
        let says = if open.is_empty() {
            format!("no real incident is open on {}", self.services.join(", "))
        } else {
            format!("a real incident is open: {}", all_named(&open))
        };
        let evidence = vec![Evidence::new("PagerDuty REST, open incidents by service", says.clone())];
        Ok(Observation { value: open, says, evidence })
    }
}

/// That the team is told, for a plan: what a plan does not name, a run asks about before it does it.
struct Telling<'a> {
    on: &'a Platform,
    message: ChatMessage,
}

#[async_trait]
impl Escalation for Telling<'_> {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        let message = PostMessage::of(self.on, self.message.clone());
        unproven_is_a_finding(run, &DR_N1, message).await.map(drop)
    }
}

impl Tabletop<'_> {
    /// In a plan, names what is done should a real incident come.
    pub(super) async fn foresee_giving_way(&self, run: &mut Run) -> Result<(), Halt> {
        if self.recovery.exercise.incident_services.is_empty() {
            return Ok(());
        }
        let message = texts::stopped(self.recovery, &self.record, "");
        run.in_case("a real incident is open meanwhile", &Telling { on: self.on, message }).await
    }

    /// Before anybody is called: then nothing begins.
    pub(super) async fn refuse_beside_a_real_incident(&self, run: &mut Run) -> Result<(), Halt> {
        let Some(probe) = RealIncidents::of(self.recovery, "before the exercise".to_owned()) else {
            return Ok(());
        };
        let open = run.probe(&DR_P2, probe).await?;
        if open.is_empty() {
            return Ok(());
        }
        let what = format!(
            "a real incident is open and goes first: {}; hold the exercise when it is over",
            all_named(&open)
        );
        Err(refused(&what))
    }

    /// Stops here while a real incident is open. `what` comes next, and does not begin before somebody says that the incident is over
    /// and it is.
    pub(super) async fn give_way(&mut self, run: &mut Run, step: &Step, what: &str) -> Result<(), Halt> {
        if run.is_plan() {
            return Ok(());
        }
        for round in 1..=MOST_ANSWERS {
            let when = format!("before {what}, look {round}");
            let Some(probe) = RealIncidents::of(self.recovery, when) else { return Ok(()) };
            let open = run.probe(step, probe).await?;
            if open.is_empty() {
                return Ok(());
            }
            let says = all_named(&open);
            self.tell_that_it_stopped(run, &says).await?;
            let gate = Gate::new(
                format!("A real incident is open, so the exercise has stopped before {what}. Is the incident over, and does the exercise go on?"),
                Approval::Approve,
            )
            .about(format!("real incident before {what} {round}"))
            .showing(says)
            .showing("approve once it is over, then the exercise looks again and goes on; reject to end the exercise, which closes its own incident");
            run.approve(step, gate).await?;
        }
        let says = format!(
            "a real incident is still open after it was called over {MOST_ANSWERS} times; {what} was not begun"
        );
        Err(Halt::Unverified { step: step.id.to_owned(), says })
    }

    /// Tells the team once in an exercise, however often it stops.
    async fn tell_that_it_stopped(&mut self, run: &mut Run, says: &str) -> Result<(), Halt> {
        self.record.log(run.now(), format!("Stopped: a real incident is open: {says}"));
        if self.record.gave_way.is_some() {
            return Ok(());
        }
        self.record.gave_way = Some(says.to_owned());
        let message = PostMessage::of(self.on, texts::stopped(self.recovery, &self.record, says));
        let told = unproven_is_a_finding(run, &DR_N1, message).await;
        self.unless_done(
            told,
            Topic::Exercise,
            "the team was not told that a real incident stopped the exercise",
        )?;
        Ok(())
    }
}
