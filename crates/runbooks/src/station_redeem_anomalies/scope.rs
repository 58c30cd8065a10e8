//! Scope mismatches: a voucher that one station may redeem, shown at another.
//!
//! `station_scope` points to `stations`, redemptions to `petrol_stations`. A scope that holds an id of the wrong table fits
//! no station at all, and it can be told which station was meant by its name. Where the scope is sound, the customer is at
//! the wrong place, and widening the scope would open a door to fraud.

use std::sync::Arc;

use allclear_core::error::Service;
use allclear_core::ports::{Stations, Vouchers};
use allclear_core::redeem::RedeemOutcome;
use allclear_core::station::{Station, StationId, StationStatus};
use allclear_core::voucher::AsSeen;
use allclear_core::{Platform, PortError, VoucherId};
use allclear_engine::{
    Applied, Choice, Claim, Effect, Escalation, Evidence, Foreseen, Gate, Halt, Intent, Judgement,
    Observation, OnlyWhile, Prediction, Probe, Reconciled, Repeat, Run,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::cases::Case;
use super::found::{Found, Refused};
use super::replace::concerns_one_voucher;
use super::{Done, SR_M2, StationRedeemAnomalies, messages};
use crate::effects::{AuditNote, PostMessage, change, tell_last};
use crate::words::counted;

/// What is wrong with a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "scope", rename_all = "snake_case")]
enum ScopeFault {
    /// It is an id of `petrol_stations`.
    WrongTable { name: String },
    /// No table has it.
    Unknown,
    /// Its station does not take part any more.
    Inactive { name: String },
    /// Nothing: the customer is at another station.
    Sound { name: String },
}

/// One voucher at the wrong station, or with the wrong scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mismatch {
    pub(super) voucher: VoucherId,
    seen: AsSeen,
    scope: StationId,
    fault: ScopeFault,
    /// The station that the scope should name: found by the wrong one's name.
    right: Option<Station>,
    pub(super) here_name: String,
}

impl Mismatch {
    fn is_wrong(&self) -> bool {
        !matches!(self.fault, ScopeFault::Sound { .. })
    }

    pub(super) fn scope_name(&self) -> String {
        match &self.fault {
            ScopeFault::WrongTable { name } | ScopeFault::Inactive { name } | ScopeFault::Sound { name } => {
                name.clone()
            }
            ScopeFault::Unknown => "a station that nobody knows".to_owned(),
        }
    }

    pub(super) fn wrong_text(&self) -> String {
        let scope = self.scope;
        match &self.fault {
            ScopeFault::WrongTable { name } => {
                format!("scope {scope} is the id of {name} in petrol_stations and not in stations")
            }
            ScopeFault::Unknown => format!("scope {scope} is in neither table of stations"),
            ScopeFault::Inactive { name } => {
                format!("scope {scope} is {name}, which does not take part any more")
            }
            ScopeFault::Sound { name } => {
                format!("scope {scope} is {name}, and the customer was at {}", self.here_name)
            }
        }
    }
}

/// What a person may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    Update,
    Educate,
    Leave,
}

impl Choice for Remedy {
    const ALL: &'static [Self] = &[Self::Update, Self::Educate, Self::Leave];

    fn id(self) -> &'static str {
        match self {
            Self::Update => "update-scope",
            Self::Educate => "educate-operator",
            Self::Leave => "leave",
        }
    }

    fn says(self) -> &'static str {
        match self {
            Self::Update => "correct the voucher's scope as shown",
            Self::Educate => "the scope is right: tell the station's operator",
            Self::Leave => "do nothing; it stays open",
        }
    }
}

impl StationRedeemAnomalies {
    /// Settles each mismatch as a person chooses. Returns those whose scope was set wrongly.
    pub(super) async fn settle_scopes(
        &self,
        run: &mut Run,
        found: &Found,
        cases: &[Case],
        done: &mut Done,
    ) -> Result<Vec<Mismatch>, Halt> {
        let mismatches = run.probe(&SR_M2, Mismatches::of(&self.on, &found.refused, cases)).await?;
        for mismatch in &mismatches {
            self.settle_scope(run, mismatch, done).await?;
        }
        Ok(mismatches.into_iter().filter(Mismatch::is_wrong).collect())
    }

    async fn settle_scope(&self, run: &mut Run, mismatch: &Mismatch, done: &mut Done) -> Result<(), Halt> {
        let presumed = match (mismatch.is_wrong(), &mismatch.right) {
            (true, Some(_)) => Remedy::Update,
            (true, None) => Remedy::Leave,
            (false, _) => Remedy::Educate,
        };
        let proposal = match &mismatch.right {
            Some(right) => format!("the scope would become {} ({})", right.id, right.name),
            None => "which station was meant cannot be told; update-scope would change nothing".to_owned(),
        };
        let gate = Gate::new(
            format!(
                "Voucher {} was refused at {}. What shall be done?",
                mismatch.voucher, mismatch.here_name
            ),
            presumed,
        )
        .about(format!("scope {}", mismatch.voucher))
        .showing(mismatch.wrong_text())
        .showing(proposal);
        let educate = Educate { on: self.on.clone(), mismatch: mismatch.clone(), run: run.id().to_owned() };
        if presumed != Remedy::Educate {
            run.in_case("a person has the operator told instead", &educate).await?;
        }
        match (run.ask(&SR_M2, gate).await?, &mismatch.right) {
            (Remedy::Update, Some(right)) => {
                let set_scope = SetScope::of(&self.on, mismatch, right);
                let set = match run.attempt(&SR_M2, set_scope.clone()).await {
                    // Somebody was there first: the voucher is theirs, and the others are settled all the same.
                    Err(Halt::Failed { error, .. }) if concerns_one_voucher(&error) => {
                        let says =
                            format!("the scope of voucher {} was left as it is: {error}", mismatch.voucher);
                        return self.leave(run, &SR_M2, done, says).await;
                    }
                    set => set?,
                };
                let claim = Claim::of(
                    &set,
                    format!("the scope of voucher {} was corrected to {}", mismatch.voucher, right.name),
                    format!(
                        "the scope of voucher {} was written, and that it holds is not proven",
                        mismatch.voucher
                    ),
                );
                run.note(&SR_M2, claim).await?;
                set.proven(&SR_M2)?;
                run.ends_only_while(&SR_M2, OnlyWhile::of(StillScoped(set_scope)));
                let facts = json!({ "before": mismatch.scope, "after": right.id, "run": run.id() });
                let voucher = mismatch.voucher.to_string();
                let note = AuditNote::of(&self.on, run.id(), "voucher_scope", "vouchers", &voucher, &facts);
                run.perform(&SR_M2, note).await?;
                done.scopes_corrected.push(mismatch.voucher);
                Ok(())
            }
            (Remedy::Educate, _) => {
                if educate.tell(run).await? {
                    done.operators_told.push(mismatch.voucher);
                }
                Ok(())
            }
            (Remedy::Update | Remedy::Leave, _) => {
                let says =
                    format!("voucher {} is still refused: {}", mismatch.voucher, mismatch.wrong_text());
                self.leave(run, &SR_M2, done, says).await
            }
        }
    }
}

/// Tells the station's operator.
struct Educate {
    on: Platform,
    mismatch: Mismatch,
    run: String,
}

impl Educate {
    /// Returns whether they were told.
    async fn tell(&self, run: &mut Run) -> Result<bool, Halt> {
        let Mismatch { voucher, here_name, .. } = &self.mismatch;
        let message = messages::operator(&self.on.limits.ops_channel, &self.run, &self.mismatch);
        let posted = tell_last(run, &SR_M2, PostMessage::of(&self.on, message)).await?;
        let told = format!("the operator of {here_name} was told where voucher {voucher} belongs");
        let untold = format!(
            "the operator of {here_name} was not told where voucher {voucher} belongs: tell them by hand"
        );
        run.told(&SR_M2, told, untold, &[posted.account()]).await
    }
}

#[async_trait]
impl Escalation for Educate {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        self.tell(run).await.map(drop)
    }
}

/// Looks up what refused scopes mean.
struct Mismatches {
    stations: Arc<dyn Stations>,
    refused: Vec<(Refused, AsSeen, StationId)>,
}

impl Mismatches {
    fn of(on: &Platform, refused: &[Refused], cases: &[Case]) -> Self {
        let case = |refused: &Refused| cases.iter().find(|case| case.id == refused.voucher);
        let refused = refused
            .iter()
            .filter(|refused| refused.outcome == RedeemOutcome::InvalidStation)
            .filter_map(|refused| {
                let case = case(refused)?;
                Some((refused.clone(), case.seen.clone(), case.scope?))
            })
            .collect();
        Self { stations: Arc::clone(&on.stations), refused }
    }

    async fn look(&self, refused: &Refused, seen: &AsSeen, scope: StationId) -> Result<Mismatch, PortError> {
        let found = self.stations.look_up(scope.0).await?;
        let (fault, right) = match (found.station, found.petrol_station) {
            (Some(station), _) if station.status == StationStatus::Inactive => {
                (ScopeFault::Inactive { name: station.name }, None)
            }
            (Some(station), _) => (ScopeFault::Sound { name: station.name }, None),
            (None, Some(name)) => {
                let mut named = self.stations.named(&name).await?;
                // Two stations of one name: which was meant cannot be told.
                let right = if named.len() == 1 { named.pop() } else { None };
                (ScopeFault::WrongTable { name }, right)
            }
            (None, None) => (ScopeFault::Unknown, None),
        };
        let here_name = self.name_of(refused.station).await?;
        Ok(Mismatch { voucher: refused.voucher, seen: seen.clone(), scope, fault, right, here_name })
    }

    async fn name_of(&self, station: Option<Uuid>) -> Result<String, PortError> {
        let Some(id) = station else { return Ok("an unknown station".to_owned()) };
        let found = self.stations.look_up(id).await?;
        let name = found.station.map(|station| station.name).or(found.petrol_station);
        Ok(name.unwrap_or_else(|| format!("station {id}")))
    }
}

#[async_trait]
impl Probe for Mismatches {
    type Value = Vec<Mismatch>;

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Vec<Mismatch>>, PortError> {
        let (mut mismatches, mut evidence) = (Vec::new(), Vec::new());
        for (refused, seen, scope) in &self.refused {
            let mismatch = self.look(refused, seen, *scope).await?;
            let shows = format!("voucher {}: {}", mismatch.voucher, mismatch.wrong_text());
            evidence.push(Evidence::new("stations and petrol_stations (PostgREST)", shows));
            mismatches.push(mismatch);
        }
        let wrong = mismatches.iter().filter(|mismatch| mismatch.is_wrong()).count();
        let says = format!(
            "{} refused for the scope, {wrong} of them with a scope that was set wrongly",
            counted(mismatches.len(), "voucher was", "vouchers were")
        );
        Ok(Observation { value: mismatches, says, evidence })
    }
}

/// Corrects one voucher's scope, if the row is as it was seen.
#[derive(Clone)]
struct SetScope {
    vouchers: Arc<dyn Vouchers>,
    voucher: VoucherId,
    /// As a person was shown it; `None` for an undo, which takes the row as it is if it has the scope that was set.
    seen: Option<AsSeen>,
    from: StationId,
    to: StationId,
    to_name: String,
    /// Whether the scope before names a station: the platform takes no other back.
    can_go_back: bool,
}

impl SetScope {
    fn of(on: &Platform, mismatch: &Mismatch, to: &Station) -> Self {
        Self {
            vouchers: Arc::clone(&on.vouchers),
            voucher: mismatch.voucher,
            seen: Some(mismatch.seen.clone()),
            from: mismatch.scope,
            to: to.id,
            to_name: to.name.clone(),
            can_go_back: matches!(mismatch.fault, ScopeFault::Inactive { .. }),
        }
    }

    /// Sets the scope back that was there before.
    fn back(&self) -> Self {
        Self { seen: None, from: self.to, to: self.from, to_name: self.from.to_string(), ..self.clone() }
    }
}

/// Whether a corrected scope is as it was set, for the run's last word.
struct StillScoped(SetScope);

#[async_trait]
impl Probe for StillScoped {
    type Value = Option<String>;

    fn subject(&self) -> String {
        format!("scope of voucher {}", self.0.voucher)
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Option<String>>, PortError> {
        let SetScope { vouchers, voucher, to, to_name, .. } = &self.0;
        let scope = vouchers.find(*voucher).await?.station_scope;
        let value = (scope != Some(*to)).then(|| {
            let is = scope.map_or_else(|| "any station".to_owned(), |scope| scope.to_string());
            format!(
                "somebody else changed the scope of voucher {voucher}, which was set to {to_name}: it is {is}"
            )
        });
        let says = value.clone().unwrap_or_else(|| format!("the voucher may be redeemed at {to_name}"));
        let evidence = vec![Evidence::new("vouchers (PostgREST)", says.clone())];
        Ok(Observation { value, says, evidence })
    }
}

#[async_trait]
impl Effect for SetScope {
    type Receipt = ();
    type Undo = Self;

    fn name(&self) -> &'static str {
        "voucher.scope"
    }

    fn subject(&self) -> String {
        format!("voucher {}", self.voucher)
    }

    fn title(&self) -> String {
        format!("set the scope of voucher {} to {}", self.voucher, self.to_name)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let id = self.voucher;
        let now = self.vouchers.find(id).await?.station_scope;
        if now == Some(self.to) {
            return Ok(Prediction::default());
        }
        let before = now.map_or_else(|| "any station".to_owned(), |scope| scope.to_string());
        let to = self.to.to_string();
        Ok(Prediction::of(change("voucher", id, &id.to_string(), "station scope", &before, &to)))
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        let id = self.voucher;
        let seen = match &self.seen {
            Some(seen) => seen.clone(),
            None => self.vouchers.find(id).await?.as_seen(),
        };
        match self.vouchers.set_scope(id, &seen, self.to).await? {
            0 => Err(PortError::Rejected {
                service: Service::Supabase,
                call: format!("voucher {id}"),
                code: Some("state_changed".to_owned()),
                detail: "it changed after it was looked at; the database changed nothing".to_owned(),
            }),
            _ => Ok(Applied { receipt: (), says: format!("the scope of voucher {id} is {}", self.to_name) }),
        }
    }

    /// The value decides: nobody else writes this scope into this voucher, and writing it twice is writing it once.
    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        let scope = self.vouchers.find(self.voucher).await?.station_scope;
        Ok(if scope == Some(self.to) {
            Reconciled::Happened(Applied { receipt: (), says: "the voucher has the scope".to_owned() })
        } else {
            Reconciled::DidNot { why: "the voucher has another scope".to_owned() }
        })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        let scope = self.vouchers.find(self.voucher).await?.station_scope;
        let shows = scope.map_or_else(|| "no scope".to_owned(), |scope| format!("scope {scope}"));
        let evidence = vec![Evidence::new("vouchers (PostgREST)", shows)];
        Ok(if scope == Some(self.to) {
            Judgement::verified(format!("the voucher may be redeemed at {}", self.to_name), evidence)
        } else {
            Judgement::refuted("the voucher has another scope", evidence)
        })
    }

    fn undo(&self, (): &()) -> Option<Self> {
        self.can_go_back.then(|| self.back())
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("the scope before names no station, and the platform takes no such scope")
    }
}
