//! What a database's schemas hold beside rows, as texts that can be compared: each object with all that it is defined by.
//!
//! The texts are the server's own (`pg_get_functiondef` and its like), read with an empty search path, so that every name in
//! them is qualified and a function's body is the same byte for byte. What other schemas hold that points into these (a
//! trigger on `auth.users`, a view in `api`) is among them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::DatabaseError;
use super::session::Session;

/// One object, with what defines it, a line for each property.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Definition {
    /// What it is, e.g. `function`.
    pub(crate) kind: String,
    /// Its name with its schema, as the server writes it.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Texts by kind and name.
pub(crate) type ByName<'a> = BTreeMap<(&'a str, &'a str), &'a str>;

/// Finds definitions by what they are and what they are called.
pub(crate) fn by_name(definitions: &[Definition]) -> ByName<'_> {
    definitions.iter().map(|one| ((one.kind.as_str(), one.name.as_str()), one.text.as_str())).collect()
}

/// All of these schemas, and what points into them.
pub(crate) async fn definitions(
    session: &Session,
    schemas: &[String],
) -> Result<Vec<Definition>, DatabaseError> {
    let mut all = Vec::new();
    for query in queries() {
        let rows = session.rows("read the definitions", &query, &[&schemas]).await?;
        all.extend(rows.iter().map(|row| Definition {
            kind: row.get(0),
            name: row.get(1),
            text: row.get(2),
        }));
    }
    all.sort();
    Ok(all)
}

/// Who may do what, one word for each right; what is not said is what the server takes for granted.
fn grants(acl: &str, kind: char, owner: &str) -> String {
    format!(
        "'grants ' || (SELECT string_agg(CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END \
         || ' ' || g.privilege_type || CASE WHEN g.is_grantable THEN '*' ELSE '' END, ', ' ORDER BY g.grantee = 0, \
         pg_get_userbyid(g.grantee), g.privilege_type) FROM aclexplode(coalesce({acl}, acldefault('{kind}', {owner}))) g)"
    )
}

fn comment(class: &str, oid: &str) -> String {
    format!("'comment ' || obj_description({oid}, '{class}')")
}

fn owner(role: &str) -> String {
    format!("'owner ' || pg_get_userbyid({role})")
}

/// Whether an object belongs to no extension: what does is the extension's.
fn own(class: &str, oid: &str) -> String {
    format!(
        "NOT EXISTS (SELECT FROM pg_depend own WHERE own.classid = '{class}'::regclass AND own.objid = {oid} AND own.deptype = 'e')"
    )
}

/// Schemas whose objects may point into ours and are not ours.
pub(crate) fn outside(schema: &str) -> String {
    format!(
        "NOT {schema} = ANY($1) AND {schema} NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'allclear') \
         AND {schema} !~ '^(pg_temp_|pg_toast_temp_|allclear_)|_before_[0-9]{{8}}t[0-9]+$'"
    )
}

/// Whether an object depends on a relation, function or type of these schemas.
pub(crate) fn points_in(class: &str, oid: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_depend d WHERE d.classid = '{class}'::regclass AND d.objid = {oid} AND ( \
           d.refclassid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_class rc JOIN pg_namespace rn ON rn.oid = rc.relnamespace \
             WHERE rc.oid = d.refobjid AND rn.nspname = ANY($1)) \
           OR d.refclassid = 'pg_proc'::regclass AND EXISTS (SELECT FROM pg_proc rp JOIN pg_namespace rn ON rn.oid = rp.pronamespace \
             WHERE rp.oid = d.refobjid AND rn.nspname = ANY($1)) \
           OR d.refclassid = 'pg_type'::regclass AND EXISTS (SELECT FROM pg_type rt JOIN pg_namespace rn ON rn.oid = rt.typnamespace \
             WHERE rt.oid = d.refobjid AND rn.nspname = ANY($1))))"
    )
}

const LINES: &str = "concat_ws(E'\\n', ";

fn queries() -> Vec<String> {
    let mut queries = vec![schemas(), relations(), constraints(), indexes(), triggers(), rules(), policies()];
    queries.extend([functions(), aggregates(), types(), default_grants(), statistics(), casts()]);
    queries.extend([operators(), operator_classes(), operator_families(), collations()]);
    queries.extend([search_configurations(), search_dictionaries(), outside_columns(), event_triggers()]);
    queries
}

fn schemas() -> String {
    let (owner, grants, comment) =
        (owner("n.nspowner"), grants("n.nspacl", 'n', "n.nspowner"), comment("pg_namespace", "n.oid"));
    format!(
        "SELECT 'schema', n.nspname::text, {LINES}{owner}, {grants}, {comment}) FROM pg_namespace n WHERE n.nspname = ANY($1)"
    )
}

/// What a column is, in words.
fn column() -> String {
    let grants = "'grants ' || (SELECT string_agg(CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END \
         || ' ' || g.privilege_type || CASE WHEN g.is_grantable THEN '*' ELSE '' END, ', ' ORDER BY g.grantee = 0, \
         pg_get_userbyid(g.grantee), g.privilege_type) FROM aclexplode(a.attacl) g)";
    format!(
        "concat_ws(' ', 'column', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), \
         CASE WHEN a.attnotnull THEN 'not null' END, \
         CASE WHEN a.attgenerated = '' THEN 'default ' ELSE 'generated ' || a.attgenerated::text || ' ' END \
           || (SELECT pg_get_expr(f.adbin, f.adrelid) FROM pg_attrdef f WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum), \
         CASE WHEN a.attidentity <> '' THEN 'identity ' || a.attidentity::text END, \
         CASE WHEN a.attcollation <> t.typcollation THEN 'collate ' || a.attcollation::regcollation::text END, \
         CASE WHEN a.attstorage <> t.typstorage THEN 'storage ' || a.attstorage::text END, \
         CASE WHEN a.attcompression <> '' THEN 'compression ' || a.attcompression::text END, \
         'statistics ' || nullif(a.attstattarget, -1)::text, \
         'options ' || array_to_string(a.attoptions, ', '), 'foreign options ' || array_to_string(a.attfdwoptions, ', '), \
         CASE WHEN a.attinhcount > 0 THEN CASE WHEN a.attislocal THEN 'inherited and its own' ELSE 'inherited' END END, \
         {grants}, 'comment ' || col_description(a.attrelid, a.attnum))"
    )
}

fn relations() -> String {
    let (owner, own) = (owner("c.relowner"), own("pg_class", "c.oid"));
    let comment = comment("pg_class", "c.oid");
    let grants_of = |kind| grants("c.relacl", kind, "c.relowner");
    let (of_table, of_sequence) = (grants_of('r'), grants_of('s'));
    let points_in = points_in("pg_rewrite", "w.oid");
    let (outside, column) = (outside("n.nspname"), column());
    format!(
        "SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view' \
         WHEN 'm' THEN 'materialised view' WHEN 'S' THEN 'sequence' ELSE 'foreign table' END, \
         format('%I.%I', n.nspname, c.relname), {LINES}{owner}, \
         CASE WHEN c.relkind = 'S' THEN {of_sequence} ELSE {of_table} END, \
         CASE WHEN c.relpersistence <> 'p' THEN 'persistence ' || c.relpersistence::text END, \
         'options ' || array_to_string(c.reloptions, ', '), 'access method ' || m.amname, \
         CASE WHEN c.relrowsecurity THEN 'row security' END, CASE WHEN c.relforcerowsecurity THEN 'row security forced' END, \
         CASE WHEN c.relkind IN ('r', 'p') AND c.relreplident <> 'd' THEN 'replica identity ' || c.relreplident::text || \
           coalesce((SELECT ' ' || x.indexrelid::regclass::text FROM pg_index x WHERE x.indrelid = c.oid AND x.indisreplident), '') END, \
         'child of ' || (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) FROM pg_inherits i WHERE i.inhrelid = c.oid), \
         CASE WHEN c.relkind = 'p' THEN 'partitioned by ' || pg_get_partkeydef(c.oid) END, \
         'bound ' || pg_get_expr(c.relpartbound, c.oid), \
         CASE WHEN c.reloftype <> 0 THEN 'of type ' || c.reloftype::regtype::text END, \
         {comment}, \
         (SELECT string_agg({column}, E'\\n' ORDER BY a.attnum) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind <> 'S'), \
         CASE WHEN c.relkind IN ('v', 'm') THEN 'query ' || pg_get_viewdef(c.oid) END, \
         CASE WHEN c.relkind = 'm' AND NOT c.relispopulated THEN 'not populated' END, \
         (SELECT concat_ws(' ', 'as', format_type(s.seqtypid, NULL), 'start', s.seqstart, 'by', s.seqincrement, 'from', s.seqmin, \
           'to', s.seqmax, 'cache', s.seqcache, CASE WHEN s.seqcycle THEN 'cycle' END, \
           'owned by ' || (SELECT o.refobjid::regclass::text || ' ' || o.deptype::text || ' ' || oa.attname FROM pg_depend o \
             JOIN pg_attribute oa ON oa.attrelid = o.refobjid AND oa.attnum = o.refobjsubid \
             WHERE o.classid = 'pg_class'::regclass AND o.objid = c.oid AND o.refclassid = 'pg_class'::regclass AND o.deptype IN ('a', 'i') \
             AND o.refobjsubid > 0)) FROM pg_sequence s WHERE s.seqrelid = c.oid), \
         (SELECT concat_ws(' ', 'server', v.srvname, array_to_string(f.ftoptions, ', ')) FROM pg_foreign_table f \
           JOIN pg_foreign_server v ON v.oid = f.ftserver WHERE f.ftrelid = c.oid)) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am m ON m.oid = c.relam \
         WHERE {own} AND (n.nspname = ANY($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') \
         OR c.relkind IN ('v', 'm') AND {outside} AND EXISTS (SELECT FROM pg_rewrite w WHERE w.ev_class = c.oid AND {points_in}))"
    )
}

fn constraints() -> String {
    let (comment, outside) = (comment("pg_constraint", "k.oid"), outside("n.nspname"));
    let own = own("pg_class", "c.oid");
    format!(
        "SELECT 'constraint', format('%I.%I.%I', n.nspname, c.relname, k.conname), {LINES}pg_get_constraintdef(k.oid), \
         CASE WHEN k.coninhcount > 0 THEN CASE WHEN k.conislocal THEN 'inherited and its own' ELSE 'inherited' END END, \
         CASE WHEN EXISTS (SELECT FROM pg_trigger t WHERE t.tgconstraint = k.oid AND t.tgisinternal AND t.tgenabled <> 'O') \
           THEN 'its triggers are not enabled' END, {comment}) \
         FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_class r ON r.oid = k.confrelid LEFT JOIN pg_namespace rn ON rn.oid = r.relnamespace \
         WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND {own} AND (n.nspname = ANY($1) OR {outside} AND rn.nspname = ANY($1))"
    )
}

fn indexes() -> String {
    let comment = comment("pg_class", "i.oid");
    let own = own("pg_class", "c.oid");
    format!(
        "SELECT 'index', format('%I.%I', n.nspname, i.relname), {LINES}pg_get_indexdef(x.indexrelid), \
         CASE WHEN NOT x.indisvalid THEN 'not valid' END, CASE WHEN x.indisclustered THEN 'clustered on' END, \
         'statistics ' || (SELECT string_agg(a.attnum || ' ' || a.attstattarget, ', ' ORDER BY a.attnum) FROM pg_attribute a \
           WHERE a.attrelid = i.oid AND coalesce(a.attstattarget, -1) >= 0), {comment}) \
         FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid \
         JOIN pg_namespace n ON n.oid = i.relnamespace WHERE n.nspname = ANY($1) AND {own}"
    )
}

fn triggers() -> String {
    let (comment, outside) = (comment("pg_trigger", "t.oid"), outside("n.nspname"));
    format!(
        "SELECT 'trigger', format('%I.%I.%I', n.nspname, c.relname, t.tgname), {LINES}pg_get_triggerdef(t.oid), \
         'state ' || t.tgenabled::text, {comment}) \
         FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace pn ON pn.oid = p.pronamespace \
         WHERE NOT t.tgisinternal AND (n.nspname = ANY($1) OR {outside} AND pn.nspname = ANY($1))"
    )
}

fn rules() -> String {
    let comment = comment("pg_rewrite", "w.oid");
    format!(
        "SELECT 'rule', format('%I.%I.%I', n.nspname, c.relname, w.rulename), {LINES}pg_get_ruledef(w.oid), \
         'state ' || w.ev_enabled::text, {comment}) \
         FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE w.rulename <> '_RETURN' AND n.nspname = ANY($1)"
    )
}

fn policies() -> String {
    let (comment, outside) = (comment("pg_policy", "p.oid"), outside("n.nspname"));
    let points_in = points_in("pg_policy", "p.oid");
    format!(
        "SELECT 'policy', format('%I.%I.%I', n.nspname, c.relname, p.polname), {LINES}'for ' || p.polcmd::text, \
         CASE WHEN NOT p.polpermissive THEN 'restrictive' END, \
         'to ' || (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END, ', ' ORDER BY pg_get_userbyid(r)) \
           FROM unnest(p.polroles) r), \
         'using ' || pg_get_expr(p.polqual, p.polrelid), 'with check ' || pg_get_expr(p.polwithcheck, p.polrelid), {comment}) \
         FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = ANY($1) OR {outside} AND {points_in}"
    )
}

/// Without the constructors of ranges: they belong to their type.
fn functions() -> String {
    let (owner, own) = (owner("p.proowner"), own("pg_proc", "p.oid"));
    let (grants, comment) = (grants("p.proacl", 'f', "p.proowner"), comment("pg_proc", "p.oid"));
    let (outside, points_in) = (outside("n.nspname"), points_in("pg_proc", "p.oid"));
    format!(
        "SELECT CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, \
         format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), \
         {LINES}{owner}, {grants}, {comment}, pg_get_functiondef(p.oid)) \
         FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
         WHERE p.prokind <> 'a' AND {own} AND (n.nspname = ANY($1) OR {outside} AND {points_in}) \
         AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass AND i.objid = p.oid AND i.deptype = 'i')"
    )
}

fn aggregates() -> String {
    let (owner, own) = (owner("p.proowner"), own("pg_proc", "p.oid"));
    let (grants, comment) = (grants("p.proacl", 'f', "p.proowner"), comment("pg_proc", "p.oid"));
    format!(
        "SELECT 'aggregate', format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), \
         {LINES}{owner}, {grants}, {comment}, 'parallel ' || p.proparallel::text, 'state ' || format_type(g.aggtranstype, NULL), \
         'moving state ' || format_type(nullif(g.aggmtranstype, 0), NULL), 'sorts by ' || nullif(g.aggsortop, 0)::regoperator::text, \
         (to_jsonb(g) - 'aggfnoid' - 'aggtranstype' - 'aggmtranstype' - 'aggsortop')::text) \
         FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_aggregate g ON g.aggfnoid = p.oid \
         WHERE {own} AND n.nspname = ANY($1)"
    )
}

fn types() -> String {
    let (owner, own) = (owner("t.typowner"), own("pg_type", "t.oid"));
    let (grants, comment) = (grants("t.typacl", 'T', "t.typowner"), comment("pg_type", "t.oid"));
    let column = column().replace(" t.typ", " ct.typ");
    format!(
        "SELECT CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'r' THEN 'range type' WHEN 'c' THEN 'composite type' \
         ELSE 'type' END, format('%I.%I', n.nspname, t.typname), {LINES}{owner}, {grants}, {comment}, \
         'values ' || (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid), \
         CASE WHEN t.typtype = 'd' THEN concat_ws(' ', 'of', format_type(t.typbasetype, t.typtypmod), CASE WHEN t.typnotnull THEN 'not null' END, \
           'default ' || t.typdefault, CASE WHEN t.typcollation <> 0 THEN 'collate ' || t.typcollation::regcollation::text END) END, \
         (SELECT string_agg(concat_ws(' ', 'constraint', k.conname, pg_get_constraintdef(k.oid), 'comment ' || obj_description(k.oid, 'pg_constraint')), \
           E'\\n' ORDER BY k.conname) FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'), \
         (SELECT concat_ws(' ', 'of', format_type(r.rngsubtype, NULL), (SELECT format('%I.%I', on_.nspname, o.opcname) FROM pg_opclass o \
           JOIN pg_namespace on_ ON on_.oid = o.opcnamespace WHERE o.oid = r.rngsubopc), \
           CASE WHEN r.rngcollation <> 0 THEN 'collate ' || r.rngcollation::regcollation::text END, r.rngcanonical, r.rngsubdiff, \
           format_type(r.rngmultitypid, NULL)) FROM pg_range r WHERE r.rngtypid = t.oid), \
         (SELECT string_agg({column}, E'\\n' ORDER BY a.attnum) FROM pg_attribute a JOIN pg_type ct ON ct.oid = a.atttypid \
           WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped), \
         CASE WHEN t.typtype = 'b' THEN concat_ws(' ', t.typlen, t.typbyval, t.typcategory, t.typispreferred, t.typdelim, t.typinput, t.typoutput, \
           t.typreceive, t.typsend, t.typmodin, t.typmodout, t.typanalyze, t.typalign, t.typstorage, t.typdefault) END) \
         FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid \
         WHERE n.nspname = ANY($1) AND {own} AND t.typtype IN ('e', 'd', 'r', 'c', 'b') AND (t.typrelid = 0 OR c.relkind = 'c') \
         AND NOT (t.typelem <> 0 AND t.typcategory = 'A') AND t.typisdefined"
    )
}

fn default_grants() -> String {
    "SELECT 'default grants', format('%s in %I on %s', pg_get_userbyid(d.defaclrole), n.nspname, d.defaclobjtype), \
     coalesce((SELECT string_agg(CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END || ' ' || g.privilege_type \
       || CASE WHEN g.is_grantable THEN '*' ELSE '' END, ', ' ORDER BY g.grantee = 0, pg_get_userbyid(g.grantee), g.privilege_type) \
       FROM aclexplode(d.defaclacl) g), '') FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace WHERE n.nspname = ANY($1)"
        .to_owned()
}

fn statistics() -> String {
    let (owner, comment) = (owner("s.stxowner"), comment("pg_statistic_ext", "s.oid"));
    format!(
        "SELECT 'statistics', format('%I.%I', n.nspname, s.stxname), {LINES}{owner}, {comment}, pg_get_statisticsobjdef(s.oid), \
         'target ' || nullif(s.stxstattarget, -1)::text) FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace \
         WHERE n.nspname = ANY($1)"
    )
}

fn casts() -> String {
    let (own, comment) = (own("pg_cast", "k.oid"), comment("pg_cast", "k.oid"));
    let points_in = points_in("pg_cast", "k.oid");
    format!(
        "SELECT 'cast', format('(%s AS %s)', format_type(k.castsource, NULL), format_type(k.casttarget, NULL)), {LINES}\
         CASE WHEN k.castfunc <> 0 THEN 'WITH FUNCTION ' || k.castfunc::regprocedure::text \
           WHEN k.castmethod = 'i' THEN 'WITH INOUT' ELSE 'WITHOUT FUNCTION' END \
         || CASE k.castcontext WHEN 'a' THEN ' AS ASSIGNMENT' WHEN 'i' THEN ' AS IMPLICIT' ELSE '' END, {comment}) \
         FROM pg_cast k WHERE {own} AND {points_in}"
    )
}

fn operators() -> String {
    let (owner, own, comment) =
        (owner("o.oprowner"), own("pg_operator", "o.oid"), comment("pg_operator", "o.oid"));
    format!(
        "SELECT 'operator', o.oid::regoperator::text, {LINES}{owner}, {comment}, concat_ws(' ', o.oprcode::regprocedure, \
         format_type(o.oprresult, NULL), 'commutes with ' || nullif(o.oprcom, 0)::regoperator::text, \
         'negates ' || nullif(o.oprnegate, 0)::regoperator::text, o.oprrest, o.oprjoin, \
         CASE WHEN o.oprcanmerge THEN 'merges' END, CASE WHEN o.oprcanhash THEN 'hashes' END)) \
         FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE n.nspname = ANY($1) AND {own} AND o.oprcode <> 0"
    )
}

fn operator_classes() -> String {
    let (owner, own, comment) =
        (owner("o.opcowner"), own("pg_opclass", "o.oid"), comment("pg_opclass", "o.oid"));
    format!(
        "SELECT 'operator class', format('%I.%I using %I', n.nspname, o.opcname, m.amname), {LINES}{owner}, {comment}, \
         concat_ws(' ', format_type(o.opcintype, NULL), CASE WHEN o.opcdefault THEN 'default' END, 'family ' || f.opfname, \
         'stores ' || format_type(nullif(o.opckeytype, 0), NULL))) \
         FROM pg_opclass o JOIN pg_namespace n ON n.oid = o.opcnamespace JOIN pg_am m ON m.oid = o.opcmethod \
         JOIN pg_opfamily f ON f.oid = o.opcfamily WHERE n.nspname = ANY($1) AND {own}"
    )
}

fn operator_families() -> String {
    let (owner, own, comment) =
        (owner("f.opfowner"), own("pg_opfamily", "f.oid"), comment("pg_opfamily", "f.oid"));
    format!(
        "SELECT 'operator family', format('%I.%I using %I', n.nspname, f.opfname, m.amname), {LINES}{owner}, {comment}, \
         (SELECT string_agg(concat_ws(' ', 'operator', o.amopstrategy, o.amopopr::regoperator, o.amoppurpose), E'\\n' \
           ORDER BY o.amopstrategy, o.amopopr::regoperator::text) FROM pg_amop o WHERE o.amopfamily = f.oid), \
         (SELECT string_agg(concat_ws(' ', 'function', p.amprocnum, format_type(p.amproclefttype, NULL), format_type(p.amprocrighttype, NULL), \
           p.amproc::regprocedure), E'\\n' ORDER BY p.amprocnum, p.amproc::regprocedure::text) FROM pg_amproc p WHERE p.amprocfamily = f.oid)) \
         FROM pg_opfamily f JOIN pg_namespace n ON n.oid = f.opfnamespace JOIN pg_am m ON m.oid = f.opfmethod WHERE n.nspname = ANY($1) AND {own}"
    )
}

/// Without what only some versions know: the column of the locale was renamed in 17, and that of the rules is there since 16.
fn collations() -> String {
    let (owner, own, comment) =
        (owner("c.collowner"), own("pg_collation", "c.oid"), comment("pg_collation", "c.oid"));
    format!(
        "SELECT 'collation', format('%I.%I', n.nspname, c.collname), {LINES}{owner}, {comment}, \
         jsonb_strip_nulls(to_jsonb(c) - 'oid' - 'collname' - 'collnamespace' - 'collowner' - 'collversion' - 'collencoding' \
           - 'colllocale' - 'colliculocale' \
           || jsonb_build_object('locale', coalesce(to_jsonb(c)->>'colllocale', to_jsonb(c)->>'colliculocale')))::text) \
         FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace WHERE n.nspname = ANY($1) AND {own}"
    )
}

fn search_configurations() -> String {
    let (owner, own, comment) =
        (owner("c.cfgowner"), own("pg_ts_config", "c.oid"), comment("pg_ts_config", "c.oid"));
    format!(
        "SELECT 'text search configuration', format('%I.%I', n.nspname, c.cfgname), {LINES}{owner}, {comment}, 'parser ' || p.prsname, \
         (SELECT string_agg(concat_ws(' ', 'token', m.maptokentype, m.mapseqno, m.mapdict::regdictionary), E'\\n' \
           ORDER BY m.maptokentype, m.mapseqno) FROM pg_ts_config_map m WHERE m.mapcfg = c.oid)) \
         FROM pg_ts_config c JOIN pg_namespace n ON n.oid = c.cfgnamespace JOIN pg_ts_parser p ON p.oid = c.cfgparser \
         WHERE n.nspname = ANY($1) AND {own}"
    )
}

fn search_dictionaries() -> String {
    let (owner, own, comment) =
        (owner("c.dictowner"), own("pg_ts_dict", "c.oid"), comment("pg_ts_dict", "c.oid"));
    format!(
        "SELECT 'text search dictionary', format('%I.%I', n.nspname, c.dictname), {LINES}{owner}, {comment}, \
         'template ' || p.tmplname, c.dictinitoption) FROM pg_ts_dict c JOIN pg_namespace n ON n.oid = c.dictnamespace \
         JOIN pg_ts_template p ON p.oid = c.dicttemplate WHERE n.nspname = ANY($1) AND {own}"
    )
}

/// Columns of other schemas' tables whose type or default is one of ours.
fn outside_columns() -> String {
    let (outside, points_in) = (outside("n.nspname"), points_in("pg_attrdef", "f.oid"));
    let own = own("pg_class", "c.oid");
    format!(
        "SELECT 'column', format('%I.%I.%I', n.nspname, c.relname, a.attname), \
         concat_ws(' default ', format_type(a.atttypid, a.atttypmod), pg_get_expr(f.adbin, f.adrelid)) \
         FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type e ON e.oid = t.typelem JOIN pg_namespace tn ON tn.oid = coalesce(e.typnamespace, t.typnamespace) \
         LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum \
         WHERE c.relkind IN ('r', 'p', 'f') AND NOT a.attisdropped AND a.attnum > 0 AND {own} AND {outside} \
         AND (tn.nspname = ANY($1) AND {type_own} OR {points_in})",
        type_own = self::own("pg_type", "coalesce(e.oid, t.oid)")
    )
}

fn event_triggers() -> String {
    "SELECT 'event trigger', e.evtname::text, concat_ws(' ', e.evtevent, e.evtfoid::regprocedure, e.evtenabled, array_to_string(e.evttags, ', ')) \
     FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = ANY($1)"
        .to_owned()
}
