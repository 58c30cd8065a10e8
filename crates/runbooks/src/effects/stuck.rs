//! Telling somebody that a run waits long for a service or for a person, and that it does not wait any more.
//!
//! A run that is interrupted in the middle leaves campaigns paused and vouchers held, and nobody looks at a terminal at
//! night. It is a line in the operations channel and not a page: the incident itself has woken somebody already. Where the
//! line is not proven to have arrived, whoever is on call is paged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use allclear_core::Platform;
use allclear_core::incident::Severity;
use allclear_core::ports::{ChatMessage, Page};
use allclear_engine::{Escalation, Halt, Outcome, Run, Step};
use async_trait::async_trait;

use super::{Alarm, PostMessage, tell};

/// How long a run waits for failing services, all such waits together, before it tells somebody. Longer than a restart
/// takes, and well before the retry policy gives up.
const AFTER: Duration = Duration::from_mins(5);

/// What the alarm is about: tells it apart from the runbook's own.
const ABOUT: &str = "stuck";

/// Tells the operations channel that a run waits for a service.
pub(crate) struct Stuck {
    on: Platform,
    step: Step,
    runbook: &'static str,
    alarm: Alarm,
    answered: AtomicBool,
}

impl Stuck {
    /// Has it told for the whole run. `step` is the bullet that it is told under.
    pub(crate) async fn watch(
        run: &mut Run,
        on: &Platform,
        step: &Step,
        runbook: &'static str,
    ) -> Result<Arc<Self>, Halt> {
        let stuck = Arc::new(Self {
            on: on.clone(),
            step: *step,
            runbook,
            alarm: Alarm::of(on, ABOUT),
            answered: AtomicBool::new(false),
        });
        run.when_stuck(AFTER, stuck.clone()).await?;
        run.when_not_so(Arc::new(Relapsed { on: on.clone(), step: *step, runbook }));
        Ok(stuck)
    }

    /// Says that it is over, once and where it was told, before the procedure resolves or ends another way for good and after its last
    /// row. Where it can be
    /// resumed it is not over, and whoever ended the run by hand knows.
    pub(crate) async fn over(&self, run: &mut Run, halt: Option<&Halt>) -> Result<(), Halt> {
        let goes_on = |halt: &Halt| !halt.outcome().is_some_and(Outcome::is_final);
        match halt {
            Some(halt) if goes_on(halt) || matches!(halt, Halt::Aborted { .. }) => Ok(()),
            _ if !self.alarm.is_raised() || self.answered.swap(true, Ordering::Relaxed) => Ok(()),
            _ => self.alarm.answer_beside(run, "The run gets on again.").await,
        }
    }
}

#[async_trait]
impl Escalation for Stuck {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        let message = message(&self.on.limits.ops_channel, self.runbook, run.id(), &run.waits_for());
        let page = page(self.runbook, run.id(), &run.waits_for());
        let told = "people were told that the run does not get on".to_owned();
        let untold = "nobody was told that the run does not get on: look after it by hand".to_owned();
        self.alarm.mention(run, &self.step, message, page, (told, untold)).await.map(drop)
    }
}

/// Tells the operations channel that the look before the end found otherwise than what people may have heard.
struct Relapsed {
    on: Platform,
    step: Step,
    runbook: &'static str,
}

#[async_trait]
impl Escalation for Relapsed {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        let about = "not so any more";
        let message = ChatMessage {
            channel: self.on.limits.ops_channel.clone(),
            text: format!(
                "Run {} of {} ends as refuted. By its last look: {}.",
                run.id(),
                self.runbook,
                run.not_so()
            ),
            about: about.to_owned(),
            marker: format!("{}/{}/{about}", self.runbook, run.id()),
        };
        let posted = tell(run, &self.step, PostMessage::of(&self.on, message)).await?;
        let (told, untold) = (
            "people were told what is not so any more",
            "nobody was told what is not so any more: tell them by hand",
        );
        run.told(&self.step, told, untold, &[posted.account()]).await.map(drop)
    }
}

fn message(channel: &str, runbook: &str, run: &str, waits_for: &str) -> ChatMessage {
    ChatMessage {
        channel: channel.to_owned(),
        text: format!("{} {}", summary(runbook, run), details(run, waits_for)),
        about: ABOUT.to_owned(),
        marker: format!("{runbook}/{run}/{ABOUT}"),
    }
}

fn page(runbook: &str, run: &str, waits_for: &str) -> Page {
    Page {
        dedup_key: format!("{runbook}/{run}/{ABOUT}"),
        summary: summary(runbook, run),
        severity: Severity::Error,
        source: "allclear".to_owned(),
        details: details(run, waits_for),
    }
}

fn summary(runbook: &str, run: &str) -> String {
    format!("Run {run} of {runbook} does not get on.")
}

fn details(run: &str, waits_for: &str) -> String {
    let what = if waits_for.is_empty() { "a call fails again and again" } else { waits_for };
    format!(
        "It waits: {what}. What it has changed so far stays as it is. Should it be interrupted, `allclear resume {run}` goes on there."
    )
}
