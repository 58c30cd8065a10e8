//! A sandbox, a platform that speaks to it, and a clock that both share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use allclear::core::{Clock, Platform, VirtualClock};
use allclear::engine::journal::Finding;
use allclear::engine::{
    ApprovedPlan, AutoApprove, Entry, Event, Finished, Humans, MemoryJournal, Plan, PlanApproval, PlanRules,
    Runbook, Shown, Terms, execute, plan,
};
use allclear::runbooks;
use allclear::sandbox::{LedgerEntry, Sandbox, Scenario, WorldSpec};

pub(crate) struct Scene {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) platform: Platform,
    pub(crate) journal: MemoryJournal,
    runbook: &'static str,
    input: serde_json::Value,
    folder: tempfile::TempDir,
}

/// The runbook that a scenario is for; what is nobody's is for the first.
pub(crate) fn runbook_of(scenario: Scenario) -> &'static str {
    let named = |entry: &&runbooks::Entry| {
        entry.scenarios.iter().any(|one| one.name != "healthy" && Scenario::named(one.name) == Some(scenario))
    };
    let kind = |entry: &&runbooks::Entry| {
        let same = |one: &runbooks::Scenario| {
            let known = Scenario::named(one.name).filter(|_| one.name != "healthy");
            known.is_some_and(|known| std::mem::discriminant(&known) == std::mem::discriminant(&scenario))
        };
        entry.scenarios.iter().any(same)
    };
    let all = runbooks::catalogue();
    let whatsapp = "whatsapp-send-failures";
    all.iter().find(named).or_else(|| all.iter().find(kind)).map_or(whatsapp, |entry| entry.id)
}

/// A world small enough to be made a thousand times.
pub(crate) fn small(scenario: Scenario) -> WorldSpec {
    WorldSpec {
        scenario,
        targets_per_campaign: 400,
        vouchers: 0,
        stations: 0,
        notifications: 200,
        ..WorldSpec::default()
    }
}

pub(crate) fn drill() -> Arc<dyn Humans> {
    Arc::new(AutoApprove { role: "incident-commander".to_owned() })
}

/// A plan with the yes of whoever starts the run.
pub(crate) fn approved(plan: &Plan, run: &str) -> ApprovedPlan {
    let rules = PlanRules::anyone("kim", plan.made_at);
    let yes = PlanApproval::of(plan, run, "kim", Shown::Typed);
    ApprovedPlan::by(plan.clone(), run, vec![yes], &rules).unwrap()
}

impl Scene {
    pub(crate) async fn of(spec: WorldSpec) -> Self {
        Self::with(runbook_of(spec.scenario), serde_json::Value::Null, spec).await
    }

    pub(crate) async fn with(runbook: &'static str, input: serde_json::Value, spec: WorldSpec) -> Self {
        let clock = Arc::new(VirtualClock::at(spec.start));
        let sandbox = Sandbox::start_virtual(spec, Arc::clone(&clock)).await.unwrap();
        let base = sandbox.base_url();
        Self::behind(&base, runbook, input, sandbox, clock)
    }

    /// With a platform that speaks to `base`, which stands before the sandbox.
    pub(crate) fn behind(
        base: &str,
        runbook: &'static str,
        input: serde_json::Value,
        sandbox: Sandbox,
        clock: Arc<VirtualClock>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let artifacts: PathBuf = folder.path().join("artifacts");
        let mut settings = allclear::clients::sandbox::settings(base, artifacts).unwrap();
        settings.timeout = Duration::from_secs(20);
        let shared: Arc<dyn Clock> = clock.clone();
        let platform = allclear::clients::connect(settings, &shared).unwrap();
        Self {
            sandbox: Arc::new(sandbox),
            clock,
            platform,
            journal: MemoryJournal::new(),
            runbook,
            input,
            folder,
        }
    }

    pub(crate) fn runbook(&self) -> Box<dyn Runbook> {
        let entry = runbooks::find(self.runbook).unwrap();
        (entry.build)(self.input.clone(), self.platform.clone()).unwrap()
    }

    /// Another runbook on the same platform.
    pub(crate) fn of_runbook(&self, runbook: &str) -> Box<dyn Runbook> {
        let entry = runbooks::find(runbook).unwrap();
        (entry.build)(serde_json::Value::Null, self.platform.clone()).unwrap()
    }

    pub(crate) fn terms(&self) -> Terms {
        Terms { humans: drill(), input: self.input.clone(), ..Terms::new("drill-run", "kim", "sandbox") }
    }

    pub(crate) async fn plan(&self) -> Plan {
        plan(&*self.runbook(), self.terms(), self.clock.clone()).await.unwrap()
    }

    /// The plan of another run than the first.
    pub(crate) async fn plan_of(&self, run: &str) -> Plan {
        let terms = Terms { run: run.to_owned(), ..self.terms() };
        plan(&*self.runbook(), terms, self.clock.clone()).await.unwrap()
    }

    pub(crate) async fn run(&self, approved: ApprovedPlan, terms: Terms) -> Finished {
        let seam = self.journal.seam(self.clock.clone()).unwrap();
        execute(&*self.runbook(), Box::new(seam), approved, terms).await.unwrap()
    }

    /// Plans, approves what is shown, and runs.
    pub(crate) async fn plan_and_run(&self) -> (Plan, Finished) {
        let plan = self.plan().await;
        let finished = self.run(approved(&plan, "drill-run"), self.terms()).await;
        (plan, finished)
    }

    /// Runs until the process dies, right after so many entries became durable; or to its end, where there are fewer.
    pub(crate) async fn run_until_killed(&self, approved: ApprovedPlan, entries: u64) {
        let listener: Arc<dyn Fn(&Entry) + Send + Sync> =
            Arc::new(move |entry| assert!(entry.seq < entries, "killed"));
        let terms = Terms { listener: Some(listener), ..self.terms() };
        let (runbook, seam) = (self.runbook(), self.journal.seam(self.clock.clone()).unwrap());
        let running = tokio::spawn(async move { execute(&*runbook, Box::new(seam), approved, terms).await });
        let _ = running.await;
    }

    /// The files that runs wrote, by name, with their texts.
    pub(crate) fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.file_name().unwrap().to_string_lossy().into_owned();
                    files.insert(name, String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned());
                }
            }
        }
        files
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.journal.entries().unwrap()
    }

    /// What we really changed, each with how often.
    pub(crate) fn effects(&self) -> BTreeMap<(String, String), usize> {
        count_effects(&self.sandbox.ledger())
    }

    /// What we asked for, whether the world did it or only said so: some services lie, and a plan cannot know.
    pub(crate) fn requested(&self) -> BTreeMap<(String, String), usize> {
        let mut ledger = self.sandbox.ledger();
        for entry in &mut ledger {
            entry.changed = true;
        }
        count_effects(&ledger)
    }

    /// Every effect that the journal says was applied, named as the ledger names it.
    pub(crate) fn applied(&self) -> BTreeMap<(String, String), usize> {
        let mut applied = BTreeMap::new();
        for entry in self.entries() {
            let (effect, subject) = match entry.event {
                // Reconciled: its answer was lost, and asking showed that it had happened.
                Event::Applied { of, effect, .. }
                | Event::Reconciled { of, effect, finding: Finding::Happened, .. } => (effect, of.subject),
                _ => continue,
            };
            *applied.entry(name(&effect, &subject)).or_default() += 1;
        }
        applied
    }
}

/// An effect, named so that plan, journal and ledger agree: the ledger knows ids, rows, channels and dedup keys.
pub(crate) fn name(effect: &str, subject: &str) -> (String, String) {
    let subject = match effect {
        "slack.post" => match subject.strip_prefix("channel #") {
            Some(rest) => match rest.split(' ').next() {
                Some("ops") => "C0OPS",
                Some("data-ops") => "C0DATA",
                Some("vendor-support") => "C0VENDOR",
                _ => rest,
            },
            None => subject.split(' ').next().unwrap_or(subject),
        },
        "pagerduty.trigger" => "page",
        "pagerduty.resolve" if subject.starts_with("page ") || subject.contains('/') => "page",
        "notification.retry" => "notifications",
        "send_queue.postpone" => subject.split(' ').nth(1).unwrap_or(subject),
        "audit.insert" => subject.split(' ').next().unwrap_or(subject),
        _ => ["campaign ", "voucher ", "function ", "incident "]
            .iter()
            .find_map(|kind| subject.strip_prefix(kind))
            .unwrap_or(subject),
    };
    (effect.to_owned(), subject.to_owned())
}

pub(crate) fn count_effects(ledger: &[LedgerEntry]) -> BTreeMap<(String, String), usize> {
    let mut effects: BTreeMap<(String, String), usize> = BTreeMap::new();
    for entry in ledger.iter().filter(|entry| entry.changed) {
        // Notifications are retried in batches; the batch is the effect.
        if entry.effect == "notification.retry" {
            effects.insert(name("notification.retry", ""), 1);
            continue;
        }
        *effects.entry(name(&entry.effect, &entry.subject)).or_default() += 1;
    }
    effects
}
