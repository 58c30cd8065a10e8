//! Allclear: executable incident runbooks. They do what the runbook says exactly once, prove that it worked, and tell the
//! story afterwards.
//!
//! This crate is the front door for services that embed Allclear; it re-exports the others:
//!
//! | module | crate | what is in it |
//! |---|---|---|
//! | [`core`] | `allclear-core` | domain types and ports |
//! | [`engine`] | `allclear-engine` | runs, journal, plans, reports |
//! | [`clients`] | `allclear-clients` | HTTP adapters for the ports |
//! | [`runbooks`] | `allclear-runbooks` | the procedures |
//! | `sandbox` (feature) | `allclear-sandbox` | the platform in a box |
//!
//! `examples/embed.rs` runs a procedure inside an axum service.

pub use allclear_clients as clients;
pub use allclear_core as core;
pub use allclear_engine as engine;
pub use allclear_runbooks as runbooks;
#[cfg(feature = "sandbox")]
pub use allclear_sandbox as sandbox;
