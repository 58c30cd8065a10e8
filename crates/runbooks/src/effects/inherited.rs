//! What runs that have ended left for others to say: pages that are open, and alarms that are the last word in their channel. The
//! run itself may be gone with its machine, and goes on waking people. Whoever ends the incident says that it is over.
//!
//! A run's page and its line are known by its id, and the platform's record knows the runs.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::clock::before;
use allclear_core::incident::IncidentStatus;
use allclear_core::owner::Announced;
use allclear_core::ports::{Announcements, AuditLog, Chat, ChatMessage, Paging, Posted};
use allclear_core::{Platform, PortError};
use allclear_engine::{Evidence, Halt, Observation, Outcome, Probe, Proof, Run, Step};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::held::HOLDS;
use super::{PostMessage, ResolveIncident};

/// So many ended runs are asked about at most, the newest first.
const MOST_RUNS: usize = 5;
/// Only runs that began within this time: what is older was said by people.
const LATELY: Duration = Duration::from_hours(7 * 24);

/// An alarm that runs of a runbook raise, by what stands behind the run's id in its keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AlarmKeys {
    /// Of the page; none where nobody is paged.
    pub(crate) page: Option<&'static str>,
    /// Of the line in the operations channel.
    pub(crate) line: &'static str,
    /// Of the answer to that line.
    pub(crate) over: &'static str,
}

/// The alarm of a run that does not get on, which every runbook has.
pub(crate) const STUCK: AlarmKeys = AlarmKeys { page: Some("/stuck"), line: "/stuck", over: "/stuck/over" };

const ONLY_STUCK: &[AlarmKeys] = &[STUCK];

/// What one ended run left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Left {
    run: String,
    /// The dedup keys of its pages that are open.
    pages: Vec<String>,
    lines: Vec<Line>,
    /// It set out to pause campaigns, and the platform's audit log does not say how its incident ended.
    is_unrecorded: bool,
}

/// An alarm of it that nobody answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    posted: Posted,
    /// By which the answer is known.
    over: String,
}

impl Left {
    fn is_about_the_incident(&self) -> bool {
        let stuck = |key: &str| key.contains(STUCK.line);
        !self.pages.iter().all(|page| stuck(page)) || !self.lines.iter().all(|line| stuck(&line.over))
    }

    fn keep_what_is_about_the_run(&mut self) {
        self.pages.retain(|page| page.contains(STUCK.line));
        self.lines.retain(|line| line.over.contains(STUCK.line));
        self.is_unrecorded = false;
    }

    fn is_nothing(&self) -> bool {
        self.pages.is_empty() && self.lines.is_empty() && !self.is_unrecorded
    }
}

/// Looks for what ended runs of a runbook left.
struct LeftByEnded {
    announcements: Arc<dyn Announcements>,
    paging: Arc<dyn Paging>,
    chat: Arc<dyn Chat>,
    audit: Arc<dyn AuditLog>,
    channel: String,
    runbook: &'static str,
    alarms: &'static [AlarmKeys],
    whole: bool,
    run: String,
}

impl LeftByEnded {
    /// The newest runs that have ended, and not as verified.
    async fn ended(&self, now: Timestamp) -> Result<Vec<String>, PortError> {
        let announced = self.announcements.all(self.runbook).await?;
        let verified = Outcome::Verified.title();
        let is_one = |one: &&Announced| {
            let ended_otherwise = one.ended.as_ref().is_some_and(|end| end.how != verified);
            ended_otherwise && one.says.run != self.run && one.since > before(now, LATELY)
        };
        Ok(announced.iter().rev().filter(is_one).take(MOST_RUNS).map(|one| one.says.run.clone()).collect())
    }

    /// Which runs set out to pause campaigns.
    async fn pausers(&self) -> Result<Vec<String>, PortError> {
        let rows = self.audit.all_of(HOLDS, self.runbook).await?;
        Ok(rows.iter().filter_map(|(row, _)| row.diff["run"].as_str().map(str::to_owned)).collect())
    }

    async fn left_by(&self, run: &String, pausers: &[String]) -> Result<Left, PortError> {
        let of = |key: &str| format!("{}/{run}{key}", self.runbook);
        let (mut pages, mut lines) = (Vec::new(), Vec::new());
        for alarm in self.alarms {
            if let Some(page) = alarm.page.map(of)
                && let Some(incident) = self.paging.find(&page).await?
                && incident.status != IncidentStatus::Resolved
            {
                pages.push(page);
            }
            let over = of(alarm.over);
            if let Some(posted) = self.chat.find(&self.channel, &of(alarm.line)).await?
                && self.chat.find_reply(&self.channel, &posted, &over).await?.is_none()
                && self.chat.find(&self.channel, &over).await?.is_none()
            {
                lines.push(Line { posted, over });
            }
        }
        let is_unrecorded =
            pausers.contains(run) && self.audit.all_of("incident_resolution", run).await?.is_empty();
        Ok(Left { run: run.clone(), pages, lines, is_unrecorded })
    }
}

#[async_trait]
impl Probe for LeftByEnded {
    type Value = Vec<Left>;

    fn subject(&self) -> String {
        "alarms of ended runs".to_owned()
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Self::Value>, PortError> {
        let mut value = Vec::new();
        let ended = self.ended(now).await?;
        let pausers = if self.whole && !ended.is_empty() { self.pausers().await? } else { Vec::new() };
        for run in &ended {
            let left = self.left_by(run, &pausers).await?;
            if !left.is_nothing() {
                value.push(left);
            }
        }
        let says = if value.is_empty() && !self.whole {
            "no run that has ended says that it does not get on".to_owned()
        } else if value.is_empty() {
            "no run that has ended left an alarm".to_owned()
        } else {
            let runs: Vec<&str> = value.iter().map(|left| left.run.as_str()).collect();
            format!("alarms of runs that have ended are still out: {}", runs.join(", "))
        };
        let evidence = vec![Evidence::new("audit_log (PostgREST), PagerDuty and Slack", says.clone())];
        Ok(Observation { value, says, evidence })
    }
}

/// What the runs of a runbook may leave, and under which bullet that is ended.
pub(crate) struct Inherited<'a> {
    pub(crate) on: &'a Platform,
    pub(crate) runbook: &'static str,
    pub(crate) step: &'a Step,
    pub(crate) alarms: &'static [AlarmKeys],
    /// Whether this run is about all that those were about. One that is about less knows only that they do not wait any more.
    pub(crate) whole: bool,
}

impl Inherited<'_> {
    /// Where the incident is over, or there is none any more, what ended runs left is ended too. It comes last, so that waiting for a
    /// service holds nothing up. `seen` is whether an all-clear rests on something that works, and not on nothing to be seen.
    pub(crate) async fn end(
        &self,
        run: &mut Run,
        handled: Result<(String, Proof), Halt>,
        seen: bool,
    ) -> Result<(String, Proof), Halt> {
        match handled {
            Ok((says, proof)) => Ok((self.answer(run, true).await?.after(says), proof)),
            Err(Halt::NothingToDo { says }) => {
                let answered = self.answer(run, seen).await?;
                if answered.0.is_empty() {
                    return Err(Halt::NothingToDo { says });
                }
                Ok((answered.after(says), run.proof(self.step)?))
            }
            Err(other) => Err(other),
        }
    }

    /// The same for a procedure that says its end in words of its own.
    pub(crate) async fn end_beside<T>(&self, run: &mut Run, handled: &Result<T, Halt>) -> Result<(), Halt> {
        match handled {
            Ok(_) | Err(Halt::NothingToDo { .. }) => self.answer(run, true).await.map(drop),
            Err(_) => Ok(()),
        }
    }

    async fn answer(&self, run: &mut Run, is_over: bool) -> Result<Answered, Halt> {
        let mut left = match run.probe(self.step, self.look(run.id())).await {
            // A service that is away holds up no plan.
            Err(Halt::Failed { .. }) if run.is_plan() => Vec::new(),
            left => left?,
        };
        if !is_over {
            self.owe(run, &left).await?;
            left.iter_mut().for_each(Left::keep_what_is_about_the_run);
            left.retain(|one| !one.is_nothing());
        }
        for one in &left {
            for page in &one.pages {
                let resolve = ResolveIncident::of_ended(self.on, page, &one.run);
                let _ = run.attempt(self.step, resolve).await?;
            }
            for line in &one.lines {
                let over = self.over(run.id(), &one.run, line);
                let answer = PostMessage::of(self.on, over).in_thread_of(Some(line.posted.clone()));
                let _ = run.tell_last(self.step, answer).await?;
            }
        }
        // One that is about less says nothing of the rest.
        Ok(Answered(left.into_iter().filter(|_| self.whole).map(|one| one.run).collect()))
    }

    /// Nothing shows that it is over: whoever hears of it otherwise says so.
    async fn owe(&self, run: &mut Run, left: &[Left]) -> Result<(), Halt> {
        for one in left.iter().filter(|one| one.is_about_the_incident()) {
            let says = format!(
                "run {}, which has ended, told people of an incident, and this run saw nothing that shows that it is over: resolve its \
                 page and answer in {} once it is",
                one.run, self.on.limits.ops_channel
            );
            run.owe(self.step, &format!("alarms of run {}", one.run), says).await?;
        }
        Ok(())
    }

    fn look(&self, run: &str) -> LeftByEnded {
        LeftByEnded {
            announcements: Arc::clone(&self.on.announcements),
            paging: Arc::clone(&self.on.paging),
            chat: Arc::clone(&self.on.chat),
            audit: Arc::clone(&self.on.audit),
            channel: self.on.limits.ops_channel.clone(),
            runbook: self.runbook,
            alarms: if self.whole { self.alarms } else { ONLY_STUCK },
            whole: self.whole,
            run: run.to_owned(),
        }
    }

    fn over(&self, run: &str, ended: &str, line: &Line) -> ChatMessage {
        ChatMessage {
            channel: self.on.limits.ops_channel.clone(),
            text: format!("What run {ended} said here is over. Run {run}."),
            about: format!("{} is over", line.over.trim_end_matches("/over")),
            marker: line.over.clone(),
        }
    }
}

/// For which runs it was said that it is over.
struct Answered(Vec<String>);

impl Answered {
    fn after(&self, says: String) -> String {
        match self.0.len() {
            0 => says,
            1 => format!("{says}; what run {} had left open was ended with it", self.0[0]),
            _ => format!("{says}; what the runs {} had left open was ended with it", self.0.join(", ")),
        }
    }
}
