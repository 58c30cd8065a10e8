//! What a restore would find missing in its middle, asked before anybody is called: each in words that say what to put right on
//! which side.

use std::collections::BTreeSet;

use super::error::DatabaseError;
use super::extensions::extensions;
use super::identity::major;
use super::programs::Program;
use super::session::{Session, quoted};

/// Where something is to be put right.
const ON_STAGING: &str = "on staging: ";
const ON_PRODUCTION: &str = "on production: ";
const ON_THIS_MACHINE: &str = "on this machine: ";

/// Everything that stands in the way of restoring these schemas of one into the other.
pub(crate) async fn objections(
    source: &Session,
    target: &Session,
    schemas: &[String],
) -> Result<Vec<String>, DatabaseError> {
    // Asked at once over both connections: this stands before every look at the target.
    let (own, roles, extensions, objects, servers) = tokio::try_join!(
        own(source, target, schemas),
        missing_roles(source, target, schemas),
        missing_extensions(source, target, schemas),
        missing_objects(source, target, schemas),
        servers(source, target, schemas),
    )?;
    Ok([own, roles, extensions, objects, servers].concat())
}

/// What each side must have of its own.
async fn own(source: &Session, target: &Session, schemas: &[String]) -> Result<Vec<String>, DatabaseError> {
    let mut all = programs(source).await?;
    all.extend(readable(source, schemas).await?);
    all.extend(encodings(source, target).await?);
    all.extend(languages(source, target).await?);
    all.extend(connections(target).await?);
    Ok(all)
}

/// The rows of a question, each one text.
async fn texts(
    session: &Session,
    doing: &str,
    sql: &str,
    schemas: &[String],
) -> Result<Vec<String>, DatabaseError> {
    let rows = session.rows(doing, sql, &[&schemas]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn programs(source: &Session) -> Result<Vec<String>, DatabaseError> {
    let version: String = source.row("ask for the version", "SHOW server_version", &[]).await?.get(0);
    let found = Program::find("pg_dump", major(&version));
    Ok(found.err().map(|error| format!("{ON_THIS_MACHINE}{error}")).into_iter().collect())
}

async fn readable(source: &Session, schemas: &[String]) -> Result<Vec<String>, DatabaseError> {
    let doing = "see what may be read";
    let missing =
        "SELECT s FROM unnest($1::text[]) s WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = s)";
    let mut all = Vec::new();
    for schema in texts(source, doing, missing, schemas).await? {
        all.push(format!(
            "{ON_PRODUCTION}there is no schema `{schema}`, which `schemas` names; correct the configuration"
        ));
    }
    let denied = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
      WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p', 'S', 'm') AND NOT (CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT') \
      ELSE has_table_privilege(c.oid, 'SELECT') END) ORDER BY 1";
    let denied = texts(source, doing, denied, schemas).await?;
    if !denied.is_empty() {
        all.push(format!(
            "{ON_PRODUCTION}the role that takes the backup may not read {}; GRANT SELECT on them to it, or use their owner",
            denied.join(", ")
        ));
    }
    let hidden = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
      WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p') AND c.relrowsecurity AND row_security_active(c.oid) \
      AND has_table_privilege(c.oid, 'SELECT') ORDER BY 1";
    let hidden = texts(source, doing, hidden, schemas).await?;
    if !hidden.is_empty() {
        all.push(format!(
            "{ON_PRODUCTION}row security hides rows of {} from the role that takes the backup; ALTER ROLE ... BYPASSRLS, or use their owner",
            hidden.join(", ")
        ));
    }
    Ok(all)
}

async fn encodings(source: &Session, target: &Session) -> Result<Vec<String>, DatabaseError> {
    let sql =
        "SELECT pg_encoding_to_char(encoding)::text FROM pg_database WHERE datname = current_database()";
    let of = async |session: &Session| {
        Ok::<String, DatabaseError>(session.row("ask for the encoding", sql, &[]).await?.get(0))
    };
    let (from, to) = (of(source).await?, of(target).await?);
    if from == to || to == "UTF8" {
        return Ok(Vec::new());
    }
    Ok(vec![format!(
        "{ON_STAGING}the database is encoded in {to}, production's in {from}: what it cannot write would be lost; make staging anew with \
         ENCODING {from}"
    )])
}

/// Roles that own something in the schemas, or may do something there.
const ROLES: &str = "WITH o AS ( \
  SELECT c.relowner AS owner, c.relacl AS acl FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY($1) \
  UNION ALL SELECT c.relowner, a.attacl FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY($1) AND a.attacl IS NOT NULL \
  UNION ALL SELECT p.proowner, p.proacl FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = ANY($1) \
  UNION ALL SELECT t.typowner, t.typacl FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = ANY($1) \
  UNION ALL SELECT n.nspowner, n.nspacl FROM pg_namespace n WHERE n.nspname = ANY($1) \
  UNION ALL SELECT d.defaclrole, d.defaclacl FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace WHERE n.nspname = ANY($1) \
  UNION ALL SELECT unnest(p.polroles), NULL FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY($1)) \
  SELECT DISTINCT r.rolname::text FROM o LEFT JOIN aclexplode(o.acl) g ON true JOIN pg_roles r ON r.oid IN (o.owner, g.grantee) ORDER BY 1";

async fn missing_roles(
    source: &Session,
    target: &Session,
    schemas: &[String],
) -> Result<Vec<String>, DatabaseError> {
    let wanted = texts(source, "list the roles", ROLES, schemas).await?;
    let there = "SELECT rolname::text FROM pg_roles WHERE cardinality($1::text[]) >= 0";
    let there = texts(target, "list the roles", there, schemas).await?;
    let missing = wanted.into_iter().filter(|role| !there.contains(role));
    Ok(missing
        .map(|role| {
            format!(
                "{ON_STAGING}there is no role `{role}`, which owns something in production's schemas or may do something there: \
                 CREATE ROLE {} NOLOGIN",
                quoted(&role)
            )
        })
        .collect())
}

async fn languages(source: &Session, target: &Session) -> Result<Vec<String>, DatabaseError> {
    let all = "SELECT lanname::text FROM pg_language WHERE cardinality($1::text[]) >= 0";
    let there = texts(target, "list the languages", all, &[]).await?;
    let wanted = texts(source, "list the languages", all, &[]).await?;
    let used = wanted.into_iter().filter(|name| !there.contains(name));
    Ok(used
        .map(|name| {
            format!(
                "{ON_STAGING}the language `{name}` is missing, which production has: CREATE EXTENSION {}",
                quoted(&name)
            )
        })
        .collect())
}

/// Extensions that something in the database depends on by identity.
const USED_EXTENSIONS: &str = "SELECT e.extname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace \
  WHERE n.nspname = ANY($1) OR EXISTS (SELECT FROM pg_depend m JOIN pg_depend u ON u.refclassid = m.classid AND u.refobjid = m.objid \
    WHERE m.refclassid = 'pg_extension'::regclass AND m.refobjid = e.oid AND m.deptype = 'e' AND u.deptype IN ('n', 'a') \
    AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = u.classid AND x.objid = u.objid AND x.deptype = 'e') \
    AND (pg_identify_object_as_address(u.classid, u.objid, u.objsubid)).object_names[1] = ANY($1))";

/// Extensions whose functions are named in the bodies of functions, which the server does not follow.
const NAMED_EXTENSIONS: &str = "SELECT DISTINCT e.extname::text FROM pg_extension e JOIN pg_depend m ON m.refclassid = 'pg_extension'::regclass \
  AND m.refobjid = e.oid AND m.deptype = 'e' AND m.classid = 'pg_proc'::regclass JOIN pg_proc f ON f.oid = m.objid \
  JOIN pg_proc p ON strpos(lower(p.prosrc), f.proname || '(') > 0 JOIN pg_namespace n ON n.oid = p.pronamespace \
  JOIN pg_language l ON l.oid = p.prolang WHERE n.nspname = ANY($1) AND l.lanname NOT IN ('c', 'internal') AND e.extname = ANY($2) \
  AND p.prosrc ~* ('\\m' || regexp_replace(f.proname, '([^a-zA-Z0-9_])', '\\\\\\1', 'g') || '\\(') \
  AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_proc'::regclass AND x.objid = p.oid AND x.deptype = 'e')";

async fn missing_extensions(
    source: &Session,
    target: &Session,
    schemas: &[String],
) -> Result<Vec<String>, DatabaseError> {
    let doing = "compare the extensions";
    let (wanted, there) = (extensions(source).await?, extensions(target).await?);
    let is_there = |name: &str| there.iter().any(|it| it.name == name);
    let mut used: BTreeSet<String> =
        texts(source, doing, USED_EXTENSIONS, schemas).await?.into_iter().collect();
    let absent: Vec<String> = wanted
        .iter()
        .map(|it| it.name.clone())
        .filter(|name| !is_there(name) && !used.contains(name))
        .collect();
    if !absent.is_empty() {
        let named = source.rows(doing, NAMED_EXTENSIONS, &[&schemas, &absent]).await?;
        used.extend(named.iter().map(|row| row.get::<_, String>(0)));
    }
    let mut all = Vec::new();
    for extension in &wanted {
        let Some(found) = there.iter().find(|it| it.name == extension.name) else {
            if used.contains(&extension.name) {
                all.push(format!(
                    "{ON_STAGING}the extension `{}` is missing, which production's schemas use (version {}): CREATE EXTENSION {} SCHEMA {}",
                    extension.name,
                    extension.version,
                    quoted(&extension.name),
                    quoted(&extension.schema)
                ));
            }
            continue;
        };
        let concerned = schemas.contains(&extension.schema) || schemas.contains(&found.schema);
        if used.contains(&extension.name) && found.schema != extension.schema && !(concerned && found.movable)
        {
            all.push(format!(
                "{ON_STAGING}the extension `{}` stands in the schema `{}`, in production in `{}`, and what uses it is called by that \
                 name: ALTER EXTENSION {} SET SCHEMA {}",
                extension.name,
                found.schema,
                extension.schema,
                quoted(&extension.name),
                quoted(&extension.schema)
            ));
        } else if concerned && !found.movable {
            all.push(format!(
                "{ON_STAGING}the extension `{0}` stands in the schema `{1}`, which is replaced as a whole, and cannot be moved along; \
                 DROP EXTENSION {2} and create it in another schema, on both sides",
                extension.name,
                found.schema,
                quoted(&extension.name)
            ));
        }
    }
    // One that production does not have would stay with what is put aside.
    let surplus = there
        .iter()
        .filter(|it| schemas.contains(&it.schema) && !wanted.iter().any(|one| one.name == it.name));
    all.extend(surplus.map(|it| {
        format!(
            "{ON_STAGING}the extension `{0}` stands in the target's schema `{1}`, which is replaced as a whole; move it: \
             ALTER EXTENSION {0} SET SCHEMA extensions",
            it.name, it.schema
        )
    }));
    Ok(all)
}

/// Relations, functions and types of other schemas that something in these depends on.
const NEEDED: &str = "SELECT DISTINCT i.type, i.identity FROM pg_depend d, pg_identify_object(d.refclassid, d.refobjid, 0) i \
  WHERE d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_constraint'::regclass, 'pg_policy'::regclass, \
    'pg_trigger'::regclass, 'pg_attrdef'::regclass, 'pg_rewrite'::regclass) \
  AND d.refclassid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass) AND d.refobjid >= 16384 \
  AND i.schema IS NOT NULL AND NOT i.schema = ANY($1) AND i.schema NOT LIKE 'pg\\_%' AND i.type IN ('table', 'view', 'materialized view', \
    'foreign table', 'sequence', 'function', 'procedure', 'type') \
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.refclassid AND e.objid = d.refobjid AND e.deptype = 'e') \
  AND (pg_identify_object_as_address(d.classid, d.objid, d.objsubid)).object_names[1] = ANY($1) ORDER BY 1, 2";

async fn missing_objects(
    source: &Session,
    target: &Session,
    schemas: &[String],
) -> Result<Vec<String>, DatabaseError> {
    let doing = "see what the schemas need of others";
    let mut all = Vec::new();
    for row in source.rows(doing, NEEDED, &[&schemas]).await? {
        let (kind, name): (String, String) = (row.get(0), row.get(1));
        let find = match kind.as_str() {
            "function" | "procedure" => "SELECT to_regprocedure($1) IS NOT NULL",
            "type" => "SELECT to_regtype($1) IS NOT NULL",
            _ => "SELECT to_regclass($1) IS NOT NULL",
        };
        // A name whose schema or argument types are unknown is an error for some of these.
        let found = target.rows(doing, find, &[&name]).await;
        if !found.is_ok_and(|rows| rows.first().is_some_and(|row| row.get(0))) {
            all.push(format!(
                "{ON_STAGING}there is no {kind} `{name}`, which something in production's {} depends on; make it there, or add its schema \
                 to `schemas`",
                schemas.join(", ")
            ));
        }
    }
    Ok(all)
}

/// The servers of foreign tables: there, and not the place that production's lead to.
async fn servers(
    source: &Session,
    target: &Session,
    schemas: &[String],
) -> Result<Vec<String>, DatabaseError> {
    let doing = "compare the foreign servers";
    let used = "SELECT DISTINCT s.srvname::text, w.fdwname::text, coalesce(array_to_string(s.srvoptions, ' '), '') FROM pg_foreign_table f \
      JOIN pg_class c ON c.oid = f.ftrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_foreign_server s ON s.oid = f.ftserver \
      JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw WHERE n.nspname = ANY($1) ORDER BY 1";
    let there = "SELECT coalesce(array_to_string(s.srvoptions, ' '), ''), w.fdwhandler <> 0 FROM pg_foreign_server s \
      JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw WHERE s.srvname = $1";
    let mut all = Vec::new();
    for row in source.rows(doing, used, &[&schemas]).await? {
        let (server, wrapper, options): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        match target.rows(doing, there, &[&server]).await?.first() {
            None => all.push(format!(
                "{ON_STAGING}there is no foreign server `{server}`, which production's foreign tables use: CREATE SERVER {} FOREIGN DATA \
                 WRAPPER {}, leading to where staging may reach",
                quoted(&server),
                quoted(&wrapper)
            )),
            Some(row) if row.get::<_, String>(0) == options && row.get(1) => all.push(format!(
                "{ON_STAGING}the foreign server `{server}` has production's own options, so that staging would reach what production \
                 reaches: ALTER SERVER {} OPTIONS (SET ...), leading to where staging may reach",
                quoted(&server)
            )),
            Some(_) => {}
        }
    }
    Ok(all)
}

/// A restore takes five connections.
async fn connections(target: &Session) -> Result<Vec<String>, DatabaseError> {
    let sql = "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int \
               - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int";
    let free: i32 = target.row("count the free connections", sql, &[]).await?.get(0);
    if free >= 5 {
        return Ok(Vec::new());
    }
    Ok(vec![format!(
        "{ON_STAGING}{free} connections are free, and a restore takes 5; raise max_connections or end some"
    )])
}
