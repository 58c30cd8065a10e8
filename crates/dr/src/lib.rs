//! What the disaster recovery exercise does to databases and buckets: a backup from one snapshot, a copy of every object
//! with its checksum, a restore that leaves the target as it was when it fails, and a parity that compares contents.
//!
//! Nothing here knows of runs or people: the runbook `dr-tabletop` decides, these do and report.

pub mod cluster;
pub mod database;
pub mod seal;
pub mod seed;
pub mod storage;
