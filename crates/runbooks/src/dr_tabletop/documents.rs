//! The team's documents: drafts that are created and never overwritten, the retro notes, and the checklist of controls.
//!
//! People edit these files too. Each write says what the file held when it was read, so that nobody's edit is lost: it is
//! refused where that is not so any more, and tried again on what the file holds then.

use std::sync::Arc;

use allclear_core::PortError;
use allclear_core::platform::Recovery;
use allclear_core::ports::Documents;
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, Prediction, Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;

use super::notes::{NoPlace, NotesPlace};
use crate::effects::change;

/// The notes of all exercises, newest first, where no runbook file is configured.
pub(super) const RETRO: &str = "docs/incidents/dr-tabletop.md";
/// The checklist of the system's controls.
pub(super) const CHECKLIST: &str = "SYSTEM_CHECKLIST.md";

/// How often a write is tried while people edit the same file.
const TRIES: u32 = 3;

/// What is to be done with one document.
#[derive(Debug, Clone)]
enum Edit {
    /// Write it where there is none.
    Create(String),
    /// Put an exercise's notes on top of the others.
    FileNotes { place: NotesPlace, mark: String, notes: String },
    /// Add those lines whose mark is not in it.
    Append { title: &'static str, heading: &'static str, lines: Vec<(&'static str, String)> },
}

impl Edit {
    /// What the document will hold; `None` where nothing is to be changed.
    fn of(&self, now: Option<&str>) -> Result<Option<String>, NoPlace> {
        Ok(match self {
            Self::Create(content) => now.is_none().then(|| content.clone()),
            Self::FileNotes { place, mark, notes } => {
                if place.notes(now)?.is_some_and(|there| there.contains(mark)) {
                    return Ok(None);
                }
                Some(place.with(now, notes)?)
            }
            Self::Append { title, heading, lines } => {
                let now = now.unwrap_or(title);
                let missing: Vec<&str> = lines
                    .iter()
                    .filter(|(mark, _)| !now.contains(mark))
                    .map(|(_, line)| line.as_str())
                    .collect();
                (!missing.is_empty()).then(|| below(now, heading, &missing.join("\n")))
            }
        })
    }
}

/// `text` with `lines` at the end of the section `heading`, which is made where it is missing.
fn below(text: &str, heading: &str, lines: &str) -> String {
    let start = text.lines().scan(0, |at, line| {
        let begins = *at;
        *at += line.len() + 1;
        Some((begins, line))
    });
    let after = start.clone().find(|(_, line)| line.trim_end() == heading).map(|(at, line)| at + line.len());
    let Some(after) = after else {
        return format!("{}\n\n{heading}\n\n{lines}\n", text.trim_end());
    };
    let end = start.skip_while(|(at, _)| *at < after).find(|(_, line)| line.starts_with('#'));
    let end = end.map_or(text.len(), |(at, _)| at);
    let (section, rest) = text.split_at(end);
    let gap = if section.trim_end().ends_with(heading) { "\n\n" } else { "\n" };
    let rest = if rest.is_empty() { String::new() } else { format!("\n{rest}") };
    format!("{}{gap}{lines}\n{rest}", section.trim_end())
}

/// Writes to one of the team's documents.
#[derive(Clone)]
pub(super) struct WriteDocument {
    documents: Arc<dyn Documents>,
    path: String,
    what: String,
    edit: Edit,
}

impl WriteDocument {
    fn new(recovery: &Recovery, path: &str, what: impl Into<String>, edit: Edit) -> Self {
        Self { documents: Arc::clone(&recovery.documents), path: path.to_owned(), what: what.into(), edit }
    }

    /// A template: created where it is missing. What people made of it stays.
    pub(super) fn if_missing(recovery: &Recovery, path: &str, content: &str) -> Self {
        Self::new(recovery, path, "template", Edit::Create(content.to_owned()))
    }

    /// The notes of this exercise, on top. `mark` is found in them and nowhere else.
    pub(super) fn retro(recovery: &Recovery, mark: String, notes: String) -> Self {
        let place = NotesPlace::of(&recovery.exercise);
        let path = place.path().to_owned();
        Self::new(recovery, &path, "notes of this exercise", Edit::FileNotes { place, mark, notes })
    }

    /// Controls, each with the mark by which it is found again.
    pub(super) fn controls(recovery: &Recovery, lines: Vec<(&'static str, String)>) -> Self {
        let (title, heading) = (super::texts::CHECKLIST_TITLE, super::texts::CHECKLIST_HEADING);
        Self::new(recovery, CHECKLIST, "controls", Edit::Append { title, heading, lines })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether the document holds it.
    async fn is_there(&self) -> Result<bool, PortError> {
        let now = self.documents.read(&self.path).await?;
        Ok(now.is_some() && self.edited(now.as_deref())?.is_none())
    }

    fn edited(&self, now: Option<&str>) -> Result<Option<String>, PortError> {
        self.edit.of(now).map_err(|error| error.into_port_error(&self.path))
    }
}

#[async_trait]
impl Effect for WriteDocument {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "document.write"
    }

    fn subject(&self) -> String {
        format!("document {}", self.path)
    }

    fn title(&self) -> String {
        format!("write the {} into {}", self.what, self.path)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("the team's documents are changed by people; take the section out by hand")
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        if self.is_there().await? {
            return Ok(Prediction::default());
        }
        Ok(Prediction::of(change("document", &self.path, &self.path, &self.what, "absent", "written")))
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        for attempt in 1.. {
            let now = self.documents.read(&self.path).await?;
            let Some(content) = self.edited(now.as_deref())? else {
                return Ok(Applied { receipt: (), says: format!("{} holds it already", self.path) });
            };
            match self.documents.write(&self.path, now, &content).await {
                // Somebody edited it in between: what they wrote stays, and ours is added to it.
                Err(PortError::Rejected { .. }) if attempt < TRIES => {}
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        Ok(Applied { receipt: (), says: format!("{} was written", self.path) })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        Ok(if self.is_there().await? {
            Reconciled::Happened(Applied { receipt: (), says: format!("{} holds it", self.path) })
        } else {
            Reconciled::DidNot { why: format!("{} does not hold it", self.path) }
        })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        let there = self.is_there().await?;
        let shows = if there { "there" } else { "not there" };
        let evidence = vec![Evidence::new(self.path.clone(), shows)];
        Ok(if there {
            Judgement::verified(format!("{} holds the {}", self.path, self.what), evidence)
        } else {
            Judgement::refuted(format!("{} does not hold the {}", self.path, self.what), evidence)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_to_the_end_of_their_section_and_the_rest_stays() {
        let heading = "## Recovery";
        assert_eq!(below("# List\n", heading, "- a"), "# List\n\n## Recovery\n\n- a\n");
        assert_eq!(
            below("# List\n\n## Recovery\n\n- a\n", heading, "- b"),
            "# List\n\n## Recovery\n\n- a\n- b\n"
        );
        assert_eq!(
            below("# List\n\n## Recovery\n\n- a\n\n## Other\n\n- c\n", heading, "- b"),
            "# List\n\n## Recovery\n\n- a\n- b\n\n## Other\n\n- c\n"
        );
        assert_eq!(below("## Recovery", heading, "- b"), "## Recovery\n\n- b\n");
    }

    #[test]
    fn the_newest_section_stands_on_top_and_only_once() {
        let edit = |mark: &str| Edit::FileNotes {
            place: NotesPlace::Own,
            mark: mark.to_owned(),
            notes: format!("## {mark}\n\nwords\n"),
        };
        let first = edit("one").of(Some("# Notes\n")).unwrap().unwrap();
        assert_eq!(first, "# Notes\n\n## one\n\nwords\n");
        let second = edit("two").of(Some(&first)).unwrap().unwrap();
        assert_eq!(second, "# Notes\n\n## two\n\nwords\n\n## one\n\nwords\n");
        assert_eq!(edit("two").of(Some(&second)), Ok(None));
    }
}
