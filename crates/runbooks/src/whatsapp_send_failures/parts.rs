//! In parts: what does not drain within the hours of one day is given back over several days.
//!
//! The dispatcher looks at no quiet hours, so nothing may be given back to it that would still be in the queue when they
//! begin. What drains within one day waits for one that is long enough. What does not is divided: campaign by campaign, the
//! smallest first; and of a campaign that is longer than a day on its own, the messages beyond each day's share are
//! moved to the next. A campaign whose part has not come stays paused, and held where its queue had to be stopped.

use std::time::Duration;

use allclear_core::clock::after;
use allclear_core::policy::SendPolicy;
use allclear_core::ports::Limits;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::resume::{Stage, Unsent};
use crate::quiet::Pace;
use crate::spread::Later;

/// No more of a day is kept free, however many campaigns there are.
const MOST_LATE: Duration = Duration::from_mins(30);

/// So much later than planned a share may begin: each campaign before it is started and watched first.
fn late(stages: &[Stage], limits: &Limits) -> Duration {
    let runs = u32::try_from(stages.len()).unwrap_or(u32::MAX).saturating_add(1).saturating_mul(3);
    limits.dispatcher_interval.saturating_mul(runs).min(MOST_LATE)
}

/// What is resumed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Not before.
    pub(super) begins: Timestamp,
    pub(super) stages: Vec<Share>,
}

/// One campaign's share of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Share {
    /// The campaign is resumed. What of it does not fit into its day is moved to later ones.
    Begins { stage: Stage, later: Vec<Later> },
    /// It runs since an earlier part, and another share of its messages is due.
    GoesOn(Stage),
}

impl Part {
    /// How many messages it is about.
    pub(super) fn messages(&self) -> u64 {
        self.stages.iter().map(Share::messages).sum()
    }
}

impl Share {
    pub(super) fn messages(&self) -> u64 {
        match self {
            Self::Begins { stage, later } => later.first().map_or(stage.unsent, |first| first.place),
            Self::GoesOn(stage) => stage.unsent,
        }
    }

    pub(super) fn stage(&self) -> &Stage {
        match self {
            Self::Begins { stage, .. } | Self::GoesOn(stage) => stage,
        }
    }
}

/// In which parts campaigns are resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) parts: Vec<Part>,
    /// By when about the last message is sent.
    pub(super) drained: Timestamp,
}

impl Parts {
    /// `None` where the policy allows no time of the day.
    pub(super) fn of(
        unsent: &Unsent,
        (limits, policy): (&Limits, &SendPolicy),
        zone: &TimeZone,
        now: Timestamp,
    ) -> Option<Self> {
        let pace = Pace::of(limits, policy);
        let hours = policy.quiet_hours;
        let day = Duration::from_hours(24).checked_sub(hours.length()).filter(|day| !day.is_zero())?;
        let stages = unsent.smallest_first();
        let late = late(&stages, limits);
        let day = day.saturating_sub(late);
        let all: u64 = stages.iter().map(|stage| stage.unsent).sum();
        if pace.drains(all) <= day {
            let begins = hours.next_allowed(now, zone, pace.drains(all) + late)?;
            let stages = stages.into_iter().map(Share::whole).collect();
            return Some(Self {
                parts: vec![Part { begins, stages }],
                drained: after(begins, pace.drains(all)),
            });
        }
        let mut all = Self { parts: Vec::new(), drained: now };
        for stage in stages {
            let share = stage.unsent.min(pace.messages_in(day));
            let begins = hours.next_allowed(all.drained, zone, pace.drains(share).min(day) + late)?;
            let waits = begins > all.drained;
            let (campaign, mut left, mut at) = (stage.campaign, stage.unsent - share, begins);
            let mut later = Vec::new();
            let mut goes_on = Vec::new();
            all.drained = after(begins, pace.drains(share));
            while left > 0 {
                let share = left.min(pace.messages_in(day));
                // The day's share is used up: the next begins when the quiet hours of that day have passed.
                at = hours.next_allowed(after(at, day + late), zone, pace.drains(share).min(day) + late)?;
                later.push(Later { place: stage.unsent - left, at });
                goes_on.push((at, Stage { campaign, unsent: share }));
                all.drained = after(at, pace.drains(share));
                left -= share;
            }
            all.add(begins, Share::Begins { stage, later }, waits);
            for (at, stage) in goes_on {
                all.add(at, Share::GoesOn(stage), true);
            }
        }
        Some(all)
    }

    /// What need not wait for another day belongs to the part before.
    fn add(&mut self, begins: Timestamp, share: Share, waits: bool) {
        match self.parts.last_mut() {
            Some(last) if !waits => last.stages.push(share),
            _ => self.parts.push(Part { begins, stages: vec![share] }),
        }
    }
}

impl Share {
    fn whole(stage: Stage) -> Self {
        Self::Begins { stage, later: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use allclear_core::policy::QuietHours;

    use super::*;

    fn limits() -> Limits {
        crate::mocked::platform().limits
    }

    /// Of campaigns with so many messages each, at 10:00 in Kigali, in the night's quiet hours from 22:00 to 06:00.
    fn parts(unsent: &[u64], per_minute: u32) -> Option<Parts> {
        let hours = QuietHours::parse("22:00", "06:00").unwrap();
        let policy = SendPolicy { quiet_hours: hours, throttle_per_minute: per_minute };
        let id = |n: usize| format!("6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e{n:02}").parse().unwrap();
        let stages = unsent.iter().enumerate();
        let stages = stages.map(|(n, unsent)| Stage { campaign: id(n), unsent: *unsent }).collect();
        let zone = TimeZone::get("Africa/Kigali").unwrap();
        Parts::of(&Unsent { stages }, (&limits(), &policy), &zone, at("2026-11-23T08:00:00Z"))
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn messages(parts: &Parts) -> Vec<u64> {
        parts.parts.iter().map(Part::messages).collect()
    }

    #[test]
    fn what_fits_into_a_day_is_one_part() {
        // 40 a minute by the dispatcher: 20,000 are 8 h 20 min, and 12 hours are left of the day.
        let one = parts(&[12_000, 8_000], 60).unwrap();
        assert_eq!(messages(&one), [20_000]);
        assert_eq!(one.parts[0].begins, at("2026-11-23T08:00:00Z"));
        // 15 hours do not fit into what is left of this one.
        let tomorrow = parts(&[36_000], 60).unwrap();
        assert_eq!(
            (messages(&tomorrow), tomorrow.parts[0].begins),
            (vec![36_000], at("2026-11-24T04:00:00Z"))
        );
    }

    #[test]
    fn b4_campaigns_that_do_not_fit_into_a_day_are_resumed_over_several_the_smallest_first() {
        let several = parts(&[15_840; 4], 60).unwrap();
        // 6 h 36 min each.
        assert_eq!(messages(&several), [15_840, 31_680, 15_840]);
        let begins: Vec<Timestamp> = several.parts.iter().map(|part| part.begins).collect();
        assert_eq!(begins, ["2026-11-23T08:00:00Z", "2026-11-24T04:00:00Z", "2026-11-25T04:00:00Z"].map(at));
        assert_eq!(several.drained, at("2026-11-25T10:36:00Z"));
    }

    #[test]
    fn b4_a_campaign_that_is_longer_than_a_day_is_spread_over_days() {
        // 16 hours less six minutes at 10 a minute are 9,540.
        let spread = parts(&[25_000], 10).unwrap();
        let begins: Vec<Timestamp> = spread.parts.iter().map(|part| part.begins).collect();
        assert_eq!(begins, ["2026-11-24T04:00:00Z", "2026-11-25T04:00:00Z", "2026-11-26T04:00:00Z"].map(at));
        let Share::Begins { later, .. } = &spread.parts[0].stages[0] else { panic!("it begins") };
        let later: Vec<(u64, Timestamp)> = later.iter().map(|one| (one.place, one.at)).collect();
        assert_eq!(later, [(9_540, begins[1]), (19_080, begins[2])]);
        assert_eq!(spread.drained, at("2026-11-26T13:52:00Z"));
    }

    #[test]
    fn b4_every_message_is_in_one_part_and_none_is_due_in_quiet_hours_whatever_the_sizes() {
        let hours = QuietHours::parse("22:00", "06:00").unwrap();
        let zone = TimeZone::get("Africa/Kigali").unwrap();
        for per_minute in [1, 7, 40, 1_000] {
            for sizes in [&[1, 999, 20_000, 70_000][..], &[38_400, 38_400], &[38_401], &[0, 0, 100_000], &[]]
            {
                let parts = parts(sizes, per_minute).unwrap();
                for part in &parts.parts {
                    let local = part.begins.to_zoned_datetime(zone.clone());
                    assert!(!hours.contains(local.time()), "{sizes:?} {per_minute}: {local}");
                }
                let begun: u64 = parts
                    .parts
                    .iter()
                    .flat_map(|part| &part.stages)
                    .filter(|share| matches!(share, Share::Begins { .. }))
                    .map(|share| share.stage().unsent)
                    .sum();
                assert_eq!(begun, sizes.iter().sum::<u64>(), "{sizes:?} {per_minute}");
                assert!(parts.parts.windows(2).all(|pair| pair[0].begins < pair[1].begins));
            }
        }
    }
}
