//! A large object: read in pieces of one version, hashed in order, put as parts side by side.
//!
//! Its SHA-256 is known only at its end, so it cannot stand under it. It stands under a digest of what it is a copy of:
//! bucket, name, size and version. Whatever was not seen from its first to its last byte by this process is read back before
//! it is believed.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use allclear_core::{PortError, Service};
use bytes::Bytes;
use futures_util::StreamExt as _;
use object_store::PutPayload;
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;

use super::copy::{Done, Work};
use super::failure::port_error;
use super::ledger::Begun;
use super::manifest::Entry;
use super::source::{Listed, Opened, Unread};

/// Pieces that are read ahead of the one that is hashed.
const READ_AHEAD: usize = 2;
const LEAST_PART: u64 = 8 << 20;
const MOST_PARTS: u64 = 10_000;
/// How often an object that changes under our hands is begun again.
const ATTEMPTS: usize = 3;

/// Copies it, in the version that it is of by then.
pub(super) async fn copy(
    work: &Arc<Work>,
    listed: Listed,
    mut changed: bool,
    done: &mpsc::Sender<Done>,
) -> Result<(), PortError> {
    for attempt in 0..ATTEMPTS {
        let (now, opened) = match work.source.open(&listed).await {
            Ok(opened) => opened,
            Err(unread) => return unread_before(unread, listed, done).await,
        };
        changed |= now.is_other_than(&listed);
        match copy_version(work, &now, opened, attempt).await {
            Ok((sha256, key, uploaded)) => {
                let Listed { bucket, name, size, version } = now;
                let entry = Entry { bucket, name, size, sha256, key: Some(Box::new(key)), version };
                return work.finish((entry, uploaded, changed), done).await;
            }
            Err(Unread::Changed | Unread::Grown(_)) => changed = true,
            Err(unread) => return unread_before(unread, listed, done).await,
        }
    }
    Err(restless(&listed))
}

async fn unread_before(unread: Unread, listed: Listed, done: &mpsc::Sender<Done>) -> Result<(), PortError> {
    match unread {
        Unread::Vanished => {
            let _ = done.send(Done::Vanished { bucket: listed.bucket, name: listed.name }).await;
            Ok(())
        }
        Unread::Changed | Unread::Grown(_) => Err(restless(&listed)),
        Unread::Failed(error) => Err(error),
    }
}

/// An object that never holds still.
pub(super) fn restless(listed: &Listed) -> PortError {
    PortError::Rejected {
        service: Service::ObjectStore,
        call: format!("read {}", listed.name.escape_debug()),
        code: None,
        detail: format!("it changed {ATTEMPTS} times while it was read; copy when it is not being written"),
    }
}

/// Ends the uploads of an earlier process whose objects are not wanted any more.
pub(super) async fn end_orphans(work: &Work, wanted: &[Listed]) -> Result<(), PortError> {
    let keys: Vec<_> = wanted.iter().map(|listed| key_of(work, listed, "")).collect();
    let orphans: Vec<_> = {
        let mut known = work.known();
        let gone: Vec<_> = known.uploads.keys().filter(|key| !keys.contains(key)).copied().collect();
        gone.into_iter().filter_map(|key| Some((key, known.uploads.remove(&key)?))).collect()
    };
    for (key, begun) in orphans {
        abort(work, &work.bucket.object(&key), &begun.upload).await?;
    }
    Ok(())
}

/// The name that it stands under. A version that cannot be trusted yet gets a name that is never used again.
fn key_of(work: &Work, listed: &Listed, salt: &str) -> [u8; 32] {
    let bucket = &work.source.names()[usize::from(listed.bucket)];
    let version = match &listed.version {
        Some(version) => version.to_string(),
        None => format!("unsettled, in {}", work.id),
    };
    let text = format!("large\0{bucket}\0{}\0{}\0{version}\0{salt}", listed.name, listed.size);
    Sha256::digest(text).into()
}

/// Copies one version: its SHA-256, the name it stands under, and whether it was uploaded.
async fn copy_version(
    work: &Arc<Work>,
    listed: &Listed,
    opened: Opened,
    attempt: usize,
) -> Result<([u8; 32], [u8; 32], bool), Unread> {
    let mut key = key_of(work, listed, "");
    if work.stored.contains_key(&key) && attempt == 0 {
        // An earlier process completed it and was killed before it wrote that down; or it is damaged.
        let there = work.bucket.digest_of(&work.bucket.object(&key)).await.map_err(Unread::Failed)?;
        let (sha256, opened) = hash_only(work, listed, opened).await?;
        if there == Some((sha256, listed.size)) {
            work.source.close(opened).await?;
            work.moved(listed.size);
            return Ok((sha256, key, false));
        }
        key = key_of(work, listed, "again");
        return upload(work, listed, opened, &key).await.map(|sha256| (sha256, key, true));
    }
    if attempt > 0 || listed.version.is_none() {
        // Never the name that another attempt may have written under.
        let salt = format!("{attempt} {:?}", std::time::Instant::now());
        key = key_of(work, listed, &salt);
    }
    upload(work, listed, opened, &key).await.map(|sha256| (sha256, key, true))
}

fn ranges(size: u64, part: u64) -> impl Iterator<Item = (u32, Range<u64>)> {
    (0..size.div_ceil(part)).map(move |n| (n as u32, n * part..((n + 1) * part).min(size)))
}

async fn hash_only(work: &Arc<Work>, listed: &Listed, opened: Opened) -> Result<([u8; 32], Opened), Unread> {
    let mut hash = Sha256::new();
    for (_, range) in ranges(listed.size, LEAST_PART) {
        let _room = work.room_for(range.end - range.start).await;
        let piece = work.source.read_part(&opened, range).await?;
        (hash, _) = hashed(hash, piece).await;
    }
    Ok((hash.finalize().into(), opened))
}

async fn hashed(mut hash: Sha256, piece: Bytes) -> (Sha256, Bytes) {
    let work = tokio::task::spawn_blocking(move || {
        hash.update(&piece);
        (hash, piece)
    });
    work.await.expect("hashing does not panic")
}

/// Uploads it, or goes on with an upload that was begun.
async fn upload(
    work: &Arc<Work>,
    listed: &Listed,
    opened: Opened,
    key: &[u8; 32],
) -> Result<[u8; 32], Unread> {
    let path = work.bucket.object(key);
    let earlier = work.known().uploads.remove(key);
    let continued = earlier.is_some();
    let begun = match earlier {
        Some(begun) => begun,
        None => begin(work, listed, key, &path).await.map_err(Unread::Failed)?,
    };
    let parts = put_parts(work, listed, &opened, &path, &begun).await;
    let parts = match parts {
        Ok(parts) => parts,
        Err(Unread::Failed(PortError::NotFound { .. })) if continued => {
            // The server has forgotten that upload; so it is begun anew.
            work.ledger().ended(&begun.upload).map_err(Unread::Failed)?;
            return Box::pin(upload(work, listed, opened, key)).await;
        }
        // It goes on from here when the copy is resumed.
        Err(Unread::Failed(error)) => return Err(Unread::Failed(error)),
        Err(unread) => {
            abort(work, &path, &begun.upload).await.map_err(Unread::Failed)?;
            return Err(unread);
        }
    };
    if let Err(unread) = work.source.close(opened).await {
        abort(work, &path, &begun.upload).await.map_err(Unread::Failed)?;
        return Err(unread);
    }
    let (sha256, ids) = parts;
    complete(work, &path, (&begun.upload, ids), (sha256, listed.size), continued)
        .await
        .map_err(Unread::Failed)?;
    Ok(sha256)
}

async fn begin(work: &Work, listed: &Listed, key: &[u8; 32], path: &Path) -> Result<Begun, PortError> {
    let part_size = LEAST_PART.max(listed.size.div_ceil(MOST_PARTS));
    let upload = work.bucket.s3().create_multipart(path).await;
    let upload = upload.map_err(|error| port_error(&format!("begin upload of {path}"), true, &error))?;
    work.ledger().begun(key, &upload, part_size)?;
    Ok(Begun { upload, part_size, parts: HashMap::new() })
}

async fn put_parts(
    work: &Arc<Work>,
    listed: &Listed,
    opened: &Opened,
    path: &Path,
    begun: &Begun,
) -> Result<([u8; 32], Vec<PartId>), Unread> {
    let mut ids = begun.parts.clone();
    let pieces = ranges(listed.size, begun.part_size).map(|piece| read_piece(work, opened, piece));
    let mut pieces = futures_util::stream::iter(pieces).buffered(READ_AHEAD);
    let (mut hash, mut puts) = (Sha256::new(), JoinSet::new());
    while let Some(piece) = pieces.next().await {
        let (number, room, piece) = piece?;
        let piece_hashed = hashed(hash, piece).await;
        hash = piece_hashed.0;
        if ids.contains_key(&number) {
            work.moved(piece_hashed.1.len() as u64);
            continue;
        }
        let (work, path, upload) = (Arc::clone(work), path.clone(), begun.upload.clone());
        puts.spawn(async move { put_part(&work, &path, &upload, (number, piece_hashed.1), room).await });
        while let Some(put) = puts.try_join_next() {
            let (number, id) = put.expect("putting does not panic").map_err(Unread::Failed)?;
            ids.insert(number, id);
        }
    }
    while let Some(put) = puts.join_next().await {
        let (number, id) = put.expect("putting does not panic").map_err(Unread::Failed)?;
        ids.insert(number, id);
    }
    let mut ids: Vec<_> = ids.into_iter().collect();
    ids.sort_unstable();
    let ids = ids.into_iter().map(|(_, id)| PartId { content_id: id }).collect();
    Ok((hash.finalize().into(), ids))
}

async fn read_piece(
    work: &Work,
    opened: &Opened,
    (number, range): (u32, Range<u64>),
) -> Result<(u32, OwnedSemaphorePermit, Bytes), Unread> {
    let room = work.room_for(range.end - range.start).await;
    let piece = work.source.read_part(opened, range).await?;
    Ok((number, room, piece))
}

async fn put_part(
    work: &Work,
    path: &Path,
    upload: &String,
    (number, piece): (u32, Bytes),
    room: OwnedSemaphorePermit,
) -> Result<(u32, String), PortError> {
    let length = piece.len() as u64;
    let put = work.bucket.s3().put_part(path, upload, number as usize, PutPayload::from(piece)).await;
    let id = put
        .map_err(|error| port_error(&format!("PUT part {} of {path}", number + 1), true, &error))?
        .content_id;
    drop(room);
    work.ledger().part(upload, number, &id)?;
    work.moved(length);
    Ok((number, id))
}

async fn complete(
    work: &Work,
    path: &Path,
    (upload, ids): (&String, Vec<PartId>),
    (sha256, size): ([u8; 32], u64),
    continued: bool,
) -> Result<(), PortError> {
    let call = format!("complete upload of {path}");
    let completed = work.bucket.s3().complete_multipart(path, upload, ids).await;
    let mut unsure = continued;
    if let Err(error) = completed {
        // An answer that was lost is answered "no such upload" the second time; what stands there tells.
        if work.bucket.size_of(path).await? != Some(size) {
            return Err(port_error(&call, true, &error));
        }
        unsure = true;
    }
    if unsure && work.bucket.digest_of(path).await? != Some((sha256, size)) {
        return Err(PortError::Damaged {
            service: Service::ObjectStore,
            call,
            detail: "what stands there is not what was read".to_owned(),
        });
    }
    work.ledger().ended(upload)
}

/// The one DELETE there is: of an upload of ours that was not completed.
async fn abort(work: &Work, path: &Path, upload: &String) -> Result<(), PortError> {
    match work.bucket.s3().abort_multipart(path, upload).await {
        Ok(()) => {}
        Err(error) => match port_error(&format!("abort upload of {path}"), true, &error) {
            // Ended already.
            PortError::NotFound { .. } => {}
            PortError::Rejected { code: Some(code), .. } if code == "NoSuchUpload" => {}
            error => return Err(error),
        },
    }
    work.ledger().ended(upload)
}
