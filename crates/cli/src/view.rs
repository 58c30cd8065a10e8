//! The live view, made from entries: one line for each thing that happened, and on a terminal one more that counts down.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use allclear_core::Clock;
use allclear_engine::journal::{Entry, Event};
use allclear_engine::report::told;
use allclear_engine::step::Phase;
use allclear_engine::{Step, Verdict};
use jiff::Timestamp;

use crate::output::visible;

/// What the line that counts down knows.
#[derive(Debug, Default)]
struct State {
    began: Option<Timestamp>,
    phase: Option<Phase>,
    step: String,
    waits: Option<(Timestamp, String)>,
    deadline: Option<Timestamp>,
}

/// Shows a run while it goes on.
#[derive(Clone)]
pub(crate) struct View {
    state: Arc<Mutex<State>>,
    steps: &'static [Step],
    on_terminal: bool,
}

impl View {
    pub(crate) fn of(steps: &'static [Step]) -> Self {
        let on_terminal = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { state: Arc::default(), steps, on_terminal }
    }

    /// Counts from the run's beginning, when another process showed that.
    pub(crate) fn beginning_at(self, began: Timestamp) -> Self {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).began = Some(began);
        self
    }

    /// Shows one entry.
    pub(crate) fn show(&self, entry: &Entry) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let began = *state.began.get_or_insert(entry.at);
        let mut err = std::io::stderr().lock();
        if self.on_terminal {
            let _ = write!(err, "\r\x1b[K");
        }
        let of = entry.event.of();
        if let Some(of) = of
            && state.phase != Some(of.phase)
        {
            state.phase = Some(of.phase);
            let _ = writeln!(err, "\n{}", of.phase.title());
        }
        if let Some(of) = of
            && state.step != of.step
        {
            state.step.clone_from(&of.step);
            let title = self.steps.iter().find(|step| step.id == of.step).map_or("", |step| step.title);
            let _ = writeln!(err, "  {} {title}", of.step);
        }
        let _ = writeln!(err, "    {} {}  {}", elapsed(began, entry.at), mark(&entry.event), told(entry));
        let _ = err.flush();
        state.waits = match &entry.event {
            Event::Slept { until, says, .. } => Some((*until, says.clone())),
            _ => None,
        };
        match &entry.event {
            Event::DeadlineSet { at, .. } => state.deadline = Some(*at),
            Event::DeadlinePassed { .. } => state.deadline = None,
            _ => {}
        }
    }

    /// Rewrites the last line while the run waits. Ends with the run.
    pub(crate) async fn count_down(&self, clock: Arc<dyn Clock>) {
        if !self.on_terminal {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((until, says)) = &state.waits else { continue };
            let now = clock.now();
            let mut line = format!("    … {} left: {says}", countdown(*until, now));
            if let Some(deadline) = state.deadline {
                line = format!("{line} (escalates in {})", countdown(deadline, now));
            }
            let mut err = std::io::stderr().lock();
            let cut: String = visible(&line).chars().take(110).collect();
            let _ = write!(err, "\r\x1b[K{cut}");
            let _ = err.flush();
        }
    }

    /// Clears the line that counts down.
    pub(crate) fn finish(&self) {
        if self.on_terminal {
            let mut err = std::io::stderr().lock();
            let _ = write!(err, "\r\x1b[K");
            let _ = err.flush();
        }
    }
}

fn mark(event: &Event) -> char {
    match event {
        Event::Judged { verdict: Verdict::Verified { .. }, .. } => '✓',
        Event::Judged { verdict: Verdict::Refuted { .. }, .. }
        | Event::Failed { .. }
        | Event::AnswerRefused { .. } => '✗',
        Event::Applied { .. } | Event::Reconciled { .. } => '+',
        Event::Asked { .. } | Event::InDoubt { .. } => '?',
        Event::DeadlinePassed { .. }
        | Event::WaitsLong { .. }
        | Event::Drifted { .. }
        | Event::NotAnnounced { .. }
        | Event::Owned { .. }
        | Event::GaveBack { untold: Some(_) } => '!',
        Event::Slept { .. } => '…',
        _ => '·',
    }
}

fn elapsed(began: Timestamp, at: Timestamp) -> String {
    let seconds = at.duration_since(began).as_secs().max(0);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds % 3600 / 60, seconds % 60)
}

fn countdown(until: Timestamp, now: Timestamp) -> String {
    let seconds = until.duration_since(now).as_secs().max(0);
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}
