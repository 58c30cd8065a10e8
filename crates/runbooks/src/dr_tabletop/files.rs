//! The files of an exercise: `backup.log`, `rowcount.csv` and the report. Made from what was recorded, kept with the run and,
//! the first two, beside the backup in the bucket.

use std::sync::Arc;

use allclear_core::PortError;
use allclear_core::error::Service;
use allclear_core::platform::{Platform, Recovery};
use allclear_core::ports::{Artifact, Artifacts, DatabaseBackups};
use allclear_core::recovery::{BackupId, Parity, TableContent, TableParity};
use allclear_engine::journal::digest;
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, Prediction, Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;

use super::record::Record;
use super::words::count;
use crate::effects::change;

/// The script's file of row counts, with a header and with what the counts came to.
pub(super) const ROWCOUNT: &str = "rowcount.csv";
/// The script's log.
pub(super) const LOG: &str = "backup.log";
/// The tabletop report.
pub(super) const REPORT: &str = "tabletop-report.md";

/// The header of `rowcount.csv`.
pub const ROWCOUNT_HEADER: [&str; 6] =
    ["table", "snapshot_rows", "staging_rows", "snapshot_digest", "staging_digest", "parity"];

/// The word for a table that was compared before columns of it were masked, and is since as it was right after.
const EQUAL_BEFORE_MASKING: &str = "equal before masking";

/// What the comparison of one table came to, in a word or two.
fn verdict(table: &TableParity) -> &'static str {
    match (&table.snapshot, &table.staging) {
        (Some(_), None) => "missing in staging",
        (None, Some(_)) => "not in the snapshot",
        (None, None) => "nowhere",
        (Some(one), Some(other)) if one.rows != other.rows => "rows differ",
        (Some(one), Some(other)) if one.digest != other.digest => "content differs",
        (Some(_), Some(_)) => "equal",
    }
}

/// One table in one sentence.
pub(super) fn table_says(table: &TableParity) -> String {
    let rows = |content: &Option<TableContent>| {
        content.as_ref().map_or_else(|| "no table".to_owned(), |one| count(one.rows, "row", "rows"))
    };
    format!(
        "{}: {} ({} in the snapshot, {} in staging)",
        table.table,
        verdict(table),
        rows(&table.snapshot),
        rows(&table.staging)
    )
}

/// What the comparison came to in one sentence.
pub(super) fn parity_says(parity: &Parity) -> String {
    let mut different: Vec<String> =
        parity.tables.iter().filter(|one| !one.is_equal()).map(table_says).collect();
    let (tables, all) = (different.len(), parity.tables.len() as u64);
    if all == 0 {
        return "no table was compared, which proves nothing".to_owned();
    }
    different.extend(parity.different.iter().map(|one| format!("{} {}", one.object, one.says)));
    if different.is_empty() {
        let rows = parity.tables.iter().filter_map(|one| one.snapshot.as_ref()).map(|one| one.rows).sum();
        let definitions = match parity.definitions {
            0 => String::new(),
            n => format!("; {} beside", count(n, "definition", "definitions")),
        };
        let masked = match parity.masked.len() as u64 {
            0 => String::new(),
            n => format!("; {}, compared before", count(n, "column was masked", "columns were masked")),
        };
        return format!(
            "staging is equal to the snapshot: {}, {}, by rows and content{definitions}{masked}",
            count(all, "table", "tables"),
            count(rows, "row", "rows")
        );
    }
    let definitions = match parity.different.len() {
        0 => String::new(),
        n => format!(" and in {n} of {} definitions", parity.definitions),
    };
    format!(
        "staging is not equal to the snapshot in {tables} of {all} tables{definitions}: {}",
        different.join("; ")
    )
}

/// `rowcount.csv`: RFC 4180, with a header, one line for each table that either side has.
pub fn rowcount_csv(parity: &Parity) -> Result<String, PortError> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let failed = |error: &dyn std::fmt::Display| PortError::Rejected {
        service: Service::Artifacts,
        call: format!("write {ROWCOUNT}"),
        code: None,
        detail: error.to_string(),
    };
    writer.write_record(ROWCOUNT_HEADER).map_err(|error| failed(&error))?;
    let rows = |content: &Option<TableContent>| {
        content.as_ref().map_or_else(String::new, |one| one.rows.to_string())
    };
    let sum =
        |content: &Option<TableContent>| content.as_ref().map_or_else(String::new, |one| one.digest.clone());
    for table in &parity.tables {
        let TableParity { table: name, snapshot, staging } = table;
        let is_masked = table.is_equal() && parity.masked.iter().any(|masked| masked.table == *name);
        let cells = [
            guard(name),
            rows(snapshot),
            rows(staging),
            guard(&sum(snapshot)),
            guard(&sum(staging)),
            if is_masked { EQUAL_BEFORE_MASKING.to_owned() } else { verdict(table).to_owned() },
        ];
        writer.write_record(cells).map_err(|error| failed(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(&error))?;
    String::from_utf8(bytes).map_err(|error| failed(&error))
}

/// Keeps a spreadsheet from taking a cell for a formula.
fn guard(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell.to_owned() }
}

/// `backup.log`: a line for each step, as the script wrote them.
pub(super) fn backup_log(record: &Record) -> String {
    let line = |(at, text): &(Timestamp, String)| {
        // What a service said stays on its line: a second one could claim anything.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("[{}] {text}\n", at.strftime("%Y-%m-%dT%H:%M:%SZ"))
    };
    record.log.iter().map(line).collect()
}

/// Writes a file into the run's folder.
#[derive(Clone)]
pub(super) struct WriteFile {
    artifacts: Arc<dyn Artifacts>,
    name: &'static str,
    content: String,
}

impl WriteFile {
    pub(super) fn of(on: &Platform, name: &'static str, content: impl Into<String>) -> Self {
        Self { artifacts: Arc::clone(&on.artifacts), name, content: content.into() }
    }

    fn wanted(&self) -> Artifact {
        artifact(self.name, &self.content)
    }
}

/// The file that this content would make.
pub(super) fn artifact(name: &str, content: &str) -> Artifact {
    Artifact { name: name.to_owned(), bytes: content.len() as u64, sha256: digest(content.as_bytes()) }
}

/// What reading a file back comes to.
pub(super) fn judge(found: Option<Artifact>, wanted: &Artifact, source: &str) -> Judgement {
    let shows = found
        .as_ref()
        .map_or_else(|| "absent".to_owned(), |one| format!("{} bytes, SHA-256 {}", one.bytes, one.sha256));
    let evidence = vec![Evidence::new(source, shows)];
    let name = &wanted.name;
    match found {
        Some(found) if (found.bytes, &found.sha256) == (wanted.bytes, &wanted.sha256) => {
            Judgement::verified(format!("{name} is as it was written"), evidence)
        }
        Some(_) => Judgement::refuted(format!("{name} has another content"), evidence),
        None => Judgement::refuted(format!("{name} is not there"), evidence),
    }
}

#[async_trait]
impl Effect for WriteFile {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "artifact.write"
    }

    fn subject(&self) -> String {
        format!("file {}", self.name)
    }

    fn title(&self) -> String {
        format!("write {} into the run's folder", self.name)
    }

    /// The file appears under its name whole or not at all.
    fn repeat(&self) -> Repeat {
        Repeat::Keyed
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("it is a file of this run, and harms nothing")
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        Ok(Prediction::of(change("file", self.name, self.name, "content", "absent", "written")))
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        let mut file = self.artifacts.create(self.name).await?;
        file.append(self.content.as_bytes()).await?;
        let written = file.finish().await?;
        Ok(Applied { receipt: (), says: format!("{} was written, {} bytes", written.name, written.bytes) })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        Ok(Reconciled::DidNot { why: "writing the file again replaces it whole".to_owned() })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        Ok(judge(self.artifacts.find(self.name).await?, &self.wanted(), "the file, read again"))
    }
}

/// Puts a file beside the backup in the bucket.
#[derive(Clone)]
pub(super) struct KeepBeside {
    backups: Arc<dyn DatabaseBackups>,
    id: BackupId,
    destination: String,
    name: &'static str,
    content: String,
}

impl KeepBeside {
    pub(super) fn of(
        recovery: &Recovery,
        id: &BackupId,
        destination: &str,
        name: &'static str,
        content: impl Into<String>,
    ) -> Self {
        Self {
            backups: Arc::clone(&recovery.backups),
            id: id.clone(),
            destination: destination.to_owned(),
            name,
            content: content.into(),
        }
    }
}

#[async_trait]
impl Effect for KeepBeside {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "backup.keep_file"
    }

    fn subject(&self) -> String {
        format!("file {} beside backup {}", self.name, self.id)
    }

    fn title(&self) -> String {
        format!("keep {} beside the backup", self.name)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Keyed
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("what is kept beside a backup is kept for as long as the backup")
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let label = format!("{} beside backup {}", self.name, self.id);
        let id = format!("{}/{}", self.id, self.name);
        Ok(Prediction::of(change("file", id, &label, "content", "absent", "kept")))
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        let kept = self.backups.keep_file(&self.id, self.name, self.content.as_bytes()).await?;
        let says = format!("{} was kept at {}, {} bytes", self.name, self.destination, kept.bytes);
        Ok(Applied { receipt: (), says })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        Ok(Reconciled::DidNot { why: "keeping the same file again changes nothing".to_owned() })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        let found = self.backups.find_file(&self.id, self.name).await?;
        Ok(judge(found, &artifact(self.name, &self.content), "the bucket, read again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(rows: u64, digest: &str) -> TableContent {
        TableContent { table: "public.t".to_owned(), rows, digest: digest.to_owned() }
    }

    #[test]
    fn every_way_in_which_tables_differ_has_its_word_and_no_name_is_a_formula() {
        let table = |name: &str, snapshot, staging| TableParity { table: name.to_owned(), snapshot, staging };
        let parity = Parity {
            tables: vec![
                table("public.equal", Some(content(2, "aa")), Some(content(2, "aa"))),
                table("public.rows", Some(content(2, "aa")), Some(content(1, "ab"))),
                table("public.content", Some(content(2, "aa")), Some(content(2, "ab"))),
                table("public.missing", Some(content(2, "aa")), None),
                table("=cmd|' /C calc'!A0", None, Some(content(2, "aa"))),
            ],
            ..Parity::default()
        };
        insta::assert_snapshot!(rowcount_csv(&parity).unwrap().replace("\r\n", "\n"));
        assert!(rowcount_csv(&parity).unwrap().lines().count() == 6);
        assert!(!parity.holds() && parity_says(&parity).contains("4 of 5 tables"));
    }

    #[test]
    fn a_masked_table_is_called_equal_only_where_it_was() {
        let table = |name: &str, digest: &str| TableParity {
            table: name.to_owned(),
            snapshot: Some(content(2, "aa")),
            staging: Some(content(2, digest)),
        };
        let masked = |table: &str| allclear_core::recovery::MaskedColumn {
            table: table.to_owned(),
            column: "number".to_owned(),
            mask: "pseudonyms".to_owned(),
            rows: 2,
            empty: 0,
        };
        let mut parity = Parity {
            tables: vec![table("public.a", "aa"), table("public.b", "ab"), table("public.c", "aa")],
            masked: vec![masked("public.a"), masked("public.b")],
            ..Parity::default()
        };
        let csv = rowcount_csv(&parity).unwrap();
        let words: Vec<&str> = csv.lines().skip(1).filter_map(|line| line.rsplit(',').next()).collect();
        assert_eq!(words, ["equal before masking", "content differs", "equal"]);
        parity.tables.remove(1);
        let says = parity_says(&parity);
        assert!(says.ends_with("by rows and content; 2 columns were masked, compared before"), "{says}");
    }

    #[test]
    fn what_a_service_said_stays_on_its_line() {
        let mut record =
            Record::of("run-1", Timestamp::UNIX_EPOCH, jiff::civil::date(2026, 11, 25), "b".parse().unwrap());
        record.log(Timestamp::UNIX_EPOCH, "one\n[1970-01-01T00:00:00Z] all is well");
        assert_eq!(backup_log(&record).lines().count(), 1);
    }
}
