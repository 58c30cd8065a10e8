//! Everything that may go wrong, with every call of every runbook, at the level of whole runs: what the call was taken
//! for, whether its effect happened, and whether the run ended truthfully.
//!
//! The exercise's databases and buckets are in memory here, because over real ones a run takes seconds; their own faults are
//! in [`store_faults`](crate::tabletop), and a selection over real Postgres and S3 beside them.
//!
//! Each cell is a run of its own, against a world of its own, from an approved plan to its end. It is wrong when it panics
//! or hangs, when it ends `verified` in a world that is not what an undisturbed run leaves, when anything happened twice,
//! when it says nothing, or when the fault never came.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use allclear::core::error::StopReason;
use allclear::core::ports::{AuditLog, AuditRow, Chat, ChatMessage, Posted};
use allclear::core::{Platform, PortError};
use allclear::engine::{Event, Outcome, Plan};
use allclear::sandbox::{Profile, Scenario, Twist};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::drilling::{Drill, Ran, Trouble, Tweak, planned, run, untouched};
use crate::fault_layer::{ALL, Call, Fault, Refusal, Seen};

/// Runs at once: many of them only wait for a client's patience to end.
const AT_ONCE: usize = 16;

/// What is drilled: for each runbook as many scenarios as it takes to see all its calls. A call is tried in the first
/// drill that makes it.
const DRILLS: [(Scenario, Profile); 11] = [
    (Scenario::PreviewRemoved, Profile::Target),
    (Scenario::PreviewThrottled { minutes: 3 }, Profile::Target),
    (Scenario::QuietHoursMisconfigured, Profile::Target),
    (Scenario::Outage { minutes: 17 }, Profile::AsIs),
    (Scenario::InvalidNumbers { percent: 40 }, Profile::AsIs),
    (Scenario::RateLimited { minutes: 3 }, Profile::AsIs),
    (Scenario::Stalled, Profile::Target),
    (Scenario::StalledUnreachable { minutes: 16 }, Profile::Target),
    (Scenario::DoubleRedemption, Profile::Target),
    (Scenario::WrongScope, Profile::Target),
    (Scenario::WrongStation, Profile::Target),
];

/// The exercise: its services here, its databases and buckets in [`store_faults`](crate::tabletop).
pub(crate) const EXERCISE: (Scenario, Profile) = (Scenario::Exercise { twist: Twist::None }, Profile::Target);

/// Faults that are also kept up from the first such call to the run's end.
const LASTING: [Fault; 4] = [Fault::S503, Fault::ResetInBody, Fault::S403, Fault::LimitSeconds];

/// A drill, its plan, and what an undisturbed run of it comes to.
pub(crate) struct Undisturbed {
    pub(crate) drill: Drill,
    pub(crate) plan: Plan,
    pub(crate) ran: Ran,
}

/// One call of one runbook, and what each fault of it came to.
struct Row {
    drill: usize,
    call: Call,
    /// What it changes, where it changes something.
    changes: Vec<(String, String)>,
    /// Where among the calls to its service it is the first of its kind, from 1.
    place: usize,
    /// How often the run waits before it.
    waits: usize,
}

/// A run to make.
#[derive(Clone)]
struct Job {
    row: usize,
    trouble: Trouble,
    /// The column; none for a lasting fault.
    column: Option<usize>,
    title: String,
}

/// What a run came to.
struct Cell {
    sign: String,
    wrong: Vec<String>,
}

pub(crate) async fn undisturbed(drills: &[(Scenario, Profile)]) -> Vec<Undisturbed> {
    let mut all = Vec::new();
    for (scenario, profile) in drills.iter().copied() {
        let drill = Drill { scenario, profile };
        let plan = planned(drill).await;
        let ran = run(drill, &plan, &Trouble::None, untouched).await;
        assert_eq!(ran.outcome, Some(Outcome::Verified), "{scenario:?}: {}", ran.says);
        all.push(Undisturbed { drill, plan, ran });
    }
    all
}

fn rows(all: &[Undisturbed]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (number, one) in all.iter().enumerate() {
        for (at, seen) in one.ran.seen.iter().enumerate() {
            let known =
                |row: &Row| row.call == seen.call && all[row.drill].drill.runbook() == one.drill.runbook();
            if rows.iter().any(known) {
                continue;
            }
            let same_service = |other: &&Seen| other.call.service == seen.call.service;
            let place = one.ran.seen[..=at].iter().filter(same_service).count();
            let (call, changes) = (seen.call.clone(), seen.changed.clone());
            rows.push(Row { drill: number, call, changes, place, waits: seen.waits });
        }
    }
    rows
}

/// Every fault of every call once, and some for good.
fn jobs(rows: &[Row]) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, (fault, name)) in ALL.iter().enumerate() {
            let trouble = match fault {
                Fault::Refused => {
                    let (service, at, waits) = (row.call.service, row.place, row.waits);
                    Trouble::Refused(Refusal { service, at, waits })
                }
                Fault::Tls => Trouble::Tls(row.call.service),
                fault => Trouble::At { call: row.call.clone(), fault: fault.clone(), always: false },
            };
            let title = format!("{}, {name}", row.call);
            jobs.push(Job { row: number, trouble, column: Some(column), title });
        }
        let fault = LASTING[number % LASTING.len()].clone();
        let title = format!("{}, {fault:?} for good", row.call);
        let trouble = Trouble::At { call: row.call.clone(), fault, always: true };
        jobs.push(Job { row: number, trouble, column: None, title });
    }
    jobs
}

/// Of the world, what must be right when a run is verified. Messages to people are not in it: a run goes on where they
/// cannot be told, and says so.
fn essential(state: &Value) -> Value {
    let mut essential: serde_json::Map<_, _> =
        ["campaigns", "audit_by_us", "settings", "vouchers", "functions", "exercise"]
            .iter()
            .map(|name| ((*name).to_owned(), state[name].clone()))
            .collect();
    // What a run holds is for a later run to know, should this one not give it back; a verified one did.
    if let Some(rows) = essential.get_mut("audit_by_us").and_then(Value::as_object_mut) {
        rows.retain(|action, _| !["allclear_holds", "allclear_skips"].contains(&action.as_str()));
    }
    essential.into()
}

/// The provider's intake drops no repetition and cannot be asked; its effect declares that a second ticket does no harm.
fn most(effect: &(String, String), undisturbed: &Ran) -> usize {
    let times = undisturbed.ledger.get(effect).copied().unwrap_or(1);
    if effect.0 == "provider.ticket" { times.max(2) } else { times }
}

/// An exercise whose smoke tests all passed left what they do. One that says that it could not try something is verified
/// with that finding: the platform lacks some of those doors, so it is no failure.
fn judge_smoke(ran: &Ran, undisturbed: &Ran) -> Option<String> {
    let all_passed = undisturbed.says.contains("4 of 4 smoke tests passed");
    if !all_passed || ran.state["smoke"] == undisturbed.state["smoke"] {
        return None;
    }
    let says_so = !ran.says.contains("4 of 4 smoke tests passed") && !ran.says.contains("0 findings");
    (!says_so).then(|| format!("smoke tests passed, and staging has {}", ran.state["smoke"]))
}

/// What must hold of every run.
pub(crate) fn judge(ran: &Ran, undisturbed: &Ran) -> Vec<String> {
    let mut wrong = Vec::new();
    if ran.outcome.is_none() {
        wrong.push(ran.says.clone());
    }
    if ran.says.trim().is_empty() {
        wrong.push("it ended without a word".to_owned());
    }
    let same_calls = || {
        let calls = |ran: &Ran| ran.seen.iter().map(|one| one.call.clone()).collect::<Vec<_>>();
        calls(ran) == calls(undisturbed)
    };
    let unnoticed = class(ran, undisturbed) == '.' && same_calls();
    if !ran.troubled || (unnoticed && !ran.seen.iter().any(|one| one.spoiled)) {
        wrong.push("the fault never came".to_owned());
    }
    for (effect, times) in &ran.ledger {
        if *times > most(effect, undisturbed) {
            wrong.push(format!("{effect:?} happened {times} times"));
        }
    }
    if ran.outcome == Some(Outcome::Verified) {
        let (is, should) = (essential(&ran.state), essential(&undisturbed.state));
        if is != should {
            wrong.push(format!("verified, and the world is not right: {is} instead of {should}"));
        }
        wrong.extend(judge_smoke(ran, undisturbed));
        let told = |ran: &Ran| ran.state["slack_messages"].as_u64().unwrap_or(0);
        if told(ran) < told(undisturbed) && ran.failures().next().is_none() {
            wrong.push("somebody was not told, and the journal does not say so".to_owned());
        }
    }
    let concluded = ran.entries.iter().find_map(|entry| match &entry.event {
        Event::Concluded { outcome, .. } => Some(*outcome),
        _ => None,
    });
    if ran.outcome.is_some_and(Outcome::is_final) && concluded != ran.outcome {
        wrong.push(format!("it says {:?} and its journal {concluded:?}", ran.outcome));
    }
    wrong
}

/// What the call was taken for, as the journal has it: the first failure that an undisturbed run does not have.
pub(crate) fn class(ran: &Ran, undisturbed: &Ran) -> char {
    let known: Vec<&PortError> = undisturbed.failures().collect();
    let Some(error) = ran.failures().find(|error| !known.contains(error)) else {
        return '.';
    };
    match error {
        PortError::AlreadyDone { .. } => 'd',
        PortError::RateLimited { .. } => 'l',
        PortError::Unavailable { .. } => 'u',
        PortError::OutcomeUnknown { .. } => '?',
        PortError::Rejected { .. } => 'r',
        PortError::NotFound { .. } => 'n',
        PortError::Malformed { .. } | PortError::Damaged { .. } => 'm',
        PortError::Stopped { reason: StopReason::Credential, .. } => 'k',
        PortError::Stopped { .. } => 'p',
    }
}

/// How the run ended.
pub(crate) fn end_letter(outcome: Option<Outcome>) -> char {
    match outcome {
        Some(Outcome::Verified) => 'v',
        Some(Outcome::Unverified) => 'u',
        Some(Outcome::Refuted) => 'r',
        Some(Outcome::InDoubt) => 'd',
        Some(Outcome::WaitingForHuman) => 'w',
        Some(Outcome::Rejected | Outcome::Refused | Outcome::Undone) => 'x',
        Some(Outcome::Detached) => 'l',
        Some(Outcome::Interrupted) => 'i',
        None => '!',
    }
}

/// The same; a capital where the call's effect happened.
fn end(ran: &Ran, row: &Row) -> char {
    let letter = end_letter(ran.outcome);
    let happened = row.changes.iter().any(|change| ran.ledger.contains_key(change));
    if happened { letter.to_ascii_uppercase() } else { letter }
}

const LEGEND: &str = "First letter, what the call was taken for: l limited, u unavailable, ? outcome unknown, r refused, n not found, \
m malformed, k credential, p permission or policy, d already done, . no failure in the journal (the client had another way, \
or the failure is what the step observes).\nSecond letter, how the run ended: v verified, u unverified, r refuted, d in doubt, \
w waiting for a person, x refused, i interrupted and to be gone on with; a capital where what the call is for happened, by the ledger.";

fn table(all: &[Undisturbed], rows: &[Row], cells: &BTreeMap<(usize, usize), String>) -> String {
    let mut text = format!("{LEGEND}\n\n");
    for (number, (_, name)) in ALL.iter().enumerate() {
        let _ = writeln!(text, "{:>2} {name}", number + 1);
    }
    let mut runbook = "";
    for (number, row) in rows.iter().enumerate() {
        if all[row.drill].drill.runbook() != runbook {
            runbook = all[row.drill].drill.runbook();
            let _ = write!(text, "\n{runbook:<64}");
            for column in 1..=ALL.len() {
                let _ = write!(text, "{column:>3}");
            }
            text.push('\n');
        }
        let name: String = row.call.to_string().chars().take(63).collect();
        let _ = write!(text, "{name:<64}");
        for column in 0..ALL.len() {
            let _ = write!(text, "{:>3}", cells.get(&(number, column)).map_or("", String::as_str));
        }
        text.push('\n');
    }
    text
}

/// Makes all runs; the cells in the order of the jobs.
async fn make(all: &Arc<Vec<Undisturbed>>, rows: &Arc<Vec<Row>>, jobs: &[Job], tweak: Tweak) -> Vec<Cell> {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let tasks: Vec<_> = jobs
        .iter()
        .cloned()
        .map(|job| {
            let (all, rows, permits) = (Arc::clone(all), Arc::clone(rows), Arc::clone(&permits));
            tokio::spawn(async move {
                let _permit = permits.acquire_owned().await;
                let row = &rows[job.row];
                let Undisturbed { drill, plan, ran: undisturbed } = &all[row.drill];
                let ran = run(*drill, plan, &job.trouble, tweak).await;
                let title = format!("{}: {}", drill.runbook(), job.title);
                let wrong = judge(&ran, undisturbed).into_iter();
                Cell {
                    sign: format!("{}{}", class(&ran, undisturbed), end(&ran, row)),
                    wrong: wrong.map(|why| format!("{title}: {why} (the run says: {})", ran.says)).collect(),
                }
            })
        })
        .collect();
    let mut cells = Vec::new();
    for task in tasks {
        cells.push(task.await.unwrap());
    }
    cells
}

/// Past the capture of test output: the table is what this test is for.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_with_a_call_the_run_ends_truthfully() {
    matrix(&DRILLS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_with_a_call_of_the_exercise_it_ends_truthfully() {
    matrix(&[EXERCISE]).await;
}

async fn matrix(drills: &[(Scenario, Profile)]) {
    let began = Instant::now();
    let all = Arc::new(undisturbed(drills).await);
    let rows = Arc::new(rows(&all));
    let jobs = jobs(&rows);
    let made = make(&all, &rows, &jobs, untouched).await;
    let mut cells = BTreeMap::new();
    let mut wrong = Vec::new();
    for (job, cell) in jobs.iter().zip(made) {
        if let Some(column) = job.column {
            cells.insert((job.row, column), cell.sign);
        }
        wrong.extend(cell.wrong);
    }
    print(&table(&all, &rows, &cells));
    print(&format!(
        "{} calls of {} drills x {} faults, and {} lasting faults: {} runs, {} wrong, {:.1} s\n",
        rows.len(),
        all.len(),
        ALL.len(),
        jobs.len() - cells.len(),
        jobs.len(),
        wrong.len(),
        began.elapsed().as_secs_f64(),
    ));
    assert_eq!(cells.len(), rows.len() * ALL.len(), "a cell is empty");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Says of every message that it is not there, so that a lost answer is taken for a message that was not posted.
struct Forgetful(Arc<dyn Chat>);

#[async_trait::async_trait]
impl Chat for Forgetful {
    async fn post(&self, message: &ChatMessage) -> Result<Posted, PortError> {
        self.0.post(message).await
    }

    async fn reply(&self, to: &Posted, message: &ChatMessage) -> Result<Posted, PortError> {
        self.0.reply(to, message).await
    }

    async fn find(&self, _channel: &str, _marker: &str) -> Result<Option<Posted>, PortError> {
        Ok(None)
    }

    async fn find_reply(
        &self,
        _channel: &str,
        _to: &Posted,
        _marker: &str,
    ) -> Result<Option<Posted>, PortError> {
        Ok(None)
    }

    async fn post_by_webhook(&self, message: &ChatMessage) -> Result<(), PortError> {
        self.0.post_by_webhook(message).await
    }
}

/// Takes every row for written and finds whatever is looked for.
struct Credulous(Arc<dyn AuditLog>, std::sync::Mutex<Vec<AuditRow>>);

#[async_trait::async_trait]
impl AuditLog for Credulous {
    async fn insert(&self, row: &AuditRow) -> Result<(), PortError> {
        let _ = self.0.insert(row).await;
        self.1.lock().unwrap().push(row.clone());
        Ok(())
    }

    async fn find(&self, id: uuid::Uuid) -> Result<Option<AuditRow>, PortError> {
        Ok(self.1.lock().unwrap().iter().find(|row| row.id == id).cloned())
    }

    async fn all_of(
        &self,
        action: &str,
        target: &str,
    ) -> Result<Vec<(AuditRow, jiff::Timestamp)>, PortError> {
        self.0.all_of(action, target).await
    }
}

/// What is wrong with the cells of one write with a broken client.
async fn wrong_cells(scenario: Scenario, path: &str, tweak: Tweak) -> Vec<String> {
    let all = Arc::new(undisturbed(&[(scenario, Profile::Target)]).await);
    let rows = Arc::new(rows(&all));
    let mut jobs = jobs(&rows);
    jobs.retain(|job| rows[job.row].call.path == path && rows[job.row].call.writes());
    assert!(!jobs.is_empty(), "no run calls {path}");
    make(&all, &rows, &jobs, tweak).await.into_iter().flat_map(|cell| cell.wrong).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_matrix_finds_an_effect_that_happens_twice() {
    let wrong = wrong_cells(Scenario::PreviewRemoved, "/chat.postMessage", |platform| Platform {
        chat: Arc::new(Forgetful(platform.chat.clone())),
        ..platform
    })
    .await;
    assert!(
        wrong.iter().any(|why| why.contains("slack.post") && why.contains("happened 2 times")),
        "{wrong:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_matrix_finds_a_run_that_is_verified_by_hearsay() {
    let wrong = wrong_cells(Scenario::WrongScope, "/rest/v1/audit_log", |platform| Platform {
        audit: Arc::new(Credulous(platform.audit.clone(), std::sync::Mutex::default())),
        ..platform
    })
    .await;
    assert!(wrong.iter().any(|why| why.contains("the world is not right")), "{wrong:?}");
}
