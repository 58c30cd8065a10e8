//! A catalogue of what schemas hold: each feature a small file, restored and compared.
//!
//! A file begins with what must hold, in words. Then come sections, each begun by a line `--: WORDS`:
//!
//! | section | its SQL |
//! |---|---|
//! | `production`, `staging` | is run there before the backup |
//! | `alike` | is asked of both after the restore, statement by statement, and answered alike |
//! | `alike on one version` | the same, where both servers are of one version: others keep the same thing in other words |
//! | `staging says ANSWER` | is asked of staging after the restore |
//! | `refused WORDS` | none: the two are refused before anything is done, with these words |
//! | `noted WORDS` | none: the restore says so |
//! | `changed WORDS` | none: the comparison names it as changed on purpose |
//! | `not compared WORDS` | none: the comparison names it |
//! | `differs WORDS` | none: the comparison finds this difference |
//! | `fails WORDS` | none: the restore fails with these words, and staging is as it was |
//! | `needs xml`, `needs icu` | none: both servers can do XML, and have ICU's collations |
//! | `needs production until N`, `needs staging until N`, `needs staging from N` | none: the server is of such a version |
//!
//! What needs more than the servers have, extensions too, is left out and named; Debian's have all but other versions. Without a section that says otherwise, everything must be equal.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use allclear_core::recovery::{Parity, Restored};
use allclear_dr::cluster::Cluster;
use futures_util::StreamExt as _;

use crate::world::{Exercise, are_usual, clusters};

/// Exercises at once.
const AT_ONCE: usize = 2;

struct Case {
    path: PathBuf,
    sections: Vec<(String, String)>,
}

impl Case {
    fn read(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut sections: Vec<(String, String)> = Vec::new();
        for line in text.split_inclusive('\n') {
            match (line.strip_prefix("--: "), sections.last_mut()) {
                (Some(words), _) => sections.push((words.trim_end().to_owned(), String::new())),
                (None, Some((_, sql))) => sql.push_str(line),
                (None, None) => {
                    assert!(line.starts_with("-- "), "{}: begin with what must hold", path.display());
                }
            }
        }
        Self { path, sections }
    }

    fn name(&self) -> String {
        self.path.file_stem().unwrap().to_string_lossy().into_owned()
    }

    fn of<'a>(&'a self, begins: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let matching = move |(words, sql): &'a (String, String)| {
            let rest = words.strip_prefix(begins)?;
            (rest.is_empty() || rest.starts_with(' ')).then(|| (rest.trim_start(), sql.as_str()))
        };
        self.sections.iter().filter_map(matching)
    }

    /// What is wrong; nothing where all holds.
    async fn wrong(&self, one_version: bool) -> Vec<String> {
        let exercise = Exercise::not_enrolled(&format!("catalogue_{}", self.name())).await;
        exercise.databases.enrol().await.unwrap();
        for (_, sql) in self.of("production") {
            exercise.production_says(sql).await;
        }
        for (_, sql) in self.of("staging").filter(|(says, _)| says.is_empty()) {
            exercise.staging_says(sql).await;
        }
        let mut wrong = self.said_against(&exercise).await;
        if self.of("refused").next().is_none() {
            match exercise.backups_and_restores().await {
                Err(error) if self.of("fails").any(|(words, _)| error.contains(words)) => {
                    let left = "SELECT count(*) FROM pg_namespace WHERE nspname ~ '_before_|^allclear_'";
                    wrong.extend(
                        (exercise.staging_says(left).await != "0").then(|| "something is left".to_owned()),
                    );
                }
                Err(error) => wrong.push(error),
                Ok(_) if self.of("fails").next().is_some() => wrong.push("it did not fail".to_owned()),
                Ok((restored, parity)) => {
                    wrong.extend(self.unlike(&exercise, (&restored, &parity), one_version).await);
                }
            }
        }
        exercise.gone().await;
        wrong
    }

    /// Why it cannot be tried on these servers.
    fn lacking(&self, production: &Server, staging: &Server) -> Option<String> {
        for (needs, _) in self.of("needs") {
            let words: Vec<&str> = needs.split(' ').collect();
            let holds = match words[..] {
                ["xml"] => production.has_xml && staging.has_xml,
                ["icu"] => production.has_icu && staging.has_icu,
                ["production", "until", version] => production.major <= version.parse().unwrap(),
                ["staging", "until", version] => staging.major <= version.parse().unwrap(),
                ["staging", "from", version] => staging.major >= version.parse().unwrap(),
                _ => panic!("{}: what is `needs {needs}`?", self.name()),
            };
            if !holds {
                return Some(format!("it needs {needs}"));
            }
        }
        for (server, of) in [(production, "production"), (staging, "staging")] {
            let scripts = self.of(of).filter(|(says, _)| says.is_empty());
            let made = scripts.flat_map(|(_, sql)| sql.split("CREATE EXTENSION ").skip(1));
            for name in made.filter_map(|rest| rest.split([' ', ';']).next()) {
                let name = name.trim_matches('"');
                if !server.extensions.contains(name) {
                    return Some(format!("{of} has no {name}"));
                }
            }
        }
        None
    }

    async fn said_against(&self, exercise: &Exercise) -> Vec<String> {
        let objections = exercise.databases.compare().await.unwrap().objections;
        let mut wrong = missing("refused", self.of("refused"), &objections);
        if self.of("refused").next().is_none() && !objections.is_empty() {
            wrong.push(format!("refused: {objections:?}"));
        }
        wrong
    }

    async fn unlike(
        &self,
        exercise: &Exercise,
        (restored, parity): (&Restored, &Parity),
        one_version: bool,
    ) -> Vec<String> {
        let mut wrong = missing("noted", self.of("noted"), &restored.notes);
        wrong.extend(missing("changed", self.of("changed"), &parity.changed));
        wrong.extend(missing("not compared", self.of("not compared"), &parity.not_compared));
        let different: Vec<String> = parity
            .different
            .iter()
            .map(|one| format!("{} {}", one.object, one.says))
            .chain(parity.tables.iter().filter(|one| !one.is_equal()).map(|one| one.table.clone()))
            .collect();
        wrong.extend(missing("differs", self.of("differs"), &different));
        if self.of("differs").next().is_none() && !parity.holds() {
            wrong.push(format!("differs: {different:?}"));
        }
        if self.of("changed").next().is_none() {
            let told = parity
                .changed
                .iter()
                .filter(|it| !it.starts_with("schema ") && !it.starts_with("default grants "))
                // A server writes a query in its own words, and that is what is said of it.
                .filter(|it| one_version || !it.contains(" writes the query otherwise than version "));
            wrong.extend(told.map(|it| format!("changed: {it}")));
        }
        let asked = |(says, _): &(&str, &str)| says.is_empty() || one_version;
        for (_, sql) in self.of("alike").filter(asked) {
            for question in sql.split(";\n").filter(|it| !it.trim().is_empty()) {
                let (production, staging) =
                    (exercise.on_production(question).await, exercise.on_staging(question).await);
                if production != staging || production.is_err() {
                    wrong.push(format!("`{question}`: {production:?} on production, {staging:?} on staging"));
                }
            }
        }
        for (answer, sql) in self.of("staging says") {
            let said = exercise.on_staging(sql).await;
            let said = said.map(|rows| rows.iter().map(|row| row.join("|")).collect::<Vec<_>>().join(" / "));
            if said.as_deref() != Ok(answer) {
                wrong.push(format!("`{sql}`: {said:?} instead of `{answer}`"));
            }
        }
        wrong
    }
}

/// What a server can do.
struct Server {
    major: u32,
    has_xml: bool,
    has_icu: bool,
    extensions: BTreeSet<String>,
}

impl Server {
    async fn of(cluster: &Cluster) -> Self {
        let ask = |sql: &'static str| async move { cluster.run("postgres", sql).await };
        let major = ask("SELECT current_setting('server_version_num')::int / 10000").await.unwrap();
        let extensions = ask("SELECT name FROM pg_available_extensions").await.unwrap();
        Self {
            major: major[0][0].parse().unwrap(),
            has_xml: ask("SELECT '<a/>'::xml").await.is_ok(),
            has_icu: ask("SELECT 'a' < 'b' COLLATE \"und-x-icu\"").await.is_ok(),
            extensions: extensions.into_iter().map(|mut row| row.remove(0)).collect(),
        }
    }
}

fn missing<'a>(what: &str, wanted: impl Iterator<Item = (&'a str, &'a str)>, said: &[String]) -> Vec<String> {
    let unsaid = wanted.filter(|(words, _)| !said.iter().any(|it| it.contains(words)));
    unsaid.map(|(words, _)| format!("not {what}: {words}; said was {said:?}")).collect()
}

/// Tries the features whose names begin so, and `CATALOGUE` where that is set.
async fn all_hold(begins: &str, at_least: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/database/catalogue");
    let only = std::env::var("CATALOGUE").unwrap_or_default();
    let mut cases: Vec<Case> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "sql"))
        .map(Case::read)
        .filter(|case| case.name().starts_with(begins))
        .collect();
    assert!(cases.len() >= at_least, "only {} features", cases.len());
    cases.retain(|case| case.name().contains(&only));
    cases.sort_by(|a, b| a.path.cmp(&b.path));
    let (production, staging) =
        (Server::of(&clusters().production).await, Server::of(&clusters().staging).await);
    cases.retain(|case| match case.lacking(&production, &staging) {
        None => true,
        Some(why) => {
            println!("{} is left out: {why}", case.name());
            let other_version = why.starts_with("it needs production") || why.starts_with("it needs staging");
            assert!(other_version || !are_usual(), "{}: {why}", case.name());
            false
        }
    });
    let (from, to) = (production.major, staging.major);
    println!("{} features {begins}* from PostgreSQL {from} to {to}", cases.len());
    let results: Vec<(String, Vec<String>)> = futures_util::stream::iter(cases)
        .map(|case| async move {
            let name = case.name();
            let wrong = tokio::spawn(async move { case.wrong(from == to).await }).await;
            (name, wrong.unwrap_or_else(|error| vec![error.to_string()]))
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let mut told = String::new();
    for (name, wrong) in results.iter().filter(|(_, wrong)| !wrong.is_empty()) {
        let _ = writeln!(told, "{name}:\n  {}", wrong.join("\n  "));
    }
    assert!(told.is_empty(), "\n{told}");
}

/// One test for features that are of a kind.
macro_rules! kinds {
    ($($name:ident: $begins:literal, $at_least:literal;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            all_hold($begins, $at_least).await;
        })*
    };
}

kinds! {
    e01_what_needs_a_constraint_first_is_made_after_it: "e01_", 4;
    e03_extensions_in_public_are_taken_along_and_missing_ones_named: "e03_", 6;
    e04_generated_columns_are_computed_by_the_new_schema_and_compared: "e04_", 4;
    e05_checks_and_domains_that_read_tables_read_the_new_ones: "e05_", 3;
    e12_a_table_without_columns_keeps_its_rows: "e12_", 1;
    e15_definitions_are_the_same_byte_for_byte: "e15_", 2;
    e20_what_other_schemas_hold_is_made_anew_or_named: "e20_", 8;
    e23_nothing_that_is_not_proven_silent_stays_enabled: "e23_", 15;
    e25_what_needs_a_search_path_is_backed_up_and_made: "e25_", 3;
    e27_settings_of_a_database_make_no_difference: "e27_", 12;
    e30_queues_whose_columns_do_not_know_the_word_are_silenced_or_refused: "e30_", 6;
    every_kind_of_object_is_restored_and_compared: "k_", 70;
}
