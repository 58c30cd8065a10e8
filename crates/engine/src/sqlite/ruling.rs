//! What people decided about the store: that a damaged run is over, that its journal counts as it is, that everything stops
//! or goes on. Kept apart from the journals, which stay as they are, in a chain and under a seal of their own.

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::Store;
use super::look::Looked;
use super::seal::{self, Begun, Look, Seal, Tail};
use crate::journal::{GENESIS, link_hash};
use crate::seam::{SeamError, Stop};

/// What the rulings' seal is called; no run is.
const SEAL: &str = "~rulings";

/// How a person ended a run that could not be taken up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// Which run.
    pub run: String,
    /// Who ended it.
    pub by: String,
    /// When, by the machine's clock.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// What was wrong with it, in words.
    pub damage: String,
    /// How many entries of its journal were whole.
    pub entries: u64,
}

/// A person's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ruling", rename_all = "snake_case")]
pub(super) enum Ruling {
    /// It is over.
    Closed(Closed),
    /// Its journal counts as it is, and was sealed anew.
    SealedAnew(Closed),
    /// Everything stops.
    Stopped(Stop),
    /// The stop is lifted.
    Lifted {
        /// Who lifted it.
        by: String,
        /// When, by the machine's clock.
        at: Timestamp,
    },
}

/// Why a run is not ended as damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotClosed {
    /// Nothing is wrong with it.
    #[error(
        "run {run} is whole: end it with `allclear abort {run}`, and `allclear resume {run}` carries that out; where that fails, \
         this ends it"
    )]
    Whole {
        /// Which run.
        run: String,
    },
    /// The store failed, or the run is held or over.
    #[error(transparent)]
    Store(#[from] SeamError),
}

/// The rulings as far as their chain is whole, and what is wrong with them.
pub(super) struct Rulings {
    said: Vec<Ruling>,
    last: String,
    pub(super) damaged: Option<String>,
}

impl Rulings {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached("SELECT body, hash FROM ruling ORDER BY number")?;
        let mut rows = statement.query([])?;
        let mut read = Self { said: Vec::new(), last: GENESIS.to_owned(), damaged: None };
        while let Some(row) = rows.next()? {
            let (body, hash) = (super::chain::cell(row, 0)?, super::chain::cell(row, 1)?);
            let ruling = match (body, hash) {
                (rusqlite::types::Value::Text(body), rusqlite::types::Value::Text(hash))
                    if link_hash(&read.last, &body) == hash =>
                {
                    read.last = hash;
                    serde_json::from_str(&body).map_err(|error| error.to_string())
                }
                _ => Err("its hash does not fit its content".to_owned()),
            };
            match ruling {
                Ok(ruling) => read.said.push(ruling),
                Err(what) => {
                    read.damaged = Some(format!("ruling {}: {what}", read.said.len() + 1));
                    break;
                }
            }
        }
        Ok(read)
    }

    /// The stop that holds, where the switch's row says `row`: the latest word counts, and what no word lifted stands.
    pub(super) fn stop_beside(&self, row: Option<Stop>) -> Option<Stop> {
        let word = self.said.iter().rev().find_map(|ruling| match ruling {
            Ruling::Stopped(stop) => Some(Some(stop.clone())),
            Ruling::Lifted { .. } => Some(None),
            Ruling::Closed(_) | Ruling::SealedAnew(_) => None,
        });
        word.flatten().or(row)
    }

    fn closing_of(self, run: &str) -> Option<Closed> {
        self.said.into_iter().find_map(|ruling| match ruling {
            Ruling::Closed(closed) if closed.run == run => Some(closed),
            _ => None,
        })
    }
}

impl Store {
    /// How a person ended a run as damaged.
    pub(super) fn closing_of(&self, run: &str) -> Result<Option<Closed>, SeamError> {
        Ok(self.rulings()?.closing_of(run))
    }

    fn rulings(&self) -> Result<Rulings, SeamError> {
        self.committer.read("reading what was decided about damaged runs", Rulings::read)
    }

    /// What is wrong with the rulings.
    pub(super) fn check_rulings(&self) -> Result<Option<String>, SeamError> {
        let seal = seal::look(self.folder(), SEAL).map_err(|error| super::opening(&error))?;
        let rulings = self.rulings()?;
        let found = rulings.said.len() as u64;
        Ok(rulings.damaged.or_else(|| match seal {
            Look::None if found == 0 => None,
            Look::None => Some("the rulings' seal is missing".to_owned()),
            Look::Broken(what) => Some(format!("the rulings' seal {what}")),
            Look::Says(sealed) if sealed.tail.entries > found => {
                Some(format!("there are {found} rulings, and their seal says {}", sealed.tail.entries))
            }
            Look::Says(_) => None,
        }))
    }

    /// Ends a run that cannot be taken up: what it holds is released, and who ended it and why is recorded. What is damaged
    /// stays as it is. Refused for a run that is whole, unless it was asked to end and nobody could carry that out.
    pub fn close(&self, run: &str, by: &str, now: Timestamp, reason: &str) -> Result<Closed, NotClosed> {
        let looked = self.look(run)?;
        let what = match self.what_is_wrong(&looked) {
            Some(what) => what,
            None if self.is_to_end(run)? => "it could not be taken up to end".to_owned(),
            None => return Err(NotClosed::Whole { run: run.to_owned() }),
        };
        if let Some(outcome) = looked.summary.outcome {
            return Err(SeamError::Ended { run: run.to_owned(), how: outcome.to_string() }.into());
        }
        let _lock = self.lock(run)?;
        let closed = Closed {
            run: run.to_owned(),
            by: by.to_owned(),
            at: now,
            reason: reason.to_owned(),
            damage: what,
            entries: looked.summary.entries,
        };
        let number = looked.row.as_ref().map(|row| row.number);
        self.rule(|connection, _| {
            let word = (Some(Ruling::Closed(closed.clone())), ());
            let Some(number) = number else { return Ok(word) };
            let outcome = super::outcome_text(crate::outcome::Outcome::Rejected);
            connection.execute("DELETE FROM claim WHERE run = ?", [number])?;
            connection.execute("DELETE FROM signal WHERE run = ?", [number])?;
            connection.execute("UPDATE run SET outcome = ? WHERE number = ?", params![outcome, number])?;
            Ok(word)
        })?;
        Ok(closed)
    }

    /// Puts right what lies beside a whole journal: the row is written anew from it, a seal that is lost is made anew, and what
    /// waits for the run and is not what was sent, or is claimed otherwise than it took it, is removed.
    /// Returns what was put right, in words. What is wrong with the journal itself cannot be mended.
    pub fn mend(&self, run: &str, by: &str, now: Timestamp, reason: &str) -> Result<Vec<String>, SeamError> {
        let looked = self.look(run)?;
        let _lock = self.lock(run)?;
        let id = || run.to_owned();
        let Looked { row: Some(row), chain, summary, .. } = &looked else {
            return looked.whole().map(|()| Vec::new());
        };
        let mut mended: Vec<String> = summary.differs.iter().map(ToString::to_string).collect();
        if let Some(damage) = &summary.damage {
            let crate::journal::Damage::Seal { .. } = damage else {
                return looked.whole().map(|()| Vec::new());
            };
            mended.push(damage.to_string());
        }
        let Some(begun) = super::look::begun_by_journal(&looked) else {
            return Err(SeamError::Damaged {
                run: id(),
                damage: crate::journal::Damage::Row {
                    what: "its journal does not say how it began".to_owned(),
                },
            });
        };
        if summary.damage.is_some() {
            let word = Closed {
                run: id(),
                by: by.to_owned(),
                at: now,
                reason: reason.to_owned(),
                damage: mended.join("; "),
                entries: summary.entries,
            };
            self.rule(|_, _| Ok((Some(Ruling::SealedAnew(word)), ())))?;
            Seal::create(self.folder(), &begun, &chain.tail()).map_err(|error| super::opening(&error))?;
        }
        if !summary.differs.is_empty() {
            self.committer.with("writing a row anew", |connection| {
                let Begun { new, began_at } = &begun;
                connection.execute(
                    "UPDATE run SET runbook = ?, environment = ?, operator = ?, input = ?, context = ?, began_at = ?
                     WHERE number = ?",
                    params![
                        new.runbook,
                        new.environment,
                        new.operator,
                        new.input.to_string(),
                        new.context.to_string(),
                        began_at.to_string(),
                        row.number
                    ],
                )?;
                super::write_caches(connection, row.number, chain)
            })?;
        }
        mended.extend(self.drop_altered_signals(run)?);
        mended.extend(self.drop_altered_claims(row.number)?);
        Ok(mended)
    }

    /// Decides in one transaction with what was said before, records the word if there is one, and seals it.
    pub(super) fn rule<T>(
        &self,
        decide: impl FnOnce(&Connection, &Rulings) -> rusqlite::Result<(Option<Ruling>, T)>,
    ) -> Result<T, SeamError> {
        let (tail, came) = self.committer.with("recording what was decided", |connection| {
            let transaction =
                rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
            let before = Rulings::read(&transaction)?;
            let (ruling, came) = decide(&transaction, &before)?;
            let mut tail = None;
            if let Some(ruling) = ruling {
                let body = serde_json::to_string(&ruling).expect("a ruling is plain data");
                let hash = link_hash(&before.last, &body);
                transaction.execute("INSERT INTO ruling (body, hash) VALUES (?, ?)", params![body, hash])?;
                tail = Some(Tail { entries: before.said.len() as u64 + 1, hash, ended: false });
            }
            transaction.commit()?;
            Ok((tail, came))
        })?;
        if let Some(tail) = tail {
            let sealed = match Seal::open(self.folder(), SEAL) {
                Ok(seal) => seal.write(&tail),
                Err(_) => Seal::create(self.folder(), &no_run(), &tail).map(drop),
            };
            sealed.map_err(|error| SeamError::Store {
                doing: "sealing what was decided",
                detail: error.to_string(),
            })?;
        }
        Ok(came)
    }
}

/// The rulings are no run; their seal says so.
fn no_run() -> Begun {
    let none = String::new;
    let new = super::NewRun {
        id: SEAL.to_owned(),
        runbook: none(),
        environment: none(),
        platform: none(),
        operator: none(),
        input: serde_json::Value::Null,
        context: serde_json::Value::Null,
    };
    Begun { new, began_at: Timestamp::UNIX_EPOCH }
}
