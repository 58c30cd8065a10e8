//! Who is here to answer, from the run's point of view.

use async_trait::async_trait;

use crate::gate::{Answer, Question};
use crate::person::same_person;

/// What became of a question that was put to whoever is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attention {
    /// Somebody answered.
    Answer(Answer),
    /// A drill's role was played. Counts in a rehearsal only, where the run also types what the gate wants typed; at a real
    /// platform nobody is here.
    Played(Answer),
    /// Nobody is here; let go, the question stays in the journal.
    Absent,
    /// Nobody is here, but wait: an answer may come from elsewhere, or the deadline may pass.
    Wait,
}

/// Puts questions to whoever is here: a terminal, a drill role, nobody.
#[async_trait]
pub trait Humans: Send + Sync {
    /// Asks. `given` are the answers that count so far, where a gate takes several people.
    ///
    /// The run listens elsewhere meanwhile: when the gate is settled there, or its deadline passes, this future is
    /// dropped where it stands.
    async fn ask(&self, question: &Question, given: &[Answer]) -> Attention;
}

/// Nobody is here; let go at every gate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

#[async_trait]
impl Humans for Nobody {
    async fn ask(&self, _question: &Question, _given: &[Answer]) -> Attention {
        Attention::Absent
    }
}

/// Nobody is here; wait for an answer from elsewhere or for the deadline.
#[derive(Debug, Clone, Copy, Default)]
pub struct Elsewhere;

#[async_trait]
impl Humans for Elsewhere {
    async fn ask(&self, _question: &Question, _given: &[Answer]) -> Attention {
        Attention::Wait
    }
}

/// A drill's role that approves, or takes the answer that the plan presumed where a gate offers other choices. Where several
/// people are needed, it plays them all, under the names that may answer where a gate has some. It never says whether
/// something happened: that must be looked up. At a platform that acts for real it answers nothing.
#[derive(Debug, Clone)]
pub struct AutoApprove {
    /// The role's name, as the journal shows it.
    pub role: String,
}

impl AutoApprove {
    /// Which of its parts answers next.
    fn part(&self, question: &Question, given: &[Answer]) -> String {
        let free = |name: &&String| {
            let excluded = question.approvers.not_the_requester && same_person(name, &question.requester);
            !excluded && given.iter().all(|earlier| !same_person(&earlier.by, name))
        };
        match (question.approvers.among.iter().find(free), given.len()) {
            (Some(name), _) => name.clone(),
            (None, 0) => self.role.clone(),
            (None, before) => format!("{}-{}", self.role, before + 1),
        }
    }
}

#[async_trait]
impl Humans for AutoApprove {
    async fn ask(&self, question: &Question, given: &[Answer]) -> Attention {
        let choice = question.choice("approve").or_else(|| question.choice(&question.presumed));
        let Some(choice) = choice.filter(|_| !question.fact) else {
            return Attention::Absent;
        };
        let answer = Answer::to(question, choice.id.as_str(), self.part(question, given));
        Attention::Played(answer.saying("answered automatically in a drill"))
    }
}
