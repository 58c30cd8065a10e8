//! Exported files behind the port that procedures see.

use std::path::Path;

use allclear_core::ports::{ExportedRepeats, RedemptionExports};
use allclear_core::{PortError, Service, VoucherId};
use async_trait::async_trait;

use super::{ExportError, RedemptionExport, Scanned};

/// Reads files of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExportedFiles;

#[async_trait]
impl RedemptionExports for ExportedFiles {
    /// Scans the file beside everything else that goes on; see [`RedemptionExport`]. Reading it again gives the same.
    async fn repeats(&self, file: &Path) -> Result<ExportedRepeats, PortError> {
        let path = file.to_owned();
        let scan = move || RedemptionExport::open(&path)?.repeats();
        let scanned = tokio::task::spawn_blocking(scan).await;
        let scanned = scanned.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        scanned.map(claims).map_err(|error: ExportError| PortError::Rejected {
            service: Service::Exports,
            call: "find repeated redemptions".to_owned(),
            code: None,
            detail: error.to_string(),
        })
    }
}

fn claims(scanned: Scanned) -> ExportedRepeats {
    let Scanned { rows, redemptions, findings } = scanned;
    let repeated = findings.doubles.into_iter().chain(findings.replays);
    let mut vouchers: Vec<VoucherId> = repeated.map(|one| one.voucher).collect();
    vouchers.sort_unstable();
    ExportedRepeats { rows, redemptions, vouchers }
}
