//! The platform in a box: an HTTP server that behaves as the voucher and WhatsApp platform really does, warts and lies
//! included, with a seeded world, its own clock and a ledger that knows how often each thing really happened.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use std::sync::Arc;
//! use allclear_core::VirtualClock;
//! use allclear_sandbox::{Sandbox, WorldSpec};
//!
//! let clock = Arc::new(VirtualClock::at("2026-11-23T07:00:00Z".parse().unwrap()));
//! let sandbox = Sandbox::start_virtual(WorldSpec::default(), clock).await?;
//! println!("{} has {} effects so far", sandbox.base_url(), sandbox.ledger().len());
//! # Ok(())
//! # }
//! ```
//!
//! | module | what is in it |
//! |---|---|
//! | [`scenario`], [`fault`] | which world to make, and what is wrong in it |
//! | [`trouble`] | what a network or a gateway does to calls |
//! | [`ledger`] | what really happened |
//! | `world` | the tables, and how they change with time |
//! | `rest`, `services` | PostgREST and the other services over HTTP |
//! | [`staging`] | a staging platform over a real database, for the exercise's smoke tests |
//! | [`s3`] | an S3 server over a folder, with faults |
//! | [`storage_api`] | Supabase Storage over a folder, with faults |
//! | `control` | `/_sandbox/...`: ledger, state, clock, faults |
//!
//! What it deliberately does not do: share wire types with the clients (each has its own, and contract tests compare
//! both with the vendors), run anything in the background, or listen anywhere but on loopback.

pub mod clock;
mod control;
pub mod fault;
mod keys;
pub mod ledger;
mod loopback;
pub mod people;
mod rest;
pub mod s3;
pub mod scenario;
mod server;
mod services;
pub mod staging;
pub mod storage_api;
pub mod trouble;
mod world;

pub use clock::ScaledClock;
pub use fault::{Fault, FaultSet, Profile, UnknownFault};
pub use ledger::LedgerEntry;
pub use s3::S3Server;
pub use scenario::{PreviewAnswer, Scenario, Twist, WorldSpec};
pub use server::{Sandbox, Time};
pub use services::pagerduty::PAGERDUTY_USERS;
pub use staging::StagingPlatform;
pub use storage_api::StorageServer;
pub use trouble::Trouble;
pub use world::World;

/// Supabase's personal access token, for its Management API.
pub const MANAGEMENT_TOKEN: &str = "sbp_5a9db0c0000000000000000000000000000000ab";
/// The Supabase project's ref.
pub const PROJECT: &str = "sandboxprojectrefabc";
/// The admin API's login token.
pub const ADMIN_TOKEN: &str = "sandbox-admin-token";
/// Supabase's legacy key for servers: a JWT whose role is `service_role`.
pub const SERVICE_KEY: &str = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.sandbox-service-key";
/// Supabase's legacy key for browsers: a JWT whose role is `anon`.
pub const ANON_KEY: &str = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.sandbox-anon-key";
/// Supabase's new key for servers, no JWT.
pub const SECRET_KEY: &str = "sb_secret_sandbox";
/// Supabase's new key for browsers, no JWT.
pub const PUBLISHABLE_KEY: &str = "sb_publishable_sandbox";
/// WhatsApp's token.
pub const GRAPH_TOKEN: &str = "sandbox-graph-token";
/// PagerDuty's REST key.
pub const PAGERDUTY_KEY: &str = "sandbox-pd-key";
/// PagerDuty's routing key.
pub const PAGERDUTY_ROUTING_KEY: &str = "sandboxroutingkey00000000000000ab";
/// Slack's bot token.
pub const SLACK_TOKEN: &str = "xoxb-sandbox";
/// The provider's token.
pub const PROVIDER_TOKEN: &str = "sandbox-provider-token";
/// The WhatsApp phone number's id.
pub const PHONE_ID: &str = "100000000000001";
/// The WhatsApp business account's id.
pub const BUSINESS_ACCOUNT_ID: &str = "200000000000002";

/// Bytes as people write digests.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
