use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[tokio::test]
async fn a_file_is_whole_or_not_there_and_for_its_owner_only() {
    let folder = std::env::temp_dir().join(format!("allclear-artifacts-{}", std::process::id()));
    let artifacts = ArtifactFolder::at(folder.clone());
    let mut writer = artifacts.create("a.csv").await.unwrap();
    writer.append(b"abc").await.unwrap();
    assert_eq!(artifacts.find("a.csv").await.unwrap(), None);
    let written = writer.finish().await.unwrap();
    assert_eq!(written.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(artifacts.find("a.csv").await.unwrap(), Some(written));
    let mode = fs::metadata(folder.join("a.csv")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_path_is_no_name() {
    let artifacts = ArtifactFolder::at(std::env::temp_dir());
    for name in ["../x", "/etc/passwd", "", ".hidden", "a b"] {
        assert!(artifacts.find(name).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn two_writers_of_one_name_do_not_mix() {
    let folder = std::env::temp_dir().join(format!("allclear-artifacts-two-{}", std::process::id()));
    let artifacts = ArtifactFolder::at(folder.clone());
    let mut first = artifacts.create("a.csv").await.unwrap();
    first.append(b"first,").await.unwrap();
    let mut second = ArtifactFolder::at(folder.clone()).create("a.csv").await.unwrap();
    second.append(b"second").await.unwrap();
    first.append(b"whole").await.unwrap();
    first.finish().await.unwrap();
    assert_eq!(fs::read(folder.join("a.csv")).unwrap(), b"first,whole");
    let last = second.finish().await.unwrap();
    assert_eq!(fs::read(folder.join("a.csv")).unwrap(), b"second");
    assert_eq!(artifacts.find("a.csv").await.unwrap(), Some(last));
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn what_a_writer_gave_up_or_a_killed_one_left_is_removed() {
    let folder = std::env::temp_dir().join(format!("allclear-artifacts-left-{}", std::process::id()));
    let parts = || {
        let names =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains('~')).collect::<Vec<_>>()
    };
    let artifacts = ArtifactFolder::at(folder.clone());
    let given_up = artifacts.create("a.csv").await.unwrap();
    drop(given_up);
    assert!(parts().is_empty(), "{:?}", parts());

    fs::write(folder.join(".a.csv~1-0.part"), "of one that was killed").unwrap();
    fs::write(folder.join(".a.csv.b~1-0.part"), "of another name").unwrap();
    let alive = artifacts.create("a.csv").await.unwrap();
    let second = artifacts.create("a.csv").await.unwrap();
    assert_eq!(parts().len(), 3, "{:?}", parts());
    drop((alive, second));
    assert_eq!(parts(), [".a.csv.b~1-0.part"]);
    fs::remove_dir_all(folder).unwrap();
}
