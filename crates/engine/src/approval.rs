//! Approved plans: the one thing that [`execute`](crate::execute) takes, and the rules by which a plan becomes one.
//!
//! That somebody agreed to what a run does is not left to whoever starts it: there is no other way to execute than with an
//! [`ApprovedPlan`], and no other way to get one than through the rules here.

use allclear_core::Rehearsal;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::gate::Approvers;
use crate::journal::{Entry, Event};
use crate::outcome::Refusal;
use crate::person::{person, same_person};
use crate::plan::Plan;
use crate::runbook::Runbook;

/// How somebody showed that they approve a plan, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// They said yes at the terminal, after the plan was printed there.
    Typed,
    /// They gave the plan's hash.
    Hash,
    /// They started the run with a yes to whatever the plan would be.
    Flag,
    /// A drill's role was played. Counts in a rehearsal only.
    Role,
    /// A service that embeds the engine says so.
    Service,
}

impl Shown {
    /// In words, after a person's name.
    pub fn says(self) -> &'static str {
        match self {
            Self::Typed => "with a yes at the terminal",
            Self::Hash => "by its hash",
            Self::Flag => "with --yes",
            Self::Role => "as a drill's role",
            Self::Service => "through a service",
        }
    }
}

/// Somebody's yes to a plan. A claim: [`ApprovedPlan::by`] judges whether it counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanApproval {
    /// Which run it is for.
    pub run: String,
    /// Hash of the plan that was shown, or its first twelve characters at least.
    pub plan: String,
    /// How many effects that plan named.
    pub effects: usize,
    /// Who approves.
    pub by: String,
    /// How they showed it.
    pub shown: Shown,
    /// Until when it counts, by the run's clock; without an end when `None`.
    pub until: Option<Timestamp>,
}

impl PlanApproval {
    /// A yes of `by` to `plan` as it is, for one run.
    pub fn of(plan: &Plan, run: impl Into<String>, by: impl Into<String>, shown: Shown) -> Self {
        let (run, by) = (run.into(), by.into());
        Self { run, plan: plan.hash.clone(), effects: plan.effects.len(), by, shown, until: None }
    }
}

/// Whose approval a plan needs, and when it is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRules {
    /// Who may approve, and how many must.
    pub approvers: Approvers,
    /// Who starts the run.
    pub requester: String,
    /// Now, by the run's clock.
    pub now: Timestamp,
}

impl PlanRules {
    /// Any one person's approval is enough, also the requester's. What cannot be taken back has a gate of its own.
    pub fn anyone(requester: impl Into<String>, now: Timestamp) -> Self {
        Self { approvers: Approvers::anyone(), requester: requester.into(), now }
    }
}

/// The shortest part of a hash that names a plan.
const SHORTEST_HASH: usize = 12;

/// A plan that may be executed, once, by the run it was approved for. Made by the rules of this module alone:
///
/// ```compile_fail,E0451
/// use allclear_engine::ApprovedPlan;
///
/// // Nobody says for themselves that a plan is approved.
/// let made_by_hand = ApprovedPlan { run: "run-1".to_owned(), plan: None, approvals: Vec::new() };
/// ```
///
/// and it cannot be used twice:
///
/// ```compile_fail,E0599
/// # fn twice(approved: allclear_engine::ApprovedPlan) {
/// let another = approved.clone();
/// # }
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct ApprovedPlan {
    run: String,
    plan: Option<Plan>,
    approvals: Vec<PlanApproval>,
}

impl ApprovedPlan {
    /// The plan that people approved for `run`. Each approval must be right, and they must be enough.
    pub fn by(
        plan: Plan,
        run: impl Into<String>,
        approvals: Vec<PlanApproval>,
        rules: &PlanRules,
    ) -> Result<Self, Refusal> {
        let run = run.into();
        plan.check_untampered()?;
        for (place, approval) in approvals.iter().enumerate() {
            check_approval(&plan, &run, approval, rules)?;
            if approvals[..place].iter().any(|earlier| same_person(&earlier.by, &approval.by)) {
                return Err(Refusal::NotApproved {
                    why: format!(
                        "{} approved it twice, which is one approval; another person must",
                        approval.by
                    ),
                });
            }
        }
        let needed = usize::from(rules.approvers.needed.max(1));
        if approvals.len() < needed {
            let why = format!("{} of the {needed} approvals that it needs are there", approvals.len());
            return Err(Refusal::NotApproved { why });
        }
        Ok(Self { run, plan: Some(plan), approvals })
    }

    /// A plan without effects, which needs nobody.
    pub fn changes_nothing(plan: Plan, run: impl Into<String>) -> Result<Self, Refusal> {
        plan.check_untampered()?;
        if plan.has_effects() {
            let why = format!("it has {} effects and nobody approved them", plan.effects.len());
            return Err(Refusal::NotApproved { why });
        }
        Ok(Self { run: run.into(), plan: Some(plan), approvals: Vec::new() })
    }

    /// The plan that a run began with, as its own journal says that it was approved. `plan` is where it was kept beside the
    /// journal, and is believed only as far as its hash is the journal's.
    pub fn recorded(plan: Plan, run: impl Into<String>, entries: &[Entry]) -> Result<Self, Refusal> {
        plan.check_untampered()?;
        let started = entries.iter().find_map(|entry| match &entry.event {
            Event::Started { plan, approvals, .. } => Some((plan.as_deref(), approvals.clone())),
            _ => None,
        });
        // A process that died before the first entry began nothing; whoever goes on begins, and must approve again.
        let Some((hash, mut approvals)) = started else {
            let why = "its journal has no beginning, so nobody is known to have approved it".to_owned();
            return Err(Refusal::NotApproved { why });
        };
        if hash != Some(plan.hash.as_str()) {
            let approved = hash.unwrap_or("none").to_owned();
            return Err(Refusal::ForeignApproval { approved, shown: plan.hash });
        }
        if approvals.is_empty() {
            approvals = approved_later(entries, &plan)?;
        }
        if approvals.is_empty() && plan.has_effects() {
            let why = "its journal names nobody who approved it".to_owned();
            return Err(Refusal::NotApproved { why });
        }
        Ok(Self { run: run.into(), plan: Some(plan), approvals })
    }

    /// No plan at all: in a rehearsal nothing real can change, and effects are compared with nothing.
    pub fn unplanned(_rehearsal: &Rehearsal, run: impl Into<String>) -> Self {
        Self { run: run.into(), plan: None, approvals: Vec::new() }
    }

    /// The plan; `None` in a rehearsal without one.
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// Who approved it, and how.
    pub fn approvals(&self) -> &[PlanApproval] {
        &self.approvals
    }

    pub(crate) fn hash(&self) -> Option<&str> {
        self.plan.as_ref().map(|plan| plan.hash.as_str())
    }

    /// Refuses where it was approved for something else than what is to be executed.
    pub(crate) fn check_is_for(
        &self,
        runbook: &dyn Runbook,
        terms: &crate::run::Terms,
    ) -> Result<(), Refusal> {
        if self.run != terms.run {
            return Err(Refusal::ForeignPlan {
                planned: format!("run {}", self.run),
                asked: format!("run {}", terms.run),
            });
        }
        let rehearsed = runbook.rehearsal().is_some();
        let Some(plan) = &self.plan else {
            let why = "there is no plan, and only a rehearsal goes without".to_owned();
            return if rehearsed { Ok(()) } else { Err(Refusal::NotApproved { why }) };
        };
        let planned = (plan.runbook.as_str(), plan.version, plan.environment.as_str(), &plan.input);
        let asked = (runbook.id(), runbook.version(), terms.environment.as_str(), &terms.input);
        if planned != asked {
            let name = |(runbook, version, environment, input): (&str, u32, &str, &serde_json::Value)| {
                format!("{runbook} v{version} in {environment} with {input}")
            };
            return Err(Refusal::ForeignPlan { planned: name(planned), asked: name(asked) });
        }
        if !rehearsed && let Some(role) = self.approvals.iter().find(|one| one.shown == Shown::Role) {
            let why = format!("{} is a drill's role, and this is no rehearsal; a person must", role.by);
            return Err(Refusal::NotApproved { why });
        }
        Ok(())
    }
}

fn check_approval(plan: &Plan, run: &str, approval: &PlanApproval, rules: &PlanRules) -> Result<(), Refusal> {
    let names_this = approval.plan.len() >= SHORTEST_HASH && plan.hash.starts_with(&approval.plan);
    if !names_this {
        return Err(Refusal::ForeignApproval { approved: approval.plan.clone(), shown: plan.hash.clone() });
    }
    let refused = |why: String| Err(Refusal::NotApproved { why });
    let PlanApproval { by, effects, .. } = approval;
    if approval.run != run {
        return refused(format!("{by} approved it for run {}, and this is run {run}", approval.run));
    }
    if *effects != plan.effects.len() {
        return refused(format!("{by} was shown {effects} effects, and it has {}", plan.effects.len()));
    }
    if let Some(until) = approval.until.filter(|until| rules.now >= *until) {
        return refused(format!("the approval of {by} counted until {until}; show the plan and ask again"));
    }
    if let Err(bad) = person(by) {
        return refused(bad.to_string());
    }
    let approvers = &rules.approvers;
    if approvers.not_the_requester && same_person(by, &rules.requester) {
        return refused(format!("{by} starts the run, and somebody else must approve it"));
    }
    if !approvers.among.is_empty() && !approvers.among.iter().any(|name| same_person(name, by)) {
        return refused(format!("{by} may not approve it; it takes {}", approvers.among.join(" or ")));
    }
    Ok(())
}

/// The approvals of a journal that has them beside its start.
fn approved_later(entries: &[Entry], ours: &Plan) -> Result<Vec<PlanApproval>, Refusal> {
    let mut approvals = Vec::new();
    for entry in entries {
        let Event::PlanApproved { by, plan, effects, shown } = &entry.event else { continue };
        if *plan != ours.hash {
            return Err(Refusal::ForeignApproval { approved: plan.clone(), shown: ours.hash.clone() });
        }
        approvals.push(PlanApproval {
            run: String::new(),
            plan: plan.clone(),
            effects: *effects,
            by: by.clone(),
            shown: shown.unwrap_or(Shown::Flag),
            until: None,
        });
    }
    Ok(approvals)
}
