//! `drill`: practise on a sandbox, on the same path as a real run.

use allclear_engine::{PlanApproval, Shown};
use allclear_runbooks::{Entry, catalogue};
use allclear_sandbox::people::Script;
use allclear_sandbox::{FaultSet, Profile, Scenario, WorldSpec};
use serde_json::{Value, json};

use super::catalogue::runbook;
use super::execute::{Announces, Start, approve, make_plan, new_id, shown, start};
use super::here::folder;
use crate::Hooks;
use crate::args::{Contract, DrillArgs, GatePolicy, Global};
use crate::config::state_dir;
use crate::environment::Wired;
use crate::exit::{CliError, Exit};
use crate::output::{self, say};

pub(super) async fn drill(global: &Global, args: DrillArgs, hooks: Hooks) -> Result<Exit, CliError> {
    if args.list {
        return Ok(list(global));
    }
    let entry = runbook(args.runbook.as_deref().unwrap_or_default())?;
    let world = world(entry, &args)?;
    let id = new_id(entry);
    let state = state_dir(global);
    let purpose = crate::sandbox::For { state: &state, run: &id, idle: args.sandbox_idle };
    let url = crate::sandbox::start(&world, (!args.r#virtual).then_some(args.speed), Some(&purpose))?;
    say(&format!("The platform in a box runs at {url}: {}", describe(entry, &args)));
    let global =
        Global { operator: global.operator.clone().or_else(|| Some("drill".to_owned())), ..global.clone() };
    let result = Box::pin(on_sandbox(&global, entry, &args, (&id, &url), hooks)).await;
    let ended = !matches!(
        &result,
        Ok(Exit::Waiting | Exit::InDoubt | Exit::Detached | Exit::Interrupted | Exit::TimedOut)
    );
    if ended && !args.keep_sandbox {
        stop_sandbox(&url).await;
    }
    result
}

async fn on_sandbox(
    global: &Global,
    entry: &'static Entry,
    args: &DrillArgs,
    (id, url): (&str, &str),
    hooks: Hooks,
) -> Result<Exit, CliError> {
    let on = Wired::sandbox(global, "sandbox", url, folder(global, id).join("artifacts")).await?;
    let on = Wired { ends_with_run: !args.keep_sandbox, ..on };
    let control = on.control();
    let input = super::execute::input_of(entry, &args.input)?;
    let plan = make_plan(global, entry, &input, &on).await?;
    say(&output::plan_text(&plan));
    let how = if args.auto_approve { Some(Shown::Role) } else { shown(global, &plan).await };
    let Some(how) = how else {
        if global.no_input {
            say("nobody may be asked (--no-input); approve with --yes or --auto-approve");
            stop_sandbox(url).await;
            return Ok(Exit::Waiting);
        }
        say("not approved; nothing was changed");
        return Ok(Exit::Rejected);
    };
    let by = if args.auto_approve { "drill-approver".to_owned() } else { super::here::operator(global) };
    let yes = PlanApproval::of(&plan, id, by, how);
    let approved = approve(global, plan, yes, &on)?;
    let gates = GatePolicy { auto_approve: args.auto_approve, ..GatePolicy::default() };
    let run = Start { entry, id: id.to_owned(), input, approved, gates, announces: Announces::Nothing };
    let (exit, _) = start(global, run, on, hooks).await?;
    tell_time(global, id)?;
    if let Some(control) = control {
        tell_ledger(&control.ledger().await?);
    }
    Ok(exit)
}

/// What the world itself counted: the check that needs no trust in us.
fn tell_ledger(ledger: &[Value]) {
    let mut seen = std::collections::BTreeMap::new();
    for entry in ledger.iter().filter(|entry| entry["changed"] == true) {
        *seen.entry((entry["effect"].to_string(), entry["subject"].to_string())).or_insert(0_u32) += 1;
    }
    let twice = seen.values().filter(|count| **count > 1).count();
    say(&format!("Ledger of the sandbox: {}, {twice} of them more than once", output::effects(seen.len())));
}

fn tell_time(global: &Global, id: &str) -> Result<(), CliError> {
    let entries = super::here::store(global)?.entries(id)?;
    let spent = allclear_engine::report::time_spent(&entries);
    let text = |took: jiff::SignedDuration| format!("{:.0} s", took.as_secs_f64());
    say(&format!(
        "World time {}: machine {}, people {}, waiting {}, verifying {}, interrupted {}",
        text(spent.wall_clock),
        text(spent.machine),
        text(spent.human),
        text(spent.waiting),
        text(spent.verifying),
        text(spent.interrupted)
    ));
    Ok(())
}

async fn stop_sandbox(url: &str) {
    if let Ok(control) = allclear_clients::sandbox::SandboxControl::at(url) {
        // It ends by itself when nobody asks any more, should this not reach it.
        let _ = control.shutdown().await;
    }
}

/// The scenario that was asked for, or the runbook's first.
fn scenario_name<'a>(entry: &Entry, args: &'a DrillArgs) -> &'a str {
    args.scenario.as_deref().unwrap_or(entry.scenarios[0].name)
}

fn world(entry: &Entry, args: &DrillArgs) -> Result<WorldSpec, CliError> {
    let name = scenario_name(entry, args);
    let known = entry.scenarios.iter().any(|scenario| scenario.name == name);
    let scenario = Scenario::named(name).filter(|_| known).ok_or_else(|| {
        let names: Vec<&str> = entry.scenarios.iter().map(|scenario| scenario.name).collect();
        CliError::usage(format!("{} has no scenario `{name}`; it has {}", entry.id, names.join(", ")))
    })?;
    let profile = match args.profile {
        Contract::AsIs => Profile::AsIs,
        Contract::Target => Profile::Target,
    };
    let faults = args.faults.iter().fold(FaultSet::of(profile), |set, fault| set.with(*fault));
    Ok(WorldSpec {
        seed: args.seed,
        scenario,
        profile,
        faults: Some(faults),
        people: Script::of(&args.people),
        targets_per_campaign: args.targets,
        ..WorldSpec::default()
    })
}

fn describe(entry: &Entry, args: &DrillArgs) -> String {
    let name = scenario_name(entry, args);
    entry
        .scenarios
        .iter()
        .find(|scenario| scenario.name == name)
        .map_or_else(String::new, |scenario| scenario.says.to_owned())
}

fn list(global: &Global) -> Exit {
    if global.json {
        let all: Vec<Value> = catalogue()
            .iter()
            .flat_map(|entry| {
                entry
                    .scenarios
                    .iter()
                    .map(|s| json!({ "runbook": entry.id, "scenario": s.name, "says": s.says }))
            })
            .collect();
        output::document("drill-list", json!({ "drills": all }));
        return Exit::Verified;
    }
    for entry in catalogue() {
        output::result(entry.id);
        for scenario in entry.scenarios {
            output::result(&format!("  {:<28} {}", scenario.name, scenario.says));
        }
    }
    Exit::Verified
}
