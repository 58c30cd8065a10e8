//! The command line with a trigger: it kills itself with SIGKILL at the n-th boundary of its journal. For the tests that
//! walk all boundaries; the product has no such trigger.
//!
//! * `WALK_KILL_AT=n`: die at boundary n, counted from 1. There are two for each entry: after the work is done and before it
//!   is recorded, and after it is recorded.
//! * `WALK_COUNT=file`: write how many boundaries there were.
//! * `WALK_MUTANT=1`: every process claims to be the first one of its run, so that an intent without an outcome is
//!   taken for its own and the effect is applied again. This is the engine without reconciliation.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use allclear_cli::Hooks;
use allclear_core::Clock;
use allclear_engine::journal::{Entry, Event};
use allclear_engine::seam::{Recorded, Seam, SeamError, Woken};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

struct Trigger {
    passed: AtomicU64,
    kill_at: u64,
}

impl Trigger {
    fn boundary(&self) {
        if self.passed.fetch_add(1, Ordering::SeqCst) + 1 == self.kill_at {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    }
}

struct Walked {
    inner: Box<dyn Seam>,
    trigger: Arc<Trigger>,
    mutant: bool,
}

#[async_trait]
impl Seam for Walked {
    async fn record(&mut self, key: &str, body: BoxFuture<'_, Event>) -> Result<Recorded, SeamError> {
        let trigger = Arc::clone(&self.trigger);
        let body = Box::pin(async move {
            let event = body.await;
            trigger.boundary();
            event
        });
        let recorded = self.inner.record(key, body).await?;
        if !recorded.replayed {
            self.trigger.boundary();
        }
        Ok(recorded)
    }

    fn recorded(&self, key: &str) -> Option<&Entry> {
        self.inner.recorded(key)
    }

    async fn sleep(&mut self, until: Timestamp) -> Result<Woken, SeamError> {
        self.inner.sleep(until).await
    }

    async fn signal(
        &mut self,
        gate: &str,
        until: Option<Timestamp>,
        patience: bool,
    ) -> Result<Woken, SeamError> {
        self.inner.signal(gate, until, patience).await
    }

    async fn claim(&mut self, resource: &str) -> Result<(), SeamError> {
        self.inner.claim(resource).await
    }

    fn incarnation(&self) -> u32 {
        if self.mutant { 0 } else { self.inner.incarnation() }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock()
    }
}

fn main() -> ExitCode {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let trigger = Arc::new(Trigger { passed: AtomicU64::new(0), kill_at: number("WALK_KILL_AT") });
    let mutant = number("WALK_MUTANT") == 1;
    let shared = Arc::clone(&trigger);
    let wrap_seam: allclear_cli::WrapSeam =
        Arc::new(move |inner| Box::new(Walked { inner, trigger: Arc::clone(&shared), mutant }));
    let code = allclear_cli::main_with(std::env::args_os(), Hooks { wrap_seam: Some(wrap_seam) });
    if let Some(path) = std::env::var_os("WALK_COUNT") {
        let _ = std::fs::write(path, trigger.passed.load(Ordering::SeqCst).to_string());
    }
    code
}
