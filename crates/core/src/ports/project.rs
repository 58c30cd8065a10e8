//! The project itself, at its host.

use async_trait::async_trait;

use super::Result;
use crate::project::{ProjectStatus, ServiceHealth};

/// Where the platform's project is hosted: Supabase's Management API. Reads only: nobody pauses, restores or restarts a
/// project through us.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ProjectHost: Send + Sync {
    /// `GET /v1/projects/{ref}`: what the project is at.
    async fn status(&self) -> Result<ProjectStatus>;

    /// `GET /v1/projects/{ref}/health?services=…`: each service that we use, with how it is, in a fixed order. An answer
    /// that leaves one out is [`PortError::Malformed`](crate::PortError::Malformed): silence is not health.
    async fn health(&self) -> Result<Vec<ServiceHealth>>;
}
