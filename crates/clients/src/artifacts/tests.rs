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
