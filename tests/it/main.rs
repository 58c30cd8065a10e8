//! Procedures end to end: real HTTP between clients and sandbox, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod dispatcher;
mod drilling;
mod drills;
mod fault_layer;
mod fault_matrix;
mod golden;
mod lies;
mod plan_equals_run;
mod previews;
mod scene;
mod secrets;
mod stations;
mod storm;
mod streams;
mod tabletop;
