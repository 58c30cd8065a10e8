//! One owner, also from two machines: a run says on the platform's own record that it goes on, and looks who else does.
//!
//! A store of runs knows the runs of one machine. What all machines share is the platform, so a run writes a row into its
//! audit log before it changes anything, and another when it has ended. The rows of a runbook are numbered, and a row's id is
//! made of runbook and number alone: two runs that begin at once insert the *same* id, the database keeps one, and reading it
//! back tells both whose it is. No clock and no order of arrival decides.
//!
//! A run is announced once in its life. Whoever finds its own row ended was killed between saying so and recording that, and
//! has nothing left to do but to record it; or somebody took it over, and then it goes on no more.
//!
//! A run's journal can be copied, and a copy that is older, or is taken up beside it, would do again what was done. So a run
//! also says there what it is about to do, before each effect, under an id made of the run and the effect's place in it:
//! of two copies the database keeps one's word, and the other one reads that it is another's.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::PortError;
use crate::ports::Announcements;

/// So often the next number is tried when the one before was taken and given back meanwhile.
const MOST_NUMBERS: u32 = 16;

/// What a run says of itself on the platform's record. No secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Its run.
    pub run: String,
    /// The runbook.
    pub runbook: String,
    /// Who started it.
    pub by: String,
    /// On which machine.
    pub host: String,
    /// What the platform is called there.
    #[serde(default)]
    pub environment: String,
}

/// The end of an announced run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How, in words: its outcome, or by whose word it is gone.
    pub how: String,
    /// Whether a person said so and not the run: it may be anywhere, and goes on no more.
    #[serde(default)]
    pub taken_over: bool,
}

impl Ended {
    /// The run itself came to its end.
    pub fn by_itself(how: impl Into<String>) -> Self {
        Self { how: how.into(), taken_over: false }
    }

    /// A person says that it is gone.
    pub fn taken_over(how: impl Into<String>) -> Self {
        Self { how: how.into(), taken_over: true }
    }
}

/// An announcement as the platform has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// Its number among those of its runbook.
    pub number: u32,
    /// What it says.
    pub says: Announcement,
    /// Since when, by the platform's clock.
    pub since: Timestamp,
    /// Whether its run has ended, and how.
    pub ended: Option<Ended>,
}

impl Announced {
    /// Whether its run has not ended.
    pub fn goes_on(&self) -> bool {
        self.ended.is_none()
    }
}

impl std::fmt::Display for Announced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Announcement { run, runbook, by, host, .. } = &self.says;
        let since = self.since.strftime("%Y-%m-%d %H:%M:%S UTC");
        write!(f, "run {run} of {runbook}, started by {by} on {host}, since {since} by the platform's clock")
    }
}

/// An effect, as its run says on the platform's record that it is about to apply it. No secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnouncedEffect {
    /// Its run.
    pub run: String,
    /// Which effect.
    pub effect: String,
    /// Which process of it: two copies of a journal never say the same.
    pub process: ProcessId,
    /// When the journal recorded that it was intended.
    pub intended_at: Timestamp,
    /// On which machine.
    pub host: String,
}

/// The name of one process of a run, which no other has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId(Uuid);

impl ProcessId {
    /// A new one.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

/// Where an effect stands among all that is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectPlace {
    /// The runbook.
    pub runbook: String,
    /// The run's number among those of its runbook, where it is announced.
    pub number: Option<u32>,
    /// The key under which its journal intends the effect.
    pub key: String,
}

/// What the record says once a run said that it is about to apply an effect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EffectFound {
    /// Whose word for that place there is; `None` where the platform lost it.
    pub effect: Option<AnnouncedEffect>,
    /// How the run has ended.
    pub ended: Option<Ended>,
}

/// The id of the row for the effect at this place of the run: the key under which its journal intends it.
pub fn effect_id(run: &str, key: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("allclear run {run}, effect {key}").as_bytes())
}

/// The id of the row that announces the run with this number.
pub fn started_id(runbook: &str, number: u32) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("allclear run of {runbook}, number {number}").as_bytes())
}

/// The id of the row that says that this run has ended.
pub fn ended_id(runbook: &str, number: u32) -> Uuid {
    Uuid::new_v5(
        &Uuid::NAMESPACE_OID,
        format!("allclear run of {runbook}, number {number}, ended").as_bytes(),
    )
}

/// Whose the runbook is on this platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The run's that asked, by the row with this number.
    Ours(u32),
    /// The run's that asked, and it has come to its end already.
    OursEnded(Announced),
    /// Another run's, which has not ended.
    Another(Announced),
    /// Another run's, which ended after the plan of the one that asked was made: that plan is of a world that is gone.
    Since(Announced),
    /// The run that asked was taken over by somebody's word.
    TakenOver(Announced),
    /// The platform accepted the row and does not have it: it loses rows of this table in silence.
    Unproven,
}

/// How many runs have ended. Counted before a plan is made, it tells afterwards whether the plan is still of this world: no
/// clock is asked.
pub fn ended_runs(all: &[Announced]) -> usize {
    all.iter().filter(|one| !one.goes_on()).count()
}

/// Announces a run, unless it is announced already, another run goes on, or more have ended than the `seen` ones.
pub async fn announce(
    on: &dyn Announcements,
    ours: &Announcement,
    seen: Option<usize>,
) -> Result<Owner, PortError> {
    for _ in 0..MOST_NUMBERS {
        let all = on.all(&ours.runbook).await?;
        if let Some(own) = all.iter().rfind(|one| one.says.run == ours.run) {
            return Ok(match &own.ended {
                None => Owner::Ours(own.number),
                Some(Ended { taken_over: true, .. }) => Owner::TakenOver(own.clone()),
                Some(_) => Owner::OursEnded(own.clone()),
            });
        }
        if let Some(other) = all.iter().find(|one| one.goes_on()) {
            return Ok(Owner::Another(other.clone()));
        }
        if let Some(last) = all.iter().rfind(|_| seen.is_some_and(|seen| ended_runs(&all) > seen)) {
            return Ok(Owner::Since(last.clone()));
        }
        let number = all.iter().map(|one| one.number + 1).max().unwrap_or(0);
        on.announce(number, ours).await?;
        // The row with this id is somebody's, and reading it tells whose.
        match on.all(&ours.runbook).await?.into_iter().find(|one| one.number == number) {
            None => return Ok(Owner::Unproven),
            Some(one) if one.says.run == ours.run => return Ok(Owner::Ours(number)),
            Some(one) if one.goes_on() => return Ok(Owner::Another(one)),
            // Somebody was faster and is through already.
            Some(_) => {}
        }
    }
    Ok(Owner::Unproven)
}

/// What became of saying that a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is on record now.
    Yes,
    /// No announcement of it stands: it never got through, or its end is on record already.
    NothingStands,
    /// The platform accepted the row and does not have it.
    Unproven,
}

/// Says that a run has ended, where it was announced, and reads that back.
pub async fn end(on: &dyn Announcements, runbook: &str, run: &str, ended: &Ended) -> Result<Told, PortError> {
    let all = on.all(runbook).await?;
    let Some(one) = all.iter().find(|one| one.says.run == run && one.goes_on()) else {
        return Ok(Told::NothingStands);
    };
    on.end(one, ended).await?;
    let now = on.all(runbook).await?;
    let stands = now.iter().any(|row| row.number == one.number && row.goes_on());
    Ok(if stands { Told::Unproven } else { Told::Yes })
}

#[cfg(all(test, feature = "mock"))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::ports::MockAnnouncements;

    fn of(run: &str) -> Announcement {
        let word = |text: &str| text.to_owned();
        Announcement {
            run: word(run),
            runbook: word("book"),
            by: word("kim"),
            host: word("desk"),
            environment: word("drill"),
        }
    }

    /// Both saw an empty record and inserted the same row; the database kept the other's.
    #[tokio::test]
    async fn d5_of_two_that_insert_the_same_number_the_one_whose_row_is_kept_goes_on() {
        for (kept, ours) in [("other", false), ("ours", true)] {
            let mut record = MockAnnouncements::new();
            let looks = AtomicUsize::new(0);
            record.expect_all().returning(move |_| {
                let since = Timestamp::UNIX_EPOCH;
                let row = Announced { number: 0, says: of(kept), since, ended: None };
                Ok(if looks.fetch_add(1, Ordering::Relaxed) == 0 { Vec::new() } else { vec![row] })
            });
            record.expect_announce().times(1).returning(|_, _| Ok(()));
            let owner = announce(&record, &of("ours"), None).await.unwrap();
            assert_eq!(matches!(owner, Owner::Ours(0)), ours, "{kept}: {owner:?}");
            assert_eq!(matches!(owner, Owner::Another(_)), !ours, "{kept}: {owner:?}");
        }
    }
}
