use super::*;

#[test]
fn only_a_pinned_bundle_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("index.ts"), "export default {}").unwrap();
    let source = |sha256: &str| BundleSource::Folder {
        folder: folder.path().to_owned(),
        entrypoint: "index.ts".to_owned(),
        sha256: sha256.to_owned(),
    };
    let refused = source("00").load("voucher-preview").unwrap_err().to_string();
    let found = refused.split("its digest is ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert!(refused.contains("00 is pinned"), "{refused}");

    let bundle = source(&found).load("voucher-preview").unwrap();
    assert_eq!((bundle.entrypoint.as_str(), bundle.files.len()), ("index.ts", 1));

    std::fs::write(folder.path().join("index.ts"), "export default { changed: true }").unwrap();
    assert!(
        source(&found).load("voucher-preview").is_err(),
        "what was changed since is not what was reviewed"
    );
}

#[test]
fn both_dialects_name_the_function_and_nothing_else_can_be_named() {
    assert!(
        newer_sql("a-b").contains("/functions/v1/a-b'") && older_sql("a-b").contains("/functions/v1/a-b'")
    );
    let clock: std::sync::Arc<dyn allclear_core::Clock> =
        std::sync::Arc::new(allclear_core::VirtualClock::at(Timestamp::UNIX_EPOCH));
    let rules = crate::http::Rules {
        timeout: std::time::Duration::from_secs(1),
        max_body: 1_000,
        pace: std::time::Duration::ZERO,
    };
    let client = crate::http::client(rules.timeout).unwrap();
    let http = Http::new(client, Service::SupabaseManagement, "http://127.0.0.1:1", rules, clock);
    let management = Management::new(http, "ref".to_owned(), BTreeMap::new());
    assert!(management.check_slug("voucher-preview").is_ok());
    assert!(management.check_slug("x' or '1'='1").is_err());
    assert!(management.check_slug("../secrets").is_err());
}
