//! PostgREST over the database of `PGRST_DB_URI`, on a free port of this machine that is its first and only line of output.
//! Whoever started it holds its standard input: it ends with that, also when they are killed.

use postrust_core::AppConfig;
use postrust_server::lenient_uri::LenientListener;
use postrust_server::{Host, build};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let served = build(AppConfig::try_from_env()?, Host::SERVER).await?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    let mut held = tokio::io::stdin();
    tokio::select! {
        ended = axum::serve(LenientListener(listener), served.router) => Ok(ended?),
        _ = held.read_u8() => Ok(()),
    }
}
