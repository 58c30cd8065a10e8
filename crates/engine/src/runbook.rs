//! Runbooks, and how they are planned and executed.

use std::sync::Arc;

use allclear_core::Clock;
use async_trait::async_trait;

use crate::journal::Event;
use crate::memory::MemoryJournal;
use crate::outcome::{Halt, Outcome, Refusal, Resolution};
use crate::plan::{PLAN_FORMAT, Plan};
use crate::run::{Mode, Run, Terms};
use crate::seam::{Seam, SeamError};
use crate::step::Step;

/// A procedure for one kind of incident.
#[async_trait]
pub trait Runbook: Send + Sync {
    /// Its name on the command line, e.g. `whatsapp-send-failures`.
    fn id(&self) -> &'static str;

    /// Its title in the written runbook.
    fn title(&self) -> &'static str;

    /// Version of the procedure; a run is resumed with the version that started it.
    fn version(&self) -> u32;

    /// Its bullets, in the order of the text.
    fn steps(&self) -> &'static [Step];

    /// Does what the runbook says.
    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt>;
}

/// How a run stands when a process is through with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The outcome; not final ones can be resumed.
    pub outcome: Outcome,
    /// One sentence.
    pub says: String,
}

/// Makes a plan: the procedure runs with its real reads and predicts every change.
pub async fn plan(runbook: &dyn Runbook, terms: Terms, clock: Arc<dyn Clock>) -> Result<Plan, Halt> {
    let seam = MemoryJournal::new().seam(Arc::clone(&clock))?;
    let mut run = Run::planning(Box::new(seam), terms);
    let ends = match runbook.procedure(&mut run).await {
        Ok(resolution) => resolution.says,
        Err(Halt::NothingToDo { says }) => says,
        Err(halt @ (Halt::Failed { .. } | Halt::Seam(_) | Halt::Detached | Halt::Aborted { .. })) => {
            return Err(halt);
        }
        // The procedure would stop there; what it would have done by then is the plan.
        Err(halt) => halt.to_string(),
    };
    let Mode::Planning(planning) = run.mode else { unreachable!("a planning run stays one") };
    let mut plan = Plan {
        format: PLAN_FORMAT,
        runbook: runbook.id().to_owned(),
        version: runbook.version(),
        environment: run.terms.environment,
        input: run.terms.input,
        made_at: clock.now(),
        seen: planning.seen,
        effects: planning.effects,
        gates: planning.gates,
        ends,
        hash: String::new(),
    };
    plan.hash = plan.digest();
    Ok(plan)
}

/// Executes a runbook, or takes an interrupted execution up again: what is recorded is not done again.
///
/// An error is a failure of the journal itself; the run is left as it was and can be resumed.
pub async fn execute(
    runbook: &dyn Runbook,
    seam: Box<dyn Seam>,
    terms: Terms,
) -> Result<Finished, SeamError> {
    let incarnation = seam.incarnation();
    let mut run = Run::acting(seam, terms);
    let result = match begin(runbook, &mut run, incarnation).await {
        Ok(()) => runbook.procedure(&mut run).await,
        Err(halt) => Err(halt),
    };
    let finished = match result {
        Ok(resolution) => Finished { outcome: Outcome::Verified, says: resolution.says },
        Err(Halt::Seam(error)) => return Err(error),
        Err(halt) => Finished {
            outcome: halt.outcome().expect("only a seam failure has none, and it was returned above"),
            says: halt.to_string(),
        },
    };
    end(&mut run, incarnation, &finished).await?;
    Ok(finished)
}

async fn begin(runbook: &dyn Runbook, run: &mut Run, incarnation: u32) -> Result<(), Halt> {
    let started = Event::Started {
        runbook: runbook.id().to_owned(),
        title: runbook.title().to_owned(),
        version: runbook.version(),
        environment: run.terms.environment.clone(),
        operator: run.terms.operator.clone(),
        input: run.terms.input.clone(),
        plan: run.terms.plan.as_ref().map(|plan| plan.hash.clone()),
    };
    if let Some(plan) = &run.terms.plan {
        plan.check_untampered()?;
    }
    let entry = run.record("started", async move { started }).await?.entry;
    let Event::Started { version, operator, .. } = entry.event else {
        return Err(run.unreadable(&entry, "it is no start"));
    };
    run.was_started_by(operator);
    if version != runbook.version() {
        return Err(Refusal::Limit {
            what: format!("the run was started by version {version} of the procedure and this is version {}; resume it with that one", runbook.version()),
        }
        .into());
    }
    if incarnation > 0 {
        let resumed = Event::Resumed { by: run.terms.operator.clone(), incarnation };
        run.record(&format!("~resumed {incarnation}"), async move { resumed }).await?;
    }
    if let (Some(plan), Some(by)) = (&run.terms.plan, &run.terms.approved_by) {
        let approved =
            Event::PlanApproved { by: by.clone(), plan: plan.hash.clone(), effects: plan.effects.len() };
        run.record("approved", async move { approved }).await?;
    }
    Ok(())
}

async fn end(run: &mut Run, incarnation: u32, finished: &Finished) -> Result<(), SeamError> {
    let event = match finished.outcome {
        Outcome::WaitingForHuman | Outcome::InDoubt | Outcome::Detached => {
            Event::Detached { why: finished.says.clone() }
        }
        outcome => Event::Concluded { outcome, says: finished.says.clone() },
    };
    let key = match event {
        Event::Concluded { .. } => "~concluded".to_owned(),
        _ => format!("~detached {incarnation}"),
    };
    match run.record(&key, async move { event }).await {
        Err(Halt::Seam(error)) => Err(error),
        // Recording beside the procedure is never out of order.
        Ok(_) | Err(_) => Ok(()),
    }
}
