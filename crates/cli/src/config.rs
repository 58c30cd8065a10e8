//! `allclear.toml`: read once, at the edge, and passed on as values.
//!
//! Flags win over `ALLCLEAR_*`, these over the project's file, that over the user's, and that over the defaults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use allclear_clients::management::BundleSource;
use allclear_clients::pagerduty::Region;
use allclear_clients::{Credentials, Endpoints, Settings, WhatsAppNumber};
use allclear_core::policy::{QuietHours, SendPolicy};
use allclear_core::ports::{DangerousApprovals, Limits};
use allclear_engine::person::{person, same_person};
use secrecy::SecretString;
use serde::Deserialize;

use crate::args::Global;
use crate::exit::CliError;
use crate::recovery::{RecoverySettings, RecoveryTable};
use crate::secret::Source;

const FILE: &str = "allclear.toml";

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    default_environment: Option<String>,
    #[serde(rename = "environment")]
    environments: BTreeMap<String, Environment>,
}

/// One environment. A drill's sandbox is none of these: it cannot hold what production needs.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Environment {
    /// A sandbox that runs somewhere on this machine.
    Sandbox {
        /// Its address.
        url: String,
        /// Who may approve what; anybody where it is left out.
        approvers: Option<ApproverTable>,
    },
    /// A rehearsal copy of the platform.
    Staging(Box<Platform>),
    /// The platform itself.
    Production(Box<Platform>),
}

/// Everything that a real platform needs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Platform {
    endpoints: EndpointTable,
    credentials: BTreeMap<String, Source>,
    whatsapp: WhatsAppTable,
    pagerduty_from: String,
    /// `us` or `eu`; without it, both addresses stand among the endpoints.
    pagerduty_region: Option<String>,
    #[serde(default = "default_function")]
    send_function: String,
    /// The region that runs it; without it, the platform chooses.
    send_region: Option<String>,
    supabase_project: String,
    /// Functions that may be deployed, by slug.
    #[serde(default)]
    functions: BTreeMap<String, FunctionTable>,
    #[serde(default)]
    approvers: ApproverTable,
    limits: LimitTable,
    /// What the disaster recovery exercise needs, where it is held here.
    recovery: Option<RecoveryTable>,
}

/// Who answers the gates before what cannot be taken back.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ApproverTable {
    dangerous: Vec<String>,
    needed: u8,
    valid_minutes: u16,
    most_messages: Option<u64>,
}

impl Default for ApproverTable {
    fn default() -> Self {
        Self { dangerous: Vec::new(), needed: 1, valid_minutes: 15, most_messages: None }
    }
}

/// For how long a question about something dangerous may stand: at most a week, or what was shown is history.
const VALID_MINUTES: std::ops::RangeInclusive<u16> = 1..=10_080;

impl ApproverTable {
    /// The same for the runbooks. `name` is the environment's, for messages.
    pub(crate) fn approvals(&self, name: &str) -> Result<DangerousApprovals, CliError> {
        let Self { dangerous, needed, valid_minutes, most_messages } = self;
        let wrong = |field: &str, what: String| {
            Err(CliError::usage(format!("environment.{name}.approvers.{field} {what}")))
        };
        for (place, name) in dangerous.iter().enumerate() {
            match person(name) {
                Ok(shown) if shown == *name => {}
                Err(bad) if !name.trim().is_empty() => {
                    return wrong("dangerous", format!("is no list of people: {bad}"));
                }
                _ => {
                    let what = "has an empty name or one with spaces around it; give names such as \"lea\"";
                    return wrong("dangerous", what.to_owned());
                }
            }
            if let Some(earlier) = dangerous[..place].iter().find(|earlier| same_person(earlier, name)) {
                let spelled = if earlier == name { String::new() } else { format!(", as {name} too") };
                return wrong("dangerous", format!("names {earlier} twice{spelled}; name each person once"));
            }
        }
        if *needed == 0 {
            return wrong("needed", "is 0; give 1 or more".to_owned());
        }
        if !dangerous.is_empty() && usize::from(*needed) > dangerous.len() {
            let what = format!(
                "is {needed} and only {} may answer; name more people or need fewer",
                dangerous.join(", ")
            );
            return wrong("needed", what);
        }
        if !VALID_MINUTES.contains(valid_minutes) {
            let why = if *valid_minutes == 0 { ", so that no approval would count" } else { "" };
            let (least, most) = VALID_MINUTES.into_inner();
            return wrong(
                "valid_minutes",
                format!("is {valid_minutes}{why}; give minutes from {least} to {most}"),
            );
        }
        let valid_for = Some(Duration::from_secs(u64::from(*valid_minutes) * 60));
        Ok(DangerousApprovals {
            among: dangerous.clone(),
            needed: *needed,
            valid_for,
            most_messages: *most_messages,
        })
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointTable {
    admin: String,
    supabase: String,
    #[serde(default = "default_management")]
    supabase_management: String,
    graph: String,
    pagerduty_events: Option<String>,
    pagerduty_rest: Option<String>,
    slack: String,
    provider: String,
}

/// The source of a function, pinned.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct FunctionTable {
    folder: PathBuf,
    entrypoint: String,
    sha256: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WhatsAppTable {
    phone_id: String,
    business_account: String,
    canary_number: String,
    canary_template: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitTable {
    recipients_zone: String,
    quiet_start: String,
    quiet_end: String,
    throttle_per_minute: u32,
    #[serde(default = "default_interval")]
    dispatcher_interval_seconds: u64,
    #[serde(default = "default_batch")]
    dispatcher_batch: u32,
    #[serde(default)]
    status_page_is_safe: bool,
    ops_channel: String,
    #[serde(default = "default_data_ops_channel")]
    data_ops_channel: String,
    #[serde(default = "default_vendor_channel")]
    vendor_channel: String,
    #[serde(default = "default_preview_function")]
    preview_function: String,
    #[serde(default = "default_dispatch_function")]
    dispatch_function: String,
}

fn default_management() -> String {
    "https://api.supabase.com".to_owned()
}

fn default_data_ops_channel() -> String {
    "#data-ops".to_owned()
}

fn default_vendor_channel() -> String {
    "#vendor-support".to_owned()
}

fn default_preview_function() -> String {
    "voucher-preview".to_owned()
}

fn default_dispatch_function() -> String {
    "campaign-dispatch".to_owned()
}

fn default_function() -> String {
    "wa-send-media".to_owned()
}

fn default_interval() -> u64 {
    60
}

fn default_batch() -> u32 {
    40
}

impl Config {
    /// Reads the file that counts; no file is an empty configuration.
    pub(crate) fn load(global: &Global) -> Result<Self, CliError> {
        let Some(path) = path_of(global)? else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(&path)
            .map_err(|error| CliError::usage(format!("{} cannot be read: {error}", path.display())))?;
        toml::from_str(&text).map_err(|error| {
            // Line and key, and never the line's text: somebody may have written a credential there.
            let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            // An environment is read as a whole, so what is wrong in it is found at its heading.
            let place = line.map_or_else(String::new, |line| format!(" at or below line {line}"));
            CliError::usage(format!("{}{place}: {}", path.display(), error.message().replace('\n', ", ")))
        })
    }

    /// The environment to act in. Production is never a default.
    pub(crate) fn choose(&self, global: &Global) -> Result<(String, Environment), CliError> {
        let known = || match self.environments.len() {
            0 => format!(
                "no environment is configured; write one into {FILE}, or practise with `allclear drill`"
            ),
            _ => format!(
                "the configured ones are {}",
                self.environments.keys().cloned().collect::<Vec<_>>().join(", ")
            ),
        };
        // Read here and not by the parser of flags, which would not tell a flag from a variable exported last week.
        let variable = std::env::var("ALLCLEAR_ENV").ok().filter(|name| !name.is_empty());
        let name = global.env.as_ref().or(variable.as_ref()).or(self.default_environment.as_ref());
        let name = name
            .ok_or_else(|| CliError::usage(format!("no environment was named (--env NAME); {}", known())))?;
        let found = self.environments.get(name);
        let environment =
            found.ok_or_else(|| CliError::usage(format!("there is no environment `{name}`; {}", known())))?;
        if let Environment::Production(platform) = environment
            && platform.recovery.is_some()
        {
            let message = format!(
                "environment.{name}.recovery stands in a production environment, and the exercise restores into the \
                 environment it stands in; move it to the staging environment"
            );
            return Err(CliError::usage(message));
        }
        if matches!(environment, Environment::Production(_)) && global.env.is_none() {
            let message =
                format!("`{name}` is production, which is never a default; name it with --env {name}");
            return Err(CliError::usage(message));
        }
        Ok((name.clone(), environment.clone()))
    }
}

impl Environment {
    /// Which platform it leads to. Needs no credential.
    fn identity(&self) -> String {
        match self {
            Self::Sandbox { url, .. } => {
                let supabase = format!("{}/supabase", url.trim_end_matches('/'));
                allclear_clients::identity(&supabase, "", "")
            }
            Self::Staging(platform) | Self::Production(platform) => {
                let EndpointTable { supabase, supabase_management, .. } = &platform.endpoints;
                allclear_clients::identity(supabase, supabase_management, &platform.supabase_project)
            }
        }
    }
}

impl Config {
    /// Which platform an environment leads to; `None` where there is no such environment.
    pub(crate) fn platform_of(&self, environment: &str) -> Option<String> {
        self.environments.get(environment).map(Environment::identity)
    }

    /// Which environments lead to the same platform, by pairs of names: one platform with two tables of approvers is easily
    /// acted on by the laxer one.
    pub(crate) fn same_platforms(&self) -> Vec<String> {
        let mut named: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (name, environment) in &self.environments {
            named.entry(environment.identity()).or_default().push(name);
        }
        let twice = named.into_iter().filter(|(_, names)| names.len() > 1);
        let text = |(platform, environments): (String, Vec<&str>)| {
            let quoted: Vec<String> = environments.iter().map(|name| format!("`{name}`")).collect();
            format!("{} are names of the same platform ({platform})", quoted.join(" and "))
        };
        twice.map(text).collect()
    }
}

/// Which file counts: the named one, the project's (here or above), the user's.
fn path_of(global: &Global) -> Result<Option<PathBuf>, CliError> {
    if let Some(path) = &global.config {
        return Ok(Some(path.clone()));
    }
    let here = std::env::current_dir().map_err(|error| CliError::internal(error.to_string()))?;
    let project = here.ancestors().map(|folder| folder.join(FILE)).find(|path| path.is_file());
    let user = user_folder("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("allclear").join(FILE));
    Ok(project.or_else(|| user.filter(|path| path.is_file())))
}

/// Where runs are kept: named, or beside the project's file, or in the user's state folder.
pub(crate) fn state_dir(global: &Global) -> PathBuf {
    if let Some(folder) = &global.state_dir {
        return folder.clone();
    }
    let project = path_of(global).ok().flatten().and_then(|path| path.parent().map(Path::to_path_buf));
    match project.or_else(|| std::env::current_dir().ok()) {
        Some(folder) => folder.join(".allclear"),
        None => user_folder("XDG_STATE_HOME", ".local/state").unwrap_or_default().join("allclear"),
    }
}

fn user_folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    named.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(below_home)))
}

impl FunctionTable {
    fn source(&self) -> BundleSource {
        BundleSource::Folder {
            folder: self.folder.clone(),
            entrypoint: self.entrypoint.clone(),
            sha256: self.sha256.clone(),
        }
    }
}

impl Platform {
    /// The clients' settings, secrets included. `name` is the environment's, for messages.
    pub(crate) fn settings(&self, name: &str, artifacts: PathBuf) -> Result<Settings, CliError> {
        let invalid = |error: allclear_core::error::InvalidValue| {
            CliError::usage(format!("environment.{name}: {error}"))
        };
        let limits = &self.limits;
        let quiet_hours = QuietHours::parse(&limits.quiet_start, &limits.quiet_end).map_err(invalid)?;
        jiff::tz::TimeZone::get(&limits.recipients_zone).map_err(|_| {
            let zone = &limits.recipients_zone;
            CliError::usage(format!("environment.{name}.limits.recipients_zone `{zone}` is no time zone; give one such as Africa/Kigali"))
        })?;
        if limits.throttle_per_minute == 0 {
            let field = format!("environment.{name}.limits.throttle_per_minute");
            return Err(CliError::usage(format!(
                "{field} is 0, which the platform takes for unlimited; give 1 or more"
            )));
        }
        let numbers = [
            ("throttle_per_minute", u64::from(limits.throttle_per_minute), 100_000),
            ("dispatcher_interval_seconds", limits.dispatcher_interval_seconds, 86_400),
            ("dispatcher_batch", u64::from(limits.dispatcher_batch), 100_000),
        ];
        for (field, value, most) in numbers {
            if !(1..=most).contains(&value) {
                let field = format!("environment.{name}.limits.{field}");
                return Err(CliError::usage(format!("{field} is {value}; give a number from 1 to {most}")));
            }
        }
        let endpoints = &self.endpoints;
        Ok(Settings {
            endpoints: Endpoints {
                admin: endpoints.admin.clone(),
                supabase: endpoints.supabase.clone(),
                supabase_management: endpoints.supabase_management.clone(),
                graph: endpoints.graph.clone(),
                pagerduty: self.pagerduty(name)?,
                slack: endpoints.slack.clone(),
                provider: endpoints.provider.clone(),
            },
            credentials: Credentials {
                admin_token: self.secret(name, "admin_token")?,
                service_key: self.secret(name, "service_key")?,
                management_token: self.secret(name, "management_token")?,
                graph_token: self.secret(name, "graph_token")?,
                pagerduty_rest_key: self.secret(name, "pagerduty_rest_key")?,
                pagerduty_routing_key: self.secret(name, "pagerduty_routing_key")?,
                slack_token: self.secret(name, "slack_token")?,
                slack_webhook: self
                    .credentials
                    .contains_key("slack_webhook")
                    .then(|| self.secret(name, "slack_webhook"))
                    .transpose()?,
                provider_token: self.secret(name, "provider_token")?,
            },
            whatsapp: WhatsAppNumber {
                phone_id: self.whatsapp.phone_id.clone(),
                business_account: self.whatsapp.business_account.clone(),
                canary: self.whatsapp.canary_number.parse().map_err(invalid)?,
                canary_template: self.whatsapp.canary_template.clone(),
            },
            pagerduty_from: self.pagerduty_from.clone(),
            send_function: self.send_function.clone(),
            send_region: self.send_region.clone(),
            supabase_project: self.supabase_project.clone(),
            bundles: self.functions.iter().map(|(slug, table)| (slug.clone(), table.source())).collect(),
            timeout: Duration::from_secs(15),
            max_body: 8 << 20,
            pace: Duration::from_millis(20),
            limits: Limits {
                recipients_zone: limits.recipients_zone.clone(),
                default_policy: SendPolicy { quiet_hours, throttle_per_minute: limits.throttle_per_minute },
                dispatcher_interval: Duration::from_secs(limits.dispatcher_interval_seconds),
                dispatcher_batch: limits.dispatcher_batch,
                status_page_is_safe: limits.status_page_is_safe,
                ops_channel: limits.ops_channel.clone(),
                data_ops_channel: limits.data_ops_channel.clone(),
                vendor_channel: limits.vendor_channel.clone(),
                preview_function: limits.preview_function.clone(),
                dispatch_function: limits.dispatch_function.clone(),
                dangerous: self.approvers.approvals(name)?,
            },
            // Whatever its addresses are, what is configured as staging or production is never rehearsed on.
            rehearsal: None,
            artifacts,
        })
    }

    /// What the disaster recovery exercise is told; `None` where this environment holds none.
    pub(crate) fn recovery(&self, name: &str) -> Result<Option<RecoverySettings>, CliError> {
        self.recovery.as_ref().map(|table| table.settings(name)).transpose()
    }

    /// An account lives in one region, so that is said, or both addresses are; and never both, which could contradict.
    fn pagerduty(&self, name: &str) -> Result<Region, CliError> {
        let EndpointTable { pagerduty_events: events, pagerduty_rest: rest, .. } = &self.endpoints;
        match (&self.pagerduty_region, events, rest) {
            (Some(region), None, None) => {
                region.parse().map_err(|error| CliError::usage(format!("environment.{name}: {error}")))
            }
            (None, Some(events), Some(rest)) => {
                Ok(Region::Custom { events: events.clone(), rest: rest.clone() })
            }
            _ => Err(CliError::usage(format!(
                "environment.{name}: give pagerduty_region (\"us\" or \"eu\"), or both endpoints.pagerduty_events and \
                 endpoints.pagerduty_rest, and not the one and the other"
            ))),
        }
    }

    fn secret(&self, name: &str, field: &str) -> Result<SecretString, CliError> {
        let key = format!("environment.{name}.credentials.{field}");
        let source = self.credentials.get(field);
        let source = source.ok_or_else(|| {
            CliError::usage(format!(
                "{key} is missing; give {{ env = \"VARIABLE\" }} or {{ file = \"path\" }}"
            ))
        })?;
        source.read(&key)
    }
}
