//! Definitions of staging beside those of the snapshot, with what the restore changed on purpose.

use std::collections::{BTreeMap, BTreeSet};

use allclear_core::recovery::{DefinitionDifference, Parity, TableContent};

use super::catalog;
use super::definitions::{Definition, by_name, definitions};
use super::error::DatabaseError;
use super::identity::major;
use super::manifest::Manifest;
use super::parity::{Reading, contents};
use super::progress::Part;
use super::session::{Session, literal};
use super::surroundings::{Surroundings, not_compared};
use super::toc::{Contents, Phase};

/// How much of a line of a definition is told.
const TOLD: usize = 160;

/// What the restore changes, and so how a definition may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    /// Trigger or rule: only its state.
    BeDisabled,
    /// Constraint: it holds for new rows only, or could not be made.
    NotHold,
    /// Materialised view: it was left empty.
    BeEmpty,
    /// Schema and default grants: staging's own are kept.
    HaveMore,
    /// An object of another schema: it goes on pointing at what was put aside, or is not there.
    BeMissing,
    /// A query of another version of the server, which writes the same otherwise.
    BeWrittenOtherwise,
    /// Anything of a role that ours may not give it to.
    BelongToUs,
}

/// One change that the restore made on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    kind: String,
    name: String,
    may: May,
    says: String,
}

impl Change {
    pub(crate) fn disabled(kind: &str, name: &str, says: String) -> Self {
        Self { kind: kind.to_owned(), name: name.to_owned(), may: May::BeDisabled, says }
    }

    pub(crate) fn not_valid(name: &str, says: String) -> Self {
        Self { kind: "constraint".to_owned(), name: name.to_owned(), may: May::NotHold, says }
    }

    /// An object of another schema that could not be made.
    pub(crate) fn missing(kind: &str, name: &str, says: String) -> Self {
        Self { kind: kind.to_owned(), name: name.to_owned(), may: May::BeMissing, says }
    }

    /// An object of another schema that only staging has.
    pub(crate) fn own(kind: &str, name: &str, says: String) -> Self {
        Self { kind: kind.to_owned(), name: name.to_owned(), may: May::HaveMore, says }
    }

    pub(crate) fn empty(name: &str, says: String) -> Self {
        Self { kind: "materialised view".to_owned(), name: name.to_owned(), may: May::BeEmpty, says }
    }
}

impl May {
    /// Whether these two texts differ in nothing but that.
    fn explains(self, source: Option<&str>, staging: Option<&str>) -> bool {
        let (Some(source), Some(staging)) = (source, staging) else {
            return match self {
                Self::HaveMore => source.is_none(),
                Self::NotHold | Self::BeMissing => staging.is_none(),
                _ => false,
            };
        };
        let without = |text: &str, leave: &[&str]| -> Vec<String> {
            text.split('\n')
                .filter(|line| !leave.iter().any(|it| line.starts_with(it)))
                .map(str::to_owned)
                .collect()
        };
        match self {
            Self::BeDisabled => without(source, &["state "]) == without(staging, &["state "]),
            Self::NotHold => staging.replacen(" NOT VALID", "", 1) == source.replacen(" NOT VALID", "", 1),
            Self::BeEmpty => without(staging, &["not populated"]) == without(source, &["not populated"]),
            Self::HaveMore => true,
            Self::BeMissing => false,
            Self::BeWrittenOtherwise => without_query(source) == without_query(staging),
            Self::BelongToUs => {
                without(source, &["owner ", "grants "]) == without(staging, &["owner ", "grants "])
            }
        }
    }
}

/// What of a definition is no query.
fn without_query(text: &str) -> &str {
    text.find("\nquery ").map_or(text, |at| &text[..at])
}

/// Kinds whose definition holds a query.
const QUERIES: [&str; 2] = ["view", "materialised view"];

/// Since version 17 there is a right more, which `GRANT ALL` gives there and not before.
fn as_before_17(definitions: &mut [Definition]) {
    let without = |grants: &str| {
        grants.split(", ").filter(|it| !it.ends_with(" MAINTAIN")).collect::<Vec<_>>().join(", ")
    };
    for one in definitions {
        one.text = if one.kind == "default grants" {
            without(&one.text)
        } else {
            let line = |line: &str| match line.strip_prefix("grants ") {
                Some(grants) => format!("grants {}", without(grants)),
                None => line.to_owned(),
            };
            one.text.split('\n').map(line).collect::<Vec<_>>().join("\n")
        };
    }
}

/// The major versions of the source and of a target.
pub(crate) async fn versions(session: &Session, manifest: &Manifest) -> Result<(u32, u32), DatabaseError> {
    let target: String = session.row("ask for the version", "SHOW server_version", &[]).await?.get(0);
    Ok((major(&manifest.source.server_version), major(&target)))
}

/// The values that sequences are set to by a dump.
pub(crate) fn sequence_values(dump: &Contents) -> Vec<Definition> {
    let set = |sql: &str| {
        let inside = sql.trim().strip_prefix("SELECT pg_catalog.setval('")?.strip_suffix(");")?;
        let (name, value) = inside.rsplit_once("', ")?;
        Some(value_of(&name.replace("''", "'"), value))
    };
    let entries = dump.of(Phase::After).filter(|entry| entry.kind == "SEQUENCE SET");
    entries.filter_map(|entry| set(&entry.sql)).collect()
}

fn value_of(name: &str, value: &str) -> Definition {
    Definition { kind: "sequence value".to_owned(), name: name.to_owned(), text: value.to_owned() }
}

async fn values_in(session: &Session, schemas: &[String]) -> Result<Vec<Definition>, DatabaseError> {
    let doing = "read the sequences";
    let sql = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
      WHERE c.relkind = 'S' AND n.nspname = ANY($1) AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass \
      AND e.objid = c.oid AND e.deptype = 'e')";
    let rows = session.rows(doing, sql, &[&schemas]).await?;
    let one = |row: &tokio_postgres::Row| {
        let name: String = row.get(0);
        format!("SELECT {}, last_value || ', ' || is_called FROM {name}", literal(&name))
    };
    let all: Vec<String> = rows.iter().map(one).collect();
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let rows = session.rows(doing, &all.join(" UNION ALL "), &[]).await?;
    Ok(rows.iter().map(|row| value_of(row.get(0), row.get(1))).collect())
}

/// All that a database's schemas hold beside rows, with the sequences' values.
async fn everything(session: &Session, schemas: &[String]) -> Result<Vec<Definition>, DatabaseError> {
    let mut all = definitions(session, schemas).await?;
    all.extend(values_in(session, schemas).await?);
    Ok(all)
}

/// Writes down what staging's definitions are now where they were changed on purpose, so that a comparison knows it from what
/// anybody else changes later. In the swap's own transaction.
pub(crate) async fn write_down(
    session: &Session,
    manifest: &Manifest,
    number: i64,
    changes: &[Change],
) -> Result<(), DatabaseError> {
    let doing = "write down what was changed";
    let mut now = definitions(session, &manifest.schemas).await?;
    let (from, to) = versions(session, manifest).await?;
    if matches!((from, to), (..17, 17..)) {
        as_before_17(&mut now);
    }
    let (source, staging) = (by_name(&manifest.definitions), by_name(&now));
    let strangers = "SELECT rolname::text FROM pg_roles WHERE NOT pg_has_role(oid, 'MEMBER')";
    let strangers: BTreeSet<String> =
        session.rows(doing, strangers, &[]).await?.iter().map(|row| row.get(0)).collect();
    let mut all: Vec<Change> = changes.to_vec();
    let keys: BTreeSet<_> = source.keys().chain(staging.keys()).copied().collect();
    for (kind, name) in keys {
        let owner = source
            .get(&(kind, name))
            .and_then(|text| text.split('\n').find_map(|line| line.strip_prefix("owner ")));
        let change = |may, says: String| Change { kind: kind.to_owned(), name: name.to_owned(), may, says };
        if ["schema", "default grants"].contains(&kind) {
            all.push(change(May::HaveMore, "staging's own grants were kept".to_owned()));
        } else if let Some(owner) = owner.filter(|owner| strangers.contains(*owner)) {
            let says =
                format!("the role that restores may give nothing to {owner}, who owns it in production");
            all.push(change(May::BelongToUs, says));
        } else if from != to && QUERIES.contains(&kind) {
            let says = format!("version {to} writes the query otherwise than version {from}");
            all.push(change(May::BeWrittenOtherwise, says));
        }
    }
    for Change { kind, name, may, says } in &all {
        let key = (kind.as_str(), name.as_str());
        let (was, is) = (source.get(&key).copied(), staging.get(&key).copied());
        if was == is || !may.explains(was, is) {
            continue;
        }
        let insert =
            "INSERT INTO allclear.changed (restored, kind, name, now, says) VALUES ($1, $2, $3, $4, $5)";
        session.execute(doing, insert, &[&number, kind, name, &is, says]).await?;
    }
    Ok(())
}

/// What was written down, by kind and name.
type Changed = BTreeMap<(String, String), (Option<String>, String)>;

async fn changed(session: &Session, number: Option<i64>) -> Result<Changed, DatabaseError> {
    let doing = "read what was changed";
    let there = "SELECT to_regclass('allclear.changed') IS NOT NULL";
    let Some(number) = number else { return Ok(Changed::new()) };
    if !session.row(doing, there, &[]).await?.get::<_, bool>(0) {
        return Ok(Changed::new());
    }
    let sql = "SELECT kind, name, now, says FROM allclear.changed WHERE restored = $1";
    let rows = session.rows(doing, sql, &[&number]).await?;
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3)))).collect())
}

/// Compares all that is no table's rows. The tables are left to the caller.
pub(crate) async fn compared(
    session: &Session,
    manifest: &Manifest,
    number: Option<i64>,
    part: &Part,
) -> Result<Parity, DatabaseError> {
    let mut now = everything(session, &manifest.schemas).await?;
    if matches!(versions(session, manifest).await?, (..17, 17..)) {
        as_before_17(&mut now);
    }
    let (source, staging) = (by_name(&manifest.definitions), by_name(&now));
    let changed = changed(session, number).await?;
    let mut parity = Parity::default();
    let keys: BTreeSet<_> = source.keys().chain(staging.keys()).copied().collect();
    for (kind, name) in keys {
        parity.definitions += 1;
        let (was, is) = (source.get(&(kind, name)).copied(), staging.get(&(kind, name)).copied());
        if was == is {
            continue;
        }
        match changed.get(&(kind.to_owned(), name.to_owned())) {
            Some((on_purpose, says)) if on_purpose.as_deref() == is => {
                parity.changed.push(format!("{kind} {name}: {says}"));
            }
            _ => parity
                .different
                .push(DefinitionDifference { object: format!("{kind} {name}"), says: difference(was, is) }),
        }
    }
    let around = Surroundings::ask(session, &manifest.schemas).await?;
    parity.not_compared = not_compared(&manifest.surroundings, &around, &manifest.schemas);
    parity.not_compared.extend(stale(session, manifest, part).await?);
    Ok(parity)
}

/// The materialised views that hold other rows than in the snapshot. They were computed from the restored tables; production's
/// own may be older than its tables.
async fn stale(session: &Session, manifest: &Manifest, part: &Part) -> Result<Vec<String>, DatabaseError> {
    let views = catalog::materialised(session, &manifest.schemas).await?;
    let readings = views.into_iter().map(|table| Reading { copy: table.copy_out(), table }).collect();
    let path = &manifest.surroundings.search_path;
    let now = contents(std::slice::from_ref(session), path, readings, part).await?;
    let differs = |was: &&TableContent| {
        now.get(&was.table).is_some_and(|is| (is.rows, &is.digest) != (was.rows, &was.digest))
    };
    let says = |was: &TableContent| {
        format!(
            "the rows of the materialised view {}: it was computed anew and differs from what production's held, {} rows",
            was.table, was.rows
        )
    };
    Ok(manifest.materialised.iter().filter(differs).map(says).collect())
}

/// The first line that differs, or that there is none.
fn difference(was: Option<&str>, is: Option<&str>) -> String {
    let (was, is) = match (was, is) {
        (Some(was), Some(is)) => (was, is),
        (Some(_), None) => return "missing in staging".to_owned(),
        _ => return "not in the snapshot".to_owned(),
    };
    let (was, is): (Vec<&str>, Vec<&str>) = (was.split('\n').collect(), is.split('\n').collect());
    let at = was.iter().zip(&is).take_while(|(was, is)| was == is).count();
    let told = |lines: &[&str]| {
        let line: String = lines.get(at).unwrap_or(&"nothing").chars().take(TOLD).collect();
        line.escape_debug().to_string()
    };
    format!("differs: `{}` in the snapshot, `{}` in staging", told(&was), told(&is))
}
