//! Edge functions as their host sees them, and what a voucher preview came to.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

open_enum! {
    /// Whether the host serves a function.
    FunctionStatus {
        /// It does.
        Active = "ACTIVE",
        /// It was taken away.
        Removed = "REMOVED",
        /// It holds calls back.
        Throttled = "THROTTLED",
    }
}

/// A function that the host has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployedFunction {
    /// Its name in URLs.
    pub slug: String,
    /// Whether it is served.
    pub status: FunctionStatus,
    /// Rises by one with every deployment.
    pub version: u64,
    /// When it was last deployed.
    pub updated_at: Timestamp,
}

impl std::fmt::Display for DeployedFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} version {}, deployed {}", self.status, self.version, self.updated_at)
    }
}

/// The source of a function, pinned by its digest: only what was deployed before is deployed again.
#[derive(Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The file that the host starts.
    pub entrypoint: String,
    /// All files: path within the bundle, and content.
    pub files: Vec<(String, Vec<u8>)>,
    /// SHA-256 over paths and contents, in hex.
    pub sha256: String,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle")
            .field("sha256", &self.sha256)
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}

/// Calls of a function in a span of time, from the host's log: a way to see its health without calling it, which for
/// the dispatcher would send messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCalls {
    /// Calls answered with success.
    pub succeeded: u64,
    /// Calls answered with 5xx.
    pub failed: u64,
}

/// A preview that was fetched and decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewImage {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// When the storage says the file was written; absent where it does not say. A picture that was made before it was asked
    /// for shows nothing of the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_at: Option<Timestamp>,
}

/// Why there is no preview, each with what has to be done about it. `says` is what the platform said, made safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum PreviewFault {
    /// The admin API does not know where the function is.
    #[error("the admin API has no endpoint configured for previews")]
    NotConfigured,
    /// The admin API's own words for a missing endpoint, which it also uses where the function answers 503 and says
    /// nothing: the two cannot be told apart from outside.
    #[error(
        "previews are not configured, or the preview function answers 503 without a word, which reads the same; the platform says: {says}"
    )]
    NotConfiguredOrSilent {
        /// The platform's words.
        says: String,
    },
    /// The host has no such function where the platform calls it.
    #[error("the preview function is not deployed where the platform calls it (404){}", saying(.says))]
    NotDeployed {
        /// The platform's words.
        #[serde(default)]
        says: String,
    },
    /// The function did not answer within the admin API's five seconds.
    #[error("the preview function does not answer in time{}", saying(.says))]
    Timeout {
        /// The platform's words.
        #[serde(default)]
        says: String,
    },
    /// The way to the function is broken: a reset connection, a name that does not resolve.
    #[error("the platform does not reach the preview function{}", saying(.says))]
    Unreachable {
        /// The platform's words.
        says: String,
    },
    /// The function does not take the platform's credential.
    #[error("the preview function refuses the platform's own credential (HTTP {status}){}", saying(.says))]
    CredentialRefused {
        /// 401 or 403.
        status: u16,
        /// The platform's words.
        says: String,
    },
    /// The function does not take what the platform asks it for.
    #[error("the preview function does not take the platform's request (HTTP {status}){}", saying(.says))]
    RequestRefused {
        /// Which 4xx.
        status: u16,
        /// The platform's words.
        says: String,
    },
    /// The function wants fewer calls.
    #[error("the preview function takes no more calls for now (HTTP 429){}", saying(.says))]
    RateLimited {
        /// The platform's words.
        says: String,
    },
    /// The function, or the way to it, answers with an error of its own.
    #[error("the preview function answers HTTP {status}{}", saying(.says))]
    HttpError {
        /// Which.
        status: u16,
        /// The platform's words.
        #[serde(default)]
        says: String,
    },
    /// It answers well, and names no picture: what an empty answer comes to.
    #[error("the preview function answers well and names no picture")]
    EmptyAnswer,
    /// It answers well, and what it points to is no picture.
    #[error("the preview is no PNG: {detail}")]
    NoPicture {
        /// What it is instead.
        detail: String,
    },
}

/// What the platform said, as the end of a sentence; nothing where it said nothing.
fn saying(says: &str) -> String {
    if says.is_empty() { String::new() } else { format!("; the platform says: {says}") }
}

/// What a real preview call came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "preview", rename_all = "snake_case")]
pub enum Preview {
    /// A picture that decodes.
    Rendered {
        /// The picture.
        image: PreviewImage,
        /// How long it took.
        took: Duration,
    },
    /// None.
    Failed {
        /// Why.
        fault: PreviewFault,
        /// Whether the admin API says so of itself (`integration.status` is `degraded`): what its pages show as the
        /// degraded copy.
        says_degraded: bool,
    },
}
