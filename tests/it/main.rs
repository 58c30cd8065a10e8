//! Procedures end to end: real HTTP between clients and sandbox, in virtual time.

mod drills;
mod lies;
mod plan_equals_run;
mod scene;
