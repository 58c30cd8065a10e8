//! Runbooks, and how they are planned and executed.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::clock::after;
use allclear_core::{Clock, Rehearsal};
use async_trait::async_trait;

use crate::approval::{ApprovedPlan, PlanApproval};
use crate::journal::Event;
use crate::memory::MemoryJournal;
use crate::outcome::{Halt, Outcome, Resolution};
use crate::owner;
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

    /// The sandbox that it acts on; `None` where it acts for real. A drill's role answers in a sandbox only.
    fn rehearsal(&self) -> Option<Rehearsal> {
        None
    }

    /// The runbook as whose run it announces itself on the platform: of two that do, one goes on.
    fn announced_as(&self) -> &'static str {
        self.id()
    }

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
        Ok(resolution) => resolution.says().to_owned(),
        Err(Halt::NothingToDo { says }) => says,
        Err(
            halt @ (Halt::Failed { .. }
            | Halt::GaveUp { .. }
            | Halt::Seam(_)
            | Halt::Detached
            | Halt::Aborted { .. }),
        ) => {
            return Err(halt);
        }
        // The procedure would stop there; what it would have done by then is the plan.
        Err(halt) => halt.to_string(),
    };
    run.list_deadlines().await?;
    run.list_stuck().await?;
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
/// An error is a failure of the journal itself, or says that the run began on other terms; the run is left as it was and can
/// be resumed.
pub async fn execute(
    runbook: &dyn Runbook,
    seam: Box<dyn Seam>,
    approved: ApprovedPlan,
    terms: Terms,
) -> Result<Finished, SeamError> {
    let incarnation = seam.incarnation();
    if let Err(refusal) = approved.check_is_for(runbook, &terms)
        && seam.recorded("started").is_some()
    {
        return Err(SeamError::OtherTerms { run: terms.run, what: refusal.to_string() });
    }
    let changes_nothing = approved.plan().is_some_and(|plan| !plan.has_effects());
    let announcing = terms.announcing.filter(|_| !changes_nothing);
    let mut run = Run::acting(seam, approved.plan().cloned(), Terms { announcing, ..terms });
    let result = match begin(runbook, &mut run, &approved, incarnation).await {
        Ok(()) => runbook.procedure(&mut run).await,
        Err(halt) => Err(halt),
    };
    if !matches!(result, Err(Halt::Seam(_) | Halt::Aborted { .. })) {
        owner::check_not_taken_over(&mut run).await?;
    }
    let result = bounded(runbook, &mut run, result).await;
    if let Err(halt @ (Halt::Failed { .. } | Halt::GaveUp { .. })) = &result {
        let says = halt.to_string();
        if let Err(Halt::Seam(error)) = run.tell_stuck(&says).await {
            return Err(error);
        }
    }
    let (finished, rests_on) = match result {
        Ok(GoodEnd { outcome, says, rests_on }) => (Finished { outcome, says }, rests_on),
        Err(Halt::Seam(error)) => return Err(error),
        Err(halt) => {
            let outcome = halt.outcome().expect("only a seam failure has none, and it was returned above");
            (Finished { outcome, says: halt.to_string() }, Vec::new())
        }
    };
    end(runbook.announced_as(), &mut run, incarnation, &finished, rests_on).await?;
    Ok(finished)
}

/// What a procedure came to, where nothing bounds it.
struct GoodEnd {
    outcome: Outcome,
    says: String,
    rests_on: Vec<String>,
}

/// The backstop of every claim: whatever a procedure says, what it did and did not prove bounds its end, and so does what is not so any
/// more. That is looked at first: what is claimed beside an open point must be so too.
async fn bounded(
    runbook: &dyn Runbook,
    run: &mut Run,
    result: Result<Resolution, Halt>,
) -> Result<GoodEnd, Halt> {
    match result {
        Ok(resolution) => {
            let (outcome, says) = (resolution.outcome(), resolution.says().to_owned());
            let end = GoodEnd { outcome, says, rests_on: resolution.rests_on().to_vec() };
            let end = still_so(run, end).await?;
            match run.open_points() {
                None => Ok(end),
                Some(halt) => Err(halt(end.says)),
            }
        }
        Err(Halt::NothingToDo { says }) => {
            let says = bounded_all_clear(runbook, run, says)?;
            still_so(run, GoodEnd { outcome: Outcome::Verified, says, rests_on: Vec::new() }).await
        }
        Err(halt) => Err(halt),
    }
}

/// An end that nothing is looked at again for says as of when it is, where that is longer ago.
const LONG_AGO: Duration = Duration::from_mins(5);

/// What it rests on may have been proven by an earlier process, or before a wait: it is looked at once more.
async fn still_so(run: &mut Run, end: GoodEnd) -> Result<GoodEnd, Halt> {
    // A run that has said so on the platform's record ended then: what came after it is not its to tell.
    if !run.rests_on_a_look() || run.standing_on_record.ended.is_some() {
        let seen_at = run.now();
        if after(seen_at, LONG_AGO) > run.clock().now() {
            return Ok(end);
        }
        let says = format!("{} (as it was at {})", end.says, seen_at.strftime("%F %H:%M UTC"));
        return Ok(GoodEnd { says, ..end });
    }
    match Box::pin(run.look_before_the_end()).await? {
        None => Ok(end),
        Some((step, says)) => {
            let says =
                format!("{}; but by the look before this end that is not so any more: {says}", end.says);
            Err(Halt::Refuted { step: step.id.to_owned(), says })
        }
    }
}

/// That there is nothing to do is a claim too: something must have been looked at, and nothing be left open.
fn bounded_all_clear(runbook: &dyn Runbook, run: &Run, says: String) -> Result<String, Halt> {
    if !run.has_seen_anything() {
        let step = runbook.steps().first().map_or("", |step| step.id).to_owned();
        return Err(Halt::Unverified { step, says: format!("{says}; but nothing was looked at") });
    }
    match run.open_points() {
        None => Ok(says),
        Some(halt) => Err(halt(says)),
    }
}

async fn begin(
    runbook: &dyn Runbook,
    run: &mut Run,
    approved: &ApprovedPlan,
    incarnation: u32,
) -> Result<(), Halt> {
    approved.check_is_for(runbook, &run.terms)?;
    let rehearsal = runbook.rehearsal().map(|sandbox| sandbox.address().to_owned());
    let started = Event::Started {
        run: run.terms.run.clone(),
        runbook: runbook.id().to_owned(),
        title: runbook.title().to_owned(),
        version: runbook.version(),
        environment: run.terms.environment.clone(),
        platform: run.terms.platform.clone(),
        operator: run.terms.operator.clone(),
        input: run.terms.input.clone(),
        plan: approved.hash().map(str::to_owned),
        approvals: approved.approvals().to_vec(),
        rehearsal: rehearsal.clone(),
        plan_content: approved.plan().map(Plan::content),
        context: Some(run.terms.context.clone()),
        dangerous: Some(run.terms.dangerous.clone()),
    };
    let asked = started.clone();
    let entry = run.record("started", async move { started }).await?.entry;
    let Event::Started { version, ref operator, rehearsal: ref began_at, ref dangerous, .. } = entry.event
    else {
        return Err(run.unreadable(&entry, "it is no start"));
    };
    // Who agrees to what is dangerous stays who it was when the run began.
    if let Some(dangerous) = dangerous {
        run.terms.dangerous.clone_from(dangerous);
    }
    run.rehearsed = began_at.is_some() && *began_at == rehearsal;
    run.was_started_by(operator.clone());
    if version != runbook.version() {
        // Not an outcome: the version that started the run can still finish it.
        let run = run.id().to_owned();
        return Err(SeamError::OtherVersion { run, started: version, this: runbook.version() }.into());
    }
    check_terms(run.id(), &entry.event, &asked)?;
    if incarnation > 0 {
        let resumed = Event::Resumed { by: run.terms.operator.clone(), incarnation };
        let entry = run.record(&format!("~resumed {incarnation}"), async move { resumed }).await?.entry;
        run.was_taken_up(entry.at);
    }
    for (place, approval) in (1..).zip(approved.approvals()) {
        let PlanApproval { by, effects, shown, .. } = approval.clone();
        let plan = approved.hash().unwrap_or(&approval.plan).to_owned();
        let event = Event::PlanApproved { by, plan, effects, shown: Some(shown) };
        let key = if place == 1 { "approved".to_owned() } else { format!("approved {place}") };
        run.record(&key, async move { event }).await?;
    }
    owner::take(run, runbook.announced_as()).await
}

/// Refuses to go on with other terms than the journal began with. An error and not an outcome: whoever puts the right ones
/// back can finish the run.
fn check_terms(run: &str, recorded: &Event, asked: &Event) -> Result<(), SeamError> {
    let (
        Event::Started {
            runbook, environment, input, plan, plan_content, context, platform, run: id, ..
        },
        Event::Started {
            runbook: now_runbook,
            environment: now_environment,
            input: now_input,
            plan: now_plan,
            plan_content: now_whole,
            context: now_told,
            platform: now_platform,
            run: now_id,
            ..
        },
    ) = (recorded, asked)
    else {
        return Ok(());
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    let json = |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string);
    // What older versions did not record cannot be compared.
    let id = if id.is_empty() { now_id } else { id };
    let plan_content = if plan_content.is_none() { now_whole } else { plan_content };
    let context = if context.is_none() { now_told } else { context };
    let platform = if platform.is_none() { now_platform } else { platform };
    let pairs = [
        ("the run", now_id.clone(), id.clone()),
        ("the runbook", now_runbook.clone(), runbook.clone()),
        ("the environment", now_environment.clone(), environment.clone()),
        ("the platform", text(now_platform), text(platform)),
        ("the input", now_input.to_string(), input.to_string()),
        ("the context", text(&json(now_told)), text(&json(context))),
        ("the plan", text(now_plan), text(plan)),
        ("the plan's content", text(now_whole), text(plan_content)),
    ];
    let differs = pairs.into_iter().find(|(_, asked, recorded)| asked != recorded);
    differs.map_or(Ok(()), |(what, found, recorded)| {
        let what = format!("{what} is {found}, and by entry 1 of its journal it is {recorded}");
        Err(SeamError::OtherTerms { run: run.to_owned(), what })
    })
}

async fn end(
    runbook: &str,
    run: &mut Run,
    incarnation: u32,
    finished: &Finished,
    rests_on: Vec<String>,
) -> Result<(), SeamError> {
    if finished.outcome.is_final()
        && let Err(Halt::Seam(error)) = run.record_excuses().await
    {
        return Err(error);
    }
    if finished.outcome.is_final() {
        owner::give_back(run, runbook, finished.outcome).await?;
    }
    let event = match finished.outcome {
        outcome if !outcome.is_final() => {
            Event::Detached { why: finished.says.clone(), outcome: Some(outcome) }
        }
        outcome => Event::Concluded { outcome, says: finished.says.clone(), rests_on },
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
