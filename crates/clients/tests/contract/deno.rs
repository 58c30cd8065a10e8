//! The function client against a real edge function: Deno, which is what Supabase runs them on, with a function of our own.
//! Deno comes from npm.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use allclear_core::error::StopReason;
use allclear_core::{Class, Clock, VirtualClock};

use crate::{Check, npm};

const VERSION: &str = "2.9.6";

/// A running function. Dropping it ends it.
struct Function {
    child: Child,
    base: String,
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve() -> Result<Function, String> {
    // Its program lies in a package of its own for each kind of machine.
    let platform = match std::env::consts::ARCH {
        "aarch64" => "linux-arm64-glibc",
        _ => "linux-x64-glibc",
    };
    let program = npm::installed("deno", VERSION, &format!("node_modules/@deno/{platform}/deno"))?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/wa-send-media.ts");
    let child = Command::new(program)
        .args(["run", "--no-config", "--no-remote", "--allow-net=127.0.0.1"])
        .arg(source)
        .env("DENO_NO_UPDATE_CHECK", "1")
        .env("DENO_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("deno"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("Deno cannot be started: {error}"))?;
    let mut function = Function { child, base: String::new() };
    let mut line = String::new();
    let out = function.child.stdout.take().ok_or("Deno has no output")?;
    BufReader::new(out).read_line(&mut line).map_err(|error| error.to_string())?;
    let said: serde_json::Value =
        serde_json::from_str(&line).map_err(|error| format!("Deno said `{line}`: {error}"))?;
    function.base = format!("http://127.0.0.1:{}", said["port"]);
    Ok(function)
}

/// What each answer must be taken for; `None` is acceptance.
const CASES: &[(&str, Option<Class>)] = &[
    ("accepted", None),
    ("ok", None),
    ("skipped", Some(Class::Permanent)),
    ("no-id", Some(Class::OutcomeUnknown)),
    ("limited-seconds", Some(Class::RetryAfter(Some(Duration::from_secs(90))))),
    ("limited-date", Some(Class::RetryAfter(Some(Duration::from_mins(2))))),
    ("limited", Some(Class::RetryAfter(None))),
    ("invalid", Some(Class::Permanent)),
    ("expired", Some(Class::Stop(StopReason::Credential))),
    ("bare", Some(Class::RetryAfter(None))),
    ("failed", Some(Class::OutcomeUnknown)),
    ("page", Some(Class::OutcomeUnknown)),
    ("cut", Some(Class::OutcomeUnknown)),
    ("slow", Some(Class::OutcomeUnknown)),
];

pub(crate) async fn a_function_on_deno_is_taken_for_what_it_answers() -> Check {
    let function = serve()?;
    let start = "2026-11-23T09:00:00Z".parse().map_err(|error| format!("{error}"))?;
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::at(start));
    let mut wrong = Vec::new();
    for (answer, expected) in CASES {
        let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let mut settings =
            allclear_clients::sandbox::settings(crate::NOBODY, folder).map_err(|error| error.to_string())?;
        settings.endpoints.supabase.clone_from(&function.base);
        settings.whatsapp.canary_template = (*answer).to_owned();
        // Only the slow one may run into it, on however busy a machine.
        settings.timeout = Duration::from_secs(if *answer == "slow" { 2 } else { 25 });
        let platform = allclear_clients::connect(settings, &clock).map_err(|error| error.to_string())?;
        let sent = platform.sender.send_canary("contract").await;
        let class = sent.as_ref().err().map(allclear_core::PortError::class);
        if class != *expected {
            wrong.push(format!("{answer}: {sent:?}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
