//! A source, a server, and copies between them, in few words.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use allclear_core::Clock;
use allclear_core::recovery::BackupId;
use allclear_dr::storage::{Bucket, S3Access, S3Copies, S3Settings, Source, connect};
use allclear_sandbox::s3::{ACCESS_KEY, Arrived, Call, REGION, S3Server, SECRET_KEY};
use async_trait::async_trait;
use jiff::Timestamp;
use tempfile::TempDir;

pub(crate) const BUCKET: &str = "backups";

/// The wall clock, a minute ahead: files that a test just made count as settled.
#[derive(Debug)]
pub(crate) struct Ahead(pub(crate) Duration);

#[async_trait]
impl Clock for Ahead {
    #[expect(clippy::disallowed_methods, reason = "files get their times from the machine")]
    fn now(&self) -> Timestamp {
        Timestamp::now() + self.0
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep_until(&self, _at: Timestamp) {}
}

pub(crate) fn ahead() -> Arc<dyn Clock> {
    Arc::new(Ahead(Duration::from_mins(1)))
}

/// One server, one source folder with the buckets `vouchers` and `docs`.
pub(crate) struct World {
    pub(crate) server: S3Server,
    pub(crate) home: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let server = S3Server::start(&home.path().join("s3"), 0).await.unwrap();
        server.make_bucket(BUCKET).unwrap();
        let world = Self { server, home };
        std::fs::create_dir_all(world.source_folder().join("vouchers")).unwrap();
        std::fs::create_dir_all(world.source_folder().join("docs")).unwrap();
        world
    }

    pub(crate) fn source_folder(&self) -> PathBuf {
        self.home.path().join("source")
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) {
        let path = self.source_folder().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// So many small files of different contents.
    pub(crate) fn files(&self, count: usize, size: usize) {
        for n in 0..count {
            self.file(&format!("vouchers/{n:05}.png"), &noise(n as u64, size));
        }
    }

    pub(crate) fn ledgers(&self) -> PathBuf {
        self.home.path().join("ledgers")
    }

    pub(crate) fn source(&self) -> Source {
        Source::folder(self.source_folder(), vec!["vouchers".into(), "docs".into()], ahead())
    }

    pub(crate) fn bucket(&self) -> Bucket {
        connect(&settings(&self.server.base_url())).unwrap()
    }

    pub(crate) fn copies(&self) -> S3Copies {
        self.copies_from(self.source())
    }

    pub(crate) fn copies_from(&self, source: Source) -> S3Copies {
        S3Copies::new(self.bucket(), source, self.ledgers(), ahead())
    }

    /// How many requests of a kind succeeded.
    pub(crate) fn succeeded(&self, call: Call) -> usize {
        let arrived = self.server.arrived();
        arrived.iter().filter(|it| it.call == call && it.status.is_some_and(|status| status < 300)).count()
    }

    /// Uploads of objects that succeeded, by path.
    pub(crate) fn uploads(&self) -> Vec<String> {
        uploads_in(&self.server.arrived())
    }

    /// Files below `objects/` in the server's folder.
    pub(crate) fn stored(&self) -> Vec<PathBuf> {
        files_below(&self.server.folder().join(BUCKET).join("supabase/objects"))
    }
}

pub(crate) fn uploads_in(arrived: &[Arrived]) -> Vec<String> {
    let uploads = arrived.iter().filter(|it| {
        matches!(it.call, Call::Put | Call::CompleteUpload)
            && it.status == Some(200)
            && it.path.contains("/objects/")
    });
    uploads.map(|it| it.path.clone()).collect()
}

pub(crate) fn access(endpoint: &str) -> S3Access {
    S3Access {
        endpoint: endpoint.to_owned(),
        region: REGION.to_owned(),
        access_key: ACCESS_KEY.to_owned(),
        secret_key: SECRET_KEY.into(),
        path_style: true,
    }
}

pub(crate) fn settings(endpoint: &str) -> S3Settings {
    S3Settings { access: access(endpoint), bucket: BUCKET.to_owned(), prefix: "supabase".to_owned() }
}

pub(crate) fn id(text: &str) -> BackupId {
    text.parse().unwrap()
}

/// Bytes that look random, the same for the same seed.
pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(files_below(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}
