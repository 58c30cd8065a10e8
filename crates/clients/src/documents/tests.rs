use allclear_core::ports::Documents as _;

use super::*;

fn folder() -> (tempfile::TempDir, DocumentFolder) {
    let dir = tempfile::tempdir().unwrap();
    let documents = DocumentFolder::at(dir.path().to_path_buf());
    (dir, documents)
}

#[tokio::test]
async fn a_document_is_written_with_its_folders_and_read_back() {
    let (_dir, documents) = folder();
    let path = "docs/incidents/templates/status-page.md";
    assert_eq!(documents.read(path).await.unwrap(), None);
    documents.write(path, None, "one").await.unwrap();
    assert_eq!(documents.read(path).await.unwrap().as_deref(), Some("one"));
    documents.write(path, Some("one".to_owned()), "two").await.unwrap();
    assert_eq!(documents.read(path).await.unwrap().as_deref(), Some("two"));
}

#[tokio::test]
async fn what_somebody_edited_meanwhile_is_not_overwritten() {
    let (dir, documents) = folder();
    documents.write("list.md", None, "as read").await.unwrap();
    fs::write(dir.path().join("list.md"), "edited").unwrap();
    let error = documents.write("list.md", Some("as read".to_owned()), "ours").await.unwrap_err();
    assert!(error.to_string().contains("somebody changed it"), "{error}");
    let error = documents.write("list.md", None, "ours").await.unwrap_err();
    assert!(error.to_string().contains("somebody changed it"), "{error}");
    assert_eq!(fs::read_to_string(dir.path().join("list.md")).unwrap(), "edited");
}

#[tokio::test]
async fn a_path_stays_below_the_folder() {
    let (dir, documents) = folder();
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
    for path in ["", "../x", "/etc/passwd", "a/../../x", "./x", "link/x", "link/new/x"] {
        let error = documents.write(path, None, "x").await.unwrap_err();
        assert!(matches!(error, PortError::Rejected { .. }), "{path}: {error}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}
