//! What a call came to, in one word.

use allclear_core::PortError;
use allclear_core::error::StopReason;

/// The variant of a result, without its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    Done,
    AlreadyDone,
    RateLimited,
    Unavailable,
    Unknown,
    Rejected,
    NotFound,
    Malformed,
    Credential,
    Permission,
    Policy,
}

pub(crate) fn of<T>(result: &Result<T, PortError>) -> Meaning {
    match result {
        Ok(_) => Meaning::Done,
        Err(PortError::AlreadyDone { .. }) => Meaning::AlreadyDone,
        Err(PortError::RateLimited { .. }) => Meaning::RateLimited,
        Err(PortError::Unavailable { .. }) => Meaning::Unavailable,
        Err(PortError::OutcomeUnknown { .. }) => Meaning::Unknown,
        Err(PortError::Rejected { .. }) => Meaning::Rejected,
        Err(PortError::NotFound { .. }) => Meaning::NotFound,
        Err(PortError::Malformed { .. } | PortError::Damaged { .. }) => Meaning::Malformed,
        Err(PortError::Stopped { reason: StopReason::Credential, .. }) => Meaning::Credential,
        Err(PortError::Stopped { reason: StopReason::Permission, .. }) => Meaning::Permission,
        Err(PortError::Stopped { reason: StopReason::Policy, .. }) => Meaning::Policy,
    }
}

/// What a status means where the service's contract says no more.
pub(crate) fn of_status(status: u16, writes: bool) -> Meaning {
    match status {
        200..=299 => Meaning::Done,
        401 => Meaning::Credential,
        403 => Meaning::Permission,
        404 => Meaning::NotFound,
        408 | 500..=599 if writes => Meaning::Unknown,
        408 | 500..=599 => Meaning::Unavailable,
        429 => Meaning::RateLimited,
        _ => Meaning::Rejected,
    }
}
