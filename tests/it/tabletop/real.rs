//! The exercise over real Postgres and a real S3 server, with what really goes wrong there: a refused connection, a wrong
//! password, a server that is read only, a connection that is reset in the middle of the dump or of the restore, a bucket
//! that says no, loses an answer, or breaks off.
//!
//! A selection: such a run takes a second or two. Whatever the end, staging holds either what it held before or the whole
//! backup, and it was restored once at most.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

use allclear::core::recovery::Unwatched;
use allclear::core::{Clock, Platform, VirtualClock};
use allclear::engine::{MemoryJournal, Outcome, Terms, execute, plan};
use allclear::sandbox::s3::{Call, S3Fault, Wrong};
use allclear::sandbox::{Profile, S3Server, Sandbox, ScaledClock, Scenario, StagingPlatform, Twist, s3};
use allclear_dr::cluster::{Cluster, ClusterOptions};
use allclear_dr::database::{BackupBucket, DatabaseUrl, Databases, PostgresBackups, PostgresStaging};
use allclear_dr::seed;
use allclear_dr::storage::{S3Access, S3Copies, S3Settings, Source, connect};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::drilling::exercise_world;
use crate::fault_matrix::print;
use crate::scene::{approved, drill};

const DATABASE: &str = "postgres_platform";
const ROWS: u64 = 2_000;
const PROVEN: &str = "staging is equal to its snapshot in 18 tables and 100 definitions; 4 of 4 smoke tests passed, 0 findings";

/// Stands before a database and cuts all its connections once, after so many bytes.
struct Proxy {
    port: u16,
    budget: Arc<Budget>,
}

struct Budget {
    left: AtomicI64,
    cut: Notify,
    came: AtomicBool,
}

impl Budget {
    /// Counts bytes; true for those that cross the line.
    fn is_spent_by(&self, bytes: usize) -> bool {
        let bytes = i64::try_from(bytes).unwrap();
        let before = self.left.fetch_sub(bytes, Ordering::SeqCst);
        let crossed = before > 0 && before <= bytes;
        if crossed {
            self.left.store(i64::MAX, Ordering::SeqCst);
            self.came.store(true, Ordering::SeqCst);
        }
        crossed
    }
}

impl Proxy {
    async fn before(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (left, came) = (AtomicI64::new(i64::MAX), AtomicBool::new(false));
        let budget = Arc::new(Budget { left, cut: Notify::new(), came });
        let shared = Arc::clone(&budget);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, upstream, Arc::clone(&shared)));
            }
        });
        Self { port, budget }
    }

    fn cut_after(&self, bytes: i64) {
        self.budget.came.store(false, Ordering::SeqCst);
        self.budget.left.store(bytes, Ordering::SeqCst);
    }

    fn has_cut(&self) -> bool {
        self.budget.came.load(Ordering::SeqCst)
    }
}

/// Carries bytes both ways until one side ends, or all is cut.
async fn carry(mut client: TcpStream, upstream: u16, budget: Arc<Budget>) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", upstream)).await.ok()?;
    let (mut up, mut down) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    loop {
        let carried = tokio::select! {
            () = budget.cut.notified() => break,
            read = client.read(&mut up) => {
                let read = read.ok().filter(|read| *read > 0)?;
                server.write_all(&up[..read]).await.ok()?;
                read
            }
            read = server.read(&mut down) => {
                let read = read.ok().filter(|read| *read > 0)?;
                client.write_all(&down[..read]).await.ok()?;
                read
            }
        };
        if budget.is_spent_by(carried) {
            budget.cut.notify_waiters();
            break;
        }
    }
    client.set_zero_linger().ok()?;
    server.set_zero_linger().ok()
}

/// The servers, for all runs of the test.
struct Real {
    folder: tempfile::TempDir,
    production: Cluster,
    staging: Cluster,
    to_production: Proxy,
    to_staging: Proxy,
    objects: S3Server,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    Nothing,
    /// Nobody listens where production should be.
    ProductionRefuses,
    /// Nobody listens where staging should be.
    StagingRefuses,
    WrongPassword,
    StagingIsReadOnly,
    /// All connections to production are reset after so many bytes.
    ProductionCut(i64),
    /// All connections to staging are reset after so many bytes.
    StagingCut(i64),
    Bucket(S3Fault),
}

fn cluster(parent: &Path) -> Cluster {
    std::fs::create_dir_all(parent).unwrap();
    Cluster::start(parent, &ClusterOptions::default()).unwrap()
}

fn url(port: u16, password: &str) -> DatabaseUrl {
    format!("postgres://postgres:{password}@127.0.0.1:{port}/{DATABASE}").parse().unwrap()
}

impl Real {
    async fn start() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        // The server runs as another user, who must come through.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let (production, staging) =
            (cluster(&folder.path().join("production")), cluster(&folder.path().join("staging")));
        for one in [&production, &staging] {
            seed::project(one, DATABASE).await.unwrap();
            seed::tables(one, DATABASE).await.unwrap();
        }
        seed::rows(&production, DATABASE, ROWS).await.unwrap();
        let databases = Databases {
            source: production.url(DATABASE),
            target: staging.url(DATABASE),
            production_project: None,
            staging_project: None,
            schemas: vec!["public".to_owned()],
        };
        databases.enrol().await.unwrap();
        let objects = S3Server::start(&folder.path().join("objects"), 0).await.unwrap();
        for bucket in ["backups", "vouchers"] {
            objects.make_bucket(bucket).unwrap();
        }
        for number in 0_u32..20 {
            let file = objects.folder().join("vouchers").join(format!("{number:05}.png"));
            std::fs::write(file, number.to_le_bytes().repeat(500)).unwrap();
        }
        super::write_documents(&folder.path().join("documents"));
        let to_production = Proxy::before(production.port()).await;
        let to_staging = Proxy::before(staging.port()).await;
        Self { folder, production, staging, to_production, to_staging, objects }
    }

    /// What one statement in the staging database says.
    async fn ask(&self, sql: &str) -> String {
        self.staging.run(DATABASE, sql).await.unwrap()[0][0].clone()
    }

    async fn run_sql(&self, sql: &str) {
        self.staging.run("postgres", sql).await.unwrap();
    }

    async fn begin(&self, trouble: &Trouble) {
        match trouble {
            Trouble::StagingIsReadOnly => {
                self.run_sql(&format!("alter database {DATABASE} set default_transaction_read_only = on"))
                    .await;
            }
            Trouble::ProductionCut(bytes) => self.to_production.cut_after(*bytes),
            Trouble::StagingCut(bytes) => self.to_staging.cut_after(*bytes),
            Trouble::Bucket(fault) => self.objects.break_on(fault.clone()),
            _ => {}
        }
    }

    async fn end(&self, trouble: &Trouble) {
        match trouble {
            Trouble::StagingIsReadOnly => {
                self.run_sql(&format!("alter database {DATABASE} reset default_transaction_read_only")).await;
            }
            Trouble::ProductionCut(_) => assert!(self.to_production.has_cut(), "{trouble:?} never came"),
            Trouble::StagingCut(_) => assert!(self.to_staging.has_cut(), "{trouble:?} never came"),
            _ => {}
        }
        self.objects.mend();
    }

    fn databases(&self, trouble: &Trouble, nobody: u16) -> Databases {
        let to = |refuses, proxy: &Proxy| if *trouble == refuses { nobody } else { proxy.port };
        let production = to(Trouble::ProductionRefuses, &self.to_production);
        let staging = to(Trouble::StagingRefuses, &self.to_staging);
        let password = if *trouble == Trouble::WrongPassword { "wrong" } else { self.staging.password() };
        Databases {
            source: url(production, self.production.password()),
            target: url(staging, password),
            production_project: None,
            staging_project: None,
            schemas: vec!["public".to_owned()],
        }
    }

    /// The platform with real databases and buckets, and an exercise's services in the sandbox.
    fn platform(
        &self,
        sandbox: &Sandbox,
        app: &StagingPlatform,
        clock: &Arc<dyn Clock>,
        databases: Databases,
        work: &Path,
    ) -> Platform {
        let mut settings =
            allclear::clients::sandbox::settings(&sandbox.base_url(), work.join("artifacts")).unwrap();
        let memory = super::Stores::of(super::Content::default(), Arc::clone(clock));
        settings.endpoints.admin = format!("{}/admin", app.base_url());
        settings.endpoints.supabase = format!("{}/supabase", app.base_url());
        let documents = self.folder.path().join("documents");
        let recovery = super::recovery_at("ENG1", &settings, clock, &memory, &documents);
        let access = S3Access {
            endpoint: self.objects.base_url(),
            region: s3::REGION.to_owned(),
            access_key: s3::ACCESS_KEY.to_owned(),
            secret_key: s3::SECRET_KEY.into(),
            path_style: true,
        };
        let (bucket, prefix) = ("backups".to_owned(), "supabase".to_owned());
        let bucket = connect(&S3Settings { access: access.clone(), bucket, prefix }).unwrap();
        let backups = BackupBucket {
            store: bucket.object_store(),
            prefix: bucket.prefix().clone(),
            title: "s3://backups/supabase".to_owned(),
        };
        // S3 compares its own time with the one that a request was signed with.
        let machine: Arc<dyn Clock> = Arc::new(machine_clock());
        let objects = Source::buckets(access, vec!["vouchers".to_owned()], Arc::clone(&machine)).unwrap();
        let (source, schemas) = (databases.source.clone(), databases.schemas.clone());
        let unwatched = || Arc::new(Unwatched);
        let recovery = allclear::core::platform::Recovery {
            backups: Arc::new(PostgresBackups::new(
                source,
                schemas,
                backups.clone(),
                work.join("backup"),
                unwatched(),
            )),
            copies: Arc::new(S3Copies::new(bucket, objects, work.join("copy"), machine)),
            staging: Arc::new(PostgresStaging::new(databases, backups, work.join("restore"), unwatched())),
            ..recovery
        };
        let platform = allclear::clients::connect(settings, clock).unwrap();
        Platform { recovery: Some(recovery), ..platform }
    }
}

#[expect(clippy::disallowed_methods, reason = "a server has the real time")]
fn machine_clock() -> ScaledClock {
    ScaledClock::starting_at(jiff::Timestamp::now(), 1.0)
}

/// How a run ended, and what is wrong with it.
async fn hold(real: &Real, number: usize, trouble: &Trouble) -> (Option<Outcome>, String, Vec<String>) {
    let backup = format!("real-{number}");
    let spec = exercise_world(Scenario::Exercise { twist: Twist::None }, Profile::Target);
    let clock = Arc::new(VirtualClock::at(spec.start));
    let sandbox = Sandbox::start_virtual(spec, Arc::clone(&clock)).await.unwrap();
    let target = format!(
        "postgres://postgres:{}@127.0.0.1:{}/{DATABASE}",
        real.staging.password(),
        real.staging.port()
    );
    let app = StagingPlatform::start(&target, 0, Twist::None).await.unwrap();
    let work = tempfile::tempdir().unwrap();
    // Bound and not listening: whoever connects is refused, and nobody else can have the port.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = nobody.local_addr().unwrap().port();
    let shared: Arc<dyn Clock> = clock.clone();
    let input = json!({ "backup": backup });
    let build = |databases| {
        let platform = real.platform(&sandbox, &app, &shared, databases, work.path());
        (allclear::runbooks::find("dr-tabletop").unwrap().build)(input.clone(), platform).unwrap()
    };
    let terms =
        || Terms { humans: drill(), input: input.clone(), ..Terms::new("real-run", "kim", "sandbox") };
    let shown =
        plan(&*build(real.databases(&Trouble::Nothing, port)), terms(), shared.clone()).await.unwrap();
    let before = real.ask("select count(*) from public.vouchers").await;

    real.begin(trouble).await;
    let runbook = build(real.databases(trouble, port));
    let seam = Box::new(MemoryJournal::new().seam(shared.clone()).unwrap());
    let (approved, terms) = (approved(&shown, "real-run"), terms());
    let ended = tokio::spawn(async move { execute(&*runbook, seam, approved, terms).await }).await;
    real.end(trouble).await;
    let (outcome, says) = match ended {
        Ok(Ok(finished)) => (Some(finished.outcome), finished.says),
        Ok(Err(error)) => (None, error.to_string()),
        Err(panic) => (None, panic.to_string()),
    };
    let wrong = judge(real, &backup, outcome, &before).await;
    (outcome, says, wrong)
}

/// What must be so in staging, by its own word.
async fn judge(real: &Real, backup: &str, outcome: Option<Outcome>, before: &str) -> Vec<String> {
    let restored = format!("select count(*) from allclear.restored where backup = '{backup}'");
    let restored = real.ask(&restored).await;
    let others = "select count(*) from public.vouchers where policy_number <> 'SMOKE'";
    let (rows, all) = (real.ask(others).await, real.ask("select count(*) from public.vouchers").await);
    let smoke = real.ask("select count(*) from public.vouchers where policy_number = 'SMOKE'").await;
    let sent = "select count(*) from public.send_logs where provider_msg_id like 'wamid.staging.%'";
    let sent = real.ask(sent).await;
    let source = real.production.run(DATABASE, "select count(*) from public.vouchers").await.unwrap();
    let mut wrong = Vec::new();
    match restored.as_str() {
        "0" if all != before => {
            wrong.push(format!("not restored, and staging has {all} vouchers, not {before}"));
        }
        "1" if rows != source[0][0] => {
            wrong.push(format!("restored, and {rows} of {} are there", source[0][0]));
        }
        "0" | "1" => {}
        many => wrong.push(format!("restored {many} times")),
    }
    if outcome == Some(Outcome::Verified)
        && (restored.as_str(), smoke.as_str(), sent.as_str()) != ("1", "2", "1")
    {
        wrong.push(format!("verified: {restored} restored, {smoke} smoke vouchers, {sent} sent"));
    }
    if outcome.is_none() {
        wrong.push("it did not end".to_owned());
    }
    wrong
}

/// What goes wrong, how the run ends, and what it says.
fn troubles() -> Vec<(Trouble, Outcome, &'static str)> {
    let bucket = |call, after, times, wrong| Trouble::Bucket(S3Fault { call, after, times, wrong });
    let refused = |status, code| Wrong::Refused { status, code, retry_after: None };
    vec![
        (Trouble::Nothing, Outcome::Verified, PROVEN),
        (Trouble::ProductionRefuses, Outcome::Interrupted, "the source database cannot be reached"),
        (Trouble::StagingRefuses, Outcome::Interrupted, "the target database cannot be reached"),
        (
            Trouble::WrongPassword,
            Outcome::Interrupted,
            "the target database refuses the role or its password",
        ),
        (Trouble::StagingIsReadOnly, Outcome::Refused, "set to read only"),
        (Trouble::ProductionCut(200_000), Outcome::Verified, PROVEN),
        (Trouble::StagingCut(150_000), Outcome::Verified, PROVEN),
        (bucket(Call::Put, 3, 1, Wrong::CutAfter), Outcome::Verified, PROVEN),
        (
            bucket(Call::Put, 2, 1_000, refused(403, "AccessDenied")),
            Outcome::Interrupted,
            "the object store stopped",
        ),
        (bucket(Call::Put, 2, 1_000, refused(507, "XMinioStorageFull")), Outcome::Interrupted, "refused"),
        (bucket(Call::Put, 0, 2, refused(503, "SlowDown")), Outcome::Verified, PROVEN),
        (bucket(Call::Get, 2, 1, Wrong::CutInBody), Outcome::Verified, PROVEN),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_real_postgres_and_s3_staging_holds_the_whole_backup_or_what_it_held_before() {
    let began = Instant::now();
    let real = Real::start().await;
    let mut wrong = Vec::new();
    for (number, (trouble, expected, words)) in troubles().into_iter().enumerate() {
        let since = Instant::now();
        let (outcome, says, bad) = hold(&real, number, &trouble).await;
        print(&format!("{trouble:?}: {outcome:?} in {:.1} s: {says}\n", since.elapsed().as_secs_f64()));
        if outcome != Some(expected) || !says.contains(words) {
            wrong.push(format!("{trouble:?}: {outcome:?} and not {expected:?}, `{words}`: {says}"));
        }
        wrong.extend(bad.into_iter().map(|why| format!("{trouble:?}: {why}")));
    }
    print(&format!("{} real runs, {:.1} s\n", troubles().len(), began.elapsed().as_secs_f64()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
