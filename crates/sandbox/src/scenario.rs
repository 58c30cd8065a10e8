//! What world to make, and what is wrong in it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fault::{FaultSet, Profile};
use crate::people::Script;

/// What is wrong. `minutes` count from the world's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "scenario", rename_all = "kebab-case")]
pub enum Scenario {
    /// Nothing.
    Healthy,
    /// WhatsApp answers 130429.
    RateLimited {
        /// How long.
        minutes: u64,
    },
    /// Some numbers cannot receive (131026).
    InvalidNumbers {
        /// How many of a hundred.
        percent: u64,
    },
    /// Quiet hours are swapped and hold everything back.
    QuietHoursMisconfigured,
    /// The throttle is 0, so everything goes out at once and WhatsApp limits it.
    ThrottleMisconfigured,
    /// The WhatsApp token has expired (190).
    AuthExpired {
        /// Until somebody replaced it.
        minutes: u64,
    },
    /// WhatsApp restricts the account (131048).
    PolicyBlocked {
        /// Until it lifts that.
        minutes: u64,
    },
    /// The send function answers 503.
    Outage {
        /// How long.
        minutes: u64,
    },
    /// As an outage, and campaign sends fail again as soon as one is resumed.
    Flapping {
        /// How long the outage lasts.
        minutes: u64,
    },
    /// The preview function is not deployed any more.
    PreviewRemoved,
    /// A bad version of the preview function is deployed: it answers 500.
    PreviewBroken,
    /// The preview function answers well, and what it points to is a page.
    PreviewNoPicture,
    /// The preview function does not answer in time.
    PreviewTimeout {
        /// Until the network is repaired.
        minutes: u64,
    },
    /// The admin API does not know where the preview function is.
    PreviewNotConfigured {
        /// Until somebody tells it.
        minutes: u64,
    },
    /// The host holds calls of the preview function back.
    PreviewThrottled {
        /// How long.
        minutes: u64,
    },
    /// The preview function, or the way to it, answers in another way that is not well.
    PreviewAnswers {
        /// How.
        how: PreviewAnswer,
        /// Until a person has repaired it.
        minutes: u64,
    },
    /// The dispatcher runs and takes nothing, until a campaign is started anew.
    Stalled,
    /// The dispatcher does not run at all, and takes nothing when it does again.
    StalledUnreachable {
        /// How long it does not run.
        minutes: u64,
    },
    /// As stalled, and after a start it runs once and takes nothing again.
    StalledOneTick,
    /// The dispatcher sends, and the campaign's targets stay as they are.
    TargetsNotUpdated,
    /// Nothing moves because it is quiet hours.
    QuietHours,
    /// Nothing moves because everything is sent.
    EmptyQueue,
    /// Stations redeemed some vouchers twice.
    DoubleRedemption,
    /// As double redemption; one of the rows does not tell its worth.
    DoubleOfUnknownWorth,
    /// Redemptions were played again by the station app's offline queue.
    Replays,
    /// Valid vouchers are refused: the station app's idempotency key is the same for all of them.
    KeyCollision,
    /// Vouchers are refused because their scope names an id of the wrong table.
    WrongScope,
    /// A voucher is refused because the customer is at another station than its own.
    WrongStation,
    /// Nothing is wrong with the platform: the disaster recovery exercise is held.
    Exercise {
        /// What goes wrong in the exercise itself.
        twist: Twist,
    },
}

/// How a preview fails that no deployment cures; each as the platform passes it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PreviewAnswer {
    /// The connection is reset: 503, `fetch failed`.
    Reset,
    /// The function answers 503 without a body: the platform says that nothing is configured.
    Silent,
    /// The function refuses the platform's key: 401.
    KeyRefused,
    /// The function refuses the request: 400.
    RequestRefused,
    /// The function wants fewer calls: 429.
    TooMany,
    /// The function fails without a word, and has not been deployed for long: 500 with the platform's default words.
    Failing,
    /// The function answers 200 with nothing in it.
    Empty,
}

/// What goes wrong in a disaster recovery exercise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Twist {
    /// Nothing.
    None,
    /// The token for the list of hosted backups has expired, until somebody rotates it.
    TokenExpired,
    /// One participant acknowledges after seven minutes.
    LateAcknowledgement,
    /// The target's address is the source's.
    WrongTarget,
    /// A row of the restored copy is changed before it is compared.
    ChangedRow,
    /// A station may redeem a voucher twice on staging.
    SmokeTestFails,
}

impl Twist {
    /// How long the expired token stays so, in the world's minutes.
    pub const TOKEN_MINUTES: u64 = 3;
}

impl Scenario {
    /// The scenario of a drill, by its name on the command line.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "healthy" => Self::Healthy,
            "rate-limited" => Self::RateLimited { minutes: 10 },
            "invalid-numbers" => Self::InvalidNumbers { percent: 20 },
            "quiet-hours-misconfigured" => Self::QuietHoursMisconfigured,
            "throttle-misconfigured" => Self::ThrottleMisconfigured,
            "auth-expired" => Self::AuthExpired { minutes: 2 },
            "policy-blocked" => Self::PolicyBlocked { minutes: 2 },
            "outage" => Self::Outage { minutes: 25 },
            "flapping" => Self::Flapping { minutes: 8 },
            "function-removed" => Self::PreviewRemoved,
            "function-broken" => Self::PreviewBroken,
            "no-picture" => Self::PreviewNoPicture,
            "timeout" => Self::PreviewTimeout { minutes: 3 },
            "not-configured" => Self::PreviewNotConfigured { minutes: 3 },
            "throttled" => Self::PreviewThrottled { minutes: 3 },
            "connection-reset" => Self::preview_answers(PreviewAnswer::Reset),
            "silent-503" => Self::preview_answers(PreviewAnswer::Silent),
            "key-refused" => Self::preview_answers(PreviewAnswer::KeyRefused),
            "request-refused" => Self::preview_answers(PreviewAnswer::RequestRefused),
            "too-many-calls" => Self::preview_answers(PreviewAnswer::TooMany),
            "old-build-fails" => Self::preview_answers(PreviewAnswer::Failing),
            "empty-answer" => Self::preview_answers(PreviewAnswer::Empty),
            "stalled" => Self::Stalled,
            "unreachable" => Self::StalledUnreachable { minutes: 20 },
            "one-tick" => Self::StalledOneTick,
            "targets-not-updated" => Self::TargetsNotUpdated,
            "quiet-hours" => Self::QuietHours,
            "empty-queue" => Self::EmptyQueue,
            "double-redemption" => Self::DoubleRedemption,
            "unknown-worth" => Self::DoubleOfUnknownWorth,
            "replays" => Self::Replays,
            "key-collision" => Self::KeyCollision,
            "wrong-scope" => Self::WrongScope,
            "wrong-station" => Self::WrongStation,
            "exercise" => Self::Exercise { twist: Twist::None },
            "token-expired" => Self::Exercise { twist: Twist::TokenExpired },
            "late-acknowledgement" => Self::Exercise { twist: Twist::LateAcknowledgement },
            "wrong-target" => Self::Exercise { twist: Twist::WrongTarget },
            "changed-row" => Self::Exercise { twist: Twist::ChangedRow },
            "smoke-test-fails" => Self::Exercise { twist: Twist::SmokeTestFails },
            _ => return None,
        })
    }

    fn preview_answers(how: PreviewAnswer) -> Self {
        Self::PreviewAnswers { how, minutes: 3 }
    }

    /// Whether campaigns do not move in it.
    pub(crate) fn stalls(self) -> bool {
        matches!(
            self,
            Self::Stalled
                | Self::StalledUnreachable { .. }
                | Self::StalledOneTick
                | Self::TargetsNotUpdated
                | Self::QuietHours
                | Self::EmptyQueue
        )
    }

    /// Whether previews fail in it.
    pub(crate) fn breaks_previews(self) -> bool {
        matches!(
            self,
            Self::PreviewRemoved
                | Self::PreviewBroken
                | Self::PreviewNoPicture
                | Self::PreviewTimeout { .. }
                | Self::PreviewNotConfigured { .. }
                | Self::PreviewThrottled { .. }
                | Self::PreviewAnswers { .. }
        )
    }

    /// Whether stations redeem wrongly in it.
    pub(crate) fn redeems_wrongly(self) -> bool {
        matches!(
            self,
            Self::DoubleRedemption
                | Self::DoubleOfUnknownWorth
                | Self::Replays
                | Self::KeyCollision
                | Self::WrongScope
                | Self::WrongStation
        )
    }

    /// What goes wrong in the disaster recovery exercise, where one is held.
    pub fn exercise(self) -> Option<Twist> {
        match self {
            Self::Exercise { twist } => Some(twist),
            _ => None,
        }
    }

    /// Whether sends to customers fail in it.
    pub(crate) fn fails_sends(self) -> bool {
        let healthy = self == Self::Healthy || self.exercise().is_some();
        !healthy && !self.stalls() && !self.breaks_previews() && !self.redeems_wrongly()
    }

    /// The dedup key and the title of the alert that told of it.
    pub(crate) fn alert(self) -> Option<(&'static str, &'static str)> {
        if self.stalls() {
            Some(("campaign-dispatcher", "Campaigns do not move"))
        } else if self.breaks_previews() {
            Some(("voucher-preview", "Voucher previews fail"))
        } else if self.redeems_wrongly() {
            Some(("station-redeem", "Station redeem anomalies"))
        } else {
            self.fails_sends().then_some(("wa-send-failures", "WhatsApp send failures"))
        }
    }

    pub(crate) fn minutes(self) -> Option<u64> {
        match self {
            Self::RateLimited { minutes }
            | Self::AuthExpired { minutes }
            | Self::PolicyBlocked { minutes }
            | Self::Outage { minutes }
            | Self::Flapping { minutes }
            | Self::PreviewTimeout { minutes }
            | Self::PreviewNotConfigured { minutes }
            | Self::PreviewThrottled { minutes }
            | Self::PreviewAnswers { minutes, .. }
            | Self::StalledUnreachable { minutes } => Some(minutes),
            Self::Exercise { twist: Twist::TokenExpired } => Some(Twist::TOKEN_MINUTES),
            _ => None,
        }
    }
}

/// A world to make. The same spec and the same requests at the same times give the same answers, byte for byte.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorldSpec {
    /// What everything random is derived from.
    pub seed: u64,
    /// What the world's clock shows at the start.
    pub start: Timestamp,
    /// How many campaigns; the first four run, the fifth was paused by somebody else, the others are drafts.
    pub campaigns: u32,
    /// How many targets each has.
    pub targets_per_campaign: u32,
    /// How many vouchers.
    pub vouchers: u32,
    /// How many stations.
    pub stations: u32,
    /// How many notifications.
    pub notifications: u32,
    /// Which contract the admin API follows.
    pub profile: Profile,
    /// What is wrong.
    pub scenario: Scenario,
    /// The faults that are on; those of the profile when `None`.
    pub faults: Option<FaultSet>,
    /// What people do beside.
    pub people: Script,
}

impl Default for WorldSpec {
    fn default() -> Self {
        Self {
            seed: 1,
            // 09:00 in Kigali: a whole day of allowed hours ahead.
            start: "2026-11-23T07:00:00Z".parse().unwrap_or(Timestamp::UNIX_EPOCH),
            campaigns: 6,
            targets_per_campaign: 4_000,
            vouchers: 500,
            stations: 20,
            notifications: 2_000,
            profile: Profile::AsIs,
            scenario: Scenario::RateLimited { minutes: 10 },
            faults: None,
            people: Script::default(),
        }
    }
}

/// Longer than any world is waited in.
const LONGEST_LIFE: Duration = Duration::from_hours(10 * 366 * 24);
/// A world is kept in memory.
const MOST_TARGETS: u64 = 2_000_000;

impl WorldSpec {
    /// The faults that are on.
    pub fn faults(&self) -> FaultSet {
        self.faults.clone().unwrap_or_else(|| FaultSet::of(self.profile))
    }

    /// Whether such a world can be made; says which number is out of bounds, and what they are.
    pub fn check(&self) -> Result<(), String> {
        let minutes = self.scenario.minutes().unwrap_or(1);
        let numbers = [
            ("campaigns", u64::from(self.campaigns), 1_000),
            ("targets_per_campaign", u64::from(self.targets_per_campaign), 200_000),
            ("vouchers", u64::from(self.vouchers), 1_000_000),
            ("stations", u64::from(self.stations), 100_000),
            ("notifications", u64::from(self.notifications), 1_000_000),
            ("minutes of the scenario", minutes, 10_080),
        ];
        for (name, number, most) in numbers {
            if number > most {
                return Err(format!("{name}: {number} is too much; give 0 to {most}"));
            }
        }
        if self.start.checked_add(LONGEST_LIFE).is_err() || self.start < Timestamp::UNIX_EPOCH {
            return Err(format!("start: {} leaves no time; give one from 1970 on", self.start));
        }
        let targets = u64::from(self.campaigns) * u64::from(self.targets_per_campaign);
        if targets > MOST_TARGETS {
            return Err(format!(
                "campaigns × targets_per_campaign is {targets}; give at most {MOST_TARGETS}"
            ));
        }
        Ok(())
    }

    pub(crate) fn ends_at(&self) -> Option<Timestamp> {
        self.scenario.minutes().map(|minutes| self.start + Duration::from_secs(minutes * 60))
    }
}
