//! The seam in memory: for plans and for unit tests, in virtual time if the clock is virtual.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use allclear_core::Clock;
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use crate::gate::Answer;
use crate::journal::{Entry, Event, GENESIS, Link, WholeJournal, link_hash, read_chain};
use crate::mask::fit_to_keep;
use crate::replay::Replay;
use crate::seam::{Recorded, Seam, SeamError, Signal, Woken};

/// A journal in memory. Cloning shares it: keep one to look at what a run wrote, or to resume from it.
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    links: Vec<Link>,
    answers: HashMap<String, VecDeque<Answer>>,
    abort: Option<String>,
    hand_overs: VecDeque<(String, String)>,
    incarnations: u32,
}

impl MemoryJournal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is recorded so far.
    pub fn links(&self) -> Vec<Link> {
        self.lock().links.clone()
    }

    /// What is recorded so far, checked.
    pub fn entries(&self) -> Result<Vec<Entry>, SeamError> {
        read_chain(&self.lock().links)
            .map_err(|damaged| SeamError::Damaged { run: "in memory".to_owned(), damage: damaged.into() })
    }

    /// The same as the journal of `run`, to undo it by.
    pub fn journal(&self, run: &str) -> Result<WholeJournal, SeamError> {
        let entries = self.entries()?;
        let tail = self.lock().links.last().map_or_else(|| GENESIS.to_owned(), |link| link.hash.clone());
        Ok(WholeJournal { run: run.to_owned(), entries, tail })
    }

    /// Answers a gate, as a person would from elsewhere.
    pub fn answer(&self, gate: &str, answer: Answer) {
        self.lock().answers.entry(gate.to_owned()).or_default().push_back(answer);
    }

    /// Hands the run over, as somebody would from elsewhere.
    pub fn hand_over(&self, from: &str, to: &str) {
        self.lock().hand_overs.push_back((from.to_owned(), to.to_owned()));
    }

    /// Ends the run from outside.
    pub fn abort(&self, by: &str) {
        self.lock().abort = Some(by.to_owned());
    }

    /// Forgets everything after the first `entries`, as if the process had been killed right there.
    pub fn cut(&self, entries: usize) {
        self.lock().links.truncate(entries);
    }

    /// The seam for one incarnation of a run on this journal.
    pub fn seam(&self, clock: Arc<dyn Clock>) -> Result<MemorySeam, SeamError> {
        let entries = self.entries()?;
        let mut shared = self.lock();
        let incarnation = shared.incarnations;
        shared.incarnations += 1;
        drop(shared);
        Ok(MemorySeam { journal: self.clone(), replay: Replay::of(entries), clock, incarnation })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        // A panic elsewhere cannot leave a half-written link: pushes are whole.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One incarnation of a run on a [`MemoryJournal`].
#[derive(Debug)]
pub struct MemorySeam {
    journal: MemoryJournal,
    replay: Replay,
    clock: Arc<dyn Clock>,
    incarnation: u32,
}

#[async_trait]
impl Seam for MemorySeam {
    async fn record(&mut self, key: &str, body: BoxFuture<'_, Event>) -> Result<Recorded, SeamError> {
        let (found, out_of_order) = self.replay.take(key);
        if let Some(entry) = found {
            let more = self.replay.has_more();
            return Ok(Recorded { entry, replayed: true, out_of_order, more });
        }
        let event = body.await;
        let entry = new_entry(&self.replay, &*self.clock, key, event);
        let body = encode(&entry)?;
        let mut shared = self.journal.lock();
        let before = shared.links.last().map_or(GENESIS, |link| &link.hash);
        let hash = link_hash(before, &body);
        shared.links.push(Link { body, hash });
        drop(shared);
        self.replay.push(entry.clone());
        let more = self.replay.has_more();
        Ok(Recorded { entry, replayed: false, out_of_order, more })
    }

    fn recorded(&self, key: &str) -> Option<&Entry> {
        self.replay.peek(key)
    }

    async fn sleep(&mut self, until: Timestamp) -> Result<Woken, SeamError> {
        if let Some(by) = self.journal.lock().abort.clone() {
            return Ok(Woken::By(Signal::Abort { by, reason: None }));
        }
        self.clock.sleep_until(until).await;
        Ok(Woken::Time)
    }

    async fn signal(
        &mut self,
        gate: &str,
        until: Option<Timestamp>,
        patience: bool,
    ) -> Result<Woken, SeamError> {
        {
            let mut shared = self.journal.lock();
            if let Some(by) = shared.abort.clone() {
                return Ok(Woken::By(Signal::Abort { by, reason: None }));
            }
            if let Some((from, to)) = shared.hand_overs.pop_front() {
                return Ok(Woken::By(Signal::HandOver { from, to }));
            }
            if let Some(answer) = shared.answers.get_mut(gate).and_then(VecDeque::pop_front) {
                return Ok(Woken::By(Signal::Answer(answer)));
            }
        }
        match until {
            // Nobody can answer while this task has the thread in virtual time, so the deadline comes.
            Some(until) if patience => self.clock.sleep_until(until).await,
            _ => {}
        }
        Ok(Woken::Time)
    }

    async fn claim(&mut self, _resource: &str) -> Result<(), SeamError> {
        Ok(())
    }

    fn incarnation(&self) -> u32 {
        self.incarnation
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }
}

/// The entry that comes next in a journal.
pub(crate) fn new_entry(replay: &Replay, clock: &dyn Clock, key: &str, event: Event) -> Entry {
    Entry {
        seq: replay.entries().len() as u64 + 1,
        at: clock.now(),
        mono_us: u64::try_from(clock.monotonic().as_micros()).unwrap_or(u64::MAX),
        key: key.to_owned(),
        event: fit_to_keep(event),
    }
}

/// An entry's bytes.
pub(crate) fn encode(entry: &Entry) -> Result<String, SeamError> {
    serde_json::to_string(entry)
        .map_err(|error| SeamError::Store { doing: "encoding an entry", detail: error.to_string() })
}
