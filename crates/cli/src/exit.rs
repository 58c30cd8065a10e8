//! Exit codes, and the one message that an error is.

use std::process::ExitCode;

use allclear_core::PortError;
use allclear_engine::sqlite::{FindError, NotClosed};
use allclear_engine::{Halt, Outcome, Refusal, SeamError};

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Verified, or the command simply succeeded.
    Verified = 0,
    /// A defect, a damaged journal, a broken disk.
    Internal = 1,
    /// Something that was typed or configured cannot be used.
    Usage = 2,
    /// Finished without proof, or a service could not be used.
    Unverified = 10,
    /// A person must answer.
    Waiting = 11,
    /// A person said no, or ended it.
    Rejected = 12,
    /// Reading back showed that it is not so.
    Refuted = 13,
    /// What was done was taken back.
    Undone = 14,
    /// An effect may or may not have happened.
    InDoubt = 15,
    /// Drift, another run, a limit, a window.
    Refused = 16,
    /// A service failed or was away for too long; `resume` goes on.
    Interrupted = 17,
    /// The plan has changes (`--detailed-exitcode`).
    Changes = 20,
    /// The time given with `--timeout` passed; the run can be resumed.
    TimedOut = 124,
    /// Detached.
    Detached = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Verified => Self::Verified,
            Outcome::Unverified => Self::Unverified,
            Outcome::WaitingForHuman => Self::Waiting,
            Outcome::Rejected => Self::Rejected,
            Outcome::Refuted => Self::Refuted,
            Outcome::Undone => Self::Undone,
            Outcome::InDoubt => Self::InDoubt,
            Outcome::Refused => Self::Refused,
            Outcome::Detached => Self::Detached,
            Outcome::Interrupted => Self::Interrupted,
        }
    }
}

/// What went wrong, in one message that says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct CliError {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(Exit::Internal, message)
    }
}

impl From<SeamError> for CliError {
    fn from(error: SeamError) -> Self {
        let exit = match &error {
            SeamError::Locked { .. }
            | SeamError::Held { .. }
            | SeamError::Stopped(_)
            | SeamError::Differs { .. }
            | SeamError::Altered { .. }
            | SeamError::OtherTerms { .. }
            | SeamError::Owned { .. }
            | SeamError::OtherVersion { .. }
            | SeamError::OrderDiffers { .. }
            | SeamError::Ended { .. } => Exit::Refused,
            _ => Exit::Internal,
        };
        let hint = match &error {
            SeamError::Held { holder, .. } => format!(
                "; `allclear watch {holder}`, `allclear resume {holder}` or `allclear abort {holder}`"
            ),
            SeamError::Stopped(_) => ": `allclear lift-stop`".to_owned(),
            _ => String::new(),
        };
        Self::new(exit, format!("{error}{hint}"))
    }
}

impl From<FindError> for CliError {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Store(error) => error.into(),
            other => Self::usage(other.to_string()),
        }
    }
}

impl From<NotClosed> for CliError {
    fn from(error: NotClosed) -> Self {
        match error {
            NotClosed::Store(error) => error.into(),
            NotClosed::Whole { .. } => Self::new(Exit::Refused, error.to_string()),
        }
    }
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> Self {
        Self::new(Exit::Refused, refusal.to_string())
    }
}

impl From<PortError> for CliError {
    fn from(error: PortError) -> Self {
        Self::new(Exit::Unverified, error.to_string())
    }
}

impl From<Halt> for CliError {
    fn from(halt: Halt) -> Self {
        let exit = match halt.outcome() {
            None => Exit::Internal,
            // It stopped before there was a run that could be gone on with.
            Some(Outcome::Interrupted) => Exit::Unverified,
            Some(outcome) => outcome.into(),
        };
        Self::new(exit, format!("{halt}; nothing was changed"))
    }
}

/// Tells it: one line on stderr, or one JSON document on stdout.
pub(crate) fn report(error: &CliError, json: bool) -> ExitCode {
    if json {
        let document = serde_json::json!({ "schema": "allclear.error/1", "error": error.message, "exit_code": error.exit as u8 });
        crate::output::result(&document.to_string());
    }
    crate::output::say(&format!("allclear: {}", error.message));
    error.exit.into()
}
