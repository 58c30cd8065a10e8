//! `doctor`: what is missing or unreachable, without showing any of it.

use std::path::PathBuf;

use allclear_core::target::TargetRange;
use allclear_core::{CampaignId, Platform, PortError, QueueRows, Times, VoucherId};
use serde_json::json;

use super::here::store;
use crate::args::Global;
use crate::config::{Config, state_dir};
use crate::environment::Wired;
use crate::exit::{CliError, Exit};
use crate::output;
use crate::owner;

struct Finding {
    what: &'static str,
    problem: Option<String>,
}

/// Things that are no problem and that people want to know.
type Remarks = Vec<String>;

pub(super) async fn doctor(global: &Global) -> Result<Exit, CliError> {
    let config = Config::load(global);
    let same = config.as_ref().map(Config::same_platforms).unwrap_or_default();
    let mut findings =
        vec![Finding { what: "configuration", problem: config.err().map(|error| error.message) }];
    if !same.is_empty() {
        let advice = "what a run holds under one name it holds under all; keep one name for each platform";
        findings.push(Finding { what: "names", problem: Some(format!("{}: {advice}", same.join("; "))) });
    }
    findings.extend(check_here(global));
    let mut remarks = Remarks::new();
    match Wired::named(global, PathBuf::from(".")).await {
        Err(error) => findings.push(Finding { what: "environment", problem: Some(error.message) }),
        Ok(on) => {
            findings.push(Finding { what: "environment", problem: None });
            findings.extend(check_services(&on).await);
            let times = on.times();
            findings.push(Finding { what: "clocks", problem: clocks_problem(&times) });
            remarks.extend(times.0.iter().map(ToString::to_string));
            remarks.extend(others(&on).await);
        }
    }
    Ok(tell(global, &findings, &remarks))
}

/// What a drill needs: a place for its run, and a sandbox that starts. It needs no configuration.
pub(super) async fn for_a_drill(global: &Global) -> Result<Exit, CliError> {
    let mut findings = check_here(global);
    findings.push(Finding {
        what: "sandbox",
        problem: check_sandbox(global).await.err().map(|error| error.message),
    });
    Ok(tell(global, &findings, &Remarks::new()))
}

/// What is wrong with the services' clocks, or with ours.
fn clocks_problem(times: &Times) -> Option<String> {
    let out = || {
        let told = times.worth_telling();
        (!told.is_empty()).then(|| told.join("; "))
    };
    times.check().err().map(|error| error.to_string()).or_else(out)
}

/// Runs that go on here, as they announced themselves, from whichever machine.
async fn others(on: &Wired) -> Remarks {
    let runbooks: Vec<&str> = allclear_runbooks::catalogue().iter().map(|entry| entry.id).collect();
    match owner::going_on(on, &runbooks).await {
        Ok(going) => going.iter().map(|one| format!("announced on the platform: {one}")).collect(),
        // That Supabase cannot be read is a finding of its own.
        Err(_) => Remarks::new(),
    }
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
    let url = crate::sandbox::start(&small, None, None)?;
    let on = Wired::sandbox(global, "sandbox", &url, PathBuf::from(".")).await?;
    let on = Wired { ends_with_run: true, ..on };
    let problem = check_services(&on).await.into_iter().find_map(|finding| finding.problem);
    on.stop_with_run().await;
    problem.map_or(Ok(()), |problem| Err(CliError::new(Exit::Unverified, problem)))
}

fn tell(global: &Global, findings: &[Finding], remarks: &[String]) -> Exit {
    let bad = findings.iter().filter(|finding| finding.problem.is_some()).count();
    if global.json {
        let all: Vec<_> = findings
            .iter()
            .map(|f| json!({ "what": f.what, "ok": f.problem.is_none(), "problem": f.problem }))
            .collect();
        output::document(
            "doctor",
            json!({ "state_dir": state_dir(global), "findings": all, "remarks": remarks }),
        );
    } else {
        for finding in findings {
            let line =
                finding.problem.as_ref().map_or_else(|| "ok".to_owned(), |problem| format!("✗ {problem}"));
            output::result(&format!("{:<20} {line}", finding.what));
        }
        for remark in remarks {
            output::result(remark);
        }
    }
    if bad == 0 { Exit::Verified } else { Exit::Unverified }
}

/// Opens the store and reads every journal in it.
fn check_store(global: &Global) -> Result<(), CliError> {
    let audit = store(global)?.audit(None)?;
    let bad: Vec<&str> = audit
        .runs
        .iter()
        .filter(|run| !run.is_good() && run.closed.is_none())
        .map(|run| run.run.as_str())
        .collect();
    if bad.is_empty() && audit.store.is_empty() {
        return Ok(());
    }
    let what = if bad.is_empty() { audit.store.join("; ") } else { format!("damaged: {}", bad.join(", ")) };
    Err(CliError::internal(format!("{what}; see `allclear audit verify`")))
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
        Finding { what: "tables", problem: tables_problem(platform).await },
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

/// In seconds since 1970.
const YEAR_2100: i64 = 4_102_444_800;

/// Asks each table for the columns that runbooks read, about things that are not there. `None` where all answer as they should.
async fn tables_problem(platform: &Platform) -> Option<String> {
    let (campaign, voucher) = (CampaignId(uuid::Uuid::nil()), VoucherId(uuid::Uuid::nil()));
    // From then on nothing has been sent: no rows, and the columns are checked all the same.
    let later = jiff::Timestamp::from_second(YEAR_2100).unwrap_or(jiff::Timestamp::MAX);
    let answers = [
        ("settings", platform.policy.read().await.map(drop)),
        ("campaigns", platform.campaigns.find(campaign).await.map(drop)),
        ("campaign_targets", platform.targets.failed(campaign, TargetRange::default(), 1).await.map(drop)),
        (
            "send_queue",
            platform.send_queue.due_from(campaign, &QueueRows::default(), 0, later).await.map(drop),
        ),
        ("send_logs", platform.send_log.tally(Some(campaign), later).await.map(drop)),
        ("notifications", platform.notifications.failed(later, 1).await.map(drop)),
        ("audit_log", platform.audit.all_of("allclear_holds", "doctor").await.map(drop)),
        ("vouchers", platform.vouchers.find(voucher).await.map(drop)),
        ("voucher_events, voucher_redemptions", platform.redemptions.history(voucher).await.map(drop)),
        ("webhook_logs", platform.redemptions.attempts(later, None, 1).await.map(drop)),
    ];
    let wrong: Vec<String> = answers
        .into_iter()
        .filter_map(|(table, answer)| match answer {
            // That what nobody has is not there is the right answer.
            Ok(()) | Err(PortError::NotFound { .. }) => None,
            Err(error) => Some(format!("{table}: {error}")),
        })
        .collect();
    (!wrong.is_empty()).then(|| wrong.join("; "))
}
