//! The exercise as a team holds it: databases, buckets and services of its own, named in `allclear.toml`; every command and
//! every answer a process; each gate another person; and the run killed in the middle of its restore.
//!
//! Nothing here is a drill. What stands behind the addresses is started by the test itself: two throwaway Postgres clusters,
//! an S3 server, a staging platform over the target, and the sandbox in place of PagerDuty, Slack and Supabase's Management
//! API, in a time that runs faster so that people acknowledge within seconds.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use allclear_dr::cluster::{Cluster, ClusterOptions};
use allclear_dr::database::Databases;
use allclear_dr::seed;
use allclear_sandbox::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use allclear_sandbox::{Profile, Sandbox, ScaledClock, Scenario, StagingPlatform, Time, Twist, WorldSpec};
use serde_json::{Value, json};

use crate::desk::{ALLCLEAR, STATUS, binding, stderr, stdout};
use crate::exercise::{environment, secrets};

/// Another name than any default.
const DATABASE: &str = "fuel_platform";
const ROWS: u64 = 20_000;
/// People acknowledge 25 s apart; the run looks every 15 s of its own time.
const SPEED: f64 = 20.0;
/// The team's runbook file, below its folder of documents.
const RUNBOOKS: &str = "docs/incident-runbooks.md";
/// Where the platform keeps telephone numbers.
const NUMBERS: [(&str, &str); 3] =
    [("vouchers", "whatsapp_e164"), ("send_logs", "msisdn_e164"), ("campaign_targets", "msisdn")];
const PATIENCE: Duration = Duration::from_mins(2);

/// Everything that the addresses lead to.
struct Given {
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    production: Cluster,
    staging: Cluster,
    objects: S3Server,
    platform: StagingPlatform,
    services: Sandbox,
    secrets: Vec<(&'static str, String)>,
}

fn cluster(parent: &Path, settings: &[(&str, &str)]) -> Cluster {
    std::fs::create_dir_all(parent).unwrap();
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Cluster::start(parent, &ClusterOptions { settings, ..ClusterOptions::default() }).unwrap()
}

fn url(cluster: &Cluster) -> String {
    format!("postgres://postgres:{}@127.0.0.1:{}/{DATABASE}", cluster.password(), cluster.port())
}

async fn fill(production: &Cluster, staging: &Cluster) {
    for cluster in [production, staging] {
        seed::project(cluster, DATABASE).await.unwrap();
        seed::tables(cluster, DATABASE).await.unwrap();
    }
    seed::rows(production, DATABASE, ROWS).await.unwrap();
    let databases = Databases {
        source: production.url(DATABASE),
        target: staging.url(DATABASE),
        production_project: None,
        staging_project: None,
        schemas: vec!["public".to_owned()],
    };
    databases.enrol().await.unwrap();
}

/// The real time: the exercise's own clock is the machine's, and what PagerDuty and Slack tell must fit it.
#[expect(clippy::disallowed_methods, reason = "the world outside has the real time")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

async fn services() -> Sandbox {
    let spec = WorldSpec {
        campaigns: 1,
        vouchers: 0,
        stations: 0,
        profile: Profile::Target,
        scenario: Scenario::Exercise { twist: Twist::None },
        ..WorldSpec::default()
    };
    Sandbox::start(spec, Time::Scaled(ScaledClock::starting_at(now(), SPEED)), 0).await.unwrap()
}

fn documents(folder: &Path) {
    std::fs::create_dir_all(folder.join("docs/incidents")).unwrap();
    std::fs::write(folder.join("SYSTEM_CHECKLIST.md"), "# System checklist\n\n- [x] Nightly backups\n")
        .unwrap();
    let checklist =
        "# Cutover checklist\n\n- [ ] DNS: lower the TTL of `app`\n- [ ] Environment: `SUPABASE_URL`\n";
    std::fs::write(folder.join("docs/incidents/cutover-checklist.md"), checklist).unwrap();
    std::fs::write(folder.join(RUNBOOKS), allclear_runbooks::text::WRITTEN).unwrap();
}

/// The table with what this team has agreed on beside.
fn agreed(table: &str) -> String {
    let own = format!(
        "rto_minutes = 1440\nrpo_minutes = 1440\nrunbook_file = \"{RUNBOOKS}\"\nincident_services = [\"PSBXSERVICE\"]\nrollback_owner"
    );
    let columns = NUMBERS.map(|(table, column)| {
        format!("{{ table = \"{table}\", column = \"{column}\", rule = \"pseudonym\" }}")
    });
    format!(
        "{}[environment.rehearsal.recovery.signing]\nkey = {{ env = \"T_SIGNING\" }}\n[environment.rehearsal.recovery.masking]\nkey = {{ env = \"T_MASKING\" }}\ncolumns = [{}]\n",
        table.replacen("rollback_owner", &own, 1),
        columns.join(", ")
    )
}

impl Given {
    fn all() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The server runs as another user, who must come through.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let production = cluster(&folder.path().join("production"), &[("log_statement", "mod")]);
        let staging = cluster(&folder.path().join("staging"), &[]);
        runtime.block_on(fill(&production, &staging));
        let objects = runtime.block_on(S3Server::start(&folder.path().join("objects"), 0)).unwrap();
        for bucket in ["backups", "vouchers"] {
            objects.make_bucket(bucket).unwrap();
        }
        for number in 0_u32..60 {
            let file = objects.folder().join("vouchers").join(format!("{number:05}.png"));
            std::fs::write(file, number.to_le_bytes().repeat(2_000)).unwrap();
        }
        let target = url(&staging);
        let platform = runtime.block_on(StagingPlatform::start(&target, 0, Twist::None)).unwrap();
        let services = runtime.block_on(services());
        documents(&folder.path().join("documents"));
        let map = json!({
            "staging": platform.base_url(), "s3": objects.base_url(),
            "s3_access_key": ACCESS_KEY, "s3_secret_key": SECRET_KEY,
            "documents": folder.path().join("documents"),
            "source_database": url(&production), "target_database": target,
        });
        let table = environment(&services.base_url(), &map, "staging", "T_TARGET");
        std::fs::write(folder.path().join("allclear.toml"), agreed(&table)).unwrap();
        let mut secrets = secrets(&map);
        secrets.push(("T_MASKING", "c0ffee".repeat(8)));
        secrets.push(("T_SIGNING", "5eed".repeat(16)));
        Self { folder, runtime, production, staging, objects, platform, services, secrets }
    }

    fn command(&self, who: &str, args: &[&str]) -> Command {
        let mut command = Command::new(ALLCLEAR);
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("ALLCLEAR_STATE_DIR", self.folder.path().join("state"))
            .env("ALLCLEAR_OPERATOR", who)
            .env_remove("ALLCLEAR_CONFIG")
            .env_remove("ALLCLEAR_ENV")
            .envs(self.secrets.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    fn call(&self, who: &str, args: &[&str]) -> Output {
        self.command(who, args).output().unwrap()
    }

    /// Answers as a script does, which looked at what is asked.
    fn answer(&self, who: &str, args: &[&str]) -> Output {
        let binding = binding(&self.call(who, &STATUS));
        self.call(who, &[args, &["--binding", &binding]].concat())
    }

    /// A process that goes on beside us.
    fn start(&self, who: &str, args: &[&str]) -> Process<'_> {
        let said = self.folder.path().join(format!("said-{}", args[0]));
        let child = self
            .command(who, args)
            .stdout(Stdio::null())
            .stderr(File::create(&said).unwrap())
            .spawn()
            .unwrap();
        Process { child, said, given: self }
    }

    /// The answer of somebody who types a line.
    fn typing(&self, who: &str, line: &str) -> Output {
        let binding = binding(&self.call(who, &STATUS));
        let mut answer = self.command(who, &["answer", "@last", "approve", "--binding", &binding]);
        answer.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = answer.spawn().unwrap();
        child.stdin.take().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// What a person does in PagerDuty.
    fn pagerduty(&self, method: &str, path: &str, body: &Value) -> Value {
        use std::io::Read as _;
        let base = self.services.base_url();
        let host = base.strip_prefix("http://").unwrap().to_owned();
        let body = body.to_string();
        let mut socket = std::net::TcpStream::connect(&host).unwrap();
        write!(
            socket,
            "{method} /pagerduty{path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Token token=sandbox-pd-key\r\n\
             accept: application/json\r\nfrom: oncall@example.test\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap_or_else(|_| panic!("{answer}"))
    }

    /// The numbers in a column of one of the two databases.
    fn numbers(&self, of: &Cluster, (table, column): (&str, &str)) -> BTreeSet<String> {
        let own = "+250788000001";
        let sql = format!("select distinct {column} from {table} where {column} <> '{own}'");
        let rows = self.runtime.block_on(of.run(DATABASE, &sql)).unwrap();
        rows.into_iter().map(|row| row[0].clone()).collect()
    }

    /// What one statement in the staging database counts.
    fn count(&self, sql: &str) -> i64 {
        let rows = self.runtime.block_on(self.staging.run(DATABASE, sql)).unwrap();
        rows[0][0].parse().unwrap()
    }

    fn effects(&self) -> Vec<String> {
        let ledger = self.services.ledger().into_iter().filter(|entry| entry.changed);
        ledger.map(|entry| entry.effect).collect()
    }
}

/// A run that goes on; it ends with its test.
struct Process<'a> {
    child: Child,
    said: PathBuf,
    given: &'a Given,
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process<'_> {
    fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap()
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended with {ended:?} before {what}:\n{}", self.said());
            assert!(began.elapsed() < PATIENCE, "no {what}:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns when the run asks at that gate.
    fn until_asked(&mut self, gate: &str) {
        self.until(gate, |process| {
            let status = stdout(&process.given.call("kim", &["status", "--json"]));
            let status: Value = serde_json::from_str(&status).unwrap_or_default();
            status["runs"][0]["gate"].as_str().is_some_and(|open| open.contains(gate))
        });
    }

    fn ended(mut self) -> (ExitStatus, String) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.said());
            }
            assert!(began.elapsed() < PATIENCE, "it does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// kill -9.
    fn killed(mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.child.wait().unwrap().signal(), Some(9), "{}", self.said());
    }
}

fn said_yes(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
}

/// From the plan to the restore, in which the run is killed.
fn begin_and_die(given: &Given) {
    let planned = given.call("kim", &["plan", "dr-tabletop", "--env", "rehearsal", "-o", "plan.json"]);
    said_yes(&planned);
    assert_eq!(given.effects(), Vec::<String>::new(), "a plan changes nothing");
    let restored = "select count(*) from pg_namespace where nspname = 'allclear'";
    assert_eq!(given.count(&format!("{restored} and exists (select from allclear.restored)")), 0);

    let args = ["run", "dr-tabletop", "--env", "rehearsal", "--plan", "plan.json", "--yes", "--wait"];
    let mut run = given.start("kim", &args);
    run.until_asked("begin");
    said_yes(&given.answer("lea", &["approve", "@last"]));
    run.until_asked("restore");
    // An address of no Supabase project has no ref, so its own name is what must be typed.
    for wrong in ["sandboxprojectrefabc", DATABASE] {
        let refused = given.typing("ren", wrong);
        assert_eq!(refused.status.code(), Some(16), "{wrong}: {}", stderr(&refused));
    }
    // While they thought about it, something broke for real.
    let incident = given.pagerduty(
        "POST",
        "/incidents",
        &json!({ "incident": { "type": "incident", "title": "Sends fail", "service": { "id": "PSBXSERVICE", "type": "service_reference" } } }),
    );
    let incident = incident["incident"]["id"].as_str().unwrap().to_owned();
    said_yes(&given.typing("ren", &format!("{DATABASE}@127.0.0.1")));
    run.until_asked("real incident before the restore 1");
    said_yes(&given.answer("lea", &["approve", "@last"]));
    run.until_asked("real incident before the restore 2");
    assert_eq!(given.count("select count(*) from allclear.restored"), 0);
    let over = json!({ "incident": { "type": "incident_reference", "status": "resolved" } });
    given.pagerduty("PUT", &format!("/incidents/{incident}"), &over);
    said_yes(&given.answer("lea", &["approve", "@last"]));
    run.until("restore", |run| run.said().contains("set out to restore backup"));
    run.killed();
}

/// From there to the end.
fn go_on(given: &Given) {
    let mut resumed = given.start("kim", &["resume", "@last", "--wait"]);
    resumed.until_asked("checklist");
    said_yes(&given.answer("sam", &["answer", "@last", "confirmed"]));
    resumed.until_asked("rollback");
    said_yes(&given.answer("mia", &["answer", "@last", "confirmed"]));
    let (status, said) = resumed.ended();
    assert_eq!(status.code(), Some(0), "{said}");
    for secret in ["postgres://", given.production.password(), given.staging.password(), SECRET_KEY] {
        assert!(!said.contains(secret), "a secret was said");
    }
}

fn check_what_was_done(given: &Given) {
    let times = |effect: &str| given.effects().iter().filter(|one| *one == effect).count();
    // Posted are the draft and that the exercise stopped, the latter once though it was asked twice. Resolved are the exercise's incident, by
    // the run, and the real one, by a person.
    for (effect, often) in [("pagerduty.trigger", 1), ("slack.post", 2), ("pagerduty.resolve", 2)] {
        assert_eq!(times(effect), often, "{effect}: {:?}", given.effects());
    }
    for place in NUMBERS {
        let (real, here) = (given.numbers(&given.production, place), given.numbers(&given.staging, place));
        assert!(real.len() > 100 && real.is_disjoint(&here), "{place:?}: {} numbers", real.len());
    }
    for (sql, should) in [
        ("select count(*) from allclear.restored", 1),
        ("select count(*) from send_logs where provider_msg_id like 'wamid.staging.%'", 1),
        ("select count(*) from vouchers where policy_number = 'SMOKE'", 2),
        (
            "select count(*) from voucher_redemptions r join vouchers v on v.id = r.voucher_id \
             where v.policy_number = 'SMOKE'",
            1,
        ),
    ] {
        assert_eq!(given.count(sql), should, "{sql}");
    }
    assert_eq!(given.platform.sent(), ["+250788000001"], "messages go to the environment's own number");
}

fn check_what_was_written(given: &Given) {
    let status: Value = serde_json::from_str(&stdout(&given.call("kim", &["status", "--json"]))).unwrap();
    let run = given.folder.path().join("state/runs").join(status["runs"][0]["id"].as_str().unwrap());
    let read = |path: PathBuf| {
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let report = read(run.join("artifacts/tabletop-report.md"));
    for part in [
        "acknowledged after",
        "4 of 4 smoke tests passed",
        "Nothing was executed",
        "data platform",
        "Masked: public.vouchers.whatsapp_e164 holds pseudonyms",
        "(RTO 24 h: kept)",
        "A real incident went first",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    let postmortem = read(run.join("postmortem.md"));
    for person in ["kim", "lea", "ren", "sam", "mia"] {
        assert!(postmortem.contains(person), "{person}: {postmortem}");
    }
    let told = [report, postmortem, read(run.join("artifacts/backup.log"))].concat();
    for secret in ["postgres://", given.production.password(), given.staging.password(), "+25078"] {
        assert!(!told.contains(secret), "a secret was written");
    }
    // Beside the backup stands the same log, and below it the copy of the bucket.
    let kept = given.objects.folder().join("backups/supabase");
    let mut folders = std::fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().path());
    let is_backup = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("dr-");
    let backup = folders.find(is_backup).expect("the backup is in the bucket");
    assert_eq!(read(backup.join("backup.log")), read(run.join("artifacts/backup.log")));
    assert!(read(backup.join("rowcount.csv")).contains("public.vouchers"));
    let documents = given.folder.path().join("documents");
    for document in ["templates/status-page-update.md", "templates/escalation-email.md"] {
        assert!(!read(documents.join("docs/incidents").join(document)).is_empty());
    }
    let runbooks = documents.join(RUNBOOKS);
    assert!(read(runbooks.clone()).contains("Measured: recovery time "));
    said_yes(&given.call("kim", &["check", "--text", runbooks.to_str().unwrap()]));
    assert!(read(documents.join("SYSTEM_CHECKLIST.md")).contains("dr-restore-from-bucket"));
}

/// The run's folder beside its backup in the bucket.
fn beside_the_backup(given: &Given) -> PathBuf {
    let kept = given.objects.folder().join("backups/supabase");
    let mut folders = std::fs::read_dir(kept).unwrap().map(|entry| entry.unwrap().path());
    folders.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("dr-")).unwrap()
}

/// Whatever of it is changed in the bucket is found, also by somebody on another machine who has nothing but the public key.
fn check_the_evidence(given: &Given) {
    let status: Value = serde_json::from_str(&stdout(&given.call("kim", &["status", "--json"]))).unwrap();
    let id = status["runs"][0]["id"].as_str().unwrap().to_owned();
    let folder = beside_the_backup(given);
    let checks = |args: &[&str]| given.call("lea", &[&["evidence", "verify", "--json"], args].concat());
    let good = checks(&[&id]);
    assert_eq!(good.status.code(), Some(0), "{}{}", stdout(&good), stderr(&good));
    let told: Value = serde_json::from_str(&stdout(&good)).unwrap();
    let key = told["public_key"].as_str().unwrap().to_owned();
    let journal = std::fs::read_to_string(folder.join(format!("evidence-{id}.journal.ndjson"))).unwrap();
    let last: Value = serde_json::from_str(journal.lines().next_back().unwrap()).unwrap();
    assert!(journal.lines().count() > 100 && last["seq"] == journal.lines().count(), "{last}");

    let elsewhere = tempfile::tempdir().unwrap();
    let backup = folder.file_name().unwrap().to_str().unwrap().to_owned();
    let mut other = given.command(
        "eve",
        &["--env", "rehearsal", "evidence", "verify", &id, "--backup", &backup, "--public-key", &key],
    );
    let other = other.env("ALLCLEAR_STATE_DIR", elsewhere.path()).output().unwrap();
    assert_eq!(other.status.code(), Some(0), "{}{}", stdout(&other), stderr(&other));
    let stranger = "00".repeat(32);
    assert_eq!(checks(&[&id, "--public-key", &stranger]).status.code(), Some(13));

    for name in ["journal.ndjson", "report.md", "json", "sig"]
        .map(|what| format!("evidence-{id}.{what}"))
        .into_iter()
        .chain(["backup.log".to_owned(), "rowcount.csv".to_owned(), "db/manifest.json".to_owned()])
    {
        let file = folder.join(&name);
        let was = std::fs::read(&file).unwrap();
        let mut is = was.clone();
        let middle = is.len() / 2;
        is[middle] ^= 1;
        std::fs::write(&file, is).unwrap();
        let found = checks(&[&id]);
        assert_eq!(found.status.code(), Some(13), "{name}: {}{}", stdout(&found), stderr(&found));
        std::fs::write(&file, was).unwrap();
    }
    assert_eq!(checks(&[&id]).status.code(), Some(0));
    // Signed again it is what it was.
    let before = std::fs::read(folder.join(format!("evidence-{id}.sig"))).unwrap();
    said_yes(&given.call("kim", &["evidence", "seal", &id]));
    assert_eq!(std::fs::read(folder.join(format!("evidence-{id}.sig"))).unwrap(), before);
}

#[test]
fn a_team_holds_the_exercise_on_addresses_of_its_own_and_production_is_not_written_to() {
    let given = Given::all();
    let before = given.production.log();
    assert!(before.contains("INSERT INTO"), "the log shows what changes: {before}");
    begin_and_die(&given);
    go_on(&given);
    check_what_was_done(&given);
    check_what_was_written(&given);
    check_the_evidence(&given);
    let log = given.production.log();
    let since = log.strip_prefix(&before).expect("a log only grows");
    let changes: Vec<&str> =
        since.lines().filter(|line| line.contains("statement:") || line.contains("execute ")).collect();
    assert_eq!(changes, Vec::<&str>::new(), "production was written to");
}
