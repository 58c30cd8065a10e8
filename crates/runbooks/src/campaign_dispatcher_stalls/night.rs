//! The night: whether quiet hours explain that nothing moves, and what is started neither in them nor into them.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::clock::after;
use allclear_core::policy::{PolicyFault, QuietHours};
use allclear_core::ports::{SendLog, SendQueue};
use allclear_core::{Campaign, CampaignId, Platform, PortError};
use allclear_engine::{Escalation, Evidence, Halt, Note, Observation, Observing, Probe, Run, Watch};
use async_trait::async_trait;
use jiff::Timestamp;

use super::detect::{CampaignLook, DispatcherHealth, Health, Which};
use super::{CD_D1, CD_M1, CampaignDispatcherStalls, Done, GIVE_UP_AFTER, HEALTH_EVERY};
use crate::effects::Paused;
use crate::probes::{KnownPolicy, StoredSendPolicy, owe_policy};
use crate::quiet::{Days, NeedsDays, Start, quiet_until, recipients_zone};
use crate::spread::{hold_until, spread};
use crate::words::counted;

impl CampaignDispatcherStalls {
    /// Messages that rest in quiet hours are no stall, where this dispatcher rests in them. Hours that look wrong explain
    /// nothing: whoever swapped start and end stopped the sending by day, and that is the stall.
    pub(super) async fn conclude_in_quiet_hours(
        &self,
        run: &mut Run,
        running: &[Campaign],
        look: Which,
    ) -> Result<(), Halt> {
        let policy = if look == Which::First {
            StoredSendPolicy::read(&self.on)
        } else {
            StoredSendPolicy::again(&self.on)
        };
        let stored = match run.probe(&CD_D1, policy).await? {
            KnownPolicy::Stored(stored) => stored,
            // What is unknown explains nothing, so the stall is handled.
            KnownPolicy::Unreadable { unreadable } => return owe_policy(run, &CD_D1, &unreadable).await,
        };
        let wrong =
            stored.faults().into_iter().find(|fault| matches!(fault, PolicyFault::MostlyQuiet { .. }));
        if let Some(fault) = wrong {
            let says = format!("{fault}; see whatsapp-send-failures, step WA-I2");
            return run.note(&CD_D1, Note::OpenQuestion { says }).await;
        }
        let Ok(quiet) = QuietHours::parse(&stored.quiet_start, &stored.quiet_end) else {
            let says = "the stored quiet hours are no times; see whatsapp-send-failures, step WA-I2";
            return run.note(&CD_D1, Note::OpenQuestion { says: says.to_owned() }).await;
        };
        let Some(began) = quiet.began_at(run.now(), &recipients_zone(&self.on.limits)) else { return Ok(()) };
        let rests = run
            .probe(&CD_D1, AtNight::since((began, look), &self.on, running, self.window()))
            .await?
            .is_none();
        let says = format!(
            "all clear: nothing moves because it is quiet hours {quiet}, and what moved before them stopped with them"
        );
        run.conclude_unless(!rests, says)
    }

    /// What waits may need longer than a day outside quiet hours: then all campaigns have their share of each day.
    pub(super) async fn spread_over_days(
        &self,
        run: &mut Run,
        stalled: &[CampaignLook],
        done: &mut Done,
    ) -> Result<(), Halt> {
        let ours: Vec<Paused> = done.paused.iter().filter(|paused| paused.by_us).cloned().collect();
        let Some(first) = ours.first() else { return Ok(()) };
        done.days = run.probe(&CD_M1, NeedsDays(self.start_of(first, (stalled, &done.days)))).await?;
        if done.days.number() > 1 {
            let what = "days over which the campaigns send, because their queues need more than one";
            let count = done.days.number() as u64;
            run.note(&CD_M1, Note::Count { what: what.to_owned(), count }).await?;
        }
        for paused in &ours {
            let waits =
                stalled.iter().find(|look| look.id == paused.campaign).map_or(0, |look| look.depth.pending);
            spread(run, &CD_M1, &self.on, paused, &done.days.later(waits)).await?;
        }
        Ok(())
    }

    /// What is started sends at once, and the dispatcher looks at no quiet hours, nor at who is paused: what waits with this
    /// campaign is left to the morning as well. By then the dispatcher may be ill again.
    pub(super) async fn wait_out_quiet_hours(
        &self,
        run: &mut Run,
        paused: &Paused,
        start: Start,
        done: &mut Done,
    ) -> Result<(), Halt> {
        let campaign = paused.campaign;
        let why = start.why();
        let until = quiet_until(run, &CD_M1, start).await?;
        let hold = Hold { on: self.on.clone(), campaign: paused.clone() };
        let Some(until) = until else {
            return run.in_case("its start would reach into quiet hours", &hold).await;
        };
        for waiting in &done.still_paused() {
            hold_until(run, &CD_M1, &self.on, waiting, until).await?;
            done.held.push(waiting.campaign);
        }
        run.wait_until(&CD_M1, until, why).await?;
        if run.is_plan() {
            return Ok(());
        }
        let watch = Watch::every(HEALTH_EVERY, GIVE_UP_AFTER);
        let condition = Observing {
            probe: DispatcherHealth::before_the_start(&self.on, campaign),
            satisfied: Health::must_be_healthy,
        };
        run.until(&CD_M1, watch, condition).await.map(drop)
    }

    /// What begins to send what of a campaign goes out on the first day, together with all the others that stalled.
    pub(super) fn start_of(&self, paused: &Paused, (stalled, days): (&[CampaignLook], &Days)) -> Start {
        let first =
            |looks: &[&CampaignLook]| looks.iter().map(|look| days.first_of(look.depth.pending)).sum();
        let (own, others): (Vec<&CampaignLook>, Vec<&CampaignLook>) =
            stalled.iter().partition(|look| look.id == paused.campaign);
        let ids: Vec<CampaignId> = others.iter().map(|look| look.id).collect();
        Start::of(&self.on, (paused.campaign, &paused.name), first(&own)).together_with(&ids, first(&others))
    }
}

/// For the plan: what is left to the morning where a start has to wait for it.
struct Hold {
    on: Platform,
    campaign: Paused,
}

#[async_trait]
impl Escalation for Hold {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        let tomorrow = after(run.now(), Duration::from_hours(24));
        hold_until(run, &CD_M1, &self.on, &self.campaign, tomorrow).await
    }
}

/// Why what does not move in quiet hours is no rest; `None` where it is one: it moved until they began and not since.
///
/// The dispatcher that this platform is known to have looks at no quiet hours, and one that does may stall before them. So they
/// explain a campaign that stands still only where the send log agrees.
struct AtNight {
    log: Arc<dyn SendLog>,
    queue: Arc<dyn SendQueue>,
    health: DispatcherHealth,
    began: Timestamp,
    /// By which look.
    look: Which,
    running: Vec<Campaign>,
    window: Duration,
    interval: Duration,
}

impl AtNight {
    fn since(
        (began, look): (Timestamp, Which),
        on: &Platform,
        running: &[Campaign],
        window: Duration,
    ) -> Self {
        Self {
            log: Arc::clone(&on.send_log),
            queue: Arc::clone(&on.send_queue),
            health: DispatcherHealth::of(on),
            began,
            look,
            running: running.to_vec(),
            window,
            interval: on.limits.dispatcher_interval,
        }
    }

    /// Whether a campaign stood still for so long before the quiet hours began, with messages due.
    async fn stood_still_before(&self, campaign: &Campaign, so_long: Duration) -> Result<bool, PortError> {
        let before = self.began - so_long;
        if campaign.started_at.is_some_and(|started| started > before) {
            return Ok(false);
        }
        let was_due = self.queue.depth(campaign.id, before).await?.due > 0;
        Ok(was_due && self.log.tally(Some(campaign.id), before).await?.tries() == 0)
    }
}

#[async_trait]
impl Probe for AtNight {
    type Value = Option<String>;

    fn subject(&self) -> String {
        let since = "since the quiet hours began";
        if self.look == Which::First { since.to_owned() } else { format!("{since}, {}", self.look.title()) }
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Option<String>>, PortError> {
        let health = self.health.observe(now).await?;
        let (mut tries, mut last_tries, mut stood_still) = (0, 0, Vec::new());
        for campaign in &self.running {
            // What was in the dispatcher's hands as they began is no send of theirs.
            tries += self.log.tally(Some(campaign.id), self.began + self.interval).await?.tries();
            last_tries += self.log.tally(Some(campaign.id), self.began - self.interval * 2).await?.tries();
            if self.stood_still_before(campaign, self.window).await? {
                stood_still.push(campaign.name.as_str());
            }
        }
        // A dispatcher that takes turns may pass one campaign by, and not all of them.
        if last_tries == 0 {
            for campaign in &self.running {
                let passed_by = stood_still.contains(&campaign.name.as_str());
                if !passed_by && self.stood_still_before(campaign, self.interval * 2).await? {
                    stood_still.push(campaign.name.as_str());
                }
            }
        }
        let why = if !health.value.is_healthy() {
            Some(health.says)
        } else if tries > 0 {
            let sends = counted(tries, "message was", "messages were");
            Some(format!(
                "{sends} tried since the quiet hours began, so this dispatcher does not rest in them"
            ))
        } else if !stood_still.is_empty() {
            let names = stood_still.join(", ");
            Some(format!("{names}: messages were due before the quiet hours began and none was tried"))
        } else if last_tries == 0 {
            Some(
                "nothing was tried right before the quiet hours began, so nothing shows that they stopped it"
                    .to_owned(),
            )
        } else {
            None
        };
        let says = why.clone().unwrap_or_else(|| {
            "what moved before the quiet hours stopped with them, and the dispatcher is healthy".to_owned()
        });
        let evidence = vec![Evidence::new(
            "send_logs and send_queue (PostgREST), Management API",
            format!("since {}: {tries} tried; {}", self.began, health.value),
        )];
        Ok(Observation { value: why, says, evidence })
    }
}
