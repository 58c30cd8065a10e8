//! `link`: what an exercise kept for people, without a key and without this machine.

use std::time::Duration;

use serde_json::json;

use super::here::{folder, store};
use crate::args::Global;
use crate::environment::Wired;
use crate::exit::{CliError, Exit};
use crate::output;

/// Prints the link, and nothing else writes it down.
pub(crate) async fn link(global: &Global, run: &str, file: &str, minutes: u64) -> Result<Exit, CliError> {
    let run = store(global)?.find(run)?;
    let on = Wired::of_run(global, &run, folder(global, &run.id).join("artifacts")).await?;
    let shelf = on.platform.recovery.and_then(|recovery| recovery.evidence).ok_or_else(|| {
        let name = &run.environment;
        CliError::usage(format!(
            "no bucket for evidence is configured: [environment.{name}.recovery.evidence]"
        ))
    })?;
    let failed = |error: allclear_core::PortError| {
        CliError::new(Exit::Unverified, format!("{file} of run {}: {error}", run.id))
    };
    let link = shelf.link(file, Duration::from_secs(minutes * 60)).await.map_err(failed)?;
    if global.json {
        let seconds = link.valid().as_secs();
        output::document(
            "link",
            json!({ "run": run.id, "file": file, "url": link.reveal(), "seconds": seconds }),
        );
    } else {
        output::result(link.reveal());
    }
    Ok(Exit::Verified)
}
