//! What was shown is what is done, in random exercises.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use allclear::core::ports::BackupHost;
use allclear::core::recovery::HostedBackups;
use allclear::core::{Platform, PortError, VirtualClock};
use allclear::engine::{Finished, MemoryJournal, Outcome, Plan, Runbook, Terms, execute, plan};
use allclear::sandbox::{Fault, FaultSet, Profile, Sandbox, Scenario, Twist, WorldSpec};
use proptest::prelude::*;
use serde_json::Value;

use super::{Content, Stores, recovery, write_documents};
use crate::drilling::exercise_world;
use crate::scene::{approved, drill};

/// How many; `ALLCLEAR_WORLDS` asks for more.
fn worlds() -> u32 {
    std::env::var("ALLCLEAR_WORLDS").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
}

/// An exercise and everything about it that may differ.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that may be so or not")]
struct World {
    twist: Twist,
    hours: u64,
    content: Content,
    /// Whether the host has backups of its own.
    hosted: bool,
    /// The documents that the team lacks or has already.
    no_checklist: bool,
    has_templates: bool,
    no_system_checklist: bool,
    /// The platform's lies.
    lies: Vec<Fault>,
}

fn world() -> impl Strategy<Value = World> {
    let twist = prop_oneof![3 => Just(Twist::None), 1 => Just(Twist::TokenExpired), 1 => Just(Twist::LateAcknowledgement)];
    let lies = [Fault::SlackMessageLost, Fault::PagerDutyDropped, Fault::AcceptedAndDropped];
    let lies = prop::collection::vec(prop::sample::select(lies.to_vec()), 0..2);
    let odd = || prop::bool::weighted(0.2);
    let content = (0..7_u32, 0..50_u32, odd(), prop::bool::weighted(0.1), odd(), odd());
    let documents = (odd(), any::<bool>(), odd());
    (twist, 0..2_000_u64, content, prop::bool::weighted(0.8), documents, lies).prop_map(
        |(twist, hours, content, hosted, (no_checklist, has_templates, no_system_checklist), lies)| {
            let (tables, objects, changed_row, wrong_target, backup_is_there, copy_is_there) = content;
            let content =
                Content { tables, objects, changed_row, wrong_target, backup_is_there, copy_is_there };
            World { twist, hours, content, hosted, no_checklist, has_templates, no_system_checklist, lies }
        },
    )
}

/// A host that keeps no backups.
struct KeepsNone;

#[async_trait::async_trait]
impl BackupHost for KeepsNone {
    async fn hosted_backups(&self) -> Result<HostedBackups, PortError> {
        Ok(HostedBackups { backups: Vec::new(), point_in_time: false, region: "eu".to_owned() })
    }
}

/// A world that was made.
struct Made {
    sandbox: Sandbox,
    clock: Arc<VirtualClock>,
    stores: Arc<Stores>,
    platform: Platform,
    folder: tempfile::TempDir,
}

impl Made {
    async fn of(world: &World) -> Self {
        let scenario = Scenario::Exercise { twist: world.twist };
        let spec = exercise_world(scenario, Profile::Target);
        let faults = world.lies.iter().fold(FaultSet::of(Profile::Target), |set, lie| set.with(*lie));
        let start = spec.start + std::time::Duration::from_secs(3600 * world.hours);
        let spec = WorldSpec { start, faults: Some(faults), ..spec };
        let clock = Arc::new(VirtualClock::at(start));
        let sandbox = Sandbox::start_virtual(spec, Arc::clone(&clock)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let documents = folder.path().join("documents");
        write_documents(&documents);
        world.arrange(&documents);
        let stores = Stores::of(world.content.clone(), clock.clone());
        let settings =
            allclear::clients::sandbox::settings(&sandbox.base_url(), folder.path().join("artifacts"))
                .unwrap();
        let shared: Arc<dyn allclear::core::Clock> = clock.clone();
        let mut recovery = recovery(&settings, &shared, &stores, &documents);
        if !world.hosted {
            recovery.host = Arc::new(KeepsNone);
        }
        let platform = allclear::clients::connect(settings, &shared).unwrap();
        let platform = Platform { recovery: Some(recovery), ..platform };
        Self { sandbox, clock, stores, platform, folder }
    }

    fn runbook(&self) -> Box<dyn Runbook> {
        (allclear::runbooks::find("dr-tabletop").unwrap().build)(Value::Null, self.platform.clone()).unwrap()
    }

    async fn plan(&self) -> Plan {
        let terms = Terms { humans: drill(), ..Terms::new("drill-run", "kim", "sandbox") };
        plan(&*self.runbook(), terms, self.clock.clone()).await.unwrap()
    }

    async fn run(&self, plan: &Plan) -> Finished {
        let terms = Terms { humans: drill(), ..Terms::new("drill-run", "kim", "sandbox") };
        let seam = Box::new(MemoryJournal::new().seam(self.clock.clone()).unwrap());
        execute(&*self.runbook(), seam, approved(plan, "drill-run"), terms).await.unwrap()
    }

    fn documents(&self) -> BTreeMap<PathBuf, String> {
        let mut all = BTreeMap::new();
        read_below(&self.folder.path().join("documents"), &mut all);
        all
    }

    /// What services, stores and the documents' folder say was asked for, in the plan's words.
    fn done(&self, before: &BTreeMap<PathBuf, String>) -> BTreeSet<String> {
        let services = self.sandbox.ledger().into_iter().map(|entry| in_plans_words(&entry.effect));
        let stores = self.stores.ledger().into_keys().map(|(effect, subject)| match effect.as_str() {
            "backup.keep_file" => format!("{effect} {subject}"),
            _ => effect,
        });
        let after = self.documents();
        let root = self.folder.path().join("documents");
        let written = after
            .iter()
            .filter(|(path, text)| before.get(*path) != Some(text))
            .map(|(path, _)| format!("document.write {}", path.strip_prefix(&root).unwrap().display()));
        services.chain(stores).chain(written).collect()
    }
}

fn read_below(folder: &Path, into: &mut BTreeMap<PathBuf, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_below(&path, into);
        } else {
            into.insert(path.clone(), std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// What a smoke test does at several doors is one effect of the plan.
fn in_plans_words(effect: &str) -> String {
    let smoke = ["voucher.", "campaign.", "message."].iter().any(|part| effect.starts_with(part));
    if smoke { "staging.smoke_test" } else { effect }.to_owned()
}

/// The plan's effects in the same words; with a condition or without.
fn named(plan: &Plan, certain: bool) -> BTreeSet<String> {
    plan.effects
        .iter()
        // Files stay on this machine, in the run's folder.
        .filter(|one| one.effect != "artifact.write" && one.condition.is_none() == certain)
        .map(|one| match one.effect.as_str() {
            "backup.keep_file" | "document.write" => {
                format!(
                    "{} {}",
                    one.effect,
                    one.subject.split(' ').find(|word| word.contains('.')).unwrap_or_default()
                )
            }
            _ => one.effect.clone(),
        })
        .collect()
}

impl World {
    fn arrange(&self, documents: &Path) {
        if self.no_checklist {
            std::fs::remove_file(documents.join(super::CHECKLIST)).unwrap();
        }
        if self.no_system_checklist {
            std::fs::remove_file(documents.join("SYSTEM_CHECKLIST.md")).unwrap();
        }
        if self.has_templates {
            let templates = documents.join("docs/incidents/templates");
            std::fs::create_dir_all(&templates).unwrap();
            std::fs::write(templates.join("status-page-update.md"), "ours\n").unwrap();
        }
    }
}

async fn check(world: World) -> Outcome {
    let made = Made::of(&world).await;
    let before = made.documents();
    let plan = made.plan().await;
    assert!(
        made.sandbox.ledger().is_empty(),
        "planning told somebody: {:?} in {world:?}",
        made.sandbox.ledger()
    );
    assert!(made.stores.ledger().is_empty(), "planning changed a store in {world:?}");
    assert_eq!(made.documents(), before, "planning wrote a document in {world:?}");
    assert!(made.plan().await.check_no_drift(&plan).is_ok(), "a second plan differs in {world:?}");
    tampered_is_refused(&plan);

    let finished = made.run(&plan).await;
    assert!(finished.outcome.is_final(), "{} in {world:?}", finished.says);
    let done = made.done(&before);
    let (certain, conditional) = (named(&plan, true), named(&plan, false));
    let allowed: BTreeSet<_> = certain.union(&conditional).cloned().collect();
    let unplanned: Vec<_> = done.difference(&allowed).collect();
    assert!(unplanned.is_empty(), "not in the plan: {unplanned:?} of {allowed:?} in {world:?}");
    if finished.outcome == Outcome::Verified {
        let missing: Vec<_> = certain.difference(&done).collect();
        assert!(missing.is_empty(), "planned and not done: {missing:?} in {world:?}: {}", finished.says);
    }
    if world.content.wrong_target {
        assert!(done.is_empty(), "refused, and done: {done:?} in {world:?}");
    }
    finished.outcome
}

/// Somebody takes a change out of a plan that was saved.
fn tampered_is_refused(plan: &Plan) {
    let Some(mut other) = plan.has_effects().then(|| plan.clone()) else { return };
    other.effects[0].changes.clear();
    assert!(other.check_untampered().is_err(), "a changed plan is taken for the one that was approved");
}

#[test]
fn in_random_worlds_the_exercise_does_what_its_plan_named() {
    let config = ProptestConfig {
        cases: worlds(),
        failure_persistence: None,
        max_shrink_iters: 20,
        ..ProptestConfig::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ends = std::cell::RefCell::new(BTreeMap::<String, u32>::new());
    proptest!(config, |(world in world())| {
        let outcome = runtime.block_on(check(world));
        *ends.borrow_mut().entry(outcome.to_string()).or_default() += 1;
    });
    println!("dr-tabletop: plan equals run in {} random worlds: {:?}", worlds(), ends.borrow());
    assert!(ends.borrow().len() >= 3, "the worlds are all alike: {:?}", ends.borrow());
}

#[tokio::test]
async fn a_plan_of_the_exercise_is_refused_when_somebody_has_taken_the_backup_meanwhile() {
    let quiet = World {
        twist: Twist::None,
        hours: 0,
        content: Content::default(),
        hosted: true,
        no_checklist: false,
        has_templates: false,
        no_system_checklist: false,
        lies: Vec::new(),
    };
    let made = Made::of(&quiet).await;
    let approved = made.plan().await;
    let id = format!("dr-{}", made.sandbox.now().strftime("%Y-%m-%d"));
    let taken = allclear::core::ports::DatabaseBackups::take(&*made.stores, &id.parse().unwrap()).await;
    assert!(taken.is_ok());
    let refusal = approved.check_no_drift(&made.plan().await).unwrap_err();
    assert!(refusal.to_string().contains("the world has moved"), "{refusal}");
    assert!(made.sandbox.ledger().is_empty(), "somebody was told");
}
