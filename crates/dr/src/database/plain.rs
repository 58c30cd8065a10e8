//! Which tables can be loaded under another name than their own.
//!
//! Nothing but built-in code runs while a plain table is loaded, and nothing in it looks anything up by name. Every other table
//! (a check or a domain that calls a function, a generated column, a `regclass`) is loaded where names are final.

use std::collections::BTreeSet;

use super::error::DatabaseError;
use super::session::Session;

/// The built-in words in a check that look something up, or ask who asks.
const LOOKS_UP: &str = "(to_)?reg[a-z]+|nextval|currval|setval|_to_xml|current_|session_user|search_path|has_[a-z_]+_privilege|pg_[a-z_]+";

/// Schema and name of the plain tables of these schemas.
pub(crate) async fn plain_tables(
    session: &Session,
    schemas: &[String],
) -> Result<BTreeSet<(String, String)>, DatabaseError> {
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'r' AND n.nspname = ANY($1) \
         AND NOT EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
           LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A' \
           JOIN pg_namespace tn ON tn.oid = coalesce(e.typnamespace, t.typnamespace) \
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND (a.attgenerated <> '' \
           OR coalesce(e.typname, t.typname) ~ '^reg' OR NOT (coalesce(e.typtype, t.typtype) IN ('b', 'e') \
             OR coalesce(e.typtype, t.typtype) IN ('r', 'm') AND tn.nspname = 'pg_catalog'))) \
         AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c' \
           AND (pg_get_constraintdef(k.oid) ~* '\\m({LOOKS_UP})\\M' OR EXISTS (SELECT FROM pg_depend d \
             WHERE d.classid = 'pg_constraint'::regclass AND d.objid = k.oid AND (d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) \
             OR d.refclassid = 'pg_type'::regclass AND EXISTS (SELECT FROM pg_type t WHERE t.oid = d.refobjid AND t.typtype NOT IN ('b', 'e')))))) \
         AND NOT (c.relispartition AND EXISTS (SELECT FROM pg_partition_ancestors(c.oid) p JOIN pg_partitioned_table pt ON pt.partrelid = p.relid \
           WHERE pt.partexprs IS NOT NULL OR EXISTS (SELECT FROM pg_opclass o JOIN pg_namespace oc ON oc.oid = o.opcnamespace \
             WHERE o.oid = ANY(pt.partclass) AND oc.nspname <> 'pg_catalog')))"
    );
    let rows = session.rows("see which tables are plain", &sql, &[&schemas]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
