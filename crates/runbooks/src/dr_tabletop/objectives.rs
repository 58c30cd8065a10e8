//! How long the recovery took and how old the data is that it brought back, beside the team's objectives and what earlier
//! exercises measured.
//!
//! | measure | from | to | by whose clock |
//! |---|---|---|---|
//! | recovery time, held to the RTO | the typed target was found as it was confirmed, right before the restore | the end of the last smoke test that passed | the run's: whatever the run waited for in between counts |
//! | age of the data, held to the RPO | the backup's snapshot | the beginning of the restore | production's and staging's, whose databases say when these were |
//!
//! The two people's questions before the restore are not in it: a team in earnest has decided already. Where staging is not equal
//! to the snapshot, or does not work, nothing was recovered, so there is no time to tell: that is said instead of a number.

use std::fmt;
use std::time::Duration;

use allclear_core::PortError;
use allclear_core::recovery::{Objectives, SmokeResult};
use allclear_engine::{Evidence, Halt, Observation, Probe, Run};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::DR_R1;
use super::exercise::Tabletop;
use super::findings::Topic;
use super::record::{Record, Tried};
use super::words::{read_span, span};

/// With so many earlier exercises this one is compared: a year of them.
const EARLIER: usize = 4;

/// What begins the line of the notes that holds the figures. People read it, and the next exercise does.
const LINE: &str = "Measured: ";
/// What stands there for a figure that there is none of.
const NOT_MEASURED: &str = "not measured";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    RecoveryTime,
    DataAge,
}

impl Measure {
    const ALL: [Self; 2] = [Self::RecoveryTime, Self::DataAge];

    fn objective(self, objectives: &Objectives) -> Option<Duration> {
        match self {
            Self::RecoveryTime => objectives.rto,
            Self::DataAge => objectives.rpo,
        }
    }

    /// What the objective is called.
    fn objective_name(self) -> &'static str {
        match self {
            Self::RecoveryTime => "RTO",
            Self::DataAge => "RPO",
        }
    }

    pub(super) fn topic(self) -> Topic {
        match self {
            Self::RecoveryTime => Topic::RecoveryTime,
            Self::DataAge => Topic::DataAge,
        }
    }

    fn of(self, record: &Record) -> Result<Duration, NotMeasured> {
        match self {
            Self::RecoveryTime => record.recovery_time(),
            Self::DataAge => record.data_age(),
        }
    }

    fn earlier(self, exercise: &Earlier) -> Option<Duration> {
        match self {
            Self::RecoveryTime => exercise.recovery_time,
            Self::DataAge => exercise.data_age,
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RecoveryTime => "recovery time",
            Self::DataAge => "age of the data",
        })
    }
}

/// Why there is no figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotMeasured {
    NothingRestored,
    RestoredBefore,
    NotEqual,
    NotWorking,
    BeginningUnknown,
    ClocksApart,
}

impl fmt::Display for NotMeasured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingRestored => "nothing was restored",
            Self::RestoredBefore => "staging held this backup before the exercise",
            Self::NotEqual => "staging is not equal to the snapshot, so nothing was recovered",
            Self::NotWorking => "not every smoke test that is possible passed, so nobody knows whether staging works",
            Self::BeginningUnknown => "staging does not say when the restore began",
            Self::ClocksApart => {
                "by staging's clock the restore began before production's clock says that the snapshot was taken; set both by NTP"
            }
        })
    }
}

/// What an earlier exercise measured, as its notes have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Earlier {
    /// Its heading, e.g. `2026-07-07 Tabletop`.
    held: String,
    recovery_time: Option<Duration>,
    data_age: Option<Duration>,
}

/// The figures of the last exercises, newest first, from notes whose sections begin with `heading`. Sections without figures are
/// passed over: they are older than these, or their exercise ended before.
pub(super) fn earlier(notes: &str, heading: &str) -> Vec<Earlier> {
    let mut all: Vec<Earlier> = Vec::new();
    let mut held = None;
    for line in notes.lines() {
        if let Some(title) = line.strip_prefix(heading) {
            held = Some(title.trim().to_owned());
        } else if let Some(figures) = line.trim().strip_prefix(LINE)
            && let Some(held) = held.take()
        {
            let figure = |measure: Measure| {
                let mut parts = figures.trim_end_matches('.').split(", ");
                let part = parts.find_map(|part| part.strip_prefix(&format!("{measure} ")));
                part.and_then(|part| read_span(part.split(" (").next().unwrap_or(part)))
            };
            let (recovery_time, data_age) = (figure(Measure::RecoveryTime), figure(Measure::DataAge));
            all.push(Earlier { held, recovery_time, data_age });
        }
    }
    all.retain(|one| one.recovery_time.is_some() || one.data_age.is_some());
    all.truncate(EARLIER);
    all
}

/// Those of one place, and behind them those of a place where notes stood before.
pub(super) fn and_before(mut newer: Vec<Earlier>, older: Vec<Earlier>) -> Vec<Earlier> {
    newer.extend(older);
    newer.truncate(EARLIER);
    newer
}

/// The line for the notes.
pub(super) fn line(record: &Record) -> String {
    let figures = Measure::ALL.map(|measure| match measure.of(record) {
        Ok(took) => format!("{measure} {} ({})", span(took), measure.objective_name()),
        Err(_) => format!("{measure} {NOT_MEASURED}"),
    });
    format!("{LINE}{}.", figures.join(", "))
}

/// One measure in one sentence: the figure, the objective, the last exercise.
fn says(measure: Measure, record: &Record, objectives: &Objectives) -> String {
    let took = match measure.of(record) {
        Ok(took) => took,
        Err(why) => return format!("{measure} {NOT_MEASURED}: {why}"),
    };
    let name = measure.objective_name();
    let kept = match measure.objective(objectives) {
        None => format!("no {name} is configured"),
        Some(objective) if took > objective => format!("{name} {}: missed", span(objective)),
        Some(objective) => format!("{name} {}: kept", span(objective)),
    };
    let last = record.earlier().iter().find_map(|one| Some((&one.held, measure.earlier(one)?)));
    let beside = last.map_or_else(
        || "no earlier exercise measured it".to_owned(),
        |(held, before)| format!("{} {held}", than(took, before)),
    );
    format!("{measure} {} ({kept}); {beside}", span(took))
}

/// How a duration is beside an earlier one, as words that an exercise's heading follows.
fn than(now: Duration, before: Duration) -> String {
    match now.cmp(&before) {
        std::cmp::Ordering::Less => format!("{} less than in", span(before.abs_diff(now))),
        std::cmp::Ordering::Equal => "the same as in".to_owned(),
        std::cmp::Ordering::Greater => format!("{} more than in", span(now.abs_diff(before))),
    }
}

/// All measures in sentences.
pub(super) fn sentences(record: &Record, objectives: &Objectives) -> Vec<String> {
    Measure::ALL.iter().map(|measure| says(*measure, record, objectives)).collect()
}

/// Rows of a table, this exercise first; none where no earlier one measured anything.
pub(super) fn rows(record: &Record) -> Vec<[String; 3]> {
    let cell = |figure: Option<Duration>| figure.map_or_else(|| NOT_MEASURED.to_owned(), span);
    let earlier = record.earlier();
    if earlier.is_empty() {
        return Vec::new();
    }
    let now = Measure::ALL.map(|measure| cell(measure.of(record).ok()));
    let [time, age] = now;
    let mut rows = vec![[format!("{} Tabletop (this one)", record.day), time, age]];
    rows.extend(earlier.iter().map(|one| [one.held.clone(), cell(one.recovery_time), cell(one.data_age)]));
    rows
}

/// What is known of it in the end, so that the journal has it: drawn from what the run recorded.
struct Figures {
    says: Vec<String>,
}

#[async_trait]
impl Probe for Figures {
    type Value = ();

    fn subject(&self) -> String {
        "recovery time and age of the data".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<()>, PortError> {
        let evidence = self.says.iter().map(|says| Evidence::new("this exercise's record", says.clone()));
        Ok(Observation { value: (), says: self.says.join("; "), evidence: evidence.collect() })
    }
}

impl Record {
    /// What earlier exercises measured.
    fn earlier(&self) -> &[Earlier] {
        self.last.as_ref().map_or(&[], |last| &last.earlier)
    }

    /// From the confirmed target to the end of the last smoke test that passed.
    pub(super) fn recovery_time(&self) -> Result<Duration, NotMeasured> {
        let restored = self.restored.as_ref().ok_or(NotMeasured::NothingRestored)?;
        if restored.was_there {
            return Err(NotMeasured::RestoredBefore);
        }
        if !self.parity_holds() {
            return Err(NotMeasured::NotEqual);
        }
        let works = |(_, tried): &_| {
            matches!(tried, Tried::Result(SmokeResult::Passed { .. } | SmokeResult::NotPossible { .. }))
        };
        let (Some(began), Some(worked)) = (self.restore_began, self.worked_at) else {
            return Err(NotMeasured::NotWorking);
        };
        if !self.smoke.iter().all(works) {
            return Err(NotMeasured::NotWorking);
        }
        Ok(worked.duration_since(began).try_into().unwrap_or_default())
    }

    /// From the snapshot to the beginning of the restore.
    pub(super) fn data_age(&self) -> Result<Duration, NotMeasured> {
        let restored = self.restored.as_ref().ok_or(NotMeasured::NothingRestored)?;
        if restored.was_there {
            return Err(NotMeasured::RestoredBefore);
        }
        let backup = self.backup.as_ref().ok_or(NotMeasured::NothingRestored)?;
        let began = restored.what.began_at.ok_or(NotMeasured::BeginningUnknown)?;
        began.duration_since(backup.what.snapshot_at).try_into().map_err(|_| NotMeasured::ClocksApart)
    }
}

impl Tabletop<'_> {
    /// An objective that was missed is a finding, and so is one of which nobody knows: unless the exercise ended early, which is a
    /// finding of its own.
    pub(super) async fn hold_to_objectives(&mut self, run: &mut Run) -> Result<(), Halt> {
        if run.is_plan() {
            return Ok(());
        }
        let objectives = self.recovery.exercise.objectives;
        run.probe(&DR_R1, Figures { says: sentences(&self.record, &objectives) }).await?;
        for measure in Measure::ALL {
            let Some(objective) = measure.objective(&objectives) else { continue };
            let missed = match measure.of(&self.record) {
                Ok(took) => took > objective,
                Err(_) => self.record.ended.is_none(),
            };
            if missed {
                let name = measure.objective_name();
                let says = match measure.of(&self.record) {
                    Ok(_) => says(measure, &self.record, &objectives),
                    Err(why) => {
                        format!("{measure} {NOT_MEASURED}, {name} {}: {why}", span(objective))
                    }
                };
                self.record.find(measure.topic(), says);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_the_notes_say_and_from_nothing_else() {
        let notes = "# Notes\n\n## 2026-10-06 Tabletop\n\nMeasured: recovery time 3 min 20 s (RTO), age of the data not measured.\n\n\
                     ## 2026-07-07 Tabletop\n\nNo figures.\n\n- [ ] Measured twice\n\n## 2026-04-07 Tabletop\n\n\
                     Measured: recovery time a while, age of the data 1 h 2 s (RPO).\n\nMeasured: recovery time 1 s.\n";
        let earlier = earlier(notes, "## ");
        let seen: Vec<_> =
            earlier.iter().map(|one| (one.held.as_str(), one.recovery_time, one.data_age)).collect();
        let expected = [
            ("2026-10-06 Tabletop", Some(Duration::from_secs(200)), None),
            ("2026-04-07 Tabletop", None, Some(Duration::from_secs(3_602))),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_last_exercises_are_the_newest_four() {
        let section =
            |n: u32| format!("## {n}\n\nMeasured: recovery time {n} s (RTO), age of the data 1 s.\n\n");
        let notes: String = (1..9).map(section).collect();
        let held: Vec<String> = earlier(&notes, "## ").into_iter().map(|one| one.held).collect();
        assert_eq!(held, ["1", "2", "3", "4"]);
    }
}
