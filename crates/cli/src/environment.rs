//! What an environment is wired into: ports, a clock, and the sandbox behind them where there is one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use allclear_clients::sandbox::{SandboxClock, SandboxControl};
use allclear_core::platform::Recovery;
use allclear_core::ports::DangerousApprovals;
use allclear_core::recovery::Watcher;
use allclear_core::{Clock, HeardTimes, Observed, Platform, PlatformClock, Times};
use allclear_engine::sqlite::RunSummary;
use serde_json::{Value, json};

use crate::args::Global;
use crate::clock::SystemClock;
use crate::config::{Config, Environment};
use crate::exercise::recovery;
use crate::exit::{CliError, Exit};
use crate::output::say;
use crate::progress::ProgressLine;
use crate::recovery::RecoverySettings;
use crate::stage::StageMap;

/// A wired environment.
#[derive(Debug, Clone)]
pub(crate) struct Wired {
    /// Its name.
    pub(crate) name: String,
    /// Its ports.
    pub(crate) platform: Platform,
    /// Its time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Where its sandbox listens.
    pub(crate) sandbox: Option<String>,
    /// Whether that sandbox was started for one drill, and ends with its run.
    pub(crate) ends_with_run: bool,
    /// Where the databases and buckets of a drilled exercise are.
    pub(crate) stage: Option<StageMap>,
}

/// Where dumps, downloads and ledgers of a run lie: beside its files, so that a resumed run finds them.
fn work_beside(artifacts: &Path) -> PathBuf {
    artifacts.with_file_name("work")
}

fn watcher(global: &Global) -> Arc<dyn Watcher> {
    Arc::new(ProgressLine::new(global.json))
}

impl Wired {
    /// The environment that the configuration and the flags name.
    pub(crate) async fn named(global: &Global, artifacts: PathBuf) -> Result<Self, CliError> {
        let (name, environment) = Config::load(global)?.choose(global)?;
        match environment {
            Environment::Sandbox { url, approvers } => {
                let approvers = approvers.map(|table| table.approvals(&name)).transpose()?;
                let wired = Self::sandbox(global, &name, &url, artifacts).await?;
                Ok(wired.with_approvers(approvers.unwrap_or_default()))
            }
            Environment::Staging(platform) | Environment::Production(platform) => {
                let work = work_beside(&artifacts);
                let settings = platform.settings(&name, artifacts)?;
                let clock: Arc<dyn Clock> = Arc::new(SystemClock);
                let recovery = match platform.recovery(&name)? {
                    Some(told) => Some(recovery(&told, &settings, &work, &clock, &watcher(global))?),
                    None => None,
                };
                let platform = allclear_clients::connect(settings, &clock)
                    .map_err(|error| CliError::usage(format!("environment.{name}.{error}")))?;
                let platform = allclear_core::Platform { recovery, ..platform };
                // What its rows carry is its time; ours may be anything.
                platform.times.look().await;
                let clock: Arc<dyn Clock> = Arc::new(PlatformClock::over(clock, Arc::clone(&platform.times)));
                Ok(Self { name, platform, clock, sandbox: None, ends_with_run: false, stage: None })
            }
        }
    }

    /// The exercise's ports and what it is told, for an environment that holds one; a drill's are gone with its drill.
    pub(crate) fn recovery(
        global: &Global,
        artifacts: PathBuf,
    ) -> Result<(Recovery, RecoverySettings), CliError> {
        let (name, environment) = Config::load(global)?.choose(global)?;
        let none = || CliError::usage(format!("no exercise is configured: [environment.{name}.recovery]"));
        let (Environment::Staging(platform) | Environment::Production(platform)) = environment else {
            return Err(none());
        };
        let told = platform.recovery(&name)?.ok_or_else(none)?;
        let work = work_beside(&artifacts);
        let settings = platform.settings(&name, artifacts)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok((recovery(&told, &settings, &work, &clock, &watcher(global))?, told))
    }

    /// A sandbox at an address.
    pub(crate) async fn sandbox(
        global: &Global,
        name: &str,
        url: &str,
        artifacts: PathBuf,
    ) -> Result<Self, CliError> {
        let config =
            |error: allclear_clients::ConfigError| CliError::usage(format!("environment.{name}: {error}"));
        let unreachable = |error: String| CliError::new(Exit::Unverified, error);
        let clock = SandboxClock::at(url).await.map_err(|error| unreachable(error.to_string()))?;
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let work = work_beside(&artifacts);
        let settings = allclear_clients::sandbox::settings(url, artifacts).map_err(config)?;
        let stage = SandboxControl::at(url).map_err(config)?.stage().await;
        let stage = stage.map_err(|error| unreachable(error.to_string()))?;
        let stage: Option<StageMap> = serde_json::from_value(stage)
            .map_err(|error| CliError::internal(format!("the sandbox's stage cannot be read: {error}")))?;
        let recovery = match &stage {
            Some(stage) => Some(stage.recovery(&settings, &work, &clock, &watcher(global))?),
            None => None,
        };
        let platform = allclear_clients::connect(settings, &clock).map_err(config)?;
        // A sandbox is asked for its time and is moved in it: there is no other clock to compare with.
        let times = Arc::new(HeardTimes::default());
        let platform = allclear_core::Platform { recovery, times, ..platform };
        let sandbox = Some(url.to_owned());
        Ok(Self { name: name.to_owned(), platform, clock, sandbox, ends_with_run: false, stage })
    }

    fn with_approvers(mut self, approvers: DangerousApprovals) -> Self {
        self.platform.limits.dangerous = approvers;
        self
    }

    /// The environment that a run was started in.
    pub(crate) async fn of_run(
        global: &Global,
        run: &RunSummary,
        artifacts: PathBuf,
    ) -> Result<Self, CliError> {
        if let Some(url) = run.context["sandbox"].as_str() {
            let ends_with_run = run.context["ends_with_run"] == true;
            // Whoever may approve a run stays the same, whatever the file says by now.
            let approvers = approvers_of(run)?;
            let wired = Self::sandbox(global, &run.environment, url, artifacts).await;
            let wired = wired.map(|on| Self { ends_with_run, ..on }.with_approvers(approvers));
            return wired.map_err(|error| {
                CliError::new(
                    error.exit,
                    format!(
                        "{}; the run's sandbox may have ended: end the run with `allclear abort {}`",
                        error.message, run.id
                    ),
                )
            });
        }
        let approvers = approvers_of(run)?;
        let named = Global { env: Some(run.environment.clone()), ..global.clone() };
        Ok(Self::named(&named, artifacts).await?.with_approvers(approvers))
    }

    /// The time that a run lives in. Needs no credentials: whoever answers a gate may have none, and must be able to answer
    /// when every service is down.
    pub(crate) async fn clock_of(run: &RunSummary) -> Result<Arc<dyn Clock>, CliError> {
        let Some(url) = run.context["sandbox"].as_str() else {
            // As far from this machine's as it was when the run began.
            let observed: Option<Observed> =
                serde_json::from_value(run.context["clock"].clone()).ok().flatten();
            let heard = observed.map_or_else(HeardTimes::default, HeardTimes::of);
            return Ok(Arc::new(PlatformClock::over(Arc::new(SystemClock), Arc::new(heard))));
        };
        let clock = SandboxClock::at(url).await.map_err(|error| {
            CliError::new(
                Exit::Unverified,
                format!("the run's sandbox has ended, and its time with it: {error}"),
            )
        })?;
        Ok(Arc::new(clock))
    }

    /// A run's environment whose sandbox has ended, in the machine's time. Good for ending the run and for nothing
    /// else: what it claims would stay claimed for ever.
    pub(crate) fn of_gone_sandbox(run: &RunSummary, url: &str, artifacts: PathBuf) -> Result<Self, CliError> {
        let config = |error: allclear_clients::ConfigError| CliError::usage(error.to_string());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let settings = allclear_clients::sandbox::settings(url, artifacts).map_err(config)?;
        let platform = allclear_clients::connect(settings, &clock).map_err(config)?;
        let (name, sandbox) = (run.environment.clone(), Some(url.to_owned()));
        Ok(Self { name, platform, clock, sandbox, ends_with_run: false, stage: None })
    }

    /// How its services' clocks stand beside ours.
    pub(crate) fn times(&self) -> Times {
        Times(self.platform.times.observed())
    }

    /// Refuses where there is no time to ask windows in, and says how far our clock is out where it is.
    pub(crate) fn check_clocks(&self) -> Result<(), CliError> {
        let times = self.times();
        times.check().map_err(|error| CliError::new(Exit::Refused, error.to_string()))?;
        for line in times.worth_telling() {
            say(&format!("{line}; the run lives in the platform's time"));
        }
        if self.sandbox.is_none() && times.of_platform().is_none() {
            say(
                "no service of the platform answered with its time, so our clock could not be compared with it",
            );
        }
        Ok(())
    }

    /// What a later process needs to find it again; no secrets.
    pub(crate) fn context(&self) -> Value {
        let approvers = &self.platform.limits.dangerous;
        let clock = self.times().of_platform();
        json!({ "sandbox": self.sandbox, "ends_with_run": self.ends_with_run, "approvers": approvers, "clock": clock })
    }

    /// Stops its sandbox, where that was started for the run that ended.
    pub(crate) async fn stop_with_run(&self) {
        if let Some(control) = self.control().filter(|_| self.ends_with_run) {
            // It ends by itself when nobody asks any more, should this not reach it.
            let _ = control.shutdown().await;
        }
    }

    /// Keeps the documents that a drilled exercise wrote: its stage is taken down with the sandbox.
    pub(crate) fn keep_documents(&self, folder: &Path) -> Result<(), CliError> {
        let Some(stage) = &self.stage else { return Ok(()) };
        copy_folder(&stage.documents, &folder.join("documents"))
            .map_err(|error| CliError::internal(format!("the documents cannot be kept: {error}")))
    }

    /// Its sandbox's controls.
    pub(crate) fn control(&self) -> Option<SandboxControl> {
        self.sandbox.as_deref().and_then(|url| SandboxControl::at(url).ok())
    }
}

/// Who may approve what in a run, as it was when the run began. What cannot be read is nobody's leave: an empty table would be
/// anybody's.
fn approvers_of(run: &RunSummary) -> Result<DangerousApprovals, CliError> {
    let kept = run.context.get("approvers").cloned().unwrap_or(Value::Null);
    serde_json::from_value(kept).map_err(|error| {
        CliError::new(
            Exit::Refused,
            format!(
                "who may approve what in run {} cannot be read ({error}), and without that nobody may; restore the state \
                 folder from a copy, or end the run with: allclear abort {}",
                run.id, run.id
            ),
        )
    })
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
