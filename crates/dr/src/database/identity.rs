//! Which database is which, and the one value that lets anything be written: a [`StagingTarget`].
//!
//! A URL proves nothing: names lie, poolers are aliases, variables get swapped. So both servers are asked who they are, and
//! the target must carry a marker that an enrolment put there before.

use std::time::Duration;

use allclear_core::recovery::{DatabaseIdentity, TargetCheck};

use super::error::{DatabaseError, Party};
use super::preflight;
use super::session::Session;
use super::url::DatabaseUrl;

/// The advisory lock that a restore holds on its target: `allclear`, as a number.
const RESTORE_LOCK: i64 = 0x616c_6c63_6c65_6172;

/// How long to wait for the lock of a restore that was killed; its server process notices within a second or two.
const LOCK_PATIENCE: Duration = Duration::from_secs(20);

/// What makes a database staging, and what restores leave there. It lives in a schema of its own, so that a restore of
/// `public` neither brings nor removes it.
const ENROLMENT: &str = "
CREATE SCHEMA IF NOT EXISTS allclear;
CREATE TABLE IF NOT EXISTS allclear.target (
  role text PRIMARY KEY, system_identifier text NOT NULL, database text NOT NULL,
  enrolled_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS allclear.restored (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, backup text NOT NULL, manifest_sha256 text NOT NULL,
  restored_at timestamptz NOT NULL DEFAULT clock_timestamp(), schemas text NOT NULL, tables bigint NOT NULL,
  rows bigint NOT NULL, put_aside text, took text NOT NULL);
CREATE TABLE IF NOT EXISTS allclear.neutralised (
  restored bigint NOT NULL, schema_name text NOT NULL, table_name text NOT NULL, column_name text NOT NULL,
  id text NOT NULL, was text NOT NULL, now text NOT NULL);
CREATE TABLE IF NOT EXISTS allclear.changed (
  restored bigint NOT NULL, kind text NOT NULL, name text NOT NULL, now text, says text NOT NULL);
ALTER TABLE allclear.restored ADD COLUMN IF NOT EXISTS notes text NOT NULL DEFAULT '[]';
ALTER TABLE allclear.restored ADD COLUMN IF NOT EXISTS began_at timestamptz;
ALTER TABLE allclear.restored ADD COLUMN IF NOT EXISTS masking text NOT NULL DEFAULT '';
CREATE TABLE IF NOT EXISTS allclear.masked (
  restored bigint NOT NULL, schema_name text NOT NULL, table_name text NOT NULL, column_name text NOT NULL, mask text NOT NULL,
  rows bigint NOT NULL, empty bigint NOT NULL, before text NOT NULL, since text NOT NULL);
REVOKE ALL ON SCHEMA allclear FROM PUBLIC;";

/// The two databases of an exercise, and what the configuration says of them.
#[derive(Debug, Clone)]
pub struct Databases {
    /// Production: where backups come from.
    pub source: DatabaseUrl,
    /// Staging: where they are restored to.
    pub target: DatabaseUrl,
    /// The ref of the production project, where the configuration names one.
    pub production_project: Option<String>,
    /// The ref of the staging project, where the configuration names one.
    pub staging_project: Option<String>,
    /// The schemas that are backed up and replaced; `public` in the written runbook.
    pub schemas: Vec<String>,
}

/// The proof that a database is staging, and the only way to write to it.
///
/// It can be had from [`Databases::admit`] alone, which asks both servers:
///
/// ```compile_fail,E0451
/// use allclear_dr::database::StagingTarget;
/// fn take_it_on_trust(url: allclear_dr::database::DatabaseUrl) -> StagingTarget {
///     StagingTarget { url }
/// }
/// ```
///
/// And what destroys takes nothing else; a URL will not do:
///
/// ```compile_fail,E0308
/// async fn drop_it(staging: &allclear_dr::database::PostgresStaging, url: allclear_dr::database::DatabaseUrl) {
///     staging.restore_into(url, &"id".parse().unwrap()).await.unwrap();
/// }
/// ```
pub struct StagingTarget {
    url: DatabaseUrl,
    session: Session,
    identity: DatabaseIdentity,
}

impl std::fmt::Debug for StagingTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StagingTarget").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl StagingTarget {
    /// Which one it is.
    pub fn identity(&self) -> &DatabaseIdentity {
        &self.identity
    }

    /// The connection that was checked, and holds the lock.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// One more connection, to a server that says it is the same.
    pub(super) async fn another(&self) -> Result<Session, DatabaseError> {
        let session = Session::writing(&self.url).await?;
        let facts = Facts::ask(&session, &self.url).await?;
        if facts.identity == self.identity && facts.marker == Marker::Staging {
            return Ok(session);
        }
        Err(DatabaseError::NotStaging {
            objections: vec!["two connections with the target's URL reached two databases".to_owned()],
        })
    }
}

impl Databases {
    /// Asks both servers who they are, and says what speaks against writing to the target, and what either side lacks. Reads
    /// only.
    pub async fn compare(&self) -> Result<TargetCheck, DatabaseError> {
        let (check, source, target) = self.identified().await?;
        if !check.objections.is_empty() {
            // What source and target lack of each other only says something where they are the right ones.
            return Ok(check);
        }
        let objections = preflight::objections(&source, &target, &self.schemas).await?;
        Ok(TargetCheck { objections, ..check })
    }

    /// Which they are, and whether the target may be written to at all.
    async fn identified(&self) -> Result<(TargetCheck, Session, Session), DatabaseError> {
        let (from, to) = tokio::try_join!(
            Session::reading(&self.source, Party::Source),
            Session::reading(&self.target, Party::Target)
        )?;
        let (source, target) =
            tokio::try_join!(Facts::ask(&from, &self.source), Facts::ask(&to, &self.target))?;
        let mut objections = self.objections(&source, &target);
        objections.extend(self.obstacles(&to, &target).await?);
        let confirmation = target
            .identity
            .project
            .clone()
            .unwrap_or_else(|| format!("{}@{}", target.identity.database, target.identity.host));
        let check =
            TargetCheck { source: source.identity, target: target.identity, confirmation, objections };
        Ok((check, from, to))
    }

    /// Compares, and opens the target for a restore when nothing speaks against it.
    pub async fn admit(&self) -> Result<StagingTarget, DatabaseError> {
        let (check, ..) = self.identified().await?;
        if !check.objections.is_empty() {
            return Err(DatabaseError::NotStaging { objections: check.objections });
        }
        let session = Session::writing(&self.target).await?;
        // Asked again on the very connection that will write.
        let facts = Facts::ask(&session, &self.target).await?;
        if facts.identity != check.target || facts.marker != Marker::Staging {
            let objections = vec!["the target changed between the check and the restore".to_owned()];
            return Err(DatabaseError::NotStaging { objections });
        }
        lock(&session).await?;
        // One that an earlier version enrolled lacks what this one writes down.
        session.batch("see to the target's own tables", ENROLMENT).await?;
        Ok(StagingTarget { url: self.target.clone(), session, identity: facts.identity })
    }

    /// Marks the target as staging, once, by a person who knows that it is. Refused for everything that
    /// [`compare`](Self::compare) objects to, apart from the missing marker.
    pub async fn enrol(&self) -> Result<TargetCheck, DatabaseError> {
        let (check, ..) = self.identified().await?;
        let objections: Vec<String> =
            check.objections.iter().filter(|it| !is_about_the_marker(it)).cloned().collect();
        if !objections.is_empty() {
            return Err(DatabaseError::NotStaging { objections });
        }
        let session = Session::writing(&self.target).await?;
        session.batch("enrol the target", ENROLMENT).await?;
        let mark = "INSERT INTO allclear.target (role, system_identifier, database) VALUES ('staging', $1, $2) \
                    ON CONFLICT (role) DO UPDATE SET system_identifier = $1, database = $2, enrolled_at = now()";
        let DatabaseIdentity { system_identifier, database, .. } = &check.target;
        session.execute("enrol the target", mark, &[system_identifier, database]).await?;
        self.compare().await
    }

    /// What the two servers' answers say.
    fn objections(&self, source: &Facts, target: &Facts) -> Vec<String> {
        let (from, to) = (&source.identity, &target.identity);
        let mut objections = Vec::new();
        if (&from.host, from.port, &from.database) == (&to.host, to.port, &to.database)
            && from.project == to.project
        {
            objections.push(format!("source and target are the same database, {to}"));
        }
        if from.system_identifier == to.system_identifier {
            objections.push(format!(
                "source and target are on one cluster (system identifier {}), whatever their hosts are called",
                to.system_identifier
            ));
        }
        let production = self.production_project.as_ref().or(from.project.as_ref());
        if let Some(production) = production.filter(|it| to.project.as_ref() == Some(it)) {
            objections.push(format!("the target is the production project `{production}`"));
        }
        if let (Some(named), Some(is)) = (&self.staging_project, &to.project)
            && named != is
        {
            objections.push(format!("the target is project `{is}`, but staging is configured as `{named}`"));
        }
        if let (Some(named), Some(is)) = (&self.production_project, &from.project)
            && named != is
        {
            objections
                .push(format!("the source is project `{is}`, but production is configured as `{named}`"));
        }
        if source.marker != Marker::None {
            objections.push("the source is enrolled as staging: the two URLs are swapped".to_owned());
        }
        match target.marker {
            Marker::Staging => {}
            Marker::None => objections.push(format!("{NOT_ENROLLED}; enrol it once, if it is staging")),
            Marker::Stale => objections
                .push(format!("{STALE} (a copy brought it along); enrol this one, if it is staging")),
        }
        if major(&to.server_version) < major(&from.server_version) {
            objections.push(format!(
                "the target's server {} is older than the source's {}",
                to.server_version, from.server_version
            ));
        }
        if target.replica || target.read_only {
            objections.push("the target is a read-only replica or set to read only".to_owned());
        }
        objections
    }

    /// What the role on the target may not do, and what would be torn apart.
    async fn obstacles(&self, session: &Session, target: &Facts) -> Result<Vec<String>, DatabaseError> {
        let mut objections = Vec::new();
        if !target.may_create {
            objections.push(format!(
                "the role `{}` may not create schemas in the target; use the database's owner",
                self.target.user()
            ));
        }
        let foreign = "SELECT nspname::text FROM pg_catalog.pg_namespace \
                       WHERE nspname = ANY($1) AND NOT pg_catalog.pg_has_role(nspowner, 'USAGE')";
        for row in session.rows("read the target's schemas", foreign, &[&self.schemas]).await? {
            objections.push(format!(
                "the role `{}` does not own the target's schema `{}`",
                self.target.user(),
                row.get::<_, String>(0)
            ));
        }
        Ok(objections)
    }
}

const NOT_ENROLLED: &str = "the target has no marker that says it is staging";
const STALE: &str = "the target's marker was made for another database";

/// What an enrolment mends.
fn is_about_the_marker(objection: &str) -> bool {
    objection.starts_with(NOT_ENROLLED) || objection.starts_with(STALE)
}

async fn lock(session: &Session) -> Result<(), DatabaseError> {
    let began = std::time::Instant::now();
    loop {
        let ask = "SELECT pg_catalog.pg_try_advisory_lock($1)";
        if session.row("lock the target", ask, &[&RESTORE_LOCK]).await?.get(0) {
            return Ok(());
        }
        if began.elapsed() > LOCK_PATIENCE {
            return Err(DatabaseError::Busy);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// `15` of `15.18 (Debian ...)`.
pub(crate) fn major(version: &str) -> u32 {
    version.split(|c: char| !c.is_ascii_digit()).next().and_then(|it| it.parse().ok()).unwrap_or(0)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    None,
    Staging,
    /// Made for another database than the one it is found in.
    Stale,
}

/// What a server says of itself.
pub(crate) struct Facts {
    pub(crate) identity: DatabaseIdentity,
    marker: Marker,
    replica: bool,
    read_only: bool,
    may_create: bool,
}

impl Facts {
    pub(crate) async fn ask(session: &Session, url: &DatabaseUrl) -> Result<Self, DatabaseError> {
        let doing = "ask the server who it is";
        // `reset_val` is what the role or the database is set to, whatever this session set for itself.
        let sql = "SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()), \
                   split_part(current_setting('server_version'), ' ', 1), current_database()::text, \
                   pg_catalog.pg_is_in_recovery(), \
                   (SELECT reset_val = 'on' FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only'), \
                   pg_catalog.has_database_privilege(current_database(), 'CREATE'), \
                   pg_catalog.to_regclass('allclear.target') IS NOT NULL";
        let row = session.row(doing, sql, &[]).await?;
        let identity = DatabaseIdentity {
            host: url.host().to_owned(),
            port: url.port(),
            database: row.get(2),
            project: url.project().map(str::to_owned),
            system_identifier: row.get(0),
            server_version: row.get(1),
        };
        let marker = if row.get(6) { marker(session, &identity).await? } else { Marker::None };
        Ok(Self { identity, marker, replica: row.get(3), read_only: row.get(4), may_create: row.get(5) })
    }
}

async fn marker(session: &Session, identity: &DatabaseIdentity) -> Result<Marker, DatabaseError> {
    let sql = "SELECT system_identifier, database FROM allclear.target WHERE role = 'staging'";
    let found = session.rows("read the staging marker", sql, &[]).await?;
    Ok(match found.first() {
        None => Marker::None,
        Some(row) => {
            let (cluster, database): (String, String) = (row.get(0), row.get(1));
            let here = cluster == identity.system_identifier && database == identity.database;
            if here { Marker::Staging } else { Marker::Stale }
        }
    })
}
