//! `plan`, `run` and `resume`: one path for all, and for drills.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use allclear_engine::report::{Postmortem, to_markdown};
use allclear_engine::sqlite::{NewRun, RunSummary, Store};
use allclear_engine::{
    AutoApprove, Elsewhere, Finished, Humans, Nobody, Plan, Refusal, Runbook, Seam, SeamError, Terms,
    execute, plan,
};
use allclear_runbooks::Entry;
use serde_json::{Value, json};

use super::catalogue::runbook;
use super::here::{folder, operator, store};
use crate::Hooks;
use crate::args::{GatePolicy, Global, InputArgs, PlanArgs, RunArgs};
use crate::config::state_dir;
use crate::environment::Wired;
use crate::exit::{CliError, Exit};
use crate::humans::{Terminal, gate_text, read_line};
use crate::interrupt::{Interruptible, LetGo};
use crate::output::{self, say};
use crate::view::View;

/// What was typed, as the runbook's input; `null` where nothing was. A file is where it is from here: the run may be taken up
/// in another folder.
pub(super) fn input_of(entry: &Entry, input: &InputArgs) -> Value {
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
    if fields.is_empty() { Value::Null } else { Value::Object(fields) }
}

fn build(entry: &Entry, input: &Value, on: &Wired) -> Result<Box<dyn Runbook>, CliError> {
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
    let plan = make_plan(global, entry, &input_of(entry, &args.input), &on).await?;
    if let Some(path) = &args.output {
        save(path, &serde_json::to_string_pretty(&plan).unwrap_or_default())?;
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
    let terms = Terms { input: input.clone(), ..Terms::new("plan", operator(global), on.name.clone()) };
    Ok(plan(&*build(entry, input, on)?, terms, Arc::clone(&on.clock)).await?)
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
    let input = saved.as_ref().map_or_else(|| input_of(entry, &args.input), |plan| plan.input.clone());
    let id = new_id(entry);
    let on = Wired::named(global, folder(global, &id).join("artifacts")).await?;
    if args.gates.auto_approve && on.sandbox.is_none() {
        return Err(CliError::usage("--auto-approve is for drills; at a real platform people answer"));
    }
    let now = make_plan(global, entry, &input, &on).await?;
    if let Some(saved) = &saved {
        saved.check_no_drift(&now)?;
    }
    let Some(by) = approval(global, &now, args.approve_plan.as_deref()).await? else {
        return if global.no_input { keep_plan(global, entry, &now) } else { Ok(Exit::Rejected) };
    };
    let started = Start { entry, id, input, plan: now, approved_by: by, gates: args.gates };
    start(global, started, on, hooks).await.map(|(exit, _)| exit)
}

/// Shows the plan and asks. `None` is no.
async fn approval(global: &Global, plan: &Plan, hash: Option<&str>) -> Result<Option<String>, CliError> {
    say(&output::plan_text(plan));
    let by = operator(global);
    if let Some(hash) = hash {
        let foreign = Refusal::ForeignApproval { approved: hash.to_owned(), shown: plan.hash.clone() };
        let names_this = hash.len() >= 12 && plan.hash.starts_with(hash);
        return if names_this { Ok(Some(by)) } else { Err(foreign.into()) };
    }
    if global.yes || !plan.has_effects() {
        return Ok(Some(by));
    }
    if global.no_input {
        return Ok(None);
    }
    let typed =
        read_line(&format!("\nApply this plan ({})? [y/N] ", output::effects(plan.effects.len()))).await;
    Ok(matches!(typed.as_deref().map(str::trim), Some("y" | "yes")).then_some(by))
}

/// Saves a plan that nobody here may approve, and says how somebody else can.
fn keep_plan(global: &Global, entry: &Entry, plan: &Plan) -> Result<Exit, CliError> {
    let short = &plan.hash[..12];
    let path = state_dir(global).join("plans").join(format!("{}-{short}.json", entry.id));
    save(&path, &serde_json::to_string_pretty(plan).unwrap_or_default())?;
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
    pub(super) plan: Plan,
    pub(super) approved_by: String,
    pub(super) gates: GatePolicy,
}

/// Starts a run and follows it to where it stops.
pub(super) async fn start(
    global: &Global,
    start: Start,
    on: Wired,
    hooks: Hooks,
) -> Result<(Exit, Finished), CliError> {
    let Start { entry, id, input, plan, approved_by, gates } = start;
    let mut context = on.context();
    context["approved_by"] = Value::from(approved_by.as_str());
    let new = NewRun {
        id: id.clone(),
        runbook: entry.id.to_owned(),
        environment: on.name.clone(),
        operator: operator(global),
        input: input.clone(),
        context,
    };
    // The plan is on the disk before the run exists: a run without its plan could not be taken up.
    save(&folder(global, &id).join("plan.json"), &serde_json::to_string_pretty(&plan).unwrap_or_default())?;
    let seam = store(global)?.begin(&new, Arc::clone(&on.clock))?;
    say(&format!("\nRun {id}; if this terminal goes away: allclear resume {id}"));
    let timeout = gates.timeout;
    let terms = Terms {
        input,
        plan: Some(plan),
        approved_by: Some(approved_by),
        humans: humans(global, &id, &gates),
        ..Terms::new(id, operator(global), on.name.clone())
    };
    follow(global, entry, Box::new(seam), terms, &on, timeout, hooks).await
}

pub(super) async fn resume(
    global: &Global,
    name: &str,
    gates: &GatePolicy,
    hooks: Hooks,
) -> Result<Exit, CliError> {
    let store = store(global)?;
    let run = store.find(name)?;
    if let Some(outcome) = run.outcome {
        return Err(CliError::new(
            Exit::Refused,
            format!("run {} has ended {outcome}; read it with: allclear report {}", run.id, run.id),
        ));
    }
    let on = Wired::of_run(global, &run, folder(global, &run.id).join("artifacts")).await?;
    take_up(global, &store, &run, on, gates, hooks).await
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
    let entry = runbook(&run.runbook)?;
    let plan = read_plan(&folder(global, &run.id).join("plan.json"))?;
    let seam = store.take_up(&run.id, Arc::clone(&on.clock))?;
    say(&format!("Run {} is taken up again", run.id));
    let terms = Terms {
        input: run.input.clone(),
        plan: Some(plan),
        approved_by: run.context["approved_by"].as_str().map(str::to_owned),
        humans: humans(global, &run.id, gates),
        ..Terms::new(run.id.clone(), operator(global), on.name.clone())
    };
    let (exit, finished) = follow(global, entry, Box::new(seam), terms, &on, gates.timeout, hooks).await?;
    if finished.outcome.is_final() {
        on.stop_with_run().await;
    }
    Ok(exit)
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
    entry: &'static Entry,
    seam: Box<dyn Seam>,
    terms: Terms,
    on: &Wired,
    timeout: Option<Duration>,
    hooks: Hooks,
) -> Result<(Exit, Finished), CliError> {
    let id = terms.run.clone();
    let began = store(global)?.find(&id)?.began_at;
    let procedure = build(entry, &terms.input, on)?;
    let view = View::of(entry.steps).beginning_at(began);
    let let_go = LetGo::new();
    let shown = view.clone();
    let terms = Terms {
        listener: Some(Arc::new(move |entry| shown.show(entry))),
        detach: let_go.detach.clone(),
        ..terms
    };
    let seam = match &hooks.wrap_seam {
        Some(wrap) => wrap(seam),
        None => seam,
    };
    let seam = Box::new(Interruptible::new(seam, let_go.clone()));
    let finished = tokio::select! {
        finished = execute(&*procedure, seam, terms) => finished?,
        () = view.count_down(Arc::clone(&on.clock)) => unreachable!("the view does not end by itself"),
        never = let_go.on_signals(&id) => match never {},
        never = let_go.after(timeout, &id) => match never {},
    };
    view.finish();
    let report = write_report(global, entry, &id)?;
    on.keep_documents(&folder(global, &id))?;
    let exit = match Exit::from(finished.outcome) {
        Exit::Detached if let_go.timed_out() => Exit::TimedOut,
        exit => exit,
    };
    if global.json {
        let body = json!({ "run": id, "outcome": finished.outcome, "says": finished.says, "postmortem": report, "exit_code": exit as u8 });
        output::document("run", body);
    } else {
        output::result(&format!(
            "\n{}: {}\nPostmortem: {}",
            finished.outcome,
            finished.says,
            report.display()
        ));
    }
    if !finished.outcome.is_final() {
        tell_how_to_go_on(global, &id)?;
    }
    Ok((exit, finished))
}

fn tell_how_to_go_on(global: &Global, id: &str) -> Result<(), CliError> {
    let entries = store(global)?.entries(id)?;
    if let Some(question) = super::gates::open_question(&entries) {
        say(&gate_text(id, &question));
    }
    say(&format!("then: allclear resume {id}"));
    Ok(())
}

/// Writes the postmortem in both forms; returns where the readable one is.
pub(super) fn write_report(global: &Global, entry: &Entry, id: &str) -> Result<PathBuf, CliError> {
    let entries = store(global)?.entries(id)?;
    let postmortem = Postmortem::from_entries(&entries, entry.steps);
    let folder = folder(global, id);
    save(&folder.join("postmortem.json"), &serde_json::to_string_pretty(&postmortem).unwrap_or_default())?;
    let path = folder.join("postmortem.md");
    save(&path, &to_markdown(&postmortem))?;
    Ok(path)
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
