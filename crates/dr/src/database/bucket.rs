//! Where backups stand. Nothing here deletes, and nothing overwrites what has another content.
//!
//! ```text
//! PREFIX/ID/db/ATTEMPT/FILE.SHA    the dump's files; SHA is the beginning of the file's SHA-256
//! PREFIX/ID/db/manifest.json       what they are
//! PREFIX/ID/db/manifest.json.sha256  written last: with it the backup is whole
//! PREFIX/ID/backup.log ...         small files beside it
//! ```
//!
//! A name holds the beginning of the content's digest, and objects appear whole or not at all, so one that is there need not be
//! uploaded again, whichever process or machine put it there.

use std::path::Path as FilePath;
use std::sync::Arc;

use allclear_core::recovery::BackupId;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload, WriteMultipart};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::error::DatabaseError;
use super::manifest::{DumpFile, FORMAT, Manifest, hex, sha256};

/// The size of a part. Four files with three parts each are in flight at most: 96 MiB.
const PART: usize = 8 * 1024 * 1024;
const PARTS_IN_FLIGHT: usize = 2;

/// A folder in a bucket that holds backups.
#[derive(Debug, Clone)]
pub struct BackupBucket {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The folder in it, e.g. `supabase`.
    pub prefix: Path,
    /// How people write that folder, e.g. `s3://backups/supabase`.
    pub title: String,
}

impl BackupBucket {
    /// How people write one backup's folder.
    pub(crate) fn destination(&self, id: &BackupId) -> String {
        format!("{}/{id}", self.title.trim_end_matches('/'))
    }

    pub(crate) fn beside(&self, id: &BackupId, name: &str) -> Path {
        self.prefix.clone().join(id.as_str()).join(name)
    }

    fn in_db(&self, id: &BackupId, name: &str) -> Path {
        self.prefix.clone().join(id.as_str()).join("db").join(name)
    }

    pub(crate) fn object(&self, id: &BackupId, attempt: &str, file: &DumpFile) -> Path {
        let folder = self.prefix.clone().join(id.as_str()).join("db").join(attempt);
        folder.join(format!("{}.{}", file.name, &file.sha256[..16]))
    }

    /// The manifest with its SHA-256; `None` while it is not there. A manifest that is not what its digest says is an error.
    pub(crate) async fn manifest(&self, id: &BackupId) -> Result<Option<(Manifest, String)>, DatabaseError> {
        let Some(sealed) = self.read(&self.in_db(id, "manifest.json.sha256")).await? else { return Ok(None) };
        let corrupt = |detail: &str| DatabaseError::Corrupt {
            file: "manifest.json".to_owned(),
            detail: detail.to_owned(),
        };
        let content = self.read(&self.in_db(id, "manifest.json")).await?;
        let content = content.ok_or_else(|| corrupt("it is gone"))?;
        let is = sha256(&content);
        if sealed.split(|b| *b == b' ').next() != Some(is.as_bytes()) {
            return Err(corrupt("its SHA-256 differs from `manifest.json.sha256`"));
        }
        let manifest: Manifest =
            serde_json::from_slice(&content).map_err(|error| corrupt(&error.to_string()))?;
        if manifest.format != FORMAT || manifest.id != *id {
            return Err(corrupt("it is of another version or another backup"));
        }
        Ok(Some((manifest, is)))
    }

    /// Whether every file is there with its size. `Err` names the first that is not.
    pub(crate) async fn check_sizes(&self, manifest: &Manifest) -> Result<(), DatabaseError> {
        let mut heads = Vec::with_capacity(manifest.files.len());
        for file in &manifest.files {
            heads.push(self.check_size(manifest, file).boxed());
        }
        at_once(16, heads).await
    }

    async fn check_size(&self, manifest: &Manifest, file: &DumpFile) -> Result<(), DatabaseError> {
        let detail = match self.size(&self.object(&manifest.id, &manifest.attempt, file)).await? {
            Some(bytes) if bytes == file.bytes => return Ok(()),
            Some(bytes) => format!("it has {bytes} bytes instead of {}", file.bytes),
            None => "it is gone".to_owned(),
        };
        Err(DatabaseError::Corrupt { file: file.name.clone(), detail })
    }

    async fn size(&self, at: &Path) -> Result<Option<u64>, DatabaseError> {
        match self.store.head(at).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(DatabaseError::store(format!("look at {at}"), &error)),
        }
    }

    /// Uploads a file of a dump unless it is there; whether it was uploaded.
    pub(crate) async fn upload(
        &self,
        id: &BackupId,
        attempt: &str,
        file: &DumpFile,
        folder: &FilePath,
    ) -> Result<bool, DatabaseError> {
        let at = self.object(id, attempt, file);
        if self.size(&at).await? == Some(file.bytes) {
            return Ok(false);
        }
        let path = folder.join(&file.name);
        let failed = |error: &std::io::Error| DatabaseError::file(&path, error);
        let mut content = tokio::fs::File::open(&path).await.map_err(|error| failed(&error))?;
        if file.bytes <= PART as u64 {
            let mut whole = Vec::with_capacity(file.bytes as usize);
            content.read_to_end(&mut whole).await.map_err(|error| failed(&error))?;
            self.put(&at, whole.into()).await?;
            return Ok(true);
        }
        let doing = || format!("upload {}", file.name);
        let upload = self.store.put_multipart(&at).await;
        let upload = upload.map_err(|error| DatabaseError::store(doing(), &error))?;
        let mut parts = WriteMultipart::new_with_chunk_size(upload, PART);
        content.set_max_buf_size(PART);
        let mut piece = vec![0; PART];
        loop {
            let mut filled = 0;
            while filled < PART {
                match content.read(&mut piece[filled..]).await.map_err(|error| failed(&error))? {
                    0 => break,
                    n => filled += n,
                }
            }
            if filled == 0 {
                break;
            }
            let ready = parts.wait_for_capacity(PARTS_IN_FLIGHT).await;
            ready.map_err(|error| DatabaseError::store(doing(), &error))?;
            piece.truncate(filled);
            parts.put(Bytes::from(std::mem::replace(&mut piece, vec![0; PART])));
        }
        parts.finish().await.map_err(|error| DatabaseError::store(doing(), &error))?;
        Ok(true)
    }

    /// Downloads a file of a dump and compares it; a file that is already there whole is not asked for again.
    pub(crate) async fn download(
        &self,
        manifest: &Manifest,
        file: &DumpFile,
        folder: &FilePath,
        told: impl Fn(u64),
    ) -> Result<(), DatabaseError> {
        let path = folder.join(&file.name);
        if hash_of(&path).await.is_some_and(|is| is == file.sha256) {
            told(file.bytes);
            return Ok(());
        }
        let part = folder.join(format!("{}.part", file.name));
        let failed = |error: &std::io::Error| DatabaseError::file(&part, error);
        let doing = || format!("download {}", file.name);
        let corrupt = |detail: String| DatabaseError::Corrupt { file: file.name.clone(), detail };
        let at = self.object(&manifest.id, &manifest.attempt, file);
        match self.size(&at).await? {
            Some(bytes) if bytes == file.bytes => {}
            Some(bytes) => return Err(corrupt(format!("it has {bytes} bytes instead of {}", file.bytes))),
            None => return Err(corrupt("it is gone".to_owned())),
        }
        let mut content = tokio::fs::File::create(&part).await.map_err(|error| failed(&error))?;
        content.set_max_buf_size(PART);
        let mut digest = Sha256::new();
        // In parts rather than as one stream: a local store gives that in pieces of 8 KiB, and S3 serves parts as fast.
        for from in (0..file.bytes).step_by(PART) {
            let to = file.bytes.min(from + PART as u64);
            let piece = self.store.get_range(&at, from..to).await;
            let piece = piece.map_err(|error| DatabaseError::store(doing(), &error))?;
            digest.update(&piece);
            content.write_all(&piece).await.map_err(|error| failed(&error))?;
            told(piece.len() as u64);
        }
        content.flush().await.map_err(|error| failed(&error))?;
        if hex(&digest.finalize()) != file.sha256 {
            let _ = tokio::fs::remove_file(&part).await;
            return Err(corrupt("its SHA-256 differs from the manifest's".to_owned()));
        }
        tokio::fs::rename(&part, &path).await.map_err(|error| failed(&error))
    }

    /// Writes the manifest, and then its digest, which makes the backup whole.
    pub(crate) async fn seal(&self, manifest: &Manifest) -> Result<String, DatabaseError> {
        let content = serde_json::to_vec_pretty(manifest).map_err(|error| DatabaseError::Corrupt {
            file: "manifest.json".to_owned(),
            detail: error.to_string(),
        })?;
        let digest = sha256(&content);
        self.put(&self.in_db(&manifest.id, "manifest.json"), content.into()).await?;
        // In the form of `sha256sum -c`.
        let line = format!("{digest}  manifest.json\n");
        self.put(&self.in_db(&manifest.id, "manifest.json.sha256"), line.into_bytes().into()).await?;
        Ok(digest)
    }

    /// The latest whole backup other than this one, by its snapshot.
    pub(crate) async fn previous(&self, id: &BackupId) -> Result<Option<Manifest>, DatabaseError> {
        let folders = self.store.list_with_delimiter(Some(&self.prefix)).await;
        let folders = folders.map_err(|error| DatabaseError::store("list the backups", &error))?;
        let mut latest: Option<Manifest> = None;
        for folder in folders.common_prefixes {
            let Some(other) = folder.parts().next_back().and_then(|it| it.as_ref().parse::<BackupId>().ok())
            else {
                continue;
            };
            if other == *id {
                continue;
            }
            // A backup that is not whole, or that somebody damaged, is no measure.
            if let Ok(Some((manifest, _))) = self.manifest(&other).await
                && latest.as_ref().is_none_or(|it| it.snapshot_at < manifest.snapshot_at)
            {
                latest = Some(manifest);
            }
        }
        Ok(latest)
    }

    pub(crate) async fn put(&self, at: &Path, content: PutPayload) -> Result<(), DatabaseError> {
        let put = self.store.put(at, content).await;
        put.map(drop).map_err(|error| DatabaseError::store(format!("upload {at}"), &error))
    }

    /// A small object; `None` where there is none.
    pub(crate) async fn read(&self, at: &Path) -> Result<Option<Bytes>, DatabaseError> {
        let failed = |error: &object_store::Error| DatabaseError::store(format!("read {at}"), error);
        match self.store.get(at).await {
            Ok(got) => got.bytes().await.map(Some).map_err(|error| failed(&error)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }
}

/// Does all of them, so many at once, until one fails.
pub(crate) async fn at_once(
    count: usize,
    work: Vec<BoxFuture<'_, Result<(), DatabaseError>>>,
) -> Result<(), DatabaseError> {
    futures_util::stream::iter(work).buffer_unordered(count).try_collect().await
}

/// SHA-256 of a local file; `None` where there is none.
async fn hash_of(path: &FilePath) -> Option<String> {
    let path = path.to_owned();
    let hashed = tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::open(path).ok()?;
        let mut digest = Sha256::new();
        let mut piece = vec![0; 256 * 1024];
        loop {
            match std::io::Read::read(&mut file, &mut piece).ok()? {
                0 => return Some(hex(&digest.finalize())),
                n => digest.update(&piece[..n]),
            }
        }
    });
    hashed.await.ok().flatten()
}
