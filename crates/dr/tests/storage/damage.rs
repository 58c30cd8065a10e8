//! Copies that somebody damaged.

use allclear_core::Class;
use allclear_core::ports::ObjectCopies as _;

use crate::world::{World, id, noise};

pub(crate) async fn damaged_objects_are_named_and_put_back_by_the_next_copy() {
    let world = World::new().await;
    world.files(10, 100);
    world.file("docs/large.bin", &noise(1, 9 << 20));
    let copies = world.copies();
    copies.copy(&id("one")).await.unwrap();
    let large = world.stored().into_iter().find(|file| file.metadata().unwrap().len() > 1_000).unwrap();
    let small: Vec<_> = world.stored().into_iter().filter(|file| *file != large).collect();

    // Another content of the same size: a list cannot tell, reading back does.
    let good = std::fs::read(&small[0]).unwrap();
    let mut bad = good.clone();
    bad[50] ^= 1;
    std::fs::write(&small[0], &bad).unwrap();
    assert!(copies.find(&id("one")).await.unwrap().is_some());
    let error = copies.verify(&id("one")).await.unwrap_err();
    assert!(error.to_string().contains("1 of 11 objects differ"), "{error}");
    assert!(error.to_string().contains("has another content"), "{error}");
    assert_eq!(error.class(), Class::Permanent);
    std::fs::write(&small[0], &good).unwrap();

    // Truncated, and gone.
    std::fs::write(&small[1], &std::fs::read(&small[1]).unwrap()[..40]).unwrap();
    std::fs::remove_file(&small[2]).unwrap();
    std::fs::write(&large, b"short").unwrap();
    let error = copies.find(&id("one")).await.unwrap_err().to_string();
    for said in
        ["3 of 11 objects differ", "has 40 bytes instead of 100", "is missing", "docs/large.bin has 5 bytes"]
    {
        assert!(error.contains(said), "{said}: {error}");
    }
    assert_eq!(copies.copy(&id("one")).await.unwrap_err().to_string(), error);
    assert!(copies.verify(&id("one")).await.is_err());

    // The next copy trusts the list and not the last manifest, and puts back what is damaged for all.
    let two = copies.copy(&id("two")).await.unwrap();
    assert_eq!((two.objects, two.uploaded), (11, 3));
    copies.verify(&id("two")).await.unwrap();
}

pub(crate) async fn a_damaged_manifest_is_named_and_does_not_stop_the_next_copy() {
    let world = World::new().await;
    world.files(10, 100);
    let copies = world.copies();
    copies.copy(&id("one")).await.unwrap();
    let path = world.server.folder().join("backups/supabase/one/storage/manifest.jsonl");
    let text = std::fs::read(&path).unwrap();
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    let error = copies.find(&id("one")).await.unwrap_err().to_string();
    assert!(error.contains("the manifest is damaged"), "{error}");
    let two = copies.copy(&id("two")).await.unwrap();
    assert_eq!((two.objects, two.uploaded), (10, 0), "read again, and found by content");
}
