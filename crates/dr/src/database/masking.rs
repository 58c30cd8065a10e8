//! Which columns hold personal data, and by what a restore replaces it; and what speaks against that, asked before anybody is called.

use std::collections::BTreeSet;

use allclear_core::error::InvalidValue;
use secrecy::{ExposeSecret as _, SecretString};

use super::error::DatabaseError;
use super::manifest::sha256;
use super::pseudonym::keyed;
use super::session::{Session, literal};

/// A key below this length could be guessed.
const SHORTEST_KEY: usize = 32;

/// By what the values of a column are replaced. Empty ones and NULL stay what they are, except that [`Mask::Null`] leaves no empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mask {
    /// Each by another of the same shape, from the profile's key: equal values stay equal, in every column that has pseudonyms.
    Pseudonym,
    /// All by this one text.
    Fixed(String),
    /// All by NULL.
    Null,
}

impl Mask {
    /// What stands in the column afterwards, in words.
    pub(super) fn says(&self) -> &'static str {
        match self {
            Self::Pseudonym => "pseudonyms",
            Self::Fixed(_) => "a fixed text",
            Self::Null => "NULL",
        }
    }
}

/// One column with personal data. A partitioned table's name stands for its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedBy {
    /// The table's schema.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
    /// By what its values are replaced.
    pub mask: Mask,
}

impl MaskedBy {
    /// `schema.table.column`.
    pub(super) fn title(&self) -> String {
        format!("{}.{}.{}", self.schema, self.table, self.column)
    }
}

/// All columns that are masked. By default none is.
#[derive(Debug, Clone, Default)]
pub struct MaskingProfile {
    key: SecretString,
    columns: Vec<MaskedBy>,
}

impl MaskingProfile {
    /// A profile. The key must have 32 characters where any column gets pseudonyms, and no column may be named twice.
    pub fn new(key: SecretString, columns: Vec<MaskedBy>) -> Result<Self, InvalidValue> {
        let has_pseudonyms = columns.iter().any(|column| column.mask == Mask::Pseudonym);
        if has_pseudonyms && key.expose_secret().chars().count() < SHORTEST_KEY {
            return Err(InvalidValue {
                field: "key",
                value: "(not shown)".to_owned(),
                fix: "pseudonyms need a key of at least 32 characters; make one with `openssl rand -hex 32`",
            });
        }
        let mut named = BTreeSet::new();
        if let Some(twice) = columns.iter().map(MaskedBy::title).find(|title| !named.insert(title.clone())) {
            return Err(InvalidValue { field: "columns", value: twice, fix: "name each column once" });
        }
        Ok(Self { key, columns })
    }

    /// Whether nothing is masked.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    pub(super) fn key(&self) -> &SecretString {
        &self.key
    }

    pub(super) fn columns(&self) -> &[MaskedBy] {
        &self.columns
    }

    /// Names the profile, key included, without telling the key: a restore by another one is another restore.
    pub(super) fn fingerprint(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        let mut lines: Vec<String> =
            self.columns.iter().map(|column| format!("{:?}", (column.title(), &column.mask))).collect();
        lines.sort();
        let key = keyed(&self.key, &[b"allclear masking profile"]);
        sha256(&[lines.join("\n").as_bytes(), &key].concat())
    }
}

/// A column as one database has it: of a table that holds rows, or of the partitioned one above.
#[expect(clippy::struct_excessive_bools, reason = "what the catalog says of a column, each by itself")]
pub(super) struct Column {
    pub(super) schema: String,
    pub(super) table: String,
    /// Whether the table itself holds rows.
    pub(super) has_rows: bool,
    /// The column's type, as SQL has it; `None` where the table has no such column.
    pub(super) kind: Option<String>,
    is_text: bool,
    not_null: bool,
    computed: bool,
    in_foreign_key: bool,
    in_partition_key: bool,
    is_unique: bool,
    nulls_are_equal: bool,
    is_unique_computed: bool,
}

/// The tables that a rule is about, each with its column.
pub(super) async fn columns(session: &Session, rule: &MaskedBy) -> Result<Vec<Column>, DatabaseError> {
    let sql = "WITH RECURSIVE tree AS (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p') \
        UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid) \
      SELECT n.nspname::text, c.relname::text, c.relkind = 'r', format_type(a.atttypid, a.atttypmod), \
        coalesce(t.typcategory = 'S', false), coalesce(a.attnotnull OR t.typnotnull, false), \
        coalesce(a.attgenerated <> '' OR a.attidentity <> '', false), \
        EXISTS (SELECT FROM pg_constraint k WHERE k.contype = 'f' AND (k.conrelid = c.oid AND a.attnum = ANY(k.conkey) \
          OR k.confrelid = c.oid AND a.attnum = ANY(k.confkey))), \
        EXISTS (SELECT FROM pg_partitioned_table p WHERE p.partrelid = c.oid AND (a.attnum = ANY(p.partattrs) OR p.partexprs IS NOT NULL)), \
        EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.indisunique AND a.attnum = ANY(x.indkey)), \
        EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.indisunique AND a.attnum = ANY(x.indkey) \
          AND coalesce((to_jsonb(x) ->> 'indnullsnotdistinct')::boolean, false)), \
        EXISTS (SELECT FROM pg_index x JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = x.indexrelid \
          AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.refobjsubid = a.attnum WHERE x.indrelid = c.oid \
          AND (x.indisexclusion OR x.indisunique AND NOT a.attnum = ANY(x.indkey))) \
      FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace \
      LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $3 AND a.attnum > 0 AND NOT a.attisdropped \
      LEFT JOIN pg_type t ON t.oid = a.atttypid WHERE c.relkind IN ('r', 'p') ORDER BY 1, 2";
    let MaskedBy { schema, table, column, .. } = rule;
    let rows = session.rows("look at the columns that are masked", sql, &[schema, table, column]).await?;
    let one = |row: &tokio_postgres::Row| Column {
        schema: row.get(0),
        table: row.get(1),
        has_rows: row.get(2),
        kind: row.get(3),
        is_text: row.get(4),
        not_null: row.get(5),
        computed: row.get(6),
        in_foreign_key: row.get(7),
        in_partition_key: row.get(8),
        is_unique: row.get(9),
        nulls_are_equal: row.get(10),
        is_unique_computed: row.get(11),
    };
    Ok(rows.iter().map(one).collect())
}

impl Column {
    /// Why a mask cannot hold here.
    fn objection(&self, mask: &Mask, schemas: &[String]) -> Option<&'static str> {
        let is_key = self.in_foreign_key || self.in_partition_key;
        match mask {
            _ if !schemas.contains(&self.schema) => {
                Some("a part of the table stands in a schema that is not restored")
            }
            _ if self.kind.is_none() => Some("there is no such column"),
            _ if self.computed => Some("the server computes it; mask the columns that it is computed from"),
            _ if is_key => {
                Some("it is part of a foreign key or partition key, and rows would no longer belong together")
            }
            Mask::Pseudonym if !self.is_text => Some("only text has pseudonyms; use `fixed` or `null`"),
            Mask::Pseudonym | Mask::Fixed(_) if self.is_unique_computed => {
                Some("a unique or exclusion index is computed from it; use `null`")
            }
            Mask::Fixed(_) if self.is_unique => {
                Some("it is part of a key or unique index; use `pseudonym` or `null`")
            }
            Mask::Null if self.not_null => Some("it is NOT NULL; use `pseudonym` or `fixed`"),
            Mask::Null if self.nulls_are_equal => {
                Some("a unique index takes NULL once only; use `pseudonym`")
            }
            _ => None,
        }
    }
}

fn told(rule: &MaskedBy, why: &str) -> String {
    format!("recovery.masking: {} cannot be masked: {why}", rule.title())
}

/// What speaks against this profile in a database with these schemas, a sentence each.
pub(super) async fn objections(
    session: &Session,
    profile: &MaskingProfile,
    schemas: &[String],
) -> Result<Vec<String>, DatabaseError> {
    let mut all = Vec::new();
    for rule in profile.columns() {
        let found = columns(session, rule).await?;
        if found.is_empty() {
            all.push(told(rule, "there is no such table"));
        }
        let why: BTreeSet<&str> =
            found.iter().filter_map(|column| column.objection(&rule.mask, schemas)).collect();
        all.extend(why.into_iter().map(|why| told(rule, why)));
    }
    Ok(all)
}

/// The fixed texts that their columns do not take. Outside of a transaction, since what is refused would end it.
pub(super) async fn unfit_texts(
    session: &Session,
    profile: &MaskingProfile,
) -> Result<Vec<String>, DatabaseError> {
    let mut all = Vec::new();
    for rule in profile.columns() {
        let Mask::Fixed(text) = &rule.mask else { continue };
        for Column { kind, is_text, .. } in columns(session, rule).await? {
            let Some(kind) = kind else { continue };
            let sql = format!("SELECT ({}::{kind})::text", literal(text));
            match session.row("try a fixed text", &sql, &[]).await {
                Ok(row) if is_text && row.get::<_, String>(0) != *text => {
                    all.push(told(rule, &format!("its fixed text is longer than {kind} takes")));
                }
                Ok(_) => {}
                Err(refused @ DatabaseError::Refused { .. }) => {
                    all.push(told(rule, &format!("its fixed text is no {kind}: {}", refused.said())));
                }
                Err(error) => return Err(error),
            }
        }
    }
    all.dedup();
    Ok(all)
}
