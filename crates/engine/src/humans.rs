//! Who is here to answer, from the run's point of view.

use async_trait::async_trait;

use crate::gate::{Answer, Question};

/// What became of a question that was put to whoever is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attention {
    /// Somebody answered.
    Answer(Answer),
    /// Nobody is here; let go, the question stays in the journal.
    Absent,
    /// Nobody is here, but wait: an answer may come from elsewhere, or the deadline may pass.
    Wait,
}

/// Puts questions to whoever is here: a terminal, a drill role, nobody.
#[async_trait]
pub trait Humans: Send + Sync {
    /// Asks. `given` are the answers that count so far, where a gate takes several people.
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

/// A drill role that approves, or takes the answer that the plan presumed where a gate offers other choices; where several
/// people are needed, it plays them all. It never says whether something happened: that must be looked up.
#[derive(Debug, Clone)]
pub struct AutoApprove {
    /// The role's name, as the journal shows it.
    pub role: String,
}

#[async_trait]
impl Humans for AutoApprove {
    async fn ask(&self, question: &Question, given: &[Answer]) -> Attention {
        let offered = |id: &str| question.choices.iter().find(|choice| choice.id == id);
        let Some(choice) =
            offered("approve").or_else(|| offered(&question.presumed)).filter(|_| !question.fact)
        else {
            return Attention::Absent;
        };
        Attention::Answer(Answer {
            choice: choice.id.clone(),
            by: if given.is_empty() {
                self.role.clone()
            } else {
                format!("{}-{}", self.role, given.len() + 1)
            },
            binding: question.binding.clone(),
            comment: Some("answered automatically in a drill".to_owned()),
        })
    }
}
