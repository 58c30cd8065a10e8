//! What an approval button in Slack carries, and what a click on it says.
//!
//! The button's value names the run, the gate, the binding of what was shown, and the choice. It is signed by Slack with the
//! rest of the click, so it is what we gave the button; whether the gate still stands like that, and whether the person may
//! answer, is checked where the answer is handed in: an answer with another binding is refused there.

use super::Refused;
use super::slack::Interaction;

/// Buttons of ours have ids that begin like this. Others are somebody else's and no error.
const ACTION: &str = "allclear_approval";
/// Slack allows 2,000 characters.
const LONGEST_VALUE: usize = 2_000;
const PARTS: usize = 4;

/// What a button stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Button {
    /// The run's id.
    pub run: String,
    /// The gate's id.
    pub gate: String,
    /// The binding of the question as the message shows it.
    pub binding: String,
    /// Which offered word.
    pub choice: String,
}

impl Button {
    /// The button's `action_id`: one message may not have two alike.
    pub fn action_id(&self) -> String {
        format!("{ACTION}:{}", self.choice)
    }

    /// The button's `value`; `None` where a part has a line break or all are too long together.
    pub fn value(&self) -> Option<String> {
        let parts = [&self.run, &self.gate, &self.binding, &self.choice];
        let usable = parts.iter().all(|part| !part.is_empty() && !part.contains(char::is_control));
        let value = parts.map(String::as_str).join("\n");
        (usable && value.len() <= LONGEST_VALUE).then_some(value)
    }

    fn read(value: &str) -> Option<Self> {
        if value.len() > LONGEST_VALUE {
            return None;
        }
        let parts: Vec<&str> = value.split('\n').collect();
        let [run, gate, binding, choice] = <[&str; PARTS]>::try_from(parts).ok()?;
        let button = Self {
            run: run.to_owned(),
            gate: gate.to_owned(),
            binding: binding.to_owned(),
            choice: choice.to_owned(),
        };
        // What we would not have written is not ours.
        (button.value().as_deref() == Some(value)).then_some(button)
    }
}

/// Somebody's answer to a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Slack's id of whoever clicked.
    pub user: String,
    /// What was clicked.
    pub button: Button,
}

/// The answer in a verified click; `None` where it is about something else than a gate of ours.
pub fn read(click: &Interaction) -> Result<Option<Approval>, Refused> {
    if click.kind != "block_actions" {
        return Ok(None);
    }
    let ours = |id: &str| id.strip_prefix(ACTION).is_some_and(|rest| rest.starts_with(':'));
    let mut actions = click.actions.iter().filter(|action| ours(&action.action_id));
    let Some(action) = actions.next() else { return Ok(None) };
    if actions.next().is_some() {
        return Err(Refused::Unreadable { detail: "it answers several times at once" });
    }
    let button = action.value.as_deref().and_then(Button::read);
    let button = button.ok_or(Refused::Unreadable { detail: "the button's value is not one of ours" })?;
    if button.action_id() != action.action_id {
        return Err(Refused::Unreadable { detail: "the button says one thing and its value another" });
    }
    Ok(Some(Approval { user: click.user.clone(), button }))
}
