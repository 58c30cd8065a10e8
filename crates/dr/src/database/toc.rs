//! The table of contents of a dump, read from its `toc.dat`: every entry with its SQL byte for byte, in `pg_restore`'s order.
//!
//! `pg_restore` itself writes one script, in which a function's body may look like anything, and lists names with spaces in
//! them between spaces. In the file each is a field of its own. The form is that of `pg_backup_archiver.c`, the same from
//! version 12 to 18 but for three fields.

use super::error::DatabaseError;

/// The newest form of the archive that is known here, written by PostgreSQL 17 and 18.
const NEWEST: (u8, u8) = (1, 16);

/// Where an entry stands: before the rows, with them, or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    None,
    Before,
    Data,
    After,
}

/// When an entry is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before the rows: types, functions, tables, views.
    Before,
    /// The rows of a table.
    Rows,
    /// After the rows, in the order of the dump: indexes, keys, triggers, policies, and views that need a key.
    After,
    /// Who may do what. After all of that, because a revoked right may be needed until then.
    Grants,
    /// What is computed from the rest.
    Last,
    /// Not by its SQL: the schema is made by the swap, extensions and publications belong to the database.
    Never,
}

/// Types of entries that are never restored by their SQL.
const NEVER: [&str; 13] = [
    "SCHEMA",
    "EXTENSION",
    "EVENT TRIGGER",
    "PUBLICATION",
    "PUBLICATION TABLE",
    "PUBLICATION TABLES IN SCHEMA",
    "SUBSCRIPTION",
    "SUBSCRIPTION TABLE",
    "DATABASE",
    "DATABASE PROPERTIES",
    "ENCODING",
    "STDSTRINGS",
    "SEARCHPATH",
];

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its type, e.g. `FK CONSTRAINT`.
    pub(crate) kind: String,
    /// Its schema; empty where it has none.
    pub(crate) schema: String,
    /// Its name as `pg_dump` tells it: a constraint's holds the table too, a function's its arguments.
    pub(crate) name: String,
    pub(crate) owner: String,
    /// What makes it.
    pub(crate) sql: String,
    /// What would drop it; names it as `ALTER` wants it.
    drop: String,
    /// The access method of a table or a materialised view.
    access_method: String,
    /// The file that holds its rows.
    file: Option<String>,
    phase: Phase,
}

impl Entry {
    /// How people read it.
    pub(crate) fn title(&self) -> String {
        let dot = if self.schema.is_empty() { "" } else { "." };
        format!("{} {}{dot}{}", self.kind.to_lowercase(), self.schema, self.name)
    }

    /// Its SQL, with what `pg_restore` sets for it.
    pub(crate) fn script(&self) -> String {
        if self.access_method.is_empty() {
            return self.sql.clone();
        }
        let method = super::session::quoted(&self.access_method);
        format!("SET default_table_access_method = {method};\n{}", self.sql)
    }

    /// What gives it to its owner; `None` where its type has none of its own.
    pub(crate) fn owned(&self) -> Option<String> {
        use super::session::{qualified, quoted};
        if self.owner.is_empty() || self.sql.is_empty() {
            return None;
        }
        let named = match self.kind.as_str() {
            "COLLATION"
            | "CONVERSION"
            | "DOMAIN"
            | "FOREIGN TABLE"
            | "MATERIALIZED VIEW"
            | "SEQUENCE"
            | "STATISTICS"
            | "TABLE"
            | "TEXT SEARCH DICTIONARY"
            | "TEXT SEARCH CONFIGURATION"
            | "TYPE"
            | "VIEW" => {
                format!("{} {}", self.kind, qualified(&self.schema, &self.name))
            }
            "AGGREGATE" | "FUNCTION" | "OPERATOR" | "OPERATOR CLASS" | "OPERATOR FAMILY" | "PROCEDURE" => {
                self.drop.trim_end().strip_prefix("DROP ")?.strip_suffix(';')?.to_owned()
            }
            _ => return None,
        };
        Some(format!("ALTER {named} OWNER TO {};", quoted(&self.owner)))
    }
}

/// All entries of a dump, in `pg_restore`'s order.
#[derive(Debug, Clone)]
pub(crate) struct Contents {
    pub(crate) entries: Vec<Entry>,
}

impl Contents {
    /// Reads `toc.dat`.
    pub(crate) fn parse(file: &[u8]) -> Result<Self, DatabaseError> {
        let mut reader = Reader { rest: file, whole: 4 };
        let read = reader.contents();
        read.ok_or_else(|| DatabaseError::DumpIncomplete {
            detail: "its table of contents (toc.dat) is cut off, or of a form that is not known".to_owned(),
        })
    }

    /// The file that holds a table's rows; `None` where the dump has no entry for it.
    pub(crate) fn file_of(&self, schema: &str, table: &str) -> Option<String> {
        let is = |entry: &&Entry| entry.phase == Phase::Rows && entry.schema == schema && entry.name == table;
        self.entries.iter().find(is)?.file.clone()
    }

    /// How many tables' rows the dump holds.
    pub(crate) fn tables(&self) -> usize {
        self.of(Phase::Rows).count()
    }

    /// The entries of one phase.
    pub(crate) fn of(&self, phase: Phase) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.phase == phase)
    }
}

/// What is said about a schema or an extension goes with it.
fn is_never(kind: &str, name: &str) -> bool {
    let about = |what: &str| name.starts_with(what);
    NEVER.contains(&kind)
        || ["COMMENT", "ACL", "SECURITY LABEL"].contains(&kind)
            && ["SCHEMA ", "EXTENSION ", "EVENT TRIGGER ", "PUBLICATION ", "SUBSCRIPTION ", "DATABASE "]
                .into_iter()
                .any(about)
        || ["BLOB", "BLOBS", "BLOB METADATA"].contains(&kind)
}

fn phase(kind: &str, name: &str, section: Section, rows_came: bool) -> Phase {
    if is_never(kind, name) {
        return Phase::Never;
    }
    match (kind, section) {
        ("TABLE DATA", _) => Phase::Rows,
        ("ACL" | "DEFAULT ACL", _) => Phase::Grants,
        ("MATERIALIZED VIEW DATA", _) => Phase::Last,
        (_, Section::Before) => Phase::Before,
        (_, Section::Data | Section::After) => Phase::After,
        // A comment stands right behind what it is about.
        (_, Section::None) => {
            if rows_came {
                Phase::After
            } else {
                Phase::Before
            }
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    /// How many bytes a number has, beside its sign.
    whole: usize,
}

impl Reader<'_> {
    fn contents(&mut self) -> Option<Contents> {
        if self.bytes(5)? != b"PGDMP" {
            return None;
        }
        let head = self.bytes(6)?.to_vec();
        let version = (head[0], head[1]);
        self.whole = usize::from(head[3]);
        if !((1, 14)..=NEWEST).contains(&version) || !(1..=8).contains(&self.whole) {
            return None;
        }
        // How it is compressed: a byte, and before that a number.
        if version >= (1, 15) {
            self.bytes(1)?;
        } else {
            self.number()?;
        }
        // When it was made: seven numbers. Then the database, the server's version, the program's.
        for _ in 0..7 {
            self.number()?;
        }
        for _ in 0..3 {
            self.text()?;
        }
        let count = self.number()?;
        let mut entries = Vec::new();
        let mut rows_came = false;
        for _ in 0..count {
            entries.push(self.entry(version, &mut rows_came)?);
        }
        Some(Contents { entries })
    }

    fn entry(&mut self, version: (u8, u8), rows_came: &mut bool) -> Option<Entry> {
        let (_id, _has_rows) = (self.number()?, self.number()?);
        let (_catalogue, _oid) = (self.text()?, self.text()?);
        let (name, kind) = (self.text()?, self.text()?);
        let section = match self.number()? {
            2 => Section::Before,
            3 => Section::Data,
            4 => Section::After,
            _ => Section::None,
        };
        *rows_came |= matches!(section, Section::Data | Section::After);
        let (sql, drop) = (self.text()?, self.text()?);
        let _copy = self.text()?;
        let schema = self.text()?;
        let _tablespace = self.text()?;
        let access_method = self.text()?;
        if version >= (1, 16) {
            self.number()?;
        }
        let owner = self.text()?;
        let _with_oids = self.text()?;
        // What it depends on, up to the end of that list.
        while !self.text()?.is_empty() {}
        let file = Some(self.text()?).filter(|file| !file.is_empty());
        let phase = phase(&kind, &name, section, *rows_came);
        Some(Entry { kind, schema, name, owner, sql, drop, access_method, file, phase })
    }

    fn bytes(&mut self, count: usize) -> Option<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<i64> {
        let sign = self.bytes(1)?[0];
        let digits = self.bytes(self.whole)?;
        let value = digits.iter().rev().fold(0_i64, |sum, byte| (sum << 8) | i64::from(*byte));
        Some(if sign == 0 { value } else { -value })
    }

    /// A text; an empty one for `NULL`.
    fn text(&mut self) -> Option<String> {
        let length = self.number()?;
        let text = self.bytes(usize::try_from(length.max(0)).ok()?)?.to_vec();
        String::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of version 15's form with these entries: type, section, name, SQL.
    fn archive(entries: &[(&str, u8, &str, &str)]) -> Vec<u8> {
        let mut file = b"PGDMP\x01\x0e\x00\x04\x08\x03".to_vec();
        let number = |file: &mut Vec<u8>, n: i32| {
            file.push(u8::from(n < 0));
            file.extend(n.unsigned_abs().to_le_bytes());
        };
        let text = |file: &mut Vec<u8>, text: &str| {
            number(file, i32::try_from(text.len()).unwrap());
            file.extend(text.as_bytes());
        };
        for n in [0; 8] {
            number(&mut file, n);
        }
        for word in ["db", "15.1", "15.1"] {
            text(&mut file, word);
        }
        number(&mut file, i32::try_from(entries.len()).unwrap());
        for (kind, section, name, sql) in entries {
            for n in [1, 0] {
                number(&mut file, n);
            }
            for word in ["1259", "7", *name, *kind] {
                text(&mut file, word);
            }
            number(&mut file, i32::from(*section));
            for word in [*sql, "DROP FUNCTION public.f(a b);\n", ""] {
                text(&mut file, word);
            }
            for word in ["public", "", "", "kim", "false", "12"] {
                text(&mut file, word);
            }
            number(&mut file, -1);
            text(&mut file, if *kind == "TABLE DATA" { "9.dat" } else { "" });
        }
        file
    }

    #[test]
    fn entries_keep_their_order_and_every_byte_and_have_their_phase() {
        let file = archive(&[
            ("SCHEMA", 2, "public", "x"),
            ("FUNCTION", 2, "f(a b)", "a\r\n\\restrict\n"),
            ("COMMENT", 1, "FUNCTION f(a b)", "c"),
            ("ACL", 1, "SCHEMA public", "g"),
            ("ACL", 1, "FUNCTION f(a b)", "g"),
            ("TABLE DATA", 3, "t", ""),
            ("CONSTRAINT", 4, "t pk", "k"),
            ("COMMENT", 1, "CONSTRAINT pk ON t", "c"),
            ("MATERIALIZED VIEW DATA", 4, "m", "r"),
        ]);
        let contents = Contents::parse(&file).unwrap();
        let of = |phase| contents.of(phase).map(|entry| entry.name.as_str()).collect::<Vec<_>>();
        assert_eq!(of(Phase::Before), ["f(a b)", "FUNCTION f(a b)"]);
        assert_eq!(of(Phase::After), ["t pk", "CONSTRAINT pk ON t"]);
        assert_eq!((of(Phase::Grants), of(Phase::Last)), (vec!["FUNCTION f(a b)"], vec!["m"]));
        assert_eq!((contents.tables(), contents.file_of("public", "t").as_deref()), (1, Some("9.dat")));
        let function = contents.of(Phase::Before).next().unwrap();
        assert_eq!(function.sql, "a\r\n\\restrict\n");
        assert_eq!(function.owned().unwrap(), "ALTER FUNCTION public.f(a b) OWNER TO \"kim\";");
    }

    #[test]
    fn a_table_of_contents_that_is_cut_anywhere_is_refused() {
        let file = archive(&[("TABLE", 2, "t", "CREATE"), ("TABLE DATA", 3, "t", "")]);
        for end in 0..file.len() {
            assert!(Contents::parse(&file[..end]).is_err(), "cut at {end}");
        }
    }
}
