//! Journals built by hand, in the order in which the engine would write them.

use allclear_core::PortError;
use allclear_engine::effect::{Change, Repeat, Verdict};
use allclear_engine::gate::{Answer, AnswerRefused, Approvers, Offered, Question};
use allclear_engine::journal::{Doing, Entry, Event, Finding, Note, Of, Waiting};
use allclear_engine::{Evidence, Outcome, Step};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A journal that grows by one entry at a time.
pub(crate) struct Journal {
    now: Timestamp,
    began: Timestamp,
    entries: Vec<Entry>,
}

/// A step, and what it is about.
pub(crate) fn of(step: &Step, subject: &str) -> Of {
    Of { step: step.id.to_owned(), phase: step.phase, subject: subject.to_owned() }
}

/// An effect in a journal: its name, its sentence and what it changes.
#[derive(Clone)]
pub(crate) struct Fx {
    pub(crate) of: Of,
    pub(crate) effect: &'static str,
    pub(crate) title: String,
    pub(crate) change: [&'static str; 5],
    pub(crate) repeat: Repeat,
}

impl Journal {
    pub(crate) fn at(now: &str) -> Self {
        let now = now.parse().expect("a test names a valid time");
        Self { now, began: now, entries: Vec::new() }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Lets time pass.
    pub(crate) fn ms(&mut self, ms: i64) -> &mut Self {
        self.now += SignedDuration::from_millis(ms);
        self
    }

    pub(crate) fn secs(&mut self, secs: i64) -> &mut Self {
        self.ms(secs * 1_000)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    pub(crate) fn push(&mut self, key: impl Into<String>, event: Event) -> &mut Self {
        let mono_us = self.now.duration_since(self.began).as_micros().unsigned_abs() as u64;
        let seq = self.entries.len() as u64 + 1;
        self.entries.push(Entry { seq, at: self.now, mono_us, key: key.into(), event });
        self
    }

    pub(crate) fn started(&mut self, operator: &str) -> &mut Self {
        let event = Event::Started {
            platform: None,
            run: String::new(),
            plan_content: None,
            context: None,
            runbook: "whatsapp-send-failures".to_owned(),
            title: "WhatsApp Send Failures".to_owned(),
            version: 1,
            environment: "production".to_owned(),
            operator: operator.to_owned(),
            input: json!({ "campaigns": [], "window_minutes": 30 }),
            plan: Some("9f4c1e02b7aa5d3391c0".to_owned()),
            approvals: Vec::new(),
            rehearsal: None,
            dangerous: None,
        };
        self.push("started", event)
    }

    pub(crate) fn approved(&mut self, by: &str, effects: usize) -> &mut Self {
        let plan = "9f4c1e02b7aa5d3391c0".to_owned();
        self.push("approved", Event::PlanApproved { by: by.to_owned(), plan, effects, shown: None })
    }

    pub(crate) fn resumed(&mut self, by: &str, incarnation: u32) -> &mut Self {
        let event = Event::Resumed { by: by.to_owned(), incarnation };
        self.push(format!("~resumed {incarnation}"), event)
    }

    pub(crate) fn observed(&mut self, of: &Of, says: &str, evidence: &[(&str, &str)]) -> &mut Self {
        let key = format!("{}/observe {}", base(of), self.entries.len());
        let event = Event::Observed {
            of: of.clone(),
            value: Value::Null,
            says: says.to_owned(),
            evidence: proof(evidence),
        };
        self.push(key, event)
    }

    pub(crate) fn failed(&mut self, of: &Of, doing: Doing, attempt: u32, error: PortError) -> &mut Self {
        let key = format!("{}/outcome {}", base(of), self.entries.len());
        self.push(key, Event::Failed { of: of.clone(), doing, attempt, error })
    }

    pub(crate) fn slept(&mut self, of: &Of, secs: i64, waiting: Waiting, says: &str) -> &mut Self {
        let until = self.now + SignedDuration::from_secs(secs);
        let key = format!("{}/wait {}", base(of), self.entries.len());
        self.push(key, Event::Slept { of: of.clone(), until, waiting, says: says.to_owned() });
        self.secs(secs).ms(3)
    }

    pub(crate) fn noted(&mut self, step: &Step, note: Note) -> &mut Self {
        let key = format!("{}/note {}", step.id, self.entries.len());
        self.push(key, Event::Noted { of: of(step, ""), note })
    }

    pub(crate) fn intended(&mut self, fx: &Fx, attempt: u32, round: u32) -> &mut Self {
        let [kind, label, field, before, after] = fx.change.map(str::to_owned);
        let event = Event::Intended {
            of: fx.of.clone(),
            effect: fx.effect.to_owned(),
            title: fx.title.clone(),
            attempt,
            key: format!("wa-1123-{:04x}", fx.title.len() * 4_099 + round as usize),
            repeat: fx.repeat,
            changes: vec![Change { kind, id: label.clone(), label, field, before, after }],
            notes: Vec::new(),
            incarnation: 0,
            stays: None,
        };
        let round = if round == 0 { String::new() } else { format!(" round {round}") };
        self.push(format!("{}{round}/{}/intent {attempt}", base(&fx.of), fx.effect), event)
    }

    pub(crate) fn applied(&mut self, fx: &Fx, attempt: u32, says: &str) -> &mut Self {
        let key = format!("{}/{}/outcome {}", base(&fx.of), fx.effect, self.entries.len());
        let event = Event::Applied {
            of: fx.of.clone(),
            effect: fx.effect.to_owned(),
            attempt,
            receipt: Value::Null,
            says: says.to_owned(),
        };
        self.push(key, event)
    }

    pub(crate) fn in_doubt(&mut self, fx: &Fx, why: &str) -> &mut Self {
        let key = format!("{}/{}/outcome {}", base(&fx.of), fx.effect, self.entries.len());
        let (of, effect) = (fx.of.clone(), fx.effect.to_owned());
        self.push(key, Event::InDoubt { of, effect, attempt: 1, why: why.to_owned() })
    }

    pub(crate) fn reconciled(&mut self, fx: &Fx, finding: Finding, says: &str) -> &mut Self {
        let key = format!("{}/{}/reconcile {}", base(&fx.of), fx.effect, self.entries.len());
        let (of, effect) = (fx.of.clone(), fx.effect.to_owned());
        let receipt = (finding == Finding::Happened).then_some(Value::Null);
        self.push(key, Event::Reconciled { of, effect, attempt: 1, finding, says: says.to_owned(), receipt })
    }

    pub(crate) fn judged(&mut self, fx: &Fx, verdict: Verdict, evidence: &[(&str, &str)]) -> &mut Self {
        let key = format!("{}/{}/verify {}", base(&fx.of), fx.effect, self.entries.len());
        let (of, effect) = (fx.of.clone(), fx.effect.to_owned());
        self.push(key, Event::Judged { of, effect, verdict, evidence: proof(evidence) })
    }

    pub(crate) fn asked(&mut self, of: &Of, question: &str, shown: &[&str], choices: &[&str]) -> &mut Self {
        let offered =
            |id: &&str| Offered { id: (*id).to_owned(), says: String::new(), alone: false, typing: None };
        let question = Question {
            gate: base(of),
            question: question.to_owned(),
            shown: shown.iter().map(|line| (*line).to_owned()).collect(),
            choices: choices.iter().map(offered).collect(),
            approvers: Approvers::anyone(),
            requester: "kim".to_owned(),
            deadline: None,
            presumed: "approve".into(),
            fact: false,
            at_deadline: None,
            binding: "77ab01c9e2d4".to_owned(),
        };
        self.push(format!("{}/gate", base(of)), Event::Asked { of: of.clone(), question })
    }

    pub(crate) fn answered(&mut self, of: &Of, by: &str, choice: &str, comment: Option<&str>) -> &mut Self {
        let answer = Answer {
            choice: choice.to_owned(),
            by: by.to_owned(),
            binding: "77ab01c9e2d4".to_owned(),
            comment: comment.map(str::to_owned),
            typed: None,
            accepted: None,
        };
        let key = format!("{}/answer {}", base(of), self.entries.len());
        self.push(key, Event::Answered { of: of.clone(), answer })
    }

    pub(crate) fn refused(&mut self, of: &Of, by: &str) -> &mut Self {
        let why = AnswerRefused::Foreign { given: "02ffcc1d".to_owned(), asked: "77ab01c9e2d4".to_owned() };
        let key = format!("{}/answer {}", base(of), self.entries.len());
        self.push(key, Event::AnswerRefused { of: of.clone(), by: by.to_owned(), why })
    }

    pub(crate) fn concluded(&mut self, outcome: Outcome, says: &str) -> &mut Self {
        self.push("~concluded", Event::Concluded { outcome, says: says.to_owned(), rests_on: Vec::new() })
    }

    pub(crate) fn detached(&mut self, why: &str) -> &mut Self {
        self.push("~detached 0", Event::Detached { why: why.to_owned(), outcome: None })
    }
}

/// A claim as a journal has it; no procedure can make one of words alone.
pub(crate) fn mitigation(says: &str) -> Note {
    let note = serde_json::json!({ "note": "mitigation", "says": says, "certainty": "proven" });
    serde_json::from_value(note).unwrap()
}

fn base(of: &Of) -> String {
    if of.subject.is_empty() { of.step.clone() } else { format!("{} {}", of.step, of.subject) }
}

fn proof(evidence: &[(&str, &str)]) -> Vec<Evidence> {
    evidence.iter().map(|(source, shows)| Evidence::new(*source, *shows)).collect()
}
