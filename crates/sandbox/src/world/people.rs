//! What people do beside a run, when it is time.

use jiff::{SignedDuration, Timestamp};

use super::{OTHER_ACTOR, THROTTLE, World};
use crate::people::{Act, Moment};
use crate::services::{pagerduty, slack};

impl World {
    /// Lets a person act, on the `which`-th campaign or voucher (from 1). Whether anything was there to act on.
    pub fn let_somebody(&mut self, act: Act, which: usize) -> bool {
        // Counted from 1; there is no other.
        let Some(place) = which.checked_sub(1) else { return false };
        let campaign = self.campaigns.get(place).map(|campaign| campaign.id);
        let on_campaign =
            |world: &mut Self| campaign.is_some_and(|id| world.act_on_campaign(id, act.name(), OTHER_ACTOR));
        match act {
            Act::Pause | Act::Start | Act::Stop => on_campaign(self),
            Act::Resolve => pagerduty::let_somebody_resolve(self),
            Act::Post => {
                slack::let_somebody_post(self, "I am looking at this, too.");
                true
            }
            Act::Skip => campaign.is_some_and(|id| self.let_somebody_skip_some_of(id)),
            Act::Void => {
                let voucher = self.vouchers.iter().filter(|one| one.status == "active").nth(place);
                voucher.map(|voucher| voucher.id).is_some_and(|id| self.let_somebody_void(id))
            }
            Act::Settings => {
                let throttle = self.throttle() / 2;
                self.set(THROTTLE, throttle.max(1).into());
                true
            }
        }
    }

    /// Everything that people do up to `now`, each once.
    pub(super) fn people_until(&mut self, now: Timestamp) {
        while let Some(place) = self.people.iter().position(|deed| self.is_time(&deed.at, now)) {
            let deed = self.people.remove(place);
            if let Moment::Minutes(minutes) = deed.at {
                self.now = self.now.max(self.spec.start + SignedDuration::from_mins(i64::from(minutes)));
            }
            self.let_somebody(deed.act, deed.which);
        }
    }

    fn is_time(&self, at: &Moment, now: Timestamp) -> bool {
        match at {
            Moment::Minutes(minutes) => now.duration_since(self.spec.start).as_mins() >= i64::from(*minutes),
            Moment::After { effect, times } => {
                let entries = self.ledger.entries().iter();
                entries.filter(|entry| entry.changed && entry.effect == *effect).count() >= *times
            }
        }
    }
}
