//! The engine's promises, on both stores.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod answers;
mod attacks;
mod beside;
mod circuit;
mod claims;
mod crash;
mod deadlines;
mod doubts;
mod gates;
mod looks;
mod patience;
mod plans;
mod receipts;
mod standing;
mod stop;
mod store;
mod toy;
mod undo;
mod waiting;
