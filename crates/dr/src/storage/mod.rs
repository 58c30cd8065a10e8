//! The buckets: a copy in S3 that never deletes a good one, and the manifest that proves it.
//!
//! ```no_run
//! # async fn example(clock: std::sync::Arc<dyn allclear_core::Clock>) -> Result<(), Box<dyn std::error::Error>> {
//! use allclear_core::ports::ObjectCopies as _;
//! use allclear_dr::storage::{S3Access, S3Copies, S3Settings, Source, connect};
//!
//! let supabase = S3Access {
//!     endpoint: "https://REF.storage.supabase.co/storage/v1/s3".into(),
//!     region: "eu-west-1".into(),
//!     access_key: "id".into(),
//!     secret_key: "secret".into(),
//!     path_style: true,
//! };
//! let amazon = S3Access { endpoint: "https://s3.eu-west-1.amazonaws.com".into(), path_style: false, ..supabase.clone() };
//! let bucket = connect(&S3Settings { access: amazon, bucket: "backups".into(), prefix: "supabase".into() })?;
//! let source = Source::buckets(supabase, vec!["vouchers".into()], clock.clone())?;
//! let copies = S3Copies::new(bucket, source, "state/copies".into(), clock);
//! let copy = copies.copy(&"dr-2026-q4".parse()?).await?;
//! println!("{} objects stand in {}", copy.objects, copy.destination);
//! # Ok(())
//! # }
//! ```
//!
//! # Where things stand
//!
//! ```text
//! PREFIX/objects/3/3f9a…                     an object, under its SHA-256; a large one under a digest of its source version
//! PREFIX/BACKUP/storage/manifest.jsonl       every object of one backup, with its SHA-256
//! ```
//!
//! Objects are shared by all backups and manifests by none. An object that an earlier backup has needs no upload, a manifest is
//! whole on its own, and names with `..`, a leading slash or a line break stand only in manifests, where they harm nobody. Both
//! kinds are created once (`If-None-Match: *`). Nothing is ever deleted, so space is given back by hand or by a lifecycle rule
//! (which must also end incomplete multipart uploads, as for every bucket that takes them).
//!
//! # What is believed, and what is checked
//!
//! | | |
//! |---|---|
//! | unchanged | same bucket, name, size and version as in the last manifest, and still in the bucket's list with that size |
//! | uploaded | the server, where it knows how, compares a CRC64 of what arrived; the SHA-256 is of what was read |
//! | [`find`](allclear_core::ports::ObjectCopies::find) | the manifest's own checksum, and the size of every object in the bucket's list |
//! | [`S3Copies::verify`] | every byte, read back |
//!
//! `find` runs after each step of an exercise and takes a few round trips; `verify` reads everything. A source that lists
//! nothing while the last copy had objects is refused: that is how a wrong key or an empty download looks.
//!
//! # Resuming
//!
//! Killed at any time, a copy goes on under the same id: finished objects are in the ledger on this machine and in the
//! bucket's list; unfinished multipart uploads go on with the parts that are there. The manifest comes last.

mod copies;
mod copy;
mod failure;
mod large;
mod ledger;
mod manifest;
mod plan;
mod settings;
mod shelf;
mod sign;
mod source;
mod told;
mod transport;

use std::fmt::Write as _;

pub use copies::{CopyNotes, S3Copies, Verified};
pub(crate) use failure::bucket_failure;
pub use failure::port_error;
pub use settings::{Bucket, S3Access, S3Settings, connect};
pub use source::Source;

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A SHA-256 in lower-case hex, back as bytes.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}
