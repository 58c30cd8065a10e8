//! A platform of mocks: every call that a test does not expect fails it.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::Platform;
use allclear_core::policy::{QuietHours, SendPolicy};
use allclear_core::ports::*;

/// All ports mocked, none expecting anything. Tests replace the ports that they are about.
pub(crate) fn platform() -> Platform {
    Platform {
        campaigns: Arc::new(MockCampaigns::new()),
        targets: Arc::new(MockTargets::new()),
        send_queue: Arc::new(MockSendQueue::new()),
        send_log: Arc::new(MockSendLog::new()),
        notifications: Arc::new(MockNotifications::new()),
        policy: Arc::new(MockPolicyStore::new()),
        sender: Arc::new(MockSender::new()),
        whatsapp: Arc::new(MockWhatsAppAccount::new()),
        vouchers: Arc::new(MockVouchers::new()),
        previews: Arc::new(MockVoucherPreviews::new()),
        replacements: Arc::new(MockReplacements::new()),
        redemptions: Arc::new(MockRedemptionLog::new()),
        stations: Arc::new(MockStations::new()),
        functions: Arc::new(MockFunctionHost::new()),
        provider: Arc::new(MockProvider::new()),
        chat: Arc::new(MockChat::new()),
        paging: Arc::new(MockPaging::new()),
        audit: Arc::new(MockAuditLog::new()),
        artifacts: Arc::new(MockArtifacts::new()),
        status_page: Arc::new(MockStatusPage::new()),
        limits: Limits {
            recipients_zone: "Africa/Kigali".into(),
            default_policy: SendPolicy {
                quiet_hours: QuietHours::parse("22:00", "06:00").unwrap(),
                throttle_per_minute: 60,
            },
            dispatcher_interval: Duration::from_mins(1),
            dispatcher_batch: 40,
            status_page_is_safe: false,
            ops_channel: "#ops".into(),
            data_ops_channel: "#data-ops".into(),
            vendor_channel: "#vendor-support".into(),
            preview_function: "voucher-preview".into(),
            dispatch_function: "campaign-dispatch".into(),
        },
    }
}
