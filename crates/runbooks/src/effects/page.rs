//! Paging whoever is on call, and closing what was paged.

use std::sync::Arc;

use allclear_core::campaign::CampaignAction;
use allclear_core::incident::IncidentStatus;
use allclear_core::ports::{Campaigns, Page, Paging};
use allclear_core::{CampaignId, CampaignStatus, Class, Platform, PortError};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, Prediction, Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;

use super::change;

/// Pages whoever is on call.
#[derive(Clone)]
pub(crate) struct PageSomebody {
    paging: Arc<dyn Paging>,
    page: Page,
    about: String,
    stopped: Option<Stopped>,
}

impl PageSomebody {
    /// `about` tells several pages of one step apart.
    pub(crate) fn about(on: &Platform, page: Page, about: &str) -> Self {
        Self { paging: Arc::clone(&on.paging), page, about: about.to_owned(), stopped: None }
    }

    /// It says that this run has stopped a campaign, and nothing else: it is over as soon as that is not so any more.
    pub(crate) fn while_stopped(self, on: &Platform, campaign: CampaignId) -> Self {
        let campaigns = Arc::clone(&on.campaigns);
        Self { stopped: Some(Stopped { campaigns, campaign }), ..self }
    }

    /// What its change is known by, and the open point that it is.
    pub(crate) fn id(&self) -> String {
        format!("page {}", self.about)
    }

    /// What the service knows it by.
    pub(crate) fn dedup_key(&self) -> &str {
        &self.page.dedup_key
    }
}

/// A campaign that a run has stopped, to start it again.
#[derive(Clone)]
struct Stopped {
    campaigns: Arc<dyn Campaigns>,
    campaign: CampaignId,
}

impl Stopped {
    /// Why it is not over; `None` where it is: the campaign was started again, or somebody else ended it.
    async fn still(&self, foreseen: &Foreseen) -> Result<Option<String>, PortError> {
        let now = self.campaigns.find(self.campaign).await?;
        let id = self.campaign.to_string();
        if foreseen.or("campaign", &id, "status", now.status.as_str()) != CampaignStatus::Done.as_str() {
            return Ok(None);
        }
        let last = self.campaigns.last_change(self.campaign).await?;
        let is_theirs = last.is_some_and(|last| last.action == CampaignAction::Stop && !last.ours);
        Ok((!is_theirs).then(|| format!("campaign {} is still stopped: start it", now.name)))
    }
}

/// How an incident that nobody has opened yet, or that is closed, is named where it is the run's own.
const NOT_OPEN: &str = "not open";
const OPEN: &str = "open";

#[async_trait]
impl Effect for PageSomebody {
    type Receipt = ();
    type Undo = ResolveIncident;

    fn name(&self) -> &'static str {
        "pagerduty.trigger"
    }

    fn subject(&self) -> String {
        self.id()
    }

    fn title(&self) -> String {
        "page whoever is on call".to_owned()
    }

    /// While the alert is open, PagerDuty takes a second trigger with its dedup key for the same alert.
    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        // A lookup that fails keeps nobody from being paged: while it is open, the same key is the same alert.
        if let Ok(Some(_)) = self.paging.find(&self.page.dedup_key).await {
            return Ok(Prediction::default());
        }
        Ok(Prediction::of(change("incident", self.subject(), &self.page.summary, "state", NOT_OPEN, OPEN)))
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        self.paging.trigger(&self.page).await?;
        Ok(Applied { receipt: (), says: format!("PagerDuty accepted the alert {}", self.page.dedup_key) })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        Ok(match self.paging.find(&self.page.dedup_key).await? {
            Some(incident) => Reconciled::Happened(Applied {
                receipt: (),
                says: format!("PagerDuty has incident {}", incident.id),
            }),
            None => Reconciled::DidNot { why: "PagerDuty has no incident for the dedup key".to_owned() },
        })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        let source = "PagerDuty REST, incidents by dedup key";
        Ok(match self.paging.find(&self.page.dedup_key).await? {
            Some(incident) => {
                let shows = format!("incident {} is {}", incident.id, incident.status);
                Judgement::verified("PagerDuty has the incident", vec![Evidence::new(source, shows)])
            }
            // 202 is acceptance; the incident appears a little later.
            None => Judgement::pending(
                "PagerDuty accepted the alert and shows no incident",
                vec![Evidence::new(source, "none")],
            ),
        })
    }

    fn undo(&self, (): &()) -> Option<ResolveIncident> {
        self.stopped.is_some().then(|| ResolveIncident::of_page(self))
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("what it is about may last; resolve it in PagerDuty when it is over, its key holds the run's id")
    }
}

/// Closes the incident behind a dedup key.
///
/// A resolve without an open alert is accepted and dropped, so what PagerDuty shows afterwards is what counts.
#[derive(Clone)]
pub(crate) struct ResolveIncident {
    paging: Arc<dyn Paging>,
    dedup_key: String,
    subject: String,
    /// Whether the page is this run's own, which may never have come to be an incident.
    own: bool,
    stopped: Option<Stopped>,
}

impl ResolveIncident {
    /// The incident of an alert that others raised.
    pub(crate) fn of(on: &Platform, dedup_key: &str) -> Self {
        let subject = format!("incident {dedup_key}");
        Self {
            paging: Arc::clone(&on.paging),
            dedup_key: dedup_key.to_owned(),
            subject,
            own: false,
            stopped: None,
        }
    }

    /// The incident of a page of this run. Its dedup key names the run, which a plan does not know yet, so it goes by
    /// what the page is about.
    pub(crate) fn of_page(page: &PageSomebody) -> Self {
        let (paging, dedup_key) = (Arc::clone(&page.paging), page.page.dedup_key.clone());
        Self { paging, dedup_key, subject: page.subject(), own: true, stopped: page.stopped.clone() }
    }

    /// The incident of a page of a run that has ended.
    pub(crate) fn of_ended(on: &Platform, dedup_key: &str, run: &str) -> Self {
        let subject = format!("page {dedup_key} of run {run}");
        Self { subject, own: true, ..Self::of(on, dedup_key) }
    }

    async fn is_open(&self) -> Result<bool, PortError> {
        let incident = self.paging.find(&self.dedup_key).await?;
        Ok(incident.is_some_and(|incident| incident.status != IncidentStatus::Resolved))
    }
}

#[async_trait]
impl Effect for ResolveIncident {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "pagerduty.resolve"
    }

    fn subject(&self) -> String {
        self.subject.clone()
    }

    fn title(&self) -> String {
        format!("close the {} in PagerDuty", self.subject)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("an incident that was closed is not opened again; raise a new one if it lasts")
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        // A service that is away holds up no plan: to resolve what is not open costs nothing, and it is read back.
        let (is_open, says) = match self.paging.find(&self.dedup_key).await {
            Err(error) if self.own || error.class() != Class::Permanent => {
                (true, Some(format!("whether it is open cannot be read now: {error}")))
            }
            Err(error) => return Err(error),
            Ok(Some(incident)) if incident.status != IncidentStatus::Resolved => {
                (true, Some(format!("it says: {}", incident.title)))
            }
            Ok(Some(_)) => (false, None),
            Ok(None) => {
                let key = &self.dedup_key;
                (false, Some(format!("PagerDuty has no incident with the key {key}, so none can be closed")))
            }
        };
        let says = says.filter(|_| !self.own);
        let state = foreseen.or("incident", &self.subject, "state", if is_open { OPEN } else { NOT_OPEN });
        if state == NOT_OPEN {
            let nothing = Prediction::default();
            return Ok(match says {
                Some(says) => nothing.note(says),
                None => nothing,
            });
        }
        if let Some(stopped) = &self.stopped
            && let Some(says) = stopped.still(foreseen).await?
        {
            return Ok(Prediction::default().note(says));
        }
        let closed = if self.own { NOT_OPEN } else { "resolved" };
        let closing = Prediction::of(change("incident", &self.subject, &self.subject, "state", OPEN, closed));
        // Whoever approves it sees whether the key that was given is this incident's.
        Ok(match says {
            Some(says) => closing.note(says),
            None => closing,
        })
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        self.paging.resolve(&self.dedup_key).await?;
        Ok(Applied { receipt: (), says: format!("PagerDuty accepted the resolve of {}", self.dedup_key) })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        Ok(if self.is_open().await? {
            Reconciled::DidNot { why: "PagerDuty shows it open".to_owned() }
        } else {
            Reconciled::Happened(Applied { receipt: (), says: "PagerDuty shows it closed".to_owned() })
        })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        let source = "PagerDuty REST, incidents by dedup key";
        Ok(match self.paging.find(&self.dedup_key).await? {
            Some(incident) if incident.status != IncidentStatus::Resolved => {
                let shows = format!("incident {} is {}", incident.id, incident.status);
                Judgement::pending(
                    "PagerDuty accepted the resolve and shows it open",
                    vec![Evidence::new(source, shows)],
                )
            }
            Some(incident) => {
                let shows = format!("incident {} is {}", incident.id, incident.status);
                Judgement::verified("the incident is closed", vec![Evidence::new(source, shows)])
            }
            // Nothing of ours is open, and that is all that was wanted.
            None if self.own => {
                Judgement::verified("the page never became an incident", vec![Evidence::new(source, "none")])
            }
            // PagerDuty keeps closed incidents too: what it does not have was never closed by anybody.
            None => Judgement::refuted(
                format!("PagerDuty has no incident with the key {}, so none was closed", self.dedup_key),
                vec![Evidence::new(source, "none")],
            ),
        })
    }
}
