//! What may be typed.

use std::path::PathBuf;
use std::time::Duration;

use allclear_core::recovery::BackupId;
use allclear_core::secrets::masked;
use allclear_core::{CampaignId, VoucherId};
use allclear_dr::seal::PublicKey;
use clap::builder::{StringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Executable incident runbooks: exactly once, verified, and told from evidence.
#[derive(Debug, Parser)]
#[command(name = "allclear", version, about, after_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 verified · 1 internal error · 2 usage · 10 finished unverified · 11 waiting for a human · \
12 rejected or aborted · 13 refuted · 14 undone · 15 in doubt · 16 refused · 17 interrupted (`resume` goes on) · 20 plan has changes (--detailed-exitcode) · \
124 timed out (--timeout) · 130 detached\n\nExample: allclear drill whatsapp-send-failures --auto-approve";

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Print one JSON document on stdout; everything else goes to stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Ask nobody: gates stay open, and the exit code says so
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
    /// Approve the plan that is shown
    #[arg(long, short = 'y', global = true)]
    pub(crate) yes: bool,
    /// Who you are
    #[arg(long = "as", value_name = "NAME", global = true, env = "ALLCLEAR_OPERATOR", value_parser = operator)]
    pub(crate) operator: Option<String>,
    /// Where runs are kept
    #[arg(long, value_name = "DIR", global = true, env = "ALLCLEAR_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Configuration file
    #[arg(long, value_name = "FILE", global = true, env = "ALLCLEAR_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Which environment of the configuration [env: ALLCLEAR_ENV]; production must be named by this flag
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) env: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the runbooks
    #[command(after_help = "Example: allclear list")]
    List,
    /// Show a runbook, bullet by bullet
    #[command(after_help = "Example: allclear show whatsapp-send-failures")]
    Show { runbook: String },
    /// Say which step does which bullet of the written runbooks; fails when either has drifted
    #[command(after_help = "Example: allclear check --text docs/incident-runbooks.md")]
    Check {
        /// The written runbooks; the text that the procedures were written from if not given
        #[arg(long, value_name = "FILE")]
        text: Option<PathBuf>,
    },
    /// Show what a run would change, object by object; changes nothing
    #[command(after_help = "Example: allclear plan whatsapp-send-failures -o plan.json")]
    Plan(PlanArgs),
    /// Run a runbook: plan, show, ask, do, prove
    #[command(after_help = "Example: allclear run whatsapp-send-failures --env staging --plan plan.json")]
    Run(RunArgs),
    /// Follow a run of another process
    #[command(after_help = "Example: allclear watch @last")]
    Watch {
        #[arg(default_value = "@last")]
        run: String,
    },
    /// Say yes at a gate; shows what is asked first, and scripts name what they saw by its binding
    #[command(after_help = "Example: allclear approve @last --binding 0123456789ab")]
    Approve(GateArgs),
    /// Say no at a gate
    #[command(after_help = "Example: allclear reject @last --comment 'not now'")]
    Reject(GateArgs),
    /// Answer a gate with one of its choices
    #[command(after_help = "Example: allclear answer @last happened")]
    Answer {
        run: String,
        /// One of the offered words
        choice: String,
        #[command(flatten)]
        more: AnswerArgs,
    },
    /// Take an interrupted run up again; what is done is not done twice
    #[command(after_help = "Example: allclear resume @last")]
    Resume {
        #[arg(default_value = "@last")]
        run: String,
        #[command(flatten)]
        gates: GatePolicy,
    },
    /// Hand a run over to somebody else
    #[command(after_help = "Example: allclear hand-over @last --to lea")]
    HandOver {
        #[arg(default_value = "@last")]
        run: String,
        /// Who has it from now on
        #[arg(long, value_name = "NAME", value_parser = person)]
        to: String,
    },
    /// End a run after its current effect is settled
    #[command(after_help = "Example: allclear abort @last --reason 'the alarm was a test'")]
    Abort {
        run: String,
        /// End a run that is damaged and cannot be taken up; what it holds is released
        #[arg(long, requires = "reason")]
        damaged: bool,
        /// Why, for the record
        #[arg(long, value_name = "TEXT", value_parser = line)]
        reason: Option<String>,
    },
    /// Check that runs are what was written
    Audit {
        #[command(subcommand)]
        what: AuditCommand,
    },
    /// Take back what an ended run changed and nobody touched since: plan, show, ask, do, prove
    #[command(after_help = "Example: allclear undo @last --plan-only")]
    Undo(UndoArgs),
    /// Stop everything: all runs let go at their next safe point, and none begins or is resumed until it is lifted
    #[command(after_help = "Example: allclear stop-all --reason 'the platform is being restored'")]
    StopAll {
        /// Why, for whoever is refused
        #[arg(long, value_name = "TEXT", value_parser = kept())]
        reason: Option<String>,
    },
    /// Let runs begin and go on again
    #[command(after_help = "Example: allclear lift-stop")]
    LiftStop,
    /// List runs, or show one
    #[command(after_help = "Example: allclear status")]
    Status { run: Option<String> },
    /// Write the postmortem of a run, as far as it got
    #[command(after_help = "Example: allclear report @last -o postmortem.md")]
    Report {
        #[arg(default_value = "@last")]
        run: String,
        #[arg(long, value_enum, default_value_t = Format::Md)]
        format: Format,
        /// How much: a paragraph to paste, what a review needs, or everything with its evidence
        #[arg(long, value_enum, default_value_t = ReportForm::Full)]
        form: ReportForm,
        /// Write to a file instead of stdout
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print a link to a file that an exercise kept as evidence, good for a while and for whoever has it
    #[command(after_help = "Example: allclear link @last tabletop-report.md --minutes 30")]
    Link {
        run: String,
        /// The file's name, e.g. backup.log
        file: String,
        /// How long the link is good
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1_440))]
        minutes: u64,
    },
    /// Sign what an exercise left in the bucket, or check it
    Evidence {
        #[command(subcommand)]
        what: EvidenceCommand,
    },
    /// Practise on a sandbox of the platform
    #[command(after_help = "Example: allclear drill whatsapp-send-failures --scenario outage --auto-approve")]
    Drill(DrillArgs),
    /// Say what is missing or unreachable
    #[command(after_help = "Example: allclear doctor --env staging")]
    Doctor {
        /// Check only what a drill needs
        #[arg(long)]
        drill: bool,
    },
    /// Print completions for a shell
    #[command(after_help = "Example: allclear completions bash > /etc/bash_completion.d/allclear")]
    Completions { shell: clap_complete::Shell },
    /// Serve a sandbox until it is told to stop
    #[command(hide = true)]
    Sandbox(SandboxArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum EvidenceCommand {
    /// Sign journal, report, log and row counts of an exercise that ended, and the manifests of its backup and copy
    #[command(after_help = "Example: allclear evidence seal @last")]
    Seal {
        #[arg(default_value = "@last")]
        run: String,
    },
    /// Read it all back from the bucket; exits with 13 where anything is not as it was signed
    #[command(after_help = "Example: allclear evidence verify @last")]
    Verify {
        #[arg(default_value = "@last")]
        run: String,
        /// Beside which backup it stands, for a run of another machine; RUN is then its whole id, and --env its environment
        #[arg(long, value_name = "ID")]
        backup: Option<BackupId>,
        /// Whose signature it must be; the configured key's where it is left out
        #[arg(long, value_name = "HEX")]
        public_key: Option<PublicKey>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check journals, seals, rows and plans; names what is wrong by run and entry, and exits with 1 then
    #[command(after_help = "Example: allclear audit verify")]
    Verify {
        /// Only this run; all if not given
        run: Option<String>,
    },
    /// Put right what lies beside a whole journal: a row that says otherwise, a seal that is lost, an answer that was altered
    #[command(
        after_help = "Example: allclear audit mend @last --reason 'the seals were deleted by a clean-up'"
    )]
    Mend {
        run: String,
        /// Why, for the record
        #[arg(long, value_name = "TEXT", value_parser = line)]
        reason: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Md,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportForm {
    Short,
    Review,
    Full,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct PlanArgs {
    pub(crate) runbook: String,
    #[command(flatten)]
    pub(crate) input: InputArgs,
    /// Save the plan
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Exit with 20 when the plan has changes
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct InputArgs {
    /// Only this campaign; may be repeated
    #[arg(long = "campaign", value_name = "UUID", value_parser = campaign)]
    pub(crate) campaigns: Vec<CampaignId>,
    /// Only this voucher; may be repeated
    #[arg(long = "voucher", value_name = "UUID", value_parser = voucher)]
    pub(crate) vouchers: Vec<VoucherId>,
    /// Another input of the runbook, e.g. replay=stop-start; may be repeated
    #[arg(long = "set", value_name = "FIELD=VALUE", value_parser = field)]
    pub(crate) fields: Vec<(String, serde_json::Value)>,
}

/// A name is one line of visible text that cannot be taken for another one.
fn person(text: &str) -> Result<String, String> {
    // A name is written down everywhere, and is no place for a number or a token.
    allclear_engine::person::person(text).map(masked).map_err(|bad| bad.to_string())
}

/// Who is at the keyboard; an empty variable names nobody.
fn operator(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { person(text) }
}

/// A reason is one line of visible text.
fn line(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("say why, in one line".to_owned());
    }
    Ok(masked(text.to_owned()))
}

/// Words that are kept where others read them, the store and the platform's record: no place for a number or a secret.
fn kept() -> impl TypedValueParser<Value = String> {
    StringValueParser::new().map(masked)
}

fn voucher(text: &str) -> Result<VoucherId, String> {
    text.parse().map_err(|error: allclear_core::error::InvalidValue| error.to_string())
}

/// A value is read as JSON where it is some, and as text where it is not: `window_hours=6`, `replay=stop-start`.
fn field(text: &str) -> Result<(String, serde_json::Value), String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("`{text}` names no value; give FIELD=VALUE"))?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.to_owned(), value))
}

fn campaign(text: &str) -> Result<CampaignId, String> {
    text.parse().map_err(|error: allclear_core::error::InvalidValue| error.to_string())
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    pub(crate) runbook: String,
    #[command(flatten)]
    pub(crate) input: InputArgs,
    /// Do what this saved plan says, or refuse if the world has moved
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    /// Approve the plan with this hash, and no other
    #[arg(long, value_name = "HASH")]
    pub(crate) approve_plan: Option<String>,
    /// Take the runbook from this run of another machine, which is gone for good: your word for it, kept on record
    #[arg(long, value_name = "RUN", requires = "reason")]
    pub(crate) take_over: Option<String>,
    /// How it is known that the other run is gone
    #[arg(long, value_name = "TEXT", requires = "take_over", value_parser = kept())]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) gates: GatePolicy,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct UndoArgs {
    /// Which run is taken back; its own record stays as it is
    pub(crate) run: String,
    /// Show what would be taken back and what stays; changes nothing
    #[arg(long, conflicts_with = "approve_plan")]
    pub(crate) plan_only: bool,
    /// Approve the plan with this hash, and no other
    #[arg(long, value_name = "HASH")]
    pub(crate) approve_plan: Option<String>,
    #[command(flatten)]
    pub(crate) gates: GatePolicy,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct GatePolicy {
    /// At a gate, wait for an answer from elsewhere
    #[arg(long)]
    pub(crate) wait: bool,
    /// Play the approver at every gate (drills only)
    #[arg(long)]
    pub(crate) auto_approve: bool,
    /// Let go after this much time by the wall clock, e.g. 90s or 1h30m, and exit with 124; the run can be resumed
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
}

/// Nobody waits for longer at a terminal, and no clock that is added to can overflow.
const LONGEST_TIMEOUT: jiff::SignedDuration = jiff::SignedDuration::from_hours(720);

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: Option<jiff::SignedDuration> = text.parse().ok();
    parsed
        .filter(|time| time.is_positive() && *time <= LONGEST_TIMEOUT)
        .map(jiff::SignedDuration::unsigned_abs)
        .ok_or_else(|| "give a time of at most 720h, e.g. 90s, 15m or 1h30m".to_owned())
}

#[derive(Debug, Clone, Args)]
pub(crate) struct GateArgs {
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) more: AnswerArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct AnswerArgs {
    /// Which gate, when it should be a certain one
    #[arg(long, value_name = "GATE")]
    pub(crate) gate: Option<String>,
    /// The binding of the question as you saw it (`allclear status RUN` shows it); another one is refused. Needed where nobody
    /// can be asked
    #[arg(long, value_name = "BINDING")]
    pub(crate) binding: Option<String>,
    /// A remark for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
}

#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "these are switches")]
pub(crate) struct DrillArgs {
    /// Which runbook
    #[arg(required_unless_present = "list")]
    pub(crate) runbook: Option<String>,
    /// List the scenarios of every runbook
    #[arg(long)]
    pub(crate) list: bool,
    /// What goes wrong; the first of the list if not given
    #[arg(long, value_name = "NAME")]
    pub(crate) scenario: Option<String>,
    /// What everything random in the world is derived from
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The platform as it is, or with its missing endpoints
    #[arg(long, value_enum, default_value_t = Contract::AsIs)]
    pub(crate) profile: Contract,
    /// Switch a wart or lie of the platform on; may be repeated
    #[arg(long = "fault", value_name = "FAULT")]
    pub(crate) faults: Vec<allclear_sandbox::Fault>,
    /// Let people act beside the run, after minutes or after an effect: 6m:pause, campaign.start*2:stop:3, 10m:resolve, random:7
    /// (pause, start, stop, resolve, post, skip, void, settings); may be repeated
    #[arg(long, value_name = "WHEN:ACT[:WHICH]")]
    pub(crate) people: Vec<allclear_sandbox::people::Script>,
    /// Targets of each of the six campaigns
    #[arg(long, default_value_t = 4_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub(crate) targets: u32,
    /// How many times faster than real time the world runs
    #[arg(long, default_value_t = 120.0, value_name = "N", value_parser = speed)]
    pub(crate) speed: f64,
    /// Virtual time: waits take no time at all
    #[arg(long, conflicts_with = "speed")]
    pub(crate) r#virtual: bool,
    #[command(flatten)]
    pub(crate) input: InputArgs,
    /// Play the approver: the plan and every gate
    #[arg(long)]
    pub(crate) auto_approve: bool,
    /// Leave the sandbox running afterwards
    #[arg(long)]
    pub(crate) keep_sandbox: bool,
    /// After this many seconds without a request the sandbox looks whether its run has ended
    #[arg(long, hide = true, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub(crate) sandbox_idle: u64,
}

fn speed(text: &str) -> Result<f64, String> {
    let fits = |speed: &f64| (0.1..=10_000.0).contains(speed);
    text.parse().ok().filter(fits).ok_or_else(|| "give a number from 0.1 to 10000, e.g. 120".to_owned())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contract {
    AsIs,
    Target,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SandboxArgs {
    /// Port on loopback; a free one if 0
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// The world, as JSON; a default one if not given
    #[arg(long, value_name = "JSON")]
    pub(crate) world: Option<String>,
    /// How many times faster than real time
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    pub(crate) speed: f64,
    /// Virtual time: stands still until it is slept on
    #[arg(long)]
    pub(crate) r#virtual: bool,
    /// Stop after this many seconds without a request
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub(crate) exit_when_idle: Option<u64>,
    /// The state folder and the run that this is for: while the run has not ended, it stays; at most seven days
    #[arg(long, num_args = 2, value_names = ["STATE_DIR", "RUN"])]
    pub(crate) with_run: Option<Vec<String>>,
}
