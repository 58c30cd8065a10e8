//! A throwaway Postgres cluster on this machine, from the binaries that are installed: for drills and tests.
//!
//! It listens on 127.0.0.1 only, asks for a password that nobody else knows, and is gone with its owner, even when that is killed.

mod start;

use std::path::{Path, PathBuf};

use tokio_postgres::SimpleQueryMessage;

use crate::database::{DatabaseError, DatabaseUrl, Party};
pub(crate) use start::program_folders;

/// What a cluster is for, and so how it is set up.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    /// Whether it outlives its owner: a drill that was killed finds it again with [`Cluster::attach`].
    pub persist: bool,
    /// Whether commits wait for the disk, as on a real server. Otherwise a power cut may destroy it.
    pub durable: bool,
    /// More settings, as in `postgresql.conf`.
    pub settings: Vec<(String, String)>,
    /// Gives it a small disk of that many bytes, `disk` in its folder, to put a tablespace on and see what happens when it is
    /// full. Its log stays elsewhere: a server that cannot write that stops altogether. Linux only.
    pub disk_bytes: Option<u64>,
    /// A certificate and its key (PEM), for connections with TLS.
    pub tls: Option<(String, String)>,
    /// The folder of the server's programs; the newest that is installed where it is not given.
    pub programs: Option<PathBuf>,
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No binaries.
    #[error(
        "no Postgres server is installed (looked for `initdb` and `postgres` in PATH and /usr/lib/postgresql/*/bin); install it, e.g. `apt-get install postgresql`, or give a DATABASE_URL"
    )]
    NotInstalled,
    /// Postgres refuses to run as root, and there is nobody else.
    #[error("Postgres does not run as root, and this system has neither a user `postgres` nor `nobody`")]
    NoUser,
    /// It did not start.
    #[error("the throwaway Postgres cluster in {} did not start: {detail}", .folder.display())]
    NotStarted {
        /// Where.
        folder: PathBuf,
        /// The end of its log.
        detail: String,
    },
    /// A file cannot be used.
    #[error("{}: {error}", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What was seen.
        error: std::io::Error,
    },
}

/// A running cluster. One that does not persist is stopped and removed when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    port: u16,
    password: String,
    /// What stops it; `None` where it persists.
    tether: Option<start::Tether>,
}

impl Cluster {
    /// Starts one in a new folder below `parent`, which must be a folder that other users may pass through.
    pub fn start(parent: &Path, options: &ClusterOptions) -> Result<Self, ClusterError> {
        start::start(parent, options)
    }

    /// One that was started with [`persist`](ClusterOptions::persist) in this folder, started again where it does not run.
    pub fn attach(folder: &Path) -> Result<Self, ClusterError> {
        start::attach(folder)
    }

    /// Stops one that persists, and removes it.
    pub fn remove(self) -> Result<(), ClusterError> {
        start::remove(&self)
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password of its superuser `postgres`.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// One of its databases, as its superuser.
    pub fn url(&self, database: &str) -> DatabaseUrl {
        let text = format!("postgres://postgres:{}@127.0.0.1:{}/{database}", self.password, self.port);
        text.parse().expect("a password of letters and digits makes a URL")
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read(self.folder.join("log"))
            .map_or_else(|_| String::new(), |log| String::from_utf8_lossy(&log).into_owned())
    }

    /// Runs statements in one of its databases; the last results, as text. It can reach no other server than this one.
    pub async fn run(&self, database: &str, sql: &str) -> Result<Vec<Vec<String>>, DatabaseError> {
        let failed =
            |error: &tokio_postgres::Error| DatabaseError::sql(Party::Target, "prepare a cluster", error);
        let (client, connection) = tokio_postgres::Config::new()
            .host("127.0.0.1")
            .port(self.port)
            .user("postgres")
            .password(&self.password)
            .dbname(database)
            .connect(tokio_postgres::NoTls)
            .await
            .map_err(|error| failed(&error))?;
        let connection = tokio::spawn(connection);
        let messages = client.simple_query(sql).await.map_err(|error| failed(&error))?;
        drop(client);
        let _ = connection.await;
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|n| row.get(n).unwrap_or("").to_owned()).collect())
            }
            _ => None,
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }
}
