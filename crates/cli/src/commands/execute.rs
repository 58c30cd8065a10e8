//! `plan`, `run` and `resume`: one path for all, and for drills.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use allclear_core::owner::Ended;
use allclear_core::secrets::holds_secret;
use allclear_engine::UndoRun;
use allclear_engine::journal::Waiting;
use allclear_engine::report::{Form, Postmortem, to_markdown};
use allclear_engine::run::Listener;
use allclear_engine::sqlite::{NewRun, RunSummary, Store};
use allclear_engine::undo::UNDO;
use allclear_engine::{
    ApprovedPlan, AutoApprove, Elsewhere, Entry as Recorded, Event, Finished, Humans, Nobody, Plan,
    PlanApproval, PlanRules, Refusal, Runbook, Seam, SeamError, Shown, Terms, execute, plan,
};
use allclear_runbooks::Entry;
use serde_json::{Value, json};

use super::catalogue::{recorded_runbook, runbook};
use super::here::{folder, operator, store};
use super::undo::{left_json, left_lines};
use crate::Hooks;
use crate::args::{GatePolicy, Global, InputArgs, PlanArgs, RunArgs};
use crate::config::state_dir;
use crate::environment::Wired;
use crate::exit::{CliError, Exit};
use crate::humans::{Terminal, gate_text, read_line};
use crate::interrupt::{Interruptible, LetGo};
use crate::output::{self, say};
use crate::owner;
use crate::view::View;

/// What was typed, as the runbook's input; `null` where nothing was. A file is where it is from here: the run may be taken up
/// in another folder. What looks like a secret is refused, and not repeated.
pub(super) fn input_of(entry: &Entry, input: &InputArgs) -> Result<Value, CliError> {
    if let Some((name, _)) = input.fields.iter().find(|(_, value)| holds_secret(&value.to_string())) {
        return Err(CliError::usage(format!(
            "the value of `{name}` looks like a secret; inputs stay in plan, journal and report: leave it out, and give secrets \
             in the configuration"
        )));
    }
    let mut fields = serde_json::Map::new();
    if !input.campaigns.is_empty() {
        fields.insert("campaigns".to_owned(), json!(input.campaigns));
    }
    if !input.vouchers.is_empty() {
        fields.insert("vouchers".to_owned(), json!(input.vouchers));
    }
    fields.extend(input.fields.iter().cloned());
    for name in entry.files {
        if let Some(Value::String(file)) = fields.get_mut(*name)
            && let Ok(whole) = std::path::absolute(&*file)
        {
            *file = whole.display().to_string();
        }
    }
    Ok(if fields.is_empty() { Value::Null } else { Value::Object(fields) })
}

pub(super) fn build(
    global: &Global,
    entry: &Entry,
    input: &Value,
    on: &Wired,
) -> Result<Box<dyn Runbook>, CliError> {
    if entry.id == UNDO {
        return super::undo::rebuilt(global, input, on);
    }
    (entry.build)(input.clone(), on.platform.clone()).map_err(|error| CliError::usage(error.to_string()))
}

/// A short id that nobody has used: the runbook's initials and five letters.
pub(super) fn new_id(entry: &Entry) -> String {
    let initials: String = entry.id.split('-').filter_map(|word| word.chars().next()).collect();
    let random: String = uuid::Uuid::new_v4().simple().to_string().chars().take(6).collect();
    format!("{initials}-{random}")
}

pub(super) async fn plan_only(global: &Global, args: PlanArgs) -> Result<Exit, CliError> {
    let entry = runbook(&args.runbook)?;
    let on = Wired::named(global, PathBuf::from(".")).await?;
    on.check_clocks()?;
    let plan = make_plan(global, entry, &input_of(entry, &args.input)?, &on).await?;
    if let Some(path) = &args.output {
        save(path, &pretty(&plan)?)?;
        say(&format!(
            "saved to {}; run it with: allclear run {} --plan {}",
            path.display(),
            entry.id,
            path.display()
        ));
    }
    if global.json {
        output::document("plan", json!({ "plan": plan }));
    } else {
        output::result(&output::plan_text(&plan));
    }
    Ok(if args.detailed_exitcode && plan.has_effects() { Exit::Changes } else { Exit::Verified })
}

pub(super) async fn make_plan(
    global: &Global,
    entry: &Entry,
    input: &Value,
    on: &Wired,
) -> Result<Plan, CliError> {
    let terms = Terms {
        input: input.clone(),
        platform: Some(on.platform.identity.clone()),
        listener: Some(waits_listener()),
        ..Terms::new("plan", operator(global), on.name.clone())
    };
    Ok(plan(&*build(global, entry, input, on)?, terms, Arc::clone(&on.clock)).await?)
}

/// Tells whoever waits for a plan what it waits for, and until when.
pub(super) fn waits_listener() -> Listener {
    Arc::new(|entry: &Recorded| {
        if let Event::Slept { of, until, waiting: Waiting::ToRetry, says } = &entry.event {
            let until = until.strftime("%H:%M:%S UTC");
            say(&format!("the plan waits at {} until {until}, to {says}", of.step));
        }
    })
}

pub(super) async fn run(global: &Global, args: RunArgs, hooks: Hooks) -> Result<Exit, CliError> {
    let entry = runbook(&args.runbook)?;
    // The store refuses it later in any case; before anybody looks at a plan is kinder.
    if let Some(stop) = store(global)?.stopped()? {
        return Err(SeamError::Stopped(stop).into());
    }
    let saved = args.plan.as_deref().map(read_plan).transpose()?;
    if let Some(saved) = &saved {
        saved.check_untampered()?;
        if saved.runbook != entry.id {
            return Err(
                Refusal::ForeignPlan { planned: saved.runbook.clone(), asked: entry.id.to_owned() }.into()
            );
        }
    }
    let input = match &saved {
        Some(plan) => plan.input.clone(),
        None => input_of(entry, &args.input)?,
    };
    let id = new_id(entry);
    let on = Wired::named(global, folder(global, &id).join("artifacts")).await?;
    if args.gates.auto_approve && on.sandbox.is_none() {
        return Err(CliError::usage("--auto-approve is for drills; at a real platform people answer"));
    }
    on.check_clocks()?;
    // Before the plan, which then names what that run still holds.
    if let (Some(other), Some(reason)) = (&args.take_over, &args.reason) {
        owner::take_over(&on, &store(global)?, entry.id, other, (&operator(global), reason)).await?;
    }
    let seen = owner::announcing(&on, &store(global)?).ended_before(entry.id).await;
    let now = make_plan(global, entry, &input, &on).await?;
    if let Some(saved) = &saved {
        saved.check_no_drift(&now)?;
    }
    say(&output::plan_text(&now));
    let how = match &args.approve_plan {
        Some(_) => Some(Shown::Hash),
        None => shown(global, &now).await,
    };
    let Some(how) = how else {
        return if global.no_input { keep_plan(global, entry, &now) } else { Ok(Exit::Rejected) };
    };
    let yes = PlanApproval::of(&now, &*id, operator(global), how);
    let yes = PlanApproval { plan: args.approve_plan.unwrap_or(yes.plan), ..yes };
    let approved = approve(global, now, yes, &on)?;
    let announces = Announces::As { runbook: entry.id.to_owned(), ended: seen };
    let started = Start { entry, id, input, approved, gates: args.gates, announces };
    start(global, started, on, hooks).await.map(|(exit, _)| exit)
}

/// Asks whoever is here whether the plan that was shown shall be done. `None` is no.
pub(super) async fn shown(global: &Global, plan: &Plan) -> Option<Shown> {
    if global.yes || !plan.has_effects() {
        return Some(Shown::Flag);
    }
    if global.no_input {
        return None;
    }
    let typed =
        read_line(&format!("\nApply this plan ({})? [y/N] ", output::effects(plan.effects.len()))).await;
    matches!(typed.as_deref().map(str::trim), Some("y" | "yes")).then_some(Shown::Typed)
}

/// A plan that somebody said yes to, by the engine's rules; one that changes nothing needs nobody.
pub(super) fn approve(
    global: &Global,
    plan: Plan,
    yes: PlanApproval,
    on: &Wired,
) -> Result<ApprovedPlan, CliError> {
    let run = yes.run.clone();
    if !plan.has_effects() && yes.shown != Shown::Hash {
        return Ok(ApprovedPlan::changes_nothing(plan, run)?);
    }
    let rules = PlanRules::anyone(operator(global), on.clock.now());
    Ok(ApprovedPlan::by(plan, run, vec![yes], &rules)?)
}

/// Saves a plan that nobody here may approve, and says how somebody else can.
fn keep_plan(global: &Global, entry: &Entry, plan: &Plan) -> Result<Exit, CliError> {
    let short = &plan.hash[..12];
    let path = state_dir(global).join("plans").join(format!("{}-{short}.json", entry.id));
    save(&path, &pretty(plan)?)?;
    let place = path.display();
    let environment = global.env.as_ref().map_or_else(String::new, |name| format!(" --env {name}"));
    say(&format!(
        "nobody may be asked (--no-input), so nothing was changed; the plan is saved to {place}\n\
         whoever approves it: allclear run {}{environment} --plan {place} --approve-plan {short}",
        entry.id
    ));
    if global.json {
        let exit = Exit::Waiting as u8;
        output::document("plan-kept", json!({ "plan": path, "hash": plan.hash, "exit_code": exit }));
    }
    Ok(Exit::Waiting)
}

/// A run to start: its plan is approved.
pub(super) struct Start {
    pub(super) entry: &'static Entry,
    pub(super) id: String,
    pub(super) input: Value,
    pub(super) approved: ApprovedPlan,
    pub(super) gates: GatePolicy,
    /// Whether it says on the platform that it goes on. A sandbox that was started for one drill is nobody else's.
    pub(super) announces: Announces,
}

/// Whether a run says on the platform that it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Announces {
    /// As one of this runbook, of which so many runs had ended when its plan was made, where that could be read.
    As { runbook: String, ended: Option<usize> },
    /// It does not: what it acts on is nobody else's.
    Nothing,
}

impl Announces {
    /// As it is kept with the run.
    fn context(self) -> Value {
        match self {
            Self::As { runbook, ended } => json!({ "runbook": runbook, "ended_before": ended }),
            Self::Nothing => Value::Null,
        }
    }
}

/// Starts a run and follows it to where it stops.
pub(super) async fn start(
    global: &Global,
    start: Start,
    on: Wired,
    hooks: Hooks,
) -> Result<(Exit, Finished), CliError> {
    let Start { entry, id, input, approved, gates, announces } = start;
    let mut context = on.context();
    context["approvals"] = json!(approved.approvals());
    context["announces"] = announces.context();
    let new = NewRun {
        id: id.clone(),
        runbook: entry.id.to_owned(),
        environment: on.name.clone(),
        platform: on.platform.identity.clone(),
        operator: operator(global),
        input: input.clone(),
        context: context.clone(),
    };
    // The plan is on the disk before the run exists: a run without its plan could not be taken up.
    let store = store(global)?;
    save(&store.plan_file(&id), &pretty(&approved.plan())?)?;
    let seam = store.begin(&new, Arc::clone(&on.clock)).map_err(|error| held(&store, error))?;
    say(&format!("\nRun {id}; if this terminal goes away: allclear resume {id}"));
    let timeout = gates.timeout;
    let terms = Terms {
        input,
        context,
        dangerous: on.platform.limits.dangerous.clone(),
        humans: humans(global, &id, &gates),
        platform: Some(on.platform.identity.clone()),
        ..Terms::new(id, operator(global), on.name.clone())
    };
    let begun = (entry, &store);
    follow(global, begun, (Box::new(seam), approved), terms, &on, timeout, hooks).await
}

/// Who has what this run needs, since when, and what a person does next.
fn held(store: &Store, error: SeamError) -> CliError {
    let holder = match &error {
        SeamError::Held { holder, .. } => store.find(holder).ok(),
        _ => None,
    };
    let Some(run) = holder else { return error.into() };
    let since = run.began_at.map_or_else(String::new, |at| format!(", since {}", at.strftime("%F %T UTC")));
    let (id, by) = (&run.id, &run.operator);
    let how = if run.held { "goes on here" } else { "waits here to be taken up" };
    let next = if run.held { format!("`allclear watch {id}`") } else { format!("`allclear resume {id}`") };
    CliError::new(
        Exit::Refused,
        format!(
            "{error}: that was started by {by}{since}, and {how}, so nothing was begun; {next}, `allclear hand-over {id}`, or \
             `allclear abort {id}`"
        ),
    )
}

pub(super) async fn resume(
    global: &Global,
    name: &str,
    gates: &GatePolicy,
    hooks: Hooks,
) -> Result<Exit, CliError> {
    let store = store(global)?;
    let run = store.find(name)?;
    refuse_damaged(&run)?;
    if let Some(outcome) = run.outcome {
        // The platform was away when it ended, and other machines still wait for it.
        let artifacts = folder(global, &run.id).join("artifacts");
        if owner::is_untold(&store, &run)
            && let Ok(on) = Wired::of_run(global, &run, artifacts).await
        {
            owner::tell_of(&on, &store, &run, &Ended::by_itself(outcome.title())).await;
        }
        return Err(CliError::new(
            Exit::Refused,
            format!("run {} has ended {outcome}; read it with: allclear report {}", run.id, run.id),
        ));
    }
    let on = Wired::of_run(global, &run, folder(global, &run.id).join("artifacts")).await?;
    check_approvers(&store, &run, &on)?;
    if let Some(undone) = UndoRun::undone_run(&run.input).filter(|_| run.runbook == UNDO)
        && !store.is_to_end(&run.id)?
    {
        let next = format!("allclear resume {}", run.id);
        let beside = super::undo::refuse_beside_another(&on, [undone, &run.id], &next).await;
        // Nothing has ended: what could not be asked now is asked by the next resume.
        beside.map_err(|error| match error.exit {
            Exit::Unverified => {
                CliError::new(Exit::Interrupted, format!("{}; go on with: {next}", error.message))
            }
            _ => error,
        })?;
    }
    take_up(global, &store, &run, on, gates, hooks).await
}

/// Refuses a run that is not what was written, before anything is wired for it.
pub(super) fn refuse_damaged(run: &RunSummary) -> Result<(), CliError> {
    match &run.damage {
        Some(damage) if run.closed.is_none() => {
            Err(SeamError::Damaged { run: run.id.clone(), damage: damage.clone() }.into())
        }
        _ => Ok(()),
    }
}

/// Refuses a run whose table of approvers is another one than its journal has.
fn check_approvers(store: &Store, run: &RunSummary, on: &Wired) -> Result<(), CliError> {
    let now = &on.platform.limits.dangerous;
    for entry in store.entries(&run.id)? {
        if let Event::Started { dangerous: Some(began_with), .. } = entry.event
            && began_with != *now
        {
            let what = format!(
                "what is dangerous there is approved by {:?} of {:?} as its journal began, and by {:?} of {:?} as it is kept \
                 beside it now",
                began_with.needed, began_with.among, now.needed, now.among
            );
            return Err(SeamError::OtherTerms { run: run.id.clone(), what }.into());
        }
    }
    Ok(())
}

/// Takes a run up in an environment that was wired for it.
pub(super) async fn take_up(
    global: &Global,
    store: &Store,
    run: &RunSummary,
    on: Wired,
    gates: &GatePolicy,
    hooks: Hooks,
) -> Result<Exit, CliError> {
    let entry = recorded_runbook(&run.runbook)?;
    let approved = recorded(store, run, &on)?;
    // A run that is to end does that, whatever the clocks say.
    if !store.is_to_end(&run.id)? {
        on.check_clocks()?;
    }
    let seam = store.take_up(&run.id, Arc::clone(&on.clock))?;
    say(&format!("Run {} is taken up again", run.id));
    for differs in run.differs.iter().filter(|differs| !differs.matters) {
        say(&format!("{differs}; the journal counts"));
    }
    let terms = Terms {
        input: run.input.clone(),
        context: run.context.clone(),
        dangerous: on.platform.limits.dangerous.clone(),
        humans: humans(global, &run.id, gates),
        platform: Some(on.platform.identity.clone()),
        ..Terms::new(run.id.clone(), operator(global), on.name.clone())
    };
    let begun = (entry, store);
    let (exit, finished) =
        follow(global, begun, (Box::new(seam), approved), terms, &on, gates.timeout, hooks).await?;
    if finished.outcome.is_final() {
        on.stop_with_run().await;
    }
    Ok(exit)
}

/// The plan of a run as its journal says that it was approved. A run that died before its first entry did nothing yet, and
/// begins with the approvals that were handed in.
fn recorded(store: &Store, run: &RunSummary, on: &Wired) -> Result<ApprovedPlan, CliError> {
    let plan = store.plan_of(&run.id)?.ok_or_else(|| {
        CliError::internal(format!("run {} was not started from a terminal and has no plan here", run.id))
    })?;
    let entries = store.entries(&run.id)?;
    if !entries.is_empty() {
        return Ok(ApprovedPlan::recorded(plan, &*run.id, &entries)?);
    }
    if !plan.has_effects() {
        return Ok(ApprovedPlan::changes_nothing(plan, &*run.id)?);
    }
    let approvals: Vec<PlanApproval> =
        serde_json::from_value(run.context["approvals"].clone()).map_err(|error| {
            CliError::internal(format!("who approved run {} cannot be read: {error}", run.id))
        })?;
    let rules = PlanRules::anyone(&*run.operator, on.clock.now());
    Ok(ApprovedPlan::by(plan, &*run.id, approvals, &rules)?)
}

fn humans(global: &Global, run: &str, gates: &GatePolicy) -> Arc<dyn Humans> {
    use std::io::IsTerminal as _;
    if gates.auto_approve {
        return Arc::new(AutoApprove { role: "drill-approver".to_owned() });
    }
    if gates.wait {
        return Arc::new(Elsewhere);
    }
    if global.no_input || !std::io::stdin().is_terminal() {
        return Arc::new(Nobody);
    }
    Arc::new(Terminal::new(operator(global), run.to_owned()))
}

/// Executes with the live view, writes the postmortem, and says how it ended.
async fn follow(
    global: &Global,
    (entry, store): (&'static Entry, &Store),
    (seam, approved): (Box<dyn Seam>, ApprovedPlan),
    terms: Terms,
    on: &Wired,
    timeout: Option<Duration>,
    hooks: Hooks,
) -> Result<(Exit, Finished), CliError> {
    let id = terms.run.clone();
    let run = store.find(&id)?;
    let procedure = build(global, entry, &terms.input, on)?;
    let view = View::of(entry.steps);
    let view = if let Some(began) = run.began_at { view.beginning_at(began) } else { view };
    let let_go = LetGo::new();
    let shown = view.clone();
    let terms = Terms {
        listener: Some(Arc::new(move |entry| shown.show(entry))),
        detach: let_go.detach.clone(),
        announcing: owner::is_announced(&run)
            .then(|| owner::announcing(on, store).seen(owner::ended_before(&run))),
        ..terms
    };
    let seam = match &hooks.wrap_seam {
        Some(wrap) => wrap(seam),
        None => seam,
    };
    let seam = Box::new(Interruptible::new(seam, let_go.clone()));
    let finished = tokio::select! {
        finished = execute(&*procedure, seam, approved, terms) => finished?,
        () = view.count_down(Arc::clone(&on.clock)) => unreachable!("the view does not end by itself"),
        never = let_go.on_signals(&id) => match never {},
        never = let_go.after(timeout, &id) => match never {},
    };
    view.finish();
    // The run is what its journal says, also where a full disk keeps its files from being written.
    let report = write_report(global, store, entry, &id).map_err(|error| error.message);
    if let Err(error) = on.keep_documents(&folder(global, &id)) {
        say(&error.message);
    }
    let entries = store.entries(&id)?;
    let exit = match Exit::from(finished.outcome) {
        Exit::Detached if let_go.timed_out() => Exit::TimedOut,
        exit => exit,
    };
    if global.json {
        let left = left_json(&entries, &id);
        let body = json!({ "run": id, "outcome": finished.outcome, "says": finished.says, "postmortem": report.as_ref().ok(), "left": left, "exit_code": exit as u8 });
        output::document("run", body);
    } else {
        output::result(&format!("\n{}: {}", finished.outcome, finished.says));
        if let Ok(path) = &report {
            output::result(&format!("Postmortem: {}", path.display()));
        }
        for line in left_lines(&entries, &id, false) {
            output::result(&line);
        }
    }
    if let Err(error) = &report {
        say(&format!("the postmortem is not there: {error}; when there is space: allclear report {id}"));
    }
    if finished.outcome.is_final() {
        super::evidence::seal_at_end(global, &store.find(&id)?).await;
    } else {
        tell_how_to_go_on(store, &id)?;
    }
    Ok((exit, finished))
}

fn tell_how_to_go_on(store: &Store, id: &str) -> Result<(), CliError> {
    let entries = store.entries(id)?;
    if let Some(question) = super::gates::open_question(&entries) {
        say(&gate_text(id, &question));
    }
    say(&format!("then: allclear resume {id}"));
    Ok(())
}

/// Writes the postmortem in both forms; returns where the readable one is.
pub(super) fn write_report(
    global: &Global,
    store: &Store,
    entry: &Entry,
    id: &str,
) -> Result<PathBuf, CliError> {
    let entries = store.entries(id)?;
    let postmortem = Postmortem::from_entries(&entries, entry.steps);
    let folder = folder(global, id);
    save(&folder.join("postmortem.json"), &pretty(&postmortem)?)?;
    let path = folder.join("postmortem.md");
    save(&path, &to_markdown(&postmortem, Form::Full))?;
    Ok(path)
}

/// JSON for people.
fn pretty(value: &impl serde::Serialize) -> Result<String, CliError> {
    serde_json::to_string_pretty(value).map_err(|error| CliError::internal(error.to_string()))
}

fn read_plan(path: &Path) -> Result<Plan, CliError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::usage(format!("the plan {} cannot be read: {error}", path.display())))?;
    serde_json::from_str(&text).map_err(|error| {
        CliError::usage(format!(
            "{} is no plan: {error}; make one with `allclear plan RUNBOOK -o FILE`",
            path.display()
        ))
    })
}

/// Writes a file for its owner only.
pub(super) fn save(path: &Path, text: &str) -> Result<(), CliError> {
    use std::io::Write as _;
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let write = || {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|error: std::io::Error| {
        CliError::internal(format!("{} cannot be written: {error}", path.display()))
    })
}
