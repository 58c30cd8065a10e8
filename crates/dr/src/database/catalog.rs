//! What a database holds, from its own catalogue: tables, their columns, indexes, and keys that point outside.

use serde::{Deserialize, Serialize};

use super::error::DatabaseError;
use super::session::{Session, qualified, quoted};

/// One table with rows of its own: ordinary ones and the leaves of partitioned ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) owner: String,
    /// In the order in which `pg_dump` writes them; generated ones are not in a dump.
    pub(crate) columns: Vec<String>,
    /// Columns that the server computes.
    pub(crate) generated: Vec<String>,
    /// On disk, without indexes: for the order of work and for progress only.
    pub(crate) bytes: u64,
}

impl Table {
    /// `schema.table`, as people read it.
    pub(crate) fn title(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// What `COPY` takes behind the name. A table may have no column that could be listed; then `COPY` takes none by itself.
    pub(crate) fn column_list(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|name| quoted(name)).collect();
        if names.is_empty() { String::new() } else { format!("({})", names.join(", ")) }
    }

    /// What is compared of each row: also what the server computed.
    pub(crate) fn compared(&self) -> Vec<String> {
        self.columns.iter().chain(&self.generated).cloned().collect()
    }

    /// Its rows as lines, with the columns that are compared.
    pub(crate) fn copy_out(&self) -> String {
        let name = qualified(&self.schema, &self.name);
        if self.generated.is_empty() {
            return format!("COPY {name} {} TO STDOUT", self.column_list());
        }
        let columns: Vec<String> = self.compared().iter().map(|name| quoted(name)).collect();
        format!("COPY (SELECT {} FROM ONLY {name}) TO STDOUT", columns.join(", "))
    }
}

/// An index and the table it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) table: String,
    /// Whether it is of columns only, ordered as they are by the server itself: then it needs nothing but its table.
    pub(crate) plain: bool,
}

/// A foreign key into a schema that is not in the backup, such as `auth`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutsideKey {
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) name: String,
    /// As its definition is called.
    pub(crate) title: String,
}

/// All tables of these schemas, the largest first.
pub(crate) async fn tables(session: &Session, schemas: &[String]) -> Result<Vec<Table>, DatabaseError> {
    // What belongs to an extension is not dumped by pg_dump either.
    let sql = "SELECT n.nspname::text, c.relname::text, pg_catalog.pg_get_userbyid(c.relowner)::text, \
      (SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attnum) FROM pg_catalog.pg_attribute a \
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''), \
      (SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attnum) FROM pg_catalog.pg_attribute a \
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> ''), \
      pg_catalog.pg_table_size(c.oid) \
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
      WHERE c.relkind = 'r' AND n.nspname = ANY($1) AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e') \
      ORDER BY 6 DESC, 1, 2";
    let rows = session.rows("list the tables", sql, &[&schemas]).await?;
    let table = |row: &tokio_postgres::Row| Table {
        schema: row.get(0),
        name: row.get(1),
        owner: row.get(2),
        columns: row.get::<_, Option<_>>(3).unwrap_or_default(),
        generated: row.get::<_, Option<_>>(4).unwrap_or_default(),
        bytes: row.get::<_, i64>(5).unsigned_abs(),
    };
    Ok(rows.iter().map(table).collect())
}

/// The materialised views, as tables that are only read.
pub(crate) async fn materialised(session: &Session, schemas: &[String]) -> Result<Vec<Table>, DatabaseError> {
    let sql = "SELECT n.nspname::text, c.relname::text, pg_catalog.pg_get_userbyid(c.relowner)::text, \
      (SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attnum) FROM pg_catalog.pg_attribute a \
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), pg_catalog.pg_table_size(c.oid) \
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
      WHERE c.relkind = 'm' AND c.relispopulated AND n.nspname = ANY($1) ORDER BY 1, 2";
    let rows = session.rows("list the materialised views", sql, &[&schemas]).await?;
    let view = |row: &tokio_postgres::Row| Table {
        schema: row.get(0),
        name: row.get(1),
        owner: row.get(2),
        columns: Vec::new(),
        generated: row.get::<_, Option<_>>(3).unwrap_or_default(),
        bytes: row.get::<_, i64>(4).unsigned_abs(),
    };
    Ok(rows.iter().map(view).collect())
}

pub(crate) async fn indexes(session: &Session, schemas: &[String]) -> Result<Vec<Index>, DatabaseError> {
    let sql = "SELECT n.nspname::text, i.relname::text, t.relname::text, \
      x.indexprs IS NULL AND x.indpred IS NULL AND NOT x.indisexclusion AND NOT EXISTS (SELECT FROM pg_catalog.pg_opclass o \
        JOIN pg_catalog.pg_namespace onsp ON onsp.oid = o.opcnamespace WHERE o.oid = ANY(x.indclass) AND onsp.nspname <> 'pg_catalog') \
      FROM pg_catalog.pg_index x \
      JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid JOIN pg_catalog.pg_class t ON t.oid = x.indrelid \
      JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
      WHERE n.nspname = ANY($1) AND t.relkind = 'r' ORDER BY 1, 2";
    let rows = session.rows("list the indexes", sql, &[&schemas]).await?;
    let one = |row: &tokio_postgres::Row| Index {
        schema: row.get(0),
        name: row.get(1),
        table: row.get(2),
        plain: row.get(3),
    };
    Ok(rows.iter().map(one).collect())
}

pub(crate) async fn outside_keys(
    session: &Session,
    schemas: &[String],
) -> Result<Vec<OutsideKey>, DatabaseError> {
    let sql = "SELECT n.nspname::text, t.relname::text, k.conname::text, \
      pg_catalog.format('%I.%I.%I', n.nspname, t.relname, k.conname) FROM pg_catalog.pg_constraint k \
      JOIN pg_catalog.pg_class t ON t.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
      JOIN pg_catalog.pg_class f ON f.oid = k.confrelid JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace \
      WHERE k.contype = 'f' AND n.nspname = ANY($1) AND NOT fn.nspname = ANY($1) ORDER BY 1, 2, 3";
    let rows = session.rows("list the foreign keys", sql, &[&schemas]).await?;
    Ok(rows
        .iter()
        .map(|row| OutsideKey { schema: row.get(0), table: row.get(1), name: row.get(2), title: row.get(3) })
        .collect())
}

/// What makes the casts from or to a type of these schemas.
pub(crate) async fn casts(session: &Session, schemas: &[String]) -> Result<Vec<String>, DatabaseError> {
    let sql = "SELECT format('CREATE CAST (%s AS %s) %s%s;', format_type(k.castsource, NULL), format_type(k.casttarget, NULL), \
      CASE WHEN k.castfunc <> 0 THEN 'WITH FUNCTION ' || k.castfunc::regprocedure::text WHEN k.castmethod = 'i' THEN 'WITH INOUT' \
        ELSE 'WITHOUT FUNCTION' END, CASE k.castcontext WHEN 'a' THEN ' AS ASSIGNMENT' WHEN 'i' THEN ' AS IMPLICIT' ELSE '' END) \
      || coalesce(format(' COMMENT ON CAST (%s AS %s) IS %L;', format_type(k.castsource, NULL), format_type(k.casttarget, NULL), \
        obj_description(k.oid, 'pg_cast')), '') \
      FROM pg_cast k WHERE NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_cast'::regclass AND e.objid = k.oid AND e.deptype IN ('e', 'i')) \
      AND EXISTS (SELECT FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid IN (k.castsource, k.casttarget) AND n.nspname = ANY($1))";
    let rows = session.rows("list the casts", sql, &[&schemas]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// How many rows each table has.
pub(crate) async fn count(session: &Session, tables: &[Table]) -> Result<Vec<u64>, DatabaseError> {
    let mut counts = Vec::with_capacity(tables.len());
    for table in tables {
        // ONLY: rows of inheriting tables are in their own files.
        let sql = format!("SELECT count(*) FROM ONLY {}", qualified(&table.schema, &table.name));
        let rows: i64 = session.row(&format!("count {}", table.title()), &sql, &[]).await?.get(0);
        counts.push(rows.unsigned_abs());
    }
    Ok(counts)
}
