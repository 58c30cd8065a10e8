//! Backup, restore and parity on real Postgres: two private clusters, one of which plays production.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod catalogue;
mod damage;
mod failures;
mod guards;
mod kills;
mod masking;
mod property;
mod round_trip;
mod world;
