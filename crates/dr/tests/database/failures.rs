//! What servers, disks and networks do to us: told as what it is, with staging as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use allclear_core::PortError;
use allclear_core::error::{Class, StopReason};
use allclear_core::ports::{DatabaseBackups as _, StagingDatabase as _};
use allclear_dr::cluster::{Cluster, ClusterOptions};
use allclear_dr::database::{DatabaseUrl, Databases};
use allclear_dr::seed;

use crate::world::{Exercise, clusters};

fn url(text: &str) -> DatabaseUrl {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_refused_password_stops_and_names_the_credential() {
    let exercise = Exercise::with_rows("password", 100).await;
    let port = clusters().production.port();
    let wrong = url(&format!("postgres://postgres:canary-w0rd@127.0.0.1:{port}/password"));
    let error = exercise.backups_of(wrong).take(&Exercise::id()).await.unwrap_err();
    assert_eq!(error.class(), Class::Stop(StopReason::Credential), "{error}");
    assert!(!error.to_string().contains("canary-w0rd"), "{error}");
    // With the right one the same backup goes on.
    exercise.take().await;
}

#[tokio::test]
async fn no_server_and_no_tls_are_told_apart() {
    let exercise = Exercise::with_rows("network", 100).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let nobody = url(&format!("postgres://postgres:x@127.0.0.1:{port}/network"));
    let error = exercise.backups_of(nobody).take(&Exercise::id()).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    let port = clusters().production.port();
    let encrypted = url(&format!("postgres://postgres:x@127.0.0.1:{port}/network?sslmode=require"));
    let error = exercise.backups_of(encrypted).take(&Exercise::id()).await.unwrap_err();
    assert!(error.to_string().contains("no trusted TLS connection"), "{error}");
}

/// A root that signed nothing here.
fn another_root() -> String {
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

#[tokio::test]
async fn a_backup_over_tls_asks_for_as_much_as_libpq_does() {
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    // With one name for both, OpenSSL takes the server's certificate for its own issuer.
    ca.distinguished_name.push(rcgen::DnType::CommonName, "a root for tests");
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let options =
        ClusterOptions { tls: Some((leaf.pem(), key.serialize_pem())), ..ClusterOptions::default() };
    let cluster = Cluster::start(&std::env::temp_dir(), &options).unwrap();
    seed::project(&cluster, "tls").await.unwrap();
    seed::tables(&cluster, "tls").await.unwrap();

    let exercise = Exercise::not_enrolled("tls").await;
    let roots = exercise.store().join("../roots.pem");
    std::fs::write(&roots, ca_pem).unwrap();
    let (port, password) = (cluster.port(), cluster.password());
    let of = |host: &str, query: &str| {
        url(&format!("postgres://postgres:{password}@{host}:{port}/tls?sslmode={query}"))
    };
    let trusted = format!("&sslrootcert={}", roots.display());
    let another = exercise.store().join("../another.pem");
    std::fs::write(&another, another_root()).unwrap();
    let not_trusted = format!("&sslrootcert={}", another.display());
    let refused = [
        ("localhost", "verify-full".to_owned()),
        ("127.0.0.1", format!("verify-full{trusted}")),
        ("localhost", format!("verify-full{not_trusted}")),
        ("127.0.0.1", format!("verify-ca{not_trusted}")),
        ("127.0.0.1", format!("require{not_trusted}")),
    ];
    for (host, query) in refused {
        let error = exercise.backups_of(of(host, &query)).take(&Exercise::id()).await.unwrap_err();
        assert!(error.to_string().contains("no trusted TLS connection"), "{host} {query}: {error}");
    }
    let taken = [
        ("localhost", format!("verify-full{trusted}")),
        ("127.0.0.1", format!("verify-ca{trusted}")),
        ("127.0.0.1", format!("require{trusted}")),
        ("127.0.0.1", "require".to_owned()),
    ];
    for (number, (host, query)) in taken.into_iter().enumerate() {
        let id = format!("tls-{number}").parse().unwrap();
        let backup = exercise.backups_of(of(host, &query)).take(&id).await;
        assert!(backup.is_ok_and(|backup| backup.files > 0), "{host} {query}");
    }
}

#[tokio::test]
async fn a_lock_on_production_is_not_waited_for() {
    let exercise = Exercise::with_rows("locked", 100).await;
    let name = exercise.name.clone();
    let lock = tokio::spawn(async move {
        let hold = "BEGIN; LOCK TABLE public.vouchers IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)";
        // Ended from outside when the test has seen enough.
        let _ = clusters().production.run(&name, hold).await;
    });
    let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted \
                AND relation = 'public.vouchers'::regclass";
    while exercise.production_says(held).await != "1" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let began = Instant::now();
    let error = exercise.backups().take(&Exercise::id()).await.unwrap_err();
    assert!(error.to_string().contains("holds a lock"), "{error}");
    assert!(error.is_unavailable() && began.elapsed() < Duration::from_secs(30), "{error}");
    exercise.production_says("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND datname = 'locked' AND pid <> pg_backend_pid()").await;
    lock.await.unwrap();
    exercise.take().await;
}

#[tokio::test]
async fn killed_server_processes_leave_staging_as_it_was() {
    let exercise = Exercise::with_rows("terminated", 20_000).await;
    exercise.take().await;
    let staging = exercise.staging();
    let id = Exercise::id();
    let restore = staging.restore(&id);
    let kill = async {
        let loading = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'terminated' \
                       AND application_name = 'allclear-recovery' AND query LIKE 'COPY %'";
        while exercise.staging_says(loading).await == "0" {}
    };
    let (restored, ()) = tokio::join!(restore, kill);
    let error = restored.unwrap_err();
    assert!(error.to_string().contains("ended the connection"), "{error}");
    assert!(error.is_unavailable(), "{error}");
    exercise.assert_staging_untouched().await;
    exercise.restore().await;
    assert!(exercise.staging().parity(&Exercise::id()).await.unwrap().holds());
}

#[tokio::test]
async fn a_full_disk_is_told_and_staging_stays_as_it_was() {
    let exercise = Exercise::with_rows("full", 60_000).await;
    exercise.take().await;
    let options = ClusterOptions { disk_bytes: Some(16 << 20), ..ClusterOptions::default() };
    let small = Cluster::start(&std::env::temp_dir(), &options).unwrap();
    seed::project(&small, "full").await.unwrap();
    let disk = small.folder().join("disk");
    small.run("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", disk.display())).await.unwrap();
    small.run("postgres", "ALTER DATABASE \"full\" SET TABLESPACE small").await.unwrap();
    small.run("full", "CREATE TABLE public.settings AS SELECT 'before' AS value").await.unwrap();
    let mut on_small = Exercise::not_enrolled("full_small").await;
    on_small.databases = Databases { target: small.url("full"), ..exercise.databases.clone() };
    on_small.databases.enrol().await.unwrap();
    let staging = allclear_dr::database::PostgresStaging::new(
        on_small.databases.clone(),
        exercise.bucket(),
        exercise.work(),
        Arc::new(allclear_core::recovery::Unwatched),
    );
    let error = staging.restore(&Exercise::id()).await.unwrap_err();
    assert!(matches!(error, PortError::Rejected { .. }), "{error}");
    assert!(error.to_string().contains("no space left"), "{error}");
    let before = small.run("full", "SELECT value FROM public.settings").await.unwrap();
    assert_eq!(before, [["before"]]);
    let left = small
        .run("full", "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'allclear_new%'")
        .await
        .unwrap();
    assert_eq!(left, Vec::<Vec<String>>::new());
}

#[tokio::test]
async fn no_password_is_ever_in_an_argument() {
    let exercise = Exercise::with_rows("arguments", 5_000).await;
    let done = Arc::new(AtomicBool::new(false));
    let secrets = [clusters().production.password().to_owned(), clusters().staging.password().to_owned()];
    let watch = {
        let done = Arc::clone(&done);
        std::thread::spawn(move || {
            let (mut dumps, mut leaks) = (0, Vec::new());
            while !done.load(Ordering::Relaxed) {
                for process in std::fs::read_dir("/proc").unwrap().flatten() {
                    let Ok(line) = std::fs::read(process.path().join("cmdline")) else { continue };
                    let line = String::from_utf8_lossy(&line).replace('\0', " ");
                    dumps += usize::from(line.contains("--snapshot="));
                    leaks.extend(secrets.iter().any(|secret| line.contains(secret.as_str())).then_some(line));
                }
            }
            (dumps, leaks)
        })
    };
    exercise.take().await;
    exercise.restore().await;
    done.store(true, Ordering::Relaxed);
    let (dumps, leaks) = watch.join().unwrap();
    assert!(dumps > 0, "the scan never saw pg_dump run");
    assert_eq!(leaks, Vec::<String>::new());
}
