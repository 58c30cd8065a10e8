//! Edge functions: their host, and previews of vouchers.

use async_trait::async_trait;
use jiff::Timestamp;

use super::Result;
use crate::VoucherId;
use crate::function::{Bundle, DeployedFunction, FunctionCalls, Preview};

/// Where edge functions are deployed: Supabase's Management API.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait FunctionHost: Send + Sync {
    /// `GET /v1/projects/{ref}/functions/{slug}`; `None` where the host has none of that name. A 401 says that the token
    /// is expired or revoked, a 403 that it lacks the scope: the error's class tells them apart.
    async fn find(&self, slug: &str) -> Result<Option<DeployedFunction>>;

    /// How often it was called at or after `since`, from the host's log. A read: nothing is called.
    async fn calls_since(&self, slug: &str, since: Timestamp) -> Result<FunctionCalls>;

    /// The source that is pinned for a function, with its digest checked against the configured one.
    async fn bundle(&self, slug: &str) -> Result<Bundle>;

    /// `POST /v1/projects/{ref}/functions/deploy?slug=`, multipart. 201 is not proof: a deployment that "succeeded" has
    /// been seen not to exist. Repeating it makes another version of the same source.
    async fn deploy(&self, slug: &str, bundle: &Bundle) -> Result<DeployedFunction>;

    /// The project's ref, for people to compare before they approve.
    fn project(&self) -> String;
}

/// Pictures of vouchers, as the admin pages show them.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait VoucherPreviews: Send + Sync {
    /// `POST /api/vouchers/preview`, then the picture it points to, fetched and decoded. The call reads request headers
    /// before it asks the function, so unlike the status page it is never answered from the platform's cache. It
    /// renders one picture, overwriting itself: repeating it changes nothing.
    async fn preview(&self, voucher: VoucherId) -> Result<Preview>;
}
