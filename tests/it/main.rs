//! Procedures end to end: real HTTP between clients and sandbox, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod claims;
mod copies;
mod dispatcher;
mod drilling;
mod drills;
mod fault_layer;
mod fault_matrix;
mod given_up;
mod golden;
mod held;
mod hostile;
mod inherited;
mod last_word;
mod left;
mod lies;
mod nights;
mod owners;
mod parts;
mod people;
mod plan_equals_run;
mod policy;
mod previews;
mod real_postgres;
mod scene;
mod secrets;
mod sending;
mod skew;
mod station_doubts;
mod stations;
mod storm;
mod streams;
mod stuck;
mod tabletop;
mod taken_back;
mod undone;
