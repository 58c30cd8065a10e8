//! The backups that the host keeps by itself: `GET /v1/projects/{ref}/database/backups`.
//!
//! There is no call that downloads one. The list tells whether the host could restore, and a token that may read it.

use allclear_core::ports::BackupHost;
use allclear_core::recovery::{HostedBackup, HostedBackups};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;

use super::{Management, Result};
use crate::http::Call;

#[derive(Deserialize)]
struct BackupRow {
    id: u64,
    status: String,
    inserted_at: Timestamp,
}

#[derive(Deserialize)]
struct BackupList {
    backups: Vec<BackupRow>,
    pitr_enabled: bool,
    region: String,
}

#[async_trait]
impl BackupHost for Management {
    async fn hosted_backups(&self) -> Result<HostedBackups> {
        let reply = self.http.send(Call::read(self.path("database/backups"))).await?;
        let list: BackupList = super::read(&reply)?;
        let mut backups: Vec<HostedBackup> = list
            .backups
            .into_iter()
            .map(|row| HostedBackup {
                id: row.id.to_string(),
                status: reply.clean(&row.status),
                at: row.inserted_at,
            })
            .collect();
        backups.sort_by_key(|backup| std::cmp::Reverse(backup.at));
        Ok(HostedBackups { backups, point_in_time: list.pitr_enabled, region: reply.clean(&list.region) })
    }
}
