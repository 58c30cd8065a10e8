//! What can be told of a journal without its procedure: whether its entries follow from one another. A chain says that they
//! are what was written; this says that a run could have written them, and that each receipt that a resume would go on with
//! is there.

use std::collections::HashMap;

use crate::gate::Question;
use crate::journal::{Doing, Entry, Event, Finding};
use crate::replay::BESIDE;

/// What does not follow, one sentence for each entry.
pub(crate) fn oddities(entries: &[Entry]) -> Vec<String> {
    let mut read = Read::default();
    entries
        .iter()
        .filter_map(|entry| {
            let what = read.take(entry).err()?;
            Some(format!("entry {} ({}) does not follow from those before it: {what}", entry.seq, entry.key))
        })
        .collect()
}

/// What was read so far.
#[derive(Default)]
struct Read<'a> {
    plan: Option<&'a str>,
    /// By the key of the effect: what it is called in the latest intent.
    intended: HashMap<&'a str, &'a str>,
    asked: HashMap<&'a str, &'a Question>,
    incarnation: u32,
    ended: bool,
}

impl<'a> Read<'a> {
    fn take(&mut self, entry: &'a Entry) -> Result<(), String> {
        if self.ended && !entry.key.starts_with(BESIDE) {
            return Err("the run had ended".to_owned());
        }
        let effect_key = entry.key.rsplit_once('/').map_or(entry.key.as_str(), |(effect, _)| effect);
        match &entry.event {
            Event::Started { plan, .. } => {
                self.plan = plan.as_deref();
                if entry.seq == 1 { Ok(()) } else { Err("a run begins once".to_owned()) }
            }
            Event::PlanApproved { plan, .. } if self.plan != Some(plan) => Err(format!(
                "it approves plan {plan}, and the run is bound to {}",
                self.plan.unwrap_or("none")
            )),
            Event::Resumed { incarnation, .. } if *incarnation <= self.incarnation => {
                Err(format!("process {incarnation} took the run up after process {}", self.incarnation))
            }
            Event::Resumed { incarnation, .. } => {
                self.incarnation = *incarnation;
                Ok(())
            }
            Event::Intended { effect, incarnation, .. } => {
                self.intended.insert(effect_key, effect);
                if *incarnation > self.incarnation {
                    return Err(format!(
                        "process {incarnation} intended it while process {} had the run",
                        self.incarnation
                    ));
                }
                Ok(())
            }
            Event::AlreadySo { effect, .. } => {
                self.intended.insert(effect_key, effect);
                Ok(())
            }
            Event::Reconciled { finding, receipt, effect, .. } => {
                self.check_intended(effect_key, effect)?;
                match (finding, receipt) {
                    (Finding::Happened, None) => {
                        Err("it happened, and the receipt to go on with is missing".to_owned())
                    }
                    (Finding::DidNot | Finding::Unknown, Some(_)) => {
                        Err("there is a receipt of what is not known to have happened".to_owned())
                    }
                    _ => Ok(()),
                }
            }
            Event::Applied { effect, .. } | Event::InDoubt { effect, .. } | Event::Judged { effect, .. } => {
                self.check_intended(effect_key, effect)
            }
            Event::Failed { doing: Doing::Applying | Doing::Reconciling | Doing::Verifying, .. }
                if !self.intended.contains_key(effect_key) =>
            {
                Err("nothing intended it".to_owned())
            }
            Event::Asked { question, .. } => {
                self.asked.insert(&question.gate, question);
                Ok(())
            }
            Event::Answered { answer, .. } => match self.asked.get(effect_key) {
                None => Err("nothing was asked there".to_owned()),
                Some(question) if question.binding != answer.binding => {
                    Err(format!("{} answered another question than the one asked", answer.by))
                }
                Some(question) if question.choice(&answer.choice).is_none() => {
                    Err(format!("`{}` was not offered", answer.choice))
                }
                Some(_) => Ok(()),
            },
            Event::Concluded { .. } => {
                self.ended = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn check_intended(&self, key: &str, effect: &str) -> Result<(), String> {
        match self.intended.get(key) {
            Some(intended) if *intended == effect => Ok(()),
            Some(intended) => Err(format!("it is of {effect}, and {intended} was intended")),
            None => Err("nothing intended it".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    /// A change to one event.
    type Change = fn(&mut Value);

    fn entry(seq: u64, key: &str, event: Value) -> Entry {
        let event: Event = serde_json::from_value(event).unwrap();
        Entry { seq, at: Timestamp::UNIX_EPOCH, mono_us: seq, key: key.to_owned(), event }
    }

    /// A run with an effect in doubt that turned out to have happened, and a question.
    fn whole() -> Vec<(&'static str, Value)> {
        let of = json!({ "step": "TOY-I1", "phase": "immediate" });
        let question = json!({
            "gate": "TOY-I2", "question": "Go on?", "shown": [], "choices": [{ "id": "approve", "says": "yes" }],
            "approvers": { "needed": 1, "among": [], "not_the_requester": false }, "requester": "kim",
            "deadline": null, "at_deadline": null, "presumed": "approve", "binding": "b"
        });
        vec![
            (
                "started",
                json!({ "is": "started", "runbook": "r", "title": "R", "version": 1, "environment": "e",
                        "operator": "kim", "input": null, "plan": "p" }),
            ),
            ("approved", json!({ "is": "plan_approved", "by": "alex", "plan": "p", "effects": 1 })),
            (
                "TOY-I1/flip/intent 1",
                json!({ "is": "intended", "of": of, "effect": "flip", "title": "t", "attempt": 1, "key": "k",
                        "repeat": "readable", "changes": [], "notes": [], "incarnation": 0 }),
            ),
            (
                "TOY-I1/flip/outcome 1",
                json!({ "is": "in_doubt", "of": of, "effect": "flip", "attempt": 1, "why": "w" }),
            ),
            ("~resumed 1", json!({ "is": "resumed", "by": "kim", "incarnation": 1 })),
            (
                "TOY-I1/flip/reconcile 1.1",
                json!({ "is": "reconciled", "of": of, "effect": "flip", "attempt": 1, "finding": "happened",
                        "says": "s", "receipt": null }),
            ),
            ("TOY-I2/gate", json!({ "is": "asked", "of": of, "question": question })),
            (
                "TOY-I2/answer 1",
                json!({ "is": "answered", "of": of, "answer": { "choice": "approve", "by": "alex", "binding": "b",
                        "comment": null } }),
            ),
            ("~concluded", json!({ "is": "concluded", "outcome": "verified", "says": "s" })),
        ]
    }

    fn read(told: Vec<(&str, Value)>) -> Vec<String> {
        let entries: Vec<Entry> = (1..).zip(told).map(|(seq, (key, event))| entry(seq, key, event)).collect();
        oddities(&entries)
    }

    #[test]
    fn what_a_run_wrote_follows_and_what_none_could_have_written_is_named() {
        assert_eq!(read(whole()), Vec::<String>::new());
        let changes: [(usize, Change, &str); 9] = [
            (1, |event| event["plan"] = json!("q"), "approves plan q"),
            (2, |event| event["incarnation"] = json!(3), "process 3 intended it"),
            (3, |event| event["effect"] = json!("flop"), "it is of flop"),
            (4, |event| event["incarnation"] = json!(0), "after process 0"),
            (
                5,
                |event| drop(event.as_object_mut().unwrap().remove("receipt")),
                "receipt to go on with is missing",
            ),
            (5, |event| event["finding"] = json!("did_not"), "not known to have happened"),
            (5, |event| event["finding"] = json!("unknown"), "not known to have happened"),
            (7, |event| event["answer"]["binding"] = json!("c"), "another question"),
            (7, |event| event["answer"]["choice"] = json!("reject"), "was not offered"),
        ];
        for (at, change, says) in changes {
            let mut told = whole();
            change(&mut told[at].1);
            let odd = read(told);
            assert_eq!(odd.len(), 1, "{odd:?}");
            assert!(odd[0].starts_with(&format!("entry {} (", at + 1)) && odd[0].contains(says), "{odd:?}");
        }
    }

    #[test]
    fn what_has_no_intent_no_question_or_comes_after_the_end_is_named() {
        for (gone, named) in [(2, "TOY-I1/flip/outcome 1"), (6, "TOY-I2/answer 1")] {
            let mut told = whole();
            told.remove(gone);
            let odd = read(told);
            assert!(odd[0].contains(named), "{odd:?}");
        }
        let mut told = whole();
        let (key, again) = told[2].clone();
        told.push((key, again));
        assert!(read(told)[0].contains("had ended"));
        let mut told = whole();
        let started = told[0].clone();
        told.insert(1, started);
        assert!(read(told)[0].contains("begins once"));
    }
}
