//! Gates: questions to people.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A set of answers to choose from. Implement it for an enum; procedures then `match` on the answer.
pub trait Choice: Copy + PartialEq + Send + Sync + 'static {
    /// All answers, in the order shown.
    const ALL: &'static [Self];

    /// The word to type, e.g. `approve`.
    fn id(self) -> &'static str;

    /// What it means, in one sentence.
    fn says(self) -> &'static str;
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
}

/// Who may answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approvers {
    /// How many different people must give the same answer.
    pub needed: u8,
    /// Names that may answer; anybody when empty.
    pub among: Vec<String>,
    /// Whether whoever started the run is excluded.
    pub not_the_requester: bool,
}

impl Approvers {
    /// Any one person.
    pub fn anyone() -> Self {
        Self { needed: 1, among: Vec::new(), not_the_requester: false }
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
        }
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
}

impl Question {
    /// Whether `answer` counts, given who answered before and who holds the run now. Where the requester is excluded, so
    /// is the holder: a run that was handed over is still nobody's to approve alone.
    pub fn check(&self, answer: &Answer, before: &[Answer], holder: &str) -> Result<(), AnswerRefused> {
        if answer.binding != self.binding {
            return Err(AnswerRefused::Foreign {
                given: answer.binding.clone(),
                asked: self.binding.clone(),
            });
        }
        if !self.choices.iter().any(|offered| offered.id == answer.choice) {
            let offered: Vec<&str> = self.choices.iter().map(|offered| offered.id.as_str()).collect();
            return Err(AnswerRefused::NotOffered {
                choice: answer.choice.clone(),
                offered: offered.join(", "),
            });
        }
        if self.approvers.not_the_requester && (answer.by == self.requester || answer.by == holder) {
            let who = if holder == self.requester {
                format!("somebody other than {holder}")
            } else {
                format!("somebody other than {} and {holder}", self.requester)
            };
            return Err(AnswerRefused::NotAllowed { by: answer.by.clone(), who });
        }
        if !self.approvers.among.is_empty() && !self.approvers.among.contains(&answer.by) {
            return Err(AnswerRefused::NotAllowed {
                by: answer.by.clone(),
                who: self.approvers.among.join(" or "),
            });
        }
        if before.iter().any(|earlier| earlier.by == answer.by) {
            return Err(AnswerRefused::Repeated { by: answer.by.clone() });
        }
        Ok(())
    }
}
