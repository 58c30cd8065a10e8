//! Networks, servers, keys and sources that fail.

use std::process::Stdio;
use std::time::{Duration, Instant};

use allclear_core::error::StopReason;
use allclear_core::ports::ObjectCopies as _;
use allclear_core::{Class, PortError};
use allclear_dr::storage::{S3Copies, Source, connect};
use allclear_sandbox::s3::{Call, S3Fault, SECRET_KEY, Wrong};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::world::{World, access, ahead, id, noise, settings};

fn fault(call: Call, after: usize, times: usize, wrong: Wrong) -> S3Fault {
    S3Fault { call, after, times, wrong }
}

/// A source of two small objects and a large one, in a bucket of the same server, so that reads may fail too.
async fn world_with_bucket() -> (World, S3Copies) {
    let world = World::new().await;
    world.server.make_bucket("vouchers").unwrap();
    for (name, size) in [("a", 100), ("b", 5_000), ("large", 17 << 20)] {
        std::fs::write(world.server.folder().join("vouchers").join(name), noise(size as u64, size)).unwrap();
    }
    let source = Source::buckets(access(&world.server.base_url()), vec!["vouchers".into()], ahead()).unwrap();
    let copies = world.copies_from(source);
    (world, copies)
}

pub(crate) async fn a_cut_in_any_request_costs_a_retry_and_no_object() {
    let phases = [
        Call::List,
        Call::Get,
        Call::Head,
        Call::Put,
        Call::BeginUpload,
        Call::PutPart,
        Call::CompleteUpload,
    ];
    let cuts = [Wrong::CutBefore, Wrong::CutAfter, Wrong::CutInBody];
    let (world, copies) = world_with_bucket().await;
    let mut number = 0;
    for call in phases {
        for wrong in &cuts {
            // Fresh objects each time, so that every phase happens.
            number += 1;
            let backup = id(&format!("cut-{number}"));
            for (name, size) in [("a", 100), ("large", 17 << 20)] {
                let path = world.server.folder().join("vouchers").join(name);
                std::fs::write(path, noise(1_000 * number + size as u64, size)).unwrap();
            }
            world.server.break_on(fault(call, 0, 1, wrong.clone()));
            let copy =
                copies.copy(&backup).await.unwrap_or_else(|error| panic!("{call:?} {wrong:?}: {error}"));
            world.server.mend();
            assert_eq!(copy.objects, 3, "{call:?} {wrong:?}");
            copies.verify(&backup).await.unwrap_or_else(|error| panic!("{call:?} {wrong:?}: {error}"));
        }
    }
    let uploads = world.uploads();
    let mut once = uploads.clone();
    once.sort();
    once.dedup();
    // An upload whose answer was lost is not among the succeeded ones, and its repetition was told that it is there.
    assert_eq!(uploads.len(), once.len(), "no object was put twice");
}

pub(crate) async fn a_network_that_stays_away_ends_the_copy_and_it_resumes() {
    let world = World::new().await;
    world.files(300, 200);
    world.server.break_on(fault(Call::Put, 150, usize::MAX, Wrong::CutBefore));
    let copies = world.copies();
    let error = copies.copy(&id("net")).await.unwrap_err();
    assert_eq!(error.class(), Class::OutcomeUnknown, "{error}");
    assert_eq!(copies.find(&id("net")).await.unwrap(), None, "no manifest, no copy");
    let done = world.uploads();
    assert_eq!(done.len(), 150);
    world.server.mend();
    let copy = copies.copy(&id("net")).await.unwrap();
    assert_eq!(copy.objects, 300);
    let uploads = world.uploads();
    assert_eq!(uploads.len(), 300, "each was uploaded once");
    copies.verify(&id("net")).await.unwrap();

    // Nobody there at all.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nowhere = connect(&settings(&format!("http://127.0.0.1:{port}"))).unwrap();
    let copies = S3Copies::new(nowhere, world.source(), world.ledgers(), ahead());
    let error = copies.find(&id("net")).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
}

pub(crate) async fn slow_down_is_obeyed() {
    let world = World::new().await;
    world.files(200, 100);
    let slow = Wrong::Refused { status: 503, code: "SlowDown", retry_after: Some(1) };
    world.server.break_on(fault(Call::Put, 50, 10, slow));
    let began = Instant::now();
    let copy = world.copies().copy(&id("slow")).await.unwrap();
    assert_eq!(copy.objects, 200);
    assert!(began.elapsed() >= Duration::from_secs(1), "the wait is kept: {:?}", began.elapsed());
    let arrived = world.server.arrived();
    let refused = arrived.iter().filter(|it| it.status == Some(503)).count();
    assert_eq!(refused, 10);
    // Everybody waits together: ten refusals are ten repetitions and not a storm.
    assert_eq!(arrived.iter().filter(|it| it.call == Call::Put).count(), 200 + 1 + 10);
}

pub(crate) async fn a_long_wait_is_handed_up() {
    let world = World::new().await;
    world.files(3, 100);
    let slow = Wrong::Refused { status: 503, code: "SlowDown", retry_after: Some(600) };
    world.server.break_on(fault(Call::Put, 0, usize::MAX, slow));
    let error = world.copies().copy(&id("slow")).await.unwrap_err();
    assert_eq!(error.class(), Class::RetryAfter(Some(Duration::from_mins(10))), "{error}");
}

pub(crate) async fn a_flipped_bit_is_found_by_the_server() {
    let world = World::new().await;
    world.files(3, 100);
    world.file("docs/large.bin", &noise(1, 9 << 20));
    world.server.break_on(fault(Call::Put, 0, 2, Wrong::FlippedBit));
    let copies = world.copies();
    copies.copy(&id("flip")).await.unwrap();
    copies.verify(&id("flip")).await.unwrap();
    assert_eq!(world.server.arrived().iter().filter(|it| it.status == Some(400)).count(), 2);
    // This server compares whole objects and no parts; what a server does not compare is found by reading back.
    world.file("docs/more.bin", &noise(2, 9 << 20));
    world.server.break_on(fault(Call::PutPart, 0, 1, Wrong::FlippedBit));
    copies.copy(&id("part")).await.unwrap();
    let error = copies.verify(&id("part")).await.unwrap_err().to_string();
    assert!(error.contains("docs/more.bin has another content"), "{error}");

    world.file("vouchers/new", b"new");
    world.server.break_on(fault(Call::Put, 0, usize::MAX, Wrong::FlippedBit));
    let error = copies.copy(&id("flips")).await.unwrap_err();
    assert!(error.to_string().contains("what arrived is not what was sent"), "{error}");
    assert_eq!(error.class(), Class::Permanent);
}

pub(crate) async fn truncated_answers_are_told_from_whole_ones() {
    let (world, copies) = world_with_bucket().await;
    // All but the look for a manifest. Shorter than the list says, and well-formed: it must not become the copy.
    world.server.break_on(fault(Call::Get, 1, usize::MAX, Wrong::Shortened));
    let error = copies.copy(&id("short")).await.unwrap_err();
    let said = error.to_string();
    // Small ones are told from the list, a piece of a large one from what was asked for; whichever was first.
    assert!(said.contains("and the list says") || said.contains("its content broke off"), "{said}");
    assert_eq!(copies.find(&id("short")).await.unwrap_or(None), None);
    world.server.mend();
    // Broken off for good: it says after how much.
    world.server.break_on(fault(Call::Get, 1, usize::MAX, Wrong::CutInBody));
    let error = copies.copy(&id("short")).await.unwrap_err();
    assert!(error.to_string().contains("its content broke off 4 times"), "{error}");
    assert!(matches!(error.class(), Class::RetryAfter(None)), "{error}");
    world.server.mend();
    assert_eq!(copies.copy(&id("short")).await.unwrap().objects, 3);
    copies.verify(&id("short")).await.unwrap();
}

pub(crate) async fn a_wrong_key_is_named_as_such_and_never_shown() {
    let world = World::new().await;
    world.files(3, 100);
    let mut wrong_secret = settings(&world.server.base_url());
    wrong_secret.access.secret_key = "another-very-secret".into();
    let mut wrong_id = settings(&world.server.base_url());
    wrong_id.access.access_key = "AKIDUNKNOWN".into();
    for settings in [wrong_secret, wrong_id] {
        let bucket = connect(&settings).unwrap();
        let copies = S3Copies::new(bucket, world.source(), world.ledgers(), ahead());
        let error = copies.copy(&id("key")).await.unwrap_err();
        assert_eq!(error.class(), Class::Stop(StopReason::Credential), "{error}");
        let shown = format!("{error} {error:?} {settings:?}");
        assert!(!shown.contains("very-secret") && !shown.contains(SECRET_KEY), "{shown}");
    }
    // It was asked a few things at once, and nothing a second time.
    assert!(world.server.arrived().len() < 60, "no retries of a refusal");
    // The source's key is as much a key.
    let mut access = access(&world.server.base_url());
    access.secret_key = "another-very-secret".into();
    let source = Source::buckets(access, vec!["vouchers".into()], ahead()).unwrap();
    let error = world.copies_from(source).copy(&id("key")).await.unwrap_err();
    assert_eq!(error.class(), Class::Stop(StopReason::Credential), "{error}");
}

pub(crate) async fn a_refusal_names_the_permission() {
    let world = World::new().await;
    world.files(3, 100);
    let denied = Wrong::Refused { status: 403, code: "AccessDenied", retry_after: None };
    world.server.break_on(fault(Call::Put, 0, usize::MAX, denied));
    let error = world.copies().copy(&id("denied")).await.unwrap_err();
    assert_eq!(error.class(), Class::Stop(StopReason::Permission), "{error}");
    assert!(error.to_string().contains("AccessDenied"), "{error}");
    world.server.mend();
    let expired = Wrong::Refused { status: 401, code: "", retry_after: None };
    world.server.break_on(fault(Call::Put, 0, usize::MAX, expired));
    let error = world.copies().copy(&id("denied")).await.unwrap_err();
    assert_eq!(error.class(), Class::Stop(StopReason::Credential), "{error}");
    // After a person replaced the key, it goes on.
    world.server.mend();
    assert_eq!(world.copies().copy(&id("denied")).await.unwrap().objects, 3);
}

pub(crate) async fn a_missing_bucket_is_named() {
    let world = World::new().await;
    let mut settings = settings(&world.server.base_url());
    settings.bucket = "nowhere".into();
    let copies = S3Copies::new(connect(&settings).unwrap(), world.source(), world.ledgers(), ahead());
    let error = copies.copy(&id("none")).await.unwrap_err();
    assert!(
        matches!(error, PortError::NotFound { .. }) && error.to_string().contains("NoSuchBucket"),
        "{error}"
    );
    let source = Source::buckets(access(&world.server.base_url()), vec!["nowhere".into()], ahead()).unwrap();
    let error = world.copies_from(source).copy(&id("none")).await.unwrap_err();
    assert!(error.to_string().contains("list bucket nowhere"), "{error}");
}

pub(crate) async fn objects_that_change_or_vanish_are_told() {
    let (world, copies) = world_with_bucket().await;
    let folder = world.server.folder().join("vouchers");
    // The list takes a while; by then the objects are others.
    world.server.slow_down_by(Duration::from_millis(300));
    let change = async {
        while !world
            .server
            .arrived()
            .iter()
            .any(|it| it.call == Call::List && it.path.starts_with("/vouchers"))
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        std::fs::remove_file(folder.join("a")).unwrap();
        std::fs::write(folder.join("b"), b"another").unwrap();
        std::fs::write(folder.join("large"), noise(5, 18 << 20)).unwrap();
    };
    let backup = id("moving");
    let (copy, ()) = tokio::join!(copies.copy(&backup), change);
    let copy = copy.unwrap();
    assert_eq!((copy.objects, copy.changed, copy.vanished), (2, 2, 1));
    let notes = copies.notes(&id("moving")).await.unwrap().unwrap();
    assert_eq!(notes.vanished, ["vouchers/a"]);
    assert_eq!(notes.changed, ["vouchers/b", "vouchers/large"]);
    copies.verify(&id("moving")).await.unwrap();
}

pub(crate) async fn a_full_disk_is_named_and_the_copy_goes_on_when_there_is_room() {
    // The server writes to a small disk of its own, in a namespace of its own: no rights are needed for that.
    let world = World::new().await;
    world.files(60, 100 << 10);
    let folder = world.home.path().join("small");
    std::fs::create_dir(&folder).unwrap();
    let script = "mount -t tmpfs -o size=3m tmpfs \"$1\" && mkdir \"$1/backups\" && exec \"$0\"";
    let mut server = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(&folder)
        .env(crate::child::SERVE, &folder)
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("`unshare` is there (package util-linux)");
    let mut line = vec![0; 64];
    let length = server.stdout.as_mut().unwrap().read(&mut line).await.unwrap();
    let endpoint = String::from_utf8_lossy(&line[..length]).trim().to_owned();
    assert!(endpoint.starts_with("http://"), "a tmpfs could not be mounted in a user namespace of its own");
    let copies =
        S3Copies::new(connect(&settings(&endpoint)).unwrap(), world.source(), world.ledgers(), ahead());
    let error = copies.copy(&id("full")).await.unwrap_err();
    assert!(error.to_string().contains("it has no room left"), "{error}");
    assert_eq!(error.class(), Class::Permanent);
    assert_eq!(copies.find(&id("full")).await.unwrap(), None);
    // Somebody gives it room.
    let room = Command::new("nsenter")
        .args(["--user", "--mount", "--preserve-credentials", "--target", &server.id().unwrap().to_string()])
        .args(["mount", "-o", "remount,size=64m"])
        .arg(&folder)
        .status();
    assert!(room.await.unwrap().success());
    assert_eq!(copies.copy(&id("full")).await.unwrap().objects, 60);
    copies.verify(&id("full")).await.unwrap();
}
