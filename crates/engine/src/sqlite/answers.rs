//! Taking answers in at the door: what the store can tell of them before their run sees them.
//!
//! Without this, an answer to a gate that somebody else had just settled would lie in the store unread, and whoever gave
//! it would believe that it counted.

use jiff::Timestamp;
use rusqlite::Connection;

use super::seam::{ABORT, HAND_OVER};
use crate::gate::{Answer, AnswerRefused, Standing};
use crate::journal::{Damaged, Entry, Event, Link, read_chain};
use crate::outcome::Outcome;
use crate::seam::SeamError;

/// Why the store does not take an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The run asks nothing now.
    #[error("the run asks nothing now")]
    NothingAsked,
    /// The run is over.
    #[error("the run has ended {outcome}; there is nothing to answer")]
    Ended {
        /// How.
        outcome: Outcome,
    },
    /// The deadline passed; the run has only not come to record it.
    #[error("the gate's deadline passed at {deadline}; what was declared for it counts")]
    TooLate {
        /// When.
        deadline: Timestamp,
    },
    /// An answer that the run will take first settles it.
    #[error(
        "{by} answered `{choice}` before, and the run takes that up first; to stop it, end the run with `abort`"
    )]
    Settled {
        /// Who was first.
        by: String,
        /// What they answered.
        choice: String,
    },
    /// The answer does not count.
    #[error(transparent)]
    Refused(#[from] AnswerRefused),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] SeamError),
}

impl From<Damaged> for NotTaken {
    fn from(damaged: Damaged) -> Self {
        Self::Store(damaged.into())
    }
}

/// Something that was sent to a run and waits for it.
#[derive(Debug)]
pub(super) struct Sent {
    gate: String,
    body: String,
}

impl Sent {
    /// The answer that it is, if it is one.
    fn answer(&self) -> Option<Answer> {
        let is_answer = self.gate != ABORT && self.gate != HAND_OVER;
        is_answer.then(|| serde_json::from_str(&self.body).ok()).flatten()
    }

    fn handed_over_to(&self) -> Option<&str> {
        (self.gate == HAND_OVER).then(|| self.body.split_once('\n').map(|(_, to)| to)).flatten()
    }
}

/// A run's journal as it is stored.
pub(super) fn links(connection: &Connection, run: &str) -> rusqlite::Result<Vec<Link>> {
    let mut statement = connection.prepare_cached(
        "WITH RECURSIVE chain (id, previous, body, hash) AS (
             SELECT entry.id, previous, body, hash FROM entry JOIN run ON entry.id = run.last WHERE run.id = ?
             UNION ALL
             SELECT entry.id, entry.previous, entry.body, entry.hash
             FROM chain JOIN entry ON entry.id = chain.previous
         )
         SELECT body, hash FROM chain ORDER BY id",
    )?;
    // A flipped byte may leave text that is no UTF-8; it must reach the chain's check and not fail here.
    let links = statement
        .query_map([run], |row| Ok(Link { body: lossy(row.get_ref(0)?), hash: lossy(row.get_ref(1)?) }))?;
    links.collect()
}

/// What waits for a run, in the order in which it will be taken up.
pub(super) fn waiting(connection: &Connection, run: &str) -> rusqlite::Result<Vec<Sent>> {
    let mut statement = connection.prepare_cached(
        "SELECT gate, body FROM signal JOIN run ON run.number = signal.run WHERE run.id = ? ORDER BY signal.number",
    )?;
    let sent = statement.query_map([run], |row| Ok(Sent { gate: row.get(0)?, body: row.get(1)? }))?;
    sent.collect()
}

/// The open question of a run, with who holds it once it has taken up what waits for it.
pub(super) fn standing(entries: &[Entry], waiting: &[Sent]) -> Option<Standing> {
    let mut standing = Standing::of(entries)?;
    let handed_over = waiting.iter().filter_map(Sent::handed_over_to).map(str::to_owned);
    standing.holders.extend(handed_over);
    Some(standing)
}

/// Whether `answer` is taken in, and for which gate.
pub(super) fn judge(
    links: &[Link],
    waiting: &[Sent],
    answer: &Answer,
    now: Timestamp,
) -> Result<String, NotTaken> {
    let entries = read_chain(links)?;
    let ended = entries.iter().find_map(|entry| match entry.event {
        Event::Concluded { outcome, .. } => Some(outcome),
        _ => None,
    });
    if let Some(outcome) = ended {
        return Err(NotTaken::Ended { outcome });
    }
    let mut standing = standing(&entries, waiting).ok_or(NotTaken::NothingAsked)?;
    if let Some(deadline) = standing.question.deadline.filter(|deadline| now >= *deadline) {
        return Err(NotTaken::TooLate { deadline });
    }
    standing.check(answer)?;
    let question = &standing.question;
    let earlier = waiting.iter().filter(|sent| sent.gate == question.gate).filter_map(Sent::answer);
    for earlier in earlier {
        // Whether what was typed with it is right is not known here, so it may come to nothing.
        if earlier.typed.is_some() || standing.check(&earlier).is_err() {
            continue;
        }
        standing.given.push(earlier);
        if let Some(first) = standing.question.settled(&standing.given) {
            let (by, choice) = (first.by.clone(), first.choice.clone());
            return Err(if by == answer.by {
                AnswerRefused::Repeated { by }.into()
            } else {
                NotTaken::Settled { by, choice }
            });
        }
    }
    standing.check(answer)?;
    Ok(standing.question.gate)
}

fn lossy(value: rusqlite::types::ValueRef<'_>) -> String {
    value.as_bytes().map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(bytes).into_owned())
}
