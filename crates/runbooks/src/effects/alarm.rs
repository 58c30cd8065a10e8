//! Telling people, and answering what a run told them: whoever raises an alarm says when it is over.
//!
//! A page that nobody resolves and a channel whose last word is the alarm go on waking people after the run is done. So
//! each alarm is owed an answer from the moment that it may be out: the run cannot end as verified before it was given,
//! and one that ends otherwise (aborted, rejected, unverified) lists it as open.

use std::sync::OnceLock;

use allclear_core::Platform;
use allclear_core::ports::{ChatMessage, Page, Posted};
use allclear_engine::{Account, Effect, Escalation, Halt, Proof, Run, Step, Verdict};
use async_trait::async_trait;

use super::{PageSomebody, PostMessage, ResolveIncident};

/// What became of telling somebody one way.
pub(crate) struct Told<R> {
    /// The receiver's answer; `None` where nothing was handed over, as far as is known.
    pub(crate) receipt: Option<R>,
    account: Account,
}

impl<R> Told<R> {
    /// What reading it back showed.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// Whether it is proven to have arrived.
    pub(crate) fn is_proven(&self) -> bool {
        self.account.is_proven()
    }

    /// Whether it was looked for and is not there.
    fn is_refuted(&self) -> bool {
        matches!(self.account.verdict(), Verdict::Refuted { .. })
    }

    /// Whether it may have arrived: it was taken or may have been, and was not looked for in vain.
    pub(crate) fn may_be_there(&self) -> bool {
        self.account.may_be_done()
    }
}

/// Tells one way, and holds nothing up: what failed is one more thing that is not proven.
pub(crate) async fn tell<E: Effect>(
    run: &mut Run,
    step: &Step,
    message: E,
) -> Result<Told<E::Receipt>, Halt> {
    let (receipt, account) = run.tell(step, message).await?.into_parts();
    Ok(Told { receipt, account })
}

/// The same when all else is done: where the service is away, the run waits for it.
pub(crate) async fn tell_last<E: Effect>(
    run: &mut Run,
    step: &Step,
    message: E,
) -> Result<Told<E::Receipt>, Halt> {
    let (receipt, account) = run.tell_last(step, message).await?.into_parts();
    Ok(Told { receipt, account })
}

/// What is claimed of an alarm, by what of it is proven.
pub(crate) struct Words {
    /// The page is.
    pub(crate) paged: String,
    /// Only the line in the channel is: nobody was woken.
    pub(crate) written: String,
    /// Neither is.
    pub(crate) untold: String,
}

/// Whom an alarm is proven to have reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// Whoever is on call.
    OnCall,
    /// Whoever reads the channel.
    Channel,
    /// Nobody.
    Nobody,
}

/// A page, and a line in a channel.
pub(crate) struct Alarm {
    on: Platform,
    /// Tells several alarms of a run apart.
    about: &'static str,
    raised: OnceLock<Raised>,
}

/// An alarm that is out.
struct Raised {
    step: Step,
    /// None where the channel was told and nobody had to be woken.
    page: Option<PageSomebody>,
    message: ChatMessage,
    thread: Option<Posted>,
    /// By what nobody is proven to have been told: whoever hears that it is over needs that no more.
    untold: Vec<Account>,
}

impl Alarm {
    pub(crate) fn of(on: &Platform, about: &'static str) -> Self {
        Self { on: on.clone(), about, raised: OnceLock::new() }
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.raised.get().is_some()
    }

    /// Pages, and writes to the channel what `message` makes of whether the page is proven. A plan lists the answer as well,
    /// since whoever agrees to the one agrees to the other.
    pub(crate) async fn raise(
        &self,
        run: &mut Run,
        step: &Step,
        page: Page,
        message: impl FnOnce(bool) -> ChatMessage + Send,
        words: Words,
    ) -> Result<Reached, Halt> {
        let (page, paged) = self.page(run, step, page).await?;
        let message = message(paged.is_proven());
        let posted = self.write(run, step, &message).await?;
        let was_paged = paged.is_proven();
        // In doubt about both, the question is whether the one was told who had to be.
        let is_written = posted.is_proven() || !paged.may_be_there();
        let told = if was_paged || !is_written { words.paged } else { words.written };
        let ways = [paged.account(), posted.account()];
        let were_told = run.told(step, told, words.untold, &ways).await?;
        let thread = posted.receipt.flatten();
        // What this one is about is told by the procedure's own end.
        let raised = Raised { step: *step, page: Some(page), message, thread, untold: Vec::new() };
        self.is_out(run, raised).await?;
        Ok(match (was_paged, were_told) {
            (true, _) => Reached::OnCall,
            (false, true) => Reached::Channel,
            (false, false) => Reached::Nobody,
        })
    }

    /// Writes to the channel, and pages only where that is not proven to have arrived: for what somebody should know, and
    /// nobody need be woken for.
    pub(crate) async fn mention(
        &self,
        run: &mut Run,
        step: &Step,
        message: ChatMessage,
        page: Page,
        (told, untold): (String, String),
    ) -> Result<bool, Halt> {
        let posted = self.write(run, step, &message).await?;
        let (mut instead, mut paged) = (None, None);
        if run.is_plan() {
            let condition = format!("{} cannot be told so", message.channel);
            run.in_case(&condition, &Instead { alarm: self, step, page }).await?;
        } else if !posted.is_proven() {
            let (page, account) = self.page(run, step, page).await?;
            (instead, paged) = (Some(page), Some(account.account));
        }
        let ways: Vec<&Account> = [Some(posted.account()), paged.as_ref()].into_iter().flatten().collect();
        let were_told = run.told(step, told, untold, &ways).await?;
        let untold = ways.into_iter().filter(|_| !were_told).cloned().collect();
        let thread = posted.receipt.flatten();
        self.is_out(run, Raised { step: *step, page: instead, message, thread, untold }).await?;
        Ok(were_told)
    }

    async fn page(&self, run: &mut Run, step: &Step, page: Page) -> Result<(PageSomebody, Told<()>), Halt> {
        let summary = page.summary.clone();
        let page = PageSomebody::about(&self.on, page, self.about);
        let paged = tell(run, step, page.clone()).await?;
        // In doubt too: to resolve what never came to be costs nothing, and a page that nobody knows of wakes people.
        if !paged.is_refuted() {
            let stands = if paged.receipt.is_some() { "is still" } else { "may be" };
            let says = format!(
                "this run's own page {stands} open in PagerDuty, resolve it (dedup key {}): {summary}",
                page.dedup_key()
            );
            run.owe(step, &self.page_id(), says).await?;
        }
        Ok((page, paged))
    }

    async fn write(
        &self,
        run: &mut Run,
        step: &Step,
        message: &ChatMessage,
    ) -> Result<Told<Option<Posted>>, Halt> {
        let posted = tell(run, step, PostMessage::of(&self.on, message.clone())).await?;
        if posted.may_be_there() {
            let is = if posted.receipt.is_some() { "is" } else { "may be" };
            let says = format!(
                "the alarm {is} the last word in {} ({}): say there when it is over",
                message.channel, message.about
            );
            run.owe(step, &self.line_id(), says).await?;
        }
        Ok(posted)
    }

    async fn is_out(&self, run: &mut Run, raised: Raised) -> Result<(), Halt> {
        // A plan may name an alarm at several places; a run raises it once.
        let _ = self.raised.set(raised);
        if run.is_plan() {
            run.in_case("it is over and the alarm is out", &Answer(self)).await?;
        }
        Ok(())
    }

    /// Says that it is over, wherever the alarm is out: resolves the page, and answers in the message's thread. It belongs
    /// to the alarm's step, where a plan has named it.
    pub(crate) async fn answer(&self, run: &mut Run, over: &str) -> Result<(), Halt> {
        if run.is_plan() { Ok(()) } else { self.end(run, over, Closing::Waits).await }
    }

    /// The same beside the procedure, for an alarm that was raised there.
    pub(crate) async fn answer_beside(&self, run: &mut Run, over: &str) -> Result<(), Halt> {
        if run.is_plan() || !self.is_raised() {
            return Ok(());
        }
        run.beside(&Over { alarm: self, over }).await
    }

    async fn end(&self, run: &mut Run, over: &str, closing: Closing) -> Result<(), Halt> {
        let Some(Raised { step, page, message, thread, untold }) = self.raised.get() else { return Ok(()) };
        if let Some(page) = page
            && (run.is_plan() || run.owes(&self.page_id()))
        {
            let resolve = ResolveIncident::of_page(page);
            if let Some(proof) = closing.prove(run, step, resolve).await? {
                run.close(step, &self.page_id(), "this run's own page is resolved", &proof).await?;
            }
        }
        if run.is_plan() || run.owes(&self.line_id()) || !untold.is_empty() {
            let over = all_clear(message, over, run.id());
            let answer = PostMessage::of(&self.on, over).in_thread_of(thread.clone());
            if let Some(proof) = closing.prove(run, step, answer).await? {
                let says = format!("{} was told that it is over", message.channel);
                for way in untold {
                    run.cure(step, way, &says, &proof).await?;
                }
                if run.owes(&self.line_id()) {
                    run.close(step, &self.line_id(), says, &proof).await?;
                }
            }
        }
        Ok(())
    }

    fn page_id(&self) -> String {
        format!("page {}", self.about)
    }

    fn line_id(&self) -> String {
        format!("line {}", self.about)
    }
}

/// How long the end of an alarm may take.
#[derive(Debug, Clone, Copy)]
enum Closing {
    /// All else is done: where a service is away the run waits, and can be taken up again, rather than leave people alarmed
    /// about what is over.
    Waits,
    /// Beside the procedure, whose time it must not take.
    Brief,
}

impl Closing {
    /// Resolves the run's own page, or says in the channel that it is over. `None` where that is not proven; then the alarm
    /// stays listed as open.
    async fn prove<E: Effect>(self, run: &mut Run, step: &Step, end: E) -> Result<Option<Proof>, Halt> {
        match self {
            Self::Waits => Ok(run.tell_last(step, end).await?.account().proof()),
            Self::Brief => Ok(run.attempt_briefly(step, end).await?.account().proof()),
        }
    }
}

/// For the plan: an alarm that was lost needs no answer, so the answer is what may be done.
struct Answer<'a>(&'a Alarm);

#[async_trait]
impl Escalation for Answer<'_> {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        self.0.end(run, "It is over.", Closing::Brief).await
    }
}

/// The answer, in words of its own.
struct Over<'a> {
    alarm: &'a Alarm,
    over: &'a str,
}

#[async_trait]
impl Escalation for Over<'_> {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        self.alarm.end(run, self.over, Closing::Brief).await
    }
}

/// For the plan: the page that goes out where the channel cannot be told, and its end.
struct Instead<'a> {
    alarm: &'a Alarm,
    step: &'a Step,
    page: Page,
}

#[async_trait]
impl Escalation for Instead<'_> {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        let (page, _) = self.alarm.page(run, self.step, self.page.clone()).await?;
        run.attempt_briefly(self.step, ResolveIncident::of_page(&page)).await.map(drop)
    }
}

/// The answer to an alarm, in its channel.
fn all_clear(alarm: &ChatMessage, over: &str, run: &str) -> ChatMessage {
    ChatMessage {
        channel: alarm.channel.clone(),
        text: format!("{over} Run {run}."),
        about: format!("{} over", alarm.about),
        marker: format!("{}/over", alarm.marker),
    }
}
