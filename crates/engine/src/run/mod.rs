//! The run: what a procedure holds, and through which it touches the world.
//!
//! Every verb of a run ([`probe`](Run::probe), [`perform`](Run::perform), [`ask`](Run::ask), [`until`](Run::until),
//! [`wait_until`](Run::wait_until), [`note`](Run::note)) records what it does before and after it does it. In a plan
//! the same verbs look, predict and list, and change nothing.

mod ask;
mod doubt;
mod observe;
mod settle;
mod until;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use allclear_core::PortError;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use settle::Settled;
pub use until::{Achieving, Check, Condition, Escalation, Observing, Watch};

use crate::effect::Foreseen;
use crate::humans::{Humans, Nobody};
use crate::journal::{Entry, Event, Note, Of, Waiting};
use crate::outcome::{Halt, Refusal};
use crate::plan::{Plan, PlannedEffect, PlannedGate, Seen};
use crate::replay::BESIDE;
use crate::retry::RetryPolicy;
use crate::seam::{Recorded, Seam, SeamError, Signal, Woken};
use crate::step::Step;

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
    /// The procedure's input, as it is journalled.
    pub input: Value,
    /// The plan it is bound to; without one, effects are not compared with anything.
    pub plan: Option<Plan>,
    /// Who approved that plan.
    pub approved_by: Option<String>,
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
}

impl Terms {
    /// Terms for a run that nobody watches: no plan, nobody at the gates, strict order.
    pub fn new(run: impl Into<String>, operator: impl Into<String>, environment: impl Into<String>) -> Self {
        Self {
            run: run.into(),
            operator: operator.into(),
            environment: environment.into(),
            input: Value::Null,
            plan: None,
            approved_by: None,
            humans: Arc::new(Nobody),
            retry: RetryPolicy::default(),
            strict: true,
            detach: Detach::default(),
            listener: None,
        }
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
    pub(crate) seam: Box<dyn Seam>,
    pub(crate) terms: Terms,
    pub(crate) mode: Mode,
    now: Timestamp,
    performed: HashSet<String>,
    /// Who started the run: not necessarily whoever took it up again.
    requester: String,
    /// Who has it now: whoever it was handed to last.
    holder: String,
    hand_overs: u32,
    repeats: u32,
    notes: u32,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("id", &self.terms.run).field("now", &self.now).finish_non_exhaustive()
    }
}

impl Run {
    /// A run that acts.
    pub fn acting(seam: Box<dyn Seam>, terms: Terms) -> Self {
        Self::new(seam, terms, Mode::Acting)
    }

    pub(crate) fn planning(seam: Box<dyn Seam>, terms: Terms) -> Self {
        Self::new(
            seam,
            Terms { retry: RetryPolicy::none(), listener: None, ..terms },
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
            now,
            performed: HashSet::new(),
            requester,
            holder,
            hand_overs: 0,
            repeats: 0,
            notes: 0,
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

    /// The run's time: that of its latest entry, or of the wait that ended since. The same in every replay.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Tells something for the report.
    pub async fn note(&mut self, step: &Step, note: Note) -> Result<(), Halt> {
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
        let recorded = self.seam.record(key, Box::pin(body)).await?;
        // Entries beside the procedure (a resume) are not part of its time.
        if !key.starts_with(BESIDE) {
            self.now = self.now.max(recorded.entry.at);
        }
        if !recorded.replayed {
            self.tell(&recorded.entry);
        }
        if let Some(expected) = &recorded.out_of_order {
            self.order_differs(key, expected).await?;
        }
        Ok(recorded)
    }

    async fn order_differs(&mut self, key: &str, recorded: &str) -> Result<(), Halt> {
        if self.terms.strict {
            return Err(Refusal::OrderDiffers { key: key.to_owned(), recorded: recorded.to_owned() }.into());
        }
        let warning = Event::OrderDiffers { key: key.to_owned(), recorded: recorded.to_owned() };
        let beside = format!("~order/{key}");
        let warned = self.seam.record(&beside, Box::pin(async move { warning })).await?;
        if !warned.replayed {
            self.tell(&warned.entry);
        }
        Ok(())
    }

    pub(crate) fn tell(&self, entry: &Entry) {
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
        let Event::Slept { until, .. } = recorded.entry.event else {
            return Err(self.unreadable(&recorded.entry, "it is no wait"));
        };
        self.check_stop().await?;
        loop {
            match self.seam.sleep(until).await? {
                Woken::By(Signal::HandOver { from, to }) => self.hand_over(from, to).await?,
                Woken::By(signal) => return Err(halt_of(signal)),
                Woken::Time => break,
            }
        }
        self.now = self.now.max(until);
        if self.terms.detach.is_requested() { Err(Halt::Detached) } else { Ok(()) }
    }

    /// After failed try `attempt` of a call: waits and returns, or halts because trying again is of no use.
    pub(crate) async fn wait_to_retry(
        &mut self,
        step: &Step,
        subject: &str,
        key: &str,
        attempt: u32,
        error: PortError,
    ) -> Result<(), Halt> {
        use allclear_core::Class;
        let asked = match error.class() {
            Class::RetryAfter(asked) => asked,
            // Reads of unknown outcome are simply read again; writes never come here with one.
            Class::OutcomeUnknown => None,
            Class::AlreadyDone | Class::Permanent | Class::Stop(_) => return Err(failed(step, error)),
        };
        self.repeats += 1;
        if attempt >= self.terms.retry.tries || self.repeats > self.terms.retry.budget {
            return Err(failed(step, error));
        }
        let wait = self.terms.retry.wait(key, attempt, asked);
        let until = self.now + wait;
        let says = format!("try again in {} s", wait.as_secs_f64().round());
        self.sleep(&format!("{key}, wait {attempt}"), of(step, subject), until, Waiting::ToRetry, says).await
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

pub(crate) fn failed(step: &Step, error: PortError) -> Halt {
    Halt::Failed { step: step.id.to_owned(), error }
}

fn handed_over_key(count: u32) -> String {
    format!("{BESIDE}handed over {count}")
}

fn halt_of(signal: Signal) -> Halt {
    match signal {
        Signal::Abort { by } => Halt::Aborted { by },
        Signal::Stop(stop) => Halt::Stopped(stop),
        // A hand-over is taken by whoever waits, and never ends a run.
        Signal::Detach | Signal::Answer(_) | Signal::HandOver { .. } => Halt::Detached,
    }
}

pub(crate) fn to_value<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("a probe's value and a receipt are plain data with string keys")
}
