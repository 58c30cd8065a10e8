//! The program of `tests/postgrest`: a server that speaks PostgREST, one for each database.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use allclear_dr::cluster::Cluster;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/postgrest/debug/allclear-postgrest");
const HOW_TO_BUILD: &str =
    "cargo build --locked --manifest-path tests/postgrest/Cargo.toml --target-dir target/postgrest";
/// What its tokens are signed with.
const SECRET: &str = "a secret of the tests, of 32 bytes or more";
/// `{"alg":"HS256","typ":"JWT"}` and `{"role":"service_role"}`, signed with the secret.
pub(super) const SERVICE_TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.\
Vd9mM9tZIXnQWaLPHRrQmQlxvsycS9aDcS8LTgv1YA8";

/// A running server; it ends with this.
pub(super) struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// Over a database of the cluster, set up as Supabase does.
    pub(super) fn over(cluster: &Cluster, database: &str) -> Self {
        let (password, port) = (cluster.password(), cluster.port());
        let mut child = Command::new(PROGRAM)
            .env("PGRST_DB_URI", format!("postgres://authenticator:{password}@127.0.0.1:{port}/{database}"))
            .env("PGRST_DB_SCHEMAS", "public")
            .env("PGRST_DB_EXTRA_SEARCH_PATH", "platform")
            .env("PGRST_DB_ANON_ROLE", "anon")
            .env("PGRST_DB_MAX_ROWS", "1000")
            .env("PGRST_DB_POOL", "4")
            .env("PGRST_JWT_SECRET", SECRET)
            // Errors in the database's own words, tables at the root: as PostgREST itself.
            .env("PGRST_COMPAT_MODE", "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{PROGRAM}: {error}; `{HOW_TO_BUILD}` builds it"));
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        assert!(!address.is_empty(), "the server did not start; above it says why");
        Self { child, address: address.trim().to_owned() }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
