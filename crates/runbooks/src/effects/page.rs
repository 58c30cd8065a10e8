//! Paging whoever is on call, and closing what was paged.

use std::sync::Arc;

use allclear_core::incident::IncidentStatus;
use allclear_core::ports::{Page, Paging};
use allclear_core::{Platform, PortError};
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
}

impl PageSomebody {
    /// `about` tells several pages of one step apart.
    pub(crate) fn about(on: &Platform, page: Page, about: &str) -> Self {
        Self { paging: Arc::clone(&on.paging), page, about: about.to_owned() }
    }
}

#[async_trait]
impl Effect for PageSomebody {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "pagerduty.trigger"
    }

    fn subject(&self) -> String {
        format!("page {}", self.about)
    }

    fn title(&self) -> String {
        "page whoever is on call".to_owned()
    }

    /// While the alert is open, PagerDuty takes a second trigger with its dedup key for the same alert.
    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        if self.paging.find(&self.page.dedup_key).await?.is_some() {
            return Ok(Prediction::default());
        }
        Ok(Prediction::of(change(
            "incident",
            self.subject(),
            &self.page.summary,
            "state",
            "none",
            "triggered",
        )))
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
}

/// Closes the incident behind a dedup key.
///
/// A resolve without an open alert is accepted and dropped, so what PagerDuty shows afterwards is what counts.
#[derive(Clone)]
pub(crate) struct ResolveIncident {
    paging: Arc<dyn Paging>,
    dedup_key: String,
    subject: String,
}

impl ResolveIncident {
    /// The incident of an alert that others raised.
    pub(crate) fn of(on: &Platform, dedup_key: &str) -> Self {
        let subject = format!("incident {dedup_key}");
        Self { paging: Arc::clone(&on.paging), dedup_key: dedup_key.to_owned(), subject }
    }

    /// The incident of a page of this run. Its dedup key names the run, which a plan does not know yet, so it goes by
    /// what the page is about.
    pub(crate) fn of_page(page: &PageSomebody) -> Self {
        let (paging, dedup_key) = (Arc::clone(&page.paging), page.page.dedup_key.clone());
        Self { paging, dedup_key, subject: page.subject() }
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

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let actual = if self.is_open().await? { "triggered" } else { "none" };
        let state = foreseen.or("incident", &self.subject, "state", actual);
        if state == "none" {
            return Ok(Prediction::default());
        }
        Ok(Prediction::of(change("incident", &self.subject, &self.subject, "state", "open", "resolved")))
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
            None => Judgement::verified("there is no such incident", vec![Evidence::new(source, "none")]),
        })
    }
}
