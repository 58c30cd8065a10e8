//! The project, its health and its backups in Supabase's Management API, and the sandbox's own: requests that the vendor's
//! description rejects are rejected there too, and what the sandbox answers validates.

use std::path::Path;
use std::sync::Arc;

use allclear_clients::management::Management;
use allclear_core::ports::BackupHost as _;
use allclear_core::project::ProjectStatus;
use allclear_core::{Clock, Platform, VirtualClock};
use allclear_sandbox::{MANAGEMENT_TOKEN, PROJECT, Profile, Sandbox, Scenario, WorldSpec};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::front::{Front, Then, answer};
use crate::meaning::{self, Meaning};
use crate::prism::{Prism, raw};
use crate::supabase::{self, DEPLOY, FUNCTION, LOGS, OLDER_LOGS};
use crate::{Check, platform, settings, specs};

const PROJECT_PATH: &str = "/v1/projects/{ref}";
const HEALTH: &str = "/v1/projects/{ref}/health";
const BACKUPS: &str = "/v1/projects/{ref}/database/backups";

/// The three reads, at one place.
struct Reads {
    platform: Platform,
    backups: Management,
}

impl Reads {
    fn at(base: &str) -> Self {
        let settings = settings(|endpoints| base.clone_into(&mut endpoints.supabase_management));
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock::at(Timestamp::UNIX_EPOCH));
        let backups = Management::of_project(&settings, &settings.supabase_project, &clock)
            .expect("the settings are valid");
        let platform = platform(|endpoints| base.clone_into(&mut endpoints.supabase_management));
        Self { platform, backups }
    }

    /// What each comes to, with its path in the description.
    async fn all(&self) -> [(&'static str, Meaning); 3] {
        [
            (PROJECT_PATH, meaning::of(&self.platform.project.status().await)),
            (HEALTH, meaning::of(&self.platform.project.health().await)),
            (BACKUPS, meaning::of(&self.backups.hosted_backups().await)),
        ]
    }
}

/// All paths that we call, with samples where the description's own would be no answer to our question.
fn description(folder: &Path) -> Result<Value, String> {
    let paths = [PROJECT_PATH, HEALTH, BACKUPS, FUNCTION, DEPLOY, LOGS, OLDER_LOGS].map(|path| (path, path));
    let mut spec = specs::excerpt(&specs::read(&folder.join("supabase-management.fixed.json")), &paths);
    let row = |name: &str| json!({ "name": name, "healthy": true, "status": "ACTIVE_HEALTHY" });
    let health = &mut spec["paths"][HEALTH]["get"]["responses"]["200"]["content"]["application/json"];
    health["example"] = json!([row("auth"), row("db"), row("rest"), row("storage")]);
    let schema = &mut spec["components"]["schemas"]["V1BackupsResponse"]["properties"]["backups"];
    let inserted_at = &mut schema["items"]["properties"]["inserted_at"];
    if !inserted_at.is_object() {
        return Err("V1BackupsResponse has no inserted_at any more".to_owned());
    }
    inserted_at["example"] = json!("2026-11-22T03:00:00.123+00:00");
    Ok(spec)
}

/// Each read in every answer that the contract knows.
pub(crate) async fn reads_are_legal_and_every_answer_has_a_meaning(folder: &Path) -> Check {
    let spec = description(folder)?;
    let prism = Prism::serve("supabase-project", &spec)?;
    let to = |wanting| Then::Forward { to: prism.base.clone(), wanting };
    let front = Front::start(to(None)).await;
    let reads = Reads::at(&front.base);
    for (path, meant) in reads.all().await {
        if meant != Meaning::Done {
            return Err(format!("{path} came to {meant:?}; the contract server says:\n{}", prism.said()));
        }
    }
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for status in [400, 401, 402, 403, 404, 429, 500, 503, 544] {
        for asked in [PROJECT_PATH, HEALTH, BACKUPS] {
            let json = [("content-type".to_owned(), "application/json; charset=utf-8".to_owned())];
            let known = specs::statuses(&spec, asked, "get").contains(&status);
            front.now(if known {
                to(Some(status))
            } else {
                Then::Answer(answer(status, &json, r#"{"message":"something else"}"#))
            });
            let found = reads.all().await.into_iter().find(|(path, _)| *path == asked);
            let meant = found.map(|(_, meant)| meant);
            let expected = meaning::of_status(status, false);
            if meant != Some(expected) {
                wrong.push(format!("{asked}, {status}: {meant:?}, and it should be {expected:?}"));
            }
            checked += 1;
        }
    }
    if checked != 27 {
        wrong.push(format!("{checked} answers were checked"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Every recorded reply to just these reads.
pub(crate) async fn recorded_replies_are_read(folder: &Path) -> Check {
    let front = Front::start(Then::Answer(String::new())).await;
    let reads = Reads::at(&front.base);
    let (mut wrong, mut projects, mut lists) = (Vec::new(), 0, 0);
    for (path, (name, status, headers, body)) in supabase::recorded_reads(&folder.join("supabase-recorded"))?
    {
        front.now(Then::Answer(answer(status, &headers, &body)));
        let expected = meaning::of_status(status, false);
        let meant = if path.ends_with("/database/backups") {
            lists += usize::from(status == 200);
            meaning::of(&reads.backups.hosted_backups().await)
        } else {
            projects += usize::from(status == 200);
            let found = reads.platform.project.status().await;
            let recorded: Value = serde_json::from_str(&body).unwrap_or_default();
            let is_read = match &found {
                Ok(ProjectStatus::Other(_)) => false,
                Ok(status) => recorded["status"] == status.as_str(),
                Err(_) => true,
            };
            if !is_read {
                wrong.push(format!("{name}: {found:?}"));
            }
            meaning::of(&found)
        };
        if meant != expected {
            wrong.push(format!("{name} ({status}): {meant:?}, and it should be {expected:?}"));
        }
    }
    if projects < 50 || lists < 3 {
        wrong.push(format!("only {projects} projects and {lists} lists of backups were recorded"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// All our calls of the Management API through a server that refuses what breaks the description on either side, and requests
/// that it refuses.
pub(crate) async fn the_sandbox_keeps_the_contract(folder: &Path) -> Check {
    let spec = description(folder)?;
    let start: Timestamp = "2026-11-23T09:00:00Z".parse().map_err(|error| format!("{error}"))?;
    let world = WorldSpec { profile: Profile::Target, scenario: Scenario::Healthy, ..WorldSpec::default() };
    let sandbox = Sandbox::start_virtual(world, Arc::new(VirtualClock::at(start)))
        .await
        .map_err(|error| error.to_string())?;
    let base = format!("{}/supabase-management", sandbox.base_url());
    let prism = Prism::before("supabase-sandbox", &spec, &base)?;
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::at(start));
    let mut settings = settings(|endpoints| prism.base.clone_into(&mut endpoints.supabase_management));
    PROJECT.clone_into(&mut settings.supabase_project);
    let backups = Management::of_project(&settings, PROJECT, &clock).map_err(|error| error.to_string())?;
    let platform = allclear_clients::connect(settings, &clock).map_err(|error| error.to_string())?;
    let functions = &platform.functions;
    let results = [
        ("the project", meaning::of(&platform.project.status().await)),
        ("its health", meaning::of(&platform.project.health().await)),
        ("its backups", meaning::of(&backups.hosted_backups().await)),
        ("a function", meaning::of(&functions.find("voucher-preview").await)),
        ("a deployment", meaning::of(&functions.deploy("voucher-preview", &supabase::bundle()).await)),
        ("the log of calls", meaning::of(&functions.calls_since("voucher-preview", start).await)),
    ];
    for (what, meant) in results {
        if meant != Meaning::Done {
            return Err(format!("{what} came to {meant:?}; the contract server says:\n{}", prism.said()));
        }
    }
    refuses_alike(&spec, &base)
}

/// What the description refuses, the sandbox does.
fn refuses_alike(spec: &Value, sandbox: &str) -> Check {
    let prism = Prism::serve("supabase-refusals", spec)?;
    let token = format!("authorization: Bearer {MANAGEMENT_TOKEN}\r\n");
    let at = |rest: &str| format!("/v1/projects/{PROJECT}{rest}");
    let requests = [
        ("GET", at(""), ""),
        ("GET", at("/health?services=db"), ""),
        ("GET", at("/database/backups"), ""),
        ("GET", at("/functions/voucher-preview"), ""),
        ("GET", "/v1/projects/Wrong".to_owned(), token.as_str()),
        ("GET", "/v1/projects/short/database/backups".to_owned(), &token),
        ("GET", at("/health"), &token),
        ("GET", at("/health?services=kitchen"), &token),
        ("GET", at("/health?services=db&services=kitchen"), &token),
        ("GET", at("/health?services=db&timeout_ms=10001"), &token),
        ("GET", at("/health?services=db&timeout_ms=soon"), &token),
        ("GET", at("/functions/%20"), &token),
        ("POST", at("/functions/deploy?slug=x"), &token),
    ];
    let (authority, prefix) = sandbox.rsplit_once('/').unwrap_or((sandbox, ""));
    let mut wrong = Vec::new();
    for (method, path, headers) in requests {
        let description = prism.raw(method, &path, headers, "{}");
        let ours = raw(authority, method, &format!("/{prefix}{path}"), headers, "{}");
        if description < 400 || !(400..500).contains(&ours) {
            wrong.push(format!("{method} {path}: the description answers {description}, the sandbox {ours}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
