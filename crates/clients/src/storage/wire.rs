//! What Storage's JSON looks like.

use jiff::Timestamp;
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Bucket {
    pub(super) id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    pub(super) has_next: bool,
    #[serde(default)]
    pub(super) next_cursor: Option<String>,
    pub(super) objects: Vec<Row>,
}

/// A row of either list.
#[derive(Deserialize)]
pub(super) struct Row {
    pub(super) name: String,
    /// The whole name, where the list has it beside the name.
    #[serde(default)]
    pub(super) key: Option<String>,
    /// `None` for a folder, which is no object.
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) updated_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) metadata: Option<Metadata>,
}

#[derive(Deserialize)]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) size: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct Signed {
    #[serde(rename = "signedURL")]
    pub(super) signed_url: String,
}
