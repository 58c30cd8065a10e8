//! Whole runs of a runbook behind a [layer](crate::fault_layer) that may spoil their calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use allclear::core::{Platform, VirtualClock};
use allclear::engine::{Entry, Event, MemoryJournal, Outcome, Plan, Terms, execute, plan};
use allclear::runbooks;
use allclear::sandbox::{Profile, Sandbox, Scenario, WorldSpec};
use serde_json::{Value, json};

use crate::fault_layer::{Call, Fault, Layer, Refusal, Rule, Seen, Service};
use crate::scene::{approved, drill, runbook_of, small};
use crate::tabletop::{self, Content, StoreTrouble, Stores};

/// No healthy call takes this long, however busy the machine.
const PATIENT: Duration = Duration::from_secs(30);
/// The patience of a client whose call is slow on purpose.
const IMPATIENT: Duration = Duration::from_secs(1);
/// Nothing legitimate takes this long in a drill; a body without end is cut here.
const MAX_BODY: usize = 2 << 20;
/// A run that takes longer hangs.
const HANGS: Duration = Duration::from_mins(2);

/// A drill: a runbook, and what is wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drill {
    pub(crate) scenario: Scenario,
    pub(crate) profile: Profile,
}

impl Drill {
    pub(crate) fn runbook(self) -> &'static str {
        runbook_of(self.scenario)
    }

    fn is_exercise(self) -> bool {
        matches!(self.scenario, Scenario::Exercise { .. })
    }

    /// A world small enough to be made thousands of times.
    fn spec(self) -> WorldSpec {
        if self.is_exercise() {
            return exercise_world(self.scenario, self.profile);
        }
        // The dispatcher's runbook looks at every campaign every minute, so two of them must do.
        let campaigns = if self.runbook() == "campaign-dispatcher-stalls" { 2 } else { 6 };
        WorldSpec {
            profile: self.profile,
            campaigns,
            // Numbers that cannot receive are found among many sends only.
            targets_per_campaign: if matches!(self.scenario, Scenario::InvalidNumbers { .. }) {
                200
            } else {
                30
            },
            notifications: 12,
            vouchers: 12,
            stations: 3,
            ..small(self.scenario)
        }
    }
}

/// The world of an exercise. Its sandbox is staging's application too, so nothing waits in the send queue there.
pub(crate) fn exercise_world(scenario: Scenario, profile: Profile) -> WorldSpec {
    WorldSpec {
        profile,
        campaigns: 1,
        targets_per_campaign: 0,
        notifications: 0,
        vouchers: 0,
        stations: 1,
        ..small(scenario)
    }
}

/// What goes wrong in a run.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    None,
    /// At the first call of this kind, or at all of them.
    At {
        call: Call,
        fault: Fault,
        always: bool,
    },
    /// Nobody listens at a service for a while.
    Refused(Refusal),
    /// The service cannot be spoken to by TLS.
    Tls(Service),
    /// A database or a bucket of an exercise fails.
    Store(StoreTrouble),
    /// All calls that `is` picks, until then.
    Until {
        is: fn(&Call) -> bool,
        fault: Fault,
        until: jiff::Timestamp,
    },
}

impl Trouble {
    fn patience(&self) -> Duration {
        match self {
            Self::At { fault, .. } if fault.is_slow() => IMPATIENT,
            _ => PATIENT,
        }
    }

    fn rule(&self) -> Rule {
        match self.clone() {
            Self::At { call, fault, always } => {
                let mut over = false;
                Box::new(move |one, _| {
                    let hit = *one == call && !over;
                    over |= hit && !always;
                    hit.then(|| fault.clone())
                })
            }
            Self::Until { is, fault, until } => {
                Box::new(move |one, now| (is(one) && now < until).then(|| fault.clone()))
            }
            Self::None | Self::Refused(_) | Self::Tls(_) | Self::Store(_) => Box::new(|_, _| None),
        }
    }
}

/// How a run came out.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    /// `None`: it panicked, hung, or the engine failed.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) says: String,
    pub(crate) entries: Vec<Entry>,
    pub(crate) seen: Vec<Seen>,
    /// How often each thing really changed.
    pub(crate) ledger: BTreeMap<(String, String), usize>,
    pub(crate) state: Value,
    /// Whether what was to go wrong went wrong.
    pub(crate) troubled: bool,
}

/// Changes a platform: for runs of broken clients.
pub(crate) type Tweak = fn(Platform) -> Platform;

/// Keeps a platform as it is.
pub(crate) fn untouched(platform: Platform) -> Platform {
    platform
}

struct Stage {
    sandbox: Arc<Sandbox>,
    layer: Layer,
    folder: tempfile::TempDir,
    /// The databases and buckets of an exercise.
    stores: Option<Arc<Stores>>,
}

impl Stage {
    async fn of(drill: Drill) -> Self {
        let spec = drill.spec();
        let clock = Arc::new(VirtualClock::at(spec.start));
        let sandbox = Arc::new(Sandbox::start_virtual(spec, Arc::clone(&clock)).await.unwrap());
        let layer = Layer::before(&sandbox, &clock);
        let folder = tempfile::tempdir().unwrap();
        let stores = drill.is_exercise().then(|| {
            tabletop::write_documents(&folder.path().join("documents"));
            Stores::of(Content::default(), clock.clone())
        });
        Self { sandbox, layer, folder, stores }
    }

    fn platform(&self, timeout: Duration, by_tls: Option<Service>) -> Platform {
        let artifacts = self.folder.path().join("artifacts");
        let mut settings = allclear::clients::sandbox::settings(&self.sandbox.base_url(), artifacts).unwrap();
        self.layer.lead(&mut settings.endpoints, by_tls);
        settings.timeout = timeout;
        settings.max_body = MAX_BODY;
        let clock = self.layer.clock();
        let documents = self.folder.path().join("documents");
        let recovery =
            self.stores.as_ref().map(|stores| tabletop::recovery(&settings, &clock, stores, &documents));
        Platform { recovery, ..allclear::clients::connect(settings, &clock).unwrap() }
    }

    /// What there is in the end. Of vouchers that the run itself issued the ids differ from run to run.
    fn state(&self) -> Value {
        let mut state = self.sandbox.state();
        let Some(stores) = &self.stores else { return state };
        let issued = state["vouchers"].as_array().cloned().unwrap_or_default();
        let mut issued: Vec<String> =
            issued.iter().map(|one| format!("{} {}", one["status"], one["amount_minor"])).collect();
        issued.sort();
        state["vouchers"] = json!(null);
        state["exercise"] = stores.state();
        let sent = self.sandbox.with_world(|world| world.sent_by_saved_campaigns());
        state["smoke"] = json!({ "vouchers": issued, "sent": sent, "campaigns": state["campaigns"] });
        // The campaigns are those of the smoke tests.
        state["campaigns"] = json!(null);
        state["audit_by_us"] = json!(null);
        state
    }
}

fn terms() -> Terms {
    Terms { humans: self::drill(), ..Terms::new("drill-run", "kim", "sandbox") }
}

fn build(of: Drill, platform: Platform) -> Box<dyn allclear::engine::Runbook> {
    (runbooks::find(of.runbook()).unwrap().build)(Value::Null, platform).unwrap()
}

/// The plan of a drill. The same world has the same plan, so one does for all runs of it.
pub(crate) async fn planned(of: Drill) -> Plan {
    let stage = Stage::of(of).await;
    let runbook = build(of, stage.platform(PATIENT, None));
    plan(&*runbook, terms(), stage.layer.clock()).await.unwrap()
}

/// One run, to its end.
pub(crate) async fn run(of: Drill, plan: &Plan, trouble: &Trouble, tweak: Tweak) -> Ran {
    let stage = Stage::of(of).await;
    let by_tls = if let Trouble::Tls(service) = trouble { Some(*service) } else { None };
    let runbook = build(of, tweak(stage.platform(trouble.patience(), by_tls)));
    stage.layer.arm(trouble.rule());
    if let Trouble::Refused(refusal) = trouble {
        stage.layer.refuse(*refusal).await;
    }
    if let (Trouble::Store(trouble), Some(stores)) = (trouble, &stage.stores) {
        stores.trouble(*trouble);
    }
    let journal = MemoryJournal::new();
    let seam = Box::new(journal.seam(stage.layer.clock()).unwrap());
    let (approved, terms) = (approved(plan, "drill-run"), terms());
    let ended = tokio::spawn(async move {
        tokio::time::timeout(HANGS, async move { execute(&*runbook, seam, approved, terms).await }).await
    });
    let (outcome, says) = match ended.await {
        Err(panic) => (None, format!("it panicked: {panic}")),
        Ok(Err(_)) => (None, "it hangs".to_owned()),
        Ok(Ok(Err(error))) => (None, format!("the engine failed: {error}")),
        Ok(Ok(Ok(finished))) => (Some(finished.outcome), finished.says),
    };
    let mut ledger: BTreeMap<(String, String), usize> = BTreeMap::new();
    for entry in stage.sandbox.ledger().into_iter().filter(|entry| entry.changed) {
        *ledger.entry((entry.effect, entry.subject)).or_default() += 1;
    }
    ledger.extend(stage.stores.iter().flat_map(|stores| stores.ledger()));
    let seen = stage.layer.seen();
    let troubled = match trouble {
        // That a connection was refused is seen nowhere but in the run: whoever judges it compares.
        Trouble::None | Trouble::Refused(_) => true,
        Trouble::Store(_) => stage.stores.as_ref().is_some_and(|stores| stores.was_troubled()),
        Trouble::At { .. } | Trouble::Until { .. } => seen.iter().any(|one| one.spoiled),
        Trouble::Tls(service) => !seen.iter().any(|one| one.call.service == *service),
    };
    let entries = journal.entries().unwrap();
    Ran { outcome, says, entries, seen, ledger, state: stage.state(), troubled }
}

impl Ran {
    /// The failures that the journal has.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &allclear::core::PortError> {
        self.entries.iter().filter_map(|entry| match &entry.event {
            Event::Failed { error, .. } => Some(error),
            _ => None,
        })
    }
}
