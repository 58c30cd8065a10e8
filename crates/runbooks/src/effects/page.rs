//! Paging whoever is on call, and closing what was paged.

use std::sync::Arc;

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
}

impl PageSomebody {
    pub(crate) fn with(on: &Platform, page: Page) -> Self {
        Self { paging: Arc::clone(&on.paging), page }
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
        "page".to_owned()
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
        Ok(Prediction::of(change("incident", "page", &self.page.summary, "state", "none", "triggered")))
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
