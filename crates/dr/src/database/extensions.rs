//! Extensions whose schema is one of those that are replaced: their objects are no dump's, and so they are taken along.

use serde::{Deserialize, Serialize};

use super::error::DatabaseError;
use super::session::{Session, quoted};

/// One extension of a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extension {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) schema: String,
    /// Whether it can be moved to another schema.
    pub(crate) movable: bool,
}

/// All of a database.
pub(crate) async fn extensions(session: &Session) -> Result<Vec<Extension>, DatabaseError> {
    let sql = "SELECT e.extname::text, e.extversion, n.nspname::text, e.extrelocatable FROM pg_extension e \
               JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1";
    let rows = session.rows("list the extensions", sql, &[]).await?;
    let one = |row: &tokio_postgres::Row| Extension {
        name: row.get(0),
        version: row.get(1),
        schema: row.get(2),
        movable: row.get(3),
    };
    Ok(rows.iter().map(one).collect())
}

/// A move of an extension, and where it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) name: String,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// What stands elsewhere on staging than on production, or in a schema that is replaced on both.
pub(crate) fn moves(source: &[Extension], target: &[Extension], schemas: &[String]) -> Vec<Move> {
    let mut moves = Vec::new();
    for wanted in source {
        let Some(there) = target.iter().find(|it| it.name == wanted.name && it.movable) else { continue };
        let concerned = schemas.contains(&wanted.schema) || schemas.contains(&there.schema);
        if concerned {
            moves.push(Move {
                name: wanted.name.clone(),
                from: there.schema.clone(),
                to: wanted.schema.clone(),
            });
        }
    }
    moves
}

/// Moves an extension.
pub(crate) async fn set_schema(session: &Session, name: &str, schema: &str) -> Result<(), DatabaseError> {
    let sql = format!("ALTER EXTENSION {} SET SCHEMA {}", quoted(name), quoted(schema));
    session.batch(&format!("take the extension {name} along"), &sql).await
}
