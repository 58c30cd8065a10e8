//! The procedure as a specification: mocks only, virtual time, no sandbox and no network.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear_core::error::StopReason;
use allclear_core::function::{
    Bundle, DeployedFunction, FunctionStatus, Preview, PreviewFault, PreviewImage,
};
use allclear_core::ports::*;
use allclear_core::{Clock as _, Platform, PortError, Service, VirtualClock, VoucherId};
use allclear_engine::{Nobody, Outcome};

use super::{Input, VoucherPreviewFailures};
use crate::mocked::{self, Calls, approver};

/// What a test's platform is like.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is another way in which a test's platform is odd")]
struct Fails {
    fault: PreviewFault,
    /// How many looks it lasts; for ever when `None`.
    looks: Option<u32>,
    function: Option<(FunctionStatus, u64)>,
    pinned: bool,
    /// Whether a deployment really arrives.
    deploys: bool,
    refused_token: bool,
    /// How many looks at vouchers that were not tried fail once those that were work.
    customers_fail: u32,
    /// Whether pictures are only shown, and none is made.
    stored: bool,
    /// How long ago the host last deployed the function.
    deployed: Duration,
}

struct World {
    clock: Arc<VirtualClock>,
    calls: Calls,
    state: Arc<Mutex<Fails>>,
}

/// Those without a picture first, three of them, then the newest.
const TRIED: [VoucherId; 4] = [voucher(2), voucher(3), voucher(4), voucher(1)];

fn start() -> jiff::Timestamp {
    "2026-11-23T07:00:00Z".parse().unwrap()
}

fn failing_with(status: u16) -> PreviewFault {
    PreviewFault::HttpError { status, says: "render failed".to_owned() }
}

fn not_deployed() -> Fails {
    let fault = PreviewFault::NotDeployed { says: "Requested function was not found".to_owned() };
    Fails { function: None, ..failing(fault) }
}

fn failing(fault: PreviewFault) -> Fails {
    let function = Some((FunctionStatus::Active, 7));
    Fails {
        fault,
        looks: None,
        function,
        pinned: true,
        deploys: true,
        refused_token: false,
        customers_fail: 0,
        stored: false,
        deployed: Duration::from_mins(15),
    }
}

const fn voucher(n: u128) -> VoucherId {
    VoucherId(uuid::Uuid::from_u128(n))
}

fn world(fails: Fails) -> World {
    World {
        clock: Arc::new(VirtualClock::at(start())),
        calls: Calls::default(),
        state: Arc::new(Mutex::new(fails)),
    }
}

impl World {
    fn previews(&self) -> MockVoucherPreviews {
        let (mut mock, state) = (MockVoucherPreviews::new(), Arc::clone(&self.state));
        let clock = Arc::clone(&self.clock);
        mock.expect_preview().returning(move |id| {
            let mut state = state.lock().unwrap();
            if state.looks == Some(0) && !TRIED.contains(&id) && state.customers_fail > 0 {
                state.customers_fail -= 1;
                return Ok(Preview::Failed { fault: failing_with(503), says_degraded: true });
            }
            if state.looks == Some(0) {
                let made_at = if state.stored { clock.now() - Duration::from_hours(30) } else { clock.now() };
                let sha256 = "ab".repeat(32);
                let image =
                    PreviewImage { width: 160, height: 96, bytes: 900, sha256, made_at: Some(made_at) };
                return Ok(Preview::Rendered { image, took: Duration::from_millis(80) });
            }
            // A look goes over all that are tried.
            if id == TRIED[TRIED.len() - 1] {
                state.looks = state.looks.map(|looks| looks - 1);
            }
            Ok(Preview::Failed { fault: state.fault.clone(), says_degraded: true })
        });
        mock
    }

    fn functions(&self) -> MockFunctionHost {
        let mut mock = MockFunctionHost::new();
        let state = Arc::clone(&self.state);
        mock.expect_find().returning(move |slug| {
            let mut state = state.lock().unwrap();
            if std::mem::take(&mut state.refused_token) {
                let service = Service::SupabaseManagement;
                let (call, detail) = ("GET functions".to_owned(), "HTTP 401".to_owned());
                return Err(PortError::Stopped { service, call, reason: StopReason::Credential, detail });
            }
            let updated_at = start() - state.deployed;
            let deployed =
                |(status, version)| DeployedFunction { slug: slug.to_owned(), status, version, updated_at };
            Ok(state.function.clone().map(deployed))
        });
        let state = Arc::clone(&self.state);
        mock.expect_bundle().returning(move |slug| {
            if state.lock().unwrap().pinned {
                let files = vec![("index.ts".to_owned(), b"code".to_vec())];
                return Ok(Bundle { entrypoint: "index.ts".into(), files, sha256: "cd".repeat(32) });
            }
            Err(PortError::NotFound { service: Service::Artifacts, what: format!("bundle for {slug}") })
        });
        let (state, calls) = (Arc::clone(&self.state), self.calls.clone());
        mock.expect_deploy().returning(move |slug, _| {
            calls.note("deploy");
            let mut state = state.lock().unwrap();
            let version = state.function.as_ref().map_or(1, |(_, version)| version + 1);
            if state.deploys {
                state.function = Some((FunctionStatus::Active, version));
                state.looks = Some(0);
            }
            let (status, updated_at) = (FunctionStatus::Active, jiff::Timestamp::UNIX_EPOCH);
            Ok(DeployedFunction { slug: slug.to_owned(), status, version, updated_at })
        });
        mock.expect_project().returning(|| "project-ref".into());
        mock
    }

    fn platform(&self) -> Platform {
        let mut vouchers = MockVouchers::new();
        vouchers.expect_newest_redeemable().returning(|_| Ok(vec![voucher(2), voucher(1)]));
        let without = |limit: u32| (2..6).take(limit as usize).map(voucher).collect();
        vouchers.expect_without_picture().returning(move |_, limit| Ok(without(limit)));
        vouchers.expect_find().returning(|id| {
            Err(PortError::NotFound { service: Service::Supabase, what: format!("voucher {id}") })
        });
        Platform {
            previews: Arc::new(self.previews()),
            functions: Arc::new(self.functions()),
            vouchers: Arc::new(vouchers),
            chat: Arc::new(mocked::chat(&self.calls)),
            paging: Arc::new(mocked::paging(&self.calls, "voucher-preview")),
            ..mocked::platform()
        }
    }

    async fn run(&self) -> (Outcome, String) {
        let runbook = VoucherPreviewFailures { on: self.platform(), input: Input::default() };
        let finished = mocked::run(&runbook, Arc::clone(&self.clock), approver()).await;
        (finished.outcome, finished.says)
    }
}

const REDEPLOYED: [&str; 4] =
    ["chat #ops previews unavailable", "deploy", "resolve", "chat #ops previews work"];
const REPAIRED: [&str; 3] = ["chat #ops previews unavailable", "resolve", "chat #ops previews work"];

#[tokio::test]
async fn what_a_deployment_can_cure_is_redeployed_from_the_pinned_source_and_proven() {
    let page = PreviewFault::NoPicture { detail: "a page".into() };
    for fails in [not_deployed(), failing(failing_with(500)), failing(page)] {
        let world = world(fails);
        let (outcome, says) = world.run().await;
        assert_eq!(outcome, Outcome::Verified, "{says}");
        assert_eq!(world.calls.all(), REDEPLOYED);
    }
}

#[tokio::test]
async fn what_a_program_cannot_cure_waits_for_a_person_and_is_proven_all_the_same() {
    let throttled = Fails { function: Some((FunctionStatus::Throttled, 7)), ..failing(failing_with(503)) };
    for fails in [
        failing(PreviewFault::Timeout { says: String::new() }),
        failing(PreviewFault::NotConfigured),
        throttled,
    ] {
        let world = world(Fails { looks: Some(4), ..fails });
        let (outcome, says) = world.run().await;
        assert_eq!(outcome, Outcome::Verified, "{says}");
        assert_eq!(world.calls.all(), REPAIRED);
    }
}

#[tokio::test]
async fn c9_what_no_deployment_cures_is_not_redeployed() {
    let says = || "no".to_owned();
    let faults = [
        PreviewFault::NotConfiguredOrSilent { says: says() },
        PreviewFault::Unreachable { says: says() },
        PreviewFault::CredentialRefused { status: 401, says: says() },
        PreviewFault::RequestRefused { status: 400, says: says() },
        PreviewFault::RateLimited { says: says() },
    ];
    let old = Duration::from_hours(720);
    let worked_before = [failing_with(500), PreviewFault::EmptyAnswer].map(failing);
    let elsewhere = Fails { function: Some((FunctionStatus::Active, 7)), ..not_deployed() };
    let all = faults.map(failing).into_iter().chain(worked_before).chain([elsewhere]);
    for fails in all {
        let world = world(Fails { looks: Some(4), deployed: old, ..fails.clone() });
        let (outcome, says) = world.run().await;
        assert_eq!(outcome, Outcome::Verified, "{}: {says}", fails.fault);
        assert_eq!(world.calls.all(), REPAIRED, "{}", fails.fault);
    }
}

#[tokio::test]
async fn pictures_that_were_made_before_show_nothing() {
    let at_once = world(Fails { looks: Some(0), stored: true, ..failing(failing_with(500)) });
    let (outcome, says) = at_once.run().await;
    assert_eq!((outcome, at_once.calls.all().len()), (Outcome::Unverified, 0), "{says}");
    assert!(says.contains("made before it was asked for") && !says.contains("all clear"), "{says}");
    let after = world(Fails { stored: true, ..failing(failing_with(500)) });
    let (outcome, says) = after.run().await;
    assert_eq!(outcome, Outcome::Interrupted, "{says}");
    assert!(!after.calls.contains("resolve"), "{says}");
}

#[tokio::test]
async fn a_voucher_that_does_not_exist_is_told() {
    let world = world(Fails { looks: Some(0), ..failing(failing_with(500)) });
    let input = Input { voucher: Some(voucher(77)), ..Input::default() };
    let runbook = VoucherPreviewFailures { on: world.platform(), input };
    let finished = mocked::run(&runbook, Arc::clone(&world.clock), approver()).await;
    assert_ne!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(finished.says.contains("has no voucher"), "{}", finished.says);
}

#[tokio::test]
async fn a_failure_that_is_over_on_the_second_look_changes_nothing() {
    let world = world(Fails { looks: Some(1), ..failing(PreviewFault::Timeout { says: String::new() }) });
    let (outcome, says) = world.run().await;
    assert_eq!((outcome, world.calls.all().len()), (Outcome::Verified, 0), "{says}");
}

#[tokio::test]
async fn a_customers_voucher_that_fails_once_is_looked_at_again_and_one_that_keeps_failing_is_refuted() {
    let fails = |customers_fail| Fails { customers_fail, ..not_deployed() };
    let once = world(fails(2));
    let (outcome, says) = once.run().await;
    assert_eq!(
        (outcome, once.calls.all()),
        (Outcome::Verified, REDEPLOYED.map(str::to_owned).to_vec()),
        "{says}"
    );
    let always = world(fails(u32::MAX));
    let (outcome, says) = always.run().await;
    assert_eq!(outcome, Outcome::Refuted, "{says}");
    assert!(says.contains("1 of 4 customers' vouchers"), "{says}");
    assert!(!always.calls.contains("resolve"));
}

#[tokio::test]
async fn a_refused_token_is_named_and_asked_for() {
    let fails = Fails { refused_token: true, ..failing(failing_with(500)) };
    let world = world(fails);
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    assert_eq!(world.calls.all(), REDEPLOYED);
}

#[tokio::test]
async fn a_deployment_that_did_not_arrive_is_refuted_and_the_incident_stays_open() {
    let world = world(Fails { deploys: false, ..failing(failing_with(500)) });
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Refuted, "{says}");
    assert!(!world.calls.contains("resolve"));
}

#[tokio::test]
async fn without_a_pinned_source_a_person_redeploys() {
    let world = world(Fails { pinned: false, looks: Some(3), ..not_deployed() });
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    assert!(!world.calls.contains("deploy"));
}

#[tokio::test]
async fn nothing_is_deployed_without_a_person() {
    let world = world(not_deployed());
    let runbook = VoucherPreviewFailures { on: world.platform(), input: Input::default() };
    let finished = mocked::run(&runbook, Arc::clone(&world.clock), Arc::new(Nobody)).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman, "{}", finished.says);
    assert!(!world.calls.contains("deploy"));
}
