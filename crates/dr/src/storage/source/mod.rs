//! Where the objects come from: buckets that speak S3 (Supabase's do), or a folder on this machine.
//!
//! Nothing here writes to a source. What is read is tied to a *version*: the ETag of an object, or a file's inode, size and
//! times. A large object is read in pieces, each of which must still be of the version that the first was of.

mod buckets;
mod folder;
mod listing;
mod pool;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use allclear_core::error::InvalidValue;
use allclear_core::{Clock, PortError};
use bytes::Bytes;

use super::settings::S3Access;
use buckets::Buckets;
use folder::{Folder, OpenFile};
pub(super) use pool::Pool;

/// Where the objects come from.
#[derive(Debug, Clone)]
pub struct Source(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Folder(Arc<Folder>),
    Buckets(Arc<Buckets>),
}

/// One object as the source lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Which of [`Source::names`].
    pub(super) bucket: u16,
    pub(super) name: Box<str>,
    pub(super) size: u64,
    /// Equal versions have equal contents; `None` where that cannot be said yet.
    pub(super) version: Option<Box<str>>,
}

impl Listed {
    /// Whether it is of another version than it was listed with.
    pub(super) fn is_other_than(&self, listed: &Self) -> bool {
        self.size != listed.size || (listed.version.is_some() && self.version != listed.version)
    }
}

/// Why an object was not read.
#[derive(Debug)]
pub(super) enum Unread {
    /// It is not there any more.
    Vanished,
    /// It is of another version than before.
    Changed,
    /// It is too large now to be read at once.
    Grown(Listed),
    Failed(PortError),
}

/// A large object, of one version.
#[derive(Debug)]
pub(super) enum Opened {
    File(OpenFile),
    Object(Listed),
}

impl Source {
    /// Folders below `root`, one for each bucket, as an export leaves them on disk.
    pub fn folder(root: impl Into<PathBuf>, buckets: Vec<String>, clock: Arc<dyn Clock>) -> Self {
        Self(Kind::Folder(Arc::new(Folder {
            root: root.into(),
            names: buckets,
            clock,
            pool: Pool::default(),
        })))
    }

    /// Buckets of an S3 server. Supabase's endpoint is `https://REF.storage.supabase.co/storage/v1/s3`, path style, with the
    /// project's region and S3 access keys, which pass by row level security.
    pub fn buckets(
        access: S3Access,
        buckets: Vec<String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InvalidValue> {
        Ok(Self(Kind::Buckets(Arc::new(Buckets::new(access, buckets, clock)?))))
    }

    /// The buckets, by name.
    pub(super) fn names(&self) -> &[String] {
        match &self.0 {
            Kind::Folder(folder) => &folder.names,
            Kind::Buckets(buckets) => &buckets.names,
        }
    }

    /// Every object of every bucket, by bucket and name.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, PortError> {
        let mut listed = match &self.0 {
            Kind::Folder(folder) => {
                let folder = Arc::clone(folder);
                blocking(move || folder.list()).await?
            }
            Kind::Buckets(buckets) => buckets.list().await?,
        };
        listed.sort_unstable_by(|a, b| (a.bucket, &a.name).cmp(&(b.bucket, &b.name)));
        Ok(listed)
    }

    /// How many small objects to hand over at once: a file is read faster than a task is started.
    pub(super) fn batch(&self) -> usize {
        match &self.0 {
            Kind::Folder(_) => 16,
            Kind::Buckets(_) => 1,
        }
    }

    /// Reads small objects whole, each with the version it was of when it was read.
    pub(super) async fn read_small(&self, batch: Vec<Listed>, limit: u64) -> Vec<Result<Read, Unread>> {
        match &self.0 {
            Kind::Folder(folder) => {
                let folder = Arc::clone(folder);
                blocking(move || batch.into_iter().map(|listed| folder.read_small(listed, limit)).collect())
                    .await
            }
            Kind::Buckets(buckets) => {
                let mut read = Vec::with_capacity(batch.len());
                for listed in batch {
                    read.push(buckets.read_small(listed, limit).await);
                }
                read
            }
        }
    }

    /// Takes hold of a large object in the version it is of now.
    pub(super) async fn open(&self, listed: &Listed) -> Result<(Listed, Opened), Unread> {
        match &self.0 {
            Kind::Folder(folder) => {
                let (folder, listed) = (Arc::clone(folder), listed.clone());
                let (now, file) = blocking(move || folder.open(&listed)).await?;
                Ok((now, Opened::File(file)))
            }
            Kind::Buckets(buckets) => {
                let now = buckets.head(listed).await?;
                Ok((now.clone(), Opened::Object(now)))
            }
        }
    }

    /// One piece of a large object.
    pub(super) async fn read_part(&self, of: &Opened, range: Range<u64>) -> Result<Bytes, Unread> {
        match (&self.0, of) {
            (Kind::Folder(folder), Opened::File(file)) => {
                let (folder, file) = (Arc::clone(folder), file.clone());
                blocking(move || folder.read_part(&file, range)).await
            }
            (Kind::Buckets(buckets), Opened::Object(listed)) => buckets.read_part(listed, range).await,
            _ => unreachable!("opened by another source"),
        }
    }

    /// Whether all pieces were of one version.
    pub(super) async fn close(&self, of: Opened) -> Result<(), Unread> {
        match of {
            Opened::File(file) => blocking(move || file.check()).await,
            // Each piece was asked for by its ETag.
            Opened::Object(_) => Ok(()),
        }
    }
}

/// A small object, read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) listed: Listed,
    pub(super) content: Bytes,
    pub(super) sha256: [u8; 32],
    /// Whether it is of another version than the listing said.
    pub(super) changed: bool,
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("reading does not panic")
}
