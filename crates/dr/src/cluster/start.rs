//! Finding the binaries, and starting a server as somebody who is not root.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Cluster, ClusterError, ClusterOptions};
use crate::database::hex;

/// How long a cluster may take to start on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// Makes the cluster, runs the server, and ends and removes it when the pipe of its owner ends.
const OWNED: &str = r#"umask 077
folder=$1 bin=$2; shift 2
"$bin/initdb" -D "$folder/data" -U postgres -A scram-sha-256 --pwfile="$folder/password" -E UTF8 --no-locale -N \
  >"$folder/log" 2>&1 </dev/null || exit 1
exec 3<&0
"$bin/postgres" -D "$folder/data" "$@" >>"$folder/log" 2>&1 </dev/null 3<&- & server=$!
( read -r _ <&3; kill -QUIT "$server"
  while kill -0 "$server" 2>/dev/null; do sleep 0.05; done
  rm -rf "$folder" ) >/dev/null 2>&1 &
wait "$server"
"#;

/// The same without an owner: the shell ends, the server stays.
const PERSISTENT: &str = r#"umask 077
folder=$1 bin=$2; shift 2
[ -d "$folder/data" ] || "$bin/initdb" -D "$folder/data" -U postgres -A scram-sha-256 --pwfile="$folder/password" \
  -E UTF8 --no-locale -N >"$folder/log" 2>&1 </dev/null || exit 1
"$bin/postgres" -D "$folder/data" "$@" >>"$folder/log" 2>&1 </dev/null &
"#;

/// Folders in which Postgres' programs are looked for, the newest version first.
pub(crate) fn program_folders() -> Vec<PathBuf> {
    let mut folders: Vec<(u32, PathBuf)> = Vec::new();
    for parent in ["/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt"] {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let version = name.rsplit('@').next().and_then(|it| it.parse().ok()).unwrap_or(0);
            folders.push((version, entry.path().join("bin")));
        }
    }
    folders.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    let of_path = std::env::var_os("PATH").unwrap_or_default();
    let of_path: Vec<PathBuf> = std::env::split_paths(&of_path).collect();
    folders.into_iter().map(|(_, folder)| folder).chain(of_path).collect()
}

/// The folder that was given, or the first that has a server.
fn server_programs(given: Option<&Path>) -> Result<PathBuf, ClusterError> {
    let has = |folder: &PathBuf| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file());
    let folders = given.map_or_else(program_folders, |given| vec![given.to_owned()]);
    folders.into_iter().find(has).ok_or(ClusterError::NotInstalled)
}

/// Ends the cluster that it belongs to when it is dropped.
#[derive(Debug)]
pub(super) struct Tether {
    pipe: Option<ChildStdin>,
    child: Child,
    folder: PathBuf,
}

impl Drop for Tether {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.child.wait();
        // The shell's watch removes the folder just after the server has ended; a disk of its own goes with its processes.
        let began = Instant::now();
        while self.folder.exists() && began.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What a cluster that persists is found again by.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    port: u16,
    password: String,
    settings: Vec<String>,
    #[serde(default)]
    programs: Option<PathBuf>,
}

pub(super) fn start(parent: &Path, options: &ClusterOptions) -> Result<Cluster, ClusterError> {
    let bin = server_programs(options.programs.as_deref())?;
    let user = user()?;
    let password = random()?;
    let folder = parent.join(format!("postgres-{}", &random()?[..12]));
    let file = |path: &Path| {
        let path = path.to_owned();
        move |error| ClusterError::File { path, error }
    };
    std::fs::create_dir_all(parent).map_err(file(parent))?;
    std::fs::DirBuilder::new().mode(0o700).create(&folder).map_err(file(&folder))?;
    own(&folder, user)?;
    private(&folder.join("password"), &password, user)?;
    let mut settings = settings(options);
    if let Some((certificate, key)) = &options.tls {
        private(&folder.join("server.crt"), certificate, user)?;
        private(&folder.join("server.key"), key, user)?;
        settings.push("ssl=on".to_owned());
        settings.push(format!("ssl_cert_file={}", folder.join("server.crt").display()));
        settings.push(format!("ssl_key_file={}", folder.join("server.key").display()));
    }
    let mut cluster = Cluster { folder: folder.clone(), port: 0, password, tether: None };
    // Between our letting go of a port and the server's taking it, somebody else may: then with another.
    for _ in 0..5 {
        cluster.port = free_port().map_err(file(&folder))?;
        match launch(&cluster, &bin, user, &settings, options) {
            Ok(tether) => {
                if options.persist {
                    let found = Found {
                        port: cluster.port,
                        password: cluster.password.clone(),
                        settings: settings.clone(),
                        programs: options.programs.clone(),
                    };
                    let text = serde_json::to_string(&found).unwrap_or_default();
                    private(&folder.join("cluster.json"), &text, user)?;
                }
                cluster.tether = tether;
                return Ok(cluster);
            }
            Err(ClusterError::NotStarted { detail, .. }) if detail.contains(TAKEN) => {
                let _ = std::fs::remove_dir_all(folder.join("data"));
            }
            Err(error) => {
                let _ = std::fs::remove_dir_all(&folder);
                return Err(error);
            }
        }
    }
    let detail = "five ports in turn were taken by others".to_owned();
    Err(ClusterError::NotStarted { folder, detail })
}

pub(super) fn attach(folder: &Path) -> Result<Cluster, ClusterError> {
    let path = folder.join("cluster.json");
    let text =
        std::fs::read_to_string(&path).map_err(|error| ClusterError::File { path: path.clone(), error })?;
    let found: Found = serde_json::from_str(&text)
        .map_err(|error| ClusterError::File { path, error: std::io::Error::other(error) })?;
    let cluster =
        Cluster { folder: folder.to_owned(), port: found.port, password: found.password, tether: None };
    let bin = server_programs(found.programs.as_deref())?;
    if !is_ready(&bin, cluster.port) {
        let options = ClusterOptions { persist: true, ..ClusterOptions::default() };
        launch(&cluster, &bin, user()?, &found.settings, &options)?;
    }
    Ok(cluster)
}

pub(super) fn remove(cluster: &Cluster) -> Result<(), ClusterError> {
    let bin = server_programs(None)?;
    let mut command = as_user(user()?);
    let data = cluster.folder.join("data");
    let _ =
        command.arg(bin.join("pg_ctl")).arg("-D").arg(data).args(["-m", "immediate", "-w", "stop"]).output();
    let removed = std::fs::remove_dir_all(&cluster.folder);
    removed.map_err(|error| ClusterError::File { path: cluster.folder.clone(), error })
}

fn settings(options: &ClusterOptions) -> Vec<String> {
    let mut settings = vec![
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        "shared_buffers=128MB".to_owned(),
        // Nobody follows it, so tables that are filled in the transaction that made or emptied them need no log.
        "wal_level=minimal".to_owned(),
        "max_wal_senders=0".to_owned(),
        "max_connections=60".to_owned(),
        "log_line_prefix=%m %d ".to_owned(),
    ];
    if !options.durable {
        settings.extend(["fsync=off".to_owned(), "full_page_writes=off".to_owned()]);
    }
    settings.extend(options.settings.iter().map(|(name, value)| format!("{name}={value}")));
    settings
}

fn launch(
    cluster: &Cluster,
    bin: &Path,
    user: Option<(u32, u32)>,
    settings: &[String],
    options: &ClusterOptions,
) -> Result<Option<Tether>, ClusterError> {
    let mut command = match options.disk_bytes {
        Some(bytes) => on_a_disk(&cluster.folder, bytes, user),
        None => as_user(user),
    };
    command.args(["/bin/sh", "-c", if options.persist { PERSISTENT } else { OWNED }, "allclear"]);
    command.arg(&cluster.folder).arg(bin).args(["-c", &format!("port={}", cluster.port)]);
    for setting in settings {
        command.args(["-c", setting]);
    }
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/usr/sbin");
    command.current_dir("/");
    command.stdin(if options.persist { Stdio::null() } else { Stdio::piped() });
    let mut child = command.spawn().map_err(|error| ClusterError::NotStarted {
        folder: cluster.folder.clone(),
        detail: error.to_string(),
    })?;
    let pipe = child.stdin.take();
    let began = Instant::now();
    while !is_ready(bin, cluster.port) {
        let ended =
            child.try_wait().ok().flatten().is_some_and(|status| !options.persist || !status.success());
        if ended || began.elapsed() > PATIENCE {
            let log = cluster.log();
            // A server that found its port taken says so six lines before its last one.
            let detail: String = log.lines().rev().take(8).collect::<Vec<_>>().join("; ");
            drop(pipe);
            return Err(ClusterError::NotStarted { folder: cluster.folder.clone(), detail });
        }
        std::thread::sleep(Duration::from_millis(30));
    }
    if options.persist {
        let _ = child.wait();
        return Ok(None);
    }
    Ok(Some(Tether { pipe, child, folder: cluster.folder.clone() }))
}

fn is_ready(bin: &Path, port: u16) -> bool {
    let mut ask = Command::new(bin.join("pg_isready"));
    ask.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
    ask.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A command that runs what follows as `user`, or as we are.
fn as_user(user: Option<(u32, u32)>) -> Command {
    let Some((uid, gid)) = user else { return Command::new("/usr/bin/env") };
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={uid}"), &format!("--regid={gid}"), "--clear-groups", "--"]);
    command
}

/// A command that runs what follows with a small disk in the cluster's folder, in a mount namespace of its own.
fn on_a_disk(folder: &Path, bytes: u64, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new("unshare");
    let (uid, gid) = user.unwrap_or((0, 0));
    let mount = format!(
        "mkdir -p {0}/disk && mount -t tmpfs -o size={bytes},mode=0700,uid={uid},gid={gid} allclear {0}/disk && exec \"$@\"",
        folder.display()
    );
    let namespaces: &[&str] = if user.is_some() { &["-m"] } else { &["-r", "-m"] };
    command.args(namespaces).args(["/bin/sh", "-c", &mount, "allclear"]);
    match user {
        Some((uid, gid)) => command.args([
            "setpriv",
            &format!("--reuid={uid}"),
            &format!("--regid={gid}"),
            "--clear-groups",
            "--",
        ]),
        // Inside the namespace we look like root, which Postgres refuses; so one more, in which we do not.
        None => command.args(["unshare", "-U", "--map-user=1000", "--map-group=1000", "--"]),
    };
    command
}

/// Whom to run as: somebody else where we are root.
fn user() -> Result<Option<(u32, u32)>, ClusterError> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid =
        status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1)?.parse().ok());
    if uid != Some(0_u32) {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |wanted: &str| {
        let fields: Vec<&str> =
            users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|it| it[0] == wanted)?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody")).map(Some).ok_or(ClusterError::NoUser)
}

fn own(path: &Path, user: Option<(u32, u32)>) -> Result<(), ClusterError> {
    let Some((uid, gid)) = user else { return Ok(()) };
    chown(path, Some(uid), Some(gid)).map_err(|error| ClusterError::File { path: path.to_owned(), error })
}

fn private(path: &Path, text: &str, user: Option<(u32, u32)>) -> Result<(), ClusterError> {
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| ClusterError::File { path: path.to_owned(), error })?;
    own(path, user)
}

/// What a server logs whose port is somebody else's.
const TAKEN: &str = "Address already in use";

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// 32 hex digits that nobody can guess.
fn random() -> Result<String, ClusterError> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0_u8; 16];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| ClusterError::File { path: path.to_owned(), error })?;
    Ok(hex(&bytes))
}
