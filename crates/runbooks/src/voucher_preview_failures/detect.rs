//! Probes: a real preview, the host's view of the function, the pinned source, and who is without a picture.

use std::sync::Arc;

use crate::words::counted;
use allclear_core::error::StopReason;
use allclear_core::function::{DeployedFunction, Preview};
use allclear_core::ports::{FunctionHost, StatusPage, VoucherPreviews, Vouchers};
use allclear_core::{Class, Platform, PortError, VoucherId};
use allclear_engine::{Evidence, Observation, Probe};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// More impacted vouchers than this are counted as this many: the list is for people.
const MOST: u32 = 1_000;

/// Whether there is no picture.
pub(super) fn fails(preview: &Preview) -> bool {
    matches!(preview, Preview::Failed { .. })
}

/// The newest voucher that previews can be tried with.
pub(super) struct NewestVoucher {
    vouchers: Arc<dyn Vouchers>,
}

impl NewestVoucher {
    pub(super) fn of(on: &Platform) -> Self {
        Self { vouchers: Arc::clone(&on.vouchers) }
    }
}

#[async_trait]
impl Probe for NewestVoucher {
    type Value = Option<VoucherId>;

    fn subject(&self) -> String {
        "voucher to try".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Option<VoucherId>>, PortError> {
        let newest = self.vouchers.newest_redeemable().await?;
        let says = newest.map_or_else(
            || "there is no voucher".to_owned(),
            |id| format!("previews are tried with voucher {id}"),
        );
        Ok(Observation {
            value: newest,
            evidence: vec![Evidence::new("vouchers (PostgREST)", says.clone())],
            says,
        })
    }
}

/// A real preview call; beside it the status page's light, where looking at it is harmless.
pub(super) struct PreviewCheck {
    previews: Arc<dyn VoucherPreviews>,
    status_page: Option<Arc<dyn StatusPage>>,
    voucher: VoucherId,
    which: &'static str,
}

impl PreviewCheck {
    pub(super) fn of(on: &Platform, voucher: VoucherId, which: &'static str) -> Self {
        let status_page = on.limits.status_page_is_safe.then(|| Arc::clone(&on.status_page));
        Self { previews: Arc::clone(&on.previews), status_page, voucher, which }
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

fn preview_text(preview: &Preview) -> String {
    match preview {
        Preview::Rendered { image, took } => format!(
            "a PNG of {} × {} pixels and {} bytes was decoded after {} ms, SHA-256 {}",
            image.width,
            image.height,
            image.bytes,
            took.as_millis(),
            image.sha256
        ),
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
    type Value = Preview;

    fn subject(&self) -> String {
        self.which.to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Preview>, PortError> {
        let preview = self.previews.preview(self.voucher).await?;
        let mut evidence =
            vec![Evidence::new("POST /api/vouchers/preview and the picture", preview_text(&preview))];
        evidence.extend(self.light().await);
        let says = format!("{}: {}", self.which, preview_text(&preview));
        Ok(Observation { value: preview, says, evidence })
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

/// How many of a few vouchers have no preview.
pub(super) struct PreviewsOf {
    previews: Arc<dyn VoucherPreviews>,
    vouchers: Vec<VoucherId>,
}

impl PreviewsOf {
    pub(super) fn these(on: &Platform, vouchers: &[VoucherId]) -> Self {
        Self { previews: Arc::clone(&on.previews), vouchers: vouchers.to_vec() }
    }
}

#[async_trait]
impl Probe for PreviewsOf {
    type Value = u64;

    fn subject(&self) -> String {
        "vouchers of customers".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<u64>, PortError> {
        let (mut failed, mut evidence) = (0, Vec::new());
        for voucher in &self.vouchers {
            let preview = self.previews.preview(*voucher).await?;
            failed += u64::from(fails(&preview));
            let shows = format!("voucher {voucher}: {}", preview_text(&preview));
            evidence.push(Evidence::new("POST /api/vouchers/preview and the picture", shows));
        }
        let says = format!(
            "a preview is there for {} of {}",
            self.vouchers.len() as u64 - failed,
            counted(self.vouchers.len(), "customer's voucher", "customers' vouchers")
        );
        Ok(Observation { value: failed, says, evidence })
    }
}
