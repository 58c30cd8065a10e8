//! Named faults: the platform's warts and lies, each switchable.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Which contract the admin API follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// As the platform really is: missing endpoints, sticky answers, a pause that stops nothing.
    #[default]
    AsIs,
    /// With the missing pieces.
    Target,
}

/// One wart or lie of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// `/api/integrations/status` keeps its first green answer for ever.
    StickyGreen,
    /// `?force=true` is not read.
    ForceIgnored,
    /// Throttle 0 means unlimited; without the fault it blocks.
    ThrottleZeroUnlimited,
    /// Unknown admin routes answer 404 with a page instead of JSON.
    HtmlNotFound,
    /// GET-only admin routes keep their first full answer.
    StaleGetOnlyRoutes,
    /// Each status probe makes the dispatcher send a batch.
    ProbeSideEffect,
    /// The dispatcher sends whatever a campaign's status says.
    PauseNotEffective,
    /// Pause writes the row and answers 503.
    Pause5xxAfterWrite,
    /// "Settings saved." and they are not.
    SettingsWriteLost,
    /// Audit rows vanish; the insert answers well.
    AuditWriteLost,
    /// `resend` sends and queues.
    ResendDoubleSend,
    /// Cancelling a notification fails in the database.
    NotificationCancelEnum,
    /// Vouchers come from fixtures.
    VouchersFixtureFallback,
    /// Logs are empty, unmarked.
    LogsEmptyFallback,
    /// The send function's answers carry no `retry-after`.
    RetryAfterDropped,
    /// A sent queue row stays pending and is sent again.
    SendRowStaysPending,
    /// The send function answers 202 and drops the message.
    AcceptedAndDropped,
    /// Changes to the send queue answer well and change nothing.
    QueueWriteLost,
    /// Slack answers ok and does not have the message.
    SlackMessageLost,
    /// PagerDuty answers 202 and opens no incident.
    PagerDutyDropped,
    /// Start answers 200 and leaves the row.
    StartNotEffective,
    /// Retrying notifications answers "queued" and leaves them failed.
    RetryNotEffective,
    /// Retrying notifications takes from the sending throttle: so many a minute, and the rest is held back.
    RetryThrottled,
    /// The send log knows SENT and FAILED only, in capitals: nobody ever writes that a message was delivered.
    DeliveryNeverLogged,
    /// What WhatsApp reports to the platform's webhook is kept as it came, in `webhook_logs`.
    StatusWebhooksKept,
    /// A message is reported as delivered three minutes after it went out.
    DeliverySlow,
    /// A message beside campaigns is accepted, and reported as failed a little later.
    CanaryFails,
    /// Issuing vouchers through the admin API fails on the database's own checks.
    GenerateRejected,
    /// An idempotency key gives back its first answer, whatever the request says.
    IdemKeyReuse,
    /// The station app's key is the same for every voucher of a station, and the server answers by key.
    StationKeyCollision,
    /// One odd row breaks the list of vouchers.
    RowBreaksList,
    /// Changes of vouchers answer well and change nothing.
    VoucherWriteLost,
    /// Deploying a function answers 201 and changes nothing.
    DeployNotEffective,
    /// The dispatcher sends and leaves the targets as they are.
    TargetsStayQueued,
    /// A failed preview does not say that it is degraded.
    DegradedUnsaid,
    /// A voucher that has a picture is shown that one, whatever the preview function could make now.
    StoredPreviews,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 36] = [
        Self::StickyGreen,
        Self::ForceIgnored,
        Self::ThrottleZeroUnlimited,
        Self::HtmlNotFound,
        Self::StaleGetOnlyRoutes,
        Self::ProbeSideEffect,
        Self::PauseNotEffective,
        Self::Pause5xxAfterWrite,
        Self::SettingsWriteLost,
        Self::AuditWriteLost,
        Self::ResendDoubleSend,
        Self::NotificationCancelEnum,
        Self::VouchersFixtureFallback,
        Self::LogsEmptyFallback,
        Self::RetryAfterDropped,
        Self::SendRowStaysPending,
        Self::AcceptedAndDropped,
        Self::QueueWriteLost,
        Self::SlackMessageLost,
        Self::PagerDutyDropped,
        Self::StartNotEffective,
        Self::RetryNotEffective,
        Self::RetryThrottled,
        Self::DeliveryNeverLogged,
        Self::StatusWebhooksKept,
        Self::DeliverySlow,
        Self::CanaryFails,
        Self::GenerateRejected,
        Self::IdemKeyReuse,
        Self::StationKeyCollision,
        Self::RowBreaksList,
        Self::VoucherWriteLost,
        Self::DeployNotEffective,
        Self::TargetsStayQueued,
        Self::DegradedUnsaid,
        Self::StoredPreviews,
    ];

    /// Whether the platform as it is has it all the time. The silent losses are not: with them no run could ever be
    /// verified, so they are switched on where that is the point.
    fn is_structural(self) -> bool {
        matches!(
            self,
            Self::StickyGreen
                | Self::ForceIgnored
                | Self::ThrottleZeroUnlimited
                | Self::HtmlNotFound
                | Self::StaleGetOnlyRoutes
                | Self::ProbeSideEffect
                | Self::PauseNotEffective
                | Self::ResendDoubleSend
                | Self::RetryThrottled
                | Self::NotificationCancelEnum
                | Self::GenerateRejected
                | Self::IdemKeyReuse
                | Self::StationKeyCollision
                | Self::RowBreaksList
        )
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

impl std::str::FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let found = Self::ALL.into_iter().find(|fault| fault.to_string() == text);
        found.ok_or_else(|| UnknownFault { name: text.to_owned() })
    }
}

/// A fault that the sandbox does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no fault `{name}`; the faults are {}", Fault::ALL.map(|f| f.to_string()).join(", "))]
pub struct UnknownFault {
    /// What was asked for.
    pub name: String,
}

/// The faults that are on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FaultSet(BTreeSet<Fault>);

impl FaultSet {
    /// None.
    pub fn none() -> Self {
        Self::default()
    }

    /// What a profile has from the start.
    pub fn of(profile: Profile) -> Self {
        match profile {
            Profile::AsIs => Self(Fault::ALL.into_iter().filter(|fault| fault.is_structural()).collect()),
            Profile::Target => Self::none(),
        }
    }

    /// Switches one on.
    #[must_use]
    pub fn with(mut self, fault: Fault) -> Self {
        self.0.insert(fault);
        self
    }

    /// Switches one off.
    #[must_use]
    pub fn without(mut self, fault: Fault) -> Self {
        self.0.remove(&fault);
        self
    }

    /// Whether it is on.
    pub fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }
}
