//! Messages that the dispatcher gave up: counted by why, put back where what stopped them passes, and told where not.
//!
//! The dispatcher tries a message five times, which an outage of ten minutes uses up, and never again after that. What was given
//! up so waits for nobody: a run that only starts the campaign again would lose it. What can go wrong in the middle: the rows may
//! be put back in part, people may take the campaign, and somebody may get the message by another way meanwhile. So what is put
//! back is read anew before every write, and the write is about given up rows only.

mod put_back;

use std::collections::BTreeMap;
use std::sync::Arc;

use allclear_core::ports::{SendQueue, WhyGivenUp};
use allclear_core::send_fault::SendFault;
use allclear_core::{CampaignId, Platform, PortError, QueueRows};
use allclear_engine::{Evidence, Halt, Note, Observation, Probe, Run, Step};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use put_back::{MayBeGivenUp, PutBack, Whose};

use crate::words::counted;

/// What the dispatcher gave up of one campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GivenUp {
    pub(crate) campaign: CampaignId,
    pub(crate) name: String,
    /// The rows whose last try failed by what passes. All others stay as they are.
    pub(crate) passing: QueueRows,
    /// How many there are, by what their last try failed of.
    failed: BTreeMap<SendFault, u64>,
    not_logged: u64,
    elsewhere: u64,
    opted_out: u64,
    /// Whether a restriction of the account is known to be lifted. A canary to our own number does not show it.
    lifted: bool,
}

impl GivenUp {
    async fn of(
        queue: &dyn SendQueue,
        (campaign, name): &(CampaignId, String),
        lifted: bool,
    ) -> Result<Self, PortError> {
        let mut found = Self {
            campaign: *campaign,
            name: name.clone(),
            passing: QueueRows::default(),
            failed: BTreeMap::new(),
            not_logged: 0,
            elsewhere: 0,
            opted_out: 0,
            lifted,
        };
        let mut passing = Vec::new();
        for message in queue.given_up_messages(*campaign).await? {
            match message.why {
                WhyGivenUp::Failed(code) => {
                    let fault = SendFault::from_text(&code);
                    *found.failed.entry(fault).or_default() += 1;
                    if found.passes(fault) {
                        passing.push(message.row);
                    }
                }
                WhyGivenUp::NotLogged => found.not_logged += 1,
                WhyGivenUp::Elsewhere => found.elsewhere += 1,
                WhyGivenUp::OptedOut => found.opted_out += 1,
            }
        }
        found.passing = QueueRows::of_ids(passing);
        Ok(found)
    }

    fn passes(&self, fault: SendFault) -> bool {
        passes(fault, self.lifted)
    }

    /// How many are put back.
    pub(crate) fn count(&self) -> u64 {
        self.failed.iter().filter(|(fault, _)| self.passes(**fault)).map(|(_, count)| count).sum()
    }

    /// Why those were given up, in words.
    fn because(&self) -> String {
        words(self.failed.keys().copied().filter(|fault| self.passes(*fault)))
    }

    fn is_empty(&self) -> bool {
        self.failed.is_empty() && self.not_logged + self.elsewhere + self.opted_out == 0
    }

    /// How many nobody but a person can send, and why, in words; `None` where there are none.
    pub(crate) fn left(&self) -> Option<String> {
        let ours = |fault: &SendFault| !self.passes(*fault) && !fault.is_the_recipients_own();
        let mut parts: Vec<String> = self
            .failed
            .iter()
            .filter(|(fault, _)| ours(fault))
            .map(|(fault, count)| format!("{count} because {}", fault.given_up_because()))
            .collect();
        if self.not_logged > 0 {
            parts.push(format!("{} of whose tries the send log says nothing", self.not_logged));
        }
        if parts.is_empty() {
            return None;
        }
        Some(format!(
            "messages of campaign {} were given up and are not put back: {}; look at them in the queue and send them by hand where they are wanted",
            self.name,
            parts.join(", ")
        ))
    }

    /// How many are their recipients' own matter.
    fn recipients_own(&self) -> u64 {
        let theirs = self.failed.iter().filter(|(fault, _)| fault.is_the_recipients_own());
        theirs.map(|(_, count)| count).sum::<u64>() + self.opted_out
    }

    fn shows(&self) -> String {
        format!(
            "{}: {} to be put back, {} their recipients' own, {} sent otherwise, {} without a try in the log, {} in all",
            self.name,
            self.count(),
            self.recipients_own(),
            self.elsewhere,
            self.not_logged,
            self.failed.values().sum::<u64>() + self.not_logged + self.elsewhere + self.opted_out
        )
    }
}

/// Whether what failed so can be sent once sending is proven to work. `lifted`: whether a restriction of the account is known to
/// be lifted, which a canary to our own number does not show.
pub(crate) fn passes(fault: SendFault, lifted: bool) -> bool {
    match fault {
        SendFault::PolicyBlock => lifted,
        fault => fault.may_be_retried() || fault == SendFault::Credential,
    }
}

/// `WhatsApp limited our rate and …`.
fn words(faults: impl Iterator<Item = SendFault>) -> String {
    faults.map(SendFault::given_up_because).collect::<Vec<_>>().join(" and ")
}

/// Looks what the dispatcher gave up of campaigns.
pub(crate) struct GivenUpMessages {
    queue: Arc<dyn SendQueue>,
    of: Vec<(CampaignId, String)>,
    lifted: bool,
    when: &'static str,
}

impl GivenUpMessages {
    /// `lifted`: whether a restriction of the account is known to be lifted.
    pub(crate) fn of(on: &Platform, campaigns: &[(CampaignId, String)], lifted: bool) -> Self {
        let queue = Arc::clone(&on.send_queue);
        Self { queue, of: campaigns.to_vec(), lifted, when: "messages given up" }
    }

    /// The same once more, before the last word.
    fn at_the_end(on: &Platform, campaigns: &[(CampaignId, String)], lifted: bool) -> Self {
        Self { when: "messages given up at the end", ..Self::of(on, campaigns, lifted) }
    }
}

#[async_trait]
impl Probe for GivenUpMessages {
    type Value = Vec<GivenUp>;

    fn subject(&self) -> String {
        self.when.to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Vec<GivenUp>>, PortError> {
        let (mut all, mut evidence) = (Vec::new(), Vec::new());
        let source = "send_queue against send_logs (PostgREST)";
        for campaign in &self.of {
            let found = GivenUp::of(&*self.queue, campaign, self.lifted).await?;
            if !found.is_empty() {
                evidence.push(Evidence::new(source, found.shows()));
                all.push(found);
            }
        }
        let back: u64 = all.iter().map(GivenUp::count).sum();
        let says = if all.is_empty() {
            "the dispatcher has given up no message".to_owned()
        } else {
            format!(
                "of {} the dispatcher has given up messages, {back} of them for what passes",
                counted(all.len(), "campaign", "campaigns")
            )
        };
        if evidence.is_empty() {
            evidence.push(Evidence::new(source, says.clone()));
        }
        Ok(Observation { value: all, says, evidence })
    }
}

/// The last look: what is given up when the run ends. What it could send and did not, and what only a person can tell about,
/// keeps it from ending as verified; what is the recipients' own matter is told, and so is what somebody else has taken.
pub(crate) async fn account_for_given_up(
    run: &mut Run,
    step: &Step,
    (on, lifted): (&Platform, bool),
    campaigns: &[(CampaignId, String)],
    is_ours: impl Fn(CampaignId) -> bool + Send,
) -> Result<(), Halt> {
    if run.is_plan() || campaigns.is_empty() {
        return Ok(());
    }
    let found = run.probe(step, GivenUpMessages::at_the_end(on, campaigns, lifted)).await?;
    for one in &found {
        let theirs = one.recipients_own();
        if theirs > 0 {
            let what = format!(
                "messages of {} that were given up because of their recipients: numbers that cannot receive, or who want none",
                one.name
            );
            run.note(step, Note::Count { what, count: theirs }).await?;
        }
        let about = format!("messages given up of campaign {}", one.campaign);
        let back = (one.count() > 0).then(|| {
            format!(
                "{} of campaign {} given up because {}",
                counted(one.count(), "message is", "messages are"),
                one.name,
                one.because()
            )
        });
        let says: Vec<String> = back.into_iter().chain(one.left()).collect();
        if says.is_empty() {
            continue;
        }
        let says = says.join("; ");
        if is_ours(one.campaign) {
            run.owe(step, &about, says).await?;
        } else {
            let says = format!("{says}; it is not this run's, so they are left as they are");
            let (id, label) = (one.campaign.to_string(), one.name.clone());
            run.note(step, Note::Affected { kind: "campaign".to_owned(), id, label, says }).await?;
        }
    }
    Ok(())
}
