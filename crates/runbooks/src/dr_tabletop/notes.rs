//! Where the notes of exercises stand: in the section of the team's own runbook file, as the written runbook has it, or where none
//! is configured, in a document of their own.
//!
//! In the runbook file they stand below the heading `### Retro Notes` of the exercise's section, one `####` for each exercise. To
//! `allclear check` that is data: whatever people write there binds no step. The rest of the file stays byte by byte.

use std::sync::Arc;

use allclear_core::PortError;
use allclear_core::error::Service;
use allclear_core::platform::Recovery;
use allclear_core::ports::Documents;
use allclear_core::recovery::Exercise;
use allclear_engine::{Evidence, Observation, Probe};
use async_trait::async_trait;
use jiff::Timestamp;

use super::documents::RETRO;
use super::{TITLE, texts};
use crate::text::{RETRO_NOTES, section, subsection};

/// The place of the notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotesPlace {
    /// A document that holds nothing else.
    Own,
    /// The exercise's section in the team's runbook file, a path below the folder of documents.
    Runbook(String),
}

/// Why the notes cannot stand where the configuration says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPlace {
    /// There is no such file.
    #[error(
        "there is no file {path}, which recovery.runbook_file names; correct the path, it begins in the folder of documents"
    )]
    File { path: String },
    /// The file has no section of the exercise.
    #[error(
        "{path}, which recovery.runbook_file names, has no section \"## {TITLE}\"; write it, e.g. from `allclear show dr-tabletop`"
    )]
    Section { path: String },
}

impl NoPlace {
    /// For whoever was about to read or write there.
    pub(super) fn into_port_error(self, path: &str) -> PortError {
        PortError::Rejected {
            service: Service::Documents,
            call: format!("find the place of the notes in {path}"),
            code: None,
            detail: self.to_string(),
        }
    }
}

impl NotesPlace {
    pub(super) fn of(exercise: &Exercise) -> Self {
        exercise.runbook_file.clone().map_or(Self::Own, Self::Runbook)
    }

    /// The document.
    pub(super) fn path(&self) -> &str {
        match self {
            Self::Own => RETRO,
            Self::Runbook(path) => path,
        }
    }

    /// What an exercise's heading begins with.
    pub(super) fn heading(&self) -> &'static str {
        match self {
            Self::Own => "## ",
            Self::Runbook(_) => "#### ",
        }
    }

    /// What the headings of its parts begin with.
    pub(super) fn part_heading(&self) -> &'static str {
        match self {
            Self::Own => "### ",
            Self::Runbook(_) => "##### ",
        }
    }

    /// The notes in the document as it is; `None` where there are none yet.
    pub(super) fn notes<'a>(&self, document: Option<&'a str>) -> Result<Option<&'a str>, NoPlace> {
        match self {
            Self::Own => Ok(document),
            Self::Runbook(path) => {
                let (document, section) = in_section(path, document)?;
                Ok(subsection(document, section, RETRO_NOTES).map(|notes| &document[notes]))
            }
        }
    }

    /// The document with an exercise's notes above those of earlier ones.
    pub(super) fn with(&self, document: Option<&str>, notes: &str) -> Result<String, NoPlace> {
        match self {
            Self::Own => Ok(on_top(document.unwrap_or(texts::RETRO_TITLE), notes)),
            Self::Runbook(path) => {
                let (document, section) = in_section(path, document)?;
                let Some(there) = subsection(document, section.clone(), RETRO_NOTES) else {
                    let all = format!("### {RETRO_NOTES}\n\n{}\n{notes}", texts::RETRO_RULES);
                    return Ok(inserted(document, section.end, &all));
                };
                let earlier = first_line(&document[there.clone()], self.heading());
                Ok(inserted(document, earlier.map_or(there.end, |at| there.start + at), notes))
            }
        }
    }
}

fn in_section<'a>(
    path: &str,
    document: Option<&'a str>,
) -> Result<(&'a str, std::ops::Range<usize>), NoPlace> {
    let document = document.ok_or_else(|| NoPlace::File { path: path.to_owned() })?;
    let section = section(document, TITLE).ok_or_else(|| NoPlace::Section { path: path.to_owned() })?;
    Ok((document, section))
}

/// Where the first line stands that begins so.
fn first_line(text: &str, begins: &str) -> Option<usize> {
    let mut at = 0;
    text.split_inclusive('\n').find_map(|line| {
        let here = at;
        at += line.len();
        line.starts_with(begins).then_some(here)
    })
}

/// A document of notes alone, with these above the others.
fn on_top(document: &str, notes: &str) -> String {
    let first = first_line(document, "## ");
    let (head, sections) = first.map_or((document, ""), |at| document.split_at(at));
    let all = format!("{}\n\n{}\n\n{sections}", head.trim_end(), notes.trim_end());
    format!("{}\n", all.trim())
}

/// The document with a part more at that place, between empty lines and with the document's own line ends. What was there stays
/// byte by byte.
fn inserted(document: &str, at: usize, part: &str) -> String {
    let end = if document.contains("\r\n") { "\r\n" } else { "\n" };
    let (before, after) = document.split_at(at);
    let above = if before.ends_with(&end.repeat(2)) {
        String::new()
    } else if before.ends_with('\n') {
        end.to_owned()
    } else {
        end.repeat(2)
    };
    let below = if after.is_empty() { "" } else { end };
    let part = part.trim_end().replace('\n', end);
    format!("{before}{above}{part}{end}{below}{after}")
}

/// Whether the notes can be filed where the configuration says; asked before anybody is called.
pub(super) struct PlaceOfNotes {
    documents: Arc<dyn Documents>,
    place: NotesPlace,
}

impl PlaceOfNotes {
    /// `None` where they have a document of their own, which is made when it is needed.
    pub(super) fn of(recovery: &Recovery) -> Option<Self> {
        let place = NotesPlace::of(&recovery.exercise);
        (place != NotesPlace::Own).then(|| Self { documents: Arc::clone(&recovery.documents), place })
    }
}

#[async_trait]
impl Probe for PlaceOfNotes {
    /// What is wrong; `None` where they can.
    type Value = Option<String>;

    fn subject(&self) -> String {
        "place of the notes".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Option<String>>, PortError> {
        let path = self.place.path();
        let document = self.documents.read(path).await?;
        let value = self.place.notes(document.as_deref()).err().map(|error| error.to_string());
        let says = value.clone().unwrap_or_else(|| format!("the notes are filed in {path}, section {TITLE}"));
        Ok(Observation { value, evidence: vec![Evidence::new(path, says.clone())], says })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalogue;
    use crate::text::{WRITTEN, bind};

    const PATH: &str = "docs/incident-runbooks.md";

    fn place() -> NotesPlace {
        NotesPlace::Runbook(PATH.to_owned())
    }

    fn written() -> String {
        String::from_utf8_lossy(WRITTEN).into_owned()
    }

    fn section_of(day: &str, words: &str) -> String {
        format!("#### {day} Tabletop\n\n{words}\n")
    }

    #[test]
    fn the_notes_stand_at_the_end_of_the_section_newest_first_and_the_rest_stays() {
        let file = format!("{}\n## Another Runbook\n\n1. **Detect**: words\n", written());
        let once = place().with(Some(&file), &section_of("2026-07-07", "first")).unwrap();
        let twice = place().with(Some(&once), &section_of("2026-10-06", "second")).unwrap();
        let notes = place().notes(Some(&twice)).unwrap().unwrap();
        let headings: Vec<&str> = notes.lines().filter(|line| line.starts_with("####")).collect();
        assert_eq!(headings, ["#### 2026-10-06 Tabletop", "#### 2026-07-07 Tabletop"]);
        assert_eq!(twice.matches("### Retro Notes").count(), 1);
        // Taken out again, the file is what it was.
        let begin = twice.find("### Retro Notes").unwrap();
        let end = twice.find("## Another Runbook").unwrap();
        assert_eq!(format!("{}{}", &twice[..begin], &twice[end..]), file);
    }

    #[test]
    fn a_file_or_section_that_is_not_there_is_said() {
        let error = place().with(None, "x").unwrap_err();
        assert_eq!(error, NoPlace::File { path: PATH.to_owned() });
        let error = place().notes(Some("## Another Runbook\n")).unwrap_err();
        assert!(error.to_string().contains("allclear show dr-tabletop"), "{error}");
    }

    #[test]
    fn line_ends_stay_what_they_are() {
        let file = written().replace("\r\n", "\n").replace('\n', "\r\n");
        let with = place().with(Some(&file), &section_of("2026-10-06", "one\ntwo")).unwrap();
        assert!(with.starts_with(&file));
        assert_eq!(with.matches('\n').count(), with.matches("\r\n").count());
    }

    proptest! {
        /// Whatever people make of the notes, no bullet of the file is bound otherwise, as long as it is no heading of a section.
        #[test]
        fn what_is_filed_is_data_and_no_drift(lines in proptest::collection::vec(
            prop_oneof![
                Just("- a bullet at the margin".to_owned()),
                Just("   - a bullet below".to_owned()),
                Just("1. **Detect**: a phase".to_owned()),
                Just("2. **Backup Execution**".to_owned()),
                Just("##### Findings".to_owned()),
                Just("#### Latest Findings (2030-01-01 Tabletop)".to_owned()),
                "[ -~]{0,40}".prop_filter("no section", |line| !["# ", "## ", "### "].iter().any(|it| line.starts_with(it))),
            ], 0..30)) {
            let with = place().with(Some(&written()), &section_of("2026-10-06", &lines.join("\n"))).unwrap();
            let before = bind(WRITTEN, catalogue());
            prop_assert_eq!(bind(with.as_bytes(), catalogue()), before);
        }
    }
}
