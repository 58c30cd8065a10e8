//! Runs a dump's SQL: all of it at once, and only where the server refuses something, piece by piece, so that what it refused
//! has a name.

use super::error::DatabaseError;
use super::session::Session;
use super::toc::Entry;

/// What the script of a dump begins with, apart from an empty search path, which sessions have already.
const SETTINGS: &str = "SET check_function_bodies = off; SET xmloption = content; SET default_tablespace = ''; \
                        SET default_table_access_method = heap; SET client_min_messages = warning";

/// Some SQL, and what it is about.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) title: String,
    pub(crate) sql: String,
    /// Whether a server that does not allow it may go without. What came of it is seen when definitions are compared.
    pub(crate) optional: bool,
}

impl Piece {
    /// What makes an entry, and what gives it to its owner.
    pub(crate) fn of(entry: &Entry) -> Vec<Self> {
        let optional = entry.kind == "DEFAULT ACL";
        let mut pieces = vec![Self { title: entry.title(), sql: entry.script(), optional }];
        let owned = entry.owned().map(|sql| Self {
            title: format!("the owner of {}", entry.title()),
            sql,
            optional: true,
        });
        pieces.extend(owned);
        pieces
    }
}

/// Runs pieces in their order, in a transaction that is open. `search_path` is the source's, for what fails without it: a
/// function that an index computes may name others as the source's sessions do.
pub(crate) async fn run(
    session: &Session,
    doing: &str,
    pieces: &[Piece],
    search_path: &str,
) -> Result<(), DatabaseError> {
    session.batch(doing, SETTINGS).await?;
    let all: Vec<&str> = pieces.iter().map(|piece| piece.sql.trim_end()).collect();
    if tried(session, doing, &all.join("\n")).await?.is_ok() {
        return Ok(());
    }
    session.batch(doing, SETTINGS).await?;
    let mut left: Vec<&Piece> = pieces.iter().collect();
    // What the server needs and the dump does not know it needs may come later: a function's body names a table.
    loop {
        let (before, mut first) = (left.len(), None);
        let mut again = Vec::new();
        for piece in left {
            if let Some(refused) = one(session, doing, piece, search_path).await? {
                first.get_or_insert(refused);
                again.push(piece);
            }
        }
        left = again;
        match first {
            None => return Ok(()),
            Some(refused) if left.len() == before => return Err(refused),
            Some(_) => {}
        }
    }
}

/// Runs one piece, without a search path and then with the source's; the refusal where neither does.
async fn one(
    session: &Session,
    doing: &str,
    piece: &Piece,
    search_path: &str,
) -> Result<Option<DatabaseError>, DatabaseError> {
    let doing = format!("{doing}: {}", piece.title);
    let Err(refused) = tried(session, &doing, &piece.sql).await? else { return Ok(None) };
    if piece.optional && matches!(refused, DatabaseError::Permission { .. }) {
        return Ok(None);
    }
    session.look_in(search_path).await?;
    let again = tried(session, &doing, &piece.sql).await?;
    session.look_in("").await?;
    Ok(again.is_err().then_some(refused))
}

/// Runs SQL so that the transaction outlives its refusal; the inner error is the refusal.
pub(crate) async fn tried(
    session: &Session,
    doing: &str,
    sql: &str,
) -> Result<Result<(), DatabaseError>, DatabaseError> {
    session.batch(doing, "SAVEPOINT piece").await?;
    match session.batch(doing, sql).await {
        Ok(()) => {
            session.batch(doing, "RELEASE SAVEPOINT piece").await?;
            Ok(Ok(()))
        }
        Err(error @ (DatabaseError::Refused { .. } | DatabaseError::Permission { .. })) => {
            session.batch(doing, "ROLLBACK TO SAVEPOINT piece; RELEASE SAVEPOINT piece").await?;
            Ok(Err(error))
        }
        Err(error) => Err(error),
    }
}
