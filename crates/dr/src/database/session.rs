//! One connection, with the settings that make rows come out as the same text everywhere.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use secrecy::ExposeSecret as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Row};

use super::error::{DatabaseError, Party, causes, is_credential};
use super::tls::{Rustls, roots_file};
use super::url::{DatabaseUrl, Tls};

/// How long a statement waits for a lock before it gives up, so that neither production nor staging queues behind us.
pub(crate) const LOCK_TIMEOUT: &str = "5s";

/// What our connections are called in `pg_stat_activity`.
pub(crate) const APPLICATION: &str = "allclear-recovery";

/// As text, rows must look like those of `pg_dump`, which sets the same.
const TEXT_SETTINGS: &str = "SET DateStyle = ISO; SET IntervalStyle = postgres; SET TimeZone = 'UTC'; \
SET extra_float_digits = 3; SET bytea_output = hex; SET xmlbinary = base64; SET lc_monetary = 'C'; SET array_nulls = on; \
SET quote_all_identifiers = off; SET row_security = off; SET statement_timeout = 0; SET default_transaction_isolation = 'read committed'; \
SET idle_in_transaction_session_timeout = 0; SET search_path = '';";

/// The same for a program, which sets some of them itself and inherits the others from the database or the role.
pub(crate) const TEXT_OPTIONS: &str =
    "-c bytea_output=hex -c xmlbinary=base64 -c lc_monetary=C -c quote_all_identifiers=off";

/// A connection to one of the two databases.
pub(crate) struct Session {
    client: Client,
    party: Party,
}

impl Session {
    /// A connection on which nothing can be written, whatever is asked.
    pub(crate) async fn reading(url: &DatabaseUrl, party: Party) -> Result<Self, DatabaseError> {
        let session = Self::open(url, party).await?;
        // The start-up options say so already; some poolers drop those.
        session.batch("prepare the connection", "SET default_transaction_read_only = on").await?;
        Ok(session)
    }

    /// A connection to the target. Only a [`StagingTarget`](super::StagingTarget) and its enrolment open one.
    pub(super) async fn writing(url: &DatabaseUrl) -> Result<Self, DatabaseError> {
        let session = Self::open(url, Party::Target).await?;
        // Without it, a server goes on building an index for a client that was killed.
        let watch = "SELECT set_config(name, '1s', false) FROM pg_catalog.pg_settings \
                     WHERE name = 'client_connection_check_interval'";
        session.batch("prepare the connection", watch).await?;
        Ok(session)
    }

    async fn open(url: &DatabaseUrl, party: Party) -> Result<Self, DatabaseError> {
        let mut config = Config::new();
        config
            .host(url.host())
            .port(url.port())
            .user(url.user())
            .password(url.password().expose_secret())
            .dbname(url.database())
            .application_name(APPLICATION)
            .connect_timeout(Duration::from_secs(10));
        if party == Party::Source {
            config.options("-c default_transaction_read_only=on");
        }
        let client = match url.tls() {
            Tls::Off => {
                config.ssl_mode(tokio_postgres::config::SslMode::Disable);
                let connected = config.connect(tokio_postgres::NoTls).await;
                let (client, connection) = connected.map_err(|error| connecting(party, &error))?;
                tokio::spawn(connection);
                client
            }
            encrypted => {
                config.ssl_mode(tokio_postgres::config::SslMode::Require);
                let tls = match encrypted {
                    Tls::Verified { roots } => roots_file(roots).and_then(|roots| Rustls::trusting(&roots)),
                    Tls::Signed { roots } => roots_file(roots).and_then(|roots| Rustls::signed_by(&roots)),
                    Tls::Off | Tls::Encrypted => Rustls::encrypting(),
                };
                let tls = tls.map_err(|detail| DatabaseError::Tls { party, detail })?;
                let (client, connection) =
                    config.connect(tls).await.map_err(|error| connecting(party, &error))?;
                tokio::spawn(connection);
                client
            }
        };
        let session = Self { client, party };
        let settings = format!("{TEXT_SETTINGS} SET lock_timeout = '{LOCK_TIMEOUT}'");
        session.batch("prepare the connection", &settings).await?;
        Ok(session)
    }

    /// Runs statements without results.
    pub(crate) async fn batch(&self, doing: &str, sql: &str) -> Result<(), DatabaseError> {
        self.client.batch_execute(sql).await.map_err(|error| self.failed(doing, &error))
    }

    /// Runs one statement; how many rows it changed.
    pub(crate) async fn execute(
        &self,
        doing: &str,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, DatabaseError> {
        self.client.execute(sql, values).await.map_err(|error| self.failed(doing, &error))
    }

    /// Sets where unqualified names are looked for; nowhere where it is empty, as at the beginning.
    pub(crate) async fn look_in(&self, search_path: &str) -> Result<(), DatabaseError> {
        let set = "SELECT pg_catalog.set_config('search_path', $1, false)";
        self.rows("set the search path", set, &[&search_path]).await.map(drop)
    }

    /// Asks.
    pub(crate) async fn rows(
        &self,
        doing: &str,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DatabaseError> {
        self.client.query(sql, values).await.map_err(|error| self.failed(doing, &error))
    }

    /// Asks for exactly one row.
    pub(crate) async fn row(
        &self,
        doing: &str,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, DatabaseError> {
        self.client.query_one(sql, values).await.map_err(|error| self.failed(doing, &error))
    }

    /// The lines of a `COPY ... TO STDOUT`.
    pub(crate) async fn copy_out(
        &self,
        doing: &str,
        sql: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, DatabaseError>>, DatabaseError> {
        let stream = self.client.copy_out(sql).await.map_err(|error| self.failed(doing, &error))?;
        let (party, doing) = (self.party, doing.to_owned());
        Ok(stream.map_err(move |error| DatabaseError::sql(party, doing.clone(), &error)))
    }

    /// Where the lines of a `COPY ... FROM STDIN` go.
    pub(crate) async fn copy_in(
        &self,
        doing: &str,
        sql: &str,
    ) -> Result<tokio_postgres::CopyInSink<Bytes>, DatabaseError> {
        self.client.copy_in(sql).await.map_err(|error| self.failed(doing, &error))
    }

    pub(crate) fn failed(&self, doing: &str, error: &tokio_postgres::Error) -> DatabaseError {
        DatabaseError::sql(self.party, doing, error)
    }
}

fn connecting(party: Party, error: &tokio_postgres::Error) -> DatabaseError {
    let detail = causes(error);
    if error.code().is_some_and(is_credential) {
        return DatabaseError::Credential { party, detail };
    }
    if error.code().is_none() && (detail.contains("TLS") || detail.contains("certificate")) {
        return DatabaseError::Tls { party, detail };
    }
    DatabaseError::Unreachable { party, detail }
}

/// A name as SQL wants it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `"schema"."table"`.
pub(crate) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(name))
}

/// A text as SQL wants it; `standard_conforming_strings` is on since 9.1.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
