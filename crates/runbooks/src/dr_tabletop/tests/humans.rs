//! People at the gates.

use allclear_engine::gate::Question;
use allclear_engine::{Answer, Attention, Humans};
use async_trait::async_trait;

/// A person who types this wherever something is to be typed, and answers one gate in their own way.
pub(super) struct Person {
    pub(super) types: &'static str,
    /// At a gate of this name, this answer.
    pub(super) at: (&'static str, &'static str),
}

#[async_trait]
impl Humans for Person {
    async fn ask(&self, question: &Question, _given: &[Answer]) -> Attention {
        let (gate, own) = self.at;
        let choice = if question.gate == gate { own } else { &question.presumed };
        Attention::Answer(Answer::to(question, choice, "alex").typing(self.types))
    }
}

/// Answers some gates and is away at the others.
pub(super) struct AnswersOnly {
    pub(super) gates: &'static [&'static str],
}

#[async_trait]
impl Humans for AnswersOnly {
    async fn ask(&self, question: &Question, _given: &[Answer]) -> Attention {
        if self.gates.contains(&question.gate.as_str()) {
            return Attention::Answer(Answer::to(question, question.presumed.as_str(), "alex"));
        }
        Attention::Absent
    }
}
