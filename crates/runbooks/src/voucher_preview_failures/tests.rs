//! The procedure as a specification: mocks only, virtual time, no sandbox and no network.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear_core::error::StopReason;
use allclear_core::function::{
    Bundle, DeployedFunction, FunctionStatus, Preview, PreviewFault, PreviewImage,
};
use allclear_core::ports::*;
use allclear_core::{Platform, PortError, Service, VirtualClock, VoucherId};
use allclear_engine::{Nobody, Outcome};

use super::{Input, VoucherPreviewFailures};
use crate::mocked::{self, Calls, approver};

/// What a test's platform is like.
#[derive(Clone)]
struct Fails {
    fault: PreviewFault,
    /// How many looks it lasts; for ever when `None`.
    looks: Option<u32>,
    function: Option<(FunctionStatus, u64)>,
    pinned: bool,
    /// Whether a deployment really arrives.
    deploys: bool,
    refused_token: bool,
}

struct World {
    clock: Arc<VirtualClock>,
    calls: Calls,
    state: Arc<Mutex<Fails>>,
}

fn failing(fault: PreviewFault) -> Fails {
    let function = Some((FunctionStatus::Active, 7));
    Fails { fault, looks: None, function, pinned: true, deploys: true, refused_token: false }
}

fn voucher(n: u128) -> VoucherId {
    VoucherId(uuid::Uuid::from_u128(n))
}

fn world(fails: Fails) -> World {
    World {
        clock: Arc::new(VirtualClock::at("2026-11-23T07:00:00Z".parse().unwrap())),
        calls: Calls::default(),
        state: Arc::new(Mutex::new(fails)),
    }
}

impl World {
    fn previews(&self) -> MockVoucherPreviews {
        let (mut mock, state) = (MockVoucherPreviews::new(), Arc::clone(&self.state));
        mock.expect_preview().returning(move |_| {
            let mut state = state.lock().unwrap();
            if state.looks == Some(0) {
                let image = PreviewImage { width: 160, height: 96, bytes: 900, sha256: "ab".repeat(32) };
                return Ok(Preview::Rendered { image, took: Duration::from_millis(80) });
            }
            state.looks = state.looks.map(|looks| looks - 1);
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
            let updated_at = jiff::Timestamp::UNIX_EPOCH;
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
        vouchers.expect_newest_redeemable().returning(|| Ok(Some(voucher(1))));
        vouchers.expect_without_picture().returning(|_, _| Ok(vec![voucher(2), voucher(3)]));
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
    let removed = Fails { function: None, ..failing(PreviewFault::NotDeployed) };
    let page = PreviewFault::NoPicture { detail: "a page".into() };
    for fails in [removed, failing(PreviewFault::HttpError { status: 500 }), failing(page)] {
        let world = world(fails);
        let (outcome, says) = world.run().await;
        assert_eq!(outcome, Outcome::Verified, "{says}");
        assert_eq!(world.calls.all(), REDEPLOYED);
    }
}

#[tokio::test]
async fn what_a_program_cannot_cure_waits_for_a_person_and_is_proven_all_the_same() {
    let throttled = Fails {
        function: Some((FunctionStatus::Throttled, 7)),
        ..failing(PreviewFault::HttpError { status: 503 })
    };
    for fails in [failing(PreviewFault::Timeout), failing(PreviewFault::NotConfigured), throttled] {
        let world = world(Fails { looks: Some(4), ..fails });
        let (outcome, says) = world.run().await;
        assert_eq!(outcome, Outcome::Verified, "{says}");
        assert_eq!(world.calls.all(), REPAIRED);
    }
}

#[tokio::test]
async fn a_failure_that_is_over_on_the_second_look_changes_nothing() {
    let world = world(Fails { looks: Some(1), ..failing(PreviewFault::Timeout) });
    let (outcome, says) = world.run().await;
    assert_eq!((outcome, world.calls.all().len()), (Outcome::Verified, 0), "{says}");
}

#[tokio::test]
async fn a_refused_token_is_named_and_asked_for() {
    let fails = Fails { refused_token: true, ..failing(PreviewFault::HttpError { status: 500 }) };
    let world = world(fails);
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    assert_eq!(world.calls.all(), REDEPLOYED);
}

#[tokio::test]
async fn a_deployment_that_did_not_arrive_is_refuted_and_the_incident_stays_open() {
    let world = world(Fails { deploys: false, ..failing(PreviewFault::HttpError { status: 500 }) });
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Refuted, "{says}");
    assert!(!world.calls.contains("resolve"));
}

#[tokio::test]
async fn without_a_pinned_source_a_person_redeploys() {
    let world = world(Fails { pinned: false, looks: Some(3), ..failing(PreviewFault::NotDeployed) });
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    assert!(!world.calls.contains("deploy"));
}

#[tokio::test]
async fn nothing_is_deployed_without_a_person() {
    let world = world(failing(PreviewFault::NotDeployed));
    let runbook = VoucherPreviewFailures { on: world.platform(), input: Input::default() };
    let finished = mocked::run(&runbook, Arc::clone(&world.clock), Arc::new(Nobody)).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman, "{}", finished.says);
    assert!(!world.calls.contains("deploy"));
}
