//! Probes: a real preview, the host's view of the function, the pinned source, and who is without a picture.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::words::counted;
use allclear_core::clock::before;
use allclear_core::error::StopReason;
use allclear_core::function::{DeployedFunction, Preview, PreviewFault, PreviewImage};
use allclear_core::incident::IncidentStatus;
use allclear_core::ports::{FunctionHost, Paging, StatusPage, VoucherPreviews, Vouchers};
use allclear_core::{Class, Platform, PortError, VoucherId};
use allclear_engine::{Evidence, Observation, Probe};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// More impacted vouchers than this are counted as this many: the list is for people.
const MOST: u32 = 1_000;
/// How many vouchers without a picture previews are tried with, and how many of the newest: each one is load on a function that
/// may be struggling.
const TRIED_OF_EACH: u32 = 3;

/// Whether there is no picture.
fn fails(preview: &Preview) -> bool {
    matches!(preview, Preview::Failed { .. })
}

/// The vouchers that previews are tried with: the one that was named, some of the window that have no picture, which no stored
/// picture can be shown for, and the newest.
pub(super) struct Sample {
    vouchers: Arc<dyn Vouchers>,
    named: Option<VoucherId>,
    since: Timestamp,
}

impl Sample {
    pub(super) fn of(on: &Platform, named: Option<VoucherId>, since: Timestamp) -> Self {
        Self { vouchers: Arc::clone(&on.vouchers), named, since }
    }
}

#[async_trait]
impl Probe for Sample {
    type Value = Vec<VoucherId>;

    fn subject(&self) -> String {
        "vouchers to try".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Vec<VoucherId>>, PortError> {
        let mut sample = Vec::new();
        if let Some(named) = self.named {
            // One that does not exist is told by what the platform says of it.
            sample.push(self.vouchers.find(named).await?.id);
        }
        sample.extend(self.vouchers.without_picture(self.since, TRIED_OF_EACH).await?);
        sample.extend(self.vouchers.newest_redeemable(TRIED_OF_EACH).await?);
        let mut seen = BTreeSet::new();
        sample.retain(|voucher| seen.insert(*voucher));
        let shown: Vec<String> = sample.iter().map(ToString::to_string).collect();
        let says = match sample.len() {
            0 => "there is no voucher".to_owned(),
            many => format!(
                "previews are tried with {}: {}",
                counted(many, "voucher", "vouchers"),
                shown.join(", ")
            ),
        };
        let evidence = vec![Evidence::new("vouchers (PostgREST)", says.clone())];
        Ok(Observation { value: sample, says, evidence })
    }
}

/// What a look at the previews of some vouchers came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Looked {
    /// How many vouchers were tried.
    tried: u64,
    /// How many of their pictures were made for this look, and not before it.
    fresh: u64,
    /// Those without a picture, and why.
    failed: Vec<Failed>,
}

/// A voucher without a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failed {
    voucher: VoucherId,
    fault: PreviewFault,
    says_degraded: bool,
}

impl Looked {
    pub(super) fn fails(&self) -> bool {
        !self.failed.is_empty()
    }

    /// What is wrong, by what most of them met (of equals the first); whether the platform says of itself that it is degraded,
    /// by all of them.
    pub(super) fn fault(&self) -> Option<(PreviewFault, bool)> {
        let kind = |failed: &Failed| std::mem::discriminant(&failed.fault);
        let alike = |one: &Failed| self.failed.iter().filter(|other| kind(other) == kind(one)).count();
        let most = self.failed.iter().rev().max_by_key(|failed| alike(failed))?;
        Some((most.fault.clone(), self.failed.iter().all(|failed| failed.says_degraded)))
    }

    /// Whether every voucher has a picture, and one at least was made for this look: stored pictures are shown by a function
    /// that makes none any more.
    pub(super) fn works(&self) -> Result<(), String> {
        match self.failed.first() {
            Some(failed) => Err(format!(
                "{} of {} without a preview: {}",
                self.failed.len(),
                counted(self.tried, "voucher is", "vouchers are"),
                failed.fault
            )),
            None if self.fresh == 0 => {
                Err("every picture that was shown was made before it was asked for, so \
                 nothing shows that previews are rendered now"
                    .to_owned())
            }
            None => Ok(()),
        }
    }

    pub(super) fn all_clear(&self) -> String {
        format!(
            "all clear: {} tried, and all have a preview, {} of them rendered just now",
            counted(self.tried, "voucher was", "vouchers were"),
            self.fresh
        )
    }
}

/// Real preview calls; beside them the status page's light, where looking at it is harmless.
pub(super) struct PreviewCheck {
    previews: Arc<dyn VoucherPreviews>,
    status_page: Option<Arc<dyn StatusPage>>,
    vouchers: Vec<VoucherId>,
    which: &'static str,
}

impl PreviewCheck {
    pub(super) fn of(on: &Platform, vouchers: &[VoucherId], which: &'static str) -> Self {
        let status_page = on.limits.status_page_is_safe.then(|| Arc::clone(&on.status_page));
        Self { previews: Arc::clone(&on.previews), status_page, vouchers: vouchers.to_vec(), which }
    }

    /// A hint for people and never evidence: green is sticky there.
    async fn light(&self) -> Option<Evidence> {
        let lights = self.status_page.as_ref()?.lights().await.ok()?;
        let light = lights
            .iter()
            .find(|light| matches!(light.integration.as_str(), "voucherPreview" | "voucher_png"))?;
        let shows = format!("{} ({}); it may be old", light.status, light.message);
        Some(Evidence::new("integrations status page", shows))
    }
}

/// Times of files have whole seconds, and the storage's clock is not the platform's.
const ABOUT: Duration = Duration::from_secs(5);

/// Whether a picture was made for a look that began then.
fn is_fresh(image: &PreviewImage, began: Timestamp) -> bool {
    image.made_at.is_some_and(|made| made >= before(began, ABOUT))
}

fn preview_text(preview: &Preview) -> String {
    match preview {
        Preview::Rendered { image, took } => {
            let made = image.made_at.map_or_else(String::new, |at| format!(", made {at}"));
            format!(
                "a PNG of {} × {} pixels and {} bytes was decoded after {} ms{made}, SHA-256 {}",
                image.width,
                image.height,
                image.bytes,
                took.as_millis(),
                image.sha256
            )
        }
        Preview::Failed { fault, says_degraded } => {
            format!(
                "{fault}; the admin API says {}",
                if *says_degraded { "degraded" } else { "nothing of it" }
            )
        }
    }
}

#[async_trait]
impl Probe for PreviewCheck {
    type Value = Looked;

    fn subject(&self) -> String {
        self.which.to_owned()
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Looked>, PortError> {
        let (mut looked, mut evidence) = (Looked::default(), Vec::new());
        for voucher in &self.vouchers {
            let preview = self.previews.preview(*voucher).await?;
            let shows = format!("voucher {voucher}: {}", preview_text(&preview));
            evidence.push(Evidence::new("POST /api/vouchers/preview and the picture", shows));
            looked.tried += 1;
            match preview {
                Preview::Rendered { image, .. } => looked.fresh += u64::from(is_fresh(&image, now)),
                Preview::Failed { fault, says_degraded } => {
                    looked.failed.push(Failed { voucher: *voucher, fault, says_degraded });
                }
            }
        }
        evidence.extend(self.light().await);
        let says = match looked.works() {
            Ok(()) => format!("{}: {}", self.which, looked.all_clear().trim_start_matches("all clear: ")),
            Err(why) => format!("{}: {why}", self.which),
        };
        Ok(Observation { value: looked, says, evidence })
    }
}

/// Whether previews fail still, for what is done upon an older look.
pub(super) struct StillFails(pub(super) PreviewCheck);

#[async_trait]
impl Probe for StillFails {
    type Value = Option<String>;

    fn subject(&self) -> String {
        self.0.subject()
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Option<String>>, PortError> {
        let Observation { value: looked, says, evidence } = self.0.observe(now).await?;
        let value = (!looked.fails())
            .then(|| "previews work again since they were looked at; start the runbook anew".to_owned());
        Ok(Observation { value, says, evidence })
    }
}

/// Whether it is still over: previews work and the incident that this run closed is not open again. Gives why not.
pub(super) struct StillOver {
    check: PreviewCheck,
    paging: Arc<dyn Paging>,
    /// The dedup key of the incident that was closed.
    closed: Option<String>,
}

impl StillOver {
    pub(super) fn of(on: &Platform, check: PreviewCheck, closed: Option<String>) -> Self {
        Self { check, paging: Arc::clone(&on.paging), closed }
    }
}

#[async_trait]
impl Probe for StillOver {
    type Value = Option<String>;

    fn subject(&self) -> String {
        self.check.subject()
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Option<String>>, PortError> {
        let Observation { value: looked, mut says, mut evidence } = self.check.observe(now).await?;
        let mut value = looked.failed.first().map(|failed| {
            format!(
                "previews worked and fail again, {}: {}; start the runbook anew",
                self.check.which, failed.fault
            )
        });
        if let Some(key) = &self.closed
            && let Some(incident) = self.paging.find(key).await?
            && incident.status != IncidentStatus::Resolved
        {
            let shows = format!("incident {} is {}", incident.id, incident.status);
            evidence.push(Evidence::new("PagerDuty REST, incidents by dedup key", shows));
            says = format!("{says}; the incident {key} is open again");
            let again = format!("the incident {key} was closed and is open again: start the runbook anew");
            value = value.or(Some(again));
        }
        Ok(Observation { value, says, evidence })
    }
}

/// What the host says of the function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "host", rename_all = "snake_case")]
pub(super) enum HostView {
    /// It has it.
    Seen { function: DeployedFunction },
    /// It has none of that name.
    Missing,
    /// It does not let us look.
    NoAccess { reason: StopReason, says: String },
}

impl std::fmt::Display for HostView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seen { function } => function.fmt(f),
            Self::Missing => f.write_str("the host has no such function"),
            Self::NoAccess { reason: StopReason::Credential, .. } => {
                f.write_str("the access token is expired or revoked (401)")
            }
            Self::NoAccess { .. } => f.write_str("the access token lacks the scope for functions (403)"),
        }
    }
}

/// Asks the host.
pub(super) struct PreviewFunction {
    host: Arc<dyn FunctionHost>,
    slug: String,
    which: &'static str,
}

impl PreviewFunction {
    pub(super) fn of(on: &Platform, which: &'static str) -> Self {
        Self { host: Arc::clone(&on.functions), slug: on.limits.preview_function.clone(), which }
    }
}

#[async_trait]
impl Probe for PreviewFunction {
    type Value = HostView;

    fn subject(&self) -> String {
        format!("function {} {}", self.slug, self.which)
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<HostView>, PortError> {
        let view = match self.host.find(&self.slug).await {
            Ok(Some(function)) => HostView::Seen { function },
            Ok(None) => HostView::Missing,
            // A refused token is a finding: the incident goes on without the host's view.
            Err(error) => match error.class() {
                Class::Stop(reason) => HostView::NoAccess { reason, says: error.to_string() },
                _ => return Err(error),
            },
        };
        let says = format!("{}: {view}", self.slug);
        let source = format!("Supabase Management API, project {}", self.host.project());
        Ok(Observation { evidence: vec![Evidence::new(source, says.clone())], value: view, says })
    }
}

/// The source that may be deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pinned {
    pub(super) sha256: String,
    pub(super) files: usize,
}

/// Loads it; `None` where none is pinned.
pub(super) struct PinnedBundle {
    host: Arc<dyn FunctionHost>,
    slug: String,
}

impl PinnedBundle {
    pub(super) fn of(on: &Platform) -> Self {
        Self { host: Arc::clone(&on.functions), slug: on.limits.preview_function.clone() }
    }
}

#[async_trait]
impl Probe for PinnedBundle {
    type Value = Option<Pinned>;

    fn subject(&self) -> String {
        "pinned source".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Option<Pinned>>, PortError> {
        let pinned = match self.host.bundle(&self.slug).await {
            Ok(bundle) => Some(Pinned { sha256: bundle.sha256, files: bundle.files.len() }),
            Err(PortError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let says = match &pinned {
            Some(pinned) => {
                format!(
                    "{} with SHA-256 {} pinned for {}",
                    counted(pinned.files, "file is", "files are"),
                    pinned.sha256,
                    self.slug
                )
            }
            None => format!("no source is pinned for {}", self.slug),
        };
        Ok(Observation { value: pinned, evidence: vec![Evidence::new("configuration", says.clone())], says })
    }
}

/// Vouchers that were issued and have no picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Impacted {
    pub(super) vouchers: Vec<VoucherId>,
}

/// Finds them.
pub(super) struct WithoutPicture {
    vouchers: Arc<dyn Vouchers>,
    since: Timestamp,
}

impl WithoutPicture {
    pub(super) fn since(on: &Platform, since: Timestamp) -> Self {
        Self { vouchers: Arc::clone(&on.vouchers), since }
    }
}

#[async_trait]
impl Probe for WithoutPicture {
    type Value = Impacted;

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Impacted>, PortError> {
        let vouchers = self.vouchers.without_picture(self.since, MOST).await?;
        let most = if vouchers.len() == MOST as usize { "at least " } else { "" };
        let says = format!(
            "{most}{} since {} without a picture",
            counted(vouchers.len(), "voucher was issued", "vouchers were issued"),
            self.since
        );
        let evidence = vec![Evidence::new("vouchers (PostgREST)", says.clone())];
        Ok(Observation { value: Impacted { vouchers }, says, evidence })
    }
}

/// Which of a few vouchers have no preview.
pub(super) struct PreviewsOf {
    previews: Arc<dyn VoucherPreviews>,
    vouchers: Vec<VoucherId>,
    /// Which look it is, from 1 on.
    look: u32,
}

impl PreviewsOf {
    pub(super) fn these(on: &Platform, vouchers: &[VoucherId], look: u32) -> Self {
        Self { previews: Arc::clone(&on.previews), vouchers: vouchers.to_vec(), look }
    }
}

#[async_trait]
impl Probe for PreviewsOf {
    type Value = Vec<VoucherId>;

    fn subject(&self) -> String {
        match self.look {
            1 => "vouchers of customers".to_owned(),
            look => format!("vouchers of customers, look {look}"),
        }
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Vec<VoucherId>>, PortError> {
        let (mut failed, mut evidence) = (Vec::new(), Vec::new());
        for voucher in &self.vouchers {
            let preview = self.previews.preview(*voucher).await?;
            if fails(&preview) {
                failed.push(*voucher);
            }
            let shows = format!("voucher {voucher}: {}", preview_text(&preview));
            evidence.push(Evidence::new("POST /api/vouchers/preview and the picture", shows));
        }
        let says = format!(
            "a preview is there for {} of {}",
            self.vouchers.len() - failed.len(),
            counted(self.vouchers.len(), "customer's voucher", "customers' vouchers")
        );
        Ok(Observation { value: failed, says, evidence })
    }
}
