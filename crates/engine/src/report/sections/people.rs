//! What people were asked, and what they said.

use super::super::postmortem::{Exchange, Facts};
use super::super::questions::Asking;
use super::super::statement::{Cites, Statement};
use super::super::timeline::refused_text;
use super::super::words::{clock_from, quoted, span, stopped};
use crate::journal::Event;

pub(in super::super) fn approvals(facts: &Facts<'_>) -> Vec<Statement> {
    let approval = |entry: &crate::journal::Entry| match &entry.event {
        Event::PlanApproved { by, plan, effects, .. } => {
            let plan: String = quoted(plan).chars().take(12).collect();
            let changes = if *effects == 1 { "change" } else { "changes" };
            let text =
                format!("{} approved plan {plan}, which names {effects} possible {changes}.", quoted(by));
            Some(Statement::new(text, entry.seq))
        }
        _ => None,
    };
    facts.entries.iter().filter_map(approval).collect()
}

pub(in super::super) fn people(facts: &Facts<'_>) -> Vec<Exchange> {
    facts.questions.iter().map(|asking| exchange(facts, asking)).collect()
}

fn exchange(facts: &Facts<'_>, asking: &Asking<'_>) -> Exchange {
    let asked = &facts.entries[asking.asked];
    let question = asking.question;
    let when = clock_from(facts.first.at, asked.at);
    let mut about =
        format!("At {when} the run asked ({}): {}", quoted(&asking.of.step), quoted(&question.question));
    if !question.shown.is_empty() {
        let shown: Vec<String> = question.shown.iter().map(|line| quoted(line)).collect();
        about = format!("{} It showed: {}", stopped(about), shown.join("; "));
    }
    let mut then: Vec<Statement> = asking
        .replies
        .iter()
        .filter_map(|&index| {
            let entry = &facts.entries[index];
            let after = span(entry.at.duration_since(asked.at));
            let text = match &entry.event {
                Event::Answered { answer, .. } => {
                    let said = answer
                        .comment
                        .as_ref()
                        .map_or_else(String::new, |remark| format!(", and said: “{}”", quoted(remark)));
                    let (by, choice) = (quoted(&answer.by), quoted(&answer.choice));
                    format!("{by} answered “{choice}” after {after}{said}")
                }
                Event::AnswerRefused { by, why, .. } => refused_text(by, why),
                Event::GateExpired { choice, .. } => {
                    format!("Nobody answered within {after}, so “{}” counted as the answer", quoted(choice))
                }
                _ => return None,
            };
            Some(Statement::new(stopped(text), Cites::one(asked.seq).and(entry.seq)))
        })
        .collect();
    let cites = Cites::one(asked.seq);
    match asking.settled.map(|index| &facts.entries[index]) {
        None => {
            let last = facts.last;
            let waited = span(last.at.duration_since(asked.at));
            let text = format!("It was open when the journal ends, after {waited}.");
            then.push(Statement::new(text, cites.and(last.seq)));
        }
        Some(end) if matches!(end.event, Event::Concluded { .. }) => {
            then.push(Statement::new("The run ended without an answer that settles it.", cites.and(end.seq)));
        }
        Some(_) => {}
    }
    Exchange { about: Statement::new(stopped(about), asked.seq), then }
}
