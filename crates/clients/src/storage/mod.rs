//! Supabase Storage: what the platform itself says its buckets hold, and a private bucket for an exercise's files.
//!
//! | fact | from |
//! |---|---|
//! | almost every client error is HTTP 400; the true status is the body's `statusCode`, a string, and its `code` says more. Newer servers may use the status itself: both are read | observed on the server of 2026-08 |
//! | `POST /object/list-v2/{bucket}` lists whole names by a cursor; `POST /object/list/{bucket}` lists one folder by offset, and a folder is a row without an id | same; API description |
//! | a server without the second version answers 404 with `Route POST:… not found`, which is no word about the bucket | the framework's answer to an unknown route |
//! | the list of a bucket that is not there is empty and no error, so the bucket is asked for first | the first version's query |
//! | a resumable upload (TUS 1.0.0) is made by POST, filled by PATCH at an offset, and asked for its offset by HEAD | TUS protocol; observed |
//! | a chunk has exactly 6 MiB but for the last; a wrong offset is 409; one uploader at a time, 423 for another | observed; resumable uploads |
//! | the address of an upload lives 24 hours: 404 or 410 after that | resumable uploads |
//! | errors of the resumable endpoint have their true HTTP status and are plain text | the TUS server's answers |
//! | without `x-upsert: true` nothing is replaced: 409 | observed |
//! | a signed address is relative to the API's base and carries its right in `token` | observed |
//!
//! What it deliberately does not do: delete, replace, make buckets, or retry. An upload whose answer was lost is an unknown
//! outcome; whoever decides to try again goes on at the server's offset, because the upload's address is remembered here.

mod error;
mod evidence;
mod list;
#[cfg(test)]
mod tests;
mod tus;
mod wire;

use allclear_core::PortError;
use secrecy::SecretString;

use crate::http::{Call, Http, Reply};

pub use evidence::EvidenceBucket;
pub use list::BucketLists;

type Result<T> = std::result::Result<T, PortError>;

/// One project's Storage, and how it knows us.
#[derive(Debug, Clone)]
pub struct StorageAccess {
    /// The API's base, e.g. `https://<ref>.supabase.co/storage/v1`.
    pub endpoint: String,
    /// A legacy service key or a new secret key.
    pub key: SecretString,
}

/// Makes a call; an unsuccessful answer is classified by its body.
async fn checked(http: &Http, call: Call) -> Result<Reply> {
    let reply = http.send(call).await?;
    if reply.is_success() { Ok(reply) } else { Err(error::classify(&reply)) }
}

/// A bucket's or an object's name as a path has it: its slashes separate, everything that a path could take for its own is
/// escaped.
fn in_path(name: &str) -> String {
    use std::fmt::Write as _;
    name.bytes().fold(String::with_capacity(name.len()), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
        path
    })
}
