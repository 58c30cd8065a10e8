//! Who takes part, what the last exercise found, and how that fared in this one.

use std::sync::Arc;

use allclear_core::PortError;
use allclear_core::platform::Recovery;
use allclear_core::ports::{DatabaseBackups, Documents, ObjectCopies};
use allclear_core::recovery::{BackupId, Participant, Role};
use allclear_engine::{Evidence, Observation, Probe};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::findings::{Fared, LastFinding, LastFindings};
use super::notes::NotesPlace;
use super::objectives::and_before;
use super::words::count;

/// Everybody who takes part, and the roles that nobody has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cast {
    pub(super) people: Vec<Participant>,
    pub(super) missing: Vec<Role>,
}

/// Looks up who has which role.
pub(super) struct Roles {
    people: Vec<Participant>,
}

impl Roles {
    pub(super) fn of(recovery: &Recovery) -> Self {
        let mut people = recovery.exercise.participants.clone();
        people.sort_by_key(|one| one.role);
        Self { people }
    }
}

#[async_trait]
impl Probe for Roles {
    type Value = Cast;

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Cast>, PortError> {
        let has = |role: Role| {
            self.people.iter().any(|one| one.role == role && !one.pagerduty_user.trim().is_empty())
        };
        let missing: Vec<Role> = Role::ALL.into_iter().filter(|role| !has(*role)).collect();
        let named: Vec<String> = self.people.iter().map(|one| format!("{} {}", one.role, one.name)).collect();
        let says = if missing.is_empty() {
            format!("all roles are filled: {}", named.join(", "))
        } else {
            let titles: Vec<&str> = missing.iter().map(|role| role.title()).collect();
            format!("nobody with a PagerDuty user is {}", titles.join(", nobody "))
        };
        let evidence = vec![Evidence::new("participants (configuration)", named.join(", "))];
        Ok(Observation { value: Cast { people: self.people.clone(), missing }, says, evidence })
    }
}

/// Reads what the last exercise found: from the team's notes, or where there are none yet, from the written runbook.
pub(super) struct LastTime {
    documents: Arc<dyn Documents>,
    place: NotesPlace,
}

impl LastTime {
    pub(super) fn of(recovery: &Recovery) -> Self {
        let place = NotesPlace::of(&recovery.exercise);
        Self { documents: Arc::clone(&recovery.documents), place }
    }

    /// What stands at one place, if anything does.
    async fn read(&self, place: &NotesPlace) -> Result<Option<LastFindings>, PortError> {
        let document = self.documents.read(place.path()).await?;
        let notes = place.notes(document.as_deref());
        let notes = notes.map_err(|error| error.into_port_error(place.path()))?;
        Ok(notes.and_then(|notes| LastFindings::read(notes, place.heading())))
    }

    /// A team that names its runbook file has notes of before in the document of their own: they are read until there are newer ones.
    async fn before(&self) -> Result<Option<LastFindings>, PortError> {
        if self.place == NotesPlace::Own { Ok(None) } else { self.read(&NotesPlace::Own).await }
    }
}

#[async_trait]
impl Probe for LastTime {
    type Value = LastFindings;

    async fn observe(&self, _now: Timestamp) -> Result<Observation<LastFindings>, PortError> {
        let (newest, before) = (self.read(&self.place).await?, self.before().await?);
        let (source, last) = match (newest, before) {
            (Some(newest), before) => {
                let before = before.map(|last| last.earlier).unwrap_or_default();
                let earlier = and_before(newest.earlier, before);
                (self.place.path(), LastFindings { earlier, ..newest })
            }
            (None, Some(before)) => (NotesPlace::Own.path(), before),
            (None, None) => ("the written runbook", LastFindings::written()),
        };
        let open = last.findings.iter().filter(|finding| finding.open).count() as u64;
        let says = format!("{}: {} open", last.held, count(open, "finding", "findings"));
        let evidence =
            last.findings.iter().map(|finding| Evidence::new(source, finding.says.clone())).collect();
        Ok(Observation { value: last, says, evidence })
    }
}

/// The first id of the day under which neither a backup nor a copy stands whole: a second exercise takes one of its own.
pub(super) struct FreeId {
    backups: Arc<dyn DatabaseBackups>,
    copies: Arc<dyn ObjectCopies>,
    first: BackupId,
}

/// Under which the journal has the id that was found free.
pub(super) const BACKUP_ID: &str = "backup id";

/// So many exercises a day have an id of their own.
const MOST_A_DAY: u32 = 50;

impl FreeId {
    pub(super) fn of(recovery: &Recovery, first: &BackupId) -> Self {
        let (backups, copies) = (Arc::clone(&recovery.backups), Arc::clone(&recovery.copies));
        Self { backups, copies, first: first.clone() }
    }
}

#[async_trait]
impl Probe for FreeId {
    type Value = BackupId;

    fn subject(&self) -> String {
        BACKUP_ID.to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<BackupId>, PortError> {
        let mut id = self.first.clone();
        for number in 2..=MOST_A_DAY {
            if self.backups.find(&id).await?.is_none() && self.copies.find(&id).await?.is_none() {
                break;
            }
            // Digits and a dash more: still an id.
            id = format!("{}-{number}", self.first).parse().unwrap_or(id);
        }
        let says = format!("the backup of this exercise is {id}");
        let evidence = vec![Evidence::new("the bucket", says.clone())];
        Ok(Observation { value: id, says, evidence })
    }
}

/// How one finding of the last exercise fared: drawn from what this one recorded, so that the journal has it under the
/// finding's own bullet.
pub(super) struct LookedAgain {
    /// Which finding of the last exercise, from 1.
    pub(super) number: usize,
    pub(super) finding: LastFinding,
    pub(super) fared: Fared,
}

#[async_trait]
impl Probe for LookedAgain {
    type Value = ();

    fn subject(&self) -> String {
        format!("finding {}", self.number)
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<()>, PortError> {
        let says = format!("last time: {}; this time: {}", self.finding.says, self.fared.says());
        let evidence = vec![Evidence::new("this exercise's record", self.fared.says())];
        Ok(Observation { value: (), says, evidence })
    }
}
