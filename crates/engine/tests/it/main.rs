//! The engine's promises, on both stores.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod answers;
mod crash;
mod gates;
mod plans;
mod stop;
mod store;
mod toy;
mod waiting;
