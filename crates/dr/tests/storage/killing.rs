//! Children that are killed, and one that is measured.

use std::collections::BTreeSet;
use std::time::Duration;

use allclear_core::ports::ObjectCopies as _;
use allclear_sandbox::s3::Call;

use crate::child;
use crate::world::{World, id, noise};

pub(crate) async fn killed_anywhere_a_copy_resumes_and_repeats_no_finished_upload() {
    let world = World::new().await;
    world.files(400, 2_000);
    world.file("docs/large.bin", &noise(1, 30 << 20));
    world.server.slow_down_by(Duration::from_millis(4));
    // Killed after so many requests: while listing, among small objects, among parts, near the end.
    let mut kills = 0;
    for requests in [5, 25, 60, 150, 300, 380, 420] {
        let mut child = child::start(&world, "killed");
        let begun = world.server.arrived().len();
        while world.server.arrived().len() < begun + requests {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if child.try_wait().unwrap().is_none() {
            kills += 1;
        }
        child.kill().await.unwrap();
    }
    assert!(kills >= 4, "only {kills} children were killed while they worked");
    let output = child::start(&world, "killed").wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let copies = world.copies();
    let copy = copies.find(&id("killed")).await.unwrap().unwrap();
    assert_eq!(copy.objects, 401);
    copies.verify(&id("killed")).await.unwrap();
    // By the server's own log: no object was put twice.
    let uploads = world.uploads();
    let once: BTreeSet<_> = uploads.iter().collect();
    assert_eq!(uploads.len(), once.len(), "a finished upload was repeated");
    assert_eq!(once.len(), 401);
    assert_eq!(world.succeeded(Call::Delete), 0);
}

pub(crate) async fn a_killed_multipart_upload_goes_on_with_the_parts_that_are_there() {
    let world = World::new().await;
    world.file("docs/large.bin", &noise(1, 80 << 20));
    world.file("docs/other.bin", &noise(2, 24 << 20));
    world.server.slow_down_by(Duration::from_millis(40));
    let mut child = child::start(&world, "parts");
    while world.succeeded(Call::PutPart) < 5 {
        assert!(child.try_wait().unwrap().is_none(), "the child ended too early");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    child.kill().await.unwrap();
    // One of the two is not wanted any more: its upload is ended, so that nobody pays for it.
    std::fs::remove_file(world.source_folder().join("docs/other.bin")).unwrap();
    // Requests that were under way still arrive.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = world.succeeded(Call::BeginUpload);
    let copies = world.copies();
    let copy = copies.copy(&id("parts")).await.unwrap();
    assert_eq!((copy.objects, copy.uploaded), (1, 1));
    copies.verify(&id("parts")).await.unwrap();
    assert_eq!(world.succeeded(Call::BeginUpload), begun, "it went on with the upload that was begun");
    assert_eq!(world.succeeded(Call::AbortUpload), 1);
    assert!(world.succeeded(Call::PutPart) < 10 + 3 + 10, "parts that were there are not put again");
}

pub(crate) async fn memory_stays_within_its_budget() {
    let world = World::new().await;
    world.files(2_000, 30 << 10);
    for n in 0..2 {
        world.file(&format!("docs/{n}.bin"), &noise(n, 64 << 20));
    }
    let output = child::start(&world, "memory").wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let kib: u64 = said.split_whitespace().nth(1).unwrap().parse().unwrap();
    println!("peak {} MiB for 2 × 64 MiB and 2,000 × 30 KiB", kib >> 10);
    assert!(kib <= 128 << 10, "{said}");
    assert!(said.contains("objects 2002 uploaded 2002"), "{said}");
}
