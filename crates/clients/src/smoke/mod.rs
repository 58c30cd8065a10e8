//! Smoke tests against staging after a restore: what a customer, a station and a campaign would do, once each.
//!
//! * Everything is done through the platform's own doors and seen again in the database: an answer alone is no proof.
//! * Each test is keyed by its marker: issuing takes an `x-idempotency-key`, a campaign's id follows from the marker, and a
//!   redemption is looked for before it is asked for. Trying again does nothing twice.
//! * Messages go to the environment's own number only. A campaign is not started while anything else waits in the send
//!   queue: a restored queue holds real people's numbers.
//! * A door that is not there (the platform as it is has no `/api/station/redeem`) is [`SmokeResult::NotPossible`], and
//!   never a success.

mod flow;

use std::sync::Arc;

use allclear_core::ports::SmokeTests;
use allclear_core::recovery::{SmokeResult, SmokeTest};
use allclear_core::{Clock, Msisdn, PortError};
use async_trait::async_trait;
use secrecy::SecretString;

use crate::admin_api::AdminApi;
use crate::config::{ConfigError, Settings};
use crate::http::Http;
use crate::wiring::Wiring;

/// How a station signs in, for the smoke test at a station.
#[derive(Debug, Clone)]
pub struct StationLogin {
    /// The station's code.
    pub code: String,
    /// Its passcode.
    pub passcode: SecretString,
}

/// The smoke tests, against one staging environment.
#[derive(Debug)]
pub struct StagingSmokeTests {
    admin: AdminApi,
    stations: Http,
    functions: Http,
    tables: Http,
    station: StationLogin,
    number: Msisdn,
    clock: Arc<dyn Clock>,
}

impl StagingSmokeTests {
    /// Wires them. Talks to nobody yet.
    pub fn new(
        settings: &Settings,
        station: StationLogin,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        let wiring = Wiring::of(settings, clock)?;
        let stations = wiring.admin()?;
        stations.keep_secret(&station.passcode);
        Ok(Self {
            admin: AdminApi::new(wiring.admin()?, settings.credentials.admin_token.clone()),
            stations,
            functions: wiring.functions()?,
            tables: wiring.tables()?,
            station,
            number: settings.whatsapp.canary.clone(),
            clock: Arc::clone(clock),
        })
    }
}

#[async_trait]
impl SmokeTests for StagingSmokeTests {
    async fn try_out(&self, test: SmokeTest, marker: &str) -> Result<SmokeResult, PortError> {
        let tried = match test {
            SmokeTest::VoucherIssue => self.issue_voucher(marker).await,
            SmokeTest::VoucherRedeem => self.redeem_voucher(marker).await,
            SmokeTest::CampaignSend => self.send_campaign(marker).await,
            SmokeTest::StationRedeem => self.redeem_at_station(marker).await,
        };
        tried.or_else(|error| result_of(test, error))
    }
}

/// What a failed call says of the test. A service that is away or in doubt says nothing of it, so that stays an error.
fn result_of(test: SmokeTest, error: PortError) -> Result<SmokeResult, PortError> {
    let says = format!("{}: {error}", test.title());
    match &error {
        // A page instead of JSON: the route does not exist in this deployment.
        PortError::Rejected { code: Some(code), .. } if code == "404" => {
            Ok(SmokeResult::NotPossible { says })
        }
        PortError::NotFound { .. } if test == SmokeTest::VoucherRedeem => {
            Ok(SmokeResult::NotPossible { says })
        }
        PortError::Rejected { .. } | PortError::NotFound { .. } | PortError::Malformed { .. } => {
            Ok(SmokeResult::Failed { says })
        }
        _ => Err(error),
    }
}
