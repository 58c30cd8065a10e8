//! The runbooks of Allclear: each procedure in one folder, and the catalogue that lists them.
//!
//! A procedure is an ordinary async function over a [`Run`](allclear_engine::Run) and ports. Adding one touches its own
//! folder and [`catalogue()`].
//!
//! ```
//! let runbook = allclear_runbooks::find("whatsapp-send-failures").unwrap();
//! assert_eq!(runbook.steps[0].id, "WA-D1");
//! assert!(allclear_runbooks::find("whatsap-send-failure").unwrap_err().to_string().contains("did you mean"));
//! ```

pub mod campaign_dispatcher_stalls;
pub mod catalogue;
#[cfg(test)]
mod dangers;
pub mod dr_tabletop;
mod effects;
#[cfg(test)]
mod mocked;
mod probes;
mod quiet;
mod skipped;
mod spread;
pub mod station_redeem_anomalies;
pub mod text;
pub mod voucher_preview_failures;
pub mod whatsapp_send_failures;
mod words;

pub use catalogue::{Entry, InputError, Scenario, UnknownRunbook, catalogue, find};
