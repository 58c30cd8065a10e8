//! Where a case is played: a sandbox in this process, a folder, and the product's own processes.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use allclear_core::VirtualClock;
use allclear_sandbox::Sandbox;
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::scene::Scene;
use crate::desk::ALLCLEAR;

/// No process of a drill takes this long; one that does hangs.
const HANGS: Duration = Duration::from_secs(90);

pub(crate) struct Place {
    pub(crate) sandbox: Sandbox,
    folder: tempfile::TempDir,
    /// What runs the runbook; another program than the product where the oracle is tried.
    program: PathBuf,
}

/// A run as its store has it, read beside the product.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) outcome: Option<String>,
    pub(crate) entries: u64,
    /// The key and the kind of its last entry.
    pub(crate) last: String,
    /// What it said when it ended.
    pub(crate) says: String,
    /// The effect that was last in doubt.
    pub(crate) in_doubt: Option<String>,
    /// What people were asked last.
    pub(crate) asked: Option<Asked>,
    /// Whether another had ended before this one's plan was made: it is a run of its own, and not one of two at once.
    pub(crate) later: bool,
    /// Whether the platform could not be told that it has ended.
    pub(crate) untold: bool,
    /// Whether somebody was told another way, because the page was not proven within its minute.
    pub(crate) unpaged: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) binding: String,
    /// What lets the run go on.
    pub(crate) choice: String,
    /// Whether it asks what happened, which must be looked up.
    pub(crate) fact: bool,
}

impl Asked {
    fn in_entry(entry: &Value) -> Option<Self> {
        let question = &entry["event"]["question"];
        let choices = question["choices"].as_array()?;
        let offered = choices.iter().any(|choice| choice["id"] == "approve");
        let presumed = question["presumed"].as_str().unwrap_or("approve");
        let choice = if offered { "approve" } else { presumed }.to_owned();
        let fact = question["fact"].as_bool().unwrap_or(false);
        Some(Self { binding: question["binding"].as_str()?.to_owned(), choice, fact })
    }
}

/// What a case leaves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct World {
    /// Every request of ours that changes something, or would have, each with how often; runs' ids are taken out.
    pub(crate) effects: BTreeMap<String, usize>,
    /// How often a run said on the platform's record that it goes on, and that it has ended.
    pub(crate) announced: (usize, usize),
    pub(crate) state: Value,
    pub(crate) at: Timestamp,
}

impl Place {
    pub(crate) fn of(scene: &Scene, program: &Path, runtime: &tokio::runtime::Runtime) -> Self {
        let world = scene.world();
        let clock = Arc::new(VirtualClock::at(world.start));
        let sandbox = runtime.block_on(Sandbox::start_virtual(world, clock)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let url = sandbox.base_url();
        let config = format!(
            "default_environment = \"box\"\n[environment.box]\nkind = \"sandbox\"\nurl = \"{url}\"\n"
        );
        std::fs::write(folder.path().join("allclear.toml"), config).unwrap();
        Self { sandbox, folder, program: program.to_owned() }
    }

    fn command(&self, program: &Path, args: &[&str], who: &str) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("ALLCLEAR_STATE_DIR", self.state())
            .env_remove("ALLCLEAR_CONFIG")
            .env_remove("ALLCLEAR_ENV")
            .env("ALLCLEAR_OPERATOR", who)
            .env("WALK_MUTANT", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Starts a process of the run.
    pub(crate) fn spawn(&self, args: &[&str]) -> Process {
        Process::of(self.command(&self.program, args, "kim"))
    }

    /// Lets another person type a command.
    pub(crate) fn spawn_as(&self, who: &str, args: &[&str]) -> Process {
        Process::of(self.command(Path::new(ALLCLEAR), args, who))
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// All runs of the store, in the order in which they began.
    pub(crate) fn runs(&self) -> Vec<Stored> {
        // None yet, or killed while it was made.
        self.read_runs().unwrap_or_default()
    }

    fn read_runs(&self) -> rusqlite::Result<Vec<Stored>> {
        let path = self.state().join("runs.db");
        let store = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        store.busy_timeout(Duration::from_secs(5))?;
        let mut runs = store.prepare("SELECT number, id, outcome FROM run ORDER BY number")?;
        let runs = runs.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let mut stored = Vec::new();
        for run in runs {
            let (number, id, outcome): (i64, String, Option<String>) = run?;
            let mut entries = store.prepare("SELECT body FROM entry WHERE run = ? ORDER BY seq")?;
            let bodies = entries.query_map([number], |row| row.get::<_, String>(0))?;
            let bodies: Vec<String> = bodies.collect::<Result<_, _>>()?;
            let last = bodies.last().map_or_else(String::new, |body| name_of(body));
            let latest = |kind: &str| {
                let kind = format!(r#""is":"{kind}""#);
                let body = bodies.iter().rev().find(|body| body.contains(&kind))?;
                serde_json::from_str::<Value>(body).ok()
            };
            let in_doubt =
                latest("in_doubt").and_then(|entry| entry["event"]["effect"].as_str().map(str::to_owned));
            let says =
                latest("concluded").and_then(|entry| entry["event"]["says"].as_str().map(str::to_owned));
            let says = says.unwrap_or_default();
            let asked = latest("asked").as_ref().and_then(Asked::in_entry);
            let untold = latest("gave_back").is_some_and(|entry| entry["event"]["untold"].is_string());
            let ended_before = |entry: Value| entry["event"]["context"]["announces"]["ended_before"].as_u64();
            let later = latest("started").and_then(ended_before).is_some_and(|ended| ended > 0);
            let unpaged = bodies.iter().any(|body| body.contains("not proven: page"));
            let entries = bodies.len() as u64;
            stored.push(Stored { id, outcome, entries, last, says, in_doubt, asked, later, untold, unpaged });
        }
        Ok(stored)
    }

    pub(crate) fn world(&self) -> World {
        let runs = self.runs();
        let (mut effects, mut announced) = (BTreeMap::new(), (0, 0));
        for entry in self.sandbox.ledger() {
            // Only rows with an id of ours may be sent again, because their key makes them one.
            let keyed = ["audit.insert", "voucher.reserve", "voucher.event"].contains(&entry.effect.as_str());
            if keyed && !entry.changed {
                continue;
            }
            // One of each for each run; how many runs there were is not what an undisturbed one tells.
            // So is one for each effect that it came to.
            if keyed && entry.subject.starts_with("allclear_run_effect") {
                continue;
            }
            if keyed && entry.subject.starts_with("allclear_run_") {
                let ended = entry.subject.starts_with("allclear_run_ended");
                *(if ended { &mut announced.1 } else { &mut announced.0 }) += 1;
                continue;
            }
            let subject = runs.iter().fold(entry.subject, |text, run| text.replace(&run.id, "RUN"));
            *effects.entry(format!("{} {subject}", entry.effect)).or_insert(0) += 1;
        }
        let mut state = self.sandbox.state();
        if let Some(rows) = state["audit_by_us"].as_object_mut() {
            rows.retain(|action, _| !action.starts_with("allclear_run_"));
        }
        World { effects, announced, state, at: self.sandbox.now() }
    }
}

fn name_of(body: &str) -> String {
    let entry: Value = serde_json::from_str(body).unwrap_or_default();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{} {}", word(&entry["key"]), word(&entry["event"]["is"]))
}

/// A process of the product. It ends with its case.
pub(crate) struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
    taken: Receiver<String>,
    listening: Option<JoinHandle<()>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Process {
    fn of(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tell, taken) = channel();
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        let listening = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // `Run ID; if this terminal goes away ...` and `Run ID is taken up again`.
                if let Some(rest) = line.strip_prefix("Run ") {
                    let id: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect();
                    let _ = tell.send(id);
                }
                let mut said = heard.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        Self { child, said, taken, listening: Some(listening) }
    }

    /// Waits until the process has a run, and says which. `None` when it ended without one.
    pub(crate) fn run(&self) -> Option<String> {
        self.taken.recv_timeout(HANGS).ok()
    }

    pub(crate) fn lives(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// SIGKILL. Whether it was still there to be killed.
    pub(crate) fn kill(&mut self) -> bool {
        let lived = self.lives();
        let _ = self.child.kill();
        let _ = self.child.wait();
        lived
    }

    /// Its exit code; `None` for one that was killed or hangs.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        for _ in 0..HANGS.as_millis() / 5 {
            if let Ok(Some(ended)) = self.child.try_wait() {
                return ended.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
        None
    }

    /// What it said, to its end.
    pub(crate) fn said(mut self) -> String {
        self.kill();
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
        self.said.lock().unwrap().clone()
    }
}
