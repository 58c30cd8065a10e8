//! What stands around the schemas of a backup: part of the database or of the cluster, and of no dump of a schema. It is asked
//! of both sides, so that a comparison can say what it does not compare.

use serde::{Deserialize, Serialize};

use super::error::DatabaseError;
use super::extensions::{Extension, extensions};
use super::session::Session;

/// What is around.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Surroundings {
    /// Where code in the schemas may look for what it names: as sessions of this role do without asking, then in the schemas
    /// themselves and in those of extensions.
    pub(crate) search_path: String,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) large_objects: u64,
    /// Publications with tables of these schemas, each with what it publishes.
    pub(crate) publications: Vec<String>,
    /// `role: name (digest)`, of this database and of all. A value may be a secret.
    pub(crate) settings: Vec<String>,
    /// Tables that do not stand in the database's own tablespace.
    pub(crate) tablespaces: Vec<String>,
    /// Security labels on objects of these schemas.
    pub(crate) labels: u64,
}

impl Surroundings {
    pub(crate) async fn ask(session: &Session, schemas: &[String]) -> Result<Self, DatabaseError> {
        let doing = "see what is around the schemas";
        let search_path = "SELECT concat_ws(', ', nullif((SELECT reset_val FROM pg_settings WHERE name = 'search_path'), ''), \
          (SELECT string_agg(quote_ident(s), ', ') FROM unnest($1::text[]) s), (SELECT string_agg(DISTINCT quote_ident(n.nspname), ', ') \
          FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE n.nspname <> 'pg_catalog' AND NOT n.nspname = ANY($1)))";
        let search_path: String = session.row(doing, search_path, &[&schemas]).await?.get(0);
        let large = "SELECT count(*) FROM pg_largeobject_metadata";
        let large: i64 = session.row(doing, large, &[]).await?.get(0);
        let labels = "SELECT count(*) FROM pg_seclabel l JOIN pg_class c ON l.classoid = 'pg_class'::regclass AND c.oid = l.objoid \
                      JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY($1)";
        let labels: i64 = session.row(doing, labels, &[&schemas]).await?.get(0);
        let list = async |sql: &str| {
            let rows = session.rows(doing, sql, &[&schemas]).await?;
            Ok::<Vec<String>, DatabaseError>(rows.iter().map(|row| row.get(0)).collect())
        };
        let publications = "SELECT format('%s: %s', p.pubname, CASE WHEN p.puballtables THEN 'all tables' ELSE \
          (SELECT string_agg(format('%s.%s', t.schemaname, t.tablename), ', ' ORDER BY 1) FROM pg_publication_tables t \
           WHERE t.pubname = p.pubname AND t.schemaname = ANY($1)) END) FROM pg_publication p WHERE p.puballtables \
          OR EXISTS (SELECT FROM pg_publication_tables t WHERE t.pubname = p.pubname AND t.schemaname = ANY($1)) ORDER BY 1";
        let settings = "SELECT format('%s: %s (%s)', coalesce(r.rolname, 'everybody'), split_part(c, '=', 1), left(md5(c), 8)) FROM pg_db_role_setting s \
          LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) c WHERE cardinality($1::text[]) >= 0 \
          AND (s.setdatabase = 0 OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())) ORDER BY 1";
        let tablespaces = "SELECT format('%s.%s in %s', n.nspname, c.relname, t.spcname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
          JOIN pg_tablespace t ON t.oid = c.reltablespace WHERE n.nspname = ANY($1) ORDER BY 1";
        Ok(Self {
            search_path,
            extensions: extensions(session).await?,
            large_objects: large.unsigned_abs(),
            publications: list(publications).await?,
            settings: list(settings).await?,
            tablespaces: list(tablespaces).await?,
            labels: labels.unsigned_abs(),
        })
    }
}

/// What a comparison of the schemas leaves out: always, and between these two.
pub(crate) fn not_compared(source: &Surroundings, staging: &Surroundings, schemas: &[String]) -> Vec<String> {
    let mut said = vec![format!(
        "nothing of other schemas than {} but what points into them; no roles, passwords or settings of the server",
        schemas.join(", ")
    )];
    let mut differ = |what: &str, source: &[String], staging: &[String]| {
        let missing: Vec<&str> =
            source.iter().filter(|it| !staging.contains(it)).map(String::as_str).collect();
        let more: Vec<&str> = staging.iter().filter(|it| !source.contains(it)).map(String::as_str).collect();
        if !missing.is_empty() {
            said.push(format!("{what} of production that staging does not have: {}", missing.join("; ")));
        }
        if !more.is_empty() {
            said.push(format!("{what} of staging that production does not have: {}", more.join("; ")));
        }
    };
    let named = |all: &[Extension]| {
        all.iter().map(|it| format!("{} {} in {}", it.name, it.version, it.schema)).collect::<Vec<String>>()
    };
    differ("extensions", &named(&source.extensions), &named(&staging.extensions));
    differ("publications", &source.publications, &staging.publications);
    differ("settings of roles and of the database", &source.settings, &staging.settings);
    if source.large_objects + staging.large_objects > 0 {
        said.push(format!(
            "large objects, which belong to no schema and are neither backed up nor compared: production has {}, staging {}",
            source.large_objects, staging.large_objects
        ));
    }
    if !source.tablespaces.is_empty() {
        said.push(format!(
            "tablespaces: on staging everything stands in the database's own: {}",
            source.tablespaces.join("; ")
        ));
    }
    if source.labels > 0 {
        said.push(format!("{} security labels", source.labels));
    }
    said
}
