//! The seam of one run on the store.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allclear_core::Clock;
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};
use serde_json::Value;

use super::commit::{Append, Committer};
use crate::gate::Answer;
use crate::journal::{Entry, Event, GENESIS, Link, link_hash};
use crate::memory::{encode, new_entry};
use crate::replay::Replay;
use crate::seam::{Recorded, Seam, SeamError, Signal, Woken};

/// How often a waiting run looks for signals from other processes, in real time.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What an abort is sent to: a gate that no procedure asks at.
pub(super) const ABORT: &str = "~abort";
/// What a stop of everything looks as if it were sent to.
const STOP: &str = "~stop";
/// What hand-overs are sent to: a body of two lines, from and to.
pub(super) const HAND_OVER: &str = "~hand-over";

/// One incarnation of a run. Dropping it frees the run's lock.
#[derive(Debug)]
pub struct SqliteSeam {
    committer: Arc<Committer>,
    run: i64,
    replay: Replay,
    last_hash: String,
    /// Where the run's latest entry is.
    last_id: i64,
    clock: Arc<dyn Clock>,
    incarnation: u32,
    /// When an abort was looked for last.
    looked_for_abort: Option<Instant>,
    /// The signal that was handed out and is not recorded yet.
    taken: Option<i64>,
    _lock: File,
}

impl SqliteSeam {
    pub(super) fn new(
        committer: Arc<Committer>,
        run: i64,
        lock: File,
        entries: Vec<Entry>,
        clock: Arc<dyn Clock>,
        incarnation: u32,
    ) -> Self {
        let (last_id, last_hash) = last_entry(&committer, run);
        Self {
            committer,
            run,
            replay: Replay::of(entries),
            last_hash,
            last_id,
            clock,
            incarnation,
            looked_for_abort: None,
            taken: None,
            _lock: lock,
        }
    }

    pub(super) fn claim_now(&self, resource: &str) -> Result<(), SeamError> {
        let holder = self.committer.with("claiming", |connection| {
            connection.execute(
                "INSERT INTO claim (resource, run) VALUES (?, ?) ON CONFLICT DO NOTHING",
                params![resource, self.run],
            )?;
            connection.query_row(
                "SELECT run.number, run.id FROM claim JOIN run ON run.number = claim.run WHERE resource = ?",
                [resource],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
            )
        })?;
        if holder.0 == self.run {
            Ok(())
        } else {
            Err(SeamError::Held { resource: resource.to_owned(), holder: holder.1 })
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
                    "SELECT 1 AS rank, 0 AS number, '~stop', json_object('by', by, 'at', at, 'reason', reason)
                     FROM stop WHERE lifted_at IS NULL
                     UNION ALL
                     SELECT iif(gate = '~abort', 0, 2), number, gate, body
                     FROM signal WHERE run = ? AND gate IN (?, '~abort', '~hand-over')
                     ORDER BY rank, number LIMIT 1",
                )?
                .query_row(params![self.run, gate], |row| {
                    Ok((row.get::<_, i64>(1)?, row.get::<_, String>(2)?, row.get::<_, String>(3)?))
                })
                .optional()
        })?;
        let unreadable = |error: serde_json::Error| SeamError::Store {
            doing: "reading a signal",
            detail: error.to_string(),
        };
        let Some((number, sent_to, body)) = found else {
            return Ok(None);
        };
        match sent_to.as_str() {
            ABORT => return Ok(Some(Signal::Abort { by: body })),
            STOP => return Ok(Some(Signal::Stop(serde_json::from_str(&body).map_err(unreadable)?))),
            _ => {}
        }
        self.taken = Some(number);
        if sent_to == HAND_OVER {
            let (from, to) = body.split_once('\n').unwrap_or((&body, ""));
            return Ok(Some(Signal::HandOver { from: from.to_owned(), to: to.to_owned() }));
        }
        let answer: Answer = serde_json::from_str(&body).map_err(unreadable)?;
        Ok(Some(Signal::Answer(answer)))
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
            return Ok(Recorded { entry, replayed: true, out_of_order });
        }
        let event = body.await;
        let entry = new_entry(&self.replay, &*self.clock, key, event);
        let body = encode(&entry)?;
        let hash = link_hash(&self.last_hash, &body);
        let ends = match &entry.event {
            Event::Concluded { outcome, .. } => {
                serde_json::to_value(outcome).ok().as_ref().and_then(Value::as_str).map(str::to_owned)
            }
            _ => None,
        };
        let consumes = match &entry.event {
            Event::Answered { .. } | Event::AnswerRefused { .. } | Event::HandedOver { .. } => {
                self.taken.take()
            }
            _ => None,
        };
        let link = Link { body, hash: hash.clone() };
        self.last_id = self
            .committer
            .append(Append { previous: self.last_id, run: self.run, seq: entry.seq, link, consumes, ends })
            .await?;
        self.last_hash = hash;
        self.replay.push(entry.clone());
        Ok(Recorded { entry, replayed: false, out_of_order })
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

/// Where the run's latest entry is, and its hash.
fn last_entry(committer: &Committer, run: i64) -> (i64, String) {
    committer
        .read("reading a journal", |connection| {
            connection
                .query_row(
                    "SELECT entry.id, hash FROM entry JOIN run ON entry.id = run.last WHERE number = ?",
                    [run],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()
        })
        .ok()
        .flatten()
        .unwrap_or_else(|| (0, GENESIS.to_owned()))
}
