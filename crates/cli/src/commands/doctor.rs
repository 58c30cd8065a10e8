//! `doctor`: what is missing or unreachable, without showing any of it.

use std::path::PathBuf;

use serde_json::json;

use super::here::store;
use crate::args::Global;
use crate::config::{Config, state_dir};
use crate::environment::Wired;
use crate::exit::{CliError, Exit};
use crate::output;

struct Finding {
    what: &'static str,
    problem: Option<String>,
}

pub(super) async fn doctor(global: &Global) -> Result<Exit, CliError> {
    let mut findings = vec![Finding {
        what: "configuration",
        problem: Config::load(global).err().map(|error| error.message),
    }];
    findings.extend(check_here(global));
    match Wired::named(global, PathBuf::from(".")).await {
        Err(error) => findings.push(Finding { what: "environment", problem: Some(error.message) }),
        Ok(on) => {
            findings.push(Finding { what: "environment", problem: None });
            findings.extend(check_services(&on).await);
        }
    }
    Ok(tell(global, &findings))
}

/// What a drill needs: a place for its run, and a sandbox that starts. It needs no configuration.
pub(super) async fn for_a_drill(global: &Global) -> Result<Exit, CliError> {
    let mut findings = check_here(global);
    findings.push(Finding {
        what: "sandbox",
        problem: check_sandbox(global).await.err().map(|error| error.message),
    });
    Ok(tell(global, &findings))
}

/// What every run needs of this machine.
fn check_here(global: &Global) -> Vec<Finding> {
    let stop = store(global).and_then(|store| Ok(store.stopped()?));
    vec![
        Finding { what: "store of runs", problem: check_store(global).err().map(|error| error.message) },
        Finding {
            what: "stop switch",
            problem: stop.ok().flatten().map(|stop| format!("{stop}; lift it with `allclear lift-stop`")),
        },
    ]
}

/// Starts a small sandbox, asks it something, and ends it.
async fn check_sandbox(global: &Global) -> Result<(), CliError> {
    let small = allclear_sandbox::WorldSpec {
        campaigns: 1,
        targets_per_campaign: 1,
        ..allclear_sandbox::WorldSpec::default()
    };
    let url = crate::sandbox::start(&small, None)?;
    let on = Wired::sandbox(global, "sandbox", &url, PathBuf::from(".")).await?;
    let on = Wired { ends_with_run: true, ..on };
    let problem = check_services(&on).await.into_iter().find_map(|finding| finding.problem);
    on.stop_with_run().await;
    problem.map_or(Ok(()), |problem| Err(CliError::new(Exit::Unverified, problem)))
}

fn tell(global: &Global, findings: &[Finding]) -> Exit {
    let bad = findings.iter().filter(|finding| finding.problem.is_some()).count();
    if global.json {
        let all: Vec<_> = findings
            .iter()
            .map(|f| json!({ "what": f.what, "ok": f.problem.is_none(), "problem": f.problem }))
            .collect();
        output::document("doctor", json!({ "state_dir": state_dir(global), "findings": all }));
    } else {
        for finding in findings {
            let line =
                finding.problem.as_ref().map_or_else(|| "ok".to_owned(), |problem| format!("✗ {problem}"));
            output::result(&format!("{:<20} {line}", finding.what));
        }
    }
    if bad == 0 { Exit::Verified } else { Exit::Unverified }
}

/// Opens the store and reads every journal in it.
fn check_store(global: &Global) -> Result<(), CliError> {
    let store = store(global)?;
    for run in store.runs()? {
        store.entries(&run.id)?;
    }
    Ok(())
}

/// One harmless read for each service.
async fn check_services(on: &Wired) -> Vec<Finding> {
    let platform = &on.platform;
    let nobody = uuid::Uuid::nil();
    let epoch = jiff::Timestamp::UNIX_EPOCH;
    let problem = |result: Result<(), allclear_core::PortError>| result.err().map(|error| error.to_string());
    vec![
        Finding { what: "Supabase project", problem: project_problem(platform).await },
        Finding { what: "Supabase", problem: problem(platform.audit.find(nobody).await.map(drop)) },
        Finding {
            what: "admin API",
            problem: problem(
                platform.campaigns.changes_since(allclear_core::CampaignId(nobody), epoch).await.map(drop),
            ),
        },
        Finding { what: "WhatsApp", problem: problem(platform.whatsapp.health().await.map(drop)) },
        Finding {
            what: "PagerDuty",
            problem: problem(platform.paging.find("allclear-doctor").await.map(drop)),
        },
        Finding {
            what: "Slack",
            problem: problem(
                platform.chat.find(&platform.limits.ops_channel, "allclear-doctor").await.map(drop),
            ),
        },
    ]
}

/// What is wrong with the project that all this runs in, by its host: named before the services that it takes down.
async fn project_problem(platform: &allclear_core::Platform) -> Option<String> {
    let status = match platform.project.status().await {
        Ok(status) => status,
        Err(error) => return Some(error.to_string()),
    };
    let project = platform.functions.project();
    let advice = status.advice().map(|advice| format!("{project} is {status}: {advice}"));
    // A project that is down has no health to ask for; of one that is up, each service has its own.
    if advice.is_some() && status != allclear_core::project::ProjectStatus::Unhealthy {
        return advice;
    }
    let health = match platform.project.health().await {
        Ok(health) => health,
        Err(error) => return Some(advice.unwrap_or_else(|| error.to_string())),
    };
    let ill: Vec<String> = health.iter().filter(|one| !one.is_healthy()).map(ToString::to_string).collect();
    if ill.is_empty() {
        return advice;
    }
    let ill = ill.join(", ");
    Some(format!(
        "{project} is {status}, and {ill}; see Supabase's dashboard and status page, and act when it is well again"
    ))
}
