//! Backup, restore and parity on real Postgres: two private clusters, one of which plays production.

mod damage;
mod failures;
mod guards;
mod kills;
mod round_trip;
mod world;
