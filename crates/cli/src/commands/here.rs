//! What every command finds here: the store of runs, who is at the keyboard, where a run's files are.

use std::path::PathBuf;

use allclear_engine::person::person;
use allclear_engine::sqlite::Store;

use crate::args::Global;
use crate::config::state_dir;
use crate::exit::CliError;

/// Opens the store of runs.
pub(super) fn store(global: &Global) -> Result<Store, CliError> {
    Ok(Store::open(&state_dir(global).join("runs.db"))?)
}

/// Who is at the keyboard.
pub(super) fn operator(global: &Global) -> String {
    global
        .operator
        .clone()
        .or_else(|| std::env::var("USER").ok().and_then(|name| person(&name).ok()))
        .unwrap_or_else(|| "operator".to_owned())
}

/// The folder of one run: its plan, its files, its postmortem.
pub(super) fn folder(global: &Global, run: &str) -> PathBuf {
    state_dir(global).join("runs").join(run)
}
