//! The sandbox as a process of its own.
//!
//! A drill does not keep the world in its own process: it would die with it, and there would be nothing to resume
//! against. So the drill starts this same program as a server, in a process group of its own; killing the drill leaves the
//! world as it is. The server ends when it is told to, or after ten minutes without a request.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use allclear_core::VirtualClock;
use allclear_sandbox::{Sandbox, ScaledClock, Time, WorldSpec};
use serde_json::{Value, json};

use crate::args::SandboxArgs;
use crate::exit::{CliError, Exit};
use crate::output;
use crate::stage::Stage;

/// Serves until it is told to stop.
pub(crate) async fn serve(args: SandboxArgs) -> Result<Exit, CliError> {
    let spec: WorldSpec = match &args.world {
        None => WorldSpec::default(),
        Some(text) => serde_json::from_str(text)
            .map_err(|error| CliError::usage(format!("--world cannot be read: {error}")))?,
    };
    let twist = spec.scenario.exercise();
    let time = if args.r#virtual {
        Time::Virtual(Arc::new(VirtualClock::at(spec.start)))
    } else {
        Time::Scaled(ScaledClock::starting_at(spec.start, args.speed))
    };
    let sandbox = Sandbox::start(spec, time, args.port).await.map_err(|error| {
        CliError::internal(format!(
            "the sandbox cannot listen on 127.0.0.1:{}: {error}; choose another --port",
            args.port
        ))
    })?;
    let stage = match twist {
        Some(twist) => Some(Stage::build(twist).await?),
        None => None,
    };
    if let Some(stage) = &stage {
        sandbox.tell_stage(serde_json::to_value(stage.map()).unwrap_or_default());
    }
    output::result(&json!({ "sandbox": sandbox.base_url() }).to_string());
    tokio::select! {
        () = sandbox.wait_for_shutdown() => {}
        () = idle(&sandbox, args.exit_when_idle) => {}
        () = terminated() => {}
    }
    Ok(Exit::Verified)
}

async fn idle(sandbox: &Sandbox, limit: Option<u64>) {
    let Some(limit) = limit.map(Duration::from_secs) else { return std::future::pending().await };
    while sandbox.idle_for() < limit {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

/// Starts a sandbox beside this process; returns where it listens.
pub(crate) fn start(world: &WorldSpec, speed: Option<f64>) -> Result<String, CliError> {
    let failed =
        |error: &dyn std::fmt::Display| CliError::internal(format!("the sandbox did not start: {error}"));
    let program = std::env::current_exe().map_err(|error| failed(&error))?;
    let mut command = Command::new(program);
    let text = serde_json::to_string(world).map_err(|error| failed(&error))?;
    command.args(["sandbox", "--exit-when-idle", "600", "--world", &text]);
    match speed {
        Some(speed) => command.args(["--speed", &speed.to_string()]),
        None => command.arg("--virtual"),
    };
    // A group of its own: Ctrl-C at the drill must not reach it.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).map_err(|error| failed(&error))?;
    }
    let said: Value = serde_json::from_str(&line).unwrap_or_default();
    said["sandbox"].as_str().map(str::to_owned).ok_or_else(|| failed(&"it did not say where it listens"))
}
