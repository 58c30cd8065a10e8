//! Exporting failed targets for data cleanup: a CSV (RFC 4180) that a spreadsheet neither executes nor mangles.
//!
//! E.164 numbers begin with `+`, which spreadsheets take for a formula, and the usual guard (a leading apostrophe)
//! breaks importers. So there are two columns: the digits alone, for machines, and the guarded number, for people. People
//! who opted out are left out: their numbers are not for cleaning. Rows are streamed: several ranges of ids at once, each on a
//! task of its own so that all cores read and write records, and in order.
//!
//! On the real platform nothing ever marks a target as failed: then what failed stands in the send log, and is taken from there.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use allclear_core::ports::{Artifact, ArtifactWriter, Artifacts, FailedSend, SendLog, SendQueue, Targets};
use allclear_core::send_fault::SendFault;
use allclear_core::target::TargetRange;
use allclear_core::{Msisdn, Platform, PortError, Recipient, Service, Target, TargetId};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, Prediction, Reconciled, Repeat,
};
use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::effects::{Paused, change};
use crate::words::counted;

/// Rows asked for at a time: what PostgREST gives at most by default.
const PAGE: u32 = 1_000;
/// How many rows a range should have: a little less than a page, so that most take one request.
const ROWS_PER_RANGE: u64 = 900;
const MOST_RANGES: u32 = 65_536;
/// How many ranges are read at once. Each is held in memory until its turn to be written comes.
const AT_ONCE: usize = 64;
/// WhatsApp's code for a recipient who does not want messages.
const OPTED_OUT: &str = "131050";
/// Bytes that a row usually takes.
const USUAL_ROW: usize = 128;
const HEADER: &str = "target_id,msisdn_digits,msisdn,error_code,meaning,last_update_at\r\n";

/// A finished export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Exported {
    pub(super) artifact: Artifact,
    pub(super) rows: u64,
}

/// Writes one campaign's failed targets to a file of the run.
#[derive(Clone)]
pub(super) struct ExportFailedTargets {
    targets: Arc<dyn Targets>,
    queue: Arc<dyn SendQueue>,
    log: Arc<dyn SendLog>,
    artifacts: Arc<dyn Artifacts>,
    campaign: Paused,
}

/// Where the failed targets stand.
enum Failures {
    /// So many targets are marked as failed.
    Marked(u64),
    /// The send log knows of more than are marked.
    Logged(Vec<FailedSend>),
}

impl Failures {
    fn count(&self) -> u64 {
        match self {
            Self::Marked(count) => *count,
            Self::Logged(failed) => failed.len() as u64,
        }
    }
}

impl ExportFailedTargets {
    pub(super) fn of(on: &Platform, campaign: &Paused) -> Self {
        Self {
            targets: Arc::clone(&on.targets),
            queue: Arc::clone(&on.send_queue),
            log: Arc::clone(&on.send_log),
            artifacts: Arc::clone(&on.artifacts),
            campaign: campaign.clone(),
        }
    }

    fn file(&self) -> String {
        format!("failed-targets-{}.csv", self.campaign.campaign)
    }

    /// Looks where the failures stand. The log is long, so it is read only where the dispatcher gave up more than is marked, or
    /// where nothing is.
    async fn failures(&self) -> Result<Failures, PortError> {
        let campaign = self.campaign.campaign;
        let marked = self.targets.count_failed(campaign).await?;
        if marked > 0 && marked >= self.queue.given_up(campaign).await? {
            return Ok(Failures::Marked(marked));
        }
        let logged = self.log.failed_sends(campaign).await?;
        Ok(if logged.len() as u64 > marked { Failures::Logged(logged) } else { Failures::Marked(marked) })
    }

    /// Writes the file, whole or not at all.
    pub(super) async fn write(&self) -> Result<Exported, PortError> {
        let mut file = self.artifacts.create(&self.file()).await?;
        let rows = self.write_all(file.as_mut()).await?;
        Ok(Exported { artifact: file.finish().await?, rows })
    }

    /// Returns how many rows it wrote.
    async fn write_all(&self, file: &mut dyn ArtifactWriter) -> Result<u64, PortError> {
        file.append(HEADER.as_bytes()).await?;
        match self.failures().await? {
            Failures::Marked(expected) => self.write_marked(file, expected).await,
            Failures::Logged(failed) => write_logged(file, &failed).await,
        }
    }

    /// Reads several ranges of ids at once and writes them in order, so that the file is the same whatever was faster.
    /// Returns how many rows it wrote; that none was missed is checked against the platform's own count.
    async fn write_marked(&self, file: &mut dyn ArtifactWriter, expected: u64) -> Result<u64, PortError> {
        let parts = u32::try_from(expected / ROWS_PER_RANGE).unwrap_or(u32::MAX).clamp(1, MOST_RANGES);
        let longest = Arc::new(AtomicUsize::new(0));
        let mut ranges = stream::iter(TargetRange::parts(parts))
            .map(|range| self.clone().reading(range, Arc::clone(&longest)))
            .buffered(AT_ONCE);
        let (mut rows, mut seen) = (0, 0);
        while let Some(part) = ranges.try_next().await? {
            file.append(&part.csv).await?;
            rows += part.rows;
            seen += part.seen;
        }
        if seen >= expected {
            return Ok(rows);
        }
        let detail = format!(
            "{seen} of {expected} failed targets were read; they change faster than they can be read, try again"
        );
        let call = "read failed targets".to_owned();
        Err(PortError::Unavailable { service: Service::Supabase, call, detail })
    }

    /// Reads a range on a task of its own, which ends when nobody waits for it any more.
    async fn reading(self, range: TargetRange, longest: Arc<AtomicUsize>) -> Result<Part, PortError> {
        let task = tokio::spawn(async move { self.read_range(range, &longest).await });
        AbortOnDropHandle::new(task).await.expect("reading does not panic")
    }

    /// One range, page by page. A page that is shorter than others have been is the last one: a server may be configured
    /// to give fewer rows than asked for, so that a short page alone proves nothing.
    async fn read_range(&self, mut range: TargetRange, longest: &AtomicUsize) -> Result<Part, PortError> {
        let mut part = Part::default();
        loop {
            let page = self.targets.failed(self.campaign.campaign, range, PAGE).await?;
            let Some(last) = page.last() else { return Ok(part) };
            range.after = Some(last.id);
            part.seen += page.len() as u64;
            part.csv.reserve(page.len() * USUAL_ROW);
            for target in page.iter().filter(|target| !opted_out(target.error_code.as_deref())) {
                write_record(&Record::from(target), &mut part.csv);
                part.rows += 1;
            }
            if page.len() < longest.fetch_max(page.len(), Ordering::Relaxed) {
                return Ok(part);
            }
        }
    }
}

/// What a range of ids came to.
#[derive(Debug, Default)]
struct Part {
    csv: Vec<u8>,
    rows: u64,
    seen: u64,
}

#[async_trait]
impl Effect for ExportFailedTargets {
    /// `None` where there was nothing to export.
    type Receipt = Option<Exported>;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "artifact.write"
    }

    fn subject(&self) -> String {
        format!("export of campaign {}", self.campaign.campaign)
    }

    fn title(&self) -> String {
        format!("export the failed targets of campaign {}", self.campaign.name)
    }

    /// The file appears under its name whole or not at all.
    fn repeat(&self) -> Repeat {
        Repeat::Keyed
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("it is a file of this run, and harms nothing")
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let failures = self.failures().await?;
        let failed = failures.count();
        if failed == 0 {
            return Ok(Prediction::default());
        }
        let from = match failures {
            Failures::Marked(_) => "",
            Failures::Logged(_) => ", as the send log has them: the platform does not mark them",
        };
        let file = self.file();
        Ok(Prediction::of(change("file", &file, &file, "content", "absent", "written"))
            .note(format!("{}{from}", counted(failed, "failed target", "failed targets"))))
    }

    fn foresee(&self, _prediction: &Prediction) -> Option<Exported> {
        None
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<Option<Exported>>, PortError> {
        let exported = self.write().await?;
        let says = format!(
            "{} of {} in {}",
            counted(exported.rows, "failed target", "failed targets"),
            self.campaign.name,
            exported.artifact.name
        );
        Ok(Applied { receipt: Some(exported), says })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<Option<Exported>>, PortError> {
        Ok(Reconciled::DidNot { why: "writing the file again replaces it whole".to_owned() })
    }

    async fn verify(
        &self,
        _intent: &Intent,
        receipt: &Option<Exported>,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let Some(exported) = receipt else {
            return Ok(Judgement::verified("there are no failed targets to export", Vec::new()));
        };
        let found = self.artifacts.find(&exported.artifact.name).await?;
        let source = "the file, read again";
        Ok(match found {
            Some(artifact) if artifact == exported.artifact => {
                let shows = format!("{} bytes, SHA-256 {}", artifact.bytes, artifact.sha256);
                Judgement::verified(
                    format!("{} is as it was written", artifact.name),
                    vec![Evidence::new(source, shows)],
                )
            }
            Some(artifact) => {
                let shows = format!("{} bytes, SHA-256 {}", artifact.bytes, artifact.sha256);
                Judgement::refuted(
                    format!("{} has other content", artifact.name),
                    vec![Evidence::new(source, shows)],
                )
            }
            None => Judgement::refuted(
                format!("{} is not there", exported.artifact.name),
                vec![Evidence::new(source, "absent")],
            ),
        })
    }
}

fn opted_out(code: Option<&str>) -> bool {
    matches!(code, Some(OPTED_OUT | "opt_out"))
}

async fn write_logged(file: &mut dyn ArtifactWriter, failed: &[FailedSend]) -> Result<u64, PortError> {
    let mut rows = 0;
    for some in failed.chunks(PAGE as usize) {
        let mut csv = Vec::with_capacity(some.len() * USUAL_ROW);
        for one in some.iter().filter(|one| !opted_out(Some(&one.code))) {
            write_record(&Record::from(one), &mut csv);
            rows += 1;
        }
        file.append(&csv).await?;
    }
    Ok(rows)
}

/// What a line of the file is about.
struct Record<'a> {
    /// The send log knows no targets.
    id: Option<TargetId>,
    recipient: &'a Recipient,
    code: &'a str,
    at: Option<Timestamp>,
}

impl<'a> From<&'a Target> for Record<'a> {
    fn from(target: &'a Target) -> Self {
        let code = target.error_code.as_deref().unwrap_or_default();
        Self { id: Some(target.id), recipient: &target.recipient, code, at: target.last_update_at }
    }
}

impl<'a> From<&'a FailedSend> for Record<'a> {
    fn from(failed: &'a FailedSend) -> Self {
        Self { id: None, recipient: &failed.recipient, code: &failed.code, at: Some(failed.at) }
    }
}

/// One line, written where it belongs: there may be a million, so none is put together from pieces of its own.
fn write_record(record: &Record<'_>, csv: &mut Vec<u8>) {
    let code = record.code;
    let number = record.recipient.number();
    if let Some(id) = record.id {
        csv.extend_from_slice(id.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
    }
    csv.push(b',');
    csv.extend_from_slice(number.map_or("", Msisdn::digits).as_bytes());
    csv.push(b',');
    match number {
        Some(number) => write_cell(number.expose(), csv),
        None => write_cell(&record.recipient.to_string(), csv),
    }
    csv.push(b',');
    write_cell(code, csv);
    csv.push(b',');
    write_cell(meaning(code, number.is_some()), csv);
    csv.push(b',');
    if let Some(at) = record.at {
        write_time(at, csv);
    }
    csv.extend_from_slice(b"\r\n");
}

fn meaning(code: &str, is_number: bool) -> &'static str {
    match SendFault::from_text(code) {
        _ if !is_number => "what is stored is no number",
        SendFault::InvalidNumber => "number cannot receive",
        SendFault::Recipient => "recipient may not be sent this",
        SendFault::RateLimited | SendFault::PairLimit | SendFault::HeldByPolicy | SendFault::Transient => {
            "number may be fine; try later"
        }
        SendFault::Credential | SendFault::PolicyBlock | SendFault::Template | SendFault::Media => {
            "number may be fine; our side failed"
        }
        SendFault::Unknown => "not known",
    }
}

/// A cell that a spreadsheet does not take for a formula, in quotes where it needs them (RFC 4180).
fn write_cell(cell: &str, csv: &mut Vec<u8>) {
    let quoted = cell.contains([',', '"', '\r', '\n']);
    if quoted {
        csv.push(b'"');
    }
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        csv.push(b'\'');
    }
    if cell.contains('"') {
        csv.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
    } else {
        csv.extend_from_slice(cell.as_bytes());
    }
    if quoted {
        csv.push(b'"');
    }
}

fn write_time(at: Timestamp, csv: &mut Vec<u8>) {
    // A vector takes everything, so this cannot fail.
    let _ = write!(csv, "{at}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use allclear_core::TargetStatus;
    use allclear_core::ports::{MockSendLog, MockSendQueue, MockTargets};

    fn target(number: &str, code: &str) -> Target {
        Target {
            id: "6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90".parse().unwrap(),
            campaign: "6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e91".parse().unwrap(),
            recipient: Recipient::read(number),
            status: TargetStatus::Failed,
            error_code: Some(code.to_owned()),
            last_update_at: Some("2026-11-23T07:00:00Z".parse().unwrap()),
        }
    }

    #[test]
    fn numbers_survive_a_round_trip_and_no_cell_is_a_formula() {
        let hostile = ["131026", "=cmd|' /C calc'!A0", "@SUM(1)", "+1", "-1", "\tx", "a\"b,c\r\nd"];
        let mut bytes = Vec::new();
        for code in hostile {
            write_record(&Record::from(&target("+250788123012", code)), &mut bytes);
        }
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]);
        let mut count = 0;
        for (row, code) in reader.records().zip(hostile) {
            let row = row.unwrap();
            assert_eq!(&row[1], "250788123012");
            assert_eq!(row[2].trim_start_matches('\''), "+250788123012");
            assert_eq!(row[3].strip_prefix('\'').unwrap_or(&row[3]), code);
            assert!(row.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@', '\t', '\r'])), "{row:?}");
            count += 1;
        }
        assert_eq!(count, hostile.len());
    }

    #[test]
    fn a_number_that_cannot_be_read_is_a_row_to_clean_without_its_digits() {
        let mut bytes = Vec::new();
        write_record(&Record::from(&target("0788 123 012", "131026")), &mut bytes);
        let row = csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]).records().next();
        let row = row.unwrap().unwrap();
        assert_eq!(&row[1], "");
        assert_eq!(&row[2], "no phone number (12 characters, 10 of them digits)");
        assert_eq!(&row[4], "what is stored is no number");
    }

    #[test]
    fn people_who_opted_out_are_not_exported() {
        assert!(opted_out(Some("131050")) && opted_out(Some("opt_out")));
        assert!(!opted_out(Some("131026")) && !opted_out(None));
    }

    /// A writer that keeps what it is given.
    struct Kept(Vec<u8>);

    #[async_trait]
    impl ArtifactWriter for Kept {
        async fn append(&mut self, bytes: &[u8]) -> Result<(), PortError> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }

        async fn finish(&mut self) -> Result<Artifact, PortError> {
            unreachable!("the test looks at the bytes")
        }
    }

    /// The export of so many targets, from a server that gives `cap` rows a page at most.
    async fn exported(count: u64, cap: usize, says: u64) -> Result<(u64, String), PortError> {
        let id = |n: u64| TargetId(Uuid::from_u128(u128::from(n) * (u128::MAX / u128::from(count.max(1)))));
        let all: Vec<Target> =
            (0..count).map(|n| Target { id: id(n), ..target("+250788123012", "131026") }).collect();
        let mut targets = MockTargets::new();
        targets.expect_count_failed().returning(move |_| Ok(says));
        targets.expect_failed().returning(move |_, range, limit| {
            let within = |target: &&Target| {
                range.after.is_none_or(|after| target.id > after)
                    && range.until.is_none_or(|until| target.id <= until)
            };
            Ok(all.iter().filter(within).take(cap.min(limit as usize)).cloned().collect())
        });
        let (mut send_queue, mut send_log) = (MockSendQueue::new(), MockSendLog::new());
        send_queue.expect_given_up().returning(|_| Ok(0));
        send_log.expect_failed_sends().returning(|_| Ok(Vec::new()));
        let on = Platform {
            targets: Arc::new(targets),
            send_queue: Arc::new(send_queue),
            send_log: Arc::new(send_log),
            ..crate::mocked::platform()
        };
        let campaign = "6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e91".parse().unwrap();
        let paused = Paused {
            campaign,
            name: "Spring".into(),
            by_us: true,
            skipped: allclear_core::QueueRows::default(),
            started_at: None,
            taken_over_from: None,
        };
        let mut file = Kept(Vec::new());
        let rows = ExportFailedTargets::of(&on, &paused).write_all(&mut file).await?;
        Ok((rows, String::from_utf8(file.0).unwrap()))
    }

    #[tokio::test]
    async fn every_row_is_exported_once_and_in_order_whatever_the_server_gives_at_a_time() {
        for (count, cap) in [(0, 1_000), (1, 1_000), (2_000, 1_000), (2_000, 7), (5_000, 500)] {
            let (rows, text) = exported(count, cap, count).await.unwrap();
            let ids: Vec<&str> = text.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
            assert_eq!((rows, ids.len() as u64), (count, count), "{count} rows, {cap} a page");
            assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
        }
    }

    #[tokio::test]
    async fn an_export_that_misses_rows_is_no_export() {
        let error = exported(100, 1_000, 101).await.unwrap_err();
        assert!(error.to_string().contains("100 of 101"), "{error}");
    }
}
