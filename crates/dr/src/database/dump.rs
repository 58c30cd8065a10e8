//! A dump on this machine, compared with its manifest: which of its entries is made when.

use std::path::Path;

use super::catalog::{Index, OutsideKey, Table};
use super::error::DatabaseError;
use super::manifest::Manifest;
use super::script::Piece;
use super::toc::{Contents, Entry, Phase};

/// The dump and its table of contents.
pub(crate) struct Dump<'a> {
    pub(crate) folder: &'a Path,
    manifest: &'a Manifest,
    contents: Contents,
}

impl<'a> Dump<'a> {
    pub(crate) fn open(folder: &'a Path, manifest: &'a Manifest) -> Result<Self, DatabaseError> {
        let contents = read_contents(folder)?;
        for dumped in &manifest.tables {
            let Table { schema, name, .. } = &dumped.table;
            if contents.file_of(schema, name).as_ref() != Some(&dumped.file) {
                let detail = format!("it has no rows for {}", dumped.table.title());
                return Err(DatabaseError::DumpIncomplete { detail });
            }
        }
        Ok(Self { folder, manifest, contents })
    }

    /// What is made before the rows.
    pub(crate) fn before(&self) -> Vec<Piece> {
        let casts = self.manifest.casts.iter().map(|sql| Piece {
            title: "a cast".to_owned(),
            sql: sql.clone(),
            optional: false,
        });
        self.contents.of(Phase::Before).flat_map(Piece::of).chain(casts).collect()
    }

    /// The plain indexes of a table, which may be made as soon as it is loaded.
    pub(crate) fn early_indexes(&self, table: &Table) -> String {
        let entries =
            self.contents.of(Phase::After).filter(|entry| self.early(entry).is_some_and(|it| it == table));
        entries.map(|entry| entry.sql.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// What is made after the rows, without what was made early.
    pub(crate) fn after(&self, early: impl Fn(&Table) -> bool) -> Vec<Piece> {
        let left = self
            .contents
            .of(Phase::After)
            .filter(|entry| self.outside_key(entry).is_none() && !self.early(entry).is_some_and(&early));
        left.flat_map(Piece::of).collect()
    }

    /// The keys into schemas that are not in the backup, each with its name and those of its likes on partitions.
    pub(crate) fn outside_keys(&self) -> impl Iterator<Item = (&Entry, Vec<&str>)> {
        self.contents.of(Phase::After).filter_map(|entry| {
            let key = self.outside_key(entry)?;
            let alike =
                self.manifest.outside_keys.iter().filter(|it| it.title != key.title && it.name == key.name);
            Some((entry, std::iter::once(key).chain(alike).map(|it| it.title.as_str()).collect()))
        })
    }

    pub(crate) fn grants(&self) -> Vec<Piece> {
        self.contents.of(Phase::Grants).flat_map(Piece::of).collect()
    }

    /// The materialised views to fill, by schema and name.
    pub(crate) fn to_refresh(&self) -> impl Iterator<Item = (&str, &str)> {
        self.contents.of(Phase::Last).map(|entry| (entry.schema.as_str(), entry.name.as_str()))
    }

    /// The table whose plain index an entry makes.
    fn early(&self, entry: &Entry) -> Option<&Table> {
        let makes = |index: &&Index| {
            index.plain
                && entry.schema == index.schema
                && match entry.kind.as_str() {
                    "INDEX" => entry.name == index.name,
                    "CONSTRAINT" => entry.name == format!("{} {}", index.table, index.name),
                    _ => false,
                }
        };
        let index = self.manifest.indexes.iter().find(makes)?;
        let is = |table: &&Table| table.schema == index.schema && table.name == index.table;
        self.manifest.tables.iter().map(|dumped| &dumped.table).find(is)
    }

    /// The key that an entry makes, where it points into a schema that is not in the backup.
    fn outside_key(&self, entry: &Entry) -> Option<&OutsideKey> {
        let mut keys = self.manifest.outside_keys.iter();
        keys.find(|key| {
            entry.kind == "FK CONSTRAINT"
                && entry.schema == key.schema
                && entry.name == format!("{} {}", key.table, key.name)
        })
    }
}

/// The table of contents of a dump in a folder.
pub(crate) fn read_contents(folder: &Path) -> Result<Contents, DatabaseError> {
    let path = folder.join("toc.dat");
    let file = std::fs::read(&path).map_err(|error| DatabaseError::file(&path, &error))?;
    Contents::parse(&file)
}
