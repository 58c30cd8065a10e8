//! Asking people.

use std::sync::Arc;

use allclear_core::clock::after;
use futures_util::future::{BoxFuture, Either, select};
use jiff::Timestamp;

use super::{Mode, Run, key_of, of};
use crate::gate::{Answer, AnswerRefused, Approval, Choice, Gate, Offered, Question, Typed};
use crate::humans::Attention;
use crate::journal::{Event, Of, digest};
use crate::outcome::{Halt, Refusal};
use crate::plan::PlannedGate;
use crate::replay::BESIDE;
use crate::seam::{Signal, Woken};
use crate::step::Step;

/// After this many refused answers a process lets go of a gate instead of asking the same people for ever.
const MOST_REFUSED_HERE: u32 = 5;

/// A question as whoever is here sees it.
enum Prompt<'a> {
    /// They look at it.
    Shown(BoxFuture<'a, Attention>),
    /// Nobody here answers it; somebody elsewhere does.
    Elsewhere,
}

/// A question that was put, with what only this process knows of it.
struct Asked {
    of: Of,
    question: Question,
    /// What must be typed, as it would have been typed here.
    expected: Option<Typed>,
}

impl Asked {
    fn waits(&self) -> Halt {
        Halt::Waiting { gate: self.question.gate.clone(), question: self.question.question.clone() }
    }

    fn check_typed(&self, answer: &Answer) -> Result<(), AnswerRefused> {
        let wanted = self.question.choice(&answer.choice).and_then(|choice| choice.typing.as_ref());
        match wanted {
            Some(what) if self.expected.is_none() || answer.typed != self.expected => {
                Err(AnswerRefused::Unconfirmed { choice: answer.choice.clone(), what: what.clone() })
            }
            _ => Ok(()),
        }
    }
}

impl Run {
    /// Asks, and waits for an answer that counts. A plan lists the question and presumes its answer.
    pub async fn ask<C: Choice>(&mut self, step: &Step, gate: Gate<C>) -> Result<C, Halt> {
        self.ask_whom(step, gate).await.map(|(choice, _)| choice)
    }

    /// Asks for a yes. A no ends the run as rejected.
    pub async fn approve(&mut self, step: &Step, gate: Gate<Approval>) -> Result<(), Halt> {
        let name = gate_name(step, &gate.subject);
        let gate = self.strengthened(gate);
        let covers = gate.covers.clone();
        match self.ask_whom(step, gate).await? {
            (Approval::Approve, _) => {
                self.covered.extend(covers);
                Ok(())
            }
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
        let name = gate_name(step, &gate.subject);
        if self.beside {
            // What is told beside the procedure must hold nobody up.
            return Err(Halt::Waiting { gate: name, question: gate.question });
        }
        self.check_stop().await?;
        self.once(&format!("{name}/gate"))?;
        let question = self.pose(step, &name, &gate).await?;
        let expected = gate.confirmation.as_ref().map(|wanted| wanted.expected_at(&question.binding));
        let asked = Asked { of: of(step, &gate.subject), question, expected };
        let (choice, by) = self.settle_gate(&asked).await?;
        self.turn_late_answers_away(&asked, &by).await?;
        Ok((choice_of::<C>(&choice, &name)?, by))
    }

    /// Takes answers until they settle the gate. Returns the answer and who gave it.
    async fn settle_gate(&mut self, asked: &Asked) -> Result<(String, String), Halt> {
        let Asked { question, .. } = asked;
        let mut given: Vec<Answer> = Vec::new();
        let mut refused_here = 0;
        for turn in 1.. {
            let key = format!("{}/answer {turn}", question.gate);
            let answered = self.seam.recorded(&key).map(|entry| entry.seq);
            self.pass_recorded_deadlines(answered).await?;
            let event = match self.seam.recorded(&key) {
                Some(entry) => entry.event.clone(),
                // Whoever is here may not answer and would only be refused again: somebody else must, from elsewhere.
                None if refused_here >= MOST_REFUSED_HERE => return Err(asked.waits()),
                None => {
                    let (event, here) = self.next_answer(asked, &given).await?;
                    refused_here += u32::from(here && matches!(event, Event::AnswerRefused { .. }));
                    event
                }
            };
            match self.record(&key, async move { event }).await?.entry.event {
                Event::Answered { answer, .. } => {
                    given.push(answer);
                    if let Some(settling) = question.settled(&given) {
                        return Ok((settling.choice.clone(), settling.by.clone()));
                    }
                }
                Event::GateExpired { choice, .. } => return Ok((choice, "nobody, in time".to_owned())),
                _ => {}
            }
        }
        unreachable!("turns do not run out")
    }

    /// Answers that were handed in while the settling one was being recorded get their place in the story. The store takes
    /// none any more, so nothing comes after these.
    async fn turn_late_answers_away(&mut self, asked: &Asked, settled_by: &str) -> Result<(), Halt> {
        for count in 1.. {
            let key = format!("{BESIDE}{}/late {count}", asked.question.gate);
            if self.seam.recorded(&key).is_some() {
                continue;
            }
            let answer = match self.seam.signal(&asked.question.gate, None, false).await? {
                Woken::By(Signal::Answer(answer)) => answer,
                Woken::By(Signal::HandOver { from, to }) => {
                    self.hand_over(from, to).await?;
                    continue;
                }
                // An abort or a stop is met again at the next step.
                _ => return Ok(()),
            };
            let why = AnswerRefused::Closed { how: format!("settled by {settled_by}") };
            let refused = Event::AnswerRefused { of: asked.of.clone(), by: answer.by, why };
            self.record(&key, async move { refused }).await?;
        }
        unreachable!("answers run out")
    }

    /// Records the question once; its deadline counts from then.
    async fn pose<C: Choice>(&mut self, step: &Step, name: &str, gate: &Gate<C>) -> Result<Question, Halt> {
        let clock = self.seam.clock();
        let of = of(step, &gate.subject);
        let plan = self.plan.as_ref().map_or("", |plan| plan.hash.as_str());
        let shown = gate.shown.join("\n");
        let typing = |choice: C| {
            let wanted = gate.confirmation.as_ref().filter(|wanted| wanted.choice == choice);
            wanted.map(|wanted| wanted.what.clone())
        };
        let what = gate.confirmation.as_ref().map_or_else(String::new, |wanted| format!("\n{}", wanted.what));
        let binding = digest(
            format!("{}\n{name}\n{}\n{shown}\n{plan}{what}", self.terms.run, gate.question).as_bytes(),
        );
        let question = Question {
            gate: name.to_owned(),
            question: gate.question.clone(),
            shown: gate.shown.clone(),
            choices: C::ALL
                .iter()
                .map(|&choice| Offered {
                    id: choice.id().to_owned(),
                    says: choice.says().to_owned(),
                    alone: choice.alone(),
                    typing: typing(choice),
                })
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
        let missing = question.missing_people(&self.holders());
        if missing > 0 && self.seam.recorded(&format!("{name}/gate")).is_none() {
            let what = format!(
                "gate {name} takes {} of {}, and {missing} of them may not answer because they started or hold the run; \
                 hand it over or name more",
                question.approvers.needed,
                question.approvers.among.join(", ")
            );
            return Err(Refusal::Limit { what }.into());
        }
        let within = gate.expiry.as_ref().map(|expiry| expiry.after);
        let body = async move {
            let deadline = within.map(|within| after(clock.now(), within));
            Event::Asked { of, question: Question { deadline, ..question } }
        };
        let entry = self.record(&format!("{name}/gate"), body).await?.entry;
        match entry.event {
            Event::Asked { question, .. } => Ok(question),
            _ => Err(self.unreadable(&entry, "it is no question")),
        }
    }

    /// Gets the next answer: one that lies ready, one from whoever is here, or the deadline; and whether it is from
    /// whoever is here. Deadlines of the run pass meanwhile, and the question stays as it is.
    async fn next_answer(&mut self, asked: &Asked, given: &[Answer]) -> Result<(Event, bool), Halt> {
        let Asked { of, question, .. } = asked;
        let humans = Arc::clone(&self.terms.humans);
        let mut prompt = None;
        loop {
            // First what lies ready: a deadline loses to an answer that was handed in before anybody recorded that it
            // passed.
            let (woken, here) = match self.seam.signal(&question.gate, None, false).await? {
                ready @ Woken::By(_) => (ready, false),
                Woken::Time if self.is_past(self.next_deadline_before(question.deadline)) => {
                    self.pass_deadline().await?;
                    continue;
                }
                Woken::Time if self.is_past(question.deadline) => {
                    return match &question.at_deadline {
                        Some(choice) => {
                            Ok((Event::GateExpired { of: of.clone(), choice: choice.clone() }, false))
                        }
                        None => Err(asked.waits()),
                    };
                }
                Woken::Time => {
                    let prompt = prompt.get_or_insert_with(|| Prompt::Shown(humans.ask(question, given)));
                    self.attend(asked, prompt).await?
                }
            };
            match woken {
                Woken::By(Signal::HandOver { from, to }) => {
                    self.hand_over(from, to).await?;
                    // Other people may answer now.
                    prompt = None;
                }
                Woken::By(Signal::Answer(answer)) => return Ok((self.judge(asked, answer, given), here)),
                Woken::By(signal) => return Err(super::halt_of(signal)),
                Woken::Time => {}
            }
        }
    }

    /// Puts the question to whoever is here and listens elsewhere meanwhile: a prompt that nobody looks at must hold up
    /// neither an answer from another place nor a deadline. The prompt outlives a deadline of the run: whoever is typing
    /// goes on typing.
    async fn attend(&mut self, asked: &Asked, prompt: &mut Prompt<'_>) -> Result<(Woken, bool), Halt> {
        let question = &asked.question;
        let until = question.deadline.into_iter().chain(self.next_deadline()).min();
        let Prompt::Shown(asking) = prompt else {
            let woken = self.seam.signal(&question.gate, until, true).await?;
            // In memory nobody can be waited for.
            return if woken == Woken::Time && !self.is_past(until) {
                Err(asked.waits())
            } else {
                Ok((woken, false))
            };
        };
        let clock = self.seam.clock();
        let elsewhere = self.seam.signal(&question.gate, until, true);
        let attention = match select(&mut *asking, elsewhere).await {
            Either::Left((attention, _)) => attention,
            Either::Right((woken, _)) => match woken? {
                // In memory nobody can be waited for; whoever is here can.
                Woken::Time if until.is_none_or(|until| clock.now() < until) => asking.await,
                woken => return Ok((woken, false)),
            },
        };
        match attention {
            // Only the store says when it took an answer in.
            Attention::Answer(answer) => {
                Ok((Woken::By(Signal::Answer(Answer { accepted: None, ..answer })), true))
            }
            // A role has typed for it what a person proves to have looked at; never where anything is real.
            Attention::Played(answer) if self.rehearsed => {
                let typed = answer.typed.or_else(|| asked.expected.clone());
                Ok((Woken::By(Signal::Answer(Answer { typed, accepted: None, ..answer })), true))
            }
            Attention::Wait => {
                *prompt = Prompt::Elsewhere;
                Ok((Woken::Time, false))
            }
            Attention::Absent | Attention::Played(_) => Err(asked.waits()),
        }
    }

    /// The run's next deadline, where it comes before the question's own.
    fn next_deadline_before(&self, expiry: Option<Timestamp>) -> Option<Timestamp> {
        self.next_deadline().filter(|deadline| expiry.is_none_or(|expiry| *deadline <= expiry))
    }

    /// What an answer comes to. What was typed with it goes no further than here.
    fn judge(&self, asked: &Asked, answer: Answer, given: &[Answer]) -> Event {
        let of = asked.of.clone();
        let verdict =
            asked.question.check(&answer, given, &self.holders()).and_then(|()| asked.check_typed(&answer));
        match verdict {
            Ok(()) => Event::Answered { of, answer: Answer { typed: None, ..answer } },
            Err(why) => Event::AnswerRefused { of, by: answer.by, why },
        }
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
