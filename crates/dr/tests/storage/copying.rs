//! What a copy does when nothing goes wrong.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear_core::ports::ObjectCopies as _;
use allclear_core::recovery::{Progress, Watcher};
use allclear_dr::storage::{S3Copies, Source};
use allclear_sandbox::s3::Call;

use crate::world::{Ahead, World, ahead, id, noise};

/// A name of 1,024 bytes, as long as S3 takes them, in folders that a disk takes.
fn long_name() -> String {
    let folder = format!("{}/", "n".repeat(200));
    let mut name = folder.repeat(5);
    name.push_str(&"e".repeat(1_024 - name.len()));
    name
}

pub(crate) async fn every_object_arrives_with_its_checksum_and_its_odd_name() {
    let world = World::new().await;
    let long = long_name();
    let odd = [
        "vouchers/ leading and trailing ",
        "vouchers/a..b/...",
        "vouchers/line\nbreak\ttab\u{1}",
        "vouchers/ünï/日本/🦀.png",
        "vouchers/%41+&?#<>\"'\\",
        "vouchers/empty",
        &format!("docs/{long}"),
    ];
    for (n, name) in odd.iter().enumerate() {
        let content = if name.ends_with("empty") { Vec::new() } else { noise(n as u64, 1_000 + n) };
        world.file(name, &content);
    }
    // A piece of a part, exactly one part, and one byte over the limit of small ones.
    world.file("docs/parts.bin", &noise(90, (16 << 20) + 5));
    world.file("docs/limit.bin", &noise(91, 8 << 20));
    world.file("docs/over.bin", &noise(92, (8 << 20) + 1));
    let copies = world.copies();
    let copy = copies.copy(&id("odd")).await.unwrap();
    assert_eq!((copy.objects, copy.uploaded), (10, 10));
    assert_eq!(copy.destination, "s3://backups/supabase/odd/storage");
    assert_eq!(copies.verify(&id("odd")).await.unwrap().bytes, copy.bytes);
    let manifest =
        std::fs::read_to_string(world.server.folder().join("backups/supabase/odd/storage/manifest.jsonl"));
    let manifest = manifest.unwrap();
    for name in odd {
        let (bucket, name) = name.split_once('/').unwrap();
        let line = format!("{{\"bucket\":\"{bucket}\",\"name\":{},", serde_json::to_string(name).unwrap());
        assert!(manifest.contains(&line), "{name:?} is not in the manifest");
    }
    assert_eq!(copies.find(&id("odd")).await.unwrap().unwrap().objects, 10);
    assert_eq!(copies.find(&id("another")).await.unwrap(), None);
}

pub(crate) async fn odd_keys_of_a_bucket_arrive_under_their_own_names() {
    // A folder cannot hold these names, and the server over a folder neither; moto can.
    let moto = crate::moto::start().await;
    let keys = ["/leading", "a//b", "a/../b", "./c", " d ", "ü&<>"];
    let put = "import sys, json, urllib.request as u, urllib.parse as p, http.client as h\n\
        url = p.urlparse(sys.argv[1]); c = h.HTTPConnection(url.netloc)\n\
        for key in [''] + json.loads(sys.argv[2]):\n\
        \x20   c.request('PUT', '/odd' + ('/' + p.quote(key) if key else ''), body=key.encode())\n\
        \x20   r = c.getresponse(); r.read(); assert r.status == 200, (key, r.status)\n";
    let made = std::process::Command::new("python3")
        .args(["-c", put, &moto.endpoint, &serde_json::to_string(&keys).unwrap()])
        .status();
    assert!(made.unwrap().success());
    let world = World::new().await;
    let source = Source::buckets(crate::world::access(&moto.endpoint), vec!["odd".into()], ahead()).unwrap();
    let copies = world.copies_from(source);
    let copy = copies.copy(&id("odd")).await.unwrap();
    assert_eq!(copy.objects, keys.len() as u64);
    copies.verify(&id("odd")).await.unwrap();
    let manifest =
        std::fs::read_to_string(world.server.folder().join("backups/supabase/odd/storage/manifest.jsonl"));
    let manifest = manifest.unwrap();
    for key in keys {
        // Each object's content is its key, so its checksum tells that the right one was read.
        let sha256 = sha256_hex(key.as_bytes());
        let line = format!(
            "{{\"bucket\":\"odd\",\"name\":{},\"size\":{},\"sha256\":\"{sha256}\"",
            serde_json::to_string(key).unwrap(),
            key.len()
        );
        assert!(manifest.contains(&line), "{key:?}: {line}\n{manifest}");
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    use std::fmt::Write as _;
    sha2::Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(crate) async fn nothing_is_uploaded_twice_and_each_manifest_is_whole() {
    let world = World::new().await;
    world.files(200, 500);
    world.file("docs/large.bin", &noise(1, 20 << 20));
    // The same content under two names is one object.
    world.file("vouchers/twin", &noise(7, 500));
    let copies = world.copies();
    let first = copies.copy(&id("first")).await.unwrap();
    assert_eq!((first.objects, world.uploads().len()), (202, 201));
    world.server.forget();
    std::fs::remove_file(world.source_folder().join("vouchers/00001.png")).unwrap();
    world.file("vouchers/00002.png", &noise(1_000, 500));
    world.file("vouchers/renamed.png", &noise(1, 500));
    let second = copies.copy(&id("second")).await.unwrap();
    assert_eq!((second.objects, second.uploaded), (202, 1), "only what is new by content");
    assert_eq!(world.uploads().len(), 1);
    assert_eq!(world.succeeded(Call::PutPart), 0);
    // Both are whole, though they share nearly everything.
    for backup in ["first", "second"] {
        assert!(copies.find(&id(backup)).await.unwrap().is_some());
        copies.verify(&id(backup)).await.unwrap();
    }
    // Another source folder with the same contents: everything is read, nothing is uploaded.
    world.server.forget();
    let moved = world.home.path().join("moved");
    std::fs::create_dir_all(moved.join("vouchers")).unwrap();
    std::fs::write(moved.join("vouchers/any name"), noise(3, 500)).unwrap();
    let source = Source::folder(moved, vec!["vouchers".into()], ahead());
    let third = world.copies_from(source).copy(&id("third")).await.unwrap();
    assert_eq!((third.objects, third.uploaded), (1, 0));
}

pub(crate) async fn an_empty_source_is_refused_when_the_last_copy_had_objects() {
    let world = World::new().await;
    let copies = world.copies();
    // The first of all may be empty.
    assert_eq!(copies.copy(&id("a-none")).await.unwrap().objects, 0);
    world.files(3, 10);
    copies.copy(&id("b-three")).await.unwrap();
    std::fs::remove_dir_all(world.source_folder().join("vouchers")).unwrap();
    let error = copies.copy(&id("c-gone")).await.unwrap_err().to_string();
    assert!(
        error.contains("folder") && error.contains("vouchers"),
        "a missing folder is no empty one: {error}"
    );
    std::fs::create_dir(world.source_folder().join("vouchers")).unwrap();
    let error = copies.copy(&id("c-gone")).await.unwrap_err().to_string();
    assert!(error.contains("the copy b-three has 3 objects"), "{error}");
    assert_eq!(copies.find(&id("c-gone")).await.unwrap(), None);
    assert!(copies.find(&id("b-three")).await.unwrap().is_some());
}

pub(crate) async fn a_copy_never_deletes_anything() {
    let world = World::new().await;
    world.files(20, 10);
    world.file("docs/large.bin", &noise(1, 9 << 20));
    let copies = world.copies();
    copies.copy(&id("one")).await.unwrap();
    let before = world.stored();
    std::fs::remove_file(world.source_folder().join("docs/large.bin")).unwrap();
    world.file("vouchers/00000.png", b"another");
    copies.copy(&id("two")).await.unwrap();
    copies.copy(&id("two")).await.unwrap();
    let after = world.stored();
    assert!(before.iter().all(|file| after.contains(file)));
    let deletes =
        world.server.arrived().into_iter().filter(|it| matches!(it.call, Call::Delete | Call::AbortUpload));
    assert_eq!(deletes.count(), 0);
}

#[derive(Default)]
struct Heard(Mutex<Vec<Progress>>);

impl Watcher for Heard {
    fn tell(&self, progress: &Progress) {
        self.0.lock().unwrap().push(progress.clone());
    }
}

pub(crate) async fn progress_is_told_and_ends_with_everything_done() {
    let world = World::new().await;
    world.files(100, 1_000);
    world.file("docs/large.bin", &noise(1, 20 << 20));
    world.server.slow_down_by(Duration::from_millis(30));
    let heard = Arc::new(Heard::default());
    let copies = world.copies().watched_by(Arc::<Heard>::clone(&heard));
    let copy = copies.copy(&id("watched")).await.unwrap();
    let heard = heard.0.lock().unwrap();
    let last = heard.last().unwrap();
    assert_eq!((last.items, last.items_of), (101, Some(101)));
    assert_eq!((last.bytes, last.bytes_of), (copy.bytes, Some(copy.bytes)));
    assert!(heard.is_sorted_by_key(|progress| progress.bytes), "it never goes back");
    let most = last.elapsed.as_millis() / 100 + 3;
    assert!(heard.len() as u128 <= most, "{} in {:?}", heard.len(), last.elapsed);
    let phases: Vec<_> = copy.took.iter().map(|took| took.what.as_str()).collect();
    assert_eq!(phases, ["list objects", "copy objects", "write the manifest"]);
}

pub(crate) async fn a_young_file_is_read_again_and_not_believed_unchanged() {
    let world = World::new().await;
    world.file("vouchers/young", b"first content");
    world.file("docs/young", &noise(1, 9 << 20));
    // Right now: whatever is written within the same tick of the clock has the same times.
    let source = || {
        Source::folder(
            world.source_folder(),
            vec!["vouchers".into(), "docs".into()],
            Arc::new(Ahead(Duration::ZERO)),
        )
    };
    let copies = |clock| S3Copies::new(world.bucket(), source(), world.ledgers(), clock);
    copies(ahead()).copy(&id("one")).await.unwrap();
    world.server.forget();
    let again = copies(ahead()).copy(&id("two")).await.unwrap();
    // The small one is found by its content; the large one cannot be, and goes up again.
    assert_eq!(again.uploaded, 1);
    copies(ahead()).verify(&id("two")).await.unwrap();
}

pub(crate) async fn a_whole_copy_is_left_as_it_is() {
    let world = World::new().await;
    world.files(5, 10);
    let copies = world.copies();
    let copy = copies.copy(&id("one")).await.unwrap();
    world.files(9, 11);
    world.server.forget();
    let again = copies.copy(&id("one")).await.unwrap();
    assert_eq!((again.objects, &again.manifest_sha256), (5, &copy.manifest_sha256));
    assert_eq!(world.succeeded(Call::Put), 0);
}
