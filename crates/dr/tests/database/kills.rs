//! kill -9 in every phase: what was finished is not done again, and staging is either as it was or restored whole.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use allclear_core::ports::{DatabaseBackups as _, StagingDatabase as _};

use crate::world::{Exercise, assert_no_ddl_on_production, clusters};

/// The example that does one part of the work; cargo builds examples beside tests.
fn program() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples/recover");
    assert!(path.exists(), "{} is missing: run `cargo test -p allclear-dr`, which builds it", path.display());
    path
}

fn child(exercise: &Exercise, arguments: &[&str], slow_ms: u64) -> Child {
    let of = |cluster: &allclear_dr::cluster::Cluster| {
        format!("postgres://postgres:{}@127.0.0.1:{}/{}", cluster.password(), cluster.port(), exercise.name)
    };
    let mut command = Command::new(program());
    command
        .args(arguments)
        .env("SOURCE_URL", of(&clusters().production))
        .env("TARGET_URL", of(&clusters().staging))
        .env("STORE", exercise.store())
        .env("WORK", exercise.work())
        .stdout(Stdio::piped());
    if slow_ms > 0 {
        command.env("SLOW_MS", slow_ms.to_string());
    }
    command.spawn().unwrap()
}

/// Starts a child and kills it some time after it says that a phase began; whether it was still alive.
fn killed_in(exercise: &Exercise, arguments: &[&str], phase: &str, after: Duration, slow_ms: u64) -> bool {
    let mut child = child(exercise, arguments, slow_ms);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let wanted = format!("phase {phase}");
    let seen = lines.by_ref().map_while(Result::ok).any(|line| line == wanted);
    assert!(seen, "the child never came to `{phase}`");
    std::thread::sleep(after);
    let alive = child.try_wait().unwrap().is_none();
    let _ = child.kill();
    let _ = child.wait();
    alive
}

/// Objects that are whole. A write that was cut leaves a file with `#` in its name that is no object.
fn whole(exercise: &Exercise) -> Vec<(PathBuf, u64)> {
    let is_whole = |(path, _): &(PathBuf, u64)| !path.to_string_lossy().contains('#');
    exercise.objects().into_iter().filter(is_whole).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_killed_goes_on_and_mixes_no_snapshots() {
    let exercise = Exercise::with_rows("killed_backup", 20_000).await;
    let id = Exercise::id();
    for phase in ["dump", "count in the snapshot", "checksum"] {
        let after = Duration::from_millis(if phase == "checksum" { 0 } else { 30 });
        let alive = killed_in(&exercise, &["take", id.as_str()], phase, after, 150);
        assert!(alive, "{phase} was too fast to be killed in");
        if phase != "checksum" {
            assert_eq!(whole(&exercise), [], "nothing is uploaded before the dump is known to be whole");
        }
        assert_eq!(exercise.backups().find(&id).await.unwrap(), None);
        // An orphan would go on reading production.
        let ours = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'killed_backup' \
                    AND application_name = 'allclear-recovery'";
        while exercise.production_says(ours).await != "0" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let mut uploaded = whole(&exercise);
    for _ in 0..4 {
        // Each time for about one more upload of each of the four that run at once.
        let after = Duration::from_millis(200);
        assert!(killed_in(&exercise, &["take", id.as_str()], "upload", after, 150));
        let now = whole(&exercise);
        assert!(uploaded.iter().all(|object| now.contains(object)), "an object was written again");
        assert_eq!(exercise.backups().find(&id).await.unwrap(), None);
        uploaded = now;
    }
    assert!(!uploaded.is_empty(), "no upload was finished before the kills");
    // Production goes on, and the backup still is of the first snapshot.
    exercise.production_says("DELETE FROM public.webhook_logs").await;
    let backup = exercise.take().await;
    let now = whole(&exercise);
    assert!(uploaded.iter().all(|object| now.contains(object)), "a finished upload was repeated");
    let logs = backup.tables.iter().find(|table| table.table == "public.webhook_logs").unwrap();
    assert_eq!(logs.rows, 800);
    let folders: std::collections::BTreeSet<_> = now
        .iter()
        .filter(|(path, _)| path.to_string_lossy().contains(".dat."))
        .filter_map(|(path, _)| path.parent())
        .collect();
    assert_eq!(folders.len(), 1, "files of one snapshot only");
    exercise.restore().await;
    assert!(exercise.staging().parity(&id).await.unwrap().holds());
    assert_no_ddl_on_production();
}

/// What is loaded and computed only where names are final, and what another schema holds.
const HARD: &str = "
CREATE TABLE public.place (code text PRIMARY KEY); INSERT INTO public.place VALUES ('KGL');
CREATE FUNCTION public.is_place(c text) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT EXISTS (SELECT FROM public.place WHERE code = c)';
CREATE DOMAIN public.place_code AS text CHECK (public.is_place(VALUE));
CREATE TABLE public.pump (id int PRIMARY KEY, at public.place_code, up text GENERATED ALWAYS AS (lower(at::text)) STORED);
INSERT INTO public.pump SELECT i, 'KGL' FROM generate_series(1, 2000) i;
CREATE MATERIALIZED VIEW public.pumps AS SELECT id, at, count(*) FROM public.pump GROUP BY id;
CREATE FUNCTION public.new_user() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
CREATE TRIGGER on_created AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION public.new_user();
ALTER TABLE public.notifications ADD CONSTRAINT vocabulary CHECK (status <> 'failed' OR error_message IS NOT NULL)";

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_leaves_staging_as_it_was_or_whole() {
    let exercise = Exercise::with_rows("killed_restore", 20_000).await;
    let id = Exercise::id();
    exercise.production_says(HARD).await;
    exercise.take().await;
    let mut killed = 0;
    for (phase, after, slow_ms) in [
        ("download", 3, 0),
        ("define", 0, 0),
        ("define", 15, 0),
        ("load", 10, 0),
        ("load", 100, 0),
        ("index", 60, 0),
        ("finish", 0, 0),
        ("finish", 40, 0),
        ("finish", 80, 0),
        ("swap", 0, 0),
    ] {
        killed += usize::from(killed_in(
            &exercise,
            &["restore", id.as_str()],
            phase,
            Duration::from_millis(after),
            slow_ms,
        ));
        // What the server was told before the kill it may still be doing.
        let ours = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'killed_restore' \
                    AND application_name = 'allclear-recovery'";
        while exercise.staging_says(ours).await != "0" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        match exercise.staging().find(&id).await.unwrap() {
            None => exercise.assert_staging_untouched().await,
            Some(restored) => {
                // The swap was committed: then it is whole, and asking again changes nothing.
                assert!(exercise.staging().parity(&id).await.unwrap().holds());
                assert_eq!(exercise.restore().await, restored);
                let aside = restored.put_aside.unwrap();
                let back = format!(
                    "DROP SCHEMA public CASCADE; ALTER SCHEMA {aside} RENAME TO public; DELETE FROM allclear.restored"
                );
                exercise.staging_says(&back).await;
            }
        }
    }
    assert!(killed >= 7, "only {killed} children were still alive when they were killed");
    exercise.restore().await;
    assert!(exercise.staging().parity(&id).await.unwrap().holds());
    let left =
        exercise.staging_says("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'allclear_new%'").await;
    assert_eq!(left, "0");
}
