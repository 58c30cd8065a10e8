//! The disaster recovery exercise as a person holds it: real processes, two Postgres clusters, a real S3 server.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::desk::{ALLCLEAR, Desk, stderr, stdout, walker, world};

/// How many journal boundaries are walked, evenly spread; `ALLCLEAR_WALK=all` walks them all.
const WALKED: u64 = 9;

/// Whom a run tells that it does not get on.
const OPS: &str = "slack.post C0OPS";

pub(crate) fn exercise() -> Value {
    world(&json!({ "scenario": "exercise", "twist": "none" }), "target")
}

/// A desk whose stage is taken down properly: the sandbox is asked to end and not killed.
pub(crate) struct Stage(pub(crate) Desk);

impl Stage {
    pub(crate) fn set() -> Self {
        Self(Desk::with(&exercise()))
    }

    pub(crate) fn map(&self) -> Value {
        self.0.with_control(async |control| control.stage().await.unwrap())
    }

    /// What one statement in the staging database counts.
    fn count(&self, sql: &str) -> i64 {
        let url = self.map()["target_database"].as_str().unwrap().to_owned();
        self.0.with_control(async |_| {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
            let talking = tokio::spawn(connection);
            let counted = client.query_one(sql, &[]).await.unwrap().get(0);
            talking.abort();
            counted
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.0.with_control(async |control| {
            let _ = control.shutdown().await;
        });
        // It takes its clusters down before it ends.
        for _ in 0..100 {
            if self.0.has_ended() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

pub(crate) fn args(backup: &str) -> Vec<String> {
    ["run", "dr-tabletop", "--yes", "--auto-approve", "--set"]
        .into_iter()
        .map(str::to_owned)
        .chain([format!("backup={backup}")])
        .collect()
}

fn command(desk: &Desk, program: &Path, args: &[String]) -> std::process::Command {
    desk.command(program, &args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Takes a run up that was killed: its exit code, and what was said.
pub(crate) fn take_up(desk: &Desk, backup: &str) -> (Option<i32>, String) {
    let resumed = desk.call(&["resume", "@last", "--auto-approve"]);
    let said = stderr(&resumed);
    let ended = match resumed.status.code() {
        // Nothing was begun before the process was killed, or the run had ended just before.
        Some(2) if said.contains("no runs yet") => {
            command(desk, Path::new(ALLCLEAR), &args(backup)).output().unwrap().status.code()
        }
        Some(16) if said.contains("has ended verified") => Some(0),
        code => code,
    };
    (ended, said)
}

/// What must be so after an exercise, however often it was killed.
pub(crate) fn wrong(
    stage: &Stage,
    backup: &str,
    effects: &std::collections::BTreeMap<String, usize>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |what: &str, is: i64, should: i64| {
        if is != should {
            wrong.push(format!("{what}: {is} and not {should}"));
        }
    };
    let restored = format!("select count(*) from allclear.restored where backup = '{backup}'");
    expect("restores", stage.count(&restored), 1);
    let sent = "select count(*) from send_logs where provider_msg_id like 'wamid.staging.%'";
    expect("messages", stage.count(sent), 1);
    expect("smoke vouchers", stage.count("select count(*) from vouchers where policy_number = 'SMOKE'"), 2);
    let redeemed = "select count(*) from voucher_redemptions r join vouchers v on v.id = r.voucher_id \
                    where v.policy_number = 'SMOKE'";
    expect("redemptions", stage.count(redeemed), 1);
    expect("waiting messages", stage.count("select count(*) from send_queue where status = 'PENDING'"), 0);
    let mut seen = stage.0.effects();
    // The stage's clock runs fast: on a busy machine what the kill left behind may hold the exercise up for five of its
    // minutes. Then people are told once, and once that it is over.
    if !effects.contains_key(OPS) && seen.get(OPS) == Some(&2) {
        seen.remove(OPS);
    }
    if seen != *effects {
        wrong.push(format!("effects {seen:?}"));
    }
    wrong
}

#[test]
fn killed_at_journal_boundaries_an_exercise_restores_and_tells_once() {
    let stage = Stage::set();
    let desk = &stage.0;
    let count = desk.folder().join("count");
    let output = command(desk, &walker(), &args("walk-0")).env("WALK_COUNT", &count).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let boundaries: u64 = std::fs::read_to_string(count).unwrap().parse().unwrap();
    let effects = desk.effects();
    assert_eq!(wrong(&stage, "walk-0", &effects), Vec::<String>::new());

    let stride =
        if std::env::var("ALLCLEAR_WALK").is_ok_and(|how| how == "all") { 1 } else { boundaries / WALKED };
    let mut walked = 0;
    for boundary in (1..=boundaries).skip(stride as usize / 2).step_by(stride as usize) {
        desk.start_over(&exercise());
        let backup = format!("walk-{boundary}");
        let killed = command(desk, &walker(), &args(&backup))
            .env("WALK_KILL_AT", boundary.to_string())
            .output()
            .unwrap();
        assert_eq!(killed.status.signal(), Some(9), "boundary {boundary}: {}", stderr(&killed));
        let (ended, said) = take_up(desk, &backup);
        assert_eq!(ended, Some(0), "boundary {boundary}: {said}");
        assert_eq!(wrong(&stage, &backup, &effects), Vec::<String>::new(), "boundary {boundary}");
        walked += 1;
    }
    println!("dr-tabletop: killed at {walked} of {boundaries} journal boundaries: 0 wrong");
    assert!(walked >= WALKED, "{walked}");
}

#[test]
fn an_exercise_leaves_what_the_runbook_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut drill = std::process::Command::new(ALLCLEAR);
    let output = drill
        .args(["drill", "dr-tabletop", "--virtual", "--auto-approve", "--json"])
        .current_dir(folder.path())
        .env("ALLCLEAR_STATE_DIR", folder.path().join("state"))
        .env_remove("ALLCLEAR_CONFIG")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let ended: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let run = folder.path().join("state/runs").join(ended["run"].as_str().unwrap());
    let read = |path: &str| {
        std::fs::read_to_string(run.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    };

    let counts = read("artifacts/rowcount.csv");
    assert!(counts.starts_with("table,") && counts.contains("public.vouchers,"), "{counts}");
    let log = read("artifacts/backup.log");
    for part in ["s3://backups/supabase/dr-2026-11-23", "parity", "ms"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    let report = read("artifacts/tabletop-report.md");
    for part in ["acknowledged after", "Smoke tests", "Rollback owner", "Nothing was executed", "Parity"] {
        assert!(report.contains(part), "{part}: {report}");
    }
    for document in ["templates/status-page-update.md", "templates/escalation-email.md", "dr-tabletop.md"] {
        assert!(!read(&format!("documents/docs/incidents/{document}")).is_empty());
    }
    assert!(read("documents/SYSTEM_CHECKLIST.md").contains("dr-restore-from-bucket"));
    let progress: Vec<Value> = stderr(&output)
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        progress.iter().any(|one| one["schema"] == "allclear.progress/1" && one["what"] == "copy objects")
    );
    // The clusters' passwords are throwaway ones, and still no business of anybody's.
    let told = [stderr(&output), stdout(&output), counts, log, report, read("postmortem.md")].concat();
    for secret in ["postgres://", "sandbox-s3-secret", "+25078"] {
        assert!(!told.contains(secret), "{secret}");
    }
}

/// The table of a staging environment, as it would name real addresses: the services at `url`, the rest where `stage` says.
/// `target` names the variable that holds the target database's address.
pub(crate) fn environment(url: &str, stage: &Value, kind: &str, target: &str) -> String {
    let base = stage["staging"].as_str().unwrap();
    let text = |field: &str| stage[field].as_str().unwrap().to_owned();
    let documents = text("documents");
    let (s3, key) = (text("s3"), text("s3_access_key"));
    format!(
        r##"
[environment.rehearsal]
kind = "{kind}"
pagerduty_from = "oncall@example.test"
supabase_project = "rehearsalprojectref0"
[environment.rehearsal.endpoints]
admin = "{base}/admin"
supabase = "{base}/supabase"
supabase_management = "{url}/supabase-management"
graph = "{url}/graph/v23.0"
pagerduty_events = "{url}/pagerduty-events"
pagerduty_rest = "{url}/pagerduty"
slack = "{url}/slack/api"
provider = "{url}/provider"
[environment.rehearsal.credentials]
admin_token = {{ env = "T_ADMIN" }}
service_key = {{ env = "T_SERVICE" }}
management_token = {{ env = "T_MANAGEMENT" }}
graph_token = {{ env = "T_GRAPH" }}
pagerduty_rest_key = {{ env = "T_PD" }}
pagerduty_routing_key = {{ env = "T_ROUTING" }}
slack_token = {{ env = "T_SLACK" }}
provider_token = {{ env = "T_PROVIDER" }}
[environment.rehearsal.whatsapp]
phone_id = "100000000000001"
business_account = "200000000000002"
canary_number = "+250788000001"
canary_template = "allclear_canary"
[environment.rehearsal.limits]
recipients_zone = "Africa/Kigali"
quiet_start = "22:00"
quiet_end = "06:00"
throttle_per_minute = 60
ops_channel = "#ops"
[environment.rehearsal.recovery]
source_project = "sandboxprojectrefabc"
source_database = {{ env = "T_SOURCE" }}
target_database = {{ env = "{target}" }}
pagerduty_routing_key = {{ env = "T_ROUTING" }}
documents = "{documents}"
rollback_owner = "data platform"
participants = [
  {{ role = "incident_commander", name = "engineer on call", pagerduty_user = "PSBXUSER1" }},
  {{ role = "data_platform_lead", name = "data platform", pagerduty_user = "PSBXUSER2" }},
  {{ role = "support_manager", name = "support", pagerduty_user = "PSBXUSER3" }},
  {{ role = "stakeholder_communications", name = "customer success", pagerduty_user = "PSBXUSER4" }},
]
[environment.rehearsal.recovery.bucket]
endpoint = "{s3}"
name = "backups"
access_key = "{key}"
secret_key = {{ env = "T_S3" }}
[environment.rehearsal.recovery.objects]
endpoint = "{s3}"
buckets = ["vouchers"]
access_key = "{key}"
secret_key = {{ env = "T_S3" }}
[environment.rehearsal.recovery.station]
code = "ENG1"
passcode = {{ env = "T_STATION" }}
"##
    )
}

/// The secrets that the table reads from variables.
pub(crate) fn secrets(stage: &Value) -> Vec<(&'static str, String)> {
    let text = |field: &str| stage[field].as_str().unwrap().to_owned();
    vec![
        ("T_ADMIN", "sandbox-admin-token".to_owned()),
        ("T_SERVICE", "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.sandbox-service-key".to_owned()),
        ("T_MANAGEMENT", "sbp_5a9db0c0000000000000000000000000000000ab".to_owned()),
        ("T_GRAPH", "sandbox-graph-token".to_owned()),
        ("T_PD", "sandbox-pd-key".to_owned()),
        ("T_ROUTING", "sandboxroutingkey00000000000000ab".to_owned()),
        ("T_SLACK", "xoxb-sandbox".to_owned()),
        ("T_PROVIDER", "sandbox-provider-token".to_owned()),
        ("T_SOURCE", text("source_database")),
        ("T_TARGET", text("target_database")),
        ("T_S3", text("s3_secret_key")),
        ("T_STATION", "ENG1".to_owned()),
    ]
}

fn plan(desk: &Desk, stage: &Value) -> std::process::Output {
    let mut command = desk.command(Path::new(ALLCLEAR), &["plan", "dr-tabletop", "--env", "rehearsal"]);
    command.envs(secrets(stage)).output().unwrap()
}

#[test]
fn databases_and_buckets_of_ones_own_are_configured_and_production_is_refused() {
    let stage = Stage::set();
    let map = stage.map();
    stage.0.configure(&environment(&stage.0.url, &map, "staging", "T_TARGET"));
    let planned = plan(&stage.0, &map);
    assert_eq!(planned.status.code(), Some(0), "{}", stderr(&planned));
    let text = stdout(&planned);
    for part in ["s3://backups/supabase", "restore backup", "Restore and cutover rehearsal"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(stage.0.effects().len(), 0, "a plan changes nothing");
}

#[test]
fn the_source_is_never_a_target_and_a_production_environment_holds_no_exercise() {
    let stage = Stage::set();
    let map = stage.map();
    stage.0.configure(&environment(&stage.0.url, &map, "staging", "T_SOURCE"));
    let refused = plan(&stage.0, &map);
    let text = [stdout(&refused), stderr(&refused)].concat();
    assert!(text.contains("source and target are the same database"), "{text}");
    assert!(!text.contains("postgres://"), "{text}");

    let path = stage.0.folder().join("allclear.toml");
    let changed =
        std::fs::read_to_string(&path).unwrap().replace("kind = \"staging\"", "kind = \"production\"");
    std::fs::write(&path, changed).unwrap();
    let refused = plan(&stage.0, &map);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("move it to the staging environment"), "{}", stderr(&refused));
}

/// On a disk of its own that is too small for the dump, and then has room.
const ON_A_SMALL_DISK: &str = r#"
mkdir -p "$ALLCLEAR_STATE_DIR/runs" && mount -t tmpfs -o size=200k allclear "$ALLCLEAR_STATE_DIR/runs" || exit 99
"$1" run dr-tabletop --yes --auto-approve --set backup=full
[ $? = 17 ] || exit 98
"$1" status @last --json > stands.json
mount -o remount,size=1g "$ALLCLEAR_STATE_DIR/runs" || exit 97
exec "$1" resume @last --auto-approve
"#;

#[test]
fn d8b_a_full_disk_of_this_machine_is_told_as_ours_and_the_exercise_goes_on_when_there_is_room() {
    let stage = Stage::set();
    let mut command = desk_command(&stage.0, "unshare");
    let ran = command.args(["-m", "sh", "-c", ON_A_SMALL_DISK, "sh", ALLCLEAR]).output().unwrap();
    let said = stderr(&ran);
    assert_eq!(ran.status.code(), Some(0), "{said}");
    let stands = std::fs::read_to_string(stage.0.folder().join("stands.json")).unwrap();
    let stands: Value = serde_json::from_str(&stands).unwrap();
    let stopped = &stands["runs"][0]["stopped"];
    assert_eq!(stopped["service"], "artifacts", "{stands}");
    let why = stopped["why"].as_str().unwrap();
    for part in ["the disk of this machine is full", "/work/backup/full/", "Free space there", "resume"] {
        assert!(why.contains(part), "`{part}` is missing in: {why}");
    }
    assert!(!why.contains("source database") && !why.contains("target database"), "{why}");
    assert!(said.contains("the postmortem is not there: "), "{said}");
    let restored = "select count(*) from allclear.restored where backup = 'full'";
    assert_eq!(stage.count(restored), 1);
}

fn desk_command(desk: &Desk, program: &str) -> std::process::Command {
    desk.command(Path::new(program), &[])
}
