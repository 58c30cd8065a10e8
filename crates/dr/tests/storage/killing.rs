//! Children that are killed, and one that is measured.

use std::collections::{BTreeMap, BTreeSet};
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
    let mut begins = Vec::new();
    for requests in [5, 25, 60, 150, 300, 380, 420] {
        begins.push(world.uploads().len());
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
        everything_answered(&world).await;
    }
    assert!(kills >= 4, "only {kills} children were killed while they worked");
    begins.push(world.uploads().len());
    let output = child::start(&world, "killed").wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let copies = world.copies();
    let copy = copies.find(&id("killed")).await.unwrap().unwrap();
    assert_eq!(copy.objects, 401);
    copies.verify(&id("killed")).await.unwrap();
    // By the server's own log: what had been put before a child began was not put by it again.
    let uploads = world.uploads();
    for begin in begins {
        let (finished, later) = uploads.split_at(begin);
        let repeated: Vec<_> = later.iter().filter(|path| finished.contains(path)).collect();
        assert!(repeated.is_empty(), "finished uploads were repeated: {repeated:?}");
    }
    assert_eq!(uploads.iter().collect::<BTreeSet<_>>().len(), 401);
    assert_eq!(world.succeeded(Call::Delete), 0);
}

/// Requests of a client that was killed still arrive and take effect; a client that begins before they did cannot know.
async fn everything_answered(world: &World) {
    let mut quiet = 0;
    while quiet < 20 {
        quiet = if world.server.under_way() == 0 { quiet + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How many parts of each object were put.
fn parts_of_each(world: &World) -> BTreeMap<String, usize> {
    let mut parts = BTreeMap::new();
    for one in world.server.arrived() {
        if one.call == Call::PutPart && one.status == Some(200) {
            *parts.entry(one.path).or_default() += 1;
        }
    }
    parts
}

pub(crate) async fn a_killed_multipart_upload_goes_on_with_the_parts_that_are_there() {
    let world = World::new().await;
    world.file("docs/large.bin", &noise(1, 80 << 20));
    world.file("docs/other.bin", &noise(2, 80 << 20));
    world.server.slow_down_by(Duration::from_millis(40));
    let mut child = child::start(&world, "parts");
    while parts_of_each(&world).len() < 2 || parts_of_each(&world).into_values().any(|parts| parts < 2) {
        assert!(child.try_wait().unwrap().is_none(), "the child ended too early");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    child.kill().await.unwrap();
    // One of the two is not wanted any more: its upload is ended, so that nobody pays for it.
    std::fs::remove_file(world.source_folder().join("docs/other.bin")).unwrap();
    everything_answered(&world).await;
    let (begun, put) = (world.succeeded(Call::BeginUpload), world.succeeded(Call::PutPart));
    let copies = world.copies();
    let copy = copies.copy(&id("parts")).await.unwrap();
    assert_eq!((copy.objects, copy.uploaded), (1, 1));
    copies.verify(&id("parts")).await.unwrap();
    assert_eq!(world.succeeded(Call::BeginUpload), begun, "it went on with the upload that was begun");
    assert_eq!(world.succeeded(Call::AbortUpload), 1);
    assert!(world.succeeded(Call::PutPart) - put < 10, "parts that were there are not put again");
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
