//! People beside a run: what they do on the platform, and when.
//!
//! A runbook is not alone. Whoever is awake pauses a campaign, resolves the incident, posts in the channel or edits the settings,
//! before, between and after what the run does. Each deed happens once; in the audit log it is somebody else's.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Pauses a campaign.
    Pause,
    /// Starts a campaign.
    Start,
    /// Stops a campaign for good.
    Stop,
    /// Resolves whatever is open at PagerDuty.
    Resolve,
    /// Writes a line to the channel of operations.
    Post,
    /// Marks some of a campaign's waiting messages as skipped.
    Skip,
    /// Voids a voucher.
    Void,
    /// Halves the throttle in the settings.
    Settings,
}

impl Act {
    /// All that people can do.
    pub const ALL: [Self; 8] = [
        Self::Pause,
        Self::Start,
        Self::Stop,
        Self::Resolve,
        Self::Post,
        Self::Skip,
        Self::Void,
        Self::Settings,
    ];

    /// How it is written in a script.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Resolve => "resolve",
            Self::Post => "post",
            Self::Skip => "skip",
            Self::Void => "void",
            Self::Settings => "settings",
        }
    }
}

/// When a person acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// So many minutes of the world's time after its start.
    Minutes(u32),
    /// Right after an effect, by its name in the ledger, has changed something so many times.
    After {
        /// The effect, e.g. `campaign.pause`.
        effect: String,
        /// How many times.
        times: usize,
    },
}

/// One thing that a person does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// When.
    pub at: Moment,
    /// What.
    pub act: Act,
    /// To which campaign or voucher, in the order of the world, from 1.
    pub which: usize,
}

/// What people do beside one run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Script(pub Vec<Deed>);

/// A script that nobody can play.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is nothing that people do: {why}. Give WHEN:ACT or WHEN:ACT:WHICH, e.g. 6m:pause, campaign.start*2:stop:3, or random:7"
)]
pub struct UnknownDeed {
    /// What was asked for.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

/// Longer than any drill.
const LONGEST: u32 = 7 * 24 * 60;

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(minutes) = text.strip_suffix('m').and_then(|minutes| minutes.parse().ok()) {
            return if minutes <= LONGEST {
                Ok(Self::Minutes(minutes))
            } else {
                Err(format!("{minutes} minutes are longer than a week"))
            };
        }
        let (effect, times) = text.split_once('*').unwrap_or((text, "1"));
        let times = times.parse().ok().filter(|times| *times > 0);
        let times = times.ok_or_else(|| format!("`{text}` does not say after how many times"))?;
        if !effect.contains('.') {
            return Err(format!("`{text}` is neither minutes (6m) nor an effect (campaign.pause)"));
        }
        Ok(Self::After { effect: effect.to_owned(), times })
    }
}

impl FromStr for Script {
    type Err = UnknownDeed;

    fn from_str(text: &str) -> Result<Self, UnknownDeed> {
        let unknown = |why: String| UnknownDeed { text: text.to_owned(), why };
        let mut words = text.split(':');
        let (when, act, which) = (words.next().unwrap_or_default(), words.next(), words.next());
        let act = act.ok_or_else(|| unknown("it says no act".to_owned()))?;
        if words.next().is_some() {
            return Err(unknown("it has more than three parts".to_owned()));
        }
        if when == "random" && which.is_none() {
            let seed = act.parse().map_err(|_| unknown(format!("`{act}` is no number to draw from")))?;
            return Ok(Self::random(seed));
        }
        let at = when.parse().map_err(unknown)?;
        let act = Act::ALL
            .into_iter()
            .find(|known| known.name() == act)
            .ok_or_else(|| unknown(format!("`{act}` is none of {}", Act::ALL.map(Act::name).join(", "))))?;
        let which = which.unwrap_or("1").parse().ok().filter(|which| *which > 0);
        let which = which.ok_or_else(|| unknown("which one is counted from 1".to_owned()))?;
        Ok(Self(vec![Deed { at, act, which }]))
    }
}

impl Script {
    /// One to three deeds of the first half hour, all derived from `seed`.
    pub fn random(seed: u64) -> Self {
        let drawn = Sha256::digest(seed.to_be_bytes());
        let deeds = drawn.chunks(4).take(1 + usize::from(drawn[31] % 3));
        Self(
            deeds
                .map(|dice| Deed {
                    at: Moment::Minutes(u32::from(dice[0] % 30)),
                    act: Act::ALL[usize::from(dice[1]) % Act::ALL.len()],
                    which: 1 + usize::from(dice[2] % 4),
                })
                .collect(),
        )
    }

    /// All of several scripts.
    pub fn of(scripts: &[Self]) -> Self {
        Self(scripts.iter().flat_map(|script| script.0.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_says_when_what_and_which() {
        let deed = |at, act, which| Script(vec![Deed { at, act, which }]);
        let after = |effect: &str, times| Moment::After { effect: effect.to_owned(), times };
        assert_eq!("6m:pause".parse(), Ok(deed(Moment::Minutes(6), Act::Pause, 1)));
        assert_eq!("campaign.start*2:stop:3".parse(), Ok(deed(after("campaign.start", 2), Act::Stop, 3)));
        assert_eq!("audit.insert:post".parse(), Ok(deed(after("audit.insert", 1), Act::Post, 1)));
        assert_eq!("random:7".parse(), Ok(Script::random(7)));
        assert!((1..=3).contains(&Script::random(7).0.len()));
        assert_ne!(Script::random(7), Script::random(8));
    }

    #[test]
    fn what_nobody_does_is_refused_with_what_they_can() {
        for (text, why) in [
            ("pause", "says no act"),
            ("6m:dance", "none of pause, start"),
            ("6h:pause", "neither minutes"),
            ("99999m:pause", "longer than a week"),
            ("campaign.start*0:stop", "how many times"),
            ("6m:pause:0", "counted from 1"),
            ("6m:pause:1:2", "more than three"),
            ("random:x", "no number"),
        ] {
            let refused = text.parse::<Script>().unwrap_err().to_string();
            assert!(refused.contains(why) && refused.contains("e.g. 6m:pause"), "{text}: {refused}");
        }
    }
}
