//! Asking at the terminal.

use allclear_engine::gate::{Answer, Question};
use allclear_engine::{Attention, Humans};
use async_trait::async_trait;

use crate::output::say;

/// Somebody at the terminal.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    pub(crate) operator: String,
    pub(crate) run: String,
}

#[async_trait]
impl Humans for Terminal {
    async fn ask(&self, question: &Question, _given: &[Answer]) -> Attention {
        say(&gate_text(&self.run, question));
        loop {
            let Some(typed) = read_line("> ").await else { return Attention::Wait };
            let word = typed.trim();
            let word = match word {
                "y" | "yes" => "approve",
                "n" | "no" => "reject",
                other => other,
            };
            if question.choices.iter().any(|choice| choice.id == word) {
                return Attention::Answer(Answer {
                    choice: word.to_owned(),
                    by: self.operator.clone(),
                    binding: question.binding.clone(),
                    comment: None,
                });
            }
            let offered: Vec<&str> = question.choices.iter().map(|choice| choice.id.as_str()).collect();
            say(&format!("`{word}` is not offered; type one of: {}", offered.join(", ")));
        }
    }
}

/// A gate as people see it, with the command that answers it from elsewhere.
pub(crate) fn gate_text(run: &str, question: &Question) -> String {
    let mut lines = vec![format!("\n?  {}", question.question)];
    lines.extend(question.shown.iter().flat_map(|shown| shown.lines()).map(|shown| format!("     {shown}")));
    lines.extend(question.choices.iter().map(|choice| format!("   {:<16} {}", choice.id, choice.says)));
    if let (Some(deadline), Some(choice)) = (question.deadline, &question.at_deadline) {
        lines.push(format!(
            "   without an answer by {}, `{choice}` counts",
            deadline.strftime("%H:%M:%S UTC")
        ));
    }
    lines.push(format!("   from elsewhere: allclear answer {run} CHOICE --binding {}", question.binding));
    lines.join("\n")
}

/// A line from the terminal; `None` when there is none any more.
pub(crate) async fn read_line(prompt: &str) -> Option<String> {
    use std::io::Write as _;
    {
        let mut err = std::io::stderr().lock();
        let _ = write!(err, "{prompt}");
        let _ = err.flush();
    }
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).ok().filter(|bytes| *bytes > 0).map(|_| line)
    });
    read.await.ok().flatten()
}
