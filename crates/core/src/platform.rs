//! All ports of one environment.

use std::sync::Arc;

use crate::ports::{
    Acknowledgements, Announcements, Artifacts, AuditLog, BackupHost, Campaigns, Chat, DatabaseBackups,
    Documents, EvidenceShelf, FunctionHost, Limits, Notifications, ObjectCopies, OpenIncidents, Paging,
    PolicyStore, ProjectHost, Provider, RedemptionExports, RedemptionLog, Replacements, SendLog, SendQueue,
    Sender, SmokeTests, StagingDatabase, Stations, StatusPage, StoredObjects, Targets, VoucherPreviews,
    Vouchers, WhatsAppAccount,
};
use crate::recovery::Exercise;
use crate::rehearsal::Rehearsal;
use crate::times::ServiceTimes;

/// The platform as a procedure sees it: a struct of ports, each replaceable by a mock or by your own.
#[derive(Clone)]
#[expect(missing_docs, reason = "each field is the port its type documents")]
pub struct Platform {
    /// Which platform it is, whatever an environment is called: the same text for two ways to write one address. What
    /// runs act on is claimed under it.
    pub identity: String,
    pub campaigns: Arc<dyn Campaigns>,
    pub targets: Arc<dyn Targets>,
    pub send_queue: Arc<dyn SendQueue>,
    pub send_log: Arc<dyn SendLog>,
    pub notifications: Arc<dyn Notifications>,
    pub policy: Arc<dyn PolicyStore>,
    pub sender: Arc<dyn Sender>,
    pub whatsapp: Arc<dyn WhatsAppAccount>,
    pub vouchers: Arc<dyn Vouchers>,
    pub previews: Arc<dyn VoucherPreviews>,
    pub replacements: Arc<dyn Replacements>,
    pub redemptions: Arc<dyn RedemptionLog>,
    pub redemption_exports: Arc<dyn RedemptionExports>,
    pub stations: Arc<dyn Stations>,
    pub functions: Arc<dyn FunctionHost>,
    pub project: Arc<dyn ProjectHost>,
    pub provider: Arc<dyn Provider>,
    pub chat: Arc<dyn Chat>,
    pub paging: Arc<dyn Paging>,
    pub audit: Arc<dyn AuditLog>,
    pub announcements: Arc<dyn Announcements>,
    /// What the services' clocks show beside ours.
    pub times: Arc<dyn ServiceTimes>,
    pub artifacts: Arc<dyn Artifacts>,
    pub status_page: Arc<dyn StatusPage>,
    /// What this environment is configured to allow.
    pub limits: Limits,
    /// That it is a sandbox; `None` for every platform that acts for real.
    pub rehearsal: Option<Rehearsal>,
    /// What the disaster recovery exercise needs; `None` where the environment is not configured for one.
    pub recovery: Option<Recovery>,
}

/// The ports of the disaster recovery exercise. None of them can write to production.
#[derive(Clone)]
#[expect(missing_docs, reason = "each field is the port its type documents")]
pub struct Recovery {
    pub host: Arc<dyn BackupHost>,
    pub backups: Arc<dyn DatabaseBackups>,
    pub copies: Arc<dyn ObjectCopies>,
    pub staging: Arc<dyn StagingDatabase>,
    pub smoke: Arc<dyn SmokeTests>,
    /// The exercise's own PagerDuty service. Never the one of incidents: there a real incident could be taken for the
    /// exercise, and the exercise would wake whoever is on call.
    pub paging: Arc<dyn Paging>,
    pub acknowledgements: Arc<dyn Acknowledgements>,
    pub incidents: Arc<dyn OpenIncidents>,
    pub documents: Arc<dyn Documents>,
    /// The platform's own list of its buckets; `None` where the copy is not compared with it.
    pub stored: Option<Arc<dyn StoredObjects>>,
    /// Where files of the exercise are kept for people; `None` where they stay with the run and beside the backup.
    pub evidence: Option<Arc<dyn EvidenceShelf>>,
    /// Who takes part, and where things are told and kept.
    pub exercise: Exercise,
}

impl std::fmt::Debug for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recovery").field("exercise", &self.exercise).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Platform")
            .field("identity", &self.identity)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
