//! Asking people.

use jiff::Timestamp;

use super::{Mode, Run, key_of, of};
use crate::gate::{Answer, Approval, Choice, Gate, Offered, Question};
use crate::humans::Attention;
use crate::journal::{Event, digest};
use crate::outcome::Halt;
use crate::plan::PlannedGate;
use crate::seam::{Signal, Woken};
use crate::step::Step;

/// After this many refused answers a process lets go of a gate instead of asking the same people for ever.
const MOST_REFUSED_HERE: u32 = 5;

impl Run {
    /// Asks, and waits for an answer that counts. A plan lists the question and presumes its answer.
    pub async fn ask<C: Choice>(&mut self, step: &Step, gate: Gate<C>) -> Result<C, Halt> {
        self.ask_whom(step, gate).await.map(|(choice, _)| choice)
    }

    /// Asks for a yes. A no ends the run as rejected.
    pub async fn approve(&mut self, step: &Step, gate: Gate<Approval>) -> Result<(), Halt> {
        let name = gate_name(step, &gate.subject);
        match self.ask_whom(step, gate).await? {
            (Approval::Approve, _) => Ok(()),
            (Approval::Reject, by) => {
                Err(Halt::Rejected { gate: name, choice: Approval::Reject.id().to_owned(), by })
            }
        }
    }

    async fn ask_whom<C: Choice>(&mut self, step: &Step, gate: Gate<C>) -> Result<(C, String), Halt> {
        let condition = self.condition();
        if let Mode::Planning(planning) = &mut self.mode {
            planning.gates.push(PlannedGate {
                step: step.id.to_owned(),
                question: gate.question.clone(),
                presumed: gate.presumed.id().to_owned(),
                condition,
            });
            return Ok((gate.presumed, String::new()));
        }
        self.check_stop().await?;
        let name = gate_name(step, &gate.subject);
        self.once(&format!("{name}/gate"))?;
        let question = self.pose(step, &name, &gate).await?;
        let mut given: Vec<Answer> = Vec::new();
        let mut refused_here = 0;
        for turn in 1.. {
            let key = format!("{name}/answer {turn}");
            let event = match self.seam.recorded(&key) {
                Some(entry) => entry.event.clone(),
                // Whoever is here may not answer and would only be refused again: somebody else must, from elsewhere.
                None if refused_here >= MOST_REFUSED_HERE => {
                    return Err(Halt::Waiting { gate: name, question: question.question });
                }
                None => {
                    let (event, here) = self.next_answer(step, &gate.subject, &question, &given).await?;
                    refused_here += u32::from(here && matches!(event, Event::AnswerRefused { .. }));
                    event
                }
            };
            match self.record(&key, async move { event }).await?.entry.event {
                Event::Answered { answer, .. } => {
                    given.push(answer.clone());
                    let agreeing = given.iter().filter(|earlier| earlier.choice == answer.choice).count();
                    if agreeing >= usize::from(question.approvers.needed) {
                        return Ok((choice_of::<C>(&answer.choice, &name)?, answer.by));
                    }
                }
                Event::GateExpired { choice, .. } => {
                    return Ok((choice_of::<C>(&choice, &name)?, "nobody, in time".to_owned()));
                }
                _ => {}
            }
        }
        unreachable!("turns do not run out")
    }

    /// Records the question once; its deadline counts from then.
    async fn pose<C: Choice>(&mut self, step: &Step, name: &str, gate: &Gate<C>) -> Result<Question, Halt> {
        let clock = self.seam.clock();
        let of = of(step, &gate.subject);
        let plan = self.terms.plan.as_ref().map_or("", |plan| plan.hash.as_str());
        let shown = gate.shown.join("\n");
        let binding =
            digest(format!("{}\n{name}\n{}\n{shown}\n{plan}", self.terms.run, gate.question).as_bytes());
        let question = Question {
            gate: name.to_owned(),
            question: gate.question.clone(),
            shown: gate.shown.clone(),
            choices: C::ALL
                .iter()
                .map(|c| Offered { id: c.id().to_owned(), says: c.says().to_owned() })
                .collect(),
            approvers: gate.approvers.clone(),
            requester: self.requester.clone(),
            deadline: None,
            presumed: gate.presumed.id().to_owned(),
            fact: gate.fact,
            at_deadline: gate.expiry.as_ref().map(|expiry| expiry.answer.id().to_owned()),
            // Enough of the digest to tell plans apart, short enough to read out loud.
            binding: binding[..12].to_owned(),
        };
        let after = gate.expiry.as_ref().map(|expiry| expiry.after);
        let body = async move {
            let deadline = after.map(|after| clock.now() + after);
            Event::Asked { of, question: Question { deadline, ..question } }
        };
        let entry = self.record(&format!("{name}/gate"), body).await?.entry;
        match entry.event {
            Event::Asked { question, .. } => Ok(question),
            _ => Err(self.unreadable(&entry, "it is no question")),
        }
    }

    /// Gets the next answer: one that lies ready, one from whoever is here, or the deadline; and whether it is from
    /// whoever is here.
    async fn next_answer(
        &mut self,
        step: &Step,
        subject: &str,
        question: &Question,
        given: &[Answer],
    ) -> Result<(Event, bool), Halt> {
        let of = of(step, subject);
        let mut here = false;
        let woken = loop {
            let ready = self.seam.signal(&question.gate, None, false).await?;
            let woken = match ready {
                Woken::By(signal) => Woken::By(signal),
                Woken::Time if self.is_past(question.deadline) => Woken::Time,
                Woken::Time => match self.terms.humans.clone().ask(question, given).await {
                    Attention::Answer(answer) => {
                        here = true;
                        Woken::By(Signal::Answer(answer))
                    }
                    Attention::Wait => self.seam.signal(&question.gate, question.deadline, true).await?,
                    Attention::Absent => {
                        let gate = question.gate.clone();
                        return Err(Halt::Waiting { gate, question: question.question.clone() });
                    }
                },
            };
            match woken {
                Woken::By(Signal::HandOver { from, to }) => self.hand_over(from, to).await?,
                woken => break woken,
            }
        };
        let event = match woken {
            Woken::By(Signal::Answer(answer)) => match question.check(&answer, given, &self.holder) {
                Ok(()) => Event::Answered { of, answer },
                Err(why) => Event::AnswerRefused { of, by: answer.by, why },
            },
            Woken::By(signal) => return Err(super::halt_of(signal)),
            Woken::Time => match &question.at_deadline {
                Some(choice) if self.is_past(question.deadline) => {
                    Event::GateExpired { of, choice: choice.clone() }
                }
                _ => {
                    let gate = question.gate.clone();
                    return Err(Halt::Waiting { gate, question: question.question.clone() });
                }
            },
        };
        Ok((event, here))
    }

    fn is_past(&self, deadline: Option<Timestamp>) -> bool {
        deadline.is_some_and(|at| self.seam.clock().now() >= at)
    }
}

fn choice_of<C: Choice>(id: &str, gate: &str) -> Result<C, Halt> {
    C::ALL.iter().copied().find(|choice| choice.id() == id).ok_or_else(|| Halt::Rejected {
        gate: gate.to_owned(),
        choice: id.to_owned(),
        by: "an older version of this procedure".to_owned(),
    })
}

fn gate_name(step: &Step, subject: &str) -> String {
    key_of(step, subject, 0)
}
