//! `pg_dump` and `pg_restore`: found by version, run without a secret in their arguments, heard through a redactor.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;
use tokio::io::AsyncReadExt as _;

use super::error::{DatabaseError, Party};
use super::redactor::Redactor;
use super::session::{APPLICATION, LOCK_TIMEOUT, TEXT_OPTIONS};
use super::tether::tethered;
use super::tls::roots_file;
use super::url::{DatabaseUrl, Tls};
use crate::cluster::program_folders;

/// How much of what a program says is kept, from its end.
const KEPT: usize = 16 * 1024;

/// An installed program of Postgres.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    path: PathBuf,
    /// `pg_dump` or `pg_restore`.
    name: &'static str,
    /// As it says itself, e.g. `pg_dump (PostgreSQL) 15.18`.
    pub(crate) version: String,
}

impl Program {
    /// The one of the lowest version that is not older than the server: an older `pg_dump` refuses, a newer one may write
    /// settings that the target does not know.
    pub(crate) fn find(name: &'static str, server_major: u32) -> Result<Self, DatabaseError> {
        let mut best: Option<(u32, Self)> = None;
        for folder in program_folders() {
            let path = folder.join(name);
            let Some((major, version)) = version_of(&path) else { continue };
            if major >= server_major && best.as_ref().is_none_or(|(other, _)| major < *other) {
                best = Some((major, Self { path, name, version }));
            }
            // Nothing is better than the server's own version, and what is in the PATH may be a slow wrapper.
            if major == server_major {
                break;
            }
        }
        best.map(|(_, program)| program).ok_or_else(|| DatabaseError::Program {
            program: name,
            problem: format!("is not installed in version {server_major} or newer"),
            package: format!("postgresql-client-{server_major}"),
        })
    }

    /// Runs it against a server, to its end. What it keeps on this machine is in `folder`.
    pub(crate) async fn run(
        &self,
        folder: &Path,
        at: Option<(&DatabaseUrl, &PasswordFile)>,
        arguments: &[OsString],
        redactor: &Redactor,
    ) -> Result<Vec<u8>, DatabaseError> {
        let failed = |detail: String| DatabaseError::ProgramFailed { program: self.name, detail };
        let mut command = tethered(self.path.as_os_str());
        command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
        if let Some((url, password)) = at {
            command.envs(connection(url, password)?);
        }
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        // Held until the program has ended: its closing is what kills it.
        let _tether = child.stdin.take();
        let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
        let read_out = async {
            let mut text = Vec::new();
            if let Some(out) = &mut out {
                let _ = out.read_to_end(&mut text).await;
            }
            text
        };
        let read_err = async {
            let mut text = Vec::new();
            let mut piece = [0_u8; 4096];
            if let Some(err) = &mut err {
                while let Ok(n @ 1..) = err.read(&mut piece).await {
                    text.extend_from_slice(&piece[..n]);
                    let surplus = text.len().saturating_sub(KEPT);
                    text.drain(..surplus);
                }
            }
            text
        };
        let (out, err, status) = tokio::join!(read_out, read_err, child.wait());
        match status {
            Ok(status) if status.success() => Ok(out),
            Ok(status) => {
                let said = redactor.clean(&String::from_utf8_lossy(&err));
                let said = if said.is_empty() { status.to_string() } else { said };
                Err(DatabaseError::program(self.name, Party::Source, folder, said))
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

fn connection(
    url: &DatabaseUrl,
    password: &PasswordFile,
) -> Result<Vec<(&'static str, OsString)>, DatabaseError> {
    let mut environment: Vec<(&'static str, OsString)> = vec![
        ("PGHOST", url.host().into()),
        ("PGPORT", url.port().to_string().into()),
        ("PGUSER", url.user().into()),
        ("PGDATABASE", url.database().into()),
        ("PGPASSFILE", password.path.clone().into()),
        ("PGAPPNAME", APPLICATION.into()),
        ("PGTZ", "UTC".into()),
        ("PGCONNECT_TIMEOUT", "10".into()),
        (
            "PGOPTIONS",
            format!("-c default_transaction_read_only=on -c lock_timeout={LOCK_TIMEOUT} {TEXT_OPTIONS}")
                .into(),
        ),
    ];
    let (mode, roots) = match url.tls() {
        Tls::Off => ("disable", None),
        Tls::Encrypted => ("require", None),
        Tls::Signed { roots } => ("verify-ca", Some(roots)),
        Tls::Verified { roots } => ("verify-full", Some(roots)),
    };
    environment.push(("PGSSLMODE", mode.into()));
    if let Some(roots) = roots {
        let roots =
            roots_file(roots).map_err(|detail| DatabaseError::Tls { party: Party::Source, detail })?;
        environment.push(("PGSSLROOTCERT", roots.into()));
    }
    Ok(environment)
}

fn version_of(path: &Path) -> Option<(u32, String)> {
    let output =
        std::process::Command::new(path).arg("--version").env_clear().env("LC_ALL", "C").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    let number = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let major = number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    Some((major, text))
}

/// A password where libpq looks for one: a file that nobody else can read, gone when this is dropped.
pub(crate) struct PasswordFile {
    path: PathBuf,
}

impl PasswordFile {
    pub(crate) fn new(folder: &Path, url: &DatabaseUrl) -> Result<Self, DatabaseError> {
        let path = folder.join("pgpass");
        let _ = std::fs::remove_file(&path);
        let password = url.password().expose_secret().replace('\\', "\\\\").replace(':', "\\:");
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(format!("*:*:*:*:{password}\n").as_bytes()));
        written.map_err(|error| DatabaseError::file(&path, &error))?;
        Ok(Self { path })
    }
}

impl Drop for PasswordFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
