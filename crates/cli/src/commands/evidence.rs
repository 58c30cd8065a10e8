//! `link` and `evidence`: what an exercise kept for people, without a key and without this machine; and its signature.

use std::time::Duration;

use allclear_core::PortError;
use allclear_core::platform::Recovery;
use allclear_core::ports::Artifact;
use allclear_core::recovery::BackupId;
use allclear_dr::seal::{PublicKey, Signature, SigningKey, Statement};
use allclear_engine::Entry;
use allclear_engine::journal::digest;
use allclear_engine::sqlite::RunSummary;
use allclear_runbooks::dr_tabletop::backup_of;
use serde_json::json;

use super::here::{folder, store};
use crate::args::{EvidenceCommand, Global};
use crate::environment::Wired;
use crate::exit::{CliError, Exit};
use crate::output::{self, say};
use crate::recovery::RecoverySettings;

pub(crate) async fn evidence(global: &Global, what: EvidenceCommand) -> Result<Exit, CliError> {
    match what {
        EvidenceCommand::Seal { run } => seal(global, &run).await,
        EvidenceCommand::Verify { run, backup, public_key } => verify(global, &run, backup, public_key).await,
    }
}

/// Prints the link, and nothing else writes it down.
pub(crate) async fn link(global: &Global, run: &str, file: &str, minutes: u64) -> Result<Exit, CliError> {
    let run = store(global)?.find(run)?;
    let on = Wired::of_run(global, &run, folder(global, &run.id).join("artifacts")).await?;
    let shelf = on.platform.recovery.and_then(|recovery| recovery.evidence).ok_or_else(|| {
        let name = &run.environment;
        CliError::usage(format!(
            "no bucket for evidence is configured: [environment.{name}.recovery.evidence]"
        ))
    })?;
    let failed = |error: allclear_core::PortError| {
        CliError::new(Exit::Unverified, format!("{file} of run {}: {error}", run.id))
    };
    let link = shelf.link(file, Duration::from_secs(minutes * 60)).await.map_err(failed)?;
    if global.json {
        let seconds = link.valid().as_secs();
        output::document(
            "link",
            json!({ "run": run.id, "file": file, "url": link.reveal(), "seconds": seconds }),
        );
    } else {
        output::result(link.reveal());
    }
    Ok(Exit::Verified)
}

/// The runbook whose runs leave evidence.
const EXERCISE: &str = "dr-tabletop";

/// What the names of a run's signed files begin with, beside the backup in the bucket.
fn signed(run: &str, what: &str) -> String {
    format!("evidence-{run}.{what}")
}

/// The exercise's files in the bucket that are not made for the signature: they stand beside the backup already.
const BESIDE: [&str; 2] = ["backup.log", "rowcount.csv"];

/// An exercise that ended, and where its evidence stands.
struct Exercised {
    run: RunSummary,
    backup: BackupId,
    on: Recovery,
    told: RecoverySettings,
}

impl Exercised {
    fn of(global: &Global, run: &str) -> Result<Self, CliError> {
        let store = store(global)?;
        let run = store.find(run)?;
        let entries = store.entries(&run.id)?;
        let backup = backup_of(&entries).ok_or_else(|| {
            CliError::usage(format!("run {} is no exercise, or ended before it had a backup's id", run.id))
        })?;
        let named = Global { env: Some(run.environment.clone()), ..global.clone() };
        let (on, told) = Wired::recovery(&named, folder(global, &run.id).join("artifacts"))?;
        Ok(Self { run, backup, on, told })
    }
}

/// Signs what an exercise left, and keeps statement and signature beside the backup. What was signed before is not signed otherwise.
async fn seal(global: &Global, run: &str) -> Result<Exit, CliError> {
    let exercised = Exercised::of(global, run)?;
    let (checks, key) = exercised.sealed(global).await?;
    Ok(told_as_checked(global, &exercised.run.id, &checks, &key))
}

/// The same at the end of an exercise, where a key is configured. What fails is said, with the command that does it later: the exercise
/// is what it was.
pub(super) async fn seal_at_end(global: &Global, run: &RunSummary) {
    if run.runbook != EXERCISE || run.context["sandbox"].is_string() {
        return;
    }
    let exercised = match Exercised::of(global, &run.id) {
        Ok(exercised) if exercised.told.signing.is_some() => exercised,
        Ok(_) => return,
        Err(error) => return say_not_signed(&run.id, &error.message),
    };
    match exercised.sealed(global).await {
        Ok((checks, key)) if checks.iter().all(|check| check.wrong.is_none()) => say(&format!(
            "Evidence: signed by the key {key}, beside backup {}; check it with: allclear evidence verify {}",
            exercised.backup, run.id
        )),
        Ok(_) => say_not_signed(&run.id, "what was signed cannot be read back as it was signed"),
        Err(error) => say_not_signed(&run.id, &error.message),
    }
}

fn say_not_signed(run: &str, why: &str) {
    say(&format!("the evidence is not signed: {why}; later: allclear evidence seal {run}"));
}

impl Exercised {
    /// Signs, and reads back what was signed.
    async fn sealed(&self, global: &Global) -> Result<(Vec<Check>, PublicKey), CliError> {
        let Self { run, backup, on, told } = self;
        let key = told.signing.as_ref().ok_or_else(|| {
        let name = &run.environment;
        CliError::usage(format!(
            "no key signs evidence: name one in [environment.{name}.recovery.signing], key = {{ file = … }}"
        ))
    })?;
        let failed = |error: PortError| {
            CliError::new(Exit::Unverified, format!("evidence of run {}: {error}", run.id))
        };
        let outcome = run.outcome.filter(|outcome| outcome.is_final()).ok_or_else(|| {
            CliError::usage(format!(
                "run {} has not ended; its journal is signed when it has: allclear resume {}",
                run.id, run.id
            ))
        })?;
        let entries = store(global)?.entries(&run.id)?;
        let mut statement = Statement::of(&run.id, &outcome.to_string(), backup.clone());
        statement.journal_entries = entries.len() as u64;
        statement.backup_manifest_sha256 =
            on.backups.find(backup).await.map_err(failed)?.map(|backup| backup.manifest_sha256);
        statement.copy_manifest_sha256 =
            on.copies.find(backup).await.map_err(failed)?.map(|copy| copy.manifest_sha256);
        let mut own = vec![(signed(&run.id, "journal.ndjson"), lines(&entries)?)];
        let report = folder(global, &run.id).join("artifacts").join("tabletop-report.md");
        if let Ok(report) = std::fs::read(report) {
            own.push((signed(&run.id, "report.md"), report));
        }
        for (name, content) in &own {
            statement.files.push(artifact(name, content));
        }
        for name in BESIDE {
            statement.files.extend(on.backups.find_file(backup, name).await.map_err(failed)?);
        }
        let bytes = statement.bytes();
        let signature = format!("{}\n", key.sign(&bytes));
        let place = signed(&run.id, "json");
        match on.backups.read_file(backup, &place).await.map_err(failed)? {
            Some(there) if there != bytes => {
                let says = format!(
                    "{place} beside backup {backup} states something else than the run's files now, and evidence is not replaced; \
                 see with: allclear evidence verify {}",
                    run.id
                );
                return Err(CliError::new(Exit::Refused, says));
            }
            _ => {}
        }
        own.push((place, bytes));
        // The signature comes last: with it the evidence is whole.
        own.push((signed(&run.id, "sig"), signature.into_bytes()));
        for (name, content) in &own {
            on.backups.keep_file(backup, name, content).await.map_err(failed)?;
        }
        let checks = checked(on, &run.id, backup, &key.public()).await.map_err(failed)?;
        Ok((checks, key.public()))
    }
}

/// Checks signed evidence as the bucket has it now.
async fn verify(
    global: &Global,
    run: &str,
    backup: Option<BackupId>,
    public_key: Option<PublicKey>,
) -> Result<Exit, CliError> {
    // On another machine the run is not known, and whoever checks says which backup and which key.
    let (run, backup, on, told) = if let Some(backup) = backup {
        let (on, told) = Wired::recovery(global, folder(global, run).join("artifacts"))?;
        (run.to_owned(), backup, on, told)
    } else {
        let Exercised { run, backup, on, told } = Exercised::of(global, run)?;
        (run.id, backup, on, told)
    };
    let key = public_key.or_else(|| told.signing.as_deref().map(SigningKey::public)).ok_or_else(|| {
        CliError::usage(
            "say with which key it was signed: --public-key HEX, as `allclear evidence seal` printed it",
        )
    })?;
    let checks = checked(&on, &run, &backup, &key).await;
    let checks =
        checks.map_err(|error| CliError::new(Exit::Unverified, format!("evidence of run {run}: {error}")))?;
    Ok(told_as_checked(global, &run, &checks, &key))
}

/// One thing that was checked.
struct Check {
    what: String,
    /// What is wrong with it; `None` where it is as it was signed.
    wrong: Option<String>,
}

impl Check {
    fn of(what: impl Into<String>, is: bool, wrong: impl Into<String>) -> Self {
        Self { what: what.into(), wrong: (!is).then(|| wrong.into()) }
    }
}

/// Reads everything back from the bucket. Where the signature does not hold, what is stated is worth nothing and is not looked at.
async fn checked(
    on: &Recovery,
    run: &str,
    backup: &BackupId,
    key: &PublicKey,
) -> Result<Vec<Check>, PortError> {
    let (place, signature) = (signed(run, "json"), signed(run, "sig"));
    let stated = on.backups.read_file(backup, &place).await?;
    let signed_by = on.backups.read_file(backup, &signature).await?;
    let (Some(stated), Some(signed_by)) = (stated, signed_by) else {
        return Ok(vec![Check::of(
            place,
            false,
            "it or its signature is not in the bucket; make it with: allclear evidence seal",
        )]);
    };
    let signed_by: Option<Signature> = String::from_utf8_lossy(&signed_by).parse().ok();
    let holds = signed_by.is_some_and(|signed_by| key.has_signed(&stated, &signed_by));
    let statement =
        Statement::read(&stated).ok().filter(|statement| statement.run == run && statement.backup == *backup);
    let mut checks =
        vec![Check::of(signature, holds, format!("it is no signature of {place} by the key {key}"))];
    let Some(statement) = statement.filter(|_| holds) else {
        checks.push(Check::of(place, false, "it is not what was signed, or of another run or backup"));
        return Ok(checks);
    };
    for file in &statement.files {
        let found = on.backups.find_file(backup, &file.name).await?;
        let wrong = if found.is_some() { "it has another content than was signed" } else { "it is gone" };
        checks.push(Check::of(&file.name, found.as_ref() == Some(file), wrong));
    }
    if let Some(stated) = statement.backup_manifest_sha256 {
        let found = whole(on.backups.find(backup).await)?.map(|backup| backup.manifest_sha256);
        let wrong = "the bucket does not have it whole with the manifest that was signed";
        checks.push(Check::of("the backup", found == Some(stated), wrong));
    }
    if let Some(stated) = statement.copy_manifest_sha256 {
        let found = whole(on.copies.find(backup).await)?.map(|copy| copy.manifest_sha256);
        let wrong = "the bucket does not have it whole with the manifest that was signed";
        checks.push(Check::of("the copy of the buckets", found == Some(stated), wrong));
    }
    Ok(checks)
}

/// What the bucket has whole. A manifest that is not what its own digest says is there and not whole; a bucket that does not answer
/// says nothing.
fn whole<T>(found: Result<Option<T>, PortError>) -> Result<Option<T>, PortError> {
    match found {
        Err(PortError::Damaged { .. }) => Ok(None),
        other => other,
    }
}

/// Says what came of each check.
fn told_as_checked(global: &Global, run: &str, checks: &[Check], key: &PublicKey) -> Exit {
    let good = checks.iter().all(|check| check.wrong.is_none());
    let exit = if good { Exit::Verified } else { Exit::Refuted };
    if global.json {
        let rows: Vec<_> =
            checks.iter().map(|check| json!({ "what": check.what, "wrong": check.wrong })).collect();
        let body = json!({ "run": run, "good": good, "public_key": key.to_string(), "checks": rows, "exit_code": exit as u8 });
        output::document("evidence", body);
        return exit;
    }
    for check in checks {
        match &check.wrong {
            None => output::result(&format!("  ✓ {}", check.what)),
            Some(wrong) => output::result(&format!("  ✗ {}: {wrong}", check.what)),
        }
    }
    let says = if good { "is as it was signed" } else { "is NOT as it was signed" };
    output::result(&format!("evidence of run {run} {says}, by the key {key}"));
    exit
}

/// The journal, an entry a line.
fn lines(entries: &[Entry]) -> Result<Vec<u8>, CliError> {
    let mut all = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut all, entry).map_err(|error| CliError::internal(error.to_string()))?;
        all.push(b'\n');
    }
    Ok(all)
}

fn artifact(name: &str, content: &[u8]) -> Artifact {
    Artifact { name: name.to_owned(), bytes: content.len() as u64, sha256: digest(content) }
}
