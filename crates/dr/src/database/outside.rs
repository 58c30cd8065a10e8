//! What other schemas hold that points into the restored ones: a trigger on `auth.users`, a view in `api`, a policy on
//! `storage.objects`. No dump of `public` has them, and after a swap they go on pointing at what was put aside.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::compare::Change;
use super::definitions::{outside, points_in};
use super::error::DatabaseError;
use super::script::tried;
use super::session::Session;

/// One such object, and the SQL that makes it anew in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outside {
    /// As in its definition.
    pub(crate) kind: String,
    pub(crate) name: String,
    /// What replaces it; `None` where nothing can.
    pub(crate) sql: Option<String>,
}

/// All of them, in the order in which they can be made.
pub(crate) async fn objects(session: &Session, schemas: &[String]) -> Result<Vec<Outside>, DatabaseError> {
    let doing = "see what points into the schemas";
    let mut all = Vec::new();
    for query in [functions(), views(), defaults(), keys(), triggers(), policies(), others()] {
        let rows = session.rows(doing, &query, &[&schemas]).await?;
        all.extend(rows.iter().map(|row| Outside { kind: row.get(0), name: row.get(1), sql: row.get(2) }));
    }
    Ok(all)
}

fn functions() -> String {
    let (outside, points_in) = (outside("n.nspname"), points_in("pg_proc", "p.oid"));
    format!(
        "SELECT CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, \
         format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), pg_get_functiondef(p.oid) \
         FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.prokind <> 'a' AND {outside} AND {points_in} \
         AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')"
    )
}

fn views() -> String {
    let (outside, points_in) = (outside("n.nspname"), points_in("pg_rewrite", "w.oid"));
    format!(
        "SELECT CASE c.relkind WHEN 'v' THEN 'view' ELSE 'materialised view' END, format('%I.%I', n.nspname, c.relname), \
         CASE c.relkind WHEN 'v' THEN format('CREATE OR REPLACE VIEW %I.%I %s AS %s', n.nspname, c.relname, \
           'WITH (' || array_to_string(c.reloptions, ', ') || ')', pg_get_viewdef(c.oid)) END \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('v', 'm') AND {outside} \
         AND EXISTS (SELECT FROM pg_rewrite w WHERE w.ev_class = c.oid AND {points_in}) ORDER BY c.oid"
    )
}

fn defaults() -> String {
    let (outside, points_in) = (outside("n.nspname"), points_in("pg_attrdef", "f.oid"));
    format!(
        "SELECT 'column', format('%I.%I.%I', n.nspname, c.relname, a.attname), \
         format('ALTER TABLE %I.%I ALTER COLUMN %I SET DEFAULT %s', n.nspname, c.relname, a.attname, pg_get_expr(f.adbin, f.adrelid)) \
         FROM pg_attrdef f JOIN pg_class c ON c.oid = f.adrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum WHERE a.attgenerated = '' AND {outside} AND {points_in}"
    )
}

/// Their rows are staging's own, so such a key holds for new rows only.
fn keys() -> String {
    let outside = outside("n.nspname");
    format!(
        "SELECT 'constraint', format('%I.%I.%I', n.nspname, c.relname, k.conname), \
         format('ALTER TABLE %I.%I DROP CONSTRAINT IF EXISTS %I; ALTER TABLE %1$I.%2$I ADD CONSTRAINT %3$I %s', n.nspname, c.relname, \
           k.conname, regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '') || ' NOT VALID') \
         FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_class r ON r.oid = k.confrelid JOIN pg_namespace rn ON rn.oid = r.relnamespace \
         WHERE k.contype = 'f' AND k.conparentid = 0 AND {outside} AND rn.nspname = ANY($1)"
    )
}

fn triggers() -> String {
    let outside = outside("n.nspname");
    format!(
        "SELECT 'trigger', format('%I.%I.%I', n.nspname, c.relname, t.tgname), \
         CASE WHEN t.tgconstraint <> 0 THEN format('DROP TRIGGER IF EXISTS %I ON %I.%I; ', t.tgname, n.nspname, c.relname) || pg_get_triggerdef(t.oid) \
           ELSE regexp_replace(pg_get_triggerdef(t.oid), '^CREATE ', 'CREATE OR REPLACE ') END \
         || CASE t.tgenabled WHEN 'D' THEN format('; ALTER TABLE %I.%I DISABLE TRIGGER %I', n.nspname, c.relname, t.tgname) \
           WHEN 'A' THEN format('; ALTER TABLE %I.%I ENABLE ALWAYS TRIGGER %I', n.nspname, c.relname, t.tgname) \
           WHEN 'R' THEN format('; ALTER TABLE %I.%I ENABLE REPLICA TRIGGER %I', n.nspname, c.relname, t.tgname) ELSE '' END \
         FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace pn ON pn.oid = p.pronamespace \
         WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND {outside} AND pn.nspname = ANY($1)"
    )
}

fn policies() -> String {
    let (outside, points_in) = (outside("n.nspname"), points_in("pg_policy", "p.oid"));
    format!(
        "SELECT 'policy', format('%I.%I.%I', n.nspname, c.relname, p.polname), \
         format('DROP POLICY IF EXISTS %I ON %I.%I; CREATE POLICY %1$I ON %2$I.%3$I AS %s FOR %s TO %s', p.polname, n.nspname, c.relname, \
           CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, \
           CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END, \
           (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ') FROM unnest(p.polroles) r)) \
         || coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '') \
         || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '') \
         FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {outside} AND {points_in}"
    )
}

/// What can only be named.
fn others() -> String {
    "SELECT 'event trigger', e.evtname::text, NULL::text FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid \
     JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = ANY($1)"
        .to_owned()
}

/// Makes production's and staging's own anew, so that they point at what was restored; what could not be is noted.
///
/// `session` is in the swap's transaction, names are final.
pub(crate) async fn rebuilt(
    session: &Session,
    source: &[Outside],
    staging: &[Outside],
    changes: &mut Vec<Change>,
    notes: &mut Vec<String>,
) -> Result<(), DatabaseError> {
    let mut wanted: BTreeMap<(&str, &str), &Outside> = BTreeMap::new();
    let mut order = Vec::new();
    for object in source.iter().chain(staging) {
        let key = (object.kind.as_str(), object.name.as_str());
        if wanted.insert(key, wanted.get(&key).copied().unwrap_or(object)).is_none() {
            order.push(key);
        }
    }
    let is_in = |all: &[Outside], key| all.iter().any(|it| (it.kind.as_str(), it.name.as_str()) == key);
    for key in order {
        let object = wanted[&key];
        let title = format!("{} {}", object.kind, object.name);
        let place =
            if is_in(staging, key) { "goes on pointing at what was put aside" } else { "is not on staging" };
        let why = match &object.sql {
            None => Some("it belongs to no restored schema and cannot be made from here".to_owned()),
            Some(sql) => tried(session, &format!("make {title} anew"), sql).await?.err().map(|it| it.said()),
        };
        if let Some(why) = why {
            notes.push(format!("{title} {place}: {why}"));
            changes.push(Change::missing(&object.kind, &object.name, format!("{place}: {why}")));
        } else if !is_in(source, key) {
            let says = "staging's own in another schema, made anew".to_owned();
            changes.push(Change::own(&object.kind, &object.name, says));
        } else if object.kind == "constraint" {
            let says = "it holds for new rows only: those of another schema are staging's own".to_owned();
            changes.push(Change::not_valid(&object.name, says));
        }
    }
    Ok(())
}
