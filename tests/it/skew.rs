//! Runs on a machine whose clock is wrong, against a platform whose clock is right: the same samples are seen, nothing
//! happens twice, and nothing is claimed that the platform's own rows do not show.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use allclear::clients::sandbox::SandboxControl;
use allclear::core::owner::{Announcement, Ended, Owner, Told, announce, end};
use allclear::core::{Clock, Platform, PlatformClock, Times, VirtualClock};
use allclear::engine::{MemoryJournal, Outcome, Terms, execute, plan};
use allclear::runbooks;
use allclear::sandbox::{Profile, Sandbox, Scenario, WorldSpec};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::scene::{approved, count_effects, drill, runbook_of, small};

/// A machine whose wall clock is wrong.
#[derive(Debug)]
struct Skewed {
    real: Arc<VirtualClock>,
    by: SignedDuration,
}

#[async_trait]
impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        self.real.now() + self.by
    }

    fn monotonic(&self) -> Duration {
        self.real.monotonic()
    }

    async fn sleep_until(&self, at: Timestamp) {
        self.real.sleep_until(at - self.by).await;
    }
}

struct Ran {
    outcome: Outcome,
    says: String,
    ledger: BTreeMap<(String, String), usize>,
}

fn world(scenario: Scenario) -> WorldSpec {
    let profile = match scenario {
        Scenario::Outage { .. } => Profile::AsIs,
        _ => Profile::Target,
    };
    WorldSpec {
        profile,
        campaigns: 2,
        targets_per_campaign: 120,
        vouchers: 20,
        stations: 3,
        notifications: 40,
        ..small(scenario)
    }
}

/// The ports as a machine has them whose clock is out by so much, and the platform's time there.
async fn at(sandbox: &Sandbox, real: &Arc<VirtualClock>, by: SignedDuration) -> (Platform, Arc<dyn Clock>) {
    let ours: Arc<dyn Clock> = Arc::new(Skewed { real: Arc::clone(real), by });
    let artifacts = std::env::temp_dir().join(format!("allclear-skew-{}", std::process::id()));
    let mut settings = allclear::clients::sandbox::settings(&sandbox.base_url(), artifacts).unwrap();
    settings.timeout = Duration::from_secs(20);
    let platform = allclear::clients::connect(settings, &ours).unwrap();
    platform.times.look().await;
    let clock = PlatformClock::over(ours, Arc::clone(&platform.times));
    (platform, Arc::new(clock))
}

async fn run(scenario: Scenario, by: SignedDuration, lost: Option<&str>) -> Ran {
    let spec = world(scenario);
    let real = Arc::new(VirtualClock::at(spec.start));
    let sandbox = Sandbox::start_virtual(spec, Arc::clone(&real)).await.unwrap();
    let (platform, clock) = at(&sandbox, &real, by).await;
    let entry = runbooks::find(runbook_of(scenario)).unwrap();
    let runbook = (entry.build)(Value::Null, platform).unwrap();
    let terms = || Terms { humans: drill(), ..Terms::new("drill-run", "kim", "sandbox") };
    let plan = plan(&*runbook, terms(), Arc::clone(&clock)).await.unwrap();
    if let Some(lost) = lost {
        let control = SandboxControl::at(&sandbox.base_url()).unwrap();
        control.faults(&[], &[], &[lost]).await.unwrap();
    }
    let seam = MemoryJournal::new().seam(clock).unwrap();
    let finished = execute(&*runbook, Box::new(seam), approved(&plan, "drill-run"), terms()).await.unwrap();
    Ran { outcome: finished.outcome, says: finished.says, ledger: count_effects(&sandbox.ledger()) }
}

const DRILLS: [(Scenario, &str); 4] = [
    (Scenario::Outage { minutes: 6 }, "/functions/v1/wa-send-media"),
    (Scenario::Stalled, "/api/campaigns/start"),
    (Scenario::PreviewRemoved, "/functions/deploy"),
    (Scenario::DoubleRedemption, "/rest/v1/vouchers"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a16_a16b_c6_under_any_skew_up_to_a_day_a_run_does_what_it_does_with_the_right_clock() {
    let skews = [400, -400, 2_000, 60_000, -60_000, 300_000, -2_400_000, 82_800_000, -82_800_000];
    for (scenario, call) in DRILLS {
        for lost in [None, Some(call)] {
            let right = run(scenario, SignedDuration::ZERO, lost).await;
            assert_eq!(right.outcome, Outcome::Verified, "{scenario:?} {lost:?}: {}", right.says);
            for by in skews {
                let ran = run(scenario, SignedDuration::from_millis(by), lost).await;
                let shown = format!("{scenario:?}, {by} ms, {lost:?}: {}", ran.says);
                assert_eq!(ran.outcome, right.outcome, "{shown}");
                for (effect, times) in &ran.ledger {
                    let should = right.ledger.get(effect).copied().unwrap_or(1);
                    assert!(*times <= should, "{effect:?} {times} times instead of {should}; {shown}");
                }
                let kinds = |ran: &Ran| ran.ledger.keys().map(|key| key.0.clone()).collect::<Vec<_>>();
                assert_eq!(kinds(&ran), kinds(&right), "{shown}");
            }
        }
    }
}

#[tokio::test]
async fn a16_a_clock_that_is_out_by_more_than_a_day_is_refused_and_told() {
    let spec = world(Scenario::DoubleRedemption);
    let real = Arc::new(VirtualClock::at(spec.start));
    let sandbox = Sandbox::start_virtual(spec, Arc::clone(&real)).await.unwrap();
    let (platform, _) = at(&sandbox, &real, SignedDuration::from_hours(25)).await;
    let said = Times(platform.times.observed()).check().unwrap_err().to_string();
    assert!(said.contains("25 h 0 min ahead of that of Supabase"), "{said}");
    let (platform, _) = at(&sandbox, &real, SignedDuration::from_mins(-40)).await;
    let times = Times(platform.times.observed());
    assert_eq!(times.check(), Ok(()));
    assert!(times.worth_telling()[0].contains("40 min behind"), "{:?}", times.worth_telling());
}

fn announcement(run: &str, host: &str) -> Announcement {
    let runbook = "whatsapp-send-failures".to_owned();
    let [run, by, host, environment] = [run, "kim", host, "production"].map(str::to_owned);
    Announcement { run, runbook, by, host, environment }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d5_of_machines_that_announce_at_once_exactly_one_goes_on() {
    let spec = small(Scenario::Healthy);
    let real = Arc::new(VirtualClock::at(spec.start));
    let sandbox = Sandbox::start_virtual(spec, Arc::clone(&real)).await.unwrap();
    let mut machines = Vec::new();
    for hours in [0, 3, -23] {
        machines.push(at(&sandbox, &real, SignedDuration::from_hours(hours)).await.0);
    }
    for round in 0..20 {
        let mut tasks = Vec::new();
        for (number, on) in machines.iter().enumerate() {
            let (on, says) = (on.clone(), announcement(&format!("run-{round}-{number}"), "a laptop"));
            tasks.push(tokio::spawn(async move {
                (says.run.clone(), announce(&*on.announcements, &says, None).await.unwrap())
            }));
        }
        let (mut winners, mut told) = (Vec::new(), Vec::new());
        for task in tasks {
            match task.await.unwrap() {
                (run, Owner::Ours(_)) => winners.push(run),
                (_, Owner::Another(other)) => told.push(other.says.run),
                (_, other) => panic!("the row is there: {other:?}"),
            }
        }
        assert_eq!(winners.len(), 1, "{round}: {winners:?}");
        assert!(told.len() == 2 && told.iter().all(|run| run == &winners[0]), "{round}: {told:?}");
        let record = &*machines[0].announcements;
        let again = announce(record, &announcement(&winners[0], "a laptop"), None).await.unwrap();
        assert!(matches!(again, Owner::Ours(_)), "a run that is taken up again knows its own row");
        let ended = Ended::by_itself("verified");
        let end = async || end(record, "whatsapp-send-failures", &winners[0], &ended).await.unwrap();
        assert_eq!(end().await, Told::Yes);
        assert_eq!(end().await, Told::NothingStands, "once");
        let again = announce(record, &announcement(&winners[0], "a laptop"), None).await.unwrap();
        assert!(matches!(again, Owner::OursEnded(_)), "whoever ended finds that: {again:?}");
    }
}

#[tokio::test]
async fn d5_a_row_that_the_platform_loses_in_silence_proves_nothing() {
    let spec = small(Scenario::Healthy);
    let real = Arc::new(VirtualClock::at(spec.start));
    let sandbox = Sandbox::start_virtual(spec, Arc::clone(&real)).await.unwrap();
    let control = SandboxControl::at(&sandbox.base_url()).unwrap();
    control.faults(&["audit_write_lost"], &[], &[]).await.unwrap();
    let (platform, _) = at(&sandbox, &real, SignedDuration::ZERO).await;
    let owner = announce(&*platform.announcements, &announcement("run-1", "a laptop"), None).await.unwrap();
    assert_eq!(owner, Owner::Unproven);
}
