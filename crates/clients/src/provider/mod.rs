//! The WhatsApp provider's ticket intake.
//!
//! | fact | from |
//! |---|---|
//! | `POST /tickets {subject, body}` gives a number | the provider's intake |
//! | it is neither keyed nor readable, so after a lost answer only a person can tell whether there is a ticket | same |
//! | WhatsApp's own support has no API: its tickets are opened by hand | Meta, Direct Support |

use allclear_core::PortError;
use allclear_core::ports::{Provider, Ticket};
use allclear_core::text::{line, neutral};
use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::http::{Call, Http};

/// The client.
#[derive(Debug)]
pub struct TicketIntake {
    http: Http,
}

#[derive(Deserialize)]
struct Opened {
    ticket: String,
}

impl TicketIntake {
    pub(crate) fn new(http: Http) -> Self {
        Self { http }
    }
}

#[async_trait]
impl Provider for TicketIntake {
    async fn open_ticket(&self, ticket: &Ticket) -> Result<String, PortError> {
        let body =
            json!({ "subject": line(&ticket.subject), "body": neutral(&ticket.body), "severity": "high" });
        let opened: Opened = self.http.send(Call::write(Method::POST, "/tickets", body)).await?.expect()?;
        Ok(self.http.clean(&opened.ticket))
    }
}
