//! What an undo must say of everything that makes the dispatcher send.
//!
//! A runbook waits quiet hours out before it starts a campaign or gives messages back. An undo is led by no runbook: a person
//! decides, and must see that the messages go out at whatever hour it is.

use std::sync::Arc;

use allclear_core::Platform;
use allclear_core::ports::PolicyStore;

/// When the dispatcher sends what an undo gives back.
#[derive(Clone)]
pub(crate) struct AtOnce {
    policy: Arc<dyn PolicyStore>,
    zone: String,
}

impl AtOnce {
    pub(crate) fn on(on: &Platform) -> Self {
        Self { policy: Arc::clone(&on.policy), zone: on.limits.recipients_zone.clone() }
    }

    /// For the plan of an undo. Without a readable policy it still says that nothing is waited for.
    pub(crate) async fn says(&self) -> String {
        let hours = match self.policy.read().await {
            Ok(stored) => {
                format!("quiet hours {}–{} ({})", stored.quiet_start, stored.quiet_end, self.zone)
            }
            Err(_) => "quiet hours, which cannot be read now".to_owned(),
        };
        format!("its messages go out at once, also in {hours}")
    }
}
