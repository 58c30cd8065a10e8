//! Whether the project is up, and which of its services are: `GET /v1/projects/{ref}` and `…/health`.
//!
//! * `services` is required, and given once for each (Supabase's OpenAPI description, `v1-get-services-health`).
//! * Edge functions are not among the services; a function is seen by its host's list and by calling it.
//! * `healthy` is deprecated and may differ: `status` counts.

use allclear_core::ports::ProjectHost;
use allclear_core::project::{ProjectService, ProjectStatus, ServiceHealth, ServiceStatus};
use async_trait::async_trait;
use serde::Deserialize;

use super::{Management, Result, read};
use crate::http::Call;

/// The services that the runbooks' calls need.
const SERVICES: [ProjectService; 4] =
    [ProjectService::Database, ProjectService::Rest, ProjectService::Auth, ProjectService::Storage];
/// How long the host may ask a service, in milliseconds: shorter than we wait for the host, so that a service which
/// hangs is a finding and not a lost answer.
const PATIENCE: u32 = 3_000;

#[derive(Deserialize)]
struct ProjectRow {
    status: ProjectStatus,
}

#[derive(Deserialize)]
struct HealthRow {
    name: ProjectService,
    status: ServiceStatus,
    error: Option<String>,
}

#[async_trait]
impl ProjectHost for Management {
    async fn status(&self) -> Result<ProjectStatus> {
        let reply = self.http.send(Call::read(format!("/v1/projects/{}", self.project))).await?;
        match read::<ProjectRow>(&reply)?.status {
            ProjectStatus::Other(word) => Ok(ProjectStatus::Other(reply.clean(&word))),
            known => Ok(known),
        }
    }

    async fn health(&self) -> Result<Vec<ServiceHealth>> {
        let call = Call::read(self.path("health")).query("timeout_ms", PATIENCE);
        let call = SERVICES.iter().fold(call, |call, service| call.query("services", service));
        let reply = self.http.send(call).await?;
        let rows: Vec<HealthRow> = read(&reply)?;
        let one = |service: &ProjectService| {
            let row = rows.iter().find(|row| row.name == *service);
            let row =
                row.ok_or_else(|| reply.unusable(&format!("it says nothing of the service {service}")))?;
            let status = match &row.status {
                ServiceStatus::Other(word) => ServiceStatus::Other(reply.clean(word)),
                known => known.clone(),
            };
            let error = row.error.as_deref().map(|error| reply.clean(error));
            Ok(ServiceHealth { service: service.clone(), status, error })
        };
        SERVICES.iter().map(one).collect()
    }
}
