//! A desk to work at: a sandbox process, a state folder, and the commands.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

pub(crate) const ALLCLEAR: &str = env!("CARGO_BIN_EXE_allclear");

/// The walking example, built now: `cargo test --test it` alone would not, and an old one would test old code. With the
/// features of the whole suite, so that nothing is compiled a second time.
pub(crate) fn walker() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let folder = Path::new(ALLCLEAR).parent().unwrap();
        let mut build = Command::new(env!("CARGO"));
        build
            .args(["build", "--quiet", "--workspace", "--all-features", "--example", "walk", "--target-dir"])
            .arg(folder.parent().unwrap());
        if folder.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "the walker does not build");
        folder.join("examples/walk")
    });
    built.clone()
}

pub(crate) struct Desk {
    sandbox: Child,
    pub(crate) url: String,
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = self.sandbox.kill();
        let _ = self.sandbox.wait();
    }
}

/// A small world, made anew for every walk.
pub(crate) fn world(scenario: &Value, profile: &str) -> Value {
    json!({
        "seed": 7, "campaigns": 5, "targets_per_campaign": 120, "vouchers": 0, "stations": 0, "notifications": 100,
        "profile": profile, "scenario": scenario,
    })
}

/// The binding of what the latest run asks, as a script finds it; empty where it asks nothing.
pub(crate) fn binding(status: &Output) -> String {
    let told: Value = serde_json::from_str(&stdout(status)).unwrap_or_default();
    told["runs"][0]["binding"].as_str().unwrap_or_default().to_owned()
}

/// How a script finds it.
pub(crate) const STATUS: [&str; 3] = ["status", "@last", "--json"];

impl Desk {
    pub(crate) fn with(world: &Value) -> Self {
        let mut sandbox = Command::new(ALLCLEAR)
            .args(["sandbox", "--virtual", "--exit-when-idle", "900", "--world", &world.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(sandbox.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let url = said["sandbox"].as_str().unwrap().to_owned();
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "default_environment = \"box\"\n[environment.box]\nkind = \"sandbox\"\nurl = \"{url}\"\n"
        );
        std::fs::write(folder.path().join("allclear.toml"), config).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { sandbox, url, folder, runtime }
    }

    /// Whether the sandbox's process is gone.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.sandbox.try_wait().is_ok_and(|ended| ended.is_some())
    }

    /// Adds to the configuration.
    pub(crate) fn configure(&self, more: &str) {
        let path = self.folder.path().join("allclear.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, text + more).unwrap();
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("ALLCLEAR_STATE_DIR", self.state())
            .env_remove("ALLCLEAR_CONFIG")
            .env("ALLCLEAR_OPERATOR", "kim")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn call(&self, args: &[&str]) -> Output {
        self.command(Path::new(ALLCLEAR), args).output().unwrap()
    }

    /// Answers as a script does, which looked at what is asked.
    pub(crate) fn answer(&self, args: &[&str]) -> Output {
        let binding = binding(&self.call(&STATUS));
        self.call(&[args, &["--binding", &binding]].concat())
    }

    /// A new world and a clean state folder.
    pub(crate) fn start_over(&self, world: &Value) {
        let _ = std::fs::remove_dir_all(self.state());
        self.with_control(async |control| control.reset(world).await.unwrap());
    }

    pub(crate) fn with_control<T>(
        &self,
        work: impl AsyncFnOnce(&allclear_clients::sandbox::SandboxControl) -> T,
    ) -> T {
        let control = allclear_clients::sandbox::SandboxControl::at(&self.url).unwrap();
        self.runtime.block_on(work(&control))
    }

    /// Every mutating request that the sandbox saw from us, each with how often. A repetition that changed nothing counts
    /// too; only rows with an id of ours may be sent twice, because their key makes them one.
    pub(crate) fn effects(&self) -> BTreeMap<String, usize> {
        let ledger = self.with_control(async |control| control.ledger().await.unwrap());
        let mut effects = BTreeMap::new();
        for entry in ledger {
            let name = entry["effect"].as_str().unwrap();
            let keyed = ["audit.insert", "voucher.reserve", "voucher.event"].contains(&name);
            if keyed && entry["changed"] == false {
                continue;
            }
            let subject = entry["subject"].as_str().unwrap();
            // What a run says before it acts is no act; its rows are one for each effect.
            if subject.starts_with("allclear_run_effect") {
                continue;
            }
            // What PagerDuty, Slack and the audit log know carries the run's id.
            let subject = match name {
                "slack.post" | "audit.insert" => subject.split(' ').next().unwrap_or(subject),
                name if name.starts_with("pagerduty.") => "incident",
                _ => subject,
            };
            *effects.entry(format!("{name} {subject}")).or_insert(0) += 1;
        }
        effects
    }

    pub(crate) fn digest(&self) -> String {
        let state = self.with_control(async |control| control.state().await.unwrap());
        state["digest"].as_str().unwrap().to_owned()
    }

    /// What matters of the world, without how many tickets the provider has: a second does no harm.
    pub(crate) fn world_without_tickets(&self) -> Value {
        let mut state = self.with_control(async |control| control.state().await.unwrap())["state"].take();
        state["tickets"].take();
        state
    }
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
