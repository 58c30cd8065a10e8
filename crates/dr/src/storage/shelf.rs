//! What stands in the backup's bucket, and how things are put there: never over something good, and nothing is taken away.
//!
//! The only DELETE that this crate sends ends a multipart upload of its own that was not completed.

use std::collections::HashMap;
use std::time::Duration;

use allclear_core::recovery::BackupId;
use allclear_core::{PortError, Service};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use sha2::{Digest as _, Sha256};

use super::failure::port_error;
use super::manifest::Manifest;
use super::settings::Bucket;
use super::{hex, unhex};

/// The objects are spread over this many folders, so that listing them all takes this many fewer round trips.
const DIGITS: &str = "0123456789abcdef";
const BODY_ATTEMPTS: usize = 4;
const STILL: Duration = Duration::from_mins(1);

/// What stands under `objects/`: by name, with its size.
pub(super) type Stored = HashMap<[u8; 32], u64>;

impl Bucket {
    /// Where an object of this name stands.
    pub(super) fn object(&self, key: &[u8; 32]) -> Path {
        let name = hex(key);
        self.path(&format!("objects/{}/{name}", &name[..1]))
    }

    fn manifest_path(&self, id: &BackupId) -> Path {
        self.path(&format!("{id}/storage/manifest.jsonl"))
    }

    /// Everything under `objects/`, by sixteen lists at once.
    pub(super) async fn stored(&self) -> Result<Stored, PortError> {
        let lists: Vec<_> = DIGITS.chars().map(|digit| self.list_of(digit)).collect();
        let listed = futures_util::future::try_join_all(lists).await?;
        let named = listed.into_iter().flatten().filter_map(|meta| {
            // Whatever else somebody put there is none of ours.
            Some((unhex(meta.location.filename()?)?, meta.size))
        });
        Ok(named.collect())
    }

    async fn list_of(&self, digit: char) -> Result<Vec<ObjectMeta>, PortError> {
        let folder = self.path(&format!("objects/{digit}"));
        let listed = ObjectStore::list(self.s3(), Some(&folder)).try_collect().await;
        listed.map_err(|error| port_error("list the copied objects", false, &error))
    }

    /// Puts an object under its SHA-256, once. Tells whether it was not there before.
    ///
    /// `replace` is for one that the list shows with another size: it is damaged, for every backup that has it.
    pub(super) async fn keep(
        &self,
        sha256: &[u8; 32],
        content: Bytes,
        replace: bool,
    ) -> Result<bool, PortError> {
        let path = self.object(sha256);
        let size = content.len() as u64;
        let put = |mode| {
            let options = PutOptions { mode, ..PutOptions::default() };
            ObjectStore::put_opts(self.s3(), &path, PutPayload::from(content.clone()), options)
        };
        let first = put(if replace { PutMode::Overwrite } else { PutMode::Create }).await;
        match first {
            Ok(_) => return Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(port_error(&format!("PUT {path}"), true, &error)),
        }
        // An answer of ours was lost, another copy was quicker, or a server kept what it refused: it is read to tell.
        if self.digest_of(&path).await? == Some((*sha256, size)) {
            return Ok(false);
        }
        put(PutMode::Overwrite).await.map_err(|error| port_error(&format!("PUT {path}"), true, &error))?;
        Ok(true)
    }

    /// `HEAD`: the size of what stands there.
    pub(super) async fn size_of(&self, path: &Path) -> Result<Option<u64>, PortError> {
        match self.s3().head(path).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(port_error(&format!("HEAD {path}"), false, &error)),
        }
    }

    /// The SHA-256 and the size of what stands there, read back.
    pub(super) async fn digest_of(&self, path: &Path) -> Result<Option<([u8; 32], u64)>, PortError> {
        let call = format!("GET {path}");
        let mut broke = String::new();
        for _ in 0..BODY_ATTEMPTS {
            let answer = match self.s3().get(path).await {
                Ok(answer) => answer,
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(port_error(&call, false, &error)),
            };
            let (mut stream, mut hash, mut size) = (answer.into_stream(), Sha256::new(), 0);
            loop {
                match tokio::time::timeout(STILL, stream.next()).await {
                    Ok(Some(Ok(piece))) => {
                        size += piece.len() as u64;
                        hash.update(&piece);
                    }
                    Ok(None) => return Ok(Some((hash.finalize().into(), size))),
                    Ok(Some(Err(error))) => broke = error.to_string(),
                    Err(_) => "nothing came for a minute".clone_into(&mut broke),
                }
                if !broke.is_empty() {
                    break;
                }
            }
        }
        Err(PortError::Unavailable { service: Service::ObjectStore, call, detail: broke })
    }

    /// The manifest of a backup and its SHA-256; `None` where there is none.
    pub(super) async fn manifest(&self, id: &BackupId) -> Result<Option<(Manifest, String)>, PortError> {
        let path = self.manifest_path(id);
        let Some(text) = self.text(&path).await? else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || (Manifest::parse(&text), hex(&Sha256::digest(&text))));
        let (manifest, sha256) = read.await.expect("parsing does not panic");
        let manifest = manifest.map_err(|why| PortError::Damaged {
            service: Service::ObjectStore,
            call: format!("GET {path}"),
            detail: format!("the manifest is damaged: {why}"),
        })?;
        if manifest.id != *id {
            let detail = format!("the manifest is that of backup {}", manifest.id);
            return Err(PortError::Damaged {
                service: Service::ObjectStore,
                call: format!("GET {path}"),
                detail,
            });
        }
        Ok(Some((manifest, sha256)))
    }

    /// A small text, whole.
    async fn text(&self, path: &Path) -> Result<Option<Bytes>, PortError> {
        let mut last = None;
        for _ in 0..BODY_ATTEMPTS {
            let answer = match self.s3().get(path).await {
                Ok(answer) => answer,
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(port_error(&format!("GET {path}"), false, &error)),
            };
            match tokio::time::timeout(STILL * 5, answer.bytes()).await {
                Ok(Ok(text)) => return Ok(Some(text)),
                Ok(Err(error)) => last = Some(error.to_string()),
                Err(_) => last = Some("it does not end".to_owned()),
            }
        }
        let (call, detail) = (format!("GET {path}"), last.unwrap_or_default());
        Err(PortError::Unavailable { service: Service::ObjectStore, call, detail })
    }

    /// The newest readable manifest of another backup. One that is damaged is passed over here: it cannot save work, and
    /// must not stop a new backup.
    pub(super) async fn previous(&self, than: &BackupId) -> Result<Option<Manifest>, PortError> {
        let prefix = (!self.prefix().is_root()).then_some(self.prefix());
        let folders = ObjectStore::list_with_delimiter(self.s3(), prefix)
            .await
            .map_err(|error| port_error("list the backups", false, &error))?
            .common_prefixes;
        let ids = folders.iter().filter_map(|folder| folder.filename()?.parse::<BackupId>().ok());
        let looks: Vec<_> = ids.filter(|id| id != than).map(|id| self.written_at(id)).collect();
        let looked = futures_util::stream::iter(looks).buffer_unordered(64);
        let looked: Vec<Option<_>> = looked.try_collect().await?;
        let mut found: Vec<_> = looked.into_iter().flatten().collect();
        found.sort_by(|a, b| b.cmp(a));
        for (_, id) in found {
            match self.manifest(&id).await {
                Ok(Some((manifest, _))) => return Ok(Some(manifest)),
                Ok(None) | Err(PortError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// When the bucket got the manifest of this backup, for comparing only.
    async fn written_at(&self, id: BackupId) -> Result<Option<(impl Ord + use<>, BackupId)>, PortError> {
        match self.s3().head(&self.manifest_path(&id)).await {
            Ok(meta) => Ok(Some((meta.last_modified, id))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(port_error("look at the backups' manifests", false, &error)),
        }
    }

    /// Writes the manifest, once. Tells its SHA-256, or `None` when one was there before.
    pub(super) async fn keep_manifest(&self, manifest: &Manifest) -> Result<Option<String>, PortError> {
        let path = self.manifest_path(&manifest.id);
        let text = manifest.to_text();
        let sha256 = hex(&Sha256::digest(&text));
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match ObjectStore::put_opts(self.s3(), &path, PutPayload::from(text), options).await {
            Ok(_) => Ok(Some(sha256)),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(None),
            Err(error) => Err(port_error(&format!("PUT {path}"), true, &error)),
        }
    }
}
