//! The seam of one run on the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use allclear_core::Clock;
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use super::Held;
use super::chain::Chain;
use super::commit::{Append, Committer};
use super::place::check_open;
use super::seal::Tail;
use crate::gate::Answer;
use crate::journal::{Entry, Event, Link, link_hash};
use crate::memory::{encode, new_entry};
use crate::replay::Replay;
use crate::seam::{Recorded, Seam, SeamError, Signal, Woken};

/// How often a waiting run looks for signals from other processes, in real time.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What an abort is sent to: a gate that no procedure asks at.
pub(super) const ABORT: &str = "~abort";
/// What hand-overs are sent to: a body of two lines, from and to.
pub(super) const HAND_OVER: &str = "~hand-over";

/// How long the run's own files may be taken to be where they are, in real time. Those of the store are looked at in every
/// commit.
const LOOK_AT_FILES_EVERY: Duration = Duration::from_millis(20);

/// One incarnation of a run. Dropping it frees the run's lock.
#[derive(Debug)]
pub struct SqliteSeam {
    committer: Arc<Committer>,
    id: String,
    run: i64,
    replay: Replay,
    tail: Tail,
    /// Where the run's latest entry is.
    last_id: i64,
    clock: Arc<dyn Clock>,
    incarnation: u32,
    /// When an abort was looked for last.
    looked_for_abort: Option<Instant>,
    /// When the run's own files were looked at last.
    looked_at_files: Option<Instant>,
    /// The signal that was handed out and is not recorded yet.
    taken: Option<i64>,
    held: Held,
}

impl SqliteSeam {
    /// `chain` has been checked: where the journal ends comes from there and from nowhere else.
    pub(super) fn new(
        committer: Arc<Committer>,
        id: String,
        held: Held,
        chain: Chain,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let incarnation = if chain.entries.is_empty() { 0 } else { chain.incarnation() + 1 };
        Self {
            committer,
            id,
            run: held.number,
            tail: chain.tail(),
            last_id: chain.last_id,
            replay: Replay::of(chain.entries),
            clock,
            incarnation,
            looked_for_abort: None,
            looked_at_files: None,
            taken: None,
            held,
        }
    }

    /// Where the journal ends: what a record of it elsewhere can be compared with.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Refuses to go on where the store, or the run's lock or seal, is not the file any more that others would find.
    fn check_files(&mut self) -> Result<(), SeamError> {
        if self.looked_at_files.is_some_and(|at| at.elapsed() < LOOK_AT_FILES_EVERY) {
            return Ok(());
        }
        let Held { lock, seal, .. } = &self.held;
        self.committer.check_place()?;
        check_open(&lock.path, &lock.file)?;
        let (path, file) = seal.file();
        check_open(path, file)?;
        self.looked_at_files = Some(Instant::now());
        Ok(())
    }

    /// Refuses to begin a journal that says otherwise than the store was told: it could never be taken up.
    fn check_beginning(&self, event: &Event) -> Result<(), SeamError> {
        let Event::Started { run, runbook, environment, platform, operator, input, context, .. } = event
        else {
            return Ok(());
        };
        let new = &self.held.begun.new;
        let context = context.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        let pairs = [
            ("the run", run.clone(), new.id.clone()),
            ("the runbook", runbook.clone(), new.runbook.clone()),
            ("the environment", environment.clone(), new.environment.clone()),
            ("the platform", platform.clone().unwrap_or_else(|| new.platform.clone()), new.platform.clone()),
            ("the operator", operator.clone(), new.operator.clone()),
            ("the input", input.to_string(), new.input.to_string()),
            ("the context", context, new.context.to_string()),
        ];
        match pairs.into_iter().find(|(_, said, told)| said != told) {
            None => Ok(()),
            Some((what, said, told)) => Err(SeamError::Terms {
                run: self.id.clone(),
                what: what.to_owned(),
                terms: said,
                store: told,
            }),
        }
    }

    pub(super) fn claim_now(&self, resource: &str) -> Result<(), SeamError> {
        let holder = self
            .committer
            .with("claiming", |connection| super::claims::claim(connection, self.run, resource));
        match holder.map_err(|error| error.about(&self.id))? {
            None => Ok(()),
            Some(holder) => Err(holder.refuses(resource, &self.held.begun.new.environment)),
        }
    }

    /// The next signal for a gate, a hand-over, a stop of everything, or an abort. An answer stays in the store until the
    /// entry that records it is committed, so a crash in between loses none; an abort stays until the run is over. An abort
    /// comes before a stop: it ends the run and changes nothing more. A stop comes before an answer, which can wait.
    fn next_signal(&mut self, gate: &str) -> Result<Option<Signal>, SeamError> {
        // What was handed out before and not recorded is handed out again.
        self.taken = None;
        let found = self.committer.read("looking for signals", |connection| {
            connection
                .prepare_cached(
                    "SELECT number, gate, body, digest FROM (
                         SELECT 1 AS rank, 0 AS number, '~stop' AS gate, '' AS body, '' AS digest
                         FROM stop WHERE lifted_at IS NULL
                         UNION ALL
                         SELECT iif(gate = '~abort', 0, 2), number, gate, body, digest
                         FROM signal WHERE run = ? AND gate IN (?, '~abort', '~hand-over')
                     ) ORDER BY rank, number LIMIT 1",
                )?
                .query_row(params![self.run, gate], |row| {
                    let is_stop = row.get::<_, i64>(0)? == 0;
                    if is_stop { Ok(None) } else { super::signals::read(row, &self.id).map(Some) }
                })
                .optional()
        });
        let sent = match found.map_err(|error| error.about(&self.id))? {
            None => return Ok(None),
            // The switch itself is looked up: who stopped everything stands in a chain of its own.
            Some(None) => return Ok(self.stop_in_force()?.map(Signal::Stop)),
            Some(Some(sent)) => sent.map_err(|number| super::signals::altered(&self.id, number))?,
        };
        let unreadable = |error: serde_json::Error| {
            SeamError::Store { doing: "reading a signal", detail: error.to_string() }.about(&self.id)
        };
        let super::signals::Sent { number, gate: sent_to, body } = sent;
        if sent_to == ABORT {
            let (by, reason) = super::signals::ended(&body);
            return Ok(Some(Signal::Abort { by: by.to_owned(), reason: reason.map(str::to_owned) }));
        }
        self.taken = Some(number);
        if sent_to == HAND_OVER {
            let (from, to) = body.split_once('\n').ok_or_else(|| {
                let detail = "a hand-over names nobody".to_owned();
                SeamError::Store { doing: "reading a signal", detail }.about(&self.id)
            })?;
            return Ok(Some(Signal::HandOver { from: from.to_owned(), to: to.to_owned() }));
        }
        let answer: Answer = serde_json::from_str(&body).map_err(unreadable)?;
        Ok(Some(Signal::Answer(answer)))
    }

    fn stop_in_force(&self) -> Result<Option<crate::seam::Stop>, SeamError> {
        self.committer
            .read("looking at the stop switch", super::stop::in_force)
            .map_err(|error| error.about(&self.id))
    }

    /// Waits for a signal to `gate`, or for `until`.
    async fn wait(&mut self, gate: &str, until: Option<Timestamp>) -> Result<Woken, SeamError> {
        let clock = Arc::clone(&self.clock);
        let signalled = async {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                if let Some(signal) = self.next_signal(gate)? {
                    return Ok(signal);
                }
            }
        };
        match until {
            Some(until) => tokio::select! {
                biased;
                () = clock.sleep_until(until) => Ok(Woken::Time),
                signal = signalled => signal.map(Woken::By),
            },
            None => signalled.await.map(Woken::By),
        }
    }
}

#[async_trait]
impl Seam for SqliteSeam {
    async fn record(&mut self, key: &str, body: BoxFuture<'_, Event>) -> Result<Recorded, SeamError> {
        let (found, out_of_order) = self.replay.take(key);
        if let Some(entry) = found {
            let more = self.replay.has_more();
            return Ok(Recorded { entry, replayed: true, out_of_order, more });
        }
        // Before the work, and in the commit again: what cannot be recorded is not begun.
        self.check_files()?;
        let event = body.await;
        self.check_beginning(&event)?;
        let entry = new_entry(&self.replay, &*self.clock, key, event);
        let body = encode(&entry)?;
        let hash = link_hash(&self.tail.hash, &body);
        let ends = match &entry.event {
            Event::Concluded { outcome, .. } => Some(super::outcome_text(*outcome)),
            _ => None,
        };
        let consumes = match &entry.event {
            Event::Answered { .. } | Event::AnswerRefused { .. } | Event::HandedOver { .. } => {
                self.taken.take()
            }
            _ => None,
        };
        let tail = Tail { entries: entry.seq, hash: hash.clone(), ended: self.tail.ended || ends.is_some() };
        let link = Link { body, hash };
        let append = Append { previous: self.last_id, run: self.run, seq: entry.seq, link, consumes, ends };
        self.last_id = self.committer.append(append).await.map_err(|error| error.about(&self.id))?;
        // After the commit: a seal is never ahead of what is durable, so one that is tells of a loss.
        self.held.seal.write(&tail).map_err(|error| super::sealing(&error).about(&self.id))?;
        self.tail = tail;
        self.replay.push(entry.clone());
        let more = self.replay.has_more();
        Ok(Recorded { entry, replayed: false, out_of_order, more })
    }

    fn recorded(&self, key: &str) -> Option<&Entry> {
        self.replay.peek(key)
    }

    async fn sleep(&mut self, until: Timestamp) -> Result<Woken, SeamError> {
        if self.clock.now() >= until {
            return Ok(Woken::Time);
        }
        self.wait(ABORT, Some(until)).await
    }

    async fn signal(
        &mut self,
        gate: &str,
        until: Option<Timestamp>,
        patience: bool,
    ) -> Result<Woken, SeamError> {
        if gate == ABORT && !patience {
            // Asked before every step; a person who ends a run does not notice a twentieth of a second.
            if self.looked_for_abort.is_some_and(|at| at.elapsed() < LOOK_EVERY / 2) {
                return Ok(Woken::Time);
            }
            self.looked_for_abort = Some(Instant::now());
        }
        if let Some(signal) = self.next_signal(gate)? {
            return Ok(Woken::By(signal));
        }
        if patience { self.wait(gate, until).await } else { Ok(Woken::Time) }
    }

    async fn claim(&mut self, resource: &str) -> Result<(), SeamError> {
        self.claim_now(resource)
    }

    fn incarnation(&self) -> u32 {
        self.incarnation
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }
}
