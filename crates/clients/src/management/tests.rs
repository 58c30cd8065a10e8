use allclear_core::ports::ProjectHost as _;
use allclear_core::project::{ProjectService, ProjectStatus};

use super::*;
use crate::fake;

/// The client of a project `ref` at a place.
fn at(base: &str) -> Management {
    Management::new(fake::http(Service::SupabaseManagement, base), "ref".to_owned(), BTreeMap::new())
}

#[tokio::test]
async fn a_service_that_the_host_says_nothing_of_is_not_taken_for_healthy() {
    for (rows, service_left_out) in [("db rest auth storage", None), ("db auth storage", Some("rest"))] {
        let rows: Vec<serde_json::Value> = rows
            .split(' ')
            .map(|name| json!({ "name": name, "healthy": false, "status": "ACTIVE_HEALTHY" }))
            .collect();
        let base = fake::serve(move |asked| {
            let legal = asked.head.contains("services=db&services=rest&services=auth&services=storage");
            fake::json(if legal { 200 } else { 400 }, "", &serde_json::Value::from(rows.clone()).to_string())
        })
        .await;
        let health = at(&base).health().await;
        match service_left_out {
            None => {
                let health = health.unwrap();
                assert_eq!(health[1].service, ProjectService::Rest);
                assert!(health.iter().all(allclear_core::project::ServiceHealth::is_healthy), "{health:?}");
            }
            Some(name) => {
                let error = health.unwrap_err();
                assert!(
                    matches!(error, PortError::Malformed { .. }) && error.to_string().contains(name),
                    "{error}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_status_that_we_have_no_word_for_is_kept_and_is_no_health() {
    for (word, status) in
        [("INACTIVE", ProjectStatus::Paused), ("NAPPING", ProjectStatus::Other("NAPPING".into()))]
    {
        let base = fake::serve(move |_| fake::json(200, "", &json!({ "status": word }).to_string())).await;
        let found = at(&base).status().await.unwrap();
        assert_eq!(found, status);
        assert!(found.advice().is_some(), "{found}");
    }
}

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
    let management = at("http://127.0.0.1:1");
    assert!(management.check_slug("voucher-preview").is_ok());
    assert!(management.check_slug("x' or '1'='1").is_err());
    assert!(management.check_slug("../secrets").is_err());
}
