//! What exercises find: what is wrong, what is done about it, by whom, until when. And how the last one's findings are read
//! again from the team's notes.

use allclear_core::recovery::{Participant, Role};
use jiff::ToSpan as _;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::objectives::{Earlier, earlier};

/// After so many days an action is due; people change the date in the notes where that is wrong.
const DUE_AFTER_DAYS: i64 = 14;

/// What a finding is about: the next exercise recognises by it what to look at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Topic {
    /// The access token for the list of hosted backups.
    ManifestToken,
    /// How long the copy of the buckets took.
    CopyTime,
    /// What the copy of the buckets holds.
    CopyContent,
    /// What the platform's own list has beside the copy.
    ObjectLists,
    /// Who acknowledged, and when.
    Acknowledgements,
    /// The draft of the holding statement.
    HoldingStatement,
    /// What the host keeps by itself.
    HostedBackups,
    /// Whether the backup is of this exercise.
    FreshBackup,
    /// Whether staging is equal to the snapshot.
    Parity,
    /// What works on staging.
    SmokeTests,
    /// How long the recovery took.
    RecoveryTime,
    /// How old the data was that it brought back.
    DataAge,
    /// The cutover checklist.
    CutoverChecklist,
    /// Who would take a cutover back.
    RollbackOwner,
    /// The team's documents.
    Documents,
    /// The exercise as a whole.
    Exercise,
}

impl Topic {
    const ALL: [Self; 16] = [
        Self::ManifestToken,
        Self::CopyTime,
        Self::CopyContent,
        Self::ObjectLists,
        Self::Acknowledgements,
        Self::HoldingStatement,
        Self::HostedBackups,
        Self::FreshBackup,
        Self::Parity,
        Self::SmokeTests,
        Self::RecoveryTime,
        Self::DataAge,
        Self::CutoverChecklist,
        Self::RollbackOwner,
        Self::Documents,
        Self::Exercise,
    ];

    /// The word by which it is found again in the notes.
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::ManifestToken => "manifest-token",
            Self::CopyTime => "copy-time",
            Self::CopyContent => "copy-content",
            Self::ObjectLists => "object-lists",
            Self::Acknowledgements => "acknowledgements",
            Self::HoldingStatement => "holding-statement",
            Self::HostedBackups => "hosted-backups",
            Self::FreshBackup => "fresh-backup",
            Self::Parity => "parity",
            Self::SmokeTests => "smoke-tests",
            Self::RecoveryTime => "recovery-time",
            Self::DataAge => "data-age",
            Self::CutoverChecklist => "cutover-checklist",
            Self::RollbackOwner => "rollback-owner",
            Self::Documents => "documents",
            Self::Exercise => "exercise",
        }
    }

    fn named(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.id() == id)
    }

    /// Who acts.
    fn owner(self) -> Role {
        match self {
            Self::ManifestToken
            | Self::CopyTime
            | Self::CopyContent
            | Self::ObjectLists
            | Self::HostedBackups
            | Self::FreshBackup
            | Self::Parity
            | Self::RecoveryTime
            | Self::DataAge => Role::DataPlatformLead,
            Self::HoldingStatement => Role::SupportManager,
            Self::Documents => Role::StakeholderCommunications,
            Self::Acknowledgements
            | Self::SmokeTests
            | Self::CutoverChecklist
            | Self::RollbackOwner
            | Self::Exercise => Role::IncidentCommander,
        }
    }

    /// What is done.
    fn action(self) -> &'static str {
        match self {
            Self::ManifestToken => {
                "rotate the access token before it expires, and check it a week before the next exercise"
            }
            Self::CopyTime => {
                "bring the copy below its budget: more objects at once where they are small, parts at once where they are large"
            }
            Self::CopyContent => "find out why the buckets hold no object, or take them off the list",
            Self::ObjectLists => {
                "find out why the platform's list and the copy differ, and take a new copy once they do not"
            }
            Self::Acknowledgements => {
                "check contact methods and notification rules of whoever was late or missing"
            }
            Self::HoldingStatement => "see that the draft gets to the status channel, and review it there",
            Self::HostedBackups => "find out why the host has no whole backup of its own",
            Self::FreshBackup => "take a backup of its own for each exercise",
            Self::Parity => "find out which rows differ and why, then repeat the exercise",
            Self::SmokeTests => "make the test pass on staging, or possible there",
            Self::RecoveryTime => {
                "see in backup.log and the report which part took longest and shorten it, or agree on another RTO"
            }
            Self::DataAge => "take backups more often, or agree on another RPO",
            Self::CutoverChecklist => "write or review the cutover checklist",
            Self::RollbackOwner => "name a rollback owner and tell them",
            Self::Documents => "file by hand what could not be written",
            Self::Exercise => "remove what ended the exercise early, then repeat it",
        }
    }
}

/// One finding, with what is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) topic: Topic,
    /// What was found, as a sentence without its full stop.
    pub(super) says: String,
    pub(super) owner: String,
    pub(super) due: Date,
}

impl Finding {
    /// A finding of the exercise of that day: its owner follows from its topic, its date from the rule.
    pub(super) fn of(topic: Topic, says: impl Into<String>, day: Date, people: &[Participant]) -> Self {
        let role = topic.owner();
        let names: Vec<&str> =
            people.iter().filter(|one| one.role == role).map(|one| one.name.as_str()).collect();
        let owner =
            if names.is_empty() { role.to_string() } else { format!("{role} ({})", names.join(", ")) };
        Self { topic, says: says.into(), owner, due: day.saturating_add(DUE_AFTER_DAYS.days()) }
    }

    pub(super) fn action(&self) -> &'static str {
        self.topic.action()
    }

    /// The finding as a line of the notes.
    pub(super) fn line(&self) -> String {
        let Self { topic, says, owner, due } = self;
        let says = super::words::inline(says);
        format!("{}: {says}. Action: {}. Owner: {owner}. Due: {due}.", topic.id(), self.action())
    }
}

/// A finding of the last exercise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastFinding {
    /// What it is about, where that is known; people write findings of their own.
    pub(super) topic: Option<Topic>,
    /// The line, as it stands in the notes.
    pub(super) says: String,
    /// Whether nobody ticked it off.
    pub(super) open: bool,
}

/// What the last exercise found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastFindings {
    /// The heading, e.g. `2024-10-01 Tabletop`.
    pub(super) held: String,
    pub(super) findings: Vec<LastFinding>,
    /// What it and the exercises before it measured, newest first.
    #[serde(default)]
    pub(super) earlier: Vec<Earlier>,
}

/// What follows a carried line: how it fared since.
const SINCE: &str = " → ";

impl LastFindings {
    /// The findings of the written runbook: where the notes begin.
    pub(super) fn written() -> Self {
        let finding = |topic: Topic, step: &allclear_engine::Step| LastFinding {
            topic: Some(topic),
            says: format!("{}: {}", topic.id(), step.title),
            open: true,
        };
        Self {
            held: super::LAST_HELD.to_owned(),
            findings: vec![
                finding(Topic::ManifestToken, &super::DR_L1),
                finding(Topic::CopyTime, &super::DR_L2),
            ],
            earlier: Vec::new(),
        }
    }

    /// The newest exercise of the notes: its items with a box, ticked or not. `heading` is what an exercise's begins with. `None` where
    /// there is none.
    pub(super) fn read(notes: &str, heading: &str) -> Option<Self> {
        let mut last: Option<Self> = None;
        let mut open_item = false;
        for line in notes.lines() {
            if let Some(held) = line.strip_prefix(heading) {
                if last.is_some() {
                    break;
                }
                last = Some(Self {
                    held: held.trim().to_owned(),
                    findings: Vec::new(),
                    earlier: earlier(notes, heading),
                });
                open_item = false;
                continue;
            }
            let Some(section) = &mut last else { continue };
            if let Some((open, says)) = item(line) {
                let topic = says.split_once(':').and_then(|(id, _)| Topic::named(id));
                section.findings.push(LastFinding { topic, says: says.to_owned(), open });
                open_item = true;
            } else if open_item && line.starts_with(' ') && !line.trim().is_empty() {
                if let Some(finding) = section.findings.last_mut() {
                    finding.says = format!("{} {}", finding.says, line.trim());
                }
            } else {
                open_item = false;
            }
        }
        for finding in last.iter_mut().flat_map(|last| &mut last.findings) {
            if let Some((says, _)) = finding.says.split_once(SINCE) {
                finding.says = says.to_owned();
            }
        }
        last
    }
}

/// `- [ ] words` as open and words.
fn item(line: &str) -> Option<(bool, &str)> {
    let boxed = line.strip_prefix("- [")?;
    let (mark, says) = boxed.split_once("] ")?;
    match mark {
        " " => Some((true, says.trim())),
        "x" | "X" => Some((false, says.trim())),
        _ => None,
    }
}

/// How a finding of the last exercise fared in this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fared {
    /// People ticked it off.
    Closed,
    /// It was found again.
    Again,
    /// It was looked for and not found.
    NotAgain,
    /// A program cannot tell, or the exercise did not get there: it stays open.
    Carried,
}

impl Fared {
    pub(super) fn says(self) -> &'static str {
        match self {
            Self::Closed => "ticked off by people",
            Self::Again => "found again",
            Self::NotAgain => "looked for, not found again",
            Self::Carried => "still open: only people can tell",
        }
    }

    /// The line for the new notes; none for what needs no further word.
    pub(super) fn line(self, finding: &LastFinding) -> Option<String> {
        let mark = match self {
            Self::Closed => return None,
            Self::Again | Self::NotAgain => 'x',
            Self::Carried => ' ',
        };
        Some(format!("- [{mark}] {}{SINCE}{}.", finding.says, self.says()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notes_newest_section_is_read_with_what_people_wrote_into_it() {
        let notes = "# Notes\n\n## 2026-10-06 Tabletop\n\nwords\n\n- [x] copy-time: it took long.\n- [ ] The door of the\n  room was locked. → still open.\n- no box\n\n## 2026-07-07 Tabletop\n\n- [ ] older\n";
        let last = LastFindings::read(notes, "## ").unwrap();
        assert_eq!(last.held, "2026-10-06 Tabletop");
        let seen: Vec<_> = last.findings.iter().map(|one| (one.topic, one.open, one.says.as_str())).collect();
        let expected = [
            (Some(Topic::CopyTime), false, "copy-time: it took long."),
            (None, true, "The door of the room was locked."),
        ];
        assert_eq!(seen, expected);
        assert_eq!(LastFindings::read("# Notes\n", "## "), None);
    }

    #[test]
    fn a_finding_is_recognised_when_it_is_read_again() {
        for topic in Topic::ALL {
            let finding = Finding::of(topic, "one\ntwo", jiff::civil::date(2026, 12, 31), &[]);
            assert_eq!(finding.due.to_string(), "2027-01-14");
            let notes = format!("## 2026-12-31 Tabletop\n\n- [ ] {}\n", finding.line());
            let read = LastFindings::read(&notes, "## ").unwrap();
            assert_eq!((read.findings.len(), read.findings[0].topic), (1, Some(topic)), "{notes}");
        }
    }
}
