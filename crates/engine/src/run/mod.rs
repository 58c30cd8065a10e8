//! The run: what a procedure holds, and through which it touches the world.
//!
//! Every verb of a run ([`probe`](Run::probe), [`perform`](Run::perform), [`ask`](Run::ask), [`until`](Run::until),
//! [`wait_until`](Run::wait_until), [`note`](Run::note)) records what it does before and after it does it. In a plan
//! the same verbs look, predict and list, and change nothing.

mod ask;
mod collect;
mod deadline;
mod doubt;
mod guard;
mod ledger;
mod observe;
mod settle;
mod until;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use allclear_core::clock::after;
use allclear_core::ports::DangerousApprovals;
use allclear_core::{Class, Clock, PortError};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use deadline::{Deadline, Escalation};
pub(crate) use ledger::{Ledger, effect_id};
pub use settle::Settled;
pub use until::{Achieving, AchievingSparingly, Check, Condition, Observing, Watch};

use crate::effect::{Change, Foreseen};
use crate::humans::{Humans, Nobody};
use crate::journal::{Entry, Event, Note, Of, Waiting};
use crate::outcome::{Halt, Refusal};
use crate::owner::{self, Announcing};
use crate::plan::{Plan, PlannedEffect, PlannedGate, Seen};
use crate::probe::OnlyWhile;
use crate::replay::BESIDE;
use crate::retry::{Failure, Persistence, RetryPolicy, Strain, Tries};
use crate::seam::{Recorded, Seam, SeamError, Signal, Woken};
use crate::step::Step;
use crate::undo::Collected;

/// Sees every new entry right after it became durable: live view, logs, metrics.
pub type Listener = Arc<dyn Fn(&Entry) + Send + Sync>;

/// Asks a run to let go at the next safe point. Clones share one flag.
#[derive(Debug, Clone, Default)]
pub struct Detach(Arc<AtomicBool>);

impl Detach {
    /// Asks.
    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether somebody asked.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Who runs what, where, and on which terms. Plain values, read once at the edge.
#[derive(Clone)]
pub struct Terms {
    /// The run's id.
    pub run: String,
    /// Who started it.
    pub operator: String,
    /// Which environment.
    pub environment: String,
    /// Which platform that is, whatever it is called: claims hold by it, so that two names of one platform are one. Without
    /// it the name counts.
    pub platform: Option<String>,
    /// The procedure's input, as it is journalled.
    pub input: Value,
    /// What an adapter needs to take it up again, as it is journalled; the same that the store was told.
    pub context: Value,
    /// Who agrees to what is dangerous, how many, and for how long a question about it stands.
    pub dangerous: DangerousApprovals,
    /// Who answers gates.
    pub humans: Arc<dyn Humans>,
    /// How failed calls are tried again.
    pub retry: RetryPolicy,
    /// Whether another order than recorded is refused rather than warned about.
    pub strict: bool,
    /// How a run is asked to let go.
    pub detach: Detach,
    /// Who sees new entries.
    pub listener: Option<Listener>,
    /// Where the run says that it goes on, and looks whether another does; `None` where nobody else can reach what it acts
    /// on. A run whose plan changes nothing announces nothing.
    pub announcing: Option<Announcing>,
}

impl Terms {
    /// Terms for a run that nobody watches: nobody at the gates, strict order.
    pub fn new(run: impl Into<String>, operator: impl Into<String>, environment: impl Into<String>) -> Self {
        Self {
            run: run.into(),
            operator: operator.into(),
            environment: environment.into(),
            platform: None,
            input: Value::Null,
            context: Value::Null,
            dangerous: DangerousApprovals::default(),
            humans: Arc::new(Nobody),
            retry: RetryPolicy::default(),
            strict: true,
            detach: Detach::default(),
            listener: None,
            announcing: None,
        }
    }
}

impl Terms {
    /// Under which name things are claimed: the platform's, or the environment's where that is not known.
    pub(crate) fn owns_on(&self) -> &str {
        self.platform.as_deref().unwrap_or(&self.environment)
    }
}

impl std::fmt::Debug for Terms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terms")
            .field("run", &self.run)
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}

/// What planning has gathered so far.
#[derive(Debug, Default)]
pub(crate) struct Planning {
    pub(crate) effects: Vec<PlannedEffect>,
    pub(crate) gates: Vec<PlannedGate>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) foreseen: Foreseen,
    condition: Option<String>,
}

pub(crate) enum Mode {
    Planning(Planning),
    Acting,
}

/// One execution of a runbook, or the making of its plan.
pub struct Run {
    /// Whether the journal holds more than was replayed: an earlier process came further than here.
    ahead: bool,
    /// When this process took the run up, where it did.
    taken_up_at: Option<Timestamp>,
    /// Until when the watch that is looking is patient with failing calls.
    patient_until: Option<Timestamp>,
    strain: Strain,
    pace: Pace,
    /// How many predictions of a plan failed.
    predictions: u32,
    pub(crate) seam: Box<dyn Seam>,
    pub(crate) terms: Terms,
    pub(crate) mode: Mode,
    /// The approved plan that effects are compared with; `None` while planning, and in a rehearsal without one.
    pub(crate) plan: Option<Plan>,
    /// Whether it acts on a sandbox alone: where it began, and now.
    pub(crate) rehearsed: bool,
    /// The dangerous effects that a gate of this run covered, by name and subject.
    covered: HashSet<(String, String)>,
    /// What was shown of those that the engine itself asked about.
    agreed: HashMap<(String, String), Vec<Change>>,
    now: Timestamp,
    performed: HashSet<String>,
    /// Who started the run: not necessarily whoever took it up again.
    requester: String,
    /// Who has it now: whoever it was handed to last.
    holder: String,
    hand_overs: u32,
    notes: u32,
    /// How many notes were made beside the procedure.
    notes_beside: u32,
    pub(crate) ledger: Ledger,
    /// What takes the effects back, where the run is replayed to be undone.
    collected: Option<Vec<Collected>>,
    deadlines: deadline::Deadlines,
    /// What is recorded now stands beside the procedure.
    beside: bool,
    /// What a good end rests on.
    ends_only_while: Vec<(Step, OnlyWhile)>,
    /// What of it is not so any more, and whom that is told.
    not_so: String,
    when_not_so: Option<Arc<dyn Escalation>>,
    /// What this run has changed so far, by the titles of its effects.
    changed: Vec<String>,
    pub(crate) standing_on_record: owner::Standing,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("id", &self.terms.run).field("now", &self.now).finish_non_exhaustive()
    }
}

impl Run {
    /// A run that acts. Not for everybody: without an approved plan, nobody acts.
    pub(crate) fn acting(seam: Box<dyn Seam>, plan: Option<Plan>, terms: Terms) -> Self {
        Self { plan, ..Self::new(seam, terms, Mode::Acting) }
    }

    pub(crate) fn planning(seam: Box<dyn Seam>, terms: Terms) -> Self {
        Self::new(
            seam,
            Terms { retry: RetryPolicy::planning(), ..terms },
            Mode::Planning(Planning::default()),
        )
    }

    fn new(seam: Box<dyn Seam>, terms: Terms, mode: Mode) -> Self {
        // Acting, time comes from entries alone, so that a replay computes what the first execution computed.
        let now = if matches!(mode, Mode::Acting) { Timestamp::MIN } else { seam.clock().now() };
        let (requester, holder) = (terms.operator.clone(), terms.operator.clone());
        Self {
            seam,
            terms,
            mode,
            plan: None,
            rehearsed: false,
            covered: HashSet::new(),
            agreed: HashMap::new(),
            now,
            performed: HashSet::new(),
            requester,
            holder,
            hand_overs: 0,
            ahead: false,
            taken_up_at: None,
            patient_until: None,
            strain: Strain::default(),
            pace: Pace::default(),
            predictions: 0,
            notes: 0,
            notes_beside: 0,
            ledger: Ledger::default(),
            collected: None,
            deadlines: deadline::Deadlines::default(),
            beside: false,
            ends_only_while: Vec::new(),
            not_so: String::new(),
            when_not_so: None,
            changed: Vec::new(),
            standing_on_record: owner::Standing::unknown(),
        }
    }

    /// The run's id.
    pub fn id(&self) -> &str {
        &self.terms.run
    }

    /// Who started it.
    pub fn requester(&self) -> &str {
        &self.requester
    }

    /// Who has it now: whoever it was handed to last, or started it.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// Whose approval of their own is none: who has it, and who took it up.
    pub(crate) fn holders(&self) -> [&str; 2] {
        [&self.holder, &self.terms.operator]
    }

    pub(crate) fn was_started_by(&mut self, requester: String) {
        self.holder.clone_from(&requester);
        self.requester = requester;
        while let Some(entry) = self.seam.recorded(&handed_over_key(self.hand_overs + 1)) {
            self.hand_overs += 1;
            if let Event::HandedOver { to, .. } = &entry.event {
                self.holder.clone_from(to);
            }
        }
    }

    /// The clock behind the run's time.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.seam.clock()
    }

    /// The run's time: that of its latest entry, or of the wait that ended since. The same in every replay.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Tells something for the report: a [`Note`], or a [`Claim`](crate::Claim) of what was done against the incident.
    pub async fn note(&mut self, step: &Step, note: impl Into<Note> + Send) -> Result<(), Halt> {
        let note = note.into();
        self.notes += 1;
        let key = format!("{}/note {}", step.id, self.notes);
        let of = of(step, "");
        self.record(&key, async move { Event::Noted { of, note } }).await.map(drop)
    }

    /// Waits, durably, until `at`. A plan only says so.
    pub async fn wait_until(
        &mut self,
        step: &Step,
        at: Timestamp,
        says: impl Into<String>,
    ) -> Result<(), Halt> {
        let says = says.into();
        if let Mode::Planning(planning) = &mut self.mode {
            planning
                .seen
                .push(Seen { step: step.id.to_owned(), says: format!("then wait until {at}: {says}") });
            return Ok(());
        }
        let key = format!("{}/wait until {at}", step.id);
        self.sleep(&key, of(step, ""), at, Waiting::ForTheWorld, says).await
    }

    /// Stops here, because there is nothing to do, unless `needed`.
    pub fn conclude_unless(&self, needed: bool, says: impl Into<String>) -> Result<(), Halt> {
        if needed { Ok(()) } else { Err(Halt::NothingToDo { says: says.into() }) }
    }

    /// In a plan, lists what `contingency` would do under a condition that has not come true (yet). A run passes
    /// over it: it performs those effects when their time comes, and the plan has named them.
    pub async fn in_case(&mut self, condition: &str, contingency: &dyn Escalation) -> Result<(), Halt> {
        let Mode::Planning(planning) = &mut self.mode else {
            return Ok(());
        };
        let before = planning.condition.replace(condition.to_owned());
        let foreseen = planning.foreseen.clone();
        let result = contingency.escalate(self).await;
        if let Mode::Planning(planning) = &mut self.mode {
            planning.condition = before;
            planning.foreseen = foreseen;
        }
        result
    }

    /// Whether this is the making of a plan. For the rare procedure that must word something differently; effects
    /// and probes never need to ask.
    pub fn is_plan(&self) -> bool {
        matches!(self.mode, Mode::Planning(_))
    }

    /// Whether what is done now stands beside the procedure.
    pub(crate) fn is_beside(&self) -> bool {
        self.beside
    }

    pub(crate) fn condition(&self) -> Option<String> {
        match &self.mode {
            Mode::Planning(planning) => planning.condition.clone(),
            Mode::Acting => None,
        }
    }

    /// Records under `key`, or returns what is recorded there.
    pub(crate) async fn record(
        &mut self,
        key: &str,
        body: impl Future<Output = Event> + Send,
    ) -> Result<Recorded, Halt> {
        let key = &self.placed(key);
        if let Some(how) = &self.standing_on_record.ended
            && !key.starts_with(BESIDE)
            && self.seam.recorded(key).is_none()
        {
            return Err(owner::ended_elsewhere(self.id(), how).into());
        }
        let recorded = self.seam.record(key, Box::pin(body)).await?;
        self.ahead = recorded.more;
        // Entries beside the procedure (a resume) are not part of its time.
        if self.beside || !key.starts_with(BESIDE) {
            self.now = self.pace.time_of(&recorded.entry, self.now);
        }
        self.ledger.read(&recorded.entry);
        if !recorded.replayed {
            self.show(&recorded.entry);
        }
        if let Some(expected) = &recorded.out_of_order {
            self.order_differs(key, expected).await?;
        }
        Ok(recorded)
    }

    async fn order_differs(&mut self, key: &str, recorded: &str) -> Result<(), Halt> {
        if self.terms.strict {
            // Not an outcome: a damaged or newer procedure must not end a run that the right one can finish.
            let run = self.terms.run.clone();
            return Err(
                SeamError::OrderDiffers { run, key: key.to_owned(), recorded: recorded.to_owned() }.into()
            );
        }
        let warning = Event::OrderDiffers { key: key.to_owned(), recorded: recorded.to_owned() };
        let beside = format!("~order/{key}");
        let warned = self.seam.record(&beside, Box::pin(async move { warning })).await?;
        if !warned.replayed {
            self.show(&warned.entry);
        }
        Ok(())
    }

    pub(crate) fn show(&self, entry: &Entry) {
        if let Some(listener) = &self.terms.listener {
            listener(entry);
        }
    }

    /// Halts when somebody ended the run, stopped everything, or asked it to let go.
    pub(crate) async fn check_stop(&mut self) -> Result<(), Halt> {
        if self.terms.detach.is_requested() {
            return Err(Halt::Detached);
        }
        // An abort, or a stop of everything, is a signal like an answer, to a gate that nobody asks at.
        loop {
            match self.seam.signal("~abort", None, false).await? {
                Woken::By(Signal::HandOver { from, to }) => self.hand_over(from, to).await?,
                Woken::By(signal) => return Err(halt_of(signal)),
                Woken::Time => return Ok(()),
            }
        }
    }

    /// Records that somebody else has the run from now on. Beside the procedure: a replay goes the same way.
    pub(crate) async fn hand_over(&mut self, from: String, to: String) -> Result<(), Halt> {
        self.hand_overs += 1;
        let key = handed_over_key(self.hand_overs);
        self.holder.clone_from(&to);
        self.record(&key, async move { Event::HandedOver { from, to } }).await.map(drop)
    }

    pub(crate) async fn sleep(
        &mut self,
        key: &str,
        of: Of,
        until: Timestamp,
        waiting: Waiting,
        says: String,
    ) -> Result<(), Halt> {
        let recorded = self.record(key, async move { Event::Slept { of, until, waiting, says } }).await?;
        // The recorded time counts, not the one computed now: a replay waits for what was promised.
        let began = recorded.entry.at;
        let Event::Slept { until, waiting, .. } = recorded.entry.event else {
            return Err(self.unreadable(&recorded.entry, "it is no wait"));
        };
        self.check_stop().await?;
        loop {
            // By the recorded times alone, so that a replay passes a deadline at the same place. What is looked at as the
            // deadline passes is looked at first.
            let deadline = self.next_deadline().filter(|deadline| *deadline < until);
            let stuck = if waiting == Waiting::ToRetry { self.stuck_at(began) } else { None };
            let stuck = stuck.filter(|stuck| *stuck < until);
            let wake = [deadline, stuck].into_iter().flatten().fold(until, Timestamp::min);
            match self.seam.sleep(wake).await? {
                Woken::By(Signal::HandOver { from, to }) => self.hand_over(from, to).await?,
                Woken::By(signal) => return Err(halt_of(signal)),
                Woken::Time if deadline == Some(wake) => self.pass_deadline().await?,
                Woken::Time if stuck == Some(wake) => self.tell_stuck_now().await?,
                Woken::Time => break,
            }
        }
        if waiting == Waiting::ToRetry {
            self.waited_to_retry(began, until);
        }
        self.now = self.now.max(until);
        if self.terms.detach.is_requested() { Err(Halt::Detached) } else { Ok(()) }
    }

    /// After failed try `attempt` of a call: waits and returns, or halts because trying again is of no use or there were
    /// enough tries.
    pub(super) async fn wait_to_retry(
        &mut self,
        call: Call<'_>,
        tries: &mut Tries,
        attempt: u32,
        failure: Failure,
    ) -> Result<(), Halt> {
        let Call { step, subject, key } = call;
        let Failure { error, fresh } = failure;
        let wait_key = format!("{key}, wait {attempt}");
        // Noted also where it is replayed: what a watch does next follows from it, the same in every replay.
        let mut replayed = Tries::new(tries.persistence);
        let counts = if fresh { &mut *tries } else { &mut replayed };
        let wait = self.strain.after_failure(&self.terms.retry, counts, &error, key, self.now);
        tries.service = Some(error.service());
        if !fresh && self.ahead && self.seam.recorded(&self.placed(&wait_key)).is_none() {
            // An earlier process gave up here, and the procedure went on without it.
            return Err(failed(step, error, attempt));
        }
        let wait = if fresh {
            match wait {
                Some(wait) => wait,
                None if self.is_patient_with(tries, &error) => self.terms.retry.longest_wait,
                None => return Err(failed(step, error, tries.failed)),
            }
        } else {
            // An earlier process ended with this failure. What its service asked for is not undercut by a new one.
            match error.class() {
                Class::RetryAfter(asked) => self.terms.retry.wait(key, 1, asked),
                _ => self.terms.retry.first_wait,
            }
        };
        let until = after(self.now, wait);
        let seconds = wait.as_secs_f64().round();
        let says = match self.mode {
            // Nobody else tells whoever waits for a plan: the failures of its predictions are no entries.
            Mode::Planning(_) => format!("try again in {seconds} s: {error}"),
            Mode::Acting => format!("try again in {seconds} s"),
        };
        self.waits_because(step, &error);
        self.sleep(&wait_key, of(step, subject), until, Waiting::ToRetry, says).await
    }

    /// Whether a watch still has patience where the policy has none.
    fn is_patient_with(&self, tries: &Tries, error: &PortError) -> bool {
        let may_pass = matches!(error.class(), Class::RetryAfter(_) | Class::OutcomeUnknown);
        may_pass
            && tries.persistence == Persistence::Full
            && self.patient_until.is_some_and(|until| self.now < until)
    }

    /// Whether the journal holds more of the procedure than was replayed.
    pub(crate) fn is_ahead(&self) -> bool {
        self.ahead
    }

    pub(crate) fn was_taken_up(&mut self, at: Timestamp) {
        self.taken_up_at = Some(at);
    }

    /// Now, to measure from.
    fn moment(&self) -> Moment {
        Moment { at: self.now, set_by: self.pace.set_by }
    }

    /// Measures from `moment` on, also while no entry is recorded.
    fn stopwatch(&self, moment: Moment) -> Stopwatch {
        let (at, mono_us) = self.pace.last.unwrap_or((self.now, 0));
        let passed = at.duration_since(moment.at) - (self.pace.set_by - moment.set_by);
        Stopwatch { passed, at, mono_us }
    }

    /// How much time passed since, whatever was done to the clock meanwhile.
    fn passed_since(&self, moment: Moment) -> SignedDuration {
        self.now.duration_since(moment.at) - (self.pace.set_by - moment.set_by)
    }

    /// Notes that the effect `key` is performed; the same one twice would find the first one's entries.
    pub(crate) fn once(&mut self, key: &str) -> Result<(), Halt> {
        if self.performed.insert(key.to_owned()) {
            Ok(())
        } else {
            Err(Refusal::RepeatedKey { key: key.to_owned() }.into())
        }
    }

    pub(crate) fn decode<T: DeserializeOwned>(&self, entry: &Entry, value: &Value) -> Result<T, Halt> {
        T::deserialize(value).map_err(|error| self.unreadable(entry, &error.to_string()))
    }

    #[expect(clippy::unused_self, reason = "reads better at its callers")]
    pub(crate) fn unreadable(&self, entry: &Entry, detail: &str) -> Halt {
        SeamError::Unreadable { seq: entry.seq, key: entry.key.clone(), detail: detail.to_owned() }.into()
    }
}

/// A call, as its waits are named.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) step: &'a Step,
    pub(super) subject: &'a str,
    pub(super) key: &'a str,
}

/// A moment of the run, and what the clock had been set by until then.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at: Timestamp,
    set_by: SignedDuration,
}

/// How much time had passed at the latest entry, and when that was.
#[derive(Debug, Clone, Copy)]
struct Stopwatch {
    passed: SignedDuration,
    at: Timestamp,
    mono_us: u64,
}

impl Stopwatch {
    fn read(self, clock: &dyn Clock) -> SignedDuration {
        let mono_us = u64::try_from(clock.monotonic().as_micros()).unwrap_or(u64::MAX);
        let since = match mono_us.checked_sub(self.mono_us) {
            Some(us) => SignedDuration::from_micros(i64::try_from(us).unwrap_or(i64::MAX)),
            // The machine was restarted, and only the wall clock tells.
            None => clock.now().duration_since(self.at),
        };
        self.passed + since
    }
}

/// How the machine's wall clock ran, by the monotonic time beside it in each entry: a clock that is set is no time that
/// passed, and gives or takes no patience.
#[derive(Debug, Clone, Default)]
struct Pace {
    last: Option<(Timestamp, u64)>,
    /// By how much the clock was set so far.
    set_by: SignedDuration,
}

/// Less than this is no clock that was set but one that was trimmed, or two readings a moment apart.
const SET: SignedDuration = SignedDuration::from_secs(5);

impl Pace {
    /// The run's time at an entry, which was `before` until then.
    fn time_of(&mut self, entry: &Entry, before: Timestamp) -> Timestamp {
        let last = self.last.replace((entry.at, entry.mono_us));
        let Some((at, mono_us)) = last else { return before.max(entry.at) };
        // After a restart of the machine its monotonic time begins anew and tells nothing.
        let Some(passed) = entry.mono_us.checked_sub(mono_us) else { return before.max(entry.at) };
        let passed = SignedDuration::from_micros(i64::try_from(passed).unwrap_or(i64::MAX));
        let set = entry.at.duration_since(at) - passed;
        if set.abs() < SET {
            return before.max(entry.at);
        }
        self.set_by += set;
        // Set back, the run's time goes back with it: a wait until the time that was would last as long again.
        if set.is_negative() { entry.at } else { before.max(entry.at) }
    }
}

/// The step and subject, as entries carry them.
pub(crate) fn of(step: &Step, subject: &str) -> Of {
    Of { step: step.id.to_owned(), phase: step.phase, subject: subject.to_owned() }
}

/// What entries of a step about a subject are found by.
pub(crate) fn key_of(step: &Step, subject: &str, round: u32) -> String {
    let mut key = step.id.to_owned();
    if !subject.is_empty() {
        let _ = write!(key, " {subject}");
    }
    if round > 0 {
        let _ = write!(key, " round {round}");
    }
    key
}

pub(crate) fn failed(step: &Step, error: PortError, tries: u32) -> Halt {
    Halt::Failed { step: step.id.to_owned(), error, tries }
}

fn handed_over_key(count: u32) -> String {
    format!("{BESIDE}handed over {count}")
}

fn halt_of(signal: Signal) -> Halt {
    match signal {
        Signal::Abort { by, reason } => Halt::Aborted { by, reason },
        Signal::Stop(stop) => Halt::Stopped(stop),
        // A hand-over is taken by whoever waits, and never ends a run.
        Signal::Detach | Signal::Answer(_) | Signal::HandOver { .. } => Halt::Detached,
    }
}

pub(crate) fn to_value<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("a probe's value and a receipt are plain data with string keys")
}
