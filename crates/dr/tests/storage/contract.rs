//! What the copy needs of an S3 server, asked of two that have nothing in common.

use allclear_core::ports::ObjectCopies as _;
use allclear_dr::storage::{Bucket, S3Copies, Source, connect, port_error};
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutMode, PutOptions, PutPayload};

use crate::moto;
use crate::world::{BUCKET, World, access, ahead, id, noise, settings};

pub(crate) async fn ours_does_what_the_copy_needs() {
    let world = World::new().await;
    let endpoint = world.server.base_url();
    needs(world.bucket(), &endpoint, &world).await;
}

pub(crate) async fn another_server_does_what_the_copy_needs() {
    let moto = moto::start().await;
    let settings = settings(&moto.endpoint);
    // moto makes a bucket on a PUT of any key that it knows, signed or not.
    let made = std::process::Command::new("python3")
        .args(["-c", "import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1], method='PUT'))"])
        .arg(format!("{}/{}", moto.endpoint, settings.bucket))
        .status();
    assert!(made.unwrap().success(), "moto makes a bucket");
    let world = World::new().await;
    needs(connect(&settings).unwrap(), &moto.endpoint, &world).await;
}

async fn needs(bucket: Bucket, endpoint: &str, world: &World) {
    let store = bucket.object_store();
    let path = Path::parse("supabase/a file with ü, spaces & +.txt").unwrap();
    store.put(&path, PutPayload::from_static(b"content")).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "content");
    assert_eq!(store.head(&path).await.unwrap().size, 7);

    // Created once.
    let once = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    let again = store.put_opts(&path, PutPayload::from_static(b"other"), once).await;
    let error = port_error("PUT", true, &again.unwrap_err());
    assert_eq!(error.class(), allclear_core::Class::AlreadyDone, "{error}");
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "content");

    // What is not there is not there.
    let missing = store.get(&Path::parse("supabase/nowhere").unwrap()).await.unwrap_err();
    assert!(matches!(missing, object_store::Error::NotFound { .. }), "{missing}");

    // Lists of more than one page, multipart, checksums, and everything read back.
    world.files(1_050, 40);
    let large = noise(7, 17 << 20);
    world.file("docs/large.bin", &large);
    let copies = S3Copies::new(bucket.clone(), world.source(), world.ledgers(), ahead());
    let copy = copies.copy(&id("contract")).await.unwrap();
    assert_eq!((copy.objects, copy.uploaded), (1_051, 1_051));
    assert_eq!(copies.find(&id("contract")).await.unwrap().unwrap().manifest_sha256, copy.manifest_sha256);
    assert_eq!(copies.verify(&id("contract")).await.unwrap().objects, 1_051);

    // And read as a source, page by page; what is there already is not uploaded again.
    let source = Source::buckets(access(endpoint), vec![BUCKET.into()], ahead()).unwrap();
    let copies = S3Copies::new(bucket, source, world.ledgers(), ahead());
    let copy = copies.copy(&id("of-the-copy")).await.unwrap();
    // The objects of before, the manifest, and the odd file.
    assert_eq!((copy.objects, copy.uploaded), (1_053, 3), "the large one stands under a name of its own");
    assert!(copies.find(&id("of-the-copy")).await.unwrap().is_some());
}
