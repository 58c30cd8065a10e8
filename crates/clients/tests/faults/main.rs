//! Everything that may go wrong, with every call of every method of every port: one table of what it was taken for.
//!
//! The sandbox answers all calls but one, which a [raw server](server) before it spoils. What matters: nothing panics or
//! hangs, a write whose answer was lost is never taken for done or undone, a read has no unknown outcome, memory is
//! bounded, and a credential never follows a redirect.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod calls;
mod fault;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use allclear_clients::storage::StorageAccess;
use allclear_core::error::StopReason;
use allclear_core::{Clock, PortError, VirtualClock};
use allclear_sandbox::{Profile, Sandbox, Scenario, StorageServer, WorldSpec};
use jiff::Timestamp;
use tokio::sync::Semaphore;

use calls::{Clients, Good, Method, Scene};
use fault::{ALL, Fault};
use server::Faulty;

/// A call that gets no answer is given up after the first of these. On a busy machine that may come before the fault did, which
/// tells nothing; then the next is tried.
const TIMEOUTS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];
/// A call that gets one is given up after this long: never, unless it hangs.
const PATIENT: Duration = Duration::from_secs(30);
/// A method may take this long: its calls, one that gets no answer, and some time for a busy machine.
const BOUND: Duration = Duration::from_secs(20);
const MAX_BODY: usize = 1 << 20;
/// Of a body without end, this much may be taken: the bound, and what lies in the buffers between.
const MOST_TAKEN: u64 = 16 << 20;
const AT_ONCE: usize = 32;
/// Where Storage lies below its host.
const STORAGE: &str = "/storage/v1";

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Done,
    Diagnosed,
    AlreadyDone,
    Wait(Option<u64>),
    Unavailable,
    Unknown,
    Rejected,
    NotFound,
    Malformed,
    Credential,
    Permission,
    Policy,
    Panic,
    /// There is one handshake only, so what goes wrong in it is in the first row.
    AsFirst,
}

impl Cell {
    fn of(outcome: &Result<Good, PortError>) -> Self {
        match outcome {
            Ok(Good::Done) => Self::Done,
            Ok(Good::Diagnosed) => Self::Diagnosed,
            Err(PortError::AlreadyDone { .. }) => Self::AlreadyDone,
            Err(PortError::RateLimited { wait_seconds, .. }) => Self::Wait(*wait_seconds),
            Err(PortError::Unavailable { .. }) => Self::Unavailable,
            Err(PortError::OutcomeUnknown { .. }) => Self::Unknown,
            Err(PortError::Rejected { .. }) => Self::Rejected,
            Err(PortError::NotFound { .. }) => Self::NotFound,
            Err(PortError::Malformed { .. } | PortError::Damaged { .. }) => Self::Malformed,
            Err(PortError::Stopped { reason: StopReason::Credential, .. }) => Self::Credential,
            Err(PortError::Stopped { reason: StopReason::Permission, .. }) => Self::Permission,
            Err(PortError::Stopped { reason: StopReason::Policy, .. }) => Self::Policy,
        }
    }

    fn sign(self) -> String {
        match self {
            Self::Done => "ok".to_owned(),
            Self::Diagnosed => "dia".to_owned(),
            Self::AlreadyDone => "did".to_owned(),
            Self::Wait(Some(seconds)) => format!("w{seconds}"),
            Self::Wait(None) => "w".to_owned(),
            Self::Unavailable => "una".to_owned(),
            Self::Unknown => "???".to_owned(),
            Self::Rejected => "rej".to_owned(),
            Self::NotFound => "non".to_owned(),
            Self::Malformed => "mal".to_owned(),
            Self::Credential => "key".to_owned(),
            Self::Permission => "may".to_owned(),
            Self::Policy => "pol".to_owned(),
            Self::Panic => "PAN".to_owned(),
            Self::AsFirst => "=1".to_owned(),
        }
    }
}

const LEGEND: &str = "ok done, dia diagnosed (the method's own answer), did already done, wN wait N s, w wait, una unavailable: \
nothing happened, ??? outcome unknown, rej refused, non not found, mal malformed, key credential, may permission, pol policy, \
=1 as in the first row";

/// One request of one method, and what each fault of it came to.
struct Row {
    method: &'static str,
    at: usize,
    request: (String, String),
    /// How often an undisturbed call makes that request.
    times: usize,
    /// By column.
    cells: BTreeMap<usize, Cell>,
}

impl Row {
    /// Whether that request may change something. Signing in, rendering a preview, a list and a link do not.
    fn writes(&self) -> bool {
        let (method, path) = &self.request;
        let reads = [
            "/api/auth/login",
            "/api/station/login",
            "/api/vouchers/preview",
            "/object/list-v2/",
            "/object/sign/",
        ];
        !matches!(method.as_str(), "GET" | "HEAD") && !reads.iter().any(|read| path.contains(read))
    }
}

fn start() -> Timestamp {
    "2026-11-23T07:00:00Z".parse().unwrap()
}

fn clients(base: &str, timeout: Duration) -> Clients {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let mut settings = allclear_clients::sandbox::settings(base, folder).unwrap();
    settings.timeout = timeout;
    settings.max_body = MAX_BODY;
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::at(start()));
    let key = settings.credentials.service_key.clone();
    let storage = StorageAccess { endpoint: format!("{base}{STORAGE}"), key };
    Clients {
        platform: allclear_clients::connect(settings.clone(), &clock).unwrap(),
        settings,
        storage,
        clock,
    }
}

async fn sandbox(method: Method) -> Sandbox {
    let is_smoke = method.name.starts_with("SmokeTests::");
    let spec = WorldSpec {
        // A smoke test needs doors that the platform lacks. Its campaign is not started while others' messages wait, so
        // there is one that has sent everything.
        profile: if is_smoke { Profile::Target } else { Profile::AsIs },
        campaigns: if is_smoke { 1 } else { 6 },
        targets_per_campaign: if is_smoke { 0 } else { 5 },
        vouchers: 12,
        stations: 3,
        notifications: 20,
        scenario: Scenario::Healthy,
        ..WorldSpec::default()
    };
    Sandbox::start_virtual(spec, Arc::new(VirtualClock::at(start()))).await.unwrap()
}

/// Storage with a bucket of pictures and one of evidence, over a folder that goes with it.
async fn storage() -> (StorageServer, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let server = StorageServer::start(folder.path(), 0).await.unwrap();
    server.make_bucket("vouchers").unwrap();
    std::fs::write(folder.path().join("vouchers/1.png"), b"png").unwrap();
    server.make_bucket("exercises/run").unwrap();
    std::fs::write(folder.path().join("exercises/run").join(calls::KEPT), b"kept").unwrap();
    (server, folder)
}

/// What is seen of a cell beside its outcome.
struct Trial {
    cell: Cell,
    requests: Vec<(String, String)>,
    took: Duration,
    taken: u64,
    redirected: usize,
}

/// Another one each time.
fn marker() -> String {
    static TRIALS: AtomicUsize = AtomicUsize::new(0);
    format!("trial {}", TRIALS.fetch_add(1, Ordering::SeqCst))
}

/// Tries a method with a fault, until the fault came.
async fn try_once(
    method: Method,
    sandbox: &Sandbox,
    storage: &StorageServer,
    scene: &Arc<Scene>,
    fault: Option<(Fault, usize)>,
) -> Trial {
    let Some((_, at)) = fault.filter(|(fault, _)| fault.is_slow()) else {
        return try_within(PATIENT, method, sandbox, storage, scene, fault).await;
    };
    let [first, more @ ..] = TIMEOUTS;
    let mut trial = try_within(first, method, sandbox, storage, scene, fault).await;
    for timeout in more {
        if trial.requests.len() < at {
            trial = try_within(timeout, method, sandbox, storage, scene, fault).await;
        }
    }
    trial
}

async fn try_within(
    timeout: Duration,
    method: Method,
    sandbox: &Sandbox,
    storage: &StorageServer,
    scene: &Arc<Scene>,
    fault: Option<(Fault, usize)>,
) -> Trial {
    let undisturbed = clients(&sandbox.base_url(), PATIENT);
    let name = format!("incident {}", sandbox.ledger().len());
    let scene = match method.name {
        "Acknowledgements::call_in" => Arc::new(scene.with_an_incident_of_its_own(&undisturbed, &name).await),
        smoke if smoke.starts_with("SmokeTests::") => Arc::new(scene.marked(&marker())),
        _ => Arc::clone(scene),
    };
    let host =
        if method.is_of_storage() { storage.base_url().replace(STORAGE, "") } else { sandbox.base_url() };
    let faulty = Faulty::before(&host, fault).await;
    let began = Instant::now();
    let outcome = tokio::spawn((method.call)(clients(&faulty.base, timeout), scene)).await;
    Trial {
        cell: outcome.map_or(Cell::Panic, |outcome| Cell::of(&outcome)),
        took: began.elapsed(),
        requests: faulty.seen.requests(),
        taken: faulty.seen.taken.load(Ordering::SeqCst),
        redirected: faulty.seen.redirected.load(Ordering::SeqCst),
    }
}

/// The columns, in groups that are tried beside each other, each before a sandbox of its own: those that only wait one by
/// one, and all others one after the other.
fn groups() -> Vec<Vec<usize>> {
    let (slow, others): (Vec<usize>, Vec<usize>) =
        (0..ALL.len()).partition(|column| ALL[*column].0.is_slow());
    slow.into_iter().map(|column| vec![column]).chain([others]).collect()
}

/// Some columns of all rows of one method, and what is wrong with them.
async fn cells_of(method: Method, columns: &[usize]) -> (Vec<Row>, Vec<String>) {
    let sandbox = sandbox(method).await;
    let scene = Arc::new(Scene::of(&clients(&sandbox.base_url(), PATIENT), start()).await);
    let (storage, _folder) = storage().await;
    let healthy = try_once(method, &sandbox, &storage, &scene, None).await;
    let mut wrong = Vec::new();
    if healthy.cell != Cell::Done {
        wrong.push(format!("{}, undisturbed: it came to {:?}", method.name, healthy.cell));
    }
    let mut rows = Vec::new();
    for (place, request) in healthy.requests.iter().enumerate() {
        let at = place + 1;
        let times = healthy.requests.iter().filter(|other| *other == request).count();
        let (request, cells) = (request.clone(), BTreeMap::new());
        let mut row = Row { method: method.name, at, request, times, cells };
        for column in columns {
            let (fault, name) = ALL[*column];
            if fault.is_tls() && at > 1 {
                row.cells.insert(*column, Cell::AsFirst);
                continue;
            }
            let trial = try_once(method, &sandbox, &storage, &scene, Some((fault, at))).await;
            row.cells.insert(*column, trial.cell);
            let title = format!("{} request {at} ({} {}), {name}", method.name, row.request.0, row.request.1);
            wrong.extend(judge(&row, fault, &trial).into_iter().map(|why| format!("{title}: {why}")));
        }
        rows.push(row);
    }
    if rows.is_empty() {
        wrong.push(format!("{} made no request", method.name));
    }
    (rows, wrong)
}

/// Puts the cells of a group into the rows of the groups before.
fn join(rows: &mut Vec<Row>, more: Vec<Row>) {
    if rows.is_empty() {
        *rows = more;
        return;
    }
    assert_eq!(rows.len(), more.len(), "a method made other requests the second time");
    for (row, more) in rows.iter_mut().zip(more) {
        row.cells.extend(more.cells);
    }
}

/// What must hold of every cell.
fn judge(row: &Row, fault: Fault, trial: &Trial) -> Vec<String> {
    let mut wrong = Vec::new();
    let (cell, writes) = (trial.cell, row.writes());
    // A method may have another way to its answer, such as the older dialect of a log, or signing in again.
    let recovered = matches!(cell, Cell::Done | Cell::Diagnosed) && trial.requests.len() > row.at;
    if !allowed(row, fault, cell) && !(recovered && (!writes || fault == Fault::S401)) {
        wrong.push(format!("it came to {cell:?}"));
    }
    if !writes && cell == Cell::Unknown && !fault.is_before_sending() {
        wrong.push("a read has no outcome that could be unknown".to_owned());
    }
    let spoiled = trial.requests.get(row.at - 1);
    if writes && fault != Fault::S401 {
        let again = trial.requests.iter().filter(|request| Some(*request) == spoiled).count();
        if again > row.times {
            wrong.push(format!("the write was made {again} times"));
        }
    }
    if trial.took > BOUND {
        wrong.push(format!("it took {:?}", trial.took));
    }
    if trial.taken > MOST_TAKEN {
        wrong.push(format!("it took {} bytes of a body without end", trial.taken));
    }
    if trial.redirected > 0 {
        wrong.push("it followed the redirect".to_owned());
    }
    wrong
}

/// Whether a smoke test may take a fault for its own answer. That staging says no, or nonsense, is what it is to find; that
/// nobody knows what staging did is not. All that it writes is keyed, so a failure inside may be tried again.
fn is_found_out(row: &Row, fault: Fault) -> bool {
    if fault == Fault::WrongType && row.request.1.contains("/api/campaigns") {
        // Of these answers the status is all that counts; what they came to is looked for in the database.
        return true;
    }
    if fault == Fault::Endless || fault.is_unreadable_success() {
        return !row.writes();
    }
    let says_no = matches!(fault, Fault::Redirect | Fault::Page404 | Fault::S404 | Fault::S409);
    says_no || (row.writes() && matches!(fault, Fault::S500 | Fault::S503 | Fault::S504))
}

/// Whether a fault may be taken for that.
fn allowed(row: &Row, fault: Fault, cell: Cell) -> bool {
    let writes = row.writes();
    if row.method.starts_with("SmokeTests::") && cell == Cell::Diagnosed {
        return is_found_out(row, fault);
    }
    // The admin API writes first and fails then, so of its actions only a clean answer is one.
    let acts = row.request.1.contains("/api/campaigns/");
    if fault.is_before_sending() {
        return cell == Cell::Unavailable;
    }
    // That its picture cannot be had is an answer about a preview, however the storage says so.
    if row.request.1.contains("/storage/") && cell == Cell::Diagnosed {
        return !fault.loses_the_answer();
    }
    if fault.loses_the_answer() {
        // Without a body there is nothing to lose but a header.
        if row.request.0 == "HEAD" && matches!(fault, Fault::ResetInBody | Fault::WrongLength) {
            return cell == Cell::Malformed;
        }
        let read = if fault == Fault::Endless { Cell::Malformed } else { Cell::Unavailable };
        return cell == if writes { Cell::Unknown } else { read };
    }
    if fault.is_failure_inside() {
        // The gateway before functions answers 503 without having started one.
        let not_started = fault == Fault::S503 && row.request.1.contains("/functions/v1/");
        return cell == if writes && !not_started { Cell::Unknown } else { Cell::Unavailable };
    }
    if fault.is_unreadable_success() {
        // An insert says everything with its status, unless what comes is a page.
        let says_all = row.request.0 == "POST" && row.request.1.contains("/rest/v1/") && fault != Fault::Page;
        return if writes {
            cell == Cell::Unknown || (says_all && cell == Cell::Done)
        } else {
            // What is no whole JSON is not the service's own answer, and passes.
            let is_whole = fault == Fault::WrongType;
            cell == Cell::Malformed || (!is_whole && cell == Cell::Unavailable)
        };
    }
    let plain = match fault {
        Fault::LimitSeconds => Cell::Wait(Some(7)),
        Fault::LimitDate => Cell::Wait(Some(60)),
        Fault::Limit => Cell::Wait(None),
        Fault::S401 => Cell::Credential,
        Fault::S403 => Cell::Permission,
        Fault::S404 => Cell::NotFound,
        _ => Cell::Rejected,
    };
    cell == plain || (acts && cell == Cell::Unknown)
}

/// The most memory that this process ever had, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}

fn table(rows: &[Row]) -> String {
    let mut text = format!("{LEGEND}\n\n");
    for (number, (_, name)) in ALL.iter().enumerate() {
        let _ = writeln!(text, "{:>2} {name}", number + 1);
    }
    let _ = write!(text, "\n{:<58}", "method, request");
    for number in 1..=ALL.len() {
        let _ = write!(text, "{number:>4}");
    }
    for row in rows {
        let (method, path) = &row.request;
        let last = path.rsplit('/').next().unwrap_or_default();
        let kind = if row.writes() { "write" } else { "read" };
        let name: String =
            format!("{} {} {method} {last} {kind}", row.method, row.at).chars().take(57).collect();
        let _ = write!(text, "\n{name:<58}");
        for cell in row.cells.values() {
            let _ = write!(text, "{:>4}", cell.sign());
        }
    }
    text.push('\n');
    text
}

#[test]
fn every_method_is_in_the_table() {
    let plain = |method: &Method| method.name.split('(').next().unwrap_or_default().to_owned();
    let listed: BTreeSet<String> = calls::all().iter().map(plain).collect();
    let in_source: BTreeSet<String> = calls::in_source().into_iter().collect();
    assert!(in_source.len() > 50, "{in_source:?}");
    assert_eq!(listed, in_source);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_may_go_wrong_is_taken_for_what_it_is() {
    // One that warms everything up, so that the memory after it is compared with the memory before.
    let _ = cells_of(calls::all()[0], &(0..ALL.len()).collect::<Vec<_>>()).await;
    let before = peak_memory();
    let began = Instant::now();
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let tasks: Vec<_> = calls::all()
        .into_iter()
        .map(|method| {
            let of_group = |columns: Vec<usize>| {
                let permits = Arc::clone(&permits);
                tokio::spawn(async move {
                    let _permit = permits.acquire_owned().await;
                    cells_of(method, &columns).await
                })
            };
            groups().into_iter().map(of_group).collect::<Vec<_>>()
        })
        .collect();
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for groups in tasks {
        let mut of_method = Vec::new();
        for group in groups {
            let (more, bad) = group.await.unwrap();
            join(&mut of_method, more);
            wrong.extend(bad);
        }
        rows.extend(of_method);
    }
    let grown = peak_memory().saturating_sub(before);
    let table = table(&rows);
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("fault-matrix.txt"), &table).unwrap();
    let cells: usize =
        rows.iter().map(|row| row.cells.values().filter(|cell| **cell != Cell::AsFirst).count()).sum();
    println!("{table}");
    println!(
        "{} methods, {} requests, {} faults, {cells} cells, {} wrong, {:.1} s, peak memory grew by {:.1} MiB",
        calls::all().len(),
        rows.len(),
        ALL.len(),
        wrong.len(),
        began.elapsed().as_secs_f64(),
        grown as f64 / f64::from(1 << 20),
    );
    assert!(rows.iter().all(|row| row.cells.len() == ALL.len()), "a cell is empty");
    assert!(cells > 1_500, "only {cells} cells");
    assert!(wrong.is_empty(), "{} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(grown < 64 << 20, "memory grew by {grown} bytes");
}
