//! The commands, one file for each group.

mod audit;
mod catalogue;
mod doctor;
mod drill;
mod evidence;
mod execute;
mod gates;
mod here;
mod runs;
mod stop;
mod undo;

use clap::CommandFactory as _;

use crate::Hooks;
use crate::args::{Cli, Command};
use crate::exit::{CliError, Exit};

/// Calls what was typed.
pub(crate) async fn dispatch(cli: Cli, hooks: Hooks) -> Result<Exit, CliError> {
    let Cli { global, command } = cli;
    match command {
        Command::List => Ok(catalogue::list(&global)),
        Command::Show { runbook } => catalogue::show(&global, &runbook),
        Command::Check { text } => catalogue::check(&global, text.as_deref()),
        Command::Plan(args) => execute::plan_only(&global, args).await,
        Command::Run(args) => execute::run(&global, args, hooks).await,
        Command::Resume { run, gates } => execute::resume(&global, &run, &gates, hooks).await,
        Command::Drill(args) => Box::pin(drill::drill(&global, args, hooks)).await,
        Command::Watch { run } => runs::watch(&global, &run).await,
        Command::HandOver { run, to } => gates::hand_over(&global, &run, &to),
        Command::Abort { run, damaged: true, reason } => {
            runs::abort_damaged(&global, &run, &reason.unwrap_or_default()).await
        }
        Command::Abort { run, damaged: false, reason } => {
            runs::abort(&global, &run, reason.as_deref(), hooks).await
        }
        Command::Audit { what } => audit::audit(&global, what),
        Command::Undo(args) => undo::undo(&global, args, hooks).await,
        Command::Status { run } => runs::status(&global, run.as_deref()),
        Command::Report { run, format, form, output } => runs::report(&global, &run, format, form, output),
        Command::Evidence { what } => evidence::evidence(&global, what).await,
        Command::Link { run, file, minutes } => evidence::link(&global, &run, &file, minutes).await,
        Command::Approve(args) => gates::answer(&global, &args.run, "approve", args.more).await,
        Command::Reject(args) => gates::answer(&global, &args.run, "reject", args.more).await,
        Command::Answer { run, choice, more } => gates::answer(&global, &run, &choice, more).await,
        Command::Doctor { drill: true } => doctor::for_a_drill(&global).await,
        Command::Doctor { drill: false } => doctor::doctor(&global).await,
        Command::StopAll { reason } => stop::stop_all(&global, reason.as_deref()),
        Command::LiftStop => stop::lift_stop(&global),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "allclear", &mut script);
            crate::output::result(String::from_utf8_lossy(&script).trim_end());
            Ok(Exit::Verified)
        }
        Command::Sandbox(args) => crate::sandbox::serve(args).await,
    }
}
