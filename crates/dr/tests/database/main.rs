//! Backup, restore and parity on real Postgres: two private clusters, one of which plays production.

mod round_trip;
mod world;
