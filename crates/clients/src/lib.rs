//! The clients: HTTP and file adapters that implement the ports of `allclear_core`.
//!
//! ```
//! use std::sync::Arc;
//! use allclear_core::{Clock, VirtualClock};
//!
//! // A sandbox needs no configuration; a real environment fills in [`Settings`] itself.
//! let settings = allclear_clients::sandbox::settings("http://127.0.0.1:4020", "artifacts".into()).unwrap();
//! let clock: Arc<dyn Clock> = Arc::new(VirtualClock::at("2026-11-23T09:00:00Z".parse().unwrap()));
//! let platform = allclear_clients::connect(settings, &clock).unwrap();
//! assert_eq!(platform.limits.ops_channel, "#ops");
//! ```
//!
//! | module | service |
//! |---|---|
//! | [`admin_api`] | the admin API: sessions, campaign actions, notifications, settings, previews |
//! | [`supabase`] | PostgREST: every read of a written state, the send queue, vouchers, the audit log |
//! | [`edge_functions`] | the function that sends through WhatsApp |
//! | [`management`] | Supabase's Management API: functions, deployments, the log of calls |
//! | [`storage`] | Supabase Storage: lists of buckets, resumable uploads, signed links |
//! | [`whatsapp`] | WhatsApp's Graph API |
//! | [`pagerduty`], [`slack`], [`provider`] | telling people |
//! | [`webhooks`] | what services send to us, verified |
//! | [`artifacts`] | files that a run leaves |
//! | [`documents`] | the team's documents, in a folder |
//! | [`smoke`] | smoke tests against staging |
//! | [`redemption_export`] | exported files of redemptions, and who redeemed twice |
//! | [`sandbox`] | the sandbox's clock and controls |
//!
//! What it deliberately does not do: retry (but for a table that PostgREST does not know yet, see [`supabase`]). A retry must
//! know whether the effect may be repeated, and that is known above, where it is also recorded. Every error says what it means
//! instead ([`PortError::class`]).
//!
//! [`PortError::class`]: allclear_core::PortError::class

pub mod admin_api;
pub mod artifacts;
mod config;
mod connect;
pub mod documents;
pub mod edge_functions;
#[cfg(test)]
mod fake;
mod hex;
mod http;
mod identity;
mod keys;
pub mod management;
pub mod pagerduty;
pub mod provider;
pub mod redemption_export;
pub mod sandbox;
pub mod slack;
pub mod smoke;
pub mod storage;
pub mod supabase;
mod times;
pub mod webhooks;
pub mod whatsapp;
mod wiring;

pub use config::{ConfigError, Credentials, Endpoints, Settings, WhatsAppNumber};
pub use connect::connect;
pub use identity::identity;
pub use keys::KeyKind;
