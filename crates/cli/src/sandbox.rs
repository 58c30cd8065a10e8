//! The sandbox as a process of its own.
//!
//! A drill does not keep the world in its own process: it would die with it, and there would be nothing to resume
//! against. So the drill starts this same program as a server, in a process group of its own; killing the drill leaves the
//! world as it is. The server ends when it is told to, or after ten minutes without a request; but not while its drill runs or the
//! drill's run can still be taken up: people may think for longer, and a killed drill is resumed a day later. After seven days
//! without a request it ends in any case, so that none that was forgotten stays for ever.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use allclear_core::VirtualClock;
use allclear_engine::Event;
use allclear_engine::sqlite::Store;
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
    spec.check().map_err(|what| CliError::usage(format!("--world: {what}")))?;
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
        () = idle(&sandbox, args.exit_when_idle, args.with_run.map(Purpose::of)) => {}
        () = terminated() => {}
    }
    Ok(Exit::Verified)
}

/// The longest that a sandbox stays without a request, whatever it is for.
pub(crate) const LONGEST_IDLE: Duration = Duration::from_hours(7 * 24);
/// How often it is looked whether the run can still be taken up.
const LOOK_EVERY: Duration = Duration::from_secs(5);

async fn idle(sandbox: &Sandbox, limit: Option<u64>, purpose: Option<Purpose>) {
    let Some(limit) = limit.map(Duration::from_secs) else { return std::future::pending().await };
    loop {
        while sandbox.idle_for() < limit {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let is_needed = purpose.as_ref().is_some_and(Purpose::is_open);
        if !is_needed || sandbox.idle_for() >= LONGEST_IDLE {
            return;
        }
        tokio::time::sleep(LOOK_EVERY.min(limit)).await;
    }
}

/// What a sandbox is there for: a drill's run, and the process that drills.
struct Purpose {
    store: PathBuf,
    run: String,
    /// Whoever started this holds the other end of our standard input for as long as they live.
    owner_is_gone: Arc<AtomicBool>,
}

impl Purpose {
    fn of(with_run: Vec<String>) -> Self {
        let mut with_run = with_run.into_iter();
        let store = PathBuf::from(with_run.next().unwrap_or_default()).join("runs.db");
        let owner_is_gone = Arc::new(AtomicBool::new(false));
        let gone = Arc::clone(&owner_is_gone);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            gone.store(true, Ordering::SeqCst);
        });
        Self { store, run: with_run.next().unwrap_or_default(), owner_is_gone }
    }

    /// Whether somebody may still come back for the world: the drill lives, or its run has not ended. Where that cannot be
    /// told any more (the state folder is gone), nobody can.
    fn is_open(&self) -> bool {
        if !self.owner_is_gone.load(Ordering::SeqCst) {
            return true;
        }
        // Opening would make one anew.
        if !self.store.exists() {
            return false;
        }
        let entries = Store::open(&self.store).and_then(|store| store.entries(&self.run));
        entries.is_ok_and(|entries| {
            let has_ended = entries.iter().any(|entry| matches!(entry.event, Event::Concluded { .. }));
            !entries.is_empty() && !has_ended
        })
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

/// For which run of which state folder a sandbox is there, and after how many seconds without a request it looks whether it
/// still is.
pub(crate) struct For<'a> {
    pub(crate) state: &'a Path,
    pub(crate) run: &'a str,
    pub(crate) idle: u64,
}

/// Starts a sandbox beside this process; returns where it listens.
pub(crate) fn start(
    world: &WorldSpec,
    speed: Option<f64>,
    purpose: Option<&For<'_>>,
) -> Result<String, CliError> {
    let failed =
        |error: &dyn std::fmt::Display| CliError::internal(format!("the sandbox did not start: {error}"));
    let program = std::env::current_exe().map_err(|error| failed(&error))?;
    let mut command = Command::new(program);
    let text = serde_json::to_string(world).map_err(|error| failed(&error))?;
    let idle = purpose.map_or(600, |purpose| purpose.idle);
    command.args(["sandbox", "--exit-when-idle", &idle.to_string(), "--world", &text]);
    if let Some(For { state, run, .. }) = purpose {
        let state = std::path::absolute(state).map_err(|error| failed(&error))?;
        command.arg("--with-run").arg(state).arg(run);
    }
    match speed {
        Some(speed) => command.args(["--speed", &speed.to_string()]),
        None => command.arg("--virtual"),
    };
    // A group of its own: Ctrl-C at the drill must not reach it.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    // It ends with this process and not before: that is how the sandbox knows that we live.
    std::mem::forget(child.stdin.take());
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).map_err(|error| failed(&error))?;
    }
    let said: Value = serde_json::from_str(&line).unwrap_or_default();
    said["sandbox"].as_str().map(str::to_owned).ok_or_else(|| failed(&"it did not say where it listens"))
}
