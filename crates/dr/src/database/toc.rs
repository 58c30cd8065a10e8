//! The table of contents of a dump, as `pg_restore --list` tells it, sorted into what is restored when.

/// One entry: its line, and the line without the numbers.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// As it stands in the list; a list of such lines is what `pg_restore --use-list` takes.
    line: String,
    number: u32,
    /// Type, schema, name and owner, parted by spaces: `TABLE DATA public vouchers postgres`.
    what: String,
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let (number, rest) = line.split_once("; ")?;
        let number = number.trim().parse().ok()?;
        let mut words = rest.splitn(3, ' ');
        let (_catalogue, _oid, what) = (words.next()?, words.next()?, words.next()?);
        Some(Self { line: line.to_owned(), number, what: what.to_owned() })
    }

    fn is(&self, kind: &str) -> bool {
        self.what.strip_prefix(kind).is_some_and(|rest| rest.starts_with(' '))
    }
}

/// When an entry is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not at all: the schema itself is made by the swap, extensions and publications belong to the database.
    Never,
    /// Before the rows: types, functions, tables, views.
    Before,
    /// The rows of a table.
    Rows,
    /// Indexes and the constraints that are indexes.
    Indexes,
    /// After everything: foreign keys, triggers, policies, grants, comments, sequences' values.
    After,
}

/// Where entries of a type go. Types that are not named define something and come before the rows.
const PHASES: [(&str, Phase); 24] = [
    ("SCHEMA", Phase::Never),
    ("EXTENSION", Phase::Never),
    ("EVENT TRIGGER", Phase::Never),
    ("PUBLICATION", Phase::Never),
    ("PUBLICATION TABLE", Phase::Never),
    ("PUBLICATION TABLES IN SCHEMA", Phase::Never),
    ("SUBSCRIPTION", Phase::Never),
    ("DATABASE", Phase::Never),
    ("DEFAULT ACL", Phase::Never),
    ("TABLE DATA", Phase::Rows),
    ("CONSTRAINT", Phase::Indexes),
    ("INDEX", Phase::Indexes),
    ("INDEX ATTACH", Phase::After),
    ("FK CONSTRAINT", Phase::After),
    ("CHECK CONSTRAINT", Phase::After),
    ("TRIGGER", Phase::After),
    ("RULE", Phase::After),
    ("POLICY", Phase::After),
    ("ROW SECURITY", Phase::After),
    ("SEQUENCE SET", Phase::After),
    ("MATERIALIZED VIEW DATA", Phase::After),
    ("STATISTICS", Phase::After),
    ("COMMENT", Phase::After),
    ("ACL", Phase::After),
];

/// All entries of a dump.
#[derive(Debug, Clone)]
pub(crate) struct Contents {
    entries: Vec<Entry>,
}

impl Contents {
    pub(crate) fn parse(list: &str) -> Self {
        let entries = list.lines().filter(|line| !line.starts_with(';')).filter_map(Entry::parse).collect();
        Self { entries }
    }

    /// The file that holds a table's rows; `None` where the dump has no entry for it.
    pub(crate) fn file_of(&self, schema: &str, table: &str, owner: &str) -> Option<String> {
        let wanted = format!("TABLE DATA {schema} {table} {owner}");
        let entry = self.entries.iter().find(|entry| entry.what == wanted)?;
        Some(format!("{}.dat", entry.number))
    }

    /// How many tables' rows the dump holds.
    pub(crate) fn tables(&self) -> usize {
        self.entries.iter().filter(|entry| phase(entry) == Phase::Rows).count()
    }

    /// The list of what is restored in a phase, where `chosen` agrees with the entry's type, schema and name.
    pub(crate) fn list(&self, wanted: Phase, chosen: impl Fn(&str) -> bool) -> Option<String> {
        let lines: Vec<&str> = self
            .entries
            .iter()
            .filter(|entry| phase(entry) == wanted && chosen(&entry.what))
            .map(|entry| entry.line.as_str())
            .collect();
        (!lines.is_empty()).then(|| lines.join("\n") + "\n")
    }
}

fn phase(entry: &Entry) -> Phase {
    // What is said about the schema or an extension goes with it: the swap gives the new schema the old one's grants.
    if entry.what.starts_with("COMMENT - ") || entry.what.starts_with("ACL - ") {
        return Phase::Never;
    }
    // The longest type wins: `INDEX ATTACH` is none of `INDEX`.
    let named = PHASES.iter().filter(|(kind, _)| entry.is(kind)).max_by_key(|(kind, _)| kind.len());
    named.map_or(Phase::Before, |(_, phase)| *phase)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "; Archive created\n;\n5; 2615 2200 SCHEMA - public pg_database_owner\n\
3480; 0 0 ACL - SCHEMA public pg_database_owner\n217; 1259 16390 TABLE public a postgres\n\
3470; 0 16390 TABLE DATA public a postgres\n3481; 0 0 SEQUENCE SET public a_id_seq postgres\n\
3300; 2606 16399 CONSTRAINT public a a_pkey postgres\n3301; 1259 16400 INDEX public a_at postgres\n\
3302; 0 0 INDEX ATTACH public a_1_at postgres\n3303; 2606 16410 FK CONSTRAINT public a a_user_fkey postgres\n";

    #[test]
    fn entries_are_restored_in_their_phase() {
        let contents = Contents::parse(LIST);
        assert_eq!(contents.tables(), 1);
        assert_eq!(contents.file_of("public", "a", "postgres").as_deref(), Some("3470.dat"));
        assert_eq!(contents.file_of("public", "b", "postgres"), None);
        let numbers = |phase| {
            let list = contents.list(phase, |_| true).unwrap_or_default();
            list.lines().map(|line| line.split(';').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(Phase::Before), ["217"]);
        assert_eq!(numbers(Phase::Indexes), ["3300", "3301"]);
        assert_eq!(numbers(Phase::After), ["3481", "3302", "3303"]);
    }
}
