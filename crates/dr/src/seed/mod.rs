//! The platform's database in small or large, for drills and tests: its tables, roles and grants as a Supabase project has them,
//! and made-up rows. It goes into a [`Cluster`] of our own and nowhere else.

use crate::cluster::Cluster;
use crate::database::DatabaseError;

/// Supabase's roles for requests.
const ROLES: &str = include_str!("roles.sql");

/// The schema `auth`, and the grants that a Supabase project comes with.
const PROJECT: &str = include_str!("project.sql");

/// The platform's tables in `public`.
const TABLES: &str = include_str!("tables.sql");

/// Made-up rows; `ROWS` stands for how many all large tables have together.
const ROWS: &str = include_str!("rows.sql");

/// A database like a new Supabase project: roles, `auth`, an empty `public`.
pub async fn project(cluster: &Cluster, database: &str) -> Result<(), DatabaseError> {
    cluster.run("postgres", &format!("CREATE DATABASE \"{database}\"")).await?;
    // Where the lock is, all databases meet: an advisory lock belongs to one database.
    cluster.run("postgres", ROLES).await?;
    cluster.run(database, PROJECT).await.map(drop)
}

/// The platform's tables without rows.
pub async fn tables(cluster: &Cluster, database: &str) -> Result<(), DatabaseError> {
    cluster.run(database, TABLES).await.map(drop)
}

/// About this many rows over ten large tables, and a few in the small ones. The same number gives the same rows.
pub async fn rows(cluster: &Cluster, database: &str, rows: u64) -> Result<(), DatabaseError> {
    cluster.run(database, &ROWS.replace("ROWS", &rows.to_string())).await.map(drop)
}
