//! Everything that must not become a target, and that production never hears a statement that changes anything.

use allclear_core::error::{Class, StopReason};
use allclear_core::ports::StagingDatabase as _;
use allclear_dr::database::{DatabaseError, Databases};

use crate::world::{Exercise, assert_no_ddl_on_production, clusters};

const PRODUCTION: &str = "abcdefghijklmnopqrst";
const OTHER: &str = "zyxwvutsrqponmlkjihg";

/// The same database under another role's name and another spelling of the host.
fn alias(of: &str, password: &str, port: u16, project: &str) -> allclear_dr::database::DatabaseUrl {
    format!("postgres://postgres.{project}:{password}@localhost:{port}/{of}").parse().unwrap()
}

async fn role(exercise: &Exercise, project: &str) {
    let sql = format!(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'postgres.{project}') THEN \
         CREATE ROLE \"postgres.{project}\" SUPERUSER LOGIN PASSWORD 'pooler'; END IF; END $$"
    );
    exercise.staging_says(&sql).await;
    clusters().production.run(&exercise.name, &sql).await.unwrap();
}

/// What speaks against it, and that a restore is refused for that, with nothing touched.
async fn refused(exercise: &Exercise, databases: &Databases) -> String {
    let objections = databases.compare().await.unwrap().objections.join("; ");
    assert!(!objections.is_empty());
    let mut wrong = Exercise::not_enrolled(&format!("{}_bucket", exercise.name)).await;
    wrong.databases = databases.clone();
    let error = wrong.staging().restore(&Exercise::id()).await.unwrap_err();
    assert_eq!(error.class(), Class::Stop(StopReason::Policy), "{error}");
    let enrolled = databases.enrol().await;
    let missing_only = objections.starts_with("the target has no marker") && !objections.contains("; the");
    assert_eq!(enrolled.is_ok(), missing_only || objections.contains("marker was made"), "{objections}");
    assert_no_ddl_on_production();
    objections
}

#[tokio::test]
async fn swapped_urls_are_refused() {
    let exercise = Exercise::with_rows("swapped", 100).await;
    let Databases { source, target, .. } = exercise.databases.clone();
    let swapped = Databases { source: target, target: source, ..exercise.databases.clone() };
    let objections = refused(&exercise, &swapped).await;
    assert!(objections.contains("the two URLs are swapped"), "{objections}");
    assert_eq!(exercise.production_says("SELECT count(*) FROM public.vouchers").await, "8");
}

#[tokio::test]
async fn the_same_url_twice_is_refused() {
    let exercise = Exercise::with_rows("same_twice", 100).await;
    let twice = Databases { target: exercise.databases.source.clone(), ..exercise.databases.clone() };
    let objections = refused(&exercise, &twice).await;
    assert!(objections.contains("are the same database"), "{objections}");
    assert_eq!(exercise.production_says("SELECT count(*) FROM public.vouchers").await, "8");
}

#[tokio::test]
async fn another_database_or_an_alias_on_productions_cluster_is_refused() {
    let exercise = Exercise::with_rows("alias", 100).await;
    let production = &clusters().production;
    let beside = Databases { target: production.url("postgres"), ..exercise.databases.clone() };
    assert!(refused(&exercise, &beside).await.contains("are on one cluster"));
    role(&exercise, OTHER).await;
    let pooler = alias("alias", "pooler", production.port(), OTHER);
    let pooler = Databases { target: pooler, ..exercise.databases.clone() };
    assert!(pooler.compare().await.unwrap().objections.join(";").contains("are on one cluster"));
}

#[tokio::test]
async fn the_production_project_and_an_unexpected_one_are_refused() {
    let exercise = Exercise::with_rows("project", 100).await;
    role(&exercise, PRODUCTION).await;
    let target = alias("project", "pooler", clusters().staging.port(), PRODUCTION);
    let production = Databases {
        target: target.clone(),
        production_project: Some(PRODUCTION.to_owned()),
        ..exercise.databases.clone()
    };
    let objections = refused(&exercise, &production).await;
    assert!(objections.contains("is the production project"), "{objections}");
    let other = Databases { target, staging_project: Some(OTHER.to_owned()), ..exercise.databases.clone() };
    let check = other.compare().await.unwrap();
    assert_eq!(check.confirmation, PRODUCTION);
    assert!(check.objections.join(";").contains("staging is configured as"), "{:?}", check.objections);
    exercise.assert_staging_untouched().await;
}

#[tokio::test]
async fn a_missing_and_a_stale_marker_are_refused() {
    let exercise = Exercise::not_enrolled("markers").await;
    let check = exercise.databases.compare().await.unwrap();
    assert!(check.objections.join(";").contains("no marker"), "{:?}", check.objections);
    assert!(matches!(exercise.databases.admit().await, Err(DatabaseError::NotStaging { .. })));
    assert_eq!(exercise.databases.enrol().await.unwrap().objections, Vec::<String>::new());
    exercise.databases.admit().await.unwrap();
    exercise.staging_says("UPDATE allclear.target SET system_identifier = '1'").await;
    let check = exercise.databases.compare().await.unwrap();
    assert!(check.objections.join(";").contains("marker was made for another"), "{:?}", check.objections);
    exercise.databases.enrol().await.unwrap();
    exercise.databases.admit().await.unwrap();
}

#[tokio::test]
async fn a_target_that_cannot_take_a_restore_is_refused_before_anything_is_read() {
    let exercise = Exercise::with_rows("obstacles", 100).await;
    let objections = async || exercise.databases.compare().await.unwrap().objections.join("; ");
    assert_eq!(objections().await, "");

    exercise.staging_says("CREATE EXTENSION pgcrypto SCHEMA public").await;
    assert!(objections().await.contains("the extension `pgcrypto` stands in the target's schema `public`"));
    exercise.staging_says("DROP EXTENSION pgcrypto").await;

    exercise.staging_says("ALTER DATABASE obstacles SET default_transaction_read_only = on").await;
    assert!(objections().await.contains("read only"));
    exercise
        .staging_says(
            "BEGIN READ WRITE; ALTER DATABASE obstacles RESET default_transaction_read_only; COMMIT",
        )
        .await;

    exercise.staging_says("CREATE ROLE weak LOGIN PASSWORD 'weak'; GRANT USAGE ON SCHEMA allclear TO weak; GRANT SELECT ON allclear.target TO weak").await;
    let weak = format!("postgres://weak:weak@127.0.0.1:{}/obstacles", clusters().staging.port());
    let weak = Databases { target: weak.parse().unwrap(), ..exercise.databases.clone() };
    let said = weak.compare().await.unwrap().objections.join("; ");
    assert!(said.contains("may not create schemas") && said.contains("does not own"), "{said}");
}

#[tokio::test]
async fn two_restores_into_one_target_exclude_each_other() {
    let exercise = Exercise::with_rows("exclusive", 100).await;
    let held = exercise.databases.admit().await.unwrap();
    let second = tokio::time::timeout(std::time::Duration::from_secs(2), exercise.databases.admit()).await;
    assert!(second.is_err(), "the second one waits");
    drop(held);
    exercise.databases.admit().await.unwrap();
}
