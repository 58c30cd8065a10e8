//! `stop-all` and `lift-stop`: the switch for everything that is kept in one state folder.

use allclear_core::Clock as _;
use serde_json::json;

use super::here::{operator, store};
use crate::args::Global;
use crate::clock::SystemClock;
use crate::config::state_dir;
use crate::exit::{CliError, Exit};
use crate::output::{self, say};

pub(super) fn stop_all(global: &Global, reason: Option<&str>) -> Result<Exit, CliError> {
    let store = store(global)?;
    let stop = store.stop_all(&operator(global), reason, SystemClock.now())?;
    let running: Vec<String> = store.runs()?.into_iter().filter(|run| run.held).map(|run| run.id).collect();
    if global.json {
        output::document(
            "stop-all",
            json!({ "stop": stop, "reaches": state_dir(global), "running": running }),
        );
    } else {
        output::result(&stop.to_string());
    }
    say(&format!(
        "this reaches all runs that are kept here, in {} ({} at work); those of other machines go on: `allclear doctor` names \
         them, and each is stopped where it runs",
        state_dir(global).display(),
        running.len()
    ));
    for run in running {
        say(&format!("run {run} lets go after its current effect is settled"));
    }
    say("to go on: allclear lift-stop");
    Ok(Exit::Verified)
}

pub(super) fn lift_stop(global: &Global) -> Result<Exit, CliError> {
    let lifted = store(global)?.lift_stop(&operator(global), SystemClock.now())?;
    if global.json {
        output::document("lift-stop", json!({ "lifted": lifted }));
    } else {
        let text = lifted
            .as_ref()
            .map_or_else(|| "nothing was stopped".to_owned(), |stop| format!("lifted: {stop}"));
        output::result(&text);
    }
    if lifted.is_some() {
        say("interrupted runs are not resumed by themselves; see allclear status");
    }
    Ok(Exit::Verified)
}
