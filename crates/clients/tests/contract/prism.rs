//! Prism, a server that answers as an OpenAPI description says and refuses what it does not allow. It comes from npm.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::npm;

const VERSION: &str = "5.16.0";
/// It has taken 14 seconds on a small machine.
const START: Duration = Duration::from_mins(2);

/// A running Prism. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Prism {
    child: Child,
    pub(crate) base: String,
    spec: PathBuf,
    log: PathBuf,
}

impl Prism {
    /// Serves a description on a free loopback port.
    pub(crate) fn serve(name: &str, spec: &Value) -> Result<Self, String> {
        Self::start(name, spec, None)
    }

    /// Stands before another server: a request or an answer of it that breaks the description becomes an error.
    pub(crate) fn before(name: &str, spec: &Value, server: &str) -> Result<Self, String> {
        Self::start(name, spec, Some(server))
    }

    fn start(name: &str, spec: &Value, server: Option<&str>) -> Result<Self, String> {
        let program = npm::installed(
            "@stoplight/prism-cli",
            VERSION,
            "node_modules/@stoplight/prism-cli/dist/index.js",
        )?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let file = folder.join(format!("{name}-{}.json", std::process::id()));
        let log = folder.join(format!("{name}-{}.log", std::process::id()));
        fs::write(&file, spec.to_string()).map_err(|error| error.to_string())?;
        let port = free_port().map_err(|error| error.to_string())?;
        let out = File::create(&log).map_err(|error| error.to_string())?;
        let child = Command::new("node")
            .arg(program)
            .args(server.map_or(&["mock"][..], |_| &["proxy", "--errors"]))
            .args(["-h", "127.0.0.1", "-p", &port.to_string()])
            .arg(&file)
            .args(server)
            .stdin(Stdio::null())
            .stderr(out.try_clone().map_err(|error| error.to_string())?)
            .stdout(out)
            .spawn()
            .map_err(|error| format!("node cannot be started: {error}"))?;
        let mut prism = Self { child, base: format!("http://127.0.0.1:{port}"), spec: file, log };
        prism.wait_for(port)?;
        Ok(prism)
    }

    fn wait_for(&mut self, port: u16) -> Result<(), String> {
        let step = Duration::from_millis(100);
        for _ in 0..START.as_millis() / step.as_millis() {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("Prism ended with {status}:\n{}", self.said()));
            }
            std::thread::sleep(step);
        }
        Err(format!("Prism did not start within {START:?}:\n{}", self.said()))
    }

    /// What it logged: which part of the contract was broken.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A request that no client of ours would make.
    pub(crate) fn raw(&self, method: &str, path: &str, headers: &str, body: &str) -> u16 {
        raw(&self.base, method, path, headers, body)
    }
}

/// The status with which a server answers a request that no client of ours would make.
pub(crate) fn raw(base: &str, method: &str, path: &str, headers: &str, body: &str) -> u16 {
    let authority = base.trim_start_matches("http://");
    let mut socket = TcpStream::connect(authority).expect("the server listens");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n{headers}content-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).expect("the server reads");
    let mut reply = String::new();
    socket.read_to_string(&mut reply).expect("the server answers");
    reply.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("an HTTP status")
}

impl Drop for Prism {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.spec);
        let _ = fs::remove_file(&self.log);
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
