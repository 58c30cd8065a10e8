//! The child process: copies once, and says what it took.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use allclear_core::ports::ObjectCopies as _;
use allclear_dr::storage::{S3Copies, Source, connect};
use allclear_sandbox::S3Server;
use tokio::process::{Child, Command};

use crate::world::{World, ahead, id, settings};

/// Set for a child: `endpoint|source folder|ledgers|backup`.
pub(crate) const JOB: &str = "ALLCLEAR_TEST_COPY";

/// Set for a child that serves a folder: which.
pub(crate) const SERVE: &str = "ALLCLEAR_TEST_SERVE";

/// Serves until it is killed.
pub(crate) async fn serve(folder: &OsStr) -> ExitCode {
    let server = S3Server::start(Path::new(folder), 0).await.unwrap();
    println!("{}", server.base_url());
    std::future::pending().await
}

pub(crate) async fn work(job: &OsStr) -> ExitCode {
    let job = job.to_str().unwrap().to_owned();
    let mut words = job.split('|');
    let mut word = || words.next().unwrap();
    let bucket = connect(&settings(word())).unwrap();
    let source = Source::folder(word(), vec!["vouchers".into(), "docs".into()], ahead());
    let copies = S3Copies::new(bucket, source, Path::new(word()).to_owned(), ahead());
    match copies.copy(&id(word())).await {
        Ok(copy) => {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
            println!("peak {} objects {} uploaded {}", peak.trim(), copy.objects, copy.uploaded);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn start(world: &World, backup: &str) -> Child {
    let job = [
        world.server.base_url(),
        world.source_folder().display().to_string(),
        world.ledgers().display().to_string(),
        backup.to_owned(),
    ];
    Command::new(std::env::current_exe().unwrap())
        .env(JOB, job.join("|"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}
