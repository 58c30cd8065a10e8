//! What an environment is wired into: ports, a clock, and the sandbox behind them where there is one.

use std::path::PathBuf;
use std::sync::Arc;

use allclear_clients::sandbox::{SandboxClock, SandboxControl};
use allclear_core::{Clock, Platform};
use allclear_engine::sqlite::RunSummary;
use serde_json::{Value, json};

use crate::args::Global;
use crate::clock::SystemClock;
use crate::config::{Config, Environment};
use crate::exit::{CliError, Exit};

/// A wired environment.
#[derive(Debug)]
pub(crate) struct Wired {
    /// Its name.
    pub(crate) name: String,
    /// Its ports.
    pub(crate) platform: Platform,
    /// Its time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Where its sandbox listens.
    pub(crate) sandbox: Option<String>,
}

impl Wired {
    /// The environment that the configuration and the flags name.
    pub(crate) async fn named(global: &Global, artifacts: PathBuf) -> Result<Self, CliError> {
        let (name, environment) = Config::load(global)?.choose(global)?;
        match environment {
            Environment::Sandbox { url } => Self::sandbox(&name, &url, artifacts).await,
            Environment::Staging(platform) | Environment::Production(platform) => {
                let settings = platform.settings(&name, artifacts)?;
                let clock: Arc<dyn Clock> = Arc::new(SystemClock);
                let platform = allclear_clients::connect(settings, &clock)
                    .map_err(|error| CliError::usage(format!("environment.{name}.{error}")))?;
                Ok(Self { name, platform, clock, sandbox: None })
            }
        }
    }

    /// A sandbox at an address.
    pub(crate) async fn sandbox(name: &str, url: &str, artifacts: PathBuf) -> Result<Self, CliError> {
        let config =
            |error: allclear_clients::ConfigError| CliError::usage(format!("environment.{name}: {error}"));
        let clock = SandboxClock::at(url)
            .await
            .map_err(|error| CliError::new(Exit::Unverified, error.to_string()))?;
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let settings = allclear_clients::sandbox::settings(url, artifacts).map_err(config)?;
        let platform = allclear_clients::connect(settings, &clock).map_err(config)?;
        Ok(Self { name: name.to_owned(), platform, clock, sandbox: Some(url.to_owned()) })
    }

    /// The environment that a run was started in.
    pub(crate) async fn of_run(
        global: &Global,
        run: &RunSummary,
        artifacts: PathBuf,
    ) -> Result<Self, CliError> {
        if let Some(url) = run.context["sandbox"].as_str() {
            return Self::sandbox(&run.environment, url, artifacts).await.map_err(|error| {
                CliError::new(
                    error.exit,
                    format!(
                        "{}; the run's sandbox may have ended: end the run with `allclear abort {}`",
                        error.message, run.id
                    ),
                )
            });
        }
        let named = Global { env: Some(run.environment.clone()), ..global.clone() };
        Self::named(&named, artifacts).await
    }

    /// A run's environment whose sandbox has ended, in the machine's time. Good for ending the run and for nothing
    /// else: what it claims would stay claimed for ever.
    pub(crate) fn of_gone_sandbox(run: &RunSummary, url: &str, artifacts: PathBuf) -> Result<Self, CliError> {
        let config = |error: allclear_clients::ConfigError| CliError::usage(error.to_string());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let settings = allclear_clients::sandbox::settings(url, artifacts).map_err(config)?;
        let platform = allclear_clients::connect(settings, &clock).map_err(config)?;
        Ok(Self { name: run.environment.clone(), platform, clock, sandbox: Some(url.to_owned()) })
    }

    /// What a later process needs to find it again; no secrets.
    pub(crate) fn context(&self) -> Value {
        json!({ "sandbox": self.sandbox })
    }

    /// Its sandbox's controls.
    pub(crate) fn control(&self) -> Option<SandboxControl> {
        self.sandbox.as_deref().and_then(|url| SandboxControl::at(url).ok())
    }
}
