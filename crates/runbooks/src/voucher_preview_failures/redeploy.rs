//! Redeploying a function from its pinned source.
//!
//! What can go wrong in the middle: the upload arrives and its answer does not, or the answer says 201 and the function is
//! not there. Both are settled by the version that the host shows. It rises with every deployment, and what it was before
//! stands in the intent, which is also what a person needs to roll back.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::error::Service;
use allclear_core::function::FunctionStatus;
use allclear_core::ports::FunctionHost;
use allclear_core::{Platform, PortError};
use allclear_engine::{
    Applied, Danger, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, OnlyWhile, Patience, Prediction,
    Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;

use crate::effects::change;

/// Deploys a function.
#[derive(Clone)]
pub(super) struct DeployFunction {
    host: Arc<dyn FunctionHost>,
    slug: String,
    /// The source that a person agreed to.
    sha256: String,
    only_while: Option<OnlyWhile>,
}

impl DeployFunction {
    pub(super) fn pinned(on: &Platform, sha256: &str) -> Self {
        Self {
            host: Arc::clone(&on.functions),
            slug: on.limits.preview_function.clone(),
            sha256: sha256.to_owned(),
            only_while: None,
        }
    }

    /// Only while previews fail: somebody may have deployed what works.
    pub(super) fn only_while(self, only_while: OnlyWhile) -> Self {
        Self { only_while: Some(only_while), ..self }
    }

    /// The version as the host shows it.
    async fn version(&self) -> Result<String, PortError> {
        Ok(self
            .host
            .find(&self.slug)
            .await?
            .map_or_else(|| "absent".to_owned(), |function| format!("version {}", function.version)))
    }
}

fn before(intent: &Intent) -> &str {
    intent.changes.first().map_or("", |change| change.before.as_str())
}

#[async_trait]
impl Effect for DeployFunction {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "function.deploy"
    }

    fn subject(&self) -> String {
        format!("function {}", self.slug)
    }

    fn title(&self) -> String {
        format!("deploy {} to project {}", self.slug, self.host.project())
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn only_while(&self) -> Option<OnlyWhile> {
        self.only_while.clone()
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("the version before it is not kept; deploy the one that you want")
    }

    fn danger(&self) -> Danger {
        Danger::CannotBeTakenBack { why: "what runs now is kept nowhere" }
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let source = format!("deployed from {}", &self.sha256[..12.min(self.sha256.len())]);
        let deployed = change("function", &self.slug, &self.slug, "version", &self.version().await?, &source);
        Ok(Prediction::of(deployed).note(format!("project {}", self.host.project())))
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        let bundle = self.host.bundle(&self.slug).await?;
        if bundle.sha256 != self.sha256 {
            return Err(PortError::Rejected {
                service: Service::Artifacts,
                call: format!("bundle of {}", self.slug),
                code: Some("pinned_bundle".to_owned()),
                detail: format!(
                    "it is {} and {} was approved; nothing was deployed",
                    bundle.sha256, self.sha256
                ),
            });
        }
        let function = self.host.deploy(&self.slug, &bundle).await?;
        Ok(Applied { receipt: (), says: format!("the host accepted {}: {function}", self.slug) })
    }

    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<()>, PortError> {
        let now = self.version().await?;
        Ok(if now == before(intent) {
            Reconciled::DidNot { why: format!("the host still shows {now}") }
        } else {
            Reconciled::Happened(Applied { receipt: (), says: format!("the host shows {now}") })
        })
    }

    /// A function can be unknown in a region for a short while after its deployment.
    fn patience(&self) -> Patience {
        Patience { every: Duration::from_secs(5), within: Duration::from_mins(1) }
    }

    async fn verify(&self, intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        let source = "Supabase Management API, function";
        let Some(function) = self.host.find(&self.slug).await? else {
            let evidence = vec![Evidence::new(source, "no such function")];
            return Ok(Judgement::pending(
                "the host accepted the deployment and does not have the function",
                evidence,
            ));
        };
        let evidence = vec![Evidence::new(source, function.to_string())];
        if format!("version {}", function.version) == before(intent) {
            return Ok(Judgement::pending(
                "the host accepted the deployment and shows the version before it",
                evidence,
            ));
        }
        Ok(match function.status {
            FunctionStatus::Active => {
                Judgement::verified(format!("{} is served: {function}", self.slug), evidence)
            }
            status => Judgement::pending(format!("{} is {status}", self.slug), evidence),
        })
    }
}
