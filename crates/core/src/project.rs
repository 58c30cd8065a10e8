//! The project that the platform runs in, as its host sees it: whether it is up, and which of its services are.

use serde::{Deserialize, Serialize};

open_enum! {
    /// What a project is at, in the host's words (Supabase, Management API, projects).
    ProjectStatus {
        /// It runs.
        Healthy = "ACTIVE_HEALTHY",
        /// It runs, and not all of it is well.
        Unhealthy = "ACTIVE_UNHEALTHY",
        /// It is paused.
        Paused = "INACTIVE",
        /// It is being paused.
        Pausing = "PAUSING",
        /// Pausing it failed.
        PauseFailed = "PAUSE_FAILED",
        /// It is starting.
        ComingUp = "COMING_UP",
        /// It is stopping.
        GoingDown = "GOING_DOWN",
        /// It was never started.
        InitFailed = "INIT_FAILED",
        /// It was deleted.
        Removed = "REMOVED",
        /// A backup is being restored into it.
        Restoring = "RESTORING",
        /// Restoring a backup into it failed.
        RestoreFailed = "RESTORE_FAILED",
        /// Its database is being upgraded.
        Upgrading = "UPGRADING",
        /// It is being restarted.
        Restarting = "RESTARTING",
        /// It is being given more or less room.
        Resizing = "RESIZING",
        /// The host does not know.
        Unknown = "UNKNOWN",
    }
}

impl ProjectStatus {
    /// What is the matter and what to do about it; `None` where nothing is.
    pub fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::Healthy => return None,
            Self::Unhealthy => {
                "not all of it is well; see which service, then the dashboard's reports and logs"
            }
            Self::Paused => "it is paused, so no call of ours reaches it; restore it in Supabase's dashboard",
            Self::Pausing | Self::GoingDown => "it is being stopped; ask who did that before anything else",
            Self::PauseFailed | Self::InitFailed | Self::RestoreFailed => {
                "the host could not finish its work on it; open a ticket with Supabase's support"
            }
            Self::ComingUp | Self::Restarting | Self::Resizing | Self::Upgrading => {
                "it is not up yet; wait some minutes and look again"
            }
            Self::Restoring => "a backup is being restored into it; change nothing until that is over",
            Self::Removed => "it was deleted; correct supabase_project",
            Self::Unknown | Self::Other(_) => "nobody can say whether it runs; look at Supabase's dashboard",
        })
    }
}

open_enum! {
    /// A part of a project that the host watches. Edge functions are not among them: they are seen by calling one, or by
    /// the log of calls.
    ProjectService {
        /// Who signs in.
        Auth = "auth",
        /// PostgreSQL.
        Database = "db",
        /// PostgREST.
        Rest = "rest",
        /// Files.
        Storage = "storage",
    }
}

open_enum! {
    /// How one of them is.
    ServiceStatus {
        /// It answers.
        Healthy = "ACTIVE_HEALTHY",
        /// It is starting.
        ComingUp = "COMING_UP",
        /// It does not answer as it should.
        Unhealthy = "UNHEALTHY",
    }
}

/// One service, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceHealth {
    /// Which.
    pub service: ProjectService,
    /// How it is.
    pub status: ServiceStatus,
    /// What the host saw, where it says so.
    pub error: Option<String>,
}

impl ServiceHealth {
    /// Whether it answers.
    pub fn is_healthy(&self) -> bool {
        self.status == ServiceStatus::Healthy
    }
}

impl std::fmt::Display for ServiceHealth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {}", self.service, self.status)?;
        self.error.as_ref().map_or(Ok(()), |error| write!(f, " ({error})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_healthy_project_needs_no_advice() {
        assert_eq!(ProjectStatus::Healthy.advice(), None);
        for status in ["INACTIVE", "ACTIVE_UNHEALTHY", "RESTORE_FAILED", "REMOVED", "UNKNOWN", "a new word"] {
            assert!(ProjectStatus::from(status).advice().is_some(), "{status}");
        }
        assert!(ProjectStatus::Paused.advice().unwrap().contains("restore it in Supabase's dashboard"));
    }
}
