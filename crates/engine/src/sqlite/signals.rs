//! What is sent to a run and waits for it in the store: answers, hand-overs, an abort.
//!
//! It is in no journal yet, so the chain does not cover it. Each is bound by a digest to the run that it is for, its place,
//! what it is sent to, and its bytes: what was altered meanwhile is refused by name and never taken for a person's word.
//! What the run takes in it records, and from then on that entry counts.

use allclear_core::secrets::masked;
use jiff::Timestamp;
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, params};

use super::chain::cell;
use super::look::{Looked, Row};
use super::seam::{ABORT, HAND_OVER};
use super::{HandedIn, NotTaken};
use super::{Store, answers, chain};
use crate::gate::{Answer, AnswerRefused, Standing};
use crate::journal::digest;
use crate::person::person;
use crate::seam::SeamError;

/// Something that was sent to a run and waits for it, as it was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) number: i64,
    pub(super) gate: String,
    pub(super) body: String,
}

impl Sent {
    /// Who asked the run to end, where that is what it says.
    pub(super) fn ended_by(&self) -> &str {
        ended(&self.body).0
    }
}

/// Who asked a run to end, and why, where they said it.
pub(super) fn ended(body: &str) -> (&str, Option<&str>) {
    body.split_once('\n').map_or((body, None), |(by, reason)| (by, Some(reason)))
}

/// What binds it.
fn bound(run: &str, number: i64, gate: &str, body: &str) -> String {
    digest(format!("signal\n{run}\n{number}\n{gate}\n{body}").as_bytes())
}

/// The columns that [`read`] reads, in its order.
pub(super) const COLUMNS: &str = "number, gate, body, digest";

/// What waits, or the number of what was altered.
pub(super) fn read(row: &rusqlite::Row<'_>, run: &str) -> rusqlite::Result<Result<Sent, i64>> {
    let number = row.get(0)?;
    let (Cell::Text(gate), Cell::Text(body)) = (cell(row, 1)?, cell(row, 2)?) else { return Ok(Err(number)) };
    let fits = cell(row, 3)? == Cell::Text(bound(run, number, &gate, &body));
    Ok(if fits { Ok(Sent { number, gate, body }) } else { Err(number) })
}

/// Refuses what is not what was sent.
pub(super) fn altered(run: &str, number: i64) -> SeamError {
    SeamError::Altered {
        what: format!(
            "what waits for run {run} in the store (signal {number}: an answer, a hand-over or an abort)"
        ),
        next: format!(
            "Remove it with `allclear audit mend {run} --reason TEXT`, have it sent again, and go on with `allclear resume {run}`"
        ),
    }
}

/// Puts something where its run finds it. In a transaction of the caller.
fn send(connection: &Connection, row: &Row, gate: &str, body: &str) -> rusqlite::Result<()> {
    let number: i64 =
        connection.query_row("SELECT coalesce(max(number), 0) + 1 FROM signal", [], |row| row.get(0))?;
    connection.execute(
        "INSERT INTO signal (number, run, gate, body, digest) VALUES (?, ?, ?, ?, ?)",
        params![number, row.number, gate, body, bound(&row.id(), number, gate, body)],
    )?;
    Ok(())
}

/// What waits for a run, in the order in which it will be taken up; the number of the first one that was altered.
pub(super) fn waiting(connection: &Connection, row: &Row) -> rusqlite::Result<Result<Vec<Sent>, i64>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM signal WHERE run = ? ORDER BY number"))?;
    let sent = statement.query_map([row.number], |stored| read(stored, &row.id()))?;
    Ok(sent.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().collect())
}

/// Binds what was sent to older versions.
pub(super) fn bind_all(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT signal.number, run.id, gate, body FROM signal JOIN run ON run.number = run WHERE digest IS NULL",
    )?;
    let unbound = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    for (number, run, gate, body) in
        unbound.collect::<rusqlite::Result<Vec<(i64, String, String, String)>>>()?
    {
        let digest = bound(&run, number, &gate, &body);
        connection.execute("UPDATE signal SET digest = ? WHERE number = ?", params![digest, number])?;
    }
    Ok(())
}

impl Store {
    /// Puts an answer where the run finds it, if the gate is open and the answer counts as far as the store can tell:
    /// checked against the journal in the same transaction, so of two people who answer at once one hears that it was
    /// too late. `now` is the run's time. What was typed to confirm it is checked by the run.
    pub fn answer(&self, run: &str, answer: &Answer, now: Timestamp) -> Result<(), NotTaken> {
        // Whether its end is missing: a question that was answered would look open.
        self.look(run)?.whole()?;
        // It waits here until its run takes it up, and what people paste into a remark is not kept that long either.
        let answer = &Answer { comment: answer.comment.clone().map(masked), ..answer.clone() };
        self.send_if(run, "handing an answer in", |chain, waiting| {
            let (gate, taken) = answers::judge(run, chain, waiting, answer, now)?;
            Ok((gate, serde_json::to_string(&taken).expect("an answer is plain data")))
        })
    }

    /// Whether an answer would be taken in now; takes none in.
    pub fn would_take(&self, run: &str, answer: &Answer, now: Timestamp) -> Result<(), NotTaken> {
        let looked = self.look(run)?;
        looked.whole()?;
        let waiting = self.waiting(&looked)?;
        answers::judge(run, &looked.chain, &waiting, answer, now).map(drop)
    }

    /// What a run waits for people with, hand-overs that it has not recorded yet included.
    pub fn standing(&self, run: &str) -> Result<Option<Standing>, SeamError> {
        let looked = self.look(run)?;
        looked.whole()?;
        let waiting = self.waiting(&looked)?;
        Ok(answers::standing(&looked.chain.entries, &waiting))
    }

    /// What was handed in and decides how the run goes on once it is taken up; `None` where nothing does.
    pub fn handed_in(&self, run: &str) -> Result<Option<HandedIn>, SeamError> {
        let looked = self.look(run)?;
        looked.whole()?;
        let waiting = self.waiting(&looked)?;
        answers::handed_in(run, &looked.chain, &waiting)
    }

    /// Asks a run to end after the current effect is settled. The reason is for the record.
    pub fn abort(&self, run: &str, by: &str, reason: Option<&str>) -> Result<(), SeamError> {
        // It lies in the store, and on the platform's record later: no place for a number or a secret.
        let by = masked(by.to_owned());
        let body = match reason {
            Some(reason) => format!("{by}\n{}", masked(reason.to_owned())),
            None => by,
        };
        let sent = self.committer.with("sending a signal", |connection| {
            let transaction =
                rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
            let Some(row) = Row::of(&transaction, run)? else { return Ok(false) };
            send(&transaction, &row, ABORT, &body)?;
            transaction.commit()?;
            Ok(true)
        });
        if sent.map_err(|error| error.about(run))? {
            Ok(())
        } else {
            Err(SeamError::Missing { run: run.to_owned() })
        }
    }

    /// Hands a run over. It is recorded at the run's next safe point, or when it is taken up again. Not taken for a run that is
    /// over or was asked to end.
    pub fn hand_over(&self, run: &str, from: &str, to: &str) -> Result<(), NotTaken> {
        for name in [from, to] {
            person(name).map_err(|bad| AnswerRefused::BadName { why: bad.to_string() })?;
        }
        self.send_if(run, "handing a run over", |chain, waiting| {
            answers::going_on(run, chain, waiting)?;
            Ok((HAND_OVER.to_owned(), format!("{from}\n{to}")))
        })
    }

    /// Sends what `judge` makes of a run's journal and of what waits for it, in the transaction that read them.
    fn send_if(
        &self,
        run: &str,
        doing: &'static str,
        judge: impl FnOnce(&chain::Chain, &[Sent]) -> Result<(String, String), NotTaken>,
    ) -> Result<(), NotTaken> {
        self.committer.with(doing, |connection| {
            let transaction =
                rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
            let Some(row) = Row::of(&transaction, run)? else {
                return Ok(Err(SeamError::Missing { run: run.to_owned() }.into()));
            };
            let chain = chain::read(&transaction, row.number, row.last())?;
            let judged = match waiting(&transaction, &row)? {
                Ok(waiting) => judge(&chain, &waiting),
                Err(number) => Err(altered(run, number).into()),
            };
            let (gate, body) = match judged {
                Ok(judged) => judged,
                Err(why) => return Ok(Err(why)),
            };
            send(&transaction, &row, &gate, &body)?;
            transaction.commit()?;
            Ok(Ok(()))
        })?
    }

    /// What waits for a run. Refused where it is not what was sent.
    fn waiting(&self, looked: &Looked) -> Result<Vec<Sent>, SeamError> {
        let run = &looked.summary.id;
        let Some(row) = &looked.row else { return Ok(Vec::new()) };
        let sent = self.committer.read("looking for signals", |connection| waiting(connection, row));
        sent.map_err(|error| error.about(run))?.map_err(|number| altered(run, number))
    }

    /// Refuses a run for which something waits that is not what was sent.
    pub(super) fn check_sent(&self, looked: &Looked) -> Result<(), SeamError> {
        self.waiting(looked).map(drop)
    }

    /// Whether somebody asked the run to end. What was altered asks nothing.
    pub fn is_to_end(&self, run: &str) -> Result<bool, SeamError> {
        self.committer.read("looking for signals", |connection| {
            let Some(row) = Row::of(connection, run)? else { return Ok(false) };
            let mut statement = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM signal WHERE run = ? AND gate = ?"))?;
            let asked = statement.query_map(params![row.number, ABORT], |stored| read(stored, run))?;
            Ok(asked.collect::<rusqlite::Result<Vec<_>>>()?.iter().any(Result::is_ok))
        })
    }

    /// Removes what waits for a run and is not what was sent. Returns what was removed, in words.
    pub(super) fn drop_altered_signals(&self, run: &str) -> Result<Vec<String>, SeamError> {
        self.committer.with("removing signals", |connection| {
            let Some(row) = Row::of(connection, run)? else { return Ok(Vec::new()) };
            let mut dropped = Vec::new();
            while let Err(number) = waiting(connection, &row)? {
                connection.execute("DELETE FROM signal WHERE number = ?", [number])?;
                dropped.push(format!(
                    "what waited for it in the store (signal {number}) was not what was sent, and is removed"
                ));
            }
            Ok(dropped)
        })
    }
}
