//! The engine's promises, on both stores.

mod crash;
mod gates;
mod plans;
mod store;
mod toy;
mod waiting;
