//! Letting go on request: Ctrl-C, SIGTERM, and a terminal that closes.
//!
//! The first request lets the current effect settle and then detaches; the run can be resumed. The second ends the
//! process at once, which is safe too: the journal is on the disk, and a resume asks about what was in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use allclear_core::Clock;
use allclear_engine::journal::{Entry, Event};
use allclear_engine::seam::{Recorded, Signal, Woken};
use allclear_engine::{Detach, Seam, SeamError};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::exit::Exit;
use crate::output::say;

/// Asks a run to let go; clones share one request.
#[derive(Debug, Clone)]
pub(crate) struct LetGo {
    pub(crate) detach: Detach,
    asked: watch::Sender<bool>,
    timed_out: Arc<AtomicBool>,
}

impl LetGo {
    pub(crate) fn new() -> Self {
        Self { detach: Detach::default(), asked: watch::Sender::new(false), timed_out: Arc::default() }
    }

    fn request(&self) {
        self.detach.request();
        self.asked.send_replace(true);
    }

    async fn requested(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.asked.subscribe().wait_for(|asked| *asked).await;
    }

    /// Asks when the time is up.
    pub(crate) async fn after(&self, timeout: Option<Duration>, run: &str) -> std::convert::Infallible {
        let Some(timeout) = timeout else { return std::future::pending().await };
        tokio::time::sleep(timeout).await;
        self.timed_out.store(true, Ordering::SeqCst);
        self.request();
        say(&format!(
            "\nthe time is up; letting go after the current effect is settled; go on with: allclear resume {run}"
        ));
        std::future::pending().await
    }

    /// Whether the time was up.
    pub(crate) fn timed_out(&self) -> bool {
        self.timed_out.load(Ordering::SeqCst)
    }

    /// Asks on the first Ctrl-C, SIGTERM or hang-up of the terminal, and ends the process on the second.
    pub(crate) async fn on_signals(&self, run: &str) -> std::convert::Infallible {
        let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hang_up)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
        else {
            // Without handlers the signals do what they always do, and the journal copes.
            return std::future::pending().await;
        };
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
            if self.detach.is_requested() {
                std::process::exit(Exit::Detached as i32);
            }
            self.request();
            say(&format!(
                "\ndetaching after the current effect is settled; go on with: allclear resume {run}"
            ));
        }
    }
}

/// A seam whose waits end when the run is asked to let go. The engine itself looks only between waits, and a wait may
/// last an hour.
pub(crate) struct Interruptible {
    inner: Box<dyn Seam>,
    let_go: LetGo,
}

impl Interruptible {
    pub(crate) fn new(inner: Box<dyn Seam>, let_go: LetGo) -> Self {
        Self { inner, let_go }
    }
}

#[async_trait]
impl Seam for Interruptible {
    async fn record(&mut self, key: &str, body: BoxFuture<'_, Event>) -> Result<Recorded, SeamError> {
        self.inner.record(key, body).await
    }

    fn recorded(&self, key: &str) -> Option<&Entry> {
        self.inner.recorded(key)
    }

    async fn sleep(&mut self, until: Timestamp) -> Result<Woken, SeamError> {
        tokio::select! {
            biased;
            woken = self.inner.sleep(until) => woken,
            () = self.let_go.requested() => Ok(Woken::By(Signal::Detach)),
        }
    }

    async fn signal(
        &mut self,
        gate: &str,
        until: Option<Timestamp>,
        patience: bool,
    ) -> Result<Woken, SeamError> {
        if !patience {
            return self.inner.signal(gate, until, patience).await;
        }
        // An answer that lies ready counts before the request: it was given first.
        tokio::select! {
            biased;
            woken = self.inner.signal(gate, until, patience) => woken,
            () = self.let_go.requested() => Ok(Woken::By(Signal::Detach)),
        }
    }

    async fn claim(&mut self, resource: &str) -> Result<(), SeamError> {
        self.inner.claim(resource).await
    }

    fn incarnation(&self) -> u32 {
        self.inner.incarnation()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock()
    }
}
