//! Asking the platform's services for the time.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::{HeardTimes, Observed, ServiceTimes};
use async_trait::async_trait;

use crate::http::{Call, Http};

/// A service that does not answer within this says nothing about its clock; a run does not wait longer for that.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the answers of an environment's services say about their clocks.
pub(crate) struct AnsweredTimes {
    heard: Arc<HeardTimes>,
    tables: Http,
    admin: Http,
}

impl AnsweredTimes {
    pub(crate) fn of(heard: &Arc<HeardTimes>, tables: Http, admin: Http) -> Self {
        Self { heard: Arc::clone(heard), tables, admin }
    }
}

#[async_trait]
impl ServiceTimes for AnsweredTimes {
    fn observed(&self) -> Vec<Observed> {
        self.heard.all()
    }

    /// `HEAD /rest/v1/settings?limit=1` at Supabase and `HEAD /` at the admin API: any answer has a date, an error too.
    async fn look(&self) {
        let rows = Call::read("/rest/v1/settings").head().query("limit", 1);
        let both = async { tokio::join!(self.tables.send(rows), self.admin.send(Call::read("/").head())) };
        let _ = tokio::time::timeout(PATIENCE, both).await;
    }
}
