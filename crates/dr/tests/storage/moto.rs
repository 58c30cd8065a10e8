//! A second S3 server, by other people in another language: moto's.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

const PROGRAM: &str = "import time\nfrom moto.server import ThreadedMotoServer\n\
s = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)\ns.start()\n\
print(*s.get_host_and_port(), flush=True)\nwhile True: time.sleep(60)\n";

pub(crate) struct Moto {
    pub(crate) endpoint: String,
    _process: Child,
}

pub(crate) async fn start() -> Moto {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/moto/bin/python");
    assert!(
        python.exists(),
        "the second S3 server is not there. `cargo xtask test` installs it; by hand it is\n\
         python3 -m venv target/moto && target/moto/bin/pip install 'moto[server]'"
    );
    let mut process = Command::new(python)
        .args(["-c", PROGRAM])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    let (host, port) = line.trim().split_once(' ').expect("moto says where it listens");
    Moto { endpoint: format!("http://{host}:{port}"), _process: process }
}
