//! Builds the restored schema beside the one that is in use, and swaps it in by name, in one transaction.
//!
//! A dump's SQL says `public.` in every line, and rewriting SQL is guesswork. So the *schemas* are renamed instead: in a
//! transaction of its own `public` steps aside, a new `public` is made and filled with the dump's definitions, and both are
//! renamed again before the commit. Nobody ever sees it, and the definitions now hold the new schema's identity, not its name.
//! See `docs/decisions/0010-restore-by-renaming-schemas.md`.

use jiff::Timestamp;
use tokio_postgres::types::ToSql;

use super::error::{DatabaseError, Party};
use super::extensions::{self, Move};
use super::identity::StagingTarget;
use super::script::{self, Piece, tried};
use super::session::{Session, literal, quoted};

/// How schemas that are being built are called; whatever has such a name was left by a restore that died.
const NEW: &str = "allclear_new_";

/// Where the schemas in use step aside to while definitions are made. Never committed.
const ASIDE: &str = "allclear_aside_";

/// One schema that is being replaced.
#[derive(Debug, Clone)]
pub(crate) struct Replaced {
    /// Its name, e.g. `public`.
    pub(crate) name: String,
    /// What the new one is called until the swap.
    pub(crate) new: String,
    aside: String,
    /// Where the present one is put; `None` where there is none.
    pub(crate) put_aside: Option<String>,
}

/// Looks which schemas are there, and names what will be.
pub(crate) async fn replaced(
    target: &StagingTarget,
    schemas: &[String],
) -> Result<Vec<Replaced>, DatabaseError> {
    let session = target.session();
    let doing = "look at the target's schemas";
    let stamp = "SELECT lower(to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDD\"t\"HH24MISSUS'))";
    let stamp: String = session.row(doing, stamp, &[]).await?.get(0);
    let mut all = Vec::new();
    for (number, name) in schemas.iter().enumerate() {
        let there = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)";
        let there: bool = session.row(doing, there, &[name]).await?.get(0);
        // Names have 63 bytes at most.
        let short: String = name.chars().take(20).collect();
        all.push(Replaced {
            name: name.clone(),
            new: format!("{NEW}{number}"),
            aside: format!("{ASIDE}{number}"),
            put_aside: there.then(|| format!("{short}_before_{stamp}")),
        });
    }
    Ok(all)
}

/// Removes what restores left that died before their swap.
pub(crate) async fn remove_leftovers(target: &StagingTarget) -> Result<(), DatabaseError> {
    let session = target.session();
    let doing = "remove what an earlier restore left";
    let sql =
        "SELECT nspname::text FROM pg_catalog.pg_namespace WHERE pg_catalog.starts_with(nspname::text, $1)";
    for row in session.rows(doing, sql, &[&NEW]).await? {
        let drop = format!("DROP SCHEMA {} CASCADE", quoted(row.get(0)));
        session.batch(doing, &drop).await?;
    }
    Ok(())
}

/// Makes the new schemas with their definitions. Committed, but under names that nothing uses.
pub(crate) async fn define(
    target: &StagingTarget,
    schemas: &[Replaced],
    moves: &[Move],
    definitions: &[Piece],
    search_path: &str,
) -> Result<(), DatabaseError> {
    let session = target.session();
    let doing = "define the restored schema";
    session.batch(doing, "BEGIN").await?;
    let made = async {
        for schema in schemas {
            step_aside(session, schema, &schema.aside).await?;
            session.batch(doing, &format!("CREATE SCHEMA {}", quoted(&schema.name))).await?;
        }
        for one in moves {
            extensions::set_schema(session, &one.name, &one.to).await?;
        }
        script::run(session, doing, definitions, search_path).await?;
        // Until the swap, an extension stands where staging's own objects look for it.
        for one in moves {
            let replaced = schemas.iter().find(|schema| schema.name == one.from);
            extensions::set_schema(session, &one.name, replaced.map_or(&one.from, |it| &it.aside)).await?;
        }
        for schema in schemas {
            rename(session, &schema.name, &schema.new).await?;
            if schema.put_aside.is_some() {
                rename(session, &schema.aside, &schema.name).await?;
            }
        }
        // The new names are kept, whatever session the definitions were made in.
        session.batch(doing, "COMMIT").await
    };
    let made = made.await;
    if made.is_err() {
        let _ = session.batch(doing, "ROLLBACK").await;
    }
    made
}

/// Begins the transaction that ends with the swap: in it, and only in it, the new schemas have their final names. What is
/// loaded beside it is seen in it as soon as it is committed.
pub(crate) async fn begin(
    session: &Session,
    schemas: &[Replaced],
    moves: &[Move],
) -> Result<(), DatabaseError> {
    for schema in schemas {
        if let Some(put_aside) = &schema.put_aside {
            step_aside(session, schema, put_aside).await?;
        }
        rename(session, &schema.new, &schema.name).await?;
    }
    for one in moves {
        extensions::set_schema(session, &one.name, &one.to).await?;
    }
    Ok(())
}

async fn step_aside(session: &Session, schema: &Replaced, to: &str) -> Result<(), DatabaseError> {
    if schema.put_aside.is_some() {
        rename(session, &schema.name, to).await?;
    }
    Ok(())
}

async fn rename(session: &Session, from: &str, to: &str) -> Result<(), DatabaseError> {
    let sql = format!("ALTER SCHEMA {} RENAME TO {}", quoted(from), quoted(to));
    session.batch("rename schemas", &sql).await
}

/// Commits. When the answer is lost, it may have happened.
pub(crate) async fn commit(session: &Session) -> Result<(), DatabaseError> {
    match session.batch("commit the swap", "SET LOCAL synchronous_commit = on; COMMIT").await {
        Err(DatabaseError::ConnectionLost { detail, .. }) => Err(DatabaseError::SwapUnknown { detail }),
        other => other,
    }
}

/// Supabase's roles for requests: without `USAGE` on the schema PostgREST answers 401 to everything.
const API_ROLES: &str = "SELECT quote_ident(rolname) FROM pg_catalog.pg_roles \
                         WHERE rolname IN ('anon', 'authenticated', 'service_role')";

/// What gives a schema its owner, its grants and its comment, as SQL; asked of the source.
pub(crate) async fn schema_scripts(
    session: &Session,
    schemas: &[String],
) -> Result<Vec<String>, DatabaseError> {
    let sql = "SELECT format('ALTER SCHEMA %I OWNER TO %I', n.nspname, pg_get_userbyid(n.nspowner)) FROM pg_namespace n WHERE n.nspname = ANY($1) \
      UNION ALL SELECT format('GRANT %s ON SCHEMA %I TO %s%s', a.privilege_type, n.nspname, \
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) \
        FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = ANY($1) AND a.grantee <> n.nspowner \
      UNION ALL SELECT format('COMMENT ON SCHEMA %I IS %L', n.nspname, obj_description(n.oid, 'pg_namespace')) FROM pg_namespace n \
        WHERE n.nspname = ANY($1) AND obj_description(n.oid, 'pg_namespace') IS NOT NULL";
    let rows = session.rows("read the schemas' grants", sql, &[&schemas]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Gives the new schemas what the source's have, and keeps what staging's had beside: what people granted there by hand they
/// still need.
pub(crate) async fn grant(
    session: &Session,
    schemas: &[Replaced],
    scripts: &[String],
) -> Result<(), DatabaseError> {
    let doing = "give the new schema its grants";
    for schema in schemas {
        let Some(old) = &schema.put_aside else { continue };
        // Staging's own owner first: where the source's cannot be, it stays.
        let owner = "SELECT quote_ident(pg_get_userbyid(nspowner)) FROM pg_catalog.pg_namespace \
                     WHERE nspname = $1 AND pg_catalog.pg_has_role(nspowner, 'MEMBER')";
        for row in session.rows(doing, owner, &[old]).await? {
            let sql = format!("ALTER SCHEMA {} OWNER TO {}", quoted(&schema.name), row.get::<_, String>(0));
            session.batch(doing, &sql).await?;
        }
    }
    for script in scripts {
        match tried(session, doing, script).await? {
            Ok(()) | Err(DatabaseError::Permission { .. }) => {}
            Err(refused) => return Err(refused),
        }
    }
    for schema in schemas {
        keep_grants(session, schema).await?;
    }
    Ok(())
}

async fn keep_grants(session: &Session, schema: &Replaced) -> Result<(), DatabaseError> {
    let doing = "give the new schema the old one's grants";
    let new = quoted(&schema.name);
    for row in session.rows(doing, API_ROLES, &[]).await? {
        session.batch(doing, &format!("GRANT USAGE ON SCHEMA {new} TO {}", row.get::<_, String>(0))).await?;
    }
    let Some(old) = &schema.put_aside else { return Ok(()) };
    let grants = "SELECT a.privilege_type, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, \
      CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END \
      FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a WHERE n.nspname = $1 AND a.grantee <> n.nspowner";
    for row in session.rows(doing, grants, &[old]).await? {
        let (privilege, to, option): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        session.batch(doing, &format!("GRANT {privilege} ON SCHEMA {new} TO {to}{option}")).await?;
    }
    // Only for roles that we may speak for; Supabase's own keep theirs in the database-wide defaults.
    let defaults = "SELECT quote_ident(pg_get_userbyid(d.defaclrole)), a.privilege_type, \
      CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' ELSE 'TYPES' END, \
      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, \
      CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END \
      FROM pg_catalog.pg_default_acl d JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace, \
      pg_catalog.aclexplode(d.defaclacl) a WHERE n.nspname = $1 AND pg_catalog.pg_has_role(d.defaclrole, 'USAGE')";
    for row in session.rows(doing, defaults, &[old]).await? {
        let (of, privilege, kind, to, option): (String, String, String, String, String) =
            (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
        let sql = format!(
            "ALTER DEFAULT PRIVILEGES FOR ROLE {of} IN SCHEMA {new} GRANT {privilege} ON {kind} TO {to}{option}"
        );
        session.batch(doing, &sql).await?;
    }
    Ok(())
}

/// The identities of schemas, in order: a schema that is put in place of a restored one has another.
pub(crate) fn identities(schemas: &[String]) -> String {
    let names: Vec<String> = schemas.iter().map(|name| literal(name)).collect();
    format!(
        "(SELECT coalesce(string_agg(oid::text, ' ' ORDER BY nspname), '') FROM pg_catalog.pg_namespace WHERE nspname IN ({}))",
        names.join(", ")
    )
}

/// What the swap leaves: which backup this is.
pub(crate) struct Mark<'a> {
    pub(crate) number: i64,
    pub(crate) backup: &'a str,
    pub(crate) manifest_sha256: &'a str,
    pub(crate) schemas: &'a [String],
    pub(crate) tables: u64,
    pub(crate) rows: u64,
    pub(crate) put_aside: Option<String>,
    pub(crate) began_at: String,
    /// Names the profile by which rows were masked; empty where none were.
    pub(crate) masking: String,
    pub(crate) notes: String,
    pub(crate) took: String,
}

/// What time it is, by the target's clock.
pub(crate) async fn clock(session: &Session) -> Result<Timestamp, DatabaseError> {
    let doing = "ask for the time";
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let micros: i64 = session.row(doing, sql, &[]).await?.get(0);
    Timestamp::from_microsecond(micros).map_err(|error| DatabaseError::Refused {
        party: Party::Target,
        doing: doing.to_owned(),
        code: "none".to_owned(),
        detail: error.to_string(),
    })
}

/// Takes the number under which everything of this restore is written down.
pub(crate) async fn number(session: &Session) -> Result<i64, DatabaseError> {
    let sql = "SELECT nextval(pg_get_serial_sequence('allclear.restored', 'number'))";
    Ok(session.row("number the restore", sql, &[]).await?.get(0))
}

/// Writes the mark, in the swap's transaction.
pub(crate) async fn mark(session: &Session, mark: &Mark<'_>) -> Result<(), DatabaseError> {
    let sql = format!(
        "INSERT INTO allclear.restored (number, backup, manifest_sha256, schemas, tables, rows, put_aside, took, notes, began_at, masking) \
         OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, {}, $4, $5, $6, $7, $8, $9::text::timestamptz, $10)",
        identities(mark.schemas)
    );
    let (tables, rows) = (mark.tables.cast_signed(), mark.rows.cast_signed());
    let values: [&(dyn ToSql + Sync); 10] = [
        &mark.number,
        &mark.backup,
        &mark.manifest_sha256,
        &tables,
        &rows,
        &mark.put_aside,
        &mark.took,
        &mark.notes,
        &mark.began_at,
        &mark.masking,
    ];
    match session.execute("mark the restored backup", &sql, &values).await? {
        1 => Ok(()),
        other => Err(DatabaseError::Refused {
            party: Party::Target,
            doing: "mark the restored backup".to_owned(),
            code: "none".to_owned(),
            detail: format!("{other} rows were written"),
        }),
    }
}
