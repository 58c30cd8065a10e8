//! What happened in one exercise: the log, the notes, the report and the outcome are made of this and of nothing else.
//!
//! It is filled with what the run's own verbs returned, so a run that is taken up again has the same record.

use std::time::Duration;

use allclear_core::incident::Incident;
use allclear_core::recovery::{
    Backup, BackupId, HostedBackups, ObjectCopy, Parity, Participant, Restored, SmokeResult, SmokeTest,
    TargetCheck,
};
use allclear_engine::Halt;
use jiff::Timestamp;
use jiff::civil::Date;

use super::cadence::InCadence;
use super::findings::{Fared, Finding, LastFinding, LastFindings, Topic};
use super::inventory::Inventory;
use super::notify::Roll;
use super::rehearse::Checklist;
use super::words::count;
use super::{DR_B2, DR_N1, DR_R1};

/// A part of the work that is done, and how long it took.
#[derive(Debug, Clone)]
pub(super) struct Part<T> {
    pub(super) what: T,
    /// As measured by whoever did it, or by the run's clock where nobody did.
    pub(super) runtime: Duration,
    /// Whether it was there before this run did it.
    pub(super) was_there: bool,
}

/// What one smoke test came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tried {
    /// It was tried, or shown not to be possible.
    Result(SmokeResult),
    /// Nobody knows: the call failed.
    Unknown { says: String },
}

/// One exercise.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) run: String,
    pub(super) day: Date,
    /// The backup's id: a person's choice, or the day's first that is free.
    pub(super) id: BackupId,
    pub(super) began: Timestamp,
    pub(super) people: Vec<Participant>,
    pub(super) cadence: Option<InCadence>,
    pub(super) last: Option<LastFindings>,
    /// Whether everybody was called: from then on an end is told.
    pub(super) called: bool,
    /// The exercise's own incident.
    pub(super) incident: Option<Incident>,
    pub(super) roll: Option<Roll>,
    /// Whether the draft stands in the status channel.
    pub(super) statement_posted: bool,
    pub(super) hosted: Option<HostedBackups>,
    /// What the host said when it refused the token.
    pub(super) token_refused: Option<String>,
    pub(super) backup: Option<Part<Backup>>,
    pub(super) copy: Option<Part<ObjectCopy>>,
    /// The copy beside the platform's own list; `None` where it was not compared.
    pub(super) inventory: Option<Inventory>,
    pub(super) target: Option<TargetCheck>,
    /// When the target was found as it was confirmed, right before the restore.
    pub(super) restore_began: Option<Timestamp>,
    pub(super) restored: Option<Part<Restored>>,
    pub(super) parity: Option<Parity>,
    pub(super) smoke: Vec<(SmokeTest, Tried)>,
    /// When the last smoke test ended that passed.
    pub(super) worked_at: Option<Timestamp>,
    pub(super) checklist: Option<Checklist>,
    /// Whether the rollback owner was confirmed; `None` while nobody was asked.
    pub(super) rollback_confirmed: Option<bool>,
    /// Paths of documents that stand in the team's folder.
    pub(super) documents: Vec<String>,
    /// Which files were kept, and where.
    pub(super) kept: Vec<String>,
    /// The controls that this exercise put on the checklist, or found there.
    pub(super) controls: Vec<&'static str>,
    pub(super) findings: Vec<Finding>,
    pub(super) log: Vec<(Timestamp, String)>,
    /// The real incident that it stopped for, the first where there were several.
    pub(super) gave_way: Option<String>,
    /// Why it ended early.
    pub(super) ended: Option<String>,
    /// Whether the findings have been filed, or are being.
    pub(super) following_up: bool,
}

impl Record {
    pub(super) fn of(run: &str, began: Timestamp, day: Date, id: BackupId) -> Self {
        Self {
            run: run.to_owned(),
            day,
            id,
            began,
            people: Vec::new(),
            cadence: None,
            last: None,
            called: false,
            incident: None,
            roll: None,
            statement_posted: false,
            hosted: None,
            token_refused: None,
            backup: None,
            copy: None,
            inventory: None,
            target: None,
            restore_began: None,
            restored: None,
            parity: None,
            smoke: Vec::new(),
            worked_at: None,
            checklist: None,
            rollback_confirmed: None,
            documents: Vec::new(),
            kept: Vec::new(),
            controls: Vec::new(),
            findings: Vec::new(),
            log: Vec::new(),
            gave_way: None,
            ended: None,
            following_up: false,
        }
    }

    /// Adds a line to `backup.log`.
    pub(super) fn log(&mut self, at: Timestamp, line: impl Into<String>) {
        self.log.push((at, line.into()));
    }

    pub(super) fn find(&mut self, topic: Topic, says: impl Into<String>) {
        self.findings.push(Finding::of(topic, says, self.day, &self.people));
    }

    pub(super) fn parity_holds(&self) -> bool {
        self.parity.as_ref().is_some_and(Parity::holds)
    }

    /// How a finding of the last exercise fared in this one.
    pub(super) fn fared(&self, finding: &LastFinding) -> Fared {
        if !finding.open {
            return Fared::Closed;
        }
        match finding.topic {
            Some(topic) if self.findings.iter().any(|one| one.topic == topic) => Fared::Again,
            Some(topic) if self.looked_for(topic) => Fared::NotAgain,
            _ => Fared::Carried,
        }
    }

    /// Whether the exercise got so far that it would have found this.
    fn looked_for(&self, topic: Topic) -> bool {
        match topic {
            Topic::ManifestToken | Topic::HostedBackups => self.hosted.is_some(),
            Topic::CopyTime => self.copy.as_ref().is_some_and(|part| !part.was_there),
            Topic::CopyContent => self.copy.is_some(),
            Topic::ObjectLists => self.inventory.is_some(),
            Topic::Acknowledgements => matches!(self.roll, Some(Roll::Read(_))),
            Topic::HoldingStatement => self.statement_posted,
            Topic::FreshBackup => self.backup.is_some(),
            Topic::Parity => self.parity.is_some(),
            Topic::SmokeTests => self.smoke.len() == SmokeTest::ALL.len(),
            Topic::RecoveryTime => self.recovery_time().is_ok(),
            Topic::DataAge => self.data_age().is_ok(),
            Topic::CutoverChecklist => self.checklist.is_some(),
            Topic::RollbackOwner => self.rollback_confirmed.is_some(),
            Topic::Documents => self.following_up,
            Topic::Exercise => self.ended.is_none() && self.following_up,
        }
    }

    fn tested(&self, is: fn(&Tried) -> bool) -> Vec<&'static str> {
        self.smoke.iter().filter(|(_, tried)| is(tried)).map(|(test, _)| test.title()).collect()
    }

    /// What the exercise proved, or what it did not.
    ///
    /// A smoke test for which staging has no door is a finding and does not stand in the way of the others; that there is a door
    /// for none of them does.
    ///
    /// A late or missing acknowledgement does not stand in the way: finding that out is what the call is for, and it was
    /// measured. Acknowledgements that could not be read do: then nobody knows.
    pub(super) fn resolution(&self) -> Result<String, Halt> {
        let refuted = |step: &str, says: String| Err(Halt::Refuted { step: step.to_owned(), says });
        let unverified = |step: &str, says: String| Err(Halt::Unverified { step: step.to_owned(), says });
        if let Some(parity) = self.parity.as_ref().filter(|parity| !parity.holds()) {
            return refuted(DR_B2.id, super::files::parity_says(parity));
        }
        let failed = self.tested(|tried| matches!(tried, Tried::Result(SmokeResult::Failed { .. })));
        if !failed.is_empty() {
            let says = format!("staging has the backup's content and does not work: {}", failed.join(", "));
            return refuted(DR_R1.id, says);
        }
        let unknown = self.tested(|tried| matches!(tried, Tried::Unknown { .. }));
        if !unknown.is_empty() {
            let says = format!("whether these work on staging is not known: {}", unknown.join(", "));
            return unverified(DR_R1.id, says);
        }
        let passed = self.tested(|tried| matches!(tried, Tried::Result(SmokeResult::Passed { .. })));
        if passed.is_empty() && !self.smoke.is_empty() {
            let says = "no smoke test could be made on staging, so nobody knows whether it works".to_owned();
            return unverified(DR_R1.id, says);
        }
        if let Some(Roll::Unread { says }) = &self.roll {
            return unverified(DR_N1.id, format!("who acknowledged is not known: {says}"));
        }
        Ok(self.proven())
    }

    fn proven(&self) -> String {
        let passed = self.tested(|tried| matches!(tried, Tried::Result(SmokeResult::Passed { .. })));
        let tables = self.parity.as_ref().map_or(0, |parity| parity.tables.len() as u64);
        let definitions = match self.parity.as_ref().map_or(0, |parity| parity.definitions) {
            0 => String::new(),
            n => format!(" and {}", count(n, "definition", "definitions")),
        };
        format!(
            "backup {} was restored from the bucket and staging is equal to its snapshot in {}{}; {} of {} smoke tests passed, {}",
            self.id,
            count(tables, "table", "tables"),
            definitions,
            passed.len(),
            SmokeTest::ALL.len(),
            count(self.findings.len() as u64, "finding", "findings")
        )
    }

    /// How it ended, in one sentence.
    pub(super) fn outcome(&self) -> String {
        match (&self.ended, self.resolution()) {
            (Some(why), _) => format!("ended early: {why}"),
            (None, Ok(says)) => format!("proven: {says}"),
            (None, Err(Halt::Refuted { says, .. })) => format!("refuted: {says}"),
            (None, Err(halt)) => format!("not proven: {halt}"),
        }
    }
}
