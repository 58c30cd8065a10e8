//! Which runbooks there are, what they take, and how each can be drilled.

use allclear_core::Platform;
use allclear_engine::{Runbook, Step};
use serde_json::Value;

use crate::campaign_dispatcher_stalls::{
    CampaignDispatcherStalls, Input as DispatcherInput, STEPS as DISPATCHER_STEPS,
};
use crate::dr_tabletop::cadence::{CADENCE, FirstOfQuarter};
use crate::dr_tabletop::{
    DrTabletop, Input as TabletopInput, SCENARIOS as TABLETOP_SCENARIOS, STEPS as TABLETOP_STEPS,
};
use crate::station_redeem_anomalies::{
    Input as StationInput, STEPS as STATION_STEPS, StationRedeemAnomalies,
};
use crate::voucher_preview_failures::{
    Input as PreviewInput, STEPS as PREVIEW_STEPS, VoucherPreviewFailures,
};
use crate::whatsapp_send_failures::{Input as WhatsAppInput, STEPS as WHATSAPP_STEPS, WhatsAppSendFailures};

/// A named outage that a drill can begin with; the sandbox knows how to make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happens in it.
    pub says: &'static str,
}

/// One runbook of the catalogue.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Its name on the command line.
    pub id: &'static str,
    /// Its title in the written runbook.
    pub title: &'static str,
    /// Its bullets.
    pub steps: &'static [Step],
    /// How it can be drilled; the first is the default.
    pub scenarios: &'static [Scenario],
    /// When it is held, where it is held by the calendar.
    pub cadence: Option<FirstOfQuarter>,
    /// Which fields of its input name files.
    pub files: &'static [&'static str],
    /// Makes the runbook for an input, on a platform.
    pub build: fn(Value, Platform) -> Result<Box<dyn Runbook>, InputError>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("id", &self.id).finish_non_exhaustive()
    }
}

/// An input that a runbook does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{runbook} does not take this input: {detail}")]
pub struct InputError {
    /// Which runbook.
    pub runbook: &'static str,
    /// What is wrong with it, field and value.
    pub detail: String,
}

/// A name that no runbook has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no runbook `{name}`{}; `allclear list` shows all", suggestion.map_or_else(String::new, |s| format!(", did you mean `{s}`?")))]
pub struct UnknownRunbook {
    /// What was asked for.
    pub name: String,
    /// The nearest name, where one is near.
    pub suggestion: Option<&'static str>,
}

/// All runbooks, in the order of the written text.
pub fn catalogue() -> &'static [Entry] {
    const CATALOGUE: &[Entry] = &[PREVIEW, WHATSAPP, DISPATCHER, STATION, TABLETOP];
    CATALOGUE
}

const PREVIEW: Entry = Entry {
    id: "voucher-preview-failures",
    title: "Voucher Preview Failures",
    steps: PREVIEW_STEPS,
    scenarios: &[
        Scenario { name: "function-removed", says: "the preview function is not deployed any more" },
        Scenario { name: "function-broken", says: "a bad version of the preview function is deployed" },
        Scenario { name: "no-picture", says: "the function answers well, and what it points to is a page" },
        Scenario {
            name: "timeout",
            says: "the function does not answer in time until the network is repaired",
        },
        Scenario { name: "not-configured", says: "the admin API does not know where the function is" },
        Scenario { name: "throttled", says: "the host holds calls of the function back" },
        Scenario { name: "healthy", says: "nothing is wrong; nothing must be done" },
    ],
    cadence: None,
    files: &[],
    build: |input, on| {
        let input: PreviewInput = read("voucher-preview-failures", input)?;
        Ok(Box::new(VoucherPreviewFailures { on, input }))
    },
};

const WHATSAPP: Entry = Entry {
    id: "whatsapp-send-failures",
    title: "WhatsApp Send Failures",
    steps: WHATSAPP_STEPS,
    scenarios: &[
        Scenario { name: "rate-limited", says: "WhatsApp answers 130429 for ten minutes" },
        Scenario { name: "invalid-numbers", says: "a fifth of the numbers cannot receive" },
        Scenario {
            name: "outage",
            says: "the send function fails for 25 minutes, long enough to notify the provider",
        },
        Scenario {
            name: "quiet-hours-misconfigured",
            says: "quiet hours are swapped and hold everything back",
        },
        Scenario { name: "throttle-misconfigured", says: "the throttle is 0" },
        Scenario { name: "auth-expired", says: "the WhatsApp token has expired" },
        Scenario { name: "policy-blocked", says: "WhatsApp restricts the account" },
        Scenario { name: "flapping", says: "sends fail again after the resume" },
        Scenario { name: "healthy", says: "nothing is wrong; nothing must be done" },
    ],
    cadence: None,
    files: &[],
    build: |input, on| {
        let input: WhatsAppInput = read("whatsapp-send-failures", input)?;
        Ok(Box::new(WhatsAppSendFailures { on, input }))
    },
};

const DISPATCHER: Entry = Entry {
    id: "campaign-dispatcher-stalls",
    title: "Campaign Dispatcher Stalls",
    steps: DISPATCHER_STEPS,
    scenarios: &[
        Scenario {
            name: "stalled",
            says: "the dispatcher runs and takes nothing until a campaign is started anew",
        },
        Scenario { name: "unreachable", says: "the dispatcher does not run for twenty minutes" },
        Scenario { name: "one-tick", says: "after the replay it sends once and stalls again" },
        Scenario { name: "targets-not-updated", says: "messages go out and the targets do not show it" },
        Scenario {
            name: "quiet-hours",
            says: "nothing moves because it is quiet hours; nothing must be done",
        },
        Scenario {
            name: "empty-queue",
            says: "nothing moves because everything is sent; nothing must be done",
        },
        Scenario { name: "healthy", says: "nothing is wrong; nothing must be done" },
    ],
    cadence: None,
    files: &[],
    build: |input, on| {
        let input: DispatcherInput = read("campaign-dispatcher-stalls", input)?;
        Ok(Box::new(CampaignDispatcherStalls { on, input }))
    },
};

const STATION: Entry = Entry {
    id: "station-redeem-anomalies",
    title: "Station Redeem Anomalies",
    steps: STATION_STEPS,
    scenarios: &[
        Scenario { name: "double-redemption", says: "stations redeemed three vouchers twice" },
        Scenario { name: "unknown-worth", says: "as before; one row does not tell what it is worth" },
        Scenario {
            name: "replays",
            says: "the app's offline queue stored redemptions again; nothing must be done",
        },
        Scenario {
            name: "key-collision",
            says: "valid vouchers are refused because the app's key is the same for all",
        },
        Scenario {
            name: "wrong-scope",
            says: "vouchers are refused because their scope is an id of the wrong table",
        },
        Scenario {
            name: "wrong-station",
            says: "a voucher is refused because the customer is at another station",
        },
        Scenario { name: "healthy", says: "nothing is wrong; nothing must be done" },
    ],
    cadence: None,
    files: &["events"],
    build: |input, on| {
        let input: StationInput = read("station-redeem-anomalies", input)?;
        Ok(Box::new(StationRedeemAnomalies { on, input }))
    },
};

const TABLETOP: Entry = Entry {
    id: "dr-tabletop",
    title: "DR Tabletop Test – Backup/Restore Cutover",
    steps: TABLETOP_STEPS,
    scenarios: TABLETOP_SCENARIOS,
    cadence: Some(CADENCE),
    files: &[],
    build: |input, on| {
        let input: TabletopInput = read("dr-tabletop", input)?;
        Ok(Box::new(DrTabletop { on, input }))
    },
};

/// Finds a runbook by its name.
pub fn find(name: &str) -> Result<&'static Entry, UnknownRunbook> {
    catalogue().iter().find(|entry| entry.id == name).ok_or_else(|| {
        let nearest = catalogue().iter().map(|entry| (strsim::levenshtein(name, entry.id), entry.id)).min();
        let suggestion = nearest.filter(|(distance, id)| *distance <= id.len() / 3).map(|(_, id)| id);
        UnknownRunbook { name: name.to_owned(), suggestion }
    })
}

fn read<T: serde::de::DeserializeOwned + Default>(
    runbook: &'static str,
    input: Value,
) -> Result<T, InputError> {
    if input.is_null() {
        return Ok(T::default());
    }
    serde_json::from_value(input).map_err(|error| InputError { runbook, detail: error.to_string() })
}
