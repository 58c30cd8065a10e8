//! Taking answers in at the door: what the store can tell of them before their run sees them.
//!
//! Without this, an answer to a gate that somebody else had just settled would lie in the store unread, and whoever gave
//! it would believe that it counted.

use jiff::Timestamp;

use super::chain::Chain;
use super::seam::{ABORT, HAND_OVER};
use super::signals::Sent;
use crate::gate::{Accepted, Answer, AnswerRefused, Standing};
use crate::journal::Entry;
use crate::outcome::Outcome;
use crate::person::same_person;
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
    /// Somebody ended the run; it has only not come to record it.
    #[error("{by} asked the run to end, and it does as soon as it is taken up; start another one instead")]
    Aborted {
        /// Who.
        by: String,
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

/// What was handed in and its run takes up next: nobody needs to do it again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "handed_in", rename_all = "snake_case")]
pub enum HandedIn {
    /// The answer that settles the open question.
    Answer {
        /// Who gave it.
        by: String,
        /// What they chose.
        choice: String,
    },
    /// The word that ends the run.
    End {
        /// Who asked.
        by: String,
    },
}

impl Sent {
    /// The answer that it is, if it is one.
    fn answer(&self, run: &str) -> Result<Option<Answer>, SeamError> {
        if self.gate == ABORT || self.gate == HAND_OVER {
            return Ok(None);
        }
        let unreadable = |error: serde_json::Error| SeamError::Store {
            doing: "reading an answer that waits for its run",
            detail: error.to_string(),
        };
        serde_json::from_str(&self.body).map(Some).map_err(|error| unreadable(error).about(run))
    }

    fn handed_over_to(&self) -> Option<&str> {
        (self.gate == HAND_OVER).then(|| self.body.split_once('\n').map(|(_, to)| to)).flatten()
    }
}

/// The open question of a run, with who holds it once it has taken up what waits for it.
pub(super) fn standing(entries: &[Entry], waiting: &[Sent]) -> Option<Standing> {
    let mut standing = Standing::of(entries)?;
    let handed_over = waiting.iter().filter_map(Sent::handed_over_to).map(str::to_owned);
    standing.holders.extend(handed_over);
    Some(standing)
}

/// Refuses a run that is damaged, over, or asked to end.
pub(super) fn going_on(run: &str, chain: &Chain, waiting: &[Sent]) -> Result<(), NotTaken> {
    if let Some(damaged) = &chain.damaged {
        return Err(SeamError::Damaged { run: run.to_owned(), damage: damaged.clone().into() }.into());
    }
    if let Some(outcome) = chain.outcome() {
        return Err(NotTaken::Ended { outcome });
    }
    match waiting.iter().find(|sent| sent.gate == ABORT) {
        Some(abort) => Err(NotTaken::Aborted { by: abort.ended_by().to_owned() }),
        None => Ok(()),
    }
}

/// What waits for a run and decides how it goes on.
pub(super) fn handed_in(run: &str, chain: &Chain, waiting: &[Sent]) -> Result<Option<HandedIn>, SeamError> {
    if let Some(abort) = waiting.iter().find(|sent| sent.gate == ABORT) {
        return Ok(Some(HandedIn::End { by: abort.ended_by().to_owned() }));
    }
    let Some(mut standing) = standing(&chain.entries, waiting) else { return Ok(None) };
    for sent in waiting.iter().filter(|sent| sent.gate == standing.question.gate) {
        let Some(answer) = sent.answer(run)? else { continue };
        // Whether what was typed with it is right is not known here, so it may come to nothing.
        if answer.typed.is_none() && standing.check(&answer).is_ok() {
            standing.given.push(answer);
        }
    }
    let settled = standing.question.settled(&standing.given);
    Ok(settled.map(|answer| HandedIn::Answer { by: answer.by.clone(), choice: answer.choice.clone() }))
}

/// Whether `answer` is taken in: for which gate, and as what.
pub(super) fn judge(
    run: &str,
    chain: &Chain,
    waiting: &[Sent],
    answer: &Answer,
    now: Timestamp,
) -> Result<(String, Answer), NotTaken> {
    going_on(run, chain, waiting)?;
    let mut standing = standing(&chain.entries, waiting).ok_or(NotTaken::NothingAsked)?;
    if let Some(deadline) = standing.question.deadline.filter(|deadline| now >= *deadline) {
        return Err(NotTaken::TooLate { deadline });
    }
    let accepted = Accepted { at: now, holders: standing.holders.clone() };
    let answer = &Answer { accepted: Some(accepted), ..answer.clone() };
    standing.check(answer)?;
    let question = &standing.question;
    for sent in waiting.iter().filter(|sent| sent.gate == question.gate) {
        let Some(earlier) = sent.answer(run)? else { continue };
        // Whether what was typed with it is right is not known here, so it may come to nothing.
        if earlier.typed.is_some() || standing.check(&earlier).is_err() {
            continue;
        }
        standing.given.push(earlier);
        if let Some(first) = standing.question.settled(&standing.given) {
            let (by, choice) = (first.by.clone(), first.choice.clone());
            return Err(if same_person(&by, &answer.by) {
                AnswerRefused::Repeated { by }.into()
            } else {
                NotTaken::Settled { by, choice }
            });
        }
    }
    standing.check(answer)?;
    Ok((standing.question.gate, answer.clone()))
}
