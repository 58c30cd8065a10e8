//! Proving that sending works: by a canary that WhatsApp reports as delivered, in the send log or to the platform's webhook,
//! or, where the platform keeps neither, by a person who looks at the phone. (Graph has no question for one message's fate.)

use std::sync::Arc;
use std::time::Duration;

use allclear_core::clock::{after, before};
use allclear_core::ports::{DeliveryReports, SendLog, Sender};
use allclear_core::{Platform, PortError};
use allclear_engine::{
    Achieving, AchievingSparingly, Choice, Evidence, Gate, Halt, Observation, Probe, Run, Watch,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::effects::{BETWEEN_CANARIES, Canary, SendCanary, Witness};
use super::{CANARY_EVERY, GIVE_UP_AFTER, WA_R1, WhatsAppSendFailures};

/// How many canaries are sent: three that do not arrive say enough.
const MOST_CANARIES: u32 = 3;
/// What is done after canaries that did not arrive.
const NEXT: &str =
    "Once a message to the canary's number arrives, run the runbook again: it brings these campaigns back";
/// How far back the canary is looked for: its id is known, so that no clock matters.
const ANY_CLOCK: Duration = Duration::from_hours(24);

/// What a person saw on the phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    Arrived,
    NotArrived,
}

impl Choice for Arrival {
    const ALL: &'static [Self] = &[Self::Arrived, Self::NotArrived];

    fn id(self) -> &'static str {
        match self {
            Self::Arrived => "arrived",
            Self::NotArrived => "not-arrived",
        }
    }

    fn says(self) -> &'static str {
        match self {
            Self::Arrived => "the message is on the phone",
            Self::NotArrived => "it is not there, some minutes after it was sent",
        }
    }
}

impl WhatsAppSendFailures {
    /// Sends canaries until one is proven to have arrived. Returns how that is known, in words.
    pub(super) async fn prove_sending(&self, run: &mut Run, watch: Watch<'_>) -> Result<&'static str, Halt> {
        match run.probe(&WA_R1, WhoReports::of(&self.on)).await? {
            DeliveryReports::Written => self.send_canaries(run, watch, Witness::Log).await,
            DeliveryReports::ByWebhook => self.send_canaries(run, watch, Witness::Webhook).await,
            DeliveryReports::NeverWritten => self.ask_about_canaries(run, watch).await,
        }
    }

    async fn send_canaries(
        &self,
        run: &mut Run,
        watch: Watch<'_>,
        witness: Witness,
    ) -> Result<&'static str, Halt> {
        let canary = SendCanary::of(&self.on, run.id(), witness);
        let canary = AchievingSparingly::of(canary, MOST_CANARIES, BETWEEN_CANARIES);
        match run.until(&WA_R1, watch, canary).await {
            Ok(_) => Ok("a canary was delivered"),
            Err(Halt::Unverified { step, says }) => Err(Halt::Unverified {
                step,
                says: format!("{says}; no more are sent, and the campaigns stay paused. {NEXT}"),
            }),
            Err(halt) => Err(halt),
        }
    }

    async fn ask_about_canaries(&self, run: &mut Run, mut watch: Watch<'_>) -> Result<&'static str, Halt> {
        for number in 1..=MOST_CANARIES {
            let canary = SendCanary::seen_by_a_person(&self.on, run.id(), number);
            let canary = run.until(&WA_R1, watch, Achieving(canary)).await?;
            let fate = run.probe(&WA_R1, InTheLog::of(&self.on, &canary, number)).await?;
            if fate == Fate::NotFailed
                && self.ask_whether_arrived(run, &canary, number).await? == Arrival::Arrived
            {
                return Ok("a person saw a canary arrive");
            }
            watch = Watch::every(CANARY_EVERY, GIVE_UP_AFTER)
                .not_before(after(run.now(), BETWEEN_CANARIES), "the canary before did not arrive");
        }
        let says = format!(
            "{MOST_CANARIES} canaries were sent and none was seen to arrive; no more are sent, and the campaigns stay paused. {NEXT}"
        );
        Err(Halt::Unverified { step: WA_R1.id.to_owned(), says })
    }

    async fn ask_whether_arrived(
        &self,
        run: &mut Run,
        canary: &Canary,
        number: u32,
    ) -> Result<Arrival, Halt> {
        let phone = self.on.sender.canary_number();
        let question =
            format!("Look at the phone {phone}: has canary {number} of at most {MOST_CANARIES} arrived?");
        let gate = Gate::new(question, Arrival::Arrived)
            .about(format!("canary {number}"))
            .asking_for_a_fact()
            .showing("the platform writes down that a message was sent, and never that it was delivered")
            .showing(format!("WhatsApp accepted it as {}", canary.message_id));
        run.ask(&WA_R1, gate).await
    }
}

/// Looks whether, and where, the platform ever writes down that a message arrived.
struct WhoReports {
    log: Arc<dyn SendLog>,
}

impl WhoReports {
    fn of(on: &Platform) -> Self {
        Self { log: Arc::clone(&on.send_log) }
    }
}

#[async_trait]
impl Probe for WhoReports {
    type Value = DeliveryReports;

    fn subject(&self) -> String {
        "delivery reports".to_owned()
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<DeliveryReports>, PortError> {
        let value = self.log.delivery_reports(now).await?;
        let (says, shows) = match value {
            DeliveryReports::Written => (
                "whether a canary arrives is looked up in the send log",
                "no sign that deliveries are not written down",
            ),
            DeliveryReports::ByWebhook => (
                "whether a canary arrives is looked up in what WhatsApp reported to the platform's webhook",
                "the send log reports no delivery, and WhatsApp's own reports are kept (webhook_logs)",
            ),
            DeliveryReports::NeverWritten => (
                "the send log never tells that a message arrived, so a person is asked to look at the phone",
                "messages went out, and none is reported as delivered",
            ),
        };
        let evidence = vec![Evidence::new("send_logs (PostgREST)", shows)];
        Ok(Observation { value, says: says.to_owned(), evidence })
    }
}

/// What the log says of a canary that a person is to be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fate {
    /// Nothing bad.
    NotFailed,
    /// It failed, and nobody needs to look.
    Failed,
}

struct InTheLog {
    log: Arc<dyn SendLog>,
    sender: Arc<dyn Sender>,
    canary: Canary,
    number: u32,
}

impl InTheLog {
    fn of(on: &Platform, canary: &Canary, number: u32) -> Self {
        let (log, sender) = (Arc::clone(&on.send_log), Arc::clone(&on.sender));
        Self { log, sender, canary: canary.clone(), number }
    }
}

#[async_trait]
impl Probe for InTheLog {
    type Value = Fate;

    fn subject(&self) -> String {
        format!("canary {} in the log", self.number)
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Fate>, PortError> {
        let sent = self.log.to_number(&self.sender.canary_number(), before(now, ANY_CLOCK)).await?;
        let ours = sent.iter().rfind(|message| message.message_id == self.canary.message_id);
        let status = ours.and_then(|message| message.status.as_deref()).unwrap_or("nothing of it");
        let failed = status.eq_ignore_ascii_case("failed");
        let value = if failed { Fate::Failed } else { Fate::NotFailed };
        let says =
            if failed { "the canary failed" } else { "the canary has not failed as far as the log knows" };
        let evidence = vec![Evidence::new("send_logs (PostgREST)", status)];
        Ok(Observation { value, says: says.to_owned(), evidence })
    }
}
