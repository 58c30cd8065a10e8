//! The command line `allclear`: parse, wire, call, render.
//!
//! | module | what is in it |
//! |---|---|
//! | `args` | what may be typed |
//! | `exit` | exit codes and the one error message |
//! | `config`, `environment` | `allclear.toml`, and what it is wired into |
//! | `commands` | one file for each group of commands |
//! | `view`, `output` | what people see: made from journal entries only |
//! | `recovery`, `exercise`, `progress` | what the disaster recovery exercise is told, its ports, and how far it is |
//! | `sandbox`, `stage` | the sandbox as a process of its own, and what a drilled exercise needs beside it |

mod args;
mod clock;
mod commands;
mod config;
mod environment;
mod exercise;
mod exit;
mod humans;
mod interrupt;
mod output;
mod owner;
mod progress;
mod recovery;
mod sandbox;
mod secret;
mod stage;
mod view;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;

use allclear_engine::Seam;
use clap::Parser as _;

pub use exit::Exit;

/// Decorates the seam of every run: how tests kill a process at a chosen boundary.
pub type WrapSeam = Arc<dyn Fn(Box<dyn Seam>) -> Box<dyn Seam> + Send + Sync>;

/// What a program that embeds the command line may change.
#[derive(Clone, Default)]
pub struct Hooks {
    /// Decorates the seam of every run.
    pub wrap_seam: Option<WrapSeam>,
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

/// Runs the command line. Nothing is opened before the arguments are understood, so `--version` answers at once.
pub fn main_with(args: impl IntoIterator<Item = OsString>, hooks: Hooks) -> ExitCode {
    let parsed = match args::Cli::try_parse_from(args) {
        Ok(parsed) => parsed,
        Err(error) => {
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Verified };
            // A closed terminal is no reason to panic.
            let _ = error.print();
            return code.into();
        }
    };
    quiet_panics();
    let runtime = match runtime_for(&parsed.command) {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&exit::CliError::internal(error.to_string()), parsed.global.json),
    };
    let json = parsed.global.json;
    let dispatched = AssertUnwindSafe(|| runtime.block_on(commands::dispatch(parsed, hooks)));
    match catch_unwind(dispatched) {
        Ok(Ok(code)) => match output::lost() {
            Some(why) if code == Exit::Verified => {
                let lost =
                    format!("the result could not be written to stdout: {why}; free space and ask again");
                exit::report(&exit::CliError::internal(lost), false)
            }
            _ => code.into(),
        },
        Ok(Err(error)) => exit::report(&error, json),
        Err(_) => Exit::Internal.into(),
    }
}

/// A sandbox handles one request after another, so that the same ones meet the same world. Everything else may use more than
/// one core: copies and backups hash what they send.
fn runtime_for(command: &args::Command) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match command {
        args::Command::Sandbox(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

/// A panic's text may hold whatever was being formatted, a credential included: only its place is shown.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        output::say(&format!(
            "allclear: a defect at {place}; the run's journal is intact: go on with `allclear resume @last`, and report \
             that place"
        ));
    }));
}
