//! The database: which is which, a backup from one snapshot, a restore that is swapped in whole, and parity of contents.
//!
//! | | |
//! |---|---|
//! | [`DatabaseUrl`] | where a database is, without ever showing its password |
//! | [`Databases`] | source and target beside each other; [`Databases::admit`] is the only way to a [`StagingTarget`] |
//! | [`PostgresBackups`] | takes backups into a [`BackupBucket`] |
//! | [`PostgresStaging`] | restores them from there, and compares |
//! | [`MaskingProfile`] | which columns hold personal data, and what a restore puts in its place |
//!
//! The source is only ever read: its connections are read-only from their first statement on, and no function that writes
//! takes anything but a `StagingTarget`.

mod backup;
mod bucket;
mod callers;
mod catalog;
mod compare;
mod definitions;
mod digest;
mod dump;
mod error;
mod extensions;
mod finish;
mod identity;
mod load;
mod manifest;
mod masked;
mod masking;
mod neutralise;
mod outside;
mod parity;
mod plain;
mod preflight;
mod programs;
mod progress;
mod pseudonym;
mod redactor;
mod restore;
mod script;
mod session;
mod silent;
mod surroundings;
mod swap;
pub(crate) mod tether;
mod tls;
mod toc;
mod url;
mod work;

pub use backup::PostgresBackups;
pub use bucket::BackupBucket;
pub use error::{BucketFailure, DatabaseError, Party};
pub use identity::{Databases, StagingTarget};
pub(crate) use manifest::hex;
pub use masking::{Mask, MaskedBy, MaskingProfile};
pub use parity::rowcount_csv;
pub use restore::PostgresStaging;
pub use url::{DatabaseUrl, Roots, Tls};
