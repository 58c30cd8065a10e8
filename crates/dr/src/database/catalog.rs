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
    /// On disk, without indexes: for the order of work and for progress only.
    pub(crate) bytes: u64,
}

impl Table {
    /// `schema.table`, as people read it.
    pub(crate) fn title(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    pub(crate) fn column_list(&self) -> String {
        self.columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
    }

    /// Its rows as lines.
    pub(crate) fn copy_out(&self) -> String {
        format!("COPY {} ({}) TO STDOUT", qualified(&self.schema, &self.name), self.column_list())
    }
}

/// An index and the table it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) table: String,
}

/// A foreign key into a schema that is not in the backup, such as `auth`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutsideKey {
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) name: String,
}

/// All tables of these schemas, the largest first.
pub(crate) async fn tables(session: &Session, schemas: &[String]) -> Result<Vec<Table>, DatabaseError> {
    // What belongs to an extension is not dumped by pg_dump either.
    let sql = "SELECT n.nspname::text, c.relname::text, pg_catalog.pg_get_userbyid(c.relowner)::text, \
      (SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum)::text FROM pg_catalog.pg_attribute a \
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''), \
      pg_catalog.pg_table_size(c.oid) \
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
      WHERE c.relkind = 'r' AND n.nspname = ANY($1) AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e') \
      ORDER BY 5 DESC, 1, 2";
    let rows = session.rows("list the tables", sql, &[&schemas]).await?;
    let table = |row: &tokio_postgres::Row| {
        let columns: Option<String> = row.get(3);
        // A table without columns has no data that could be copied.
        let columns: Vec<String> = serde_json::from_str(&columns?).ok()?;
        Some(Table {
            schema: row.get(0),
            name: row.get(1),
            owner: row.get(2),
            columns,
            bytes: row.get::<_, i64>(4).unsigned_abs(),
        })
    };
    Ok(rows.iter().filter_map(table).collect())
}

pub(crate) async fn indexes(session: &Session, schemas: &[String]) -> Result<Vec<Index>, DatabaseError> {
    let sql = "SELECT n.nspname::text, i.relname::text, t.relname::text FROM pg_catalog.pg_index x \
      JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid JOIN pg_catalog.pg_class t ON t.oid = x.indrelid \
      JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
      WHERE n.nspname = ANY($1) AND t.relkind = 'r' ORDER BY 1, 2";
    let rows = session.rows("list the indexes", sql, &[&schemas]).await?;
    Ok(rows.iter().map(|row| Index { schema: row.get(0), name: row.get(1), table: row.get(2) }).collect())
}

pub(crate) async fn outside_keys(
    session: &Session,
    schemas: &[String],
) -> Result<Vec<OutsideKey>, DatabaseError> {
    let sql = "SELECT n.nspname::text, t.relname::text, k.conname::text FROM pg_catalog.pg_constraint k \
      JOIN pg_catalog.pg_class t ON t.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
      JOIN pg_catalog.pg_class f ON f.oid = k.confrelid JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace \
      WHERE k.contype = 'f' AND n.nspname = ANY($1) AND NOT fn.nspname = ANY($1) ORDER BY 1, 2, 3";
    let rows = session.rows("list the foreign keys", sql, &[&schemas]).await?;
    Ok(rows
        .iter()
        .map(|row| OutsideKey { schema: row.get(0), table: row.get(1), name: row.get(2) })
        .collect())
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
