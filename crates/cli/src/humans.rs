//! Asking at the terminal.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc;

use allclear_engine::gate::{Answer, Question};
use allclear_engine::{Attention, Humans};
use async_trait::async_trait;
use rustix::termios::{QueueSelector, tcflush};
use tokio::sync::{Mutex, mpsc as async_mpsc};

use crate::output::say;

/// Somebody at the terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    operator: String,
    run: String,
    keyboard: Mutex<Keyboard>,
}

impl Terminal {
    pub(crate) fn new(operator: String, run: String) -> Self {
        Self { operator, run, keyboard: Mutex::new(Keyboard::default()) }
    }

    /// The answer of whoever sits here; `None` when nothing can be typed any more.
    async fn answer(&self, question: &Question) -> Option<Answer> {
        let mut keyboard = self.keyboard.lock().await;
        keyboard.forget_what_was_typed_ahead();
        loop {
            let typed = keyboard.line("> ").await?;
            let word = match typed.trim() {
                "y" | "yes" => "approve",
                "n" | "no" => "reject",
                other => other,
            };
            let Some(choice) = question.choice(word) else {
                let offered: Vec<&str> = question.choices.iter().map(|choice| choice.id.as_str()).collect();
                say(&format!("`{word}` is not offered; type one of: {}", offered.join(", ")));
                continue;
            };
            let answer = Answer::to(question, word, self.operator.as_str());
            return match &choice.typing {
                None => Some(answer),
                Some(what) => {
                    let text = keyboard.line(&format!("Type {what}: ")).await?;
                    Some(answer.typing(&text))
                }
            };
        }
    }
}

#[async_trait]
impl Humans for Terminal {
    async fn ask(&self, question: &Question, _given: &[Answer]) -> Attention {
        say(&gate_text(&self.run, question));
        let withdrawn = Withdrawn;
        let answer = self.answer(question).await;
        std::mem::forget(withdrawn);
        if let Some(answer) = answer {
            return Attention::Answer(answer);
        }
        say("nothing can be typed here any more; waiting for an answer from elsewhere");
        Attention::Wait
    }
}

/// Says that a prompt is over, when it is dropped: the run goes on without what might be typed.
struct Withdrawn;

impl Drop for Withdrawn {
    fn drop(&mut self) {
        say("\nnothing needs to be typed here any more:");
    }
}

/// Lines of the standard input, read by a thread of their own, one whenever one is wanted. A read cannot be taken back:
/// on the runtime it would keep the process from ending until somebody pressed Enter.
#[derive(Debug, Default)]
struct Keyboard {
    reader: Option<Reader>,
    /// A line was wanted for a prompt that was withdrawn, and has not come yet.
    outstanding: bool,
}

#[derive(Debug)]
struct Reader {
    want: mpsc::Sender<()>,
    lines: async_mpsc::UnboundedReceiver<String>,
}

impl Reader {
    fn start() -> Self {
        let (want, wanted) = mpsc::channel();
        let (typed, lines) = async_mpsc::unbounded_channel();
        std::thread::spawn(move || {
            while wanted.recv().is_ok() {
                let mut line = String::new();
                match std::io::stdin().read_line(&mut line) {
                    Ok(bytes) if bytes > 0 && typed.send(line).is_ok() => {}
                    _ => return,
                }
            }
        });
        Self { want, lines }
    }
}

impl Keyboard {
    /// What was typed before a question was shown was not typed to answer it.
    fn forget_what_was_typed_ahead(&mut self) {
        if std::io::stdin().is_terminal() {
            let _ = tcflush(std::io::stdin(), QueueSelector::IFlush);
        }
        if let Some(reader) = &mut self.reader
            && reader.lines.try_recv().is_ok()
        {
            self.outstanding = false;
        }
    }

    /// The next line; `None` when there is none any more.
    async fn line(&mut self, prompt: &str) -> Option<String> {
        show(prompt);
        let reader = self.reader.get_or_insert_with(Reader::start);
        if !self.outstanding {
            self.outstanding = true;
            reader.want.send(()).ok()?;
        }
        let line = reader.lines.recv().await?;
        self.outstanding = false;
        Some(line)
    }
}

fn show(prompt: &str) {
    let mut err = std::io::stderr().lock();
    let _ = write!(err, "{prompt}");
    let _ = err.flush();
}

/// A gate as people see it, with the command that answers it from elsewhere.
pub(crate) fn gate_text(run: &str, question: &Question) -> String {
    let mut lines = vec![format!("\n?  {}", question.question)];
    lines.extend(question.shown.iter().flat_map(|shown| shown.lines()).map(|shown| format!("     {shown}")));
    for choice in &question.choices {
        let typing = choice.typing.as_ref().map_or_else(String::new, |what| format!(" (wants {what} typed)"));
        lines.push(format!("   {:<16} {}{typing}", choice.id, choice.says));
    }
    lines.extend(who_may(question).map(|who| format!("   {who}")));
    if let (Some(deadline), Some(choice)) = (question.deadline, &question.at_deadline) {
        lines.push(format!(
            "   without an answer by {}, `{choice}` counts",
            deadline.strftime("%H:%M:%S UTC")
        ));
    }
    lines.push(format!("   from elsewhere: {}", answer_with(run, question, "CHOICE")));
    lines.join("\n")
}

/// The command that answers a question as it is shown.
pub(crate) fn answer_with(run: &str, question: &Question, choice: &str) -> String {
    format!("allclear answer {run} {choice} --binding {}", question.binding)
}

/// Who may answer, where that is not simply anybody.
fn who_may(question: &Question) -> Option<String> {
    let approvers = &question.approvers;
    let among = match approvers.among.as_slice() {
        [] => "people".to_owned(),
        names => format!("of {}", names.join(", ")),
    };
    let mut parts = Vec::new();
    if approvers.needed > 1 || !approvers.among.is_empty() {
        parts.push(format!("takes {} {among}", approvers.needed));
    }
    if approvers.not_the_requester {
        parts.push(format!("not {}, who started the run, nor whoever holds it", question.requester));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// A line from the terminal; `None` when there is none any more. For prompts that nothing but a line can end.
pub(crate) async fn read_line(prompt: &str) -> Option<String> {
    show(prompt);
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).ok().filter(|bytes| *bytes > 0).map(|_| line)
    });
    read.await.ok().flatten()
}
