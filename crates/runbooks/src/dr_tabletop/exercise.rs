//! The exercise itself: its phases in order, each filling the record.

use std::time::Duration;

use allclear_core::Platform;
use allclear_core::platform::Recovery;
use allclear_core::recovery::{SmokeResult, SmokeTest};
use allclear_engine::{Approval, Because, Effect, Gate, Halt, Note, Observing, Outcome, Run, Step, Watch};
use jiff::Timestamp;

use super::backup::{
    CopyObjects, HostedList, KeptBackup, KeptCopy, Manifest, TakeBackup, backup_says, copy_says, has_whole,
    hosted_says, too_slow,
};
use super::cadence::Calendar;
use super::documents::WriteDocument;
use super::files::{KeepBeside, LOG, REPORT, ROWCOUNT, WriteFile, backup_log, parity_says, rowcount_csv};
use super::findings::Topic;
use super::notes::{NotesPlace, PlaceOfNotes};
use super::notify::{ACKNOWLEDGE_WITHIN, CallIn, OwnIncident, Roll, RollCall, everybody};
use super::prepare::{FreeId, LastTime, LookedAgain, Roles};
use super::record::{Part, Record, Tried};
use super::rehearse::{Checklist, Confirmed, CutoverItems, TryOut, result_says};
use super::report::report;
use super::restore::{
    Comparison, InStaging, ParityCheck, RestoreBackup, as_refusal, must_be_as_confirmed, must_be_fit,
    restored_says, server_says,
};
use super::words::{count, parts, span, together};
use super::{
    DR_B1, DR_B2, DR_C1, DR_F1, DR_F2, DR_L1, DR_L2, DR_N1, DR_N2, DR_P1, DR_P2, DR_R1, DR_R2, refused, texts,
};
use crate::effects::{PageSomebody, PostMessage, ResolveIncident};

/// How often acknowledgements are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Log entries appear a little after the fact.
const LOG_LAG: Duration = Duration::from_secs(30);
/// How often, and how long, a new token is tried before a person is asked again.
const TRY_TOKEN_EVERY: Duration = Duration::from_secs(15);
const TRY_TOKEN_FOR: Duration = Duration::from_mins(2);
/// How often a person is asked for a new token.
const MOST_ROTATIONS: u32 = 5;
/// How far the database's clock may be behind ours.
const CLOCK_SKEW: Duration = Duration::from_mins(1);

/// What the exercise owes to whoever sees its page.
const OWN_INCIDENT: &str = "page DR-Tabletop";

/// An exercise while it is held.
pub(super) struct Tabletop<'a> {
    pub(super) on: &'a Platform,
    pub(super) recovery: &'a Recovery,
    pub(super) record: Record,
    /// Whether a person named the backup; else it has the day's first free id.
    pub(super) named: bool,
}

impl Tabletop<'_> {
    /// The written runbook's phases, in order.
    pub(super) async fn hold(&mut self, run: &mut Run) -> Result<(), Halt> {
        self.prepare(run).await?;
        self.call_everybody(run).await?;
        self.back_up(run).await?;
        self.restore(run).await?;
        // What does not hold the backup's content is not worth a smoke test.
        if self.record.parity_holds() || run.is_plan() {
            self.try_staging(run).await?;
            self.review_cutover(run).await?;
        }
        self.draft(run).await?;
        self.follow_up(run).await
    }

    async fn prepare(&mut self, run: &mut Run) -> Result<(), Halt> {
        let day = self.record.day;
        self.record.cadence = Some(run.probe(&DR_P1, Calendar { day }).await?);
        let cast = run.probe(&DR_P2, Roles::of(self.recovery)).await?;
        if !cast.missing.is_empty() {
            let titles: Vec<&str> = cast.missing.iter().map(|role| role.title()).collect();
            let what = format!(
                "nobody is {}; name a participant with a PagerDuty user",
                titles.join(", nobody is ")
            );
            return Err(refused(&what));
        }
        self.record.people = cast.people;
        self.refuse_beside_a_real_incident(run).await?;
        if let Some(place) = PlaceOfNotes::of(self.recovery)
            && let Some(objection) = run.probe(&DR_F1, place).await?
        {
            return Err(refused(&objection));
        }
        let last = run.probe(&DR_L1, LastTime::of(self.recovery)).await?;
        // Before anybody is called: a target that is not fit needs no exercise to find that out.
        let check = run.probe(&DR_B1, Comparison::of(self.recovery, "target")).await?;
        must_be_fit(&check)?;
        if !self.named {
            self.record.id = run.probe(&DR_B1, FreeId::of(self.recovery, &self.record.id)).await?;
        }
        let open = last.findings.iter().filter(|one| one.open);
        let gate = Gate::new(
            format!(
                "Begin the exercise of {day}? Everybody is called. Not while a real incident is open.",
                day = self.record.day
            ),
            Approval::Approve,
        )
        .about("begin")
        .showing(format!("backup {} from {} into {}", self.record.id, check.source, check.target));
        let gate = open.fold(gate, |gate, one| gate.showing(format!("last time: {}", one.says)));
        self.record.last = Some(last);
        run.approve(&DR_P2, gate).await?;
        let began =
            format!("Exercise of {}, run {}, backup {}", self.record.day, self.record.run, self.record.id);
        self.record.log(run.now(), began);
        Ok(())
    }

    async fn call_everybody(&mut self, run: &mut Run) -> Result<(), Halt> {
        run.perform(&DR_N1, self.page()).await?;
        self.record.called = true;
        let says = "the exercise's own incident is still open in PagerDuty: resolve it, before somebody takes it for a real one";
        run.owe(&DR_N1, OWN_INCIDENT, says).await?;
        let own = OwnIncident::of(self.recovery, &texts::dedup_key(&self.record));
        self.record.incident = run.probe(&DR_N1, own).await?;
        let incident = self.record.incident.as_ref().map(|incident| incident.id.clone());
        let call_in = CallIn::everybody(self.recovery, incident.as_deref(), &self.record.people);
        let called = unproven_is_a_finding(run, &DR_N1, call_in).await;
        self.unless_done(called, Topic::Acknowledgements, "not everybody was asked to respond")?;
        let draft = PostMessage::of(self.on, texts::holding_statement(self.recovery, &self.record));
        let posted = unproven_is_a_finding(run, &DR_N2, draft).await;
        let what = "the holding statement's draft is not in the status channel";
        self.record.statement_posted = self.unless_done(posted, Topic::HoldingStatement, what)?;
        self.wait_for_answers(run).await
    }

    /// The alert goes to the exercise's own service.
    fn page(&self) -> PageSomebody {
        let on = Platform { paging: std::sync::Arc::clone(&self.recovery.paging), ..self.on.clone() };
        PageSomebody::about(&on, texts::page(&self.record), "DR-Tabletop")
    }

    /// A thing that is not proven becomes a finding, and the exercise goes on. Returns whether it is proven.
    pub(super) fn unless_done(
        &mut self,
        done: Result<allclear_engine::Verdict, Halt>,
        topic: Topic,
        what: &str,
    ) -> Result<bool, Halt> {
        let why = match done {
            Ok(verdict) if verdict.is_verified() => return Ok(true),
            Ok(verdict) => verdict.says().to_owned(),
            Err(Halt::Failed { error, .. }) => error.to_string(),
            Err(Halt::Unverified { says, .. }) => says,
            Err(other) => return Err(other),
        };
        self.record.find(topic, format!("{what}: {why}"));
        Ok(false)
    }

    /// The roll as it is read at one moment; the reason why not where it cannot be.
    fn roll_call(&self, when: &'static str) -> Result<RollCall, String> {
        let incident =
            self.record.incident.as_ref().ok_or("PagerDuty does not show the exercise's incident")?;
        let opened = incident.created_at.ok_or("PagerDuty does not say when the incident was opened")?;
        Ok(RollCall::of(self.recovery, &incident.id, opened, &self.record.people, when))
    }

    async fn wait_for_answers(&mut self, run: &mut Run) -> Result<(), Halt> {
        if run.is_plan() {
            return Ok(());
        }
        let probe = match self.roll_call("acknowledgements") {
            Ok(probe) => probe,
            Err(says) => {
                self.record.roll = Some(Roll::Unread { says });
                return Ok(());
            }
        };
        let watch = Watch::every(LOOK_EVERY, ACKNOWLEDGE_WITHIN + LOG_LAG);
        let waited = run.until(&DR_N1, watch, Observing { probe, satisfied: |roll| everybody(roll) }).await;
        let read = match waited {
            Ok(roll) => Ok(roll),
            // Time is up. Who answered stands in the log; the exercise goes on without the others.
            Err(Halt::GaveUp { .. }) => match self.roll_call("acknowledgements in time") {
                Ok(probe) => run.probe(&DR_N1, probe).await,
                Err(says) => Err(Halt::Unverified { step: DR_N1.id.to_owned(), says }),
            },
            other => other,
        };
        self.record.roll = Some(match read {
            Ok(roll) => Roll::Read(roll),
            Err(Halt::Failed { error, .. }) => Roll::Unread { says: error.to_string() },
            Err(other) => return Err(other),
        });
        Ok(())
    }

    async fn back_up(&mut self, run: &mut Run) -> Result<(), Halt> {
        self.foresee_giving_way(run).await?;
        self.give_way(run, &DR_B1, "the backup").await?;
        self.read_hosted(run).await?;
        self.take_backup(run).await?;
        self.give_way(run, &DR_B1, "the copy of the buckets").await?;
        self.copy_buckets(run).await
    }

    async fn read_hosted(&mut self, run: &mut Run) -> Result<(), Halt> {
        let mut manifest = run.probe(&DR_B1, HostedList::of(self.recovery, "hosted backups")).await?;
        if let Manifest::TokenRefused { says } = &manifest {
            let says = says.clone();
            self.record
                .log(run.now(), format!("Hosted backups: refused, the access token is the cause: {says}"));
            let found =
                format!("the list of hosted backups was refused, the access token is the cause: {says}");
            self.record.find(Topic::ManifestToken, found);
            self.record.token_refused = Some(says.clone());
            manifest = self.wait_for_token(run, &says).await?;
        }
        let Manifest::Seen { hosted } = manifest else { return Ok(()) };
        self.record.log(run.now(), format!("Hosted backups: {}", hosted_says(&hosted)));
        if !has_whole(&hosted) {
            self.record.find(Topic::HostedBackups, "the host has no completed backup of its own");
        }
        self.record.hosted = Some(hosted);
        Ok(())
    }

    /// Stops here until somebody has rotated the token. What is finished stays finished: the run goes on at this step, in
    /// this process or, with the new token configured, in the next.
    async fn wait_for_token(&self, run: &mut Run, says: &str) -> Result<Manifest, Halt> {
        for round in 1..=MOST_ROTATIONS {
            let gate = Gate::new(
                "The host refuses the access token, so the list of hosted backups cannot be read. Has it been rotated?",
                Approval::Approve,
            )
            .about(format!("token {round}"))
            .showing(says)
            .showing("make a new one in the dashboard and put it where the configuration reads it; a process that read the old one must be ended and the run resumed");
            run.approve(&DR_B1, gate).await?;
            let probe = HostedList::of(self.recovery, format!("hosted backups with new token {round}"));
            let watch = Watch::every(TRY_TOKEN_EVERY, TRY_TOKEN_FOR);
            match run.until(&DR_B1, watch, Observing { probe, satisfied: Manifest::is_seen }).await {
                Err(Halt::GaveUp { .. }) => {}
                other => return other,
            }
        }
        let says =
            format!("the access token is still refused after it was rotated {MOST_ROTATIONS} times: {says}");
        Err(Halt::Unverified { step: DR_B1.id.to_owned(), says })
    }

    async fn take_backup(&mut self, run: &mut Run) -> Result<(), Halt> {
        let before = run.now();
        let taken = run.perform(&DR_B1, TakeBackup::of(self.recovery, &self.record.id)).await?;
        let was_there = taken.is_none();
        let kept = match taken {
            Some(backup) => Some(backup),
            None => run.probe(&DR_B1, KeptBackup::of(self.recovery, &self.record.id)).await?,
        };
        let Some(backup) = kept else { return not_there(run, &DR_B1, "the bucket does not have the backup") };
        if backup.snapshot_at + CLOCK_SKEW < self.record.began {
            let says = format!(
                "backup {} was taken at {}, before this exercise; name another with --set backup=ID for one of its own",
                backup.id, backup.snapshot_at
            );
            self.record.find(Topic::FreshBackup, says);
        }
        let runtime = together(&backup.took).unwrap_or_else(|| since(run, before));
        let line = runtime_line("Backup", &backup_says(&backup), runtime, &parts(&backup.took), was_there);
        self.record.log(run.now(), line);
        self.record.backup = Some(Part { what: backup, runtime, was_there });
        Ok(())
    }

    async fn copy_buckets(&mut self, run: &mut Run) -> Result<(), Halt> {
        let before = run.now();
        let copied = run.perform(&DR_B1, CopyObjects::of(self.recovery, &self.record.id)).await?;
        let was_there = copied.is_none();
        let kept = match copied {
            Some(copy) => Some(copy),
            None => run.probe(&DR_B1, KeptCopy::of(self.recovery, &self.record.id)).await?,
        };
        let Some(copy) = kept else { return not_there(run, &DR_B1, "the bucket does not have the copy") };
        let runtime = together(&copy.took).unwrap_or_else(|| since(run, before));
        if copy.objects == 0 {
            self.record.find(Topic::CopyContent, "the copy of the buckets holds no object");
        }
        let budget = self.recovery.exercise.copy_budget;
        if runtime > budget && !was_there {
            self.record.find(Topic::CopyTime, too_slow(&copy, runtime, budget));
        }
        let line = runtime_line("Storage sync", &copy_says(&copy), runtime, &parts(&copy.took), was_there);
        self.record.log(run.now(), line);
        self.record.copy = Some(Part { what: copy, runtime, was_there });
        self.compare_lists(run).await
    }

    async fn restore(&mut self, run: &mut Run) -> Result<(), Halt> {
        self.give_way(run, &DR_R1, "the question for the restore").await?;
        let check = run.probe(&DR_R1, Comparison::of(self.recovery, "before the restore")).await?;
        self.record.target = Some(check.clone());
        must_be_fit(&check)?;
        let id = self.record.id.clone();
        let gate = Gate::new(
            format!("Restore backup {id} into this database? What it holds now is put aside."),
            Approval::Approve,
        )
        .about("restore")
        .confirmed_by(
            Approval::Approve,
            "the target's project ref, or database@host where it has none",
            &check.confirmation,
        )
        .showing(format!("from: backup {id}, read from the bucket"))
        .showing(format!("source: {}", server_says(&check.source)))
        .showing(format!("target: {}", server_says(&check.target)));
        let restore = RestoreBackup::into_confirmed(self.recovery, &id, &check);
        run.approve(&DR_R1, gate.covering(&restore)).await?;
        self.give_way(run, &DR_R1, "the restore").await?;
        let now = run.probe(&DR_R1, Comparison::of(self.recovery, "after the confirmation")).await?;
        must_be_as_confirmed(&check, &now)?;
        self.record.log(run.now(), format!("Target: {}, compared and confirmed", server_says(&check.target)));

        let before = run.now();
        self.record.restore_began = Some(before);
        let restored = run.perform(&DR_R1, restore).await.map_err(as_refusal)?;
        let was_there = restored.is_none();
        let held = match restored {
            Some(restored) => Some(restored),
            None => run.probe(&DR_R1, InStaging::of(self.recovery, &id)).await?,
        };
        if let Some(restored) = held {
            let runtime = together(&restored.took).unwrap_or_else(|| since(run, before));
            let says = restored_says(&restored);
            self.record
                .log(run.now(), runtime_line("Restore", &says, runtime, &parts(&restored.took), was_there));
            for note in &restored.notes {
                self.record.log(run.now(), format!("Restore: {note}"));
            }
            self.record.restored = Some(Part { what: restored, runtime, was_there });
        } else {
            not_there(run, &DR_R1, "staging does not hold the backup")?;
        }
        self.compare_and_keep(run).await
    }

    /// Whatever the comparison comes to, its figures are kept before anything follows from it.
    async fn compare_and_keep(&mut self, run: &mut Run) -> Result<(), Halt> {
        let mut csv = String::new();
        if !run.is_plan() {
            let parity = run.probe(&DR_B2, ParityCheck::of(self.recovery, &self.record.id)).await?;
            csv = rowcount_csv(&parity).map_err(|error| Halt::Failed {
                step: DR_B2.id.to_owned(),
                error,
                tries: 1,
            })?;
            let word = if parity.holds() { "proven" } else { "NOT proven" };
            let line = format!("Parity: {}, runtime {}", parity_says(&parity), span(parity.took));
            self.record.log(run.now(), line);
            for says in &parity.changed {
                self.record.log(run.now(), format!("Parity: changed on purpose: {says}"));
            }
            for masked in &parity.masked {
                self.record.log(run.now(), format!("Parity: masked: {}", masked.says()));
            }
            for says in &parity.not_compared {
                self.record.log(run.now(), format!("Parity: not compared: {says}"));
            }
            self.record.log(run.now(), format!("Backup, restore and parity: {word}"));
            if !parity.holds() {
                self.record.find(Topic::Parity, parity_says(&parity));
            }
            self.record.parity = Some(parity);
        }
        self.keep(run, ROWCOUNT, csv, "row counts and contents of every table, side by side").await?;
        let log = backup_log(&self.record);
        self.keep(run, LOG, log, "each step with its runtime and destination").await
    }

    /// Keeps a file with the run and beside the backup.
    async fn keep(
        &mut self,
        run: &mut Run,
        name: &'static str,
        content: String,
        says: &str,
    ) -> Result<(), Halt> {
        let destination = self
            .record
            .backup
            .as_ref()
            .map_or_else(|| self.recovery.exercise.destination.clone(), |part| part.what.destination.clone());
        run.perform(&DR_B2, WriteFile::of(self.on, name, content.clone())).await?;
        let beside = KeepBeside::of(self.recovery, &self.record.id, &destination, name, content.clone());
        run.perform(&DR_B2, beside).await?;
        self.record.kept.push(format!("{name}, with the run and beside the backup at {destination}"));
        self.keep_as_evidence(run, &DR_B2, name, content).await?;
        run.note(&DR_B2, Note::Artifact { name: name.to_owned(), says: says.to_owned() }).await
    }

    async fn try_staging(&mut self, run: &mut Run) -> Result<(), Halt> {
        self.give_way(run, &DR_R1, "the smoke tests").await?;
        for test in SmokeTest::ALL {
            let effect = TryOut::of(self.recovery, test, &self.record.run);
            let tried = match run.attempt(&DR_R1, effect.excused(Because::FiledAsFinding)).await {
                Ok(settled) => match settled.receipt() {
                    Some(result) => Tried::Result(result.clone()),
                    None if run.is_plan() => continue,
                    None => Tried::Unknown { says: settled.verdict().says().to_owned() },
                },
                Err(Halt::Failed { error, .. }) => Tried::Unknown { says: error.to_string() },
                Err(Halt::Unverified { says, .. }) => Tried::Unknown { says },
                Err(other) => return Err(other),
            };
            let title = test.title();
            match &tried {
                Tried::Result(SmokeResult::Passed { .. }) => self.record.worked_at = Some(run.now()),
                Tried::Result(result) => {
                    self.record.find(Topic::SmokeTests, format!("{title}: {}", result_says(result)));
                }
                Tried::Unknown { says } => {
                    self.record.find(Topic::SmokeTests, format!("{title}: not known: {says}"));
                }
            }
            self.record.smoke.push((test, tried));
        }
        Ok(())
    }

    /// Read, shown and reviewed. There is nothing here that could execute an item.
    async fn review_cutover(&mut self, run: &mut Run) -> Result<(), Halt> {
        self.give_way(run, &DR_R2, "the review of the cutover").await?;
        let path = self.recovery.exercise.cutover_checklist.clone();
        let items = run.probe(&DR_R2, CutoverItems::of(self.recovery)).await?;
        let mut reviewed = false;
        match items.as_deref() {
            None | Some([]) => {
                self.record.find(Topic::CutoverChecklist, format!("there is no cutover checklist at {path}"));
            }
            Some(items) => {
                let question = format!(
                    "Has everybody reviewed these {} of the cutover checklist? Nothing is executed.",
                    count(items.len() as u64, "item", "items")
                );
                let gate = Gate::new(question, Confirmed::Yes).about("checklist");
                let gate = items.iter().fold(gate, |gate, item| gate.showing(item.clone()));
                reviewed = run.ask(&DR_R2, gate).await? == Confirmed::Yes;
                if !reviewed {
                    self.record.find(Topic::CutoverChecklist, "the cutover checklist was not reviewed");
                }
            }
        }
        self.record.checklist = Some(Checklist { path, items, reviewed });
        self.confirm_rollback_owner(run).await
    }

    async fn confirm_rollback_owner(&mut self, run: &mut Run) -> Result<(), Halt> {
        let owner = self.recovery.exercise.rollback_owner.trim();
        if owner.is_empty() {
            self.record.rollback_confirmed = Some(false);
            self.record.find(Topic::RollbackOwner, "no rollback owner is named");
            return Ok(());
        }
        let question = format!("Does {owner} know that they would take a cutover back, and agree?");
        let gate = Gate::new(question, Confirmed::Yes).about("rollback owner");
        let confirmed = run.ask(&DR_R2, gate).await? == Confirmed::Yes;
        if !confirmed {
            self.record.find(Topic::RollbackOwner, format!("{owner} was not confirmed as rollback owner"));
        }
        self.record.rollback_confirmed = Some(confirmed);
        Ok(())
    }

    async fn draft(&mut self, run: &mut Run) -> Result<(), Halt> {
        for (path, content) in [texts::STATUS_PAGE, texts::ESCALATION_EMAIL] {
            self.file(run, &DR_C1, WriteDocument::if_missing(self.recovery, path, content)).await?;
        }
        Ok(())
    }

    /// Writes a document; one that could not be written is a finding.
    async fn file(&mut self, run: &mut Run, step: &Step, write: WriteDocument) -> Result<(), Halt> {
        let path = write.path().to_owned();
        let written = unproven_is_a_finding(run, step, write).await;
        if self.unless_done(written, Topic::Documents, &format!("{path} was not written"))? {
            self.record.documents.push(path);
        }
        Ok(())
    }

    /// Files what was found, once everything is known.
    async fn follow_up(&mut self, run: &mut Run) -> Result<(), Halt> {
        self.record.following_up = true;
        self.read_late_answers(run).await?;
        self.find_who_was_late();
        self.hold_to_objectives(run).await?;
        self.look_again(run).await?;
        let place = NotesPlace::of(&self.recovery.exercise);
        let (mark, notes) = (texts::retro_mark(&self.record), texts::retro(&self.record, &place));
        self.file(run, &DR_F1, WriteDocument::retro(self.recovery, mark, notes)).await?;
        let controls = texts::controls(&self.record, run.is_plan());
        self.record.controls = controls.iter().map(|(mark, _)| *mark).collect();
        if !controls.is_empty() {
            self.file(run, &DR_F2, WriteDocument::controls(self.recovery, controls)).await?;
        }
        for finding in self.record.findings.clone() {
            run.note(&DR_F1, Note::OpenQuestion { says: finding.line() }).await?;
        }
        self.report(run).await?;
        self.close(run).await
    }

    /// Whoever was missing may have answered since: late is another thing than never.
    async fn read_late_answers(&mut self, run: &mut Run) -> Result<(), Halt> {
        let someone_missing = matches!(&self.record.roll, Some(Roll::Read(roll)) if everybody(roll).is_err());
        let Ok(probe) = self.roll_call("acknowledgements at the end") else { return Ok(()) };
        if !someone_missing {
            return Ok(());
        }
        match run.probe(&DR_N1, probe).await {
            Ok(roll) => self.record.roll = Some(Roll::Read(roll)),
            // What was read in time stands.
            Err(Halt::Failed { .. }) => {}
            Err(other) => return Err(other),
        }
        Ok(())
    }

    fn find_who_was_late(&mut self) {
        match self.record.roll.clone() {
            Some(Roll::Read(roll)) => {
                for one in roll.iter().filter(|one| !one.is_in_time()) {
                    self.record.find(Topic::Acknowledgements, one.says());
                }
            }
            Some(Roll::Unread { says }) => {
                self.record.find(Topic::Acknowledgements, format!("who acknowledged is not known: {says}"));
            }
            None => {}
        }
    }

    /// How the last exercise's findings fared, each told under its bullet where it has one.
    async fn look_again(&mut self, run: &mut Run) -> Result<(), Halt> {
        let Some(last) = self.record.last.clone() else { return Ok(()) };
        for (index, finding) in last.findings.into_iter().enumerate() {
            let step = if finding.topic == Some(Topic::CopyTime) { &DR_L2 } else { &DR_L1 };
            let fared = self.record.fared(&finding);
            run.probe(step, LookedAgain { number: index + 1, finding, fared }).await?;
        }
        Ok(())
    }

    async fn report(&mut self, run: &mut Run) -> Result<(), Halt> {
        let text = report(&self.record, &self.recovery.exercise);
        run.perform(&DR_R1, WriteFile::of(self.on, REPORT, text.clone())).await?;
        // The findings are filed already, so that what is left to do is told to whoever reads the run.
        if !self.keep_as_evidence(run, &DR_R1, REPORT, text).await? {
            let says = format!("put {REPORT} into the evidence's bucket by hand");
            run.note(&DR_R1, Note::OpenQuestion { says }).await?;
        }
        let says = "the tabletop report".to_owned();
        run.note(&DR_R1, Note::Artifact { name: REPORT.to_owned(), says }).await
    }

    /// Closes the exercise's own incident, so that nobody takes it for a real one.
    async fn close(&mut self, run: &mut Run) -> Result<(), Halt> {
        let close = ResolveIncident::of_page(&self.page()).excused(Because::FiledAsFinding);
        let closed = run.attempt(&DR_N1, close).await;
        if let Some(proof) = closed.as_ref().ok().and_then(|closed| closed.account().proof()) {
            run.close(&DR_N1, OWN_INCIDENT, "the exercise's incident is resolved", &proof).await?;
        }
        let done = closed.map(|closed| closed.verdict().clone());
        self.unless_done(done, Topic::Exercise, "the exercise's incident is still open").map(drop)
    }

    /// Tells how far it came when it ended early, once everybody was called. An end that can be resumed is none.
    pub(super) async fn end_early(&mut self, run: &mut Run, halt: &Halt) -> Result<(), Halt> {
        let is_end = halt.outcome().is_some_and(Outcome::is_final);
        if run.is_plan() || !is_end || !self.record.called || matches!(halt, Halt::Aborted { .. }) {
            return Ok(());
        }
        match self.wrap_up(run, halt).await {
            // Why it ended matters more than that its end could not be told; the journal has both.
            Ok(())
            | Err(Halt::Failed { .. } | Halt::Refused(_) | Halt::Unverified { .. } | Halt::Refuted { .. }) => {
                Ok(())
            }
            Err(other) => Err(other),
        }
    }

    async fn wrap_up(&mut self, run: &mut Run, halt: &Halt) -> Result<(), Halt> {
        self.record.ended = Some(halt.to_string());
        self.record.log(run.now(), format!("Ended early: {halt}"));
        if self.record.following_up {
            return self.close(run).await;
        }
        if self.record.kept.is_empty() {
            let log = WriteFile::of(self.on, LOG, backup_log(&self.record));
            run.attempt(&DR_B2, log).await?.proven(&DR_B2)?;
            self.record.kept.push(format!("{LOG}, with the run"));
        }
        // Somebody said no: a real incident, perhaps. They get their time back.
        if matches!(halt, Halt::Rejected { .. }) {
            self.report(run).await?;
            return self.close(run).await;
        }
        self.record.find(Topic::Exercise, format!("the exercise ended early: {halt}"));
        self.follow_up(run).await
    }
}

/// Performs something whose failing is a result of the exercise and filed as one.
pub(super) async fn unproven_is_a_finding<E: Effect>(
    run: &mut Run,
    step: &Step,
    effect: E,
) -> Result<allclear_engine::Verdict, Halt> {
    let settled = run.attempt(step, effect.excused(Because::FiledAsFinding)).await?;
    Ok(settled.verdict().clone())
}

/// In a plan nothing is there yet; in a run it must be.
fn not_there(run: &Run, step: &Step, says: &str) -> Result<(), Halt> {
    if run.is_plan() {
        return Ok(());
    }
    Err(Halt::Unverified { step: step.id.to_owned(), says: says.to_owned() })
}

fn since(run: &Run, before: Timestamp) -> Duration {
    run.now().duration_since(before).try_into().unwrap_or_default()
}

fn runtime_line(what: &str, says: &str, runtime: Duration, parts: &str, was_there: bool) -> String {
    if was_there {
        return format!("{what}: {says}, there before this run");
    }
    let parts = if parts.is_empty() { String::new() } else { format!(" ({parts})") };
    format!("{what}: {says}, runtime {}{parts}", span(runtime))
}
