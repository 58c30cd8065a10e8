//! Edge functions at their host, and what a preview comes to.

use jiff::{SignedDuration, Timestamp};

use super::rows::{Function, Voucher};
use super::{Project, World};
use crate::fault::Fault;
use crate::scenario::{PreviewAnswer, Scenario, Twist};

/// The function that renders previews.
pub(crate) const PREVIEW_FUNCTION: &str = "voucher-preview";
/// The function that sends campaigns.
pub(crate) const DISPATCH_FUNCTION: &str = "campaign-dispatch";

/// Why there is no preview: what the admin API answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoPreview {
    pub(crate) http: u16,
    pub(crate) message: &'static str,
}

/// What a preview shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// A picture that was made for it.
    Rendered,
    /// A picture that was there before.
    Stored,
    /// The answer is well and names no picture.
    Nothing,
}

/// The platform's words wherever the function has none of its own, whatever its status.
const DEFAULT_WORDS: &str =
    "Voucher preview service not configured. Set VOUCHER_PREVIEW_ENDPOINT to enable previews.";

pub(super) fn deployed(scenario: Scenario, start: Timestamp) -> Vec<Function> {
    let long_ago = start - SignedDuration::from_hours(720);
    let function = |slug: &str, version| Function {
        slug: slug.to_owned(),
        status: "ACTIVE",
        version,
        updated_at: long_ago,
        broken: false,
    };
    let mut preview = function(PREVIEW_FUNCTION, 7);
    if matches!(scenario, Scenario::PreviewBroken | Scenario::PreviewNoPicture) {
        preview.version = 8;
        preview.updated_at = start - SignedDuration::from_mins(15);
        preview.broken = true;
    }
    let mut functions = vec![function("wa-send-media", 12), function(DISPATCH_FUNCTION, 4)];
    if scenario != Scenario::PreviewRemoved {
        functions.push(preview);
    }
    functions
}

impl World {
    fn lasts(&self) -> bool {
        self.spec.ends_at().is_some_and(|end| self.now < end)
    }

    /// Whether the access token is refused where backups are listed: until somebody rotates it.
    pub(crate) fn token_expired(&self) -> bool {
        self.spec.scenario.exercise() == Some(Twist::TokenExpired) && self.lasts()
    }

    /// Somebody pauses the project, or breaks a part of it.
    pub(crate) fn set_project(&mut self, project: Project) -> bool {
        self.project = project;
        true
    }

    /// What the host says of a function.
    pub(crate) fn function(&self, slug: &str) -> Option<Function> {
        let mut function = self.functions.iter().find(|function| function.slug == slug)?.clone();
        let throttled = matches!(self.spec.scenario, Scenario::PreviewThrottled { .. }) && self.lasts();
        if throttled && slug == PREVIEW_FUNCTION {
            function.status = "THROTTLED";
        }
        Some(function)
    }

    /// A deployment: another version of the same name.
    pub(crate) fn deploy(&mut self, slug: &str) -> Function {
        let now = self.now;
        if let Some(function) = self.functions.iter_mut().find(|function| function.slug == slug) {
            function.version += 1;
            function.updated_at = now;
            function.broken = false;
            function.status = "ACTIVE";
            return function.clone();
        }
        let function =
            Function { slug: slug.to_owned(), status: "ACTIVE", version: 1, updated_at: now, broken: false };
        self.functions.push(function.clone());
        function
    }

    /// What a preview of this voucher comes to now.
    pub(crate) fn preview(&self, voucher: &Voucher) -> Result<Shown, NoPreview> {
        // A function that shows what is stored makes nothing anew, so that it may be broken and nobody sees it.
        let stored = self.has(Fault::StoredPreviews) && voucher.png_url.is_some();
        match self.render() {
            Err(no) if !(stored && no.http == 500) => Err(no),
            Ok(Shown::Nothing) if !stored => Ok(Shown::Nothing),
            _ if stored => Ok(Shown::Stored),
            shown => shown,
        }
    }

    /// What the function, or the way to it, answers now.
    pub(crate) fn render(&self) -> Result<Shown, NoPreview> {
        let no = |http, message| Err(NoPreview { http, message });
        match self.spec.scenario {
            Scenario::PreviewAnswers { how, .. } if self.lasts() => {
                return match how {
                    PreviewAnswer::Reset => no(503, "fetch failed"),
                    PreviewAnswer::Silent => no(503, DEFAULT_WORDS),
                    PreviewAnswer::KeyRefused => no(401, "Invalid JWT"),
                    PreviewAnswer::RequestRefused => no(400, "amount must be a positive number"),
                    PreviewAnswer::TooMany => no(429, "Too many requests"),
                    PreviewAnswer::Failing => no(500, DEFAULT_WORDS),
                    PreviewAnswer::Empty => Ok(Shown::Nothing),
                };
            }
            Scenario::PreviewNotConfigured { .. } if self.lasts() => return no(503, DEFAULT_WORDS),
            Scenario::PreviewTimeout { .. } if self.lasts() => return no(503, "This operation was aborted"),
            _ => {}
        }
        match self.function(PREVIEW_FUNCTION) {
            None => no(404, "Requested function was not found"),
            Some(function) if function.status == "THROTTLED" => no(503, "Service is temporarily unavailable"),
            Some(function) if function.broken && self.spec.scenario == Scenario::PreviewBroken => {
                no(500, "render failed")
            }
            Some(_) => Ok(Shown::Rendered),
        }
    }

    /// Whether what a preview points to is a picture.
    pub(crate) fn previews_are_pictures(&self) -> bool {
        self.spec.scenario != Scenario::PreviewNoPicture
            || !self.functions.iter().any(|function| function.slug == PREVIEW_FUNCTION && function.broken)
    }
}
