//! Gates: questions to people, and which answers to them count.
//!
//! The rules stand here once, in [`Question::check`] and [`Question::settled`]. The run applies them when it records an
//! answer; the store applies them to what it knows when an answer is handed in, so that a person hears at once.

use std::borrow::Borrow;
use std::time::Duration;

use allclear_core::secrets::masked;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::effect::{Danger, Effect};
use crate::journal::{Entry, Event, digest};
use crate::person::{person, same_person};

/// A set of answers to choose from. Implement it for an enum; procedures then `match` on the answer.
pub trait Choice: Copy + PartialEq + Send + Sync + 'static {
    /// All answers, in the order shown.
    const ALL: &'static [Self];

    /// The word to type, e.g. `approve`.
    fn id(self) -> &'static str;

    /// What it means, in one sentence.
    fn says(self) -> &'static str;

    /// Whether one person's word is enough where a gate takes several. True for what stops: a no needs no second.
    fn alone(self) -> bool {
        false
    }
}

/// The plain choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// Go on.
    Approve,
    /// Do not.
    Reject,
}

impl Choice for Approval {
    const ALL: &'static [Self] = &[Self::Approve, Self::Reject];

    fn id(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }

    fn says(self) -> &'static str {
        match self {
            Self::Approve => "go on as shown",
            Self::Reject => "do not do this",
        }
    }

    fn alone(self) -> bool {
        self == Self::Reject
    }
}

/// Who may answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approvers {
    /// How many different people must give the same answer, where one is not enough ([`Choice::alone`]).
    pub needed: u8,
    /// Names that may answer; anybody when empty.
    pub among: Vec<String>,
    /// Whether whoever started the run, and whoever holds it now, is excluded.
    pub not_the_requester: bool,
}

impl Approvers {
    /// Any one person.
    pub fn anyone() -> Self {
        Self { needed: 1, among: Vec::new(), not_the_requester: false }
    }

    /// Any one person but whoever started or holds the run.
    pub fn somebody_else() -> Self {
        Self { not_the_requester: true, ..Self::anyone() }
    }

    /// How many of those named are missing to settle it, whoever `holders` exclude. None where anybody may answer.
    fn missing(&self, requester: &str, holders: &[impl AsRef<str>]) -> usize {
        if self.among.is_empty() {
            return 0;
        }
        let excluded = |name: &str| {
            let is_theirs = |one: &str| same_person(one, name);
            self.not_the_requester
                && (is_theirs(requester) || holders.iter().any(|one| is_theirs(one.as_ref())))
        };
        let may = self.among.iter().filter(|name| !excluded(name)).count();
        usize::from(self.needed).saturating_sub(may)
    }
}

/// Something that a gate wants typed before an answer counts, e.g. the last two characters of a code: proof that the
/// person looked at the thing itself and not only at the question. What is expected is never shown or recorded.
#[derive(Clone)]
pub struct Confirmation<C> {
    /// Which answer it confirms.
    pub choice: C,
    /// What to type, in words: `the last two characters of the voucher's code`.
    pub what: String,
    expected: String,
}

impl<C: std::fmt::Debug> std::fmt::Debug for Confirmation<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Confirmation")
            .field("choice", &self.choice)
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

impl<C> Confirmation<C> {
    /// What is expected, as it would have been typed at this question.
    pub(crate) fn expected_at(&self, binding: &str) -> Typed {
        Typed::at(binding, &self.expected)
    }
}

/// What somebody typed to confirm an answer, as a digest bound to the question: nothing that a gate wants typed stands
/// in the clear in the store, while an answer waits there for its run. Blanks around it and the case of letters do not
/// matter.
///
/// The digest of two characters can be found by trying; it keeps them from being read by chance. The run drops it when
/// it records the answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Typed(String);

impl std::fmt::Debug for Typed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Typed(…)")
    }
}

impl Typed {
    /// What was typed at the question with this binding.
    pub fn at(binding: &str, text: &str) -> Self {
        Self(digest(format!("{binding}\n{}", text.trim().to_lowercase()).as_bytes()))
    }
}

/// What happens at a gate's deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry<C> {
    /// How long after the question.
    pub after: Duration,
    /// The answer that then counts as given.
    pub answer: C,
}

/// A question to people, as a procedure asks it.
#[derive(Debug, Clone)]
pub struct Gate<C> {
    /// What it is about, when the same step asks several times; empty otherwise.
    pub subject: String,
    /// The question.
    pub question: String,
    /// What the person should know first: what will change, how it is known.
    pub shown: Vec<String>,
    /// Who may answer.
    pub approvers: Approvers,
    /// What happens when nobody does; waits for ever when `None`.
    pub expiry: Option<Expiry<C>>,
    /// The answer that a plan presumes.
    pub presumed: C,
    /// Whether it asks for something that must be looked up rather than decided.
    pub fact: bool,
    /// What must be typed for an answer to count.
    pub confirmation: Option<Confirmation<C>>,
    /// The dangerous effects that a yes covers, by name and subject.
    pub(crate) covers: Vec<(String, String)>,
}

impl Gate<Approval> {
    /// Says that a yes covers this effect, which then is not asked about again. Whom the environment names for what is
    /// dangerous answers such a gate, and nobody else, with [`Run::approve`](crate::Run::approve).
    pub fn covering<E: Effect>(mut self, effect: &E) -> Self {
        if effect.danger() != Danger::None {
            self.covers.push((effect.name().to_owned(), effect.subject()));
        }
        self
    }
}

impl<C: Choice> Gate<C> {
    /// A question that any one person may answer, without a deadline.
    pub fn new(question: impl Into<String>, presumed: C) -> Self {
        Self {
            subject: String::new(),
            question: question.into(),
            shown: Vec::new(),
            approvers: Approvers::anyone(),
            expiry: None,
            presumed,
            fact: false,
            confirmation: None,
            covers: Vec::new(),
        }
    }

    /// Demands that whoever answers `choice` types `expected`; `what` says what that is, without saying it.
    pub fn confirmed_by(mut self, choice: C, what: impl Into<String>, expected: impl Into<String>) -> Self {
        self.confirmation = Some(Confirmation { choice, what: what.into(), expected: expected.into() });
        self
    }

    /// Asks what is so, not what shall be done: a drill's roles may not answer it.
    pub fn asking_for_a_fact(mut self) -> Self {
        self.fact = true;
        self
    }

    /// Says what it is about.
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// Shows a line with it.
    pub fn showing(mut self, line: impl Into<String>) -> Self {
        self.shown.push(line.into());
        self
    }

    /// Declares what counts as the answer after a while.
    pub fn expires(mut self, after: Duration, answer: C) -> Self {
        self.expiry = Some(Expiry { after, answer });
        self
    }

    /// Narrows who may answer.
    pub fn answered_by(mut self, approvers: Approvers) -> Self {
        self.approvers = approvers;
        self
    }
}

/// One offered answer, as it is journalled and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// The word to type.
    pub id: String,
    /// What it means.
    pub says: String,
    /// Whether one person's word is enough where the gate takes several.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// What must be typed for it to count, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typing: Option<String>,
}

/// A question as it is journalled and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Names the gate within its run, e.g. `WA-I2`.
    pub gate: String,
    /// The question.
    pub question: String,
    /// What was shown with it.
    pub shown: Vec<String>,
    /// What may be answered.
    pub choices: Vec<Offered>,
    /// Who may answer.
    pub approvers: Approvers,
    /// Who started the run.
    pub requester: String,
    /// When it expires.
    pub deadline: Option<Timestamp>,
    /// The answer that counts at the deadline.
    pub at_deadline: Option<String>,
    /// The answer that the plan presumed.
    #[serde(default)]
    pub presumed: String,
    /// Whether it asks for something that must be looked up rather than decided.
    #[serde(default)]
    pub fact: bool,
    /// Digest of run, gate, what was shown and the plan: an answer that carries another one was given to something
    /// else and is refused.
    pub binding: String,
}

/// A person's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Which offered word.
    pub choice: String,
    /// Who gave it.
    pub by: String,
    /// The binding of the question as the person saw it.
    pub binding: String,
    /// A remark.
    pub comment: Option<String>,
    /// What was typed to confirm it, until the run has seen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<Typed>,
    /// When the store took it in, and who held the run then; `None` where it came another way. Said by the store alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
}

/// What the store knew of an answer when it took it in. From then on the answer counts, whatever becomes of the process that it
/// is for, and whoever takes the run up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// When, by the run's clock.
    pub at: Timestamp,
    /// Who held the run.
    pub holders: Vec<String>,
}

impl Answer {
    /// An answer to a question as it was seen.
    pub fn to(question: &Question, choice: impl Into<String>, by: impl Into<String>) -> Self {
        Self {
            choice: choice.into(),
            by: by.into(),
            binding: question.binding.clone(),
            comment: None,
            typed: None,
            accepted: None,
        }
    }

    /// Adds a remark.
    pub fn saying(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(masked(comment.into()));
        self
    }

    /// Adds what was typed to confirm it.
    pub fn typing(mut self, text: &str) -> Self {
        self.typed = Some(Typed::at(&self.binding, text));
        self
    }
}

/// Why an answer does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "refused", rename_all = "snake_case")]
pub enum AnswerRefused {
    /// It was given to another question, another plan or another run.
    #[error(
        "the answer was given to something else (its binding is {given}, this gate's is {asked}); look again and answer anew"
    )]
    Foreign {
        /// The answer's binding.
        given: String,
        /// The gate's binding.
        asked: String,
    },
    /// Not one of the choices.
    #[error("`{choice}` is not offered; choose one of {offered}")]
    NotOffered {
        /// What was answered.
        choice: String,
        /// What may be.
        offered: String,
    },
    /// The person may not answer.
    #[error("{by} may not answer this gate; it takes {who}")]
    NotAllowed {
        /// Who tried.
        by: String,
        /// Who may.
        who: String,
    },
    /// The person has answered already.
    #[error("{by} has answered already; another person must")]
    Repeated {
        /// Who tried.
        by: String,
    },
    /// The name is none, or could be taken for another one.
    #[error("{why}")]
    BadName {
        /// What is wrong with it.
        why: String,
    },
    /// It was given after the deadline.
    #[error("the answer was given at {at}, and the gate's deadline passed at {deadline}")]
    TooLate {
        /// When it was given.
        at: Timestamp,
        /// Until when it could be.
        deadline: Timestamp,
    },
    /// What must be typed was not, or it was something else. Says nothing of what was.
    #[error("`{choice}` counts only with {what}, typed; look it up and answer again")]
    Unconfirmed {
        /// What was answered.
        choice: String,
        /// What must be typed, in words.
        what: String,
    },
    /// The gate was settled before.
    #[error("the gate is closed: {how}")]
    Closed {
        /// What settled it.
        how: String,
    },
}

impl Question {
    /// Whether `answer` counts, given who answered before and who holds the run now. Where the requester is excluded, so
    /// is the holder: a run that was handed over is still nobody's to approve alone.
    ///
    /// Whether what was typed is right is checked by the run alone, which knows what is expected; here it must be there.
    pub fn check(
        &self,
        answer: &Answer,
        before: &[Answer],
        holders: &[impl AsRef<str>],
    ) -> Result<(), AnswerRefused> {
        if answer.binding != self.binding {
            return Err(AnswerRefused::Foreign {
                given: answer.binding.clone(),
                asked: self.binding.clone(),
            });
        }
        let Some(choice) = self.choice(&answer.choice) else {
            let offered: Vec<&str> = self.choices.iter().map(|offered| offered.id.as_str()).collect();
            return Err(AnswerRefused::NotOffered {
                choice: answer.choice.clone(),
                offered: offered.join(", "),
            });
        };
        person(&answer.by).map_err(|bad| AnswerRefused::BadName { why: bad.to_string() })?;
        // Who held the run when the answer was taken in is what it is judged by, not who took the run up since.
        match &answer.accepted {
            Some(accepted) => self.check_person(&answer.by, &accepted.holders)?,
            None => self.check_person(&answer.by, holders)?,
        }
        if let (Some(Accepted { at, .. }), Some(deadline)) = (&answer.accepted, self.deadline)
            && *at >= deadline
        {
            return Err(AnswerRefused::TooLate { at: *at, deadline });
        }
        if before.iter().any(|earlier| same_person(&earlier.by, &answer.by)) {
            return Err(AnswerRefused::Repeated { by: answer.by.clone() });
        }
        match &choice.typing {
            Some(what) if answer.typed.is_none() => {
                Err(AnswerRefused::Unconfirmed { choice: choice.id.clone(), what: what.clone() })
            }
            _ => Ok(()),
        }
    }

    fn check_person(&self, by: &str, holders: &[impl AsRef<str>]) -> Result<(), AnswerRefused> {
        let refused = |who: String| Err(AnswerRefused::NotAllowed { by: by.to_owned(), who });
        let holds = holders.iter().any(|holder| same_person(holder.as_ref(), by));
        if self.approvers.not_the_requester && (same_person(by, &self.requester) || holds) {
            let mut excluded = vec![self.requester.as_str()];
            for holder in holders.iter().map(AsRef::as_ref) {
                if !excluded.contains(&holder) {
                    excluded.push(holder);
                }
            }
            return refused(format!("somebody other than {}", excluded.join(" and ")));
        }
        if !self.approvers.among.is_empty() && !self.approvers.among.iter().any(|name| same_person(name, by))
        {
            return refused(self.approvers.among.join(" or "));
        }
        Ok(())
    }

    /// The offered answer of that name.
    pub fn choice(&self, id: &str) -> Option<&Offered> {
        self.choices.iter().find(|offered| offered.id == id)
    }

    /// The answer that settles it, once enough of the answers that count agree, or one that needs no second is given.
    pub fn settled<'a, A: Borrow<Answer>>(&self, given: &'a [A]) -> Option<&'a Answer> {
        let latest: &Answer = given.last()?.borrow();
        let agreeing = given.iter().filter(|one| (*one).borrow().choice == latest.choice).count();
        let alone = self.choice(&latest.choice).is_some_and(|offered| offered.alone);
        (alone || agreeing >= usize::from(self.approvers.needed)).then_some(latest)
    }

    /// How many people are missing among those who may answer; a gate that lacks one waits for ever.
    pub(crate) fn missing_people(&self, holders: &[impl AsRef<str>]) -> usize {
        self.approvers.missing(&self.requester, holders)
    }
}

/// The question that a journal leaves open, and what an answer to it is judged against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The question.
    pub question: Question,
    /// The answers that count so far.
    pub given: Vec<Answer>,
    /// Who holds the run: who has it, and who took it up last.
    pub holders: Vec<String>,
}

impl Standing {
    /// The open question of a journal; a run asks one at a time.
    pub fn of(entries: &[Entry]) -> Option<Self> {
        let mut open: Option<Self> = None;
        for entry in entries {
            match &entry.event {
                Event::Asked { question, .. } => {
                    open = Some(Self { question: question.clone(), given: Vec::new(), holders: Vec::new() });
                }
                Event::Answered { answer, .. } => {
                    open = open.and_then(|mut standing| {
                        standing.given.push(answer.clone());
                        standing.question.settled(&standing.given).is_none().then_some(standing)
                    });
                }
                Event::GateExpired { .. } | Event::Concluded { .. } => open = None,
                _ => {}
            }
        }
        open.map(|standing| Self { holders: holders(entries), ..standing })
    }

    /// Whether `answer` counts; what was typed is left to the run.
    pub fn check(&self, answer: &Answer) -> Result<(), AnswerRefused> {
        self.question.check(answer, &self.given, &self.holders)
    }
}

/// Who holds the run of a journal: whoever it was handed to last, or started it, and whoever took it up last.
pub fn holders(entries: &[Entry]) -> Vec<String> {
    let latest = |of: fn(&Event) -> Option<&String>| entries.iter().rev().find_map(|entry| of(&entry.event));
    let responsible = latest(|event| match event {
        Event::HandedOver { to, .. } => Some(to),
        Event::Started { operator, .. } => Some(operator),
        _ => None,
    });
    let at_it = latest(|event| match event {
        Event::Resumed { by, .. } => Some(by),
        _ => None,
    });
    let mut names: Vec<String> = responsible.into_iter().chain(at_it).cloned().collect();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::Approvers;

    #[test]
    fn whoever_started_a_run_is_missing_at_its_gate_also_when_somebody_else_holds_it() {
        let among = vec!["kim".to_owned(), "lea".to_owned(), "ren".to_owned()];
        let approvers = Approvers { among, needed: 2, not_the_requester: true };
        let missing = |holders: &[&str]| approvers.missing("kim", holders);
        assert_eq!((missing(&[]), missing(&["lea"]), missing(&["lea", "ren"])), (0, 1, 2));
    }
}
