//! Putting messages back that were given up, and giving them up again where that is taken back.

use std::sync::Arc;

use allclear_core::ports::{Campaigns, SendQueue};
use allclear_core::{CampaignId, CampaignStatus, Platform, PortError, QueueRows};
use allclear_engine::{
    Applied, Effect, Escalation, Evidence, Foreseen, Halt, Intent, Judgement, NoUndo, NotBefore, Prediction,
    Reconciled, Repeat, Run, Step,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::GivenUp;
use crate::effects::{Paused, change};
use crate::quiet::Start;
use crate::words::counted;

const FIELD: &str = "messages that were given up";
const GIVEN_UP: &str = "given up";
const WAITING: &str = "waiting";

/// Whose a campaign must be for its messages to be put back.
#[derive(Clone)]
pub(crate) enum Whose {
    /// A run's that paused it, with nobody having touched it since.
    Pausers(Paused),
    /// It runs.
    Runs,
}

/// What came of putting messages back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IsBack {
    pub(crate) rows: u64,
    /// Why none was, where somebody has taken the campaign.
    #[serde(default)]
    pub(crate) left_alone: Option<String>,
}

/// Puts those of a campaign's messages back into the queue that were seen to be given up for what passes.
#[derive(Clone)]
pub(crate) struct PutBack {
    campaigns: Arc<dyn Campaigns>,
    queue: Arc<dyn SendQueue>,
    campaign: (CampaignId, String),
    whose: Whose,
    rows: QueueRows,
    lifted: bool,
    /// Not due before.
    at: Timestamp,
    /// Whether a plan names it for rows that nobody knows yet.
    foreseen: bool,
    not_before: Option<NotBefore>,
}

impl PutBack {
    pub(crate) fn of(on: &Platform, found: &GivenUp, whose: Whose, at: Timestamp) -> Self {
        Self {
            campaigns: Arc::clone(&on.campaigns),
            queue: Arc::clone(&on.send_queue),
            campaign: (found.campaign, found.name.clone()),
            whose,
            rows: found.passing.clone(),
            lifted: found.lifted,
            at,
            foreseen: false,
            not_before: None,
        }
    }

    /// Not so that they would be sent in quiet hours.
    pub(crate) fn outside_quiet_hours(self, start: Start) -> Self {
        Self { not_before: Some(start.not_before()), ..self }
    }

    fn id(&self) -> CampaignId {
        self.campaign.0
    }

    fn name(&self) -> &str {
        &self.campaign.1
    }

    /// Of its rows those that are given up now, and still for what passes: whoever got the message meanwhile gets no second.
    async fn wanted(&self) -> Result<GivenUp, PortError> {
        let mut found = GivenUp::of(&*self.queue, &self.campaign, self.lifted).await?;
        let ids = found.passing.ranges().iter().flat_map(|(first, last)| *first..=*last);
        found.passing = QueueRows::of_ids(ids.filter(|id| self.rows.has(*id)));
        Ok(found)
    }

    /// Why the campaign is somebody else's now.
    async fn taken(&self, foreseen: &Foreseen) -> Result<Option<String>, PortError> {
        let now = self.campaigns.find(self.id()).await?;
        let status = foreseen.or("campaign", &self.id().to_string(), "status", now.status.as_str());
        let wanted = match self.whose {
            Whose::Pausers(_) => CampaignStatus::Paused,
            Whose::Runs => CampaignStatus::Running,
        };
        if status != wanted.as_str() {
            return Ok(Some(format!("the campaign is {status}, and not as it was left")));
        }
        match &self.whose {
            // In a plan it is not paused yet, so nobody can have touched it since.
            Whose::Pausers(paused) if now.status == CampaignStatus::Paused => {
                paused.touched(&*self.campaigns, &now).await
            }
            _ => Ok(None),
        }
    }
}

#[async_trait]
impl Effect for PutBack {
    type Receipt = IsBack;
    type Undo = GiveUpAgain;

    fn name(&self) -> &'static str {
        "send_queue.put_back"
    }

    fn subject(&self) -> String {
        format!("campaign {}", self.id())
    }

    fn title(&self) -> String {
        format!("put the messages of campaign {} back that were given up", self.name())
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn not_before(&self) -> Option<NotBefore> {
        self.not_before.clone()
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let found = self.wanted().await?;
        let many = !found.passing.is_empty();
        let id = self.id().to_string();
        let actual = if many || self.foreseen { GIVEN_UP } else { "none given up" };
        if foreseen.or("queue", &id, FIELD, actual) != GIVEN_UP {
            return Ok(Prediction::default());
        }
        if let Some(says) = self.taken(foreseen).await? {
            return Ok(Prediction::default().note(says));
        }
        let back = change("queue", id, self.name(), FIELD, GIVEN_UP, WAITING);
        let says = if many {
            let given_up = counted(found.count(), "message that was", "messages that were");
            let back = if found.count() == 1 { "is" } else { "are" };
            format!("{given_up} given up because {} {back} put back", found.because())
        } else {
            "none is given up now".to_owned()
        };
        Ok(Prediction::of(back).concerning(found.count()).note(says))
    }

    fn foresee(&self, prediction: &Prediction) -> IsBack {
        // Only that somebody took it is a reason to change nothing; that none is given up needs no word.
        let left_alone = prediction.notes.first().filter(|_| prediction.changes.is_empty()).cloned();
        IsBack { rows: 0, left_alone }
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<IsBack>, PortError> {
        if let Some(why) = self.taken(&Foreseen::default()).await? {
            let says = format!("{} is left alone: {why}", self.name());
            return Ok(Applied { receipt: IsBack { rows: 0, left_alone: Some(why) }, says });
        }
        let found = self.wanted().await?;
        let rows = self.queue.put_back(self.id(), &found.passing, self.at).await?;
        let back = counted(rows, "message", "messages");
        let says = format!("{back} of {} put back that had been given up", self.name());
        Ok(Applied { receipt: IsBack { rows, left_alone: None }, says })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<IsBack>, PortError> {
        if !self.wanted().await?.passing.is_empty() {
            let why = "messages are still given up; putting the rest back repeats none".to_owned();
            return Ok(Reconciled::DidNot { why });
        }
        let rows = self.queue.untried(self.id(), &self.rows).await?;
        let says = "none of them is given up any more".to_owned();
        Ok(Reconciled::Happened(Applied { receipt: IsBack { rows, left_alone: None }, says }))
    }

    async fn verify(
        &self,
        _intent: &Intent,
        receipt: &IsBack,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let name = self.name();
        if let Some(says) = &receipt.left_alone {
            return Ok(Judgement::verified(format!("{name} is left alone: {says}"), Vec::new()));
        }
        let left = self.wanted().await?.passing;
        let of_them = self.queue.given_up_among(self.id(), &left).await?;
        let evidence = vec![Evidence::new("send_queue (PostgREST)", format!("{of_them} given up"))];
        Ok(if left.is_empty() {
            Judgement::verified(format!("what was put back of {name} is not given up any more"), evidence)
        } else {
            let still = counted(of_them, "message", "messages");
            Judgement::refuted(format!("{still} of {name} still given up"), evidence)
        })
    }

    fn undo(&self, receipt: &IsBack) -> Option<GiveUpAgain> {
        let (queue, campaign, rows) = (Arc::clone(&self.queue), self.campaign.clone(), self.rows.clone());
        receipt.left_alone.is_none().then_some(GiveUpAgain { queue, campaign, rows })
    }
}

/// Takes it back for what was not tried since: it is given up again.
#[derive(Clone)]
pub(crate) struct GiveUpAgain {
    queue: Arc<dyn SendQueue>,
    campaign: (CampaignId, String),
    rows: QueueRows,
}

#[async_trait]
impl Effect for GiveUpAgain {
    type Receipt = IsBack;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "send_queue.give_up"
    }

    fn subject(&self) -> String {
        format!("campaign {}", self.campaign.0)
    }

    fn title(&self) -> String {
        format!("give up the messages of campaign {} again that were put back and not tried", self.campaign.1)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("the dispatcher had given them up before the run that put them back")
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let (id, name) = &self.campaign;
        let untried = self.queue.untried(*id, &self.rows).await?;
        let actual = if untried > 0 { WAITING } else { "none waiting" };
        if foreseen.or("queue", &id.to_string(), FIELD, actual) != WAITING {
            return Ok(Prediction::default());
        }
        let again = change("queue", id, name, FIELD, WAITING, GIVEN_UP);
        Ok(Prediction::of(again).note(counted(untried, "message waits untried", "messages wait untried")))
    }

    fn foresee(&self, _prediction: &Prediction) -> IsBack {
        IsBack { rows: 0, left_alone: None }
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<IsBack>, PortError> {
        let rows = self.queue.give_up(self.campaign.0, &self.rows).await?;
        let says = format!("{} of {} given up again", counted(rows, "message", "messages"), self.campaign.1);
        Ok(Applied { receipt: IsBack { rows, left_alone: None }, says })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<IsBack>, PortError> {
        let untried = self.queue.untried(self.campaign.0, &self.rows).await?;
        if untried > 0 {
            let why = counted(untried, "message still waits", "messages still wait");
            return Ok(Reconciled::DidNot { why });
        }
        let says = "none of them waits untried".to_owned();
        Ok(Reconciled::Happened(Applied { receipt: IsBack { rows: 0, left_alone: None }, says }))
    }

    async fn verify(
        &self,
        _intent: &Intent,
        _receipt: &IsBack,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let (id, name) = &self.campaign;
        let untried = self.queue.untried(*id, &self.rows).await?;
        let evidence = vec![Evidence::new("send_queue (PostgREST)", format!("{untried} wait untried"))];
        Ok(if untried == 0 {
            Judgement::verified(format!("no message of {name} that was put back waits untried"), evidence)
        } else {
            let untried = counted(untried, "message", "messages");
            Judgement::refuted(format!("{untried} of {name} still waiting"), evidence)
        })
    }
}

/// That messages may be given up between a plan and its run, for the plan.
pub(crate) struct MayBeGivenUp {
    on: Platform,
    step: Step,
    campaigns: Vec<(CampaignId, String, Whose)>,
}

impl MayBeGivenUp {
    /// In a plan: of these campaigns, those of which nothing is given up yet.
    pub(crate) async fn name(
        run: &mut Run,
        step: &Step,
        (on, found): (&Platform, &[GivenUp]),
        campaigns: Vec<(CampaignId, String, Whose)>,
    ) -> Result<(), Halt> {
        let has = |id: CampaignId| found.iter().any(|one| one.campaign == id && one.count() > 0);
        let campaigns = campaigns.into_iter().filter(|(id, ..)| !has(*id)).collect();
        let all = Self { on: on.clone(), step: *step, campaigns };
        run.in_case("messages are given up before sending is proven to work", &all).await
    }
}

#[async_trait]
impl Escalation for MayBeGivenUp {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        for (campaign, name, whose) in &self.campaigns {
            let back = PutBack {
                campaigns: Arc::clone(&self.on.campaigns),
                queue: Arc::clone(&self.on.send_queue),
                campaign: (*campaign, name.clone()),
                whose: whose.clone(),
                rows: QueueRows::default(),
                lifted: false,
                at: run.now(),
                foreseen: true,
                not_before: None,
            };
            run.perform(&self.step, back).await?;
        }
        Ok(())
    }
}
