//! The platform's database in small or large, for drills and tests: its tables, roles and grants as a Supabase project has them,
//! and made-up rows. It goes into a [`Cluster`] of our own and nowhere else.

use crate::cluster::Cluster;
use crate::database::DatabaseError;

/// Roles, the schema `auth`, and the default grants that a Supabase project comes with.
const PROJECT: &str = include_str!("project.sql");

/// The platform's tables in `public`.
const TABLES: &str = include_str!("tables.sql");

/// Made-up rows; `ROWS` stands for how many all large tables have together.
const ROWS: &str = include_str!("rows.sql");

/// A database like a new Supabase project: roles, `auth`, an empty `public`.
pub async fn project(cluster: &Cluster, database: &str) -> Result<(), DatabaseError> {
    cluster.run("postgres", &format!("CREATE DATABASE \"{database}\"")).await?;
    // Roles belong to the cluster: two databases that are made at once would both create them.
    cluster.run(database, &format!("SELECT pg_advisory_lock(20261125); {PROJECT}")).await?;
    Ok(())
}

/// The platform's tables without rows.
pub async fn tables(cluster: &Cluster, database: &str) -> Result<(), DatabaseError> {
    cluster.run(database, TABLES).await.map(drop)
}

/// About this many rows over ten large tables, and a few in the small ones. The same number gives the same rows.
pub async fn rows(cluster: &Cluster, database: &str, rows: u64) -> Result<(), DatabaseError> {
    cluster.run(database, &ROWS.replace("ROWS", &rows.to_string())).await.map(drop)
}
