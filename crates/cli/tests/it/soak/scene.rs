//! Which worlds are soaked: every runbook, every cause that it knows.

use allclear_sandbox::{Profile, Scenario, WorldSpec};

/// A runbook in a world.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) runbook: &'static str,
    pub(crate) scenario: Scenario,
    pub(crate) profile: Profile,
    /// Beside the runbook's name.
    pub(crate) more: &'static [&'static str],
}

const WHATSAPP: &str = "whatsapp-send-failures";
const PREVIEWS: &str = "voucher-preview-failures";
const DISPATCHER: &str = "campaign-dispatcher-stalls";
const STATIONS: &str = "station-redeem-anomalies";

const fn scene(runbook: &'static str, scenario: Scenario, profile: Profile) -> Scene {
    Scene { runbook, scenario, profile, more: &[] }
}

/// The platform as it is where a scenario can be verified on it, and with the missing pieces where not.
pub(crate) const ALL: &[Scene] = &[
    scene(WHATSAPP, Scenario::Outage { minutes: 25 }, Profile::AsIs),
    scene(WHATSAPP, Scenario::RateLimited { minutes: 10 }, Profile::AsIs),
    scene(WHATSAPP, Scenario::InvalidNumbers { percent: 20 }, Profile::AsIs),
    scene(WHATSAPP, Scenario::QuietHoursMisconfigured, Profile::Target),
    scene(WHATSAPP, Scenario::ThrottleMisconfigured, Profile::AsIs),
    scene(WHATSAPP, Scenario::AuthExpired { minutes: 2 }, Profile::Target),
    scene(WHATSAPP, Scenario::PolicyBlocked { minutes: 2 }, Profile::AsIs),
    scene(WHATSAPP, Scenario::Flapping { minutes: 8 }, Profile::Target),
    scene(PREVIEWS, Scenario::PreviewRemoved, Profile::AsIs),
    scene(PREVIEWS, Scenario::PreviewBroken, Profile::AsIs),
    scene(PREVIEWS, Scenario::PreviewNoPicture, Profile::AsIs),
    scene(PREVIEWS, Scenario::PreviewTimeout { minutes: 3 }, Profile::AsIs),
    scene(PREVIEWS, Scenario::PreviewNotConfigured { minutes: 3 }, Profile::AsIs),
    scene(PREVIEWS, Scenario::PreviewThrottled { minutes: 3 }, Profile::AsIs),
    scene(DISPATCHER, Scenario::Stalled, Profile::Target),
    scene(DISPATCHER, Scenario::StalledUnreachable { minutes: 20 }, Profile::Target),
    Scene { more: &["--set", "replay=stop-start"], ..scene(DISPATCHER, Scenario::Stalled, Profile::Target) },
    scene(STATIONS, Scenario::DoubleRedemption, Profile::AsIs),
    scene(STATIONS, Scenario::DoubleOfUnknownWorth, Profile::AsIs),
    scene(STATIONS, Scenario::KeyCollision, Profile::AsIs),
    scene(STATIONS, Scenario::WrongScope, Profile::AsIs),
    scene(STATIONS, Scenario::WrongStation, Profile::AsIs),
];

impl Scene {
    /// Small, so that thousands can be made.
    pub(crate) fn world(&self) -> WorldSpec {
        WorldSpec {
            seed: 7,
            // The dispatcher's runbook looks at every campaign every minute, so few of them must do.
            campaigns: if self.runbook == DISPATCHER { 2 } else { 5 },
            targets_per_campaign: 120,
            vouchers: 0,
            stations: 0,
            notifications: 100,
            profile: self.profile,
            scenario: self.scenario,
            ..WorldSpec::default()
        }
    }

    /// What starts it.
    pub(crate) fn start(&self) -> Vec<&'static str> {
        [&["run", self.runbook, "--yes", "--auto-approve"], self.more].concat()
    }
}

impl std::fmt::Display for Scene {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scenario = serde_json::to_value(self.scenario).unwrap_or_default();
        let more = self.more.last().map_or_else(String::new, |more| format!(" {more}"));
        write!(f, "{}{more} in {scenario}, {:?}", self.runbook, self.profile)
    }
}
