//! `approve`, `reject`, `answer` and `hand-over`.

use std::time::Duration;

use allclear_core::Clock as _;
use allclear_engine::gate::{Answer, Question, Standing};
use allclear_engine::journal::{Entry, Event};
use allclear_engine::sqlite::{NotTaken, Store};
use serde_json::json;

use super::here::{operator, store};
use crate::args::{AnswerArgs, Global};
use crate::clock::SystemClock;
use crate::environment::Wired;
use crate::exit::{CliError, Exit};
use crate::humans::{answer_with, gate_text, read_line};
use crate::output::{self, say};

/// How long an answer to a run that goes on is followed until the run has taken it up.
const FOLLOWED_FOR: Duration = Duration::from_secs(3);

/// The question that a run waits at: asked, and not settled since.
pub(super) fn open_question(entries: &[Entry]) -> Option<Question> {
    Standing::of(entries).map(|standing| standing.question)
}

/// Hands a run over: from then on the other person has it.
pub(super) fn hand_over(global: &Global, name: &str, to: &str) -> Result<Exit, CliError> {
    let store = store(global)?;
    let run = store.find(name)?;
    super::execute::refuse_damaged(&run)?;
    if let Some(outcome) = run.outcome {
        let message = format!("run {} has ended {outcome}; there is nothing to hand over", run.id);
        return Err(CliError::new(Exit::Refused, message));
    }
    let from = operator(global);
    store.hand_over(&run.id, &from, to)?;
    if global.json {
        output::document("hand-over", json!({ "run": run.id, "from": from, "to": to }));
    } else {
        output::result(&format!("run {} is handed over from {from} to {to}", run.id));
    }
    if !run.held {
        say(&format!("{to} takes it up with: allclear resume {} --as {to}", run.id));
    }
    Ok(Exit::Verified)
}

pub(super) async fn answer(
    global: &Global,
    name: &str,
    choice: &str,
    args: AnswerArgs,
) -> Result<Exit, CliError> {
    let store = store(global)?;
    let run = store.find(name)?;
    super::execute::refuse_damaged(&run)?;
    let refused = |message: String| CliError::new(Exit::Refused, message);
    if let Some(outcome) = run.outcome {
        return Err(refused(format!("run {} has ended {outcome}; there is nothing to answer", run.id)));
    }
    let asked = store.standing(&run.id)?.map(|standing| standing.question);
    let question = asked.ok_or_else(|| {
        refused(format!("run {} asks nothing now; see `allclear status {}`", run.id, run.id))
    })?;
    if let Some(gate) = args.gate.as_ref().filter(|gate| **gate != question.gate) {
        let message = format!(
            "run {} asks at `{}` now, and not at `{gate}`, so nothing was answered; see `allclear status {}`",
            run.id, question.gate, run.id
        );
        return Err(refused(message));
    }
    // Whoever answers must be able to when nothing answers them, unless the time decides whether it counts.
    let now = match (Wired::clock_of(&run).await, question.deadline) {
        (Ok(clock), _) => clock.now(),
        (Err(error), Some(_)) => return Err(error),
        (Err(_), None) => SystemClock.now(),
    };
    let comment = args.comment.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let mut answer = Answer { comment, ..Answer::to(&question, choice, operator(global)) };
    if let Some(binding) = args.binding {
        answer.binding = binding;
    } else {
        // Whoever may not answer hears that first, before they look at anything.
        store.would_take(&run.id, &answer.clone().typing(""), now)?;
        if !agreed(global, &run.id, &question, choice).await? {
            say("not answered; the question is still open");
            return Ok(Exit::Rejected);
        }
    }
    if let Some(what) = question.choice(choice).and_then(|choice| choice.typing.as_ref()) {
        answer = answer.typing(&typed(global, what).await?);
    }
    let before = store.entries(&run.id)?.len();
    store.answer(&run.id, &answer, now)?;
    if run.held {
        follow(&store, &run.id, before, &answer).await?;
    }
    if global.json {
        let shown = Answer { typed: None, ..answer };
        output::document("answer", json!({ "run": run.id, "gate": question.gate, "answer": shown }));
    } else {
        output::result(&format!("{}: {} at gate {}", answer.by, answer.choice, question.gate));
    }
    if let Some(stop) = store.stopped()? {
        say(&format!(
            "the answer is kept, and counts once the run goes on: {stop}; first: allclear lift-stop"
        ));
    }
    if !run.held {
        say(&format!("now: allclear resume {}", run.id));
    }
    Ok(Exit::Verified)
}

/// Shows what would be answered, and asks whether that is meant. Nobody says yes to what they have not seen: where nobody can be
/// asked, the binding says what they saw.
async fn agreed(global: &Global, run: &str, question: &Question, choice: &str) -> Result<bool, CliError> {
    use std::io::IsTerminal as _;
    say(&gate_text(run, question));
    if global.no_input || !std::io::stdin().is_terminal() {
        return Err(CliError::usage(format!(
            "look at what is asked above; if `{choice}` is your answer to it: {}",
            answer_with(run, question, choice)
        )));
    }
    let typed = read_line(&format!("\nAnswer `{choice}` to this? [y/N] ")).await;
    Ok(matches!(typed.as_deref().map(str::trim), Some("y" | "yes")))
}

impl From<NotTaken> for CliError {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::Store(error) => error.into(),
            other => Self::new(Exit::Refused, other.to_string()),
        }
    }
}

/// What a gate wants typed. Never an argument: those are there for everybody on the machine to read.
async fn typed(global: &Global, what: &str) -> Result<String, CliError> {
    use std::io::IsTerminal as _;
    let on_terminal = std::io::stdin().is_terminal();
    let line = match on_terminal {
        true if global.no_input => None,
        true => read_line(&format!("Type {what}: ")).await,
        false => read_line("").await,
    };
    line.filter(|line| !line.trim().is_empty()).ok_or_else(|| {
        CliError::usage(format!(
            "this gate wants {what} typed: at a terminal, or as a line on standard input"
        ))
    })
}

/// Waits until the run that goes on has taken the answer up, so that whoever gave it hears whether it counts.
async fn follow(store: &Store, run: &str, before: usize, answer: &Answer) -> Result<(), CliError> {
    let looks = FOLLOWED_FOR.as_millis() / 50;
    for _ in 0..looks {
        tokio::time::sleep(Duration::from_millis(50)).await;
        for entry in store.entries(run)?.iter().skip(before) {
            match &entry.event {
                Event::Answered { answer: counted, .. }
                    if counted.by == answer.by && counted.binding == answer.binding =>
                {
                    return Ok(());
                }
                Event::AnswerRefused { by, why, .. } if *by == answer.by => {
                    return Err(CliError::new(Exit::Refused, why.to_string()));
                }
                _ => {}
            }
        }
    }
    say("the run has not taken it up yet; see `allclear watch`");
    Ok(())
}
