//! Waits, deadlines, failed calls, and the account of time.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::super::postmortem::{Facts, FailedCall, TimeSection};
use super::super::statement::{Cites, Statement};
use super::super::time::time_spent;
use super::super::words::{clock_from, exact, quoted, span, stopped, times};
use crate::journal::{Entry, Event, Waiting};

pub(in super::super) fn deadlines(facts: &Facts<'_>) -> Vec<Statement> {
    let mut all = Vec::new();
    for (index, entry) in facts.entries.iter().enumerate() {
        let Event::DeadlineSet { of, at, says } = &entry.event else { continue };
        let time = clock_from(facts.first.at, *at);
        let text = format!("The run set a deadline at {time}: {}", quoted(says));
        all.push(Statement::new(stopped(text), entry.seq));
        let passed = facts.entries[index..].iter().find(
            |later| matches!(&later.event, Event::DeadlinePassed { of: of_it, at: at_it } if of_it == of && at_it == at),
        );
        let cites = Cites::one(entry.seq);
        if let Some(passed) = passed {
            let late = span(passed.at.duration_since(*at));
            let text = format!("The deadline of {time} passed, and the run noticed it {late} later.");
            all.push(Statement::new(text, cites.and(passed.seq)));
        } else if let Some((end, ..)) = facts.conclusion() {
            let text = format!("The run ended without having to act on the deadline of {time}.");
            all.push(Statement::new(text, cites.and(end.seq)));
        }
    }
    all
}

/// Waits for the same thing, taken together.
struct Wait<'a> {
    step: &'a str,
    says: &'a str,
    times: usize,
    took: SignedDuration,
    first: Timestamp,
    ended: Timestamp,
    /// Whether no entry of the same process follows the last of them.
    is_cut: bool,
    seqs: Vec<u64>,
}

/// What was waited for; waits to try again and to verify are told together.
pub(in super::super) fn waits(facts: &Facts<'_>) -> Vec<Statement> {
    let mut waits: Vec<Wait<'_>> = Vec::new();
    for (index, entry) in facts.entries.iter().enumerate() {
        let Event::Slept { of, waiting, says, .. } = &entry.event else { continue };
        let (step, says) = match waiting {
            Waiting::ForTheWorld => (of.step.as_str(), says.as_str()),
            Waiting::ToRetry => ("", "to try failed calls again"),
            Waiting::ToVerify => ("", "until changes could be seen"),
        };
        let next = facts.entries.get(index + 1);
        let same = next.filter(|next| !matches!(next.event, Event::Resumed { .. }));
        let ended = same.map_or(entry.at, |next| next.at);
        let position = waits.iter().position(|wait| wait.step == step && wait.says == says);
        let position = position.unwrap_or_else(|| {
            let took = SignedDuration::ZERO;
            waits.push(Wait {
                step,
                says,
                times: 0,
                took,
                first: entry.at,
                ended,
                is_cut: false,
                seqs: Vec::new(),
            });
            waits.len() - 1
        });
        let wait = &mut waits[position];
        wait.times += 1;
        wait.took += ended.duration_since(entry.at);
        wait.ended = ended;
        wait.is_cut = same.is_none();
        wait.seqs.push(entry.seq);
        wait.seqs.extend(next.map(|next| next.seq));
    }
    waits.iter().filter_map(|wait| waited(facts, wait)).collect()
}

fn waited(facts: &Facts<'_>, wait: &Wait<'_>) -> Option<Statement> {
    let [from, to] = [wait.first, wait.ended].map(|at| clock_from(facts.first.at, at));
    let took = span(wait.took);
    let often = match wait.times {
        // The next entry, if any, is of another process.
        1 if wait.is_cut => format!("The run began to wait at {from}, how long is not recorded"),
        1 => format!("The run waited from {from} to {to} ({took})"),
        n => format!("The run waited {} between {from} and {to}, {took} in all", times(n)),
    };
    let text = if wait.step.is_empty() {
        format!("{often}, {}", wait.says)
    } else {
        format!("{often}, at {}: {}", quoted(wait.step), quoted(wait.says))
    };
    Some(Statement::new(stopped(text), Cites::all(wait.seqs.iter().copied())?))
}

pub(in super::super) fn failed_calls(facts: &Facts<'_>) -> Vec<FailedCall> {
    let mut order: Vec<(String, Vec<&Entry>)> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for entry in facts.entries {
        let Event::Failed { error, .. } = &entry.event else { continue };
        let text = quoted(&error.to_string());
        let index = *known.entry(text.clone()).or_insert_with(|| {
            order.push((text, Vec::new()));
            order.len() - 1
        });
        order[index].1.push(entry);
    }
    let row = |(text, failures): (String, Vec<&Entry>)| {
        let (first, last) = (failures.first()?, failures.last()?);
        let cites = Cites::all(failures.iter().map(|entry| entry.seq))?;
        Some(FailedCall {
            count: failures.len(),
            first: first.at,
            last: last.at,
            statement: Statement::new(stopped(capitalised(&text)), cites),
        })
    };
    order.into_iter().filter_map(row).collect()
}

/// Our own error texts begin with the service's name, e.g. `the edge function`.
fn capitalised(text: &str) -> String {
    text.strip_prefix("the ").map_or_else(|| text.to_owned(), |rest| format!("The {rest}"))
}

pub(in super::super) fn time(facts: &Facts<'_>) -> TimeSection {
    let spent = time_spent(facts.entries);
    let ends = Cites::one(facts.first.seq).and(facts.last.seq);
    let text = format!(
        "From the first entry to the last, {} passed; the parts below are the intervals between consecutive entries, {} in number, and add up to exactly that.",
        exact(spent.wall_clock),
        facts.entries.len().saturating_sub(1),
    );
    let mut statements = vec![Statement::new(text, ends)];
    if let Some(cites) = Cites::all(spent.set_back.iter().copied()) {
        let text = format!(
            "The clock was set back {} before {}; such an interval counts as negative, so its part looks too short.",
            times(spent.set_back.len()),
            if spent.set_back.len() == 1 { "this entry" } else { "these entries" },
        );
        statements.push(Statement::new(text, cites));
    }
    TimeSection { spent, statements }
}
