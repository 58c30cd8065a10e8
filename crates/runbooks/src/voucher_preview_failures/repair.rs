//! What a fault leads to: a deployment where the function is missing or its build is bad, and a person everywhere else.

use std::time::Duration;

use allclear_core::clock::{after, before};
use allclear_core::function::{FunctionStatus, PreviewFault};
use allclear_core::{Platform, VoucherId};
use allclear_engine::{Approval, Choice, Claim, Escalation, Gate, Halt, OnlyWhile, Run};
use async_trait::async_trait;
use jiff::Timestamp;

use super::detect::{HostView, PinnedBundle, PreviewCheck, PreviewFunction, StillFails};
use super::redeploy::DeployFunction;
use super::{VP_I1, VP_R1, VoucherPreviewFailures};
use crate::effects::DIAGNOSIS_HOLDS;
use crate::words::counted;

/// A build that is older than this worked before, so it is not what broke.
const NEW_BUILD: Duration = Duration::from_hours(24);

/// What must be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repair {
    /// The host does not have the function, or has had a new build of it since a short time.
    Redeploy,
    /// The platform does not know where the function is.
    Configuration,
    /// The host serves the function, and where the platform calls it there is none.
    Address,
    /// The way to the function.
    Network,
    /// The host, or the function, takes no more calls.
    Throttle,
    /// The function does not take the platform's key.
    PlatformKey,
    /// The function does not take what the platform sends.
    Request,
    /// The host does not let us look.
    Credential,
    /// More than one of these, and nothing from outside tells which.
    Unclear,
}

impl Repair {
    /// What a fault and the host's view of the function come to. Faults that say what they are go before the host's view.
    fn of(fault: &PreviewFault, host: &HostView, now: Timestamp) -> Self {
        match (fault, host) {
            (PreviewFault::NotConfigured, _) => Self::Configuration,
            (PreviewFault::NotConfiguredOrSilent { .. }, HostView::Seen { function })
                if function.status == FunctionStatus::Throttled =>
            {
                Self::Throttle
            }
            (PreviewFault::NotConfiguredOrSilent { .. }, _) => Self::Unclear,
            (PreviewFault::Timeout { .. } | PreviewFault::Unreachable { .. }, _) => Self::Network,
            (PreviewFault::CredentialRefused { .. }, _) => Self::PlatformKey,
            (PreviewFault::RequestRefused { .. }, _) => Self::Request,
            (PreviewFault::RateLimited { .. }, _) => Self::Throttle,
            (_, HostView::NoAccess { .. }) => Self::Credential,
            (_, HostView::Missing) => Self::Redeploy,
            (fault, HostView::Seen { function }) => match function.status {
                FunctionStatus::Throttled => Self::Throttle,
                FunctionStatus::Removed => Self::Redeploy,
                _ if matches!(fault, PreviewFault::NotDeployed { .. }) => Self::Address,
                _ if function.updated_at >= before(now, NEW_BUILD) => Self::Redeploy,
                _ => Self::Unclear,
            },
        }
    }

    /// What a person is asked.
    fn question(self) -> &'static str {
        match self {
            Self::Configuration => {
                "The admin API does not know where the preview function is. Has VOUCHER_PREVIEW_ENDPOINT been set and the app restarted?"
            }
            Self::Address => {
                "The host serves the preview function, and the platform calls it where there is none. Has VOUCHER_PREVIEW_ENDPOINT been corrected and the app restarted?"
            }
            Self::Network => {
                "The preview function does not answer, or not in time. Has the network (or the function's own call) been repaired?"
            }
            Self::Throttle => {
                "Calls of the preview function are held back. Has the limit been lifted, or its time passed?"
            }
            Self::PlatformKey => {
                "The preview function refuses the platform's own key. Has the platform been given the right one (SUPABASE_SERVICE_ROLE_KEY, BRIDGE_SHARED_SECRET) and been restarted?"
            }
            Self::Request => {
                "The preview function does not take what the platform asks it for. Has whoever owns the two made them fit?"
            }
            Self::Credential | Self::Redeploy | Self::Unclear => {
                "The host still refuses the access token. Has the function been redeployed by hand?"
            }
        }
    }
}

/// What a person found where nothing from outside tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    EndpointSet,
    Repaired,
    Redeploy,
}

impl Choice for Found {
    const ALL: &'static [Self] = &[Self::EndpointSet, Self::Repaired, Self::Redeploy];

    fn id(self) -> &'static str {
        match self {
            Self::EndpointSet => "endpoint-set",
            Self::Repaired => "repaired",
            Self::Redeploy => "redeploy",
        }
    }

    fn says(self) -> &'static str {
        match self {
            Self::EndpointSet => {
                "VOUCHER_PREVIEW_ENDPOINT was missing or wrong; it is set now and the app restarted"
            }
            Self::Repaired => "the function, or what it calls, was at fault; a person has repaired it",
            Self::Redeploy => "its build is bad: redeploy it from the pinned source",
        }
    }
}

impl VoucherPreviewFailures {
    pub(super) async fn repair(
        &self,
        run: &mut Run,
        (fault, host): (&PreviewFault, HostView),
        sample: &[VoucherId],
    ) -> Result<(), Halt> {
        let mut host = host;
        let mut repair = Repair::of(fault, &host, run.now());
        if let (Repair::Credential, HostView::NoAccess { says, .. }) = (repair, &host) {
            let gate = Gate::new(
                "The host refuses the access token. Has it been replaced?",
                Approval::Approve,
            )
            .about("token")
            .showing(says.clone())
            .showing(
                "no API makes a new one: make it in the dashboard, put it where the configuration reads it",
            );
            run.approve(&VP_I1, gate).await?;
            host = run.probe(&VP_I1, PreviewFunction::of(&self.on, "with the new token")).await?;
            repair = Repair::of(fault, &host, run.now());
        }
        match repair {
            Repair::Redeploy => self.redeploy(run, (fault, &host), sample).await,
            Repair::Unclear => self.ask_what_it_is(run, (fault, &host), sample).await,
            other => self.wait_for_a_person(run, other, fault, &host).await,
        }
    }

    /// Deploys the pinned source when a person agrees. Without one, a person deploys.
    async fn redeploy(
        &self,
        run: &mut Run,
        (fault, host): (&PreviewFault, &HostView),
        sample: &[VoucherId],
    ) -> Result<(), Halt> {
        let slug = &self.on.limits.preview_function;
        let Some(pinned) = run.probe(&VP_R1, PinnedBundle::of(&self.on)).await? else {
            let question = format!("No source is pinned for {slug}. Has it been redeployed by hand?");
            return run
                .approve(&VP_R1, Gate::new(question, Approval::Approve).showing(fault.to_string()))
                .await;
        };
        let gate = Gate::new(format!("Redeploy {slug} from the pinned source?"), Approval::Approve)
            .about("redeploy")
            .showing(format!("project {}", self.on.functions.project()))
            .showing(format!("because {fault}"))
            .showing(format!("now: {host}"))
            .showing(format!(
                "source: {}, SHA-256 {}",
                counted(pinned.files, "file", "files"),
                pinned.sha256
            ));
        let deploy = DeployFunction::pinned(&self.on, &pinned.sha256);
        run.approve(&VP_R1, gate.covering(&deploy)).await?;
        // While it was thought about, somebody may have deployed what works.
        let check = |which| PreviewCheck::of(&self.on, sample, which);
        let looked = run.probe(&VP_R1, check("before the redeployment")).await?;
        if !looked.fails() && !run.is_plan() {
            let says = format!("previews work again, so {slug} was not redeployed");
            return run.note(&VP_R1, Claim::seen(&run.proof(&VP_R1)?, says)).await;
        }
        let still = OnlyWhile::of(StillFails(check("right before the redeployment")));
        let deploy = deploy.only_while(still.from(after(run.now(), DIAGNOSIS_HOLDS)));
        let deployed = run.attempt(&VP_R1, deploy).await?;
        let claim = Claim::of(
            &deployed,
            format!("{slug} was redeployed from the pinned source; before: {host}"),
            format!("{slug} was sent to the host, and that it was deployed is not proven; before: {host}"),
        );
        run.note(&VP_R1, claim).await?;
        deployed.proven(&VP_R1)
    }

    /// A person looks: a deployment would cure none of the other causes, and hide which it was.
    async fn ask_what_it_is(
        &self,
        run: &mut Run,
        (fault, host): (&PreviewFault, &HostView),
        sample: &[VoucherId],
    ) -> Result<(), Halt> {
        let presumed = match fault {
            PreviewFault::NotConfiguredOrSilent { .. } => Found::EndpointSet,
            _ => Found::Repaired,
        };
        let gate = Gate::new(
            "What keeps previews from being rendered cannot be told from here. What was it?",
            presumed,
        )
        .about("cause")
        .showing(fault.to_string())
        .showing(host.to_string());
        let instead = Deploying { on: self.on.clone() };
        run.in_case("a person finds that its build is bad", &instead).await?;
        match run.ask(&VP_R1, gate).await? {
            Found::Redeploy => self.redeploy(run, (fault, host), sample).await,
            found => {
                let says = format!("a person says of the repair: {}", found.says());
                run.note(&VP_R1, Claim::seen(&run.proof(&VP_R1)?, says)).await
            }
        }
    }

    async fn wait_for_a_person(
        &self,
        run: &mut Run,
        repair: Repair,
        fault: &PreviewFault,
        host: &HostView,
    ) -> Result<(), Halt> {
        let gate = Gate::new(repair.question(), Approval::Approve)
            .about("repair")
            .showing(fault.to_string())
            .showing(host.to_string());
        run.approve(&VP_R1, gate).await?;
        let says = format!("a person says that they repaired what a program cannot: {fault}");
        run.note(&VP_R1, Claim::seen(&run.proof(&VP_R1)?, says)).await
    }
}

/// The deployment that a person may choose.
struct Deploying {
    on: Platform,
}

#[async_trait]
impl Escalation for Deploying {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        if let Some(pinned) = run.probe(&VP_R1, PinnedBundle::of(&self.on)).await? {
            run.attempt(&VP_R1, DeployFunction::pinned(&self.on, &pinned.sha256)).await?.proven(&VP_R1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use allclear_core::error::StopReason;
    use allclear_core::function::DeployedFunction;

    use super::Repair::{Address, Credential, Redeploy, Throttle, Unclear};
    use super::*;

    #[test]
    fn c9_only_a_missing_function_and_a_new_build_lead_to_a_deployment() {
        let now: Timestamp = "2026-11-23T07:00:00Z".parse().unwrap();
        let seen = |status: FunctionStatus, hours: u64| HostView::Seen {
            function: DeployedFunction {
                slug: "voucher-preview".to_owned(),
                status,
                version: 7,
                updated_at: before(now, Duration::from_hours(hours)),
            },
        };
        let (new, old) = (seen(FunctionStatus::Active, 1), seen(FunctionStatus::Active, 720));
        let hosts = [
            HostView::Missing,
            seen(FunctionStatus::Removed, 720),
            seen(FunctionStatus::Throttled, 720),
            new,
            old,
            HostView::NoAccess { reason: StopReason::Credential, says: String::new() },
        ];
        let says = String::new;
        let build = [
            PreviewFault::HttpError { status: 500, says: says() },
            PreviewFault::EmptyAnswer,
            PreviewFault::NoPicture { detail: "a page".to_owned() },
        ];
        for fault in build {
            let all = hosts.each_ref().map(|host| Repair::of(&fault, host, now));
            assert_eq!(all, [Redeploy, Redeploy, Throttle, Redeploy, Unclear, Credential], "{fault}");
        }
        let missing = PreviewFault::NotDeployed { says: says() };
        let all = hosts.each_ref().map(|host| Repair::of(&missing, host, now));
        assert_eq!(all, [Redeploy, Redeploy, Throttle, Address, Address, Credential]);
        let others = [
            PreviewFault::NotConfigured,
            PreviewFault::NotConfiguredOrSilent { says: says() },
            PreviewFault::Timeout { says: says() },
            PreviewFault::Unreachable { says: says() },
            PreviewFault::CredentialRefused { status: 401, says: says() },
            PreviewFault::RequestRefused { status: 400, says: says() },
            PreviewFault::RateLimited { says: says() },
        ];
        for (fault, host) in others.iter().flat_map(|fault| hosts.iter().map(move |host| (fault, host))) {
            assert_ne!(Repair::of(fault, host, now), Redeploy, "{fault} and {host}");
        }
    }
}
