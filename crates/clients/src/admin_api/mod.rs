//! The admin API: a Next.js app with cookie sessions. Used for its writes only, since most of its reads may be frozen.
//!
//! | fact | from |
//! |---|---|
//! | `POST /api/auth/login {token}` gives the cookie `admin_session` for twelve hours. It is done by the first call that needs it, and once more when the session has ended meanwhile | the platform's login route |
//! | campaign actions write the row and *then* call the dispatcher, so any answer but a clean one means that it may have happened | the platform's campaign routes |
//! | a degraded integration comes inside a 200 | the platform's preview route |
//! | a route that has only a GET may keep its first answer for ever, so what was written is read from the database | Next.js, caching |
//! | a route that is not deployed answers 404 with a page | the platform's routes |

mod preview;
#[cfg(test)]
mod tests;
mod wire;

use allclear_core::notification::{NotificationId, RetryAnswer};
use allclear_core::policy::SendPolicy;
use allclear_core::ports::{StatusLight, StatusPage};
use allclear_core::{CampaignId, PortError};
use async_trait::async_trait;
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::sync::Mutex;

pub use preview::Previews;

use crate::http::{Call, Http, Reply};
use wire::{Envelope, Light, Login, Retried};

type Result<T> = std::result::Result<T, PortError>;

/// The client.
#[derive(Debug)]
pub struct AdminApi {
    http: Http,
    token: SecretString,
    session: Mutex<Option<Session>>,
}

#[derive(Debug, Clone)]
struct Session {
    cookie: SecretString,
    actor: String,
}

impl AdminApi {
    pub(crate) fn new(http: Http, token: SecretString) -> Self {
        http.keep_secret(&token);
        Self { http, token, session: Mutex::new(None) }
    }

    /// Who we are to the platform: the actor under which its audit log has our actions. Signs in if need be.
    pub(crate) async fn actor(&self) -> Result<String> {
        Ok(self.sign_in(None).await?.actor)
    }

    /// As [`actor`](Self::actor), or `None` where signing in is not possible just now. A refused credential stays an error:
    /// waiting does not help, and a person must know.
    pub(crate) async fn actor_if_reachable(&self) -> Result<Option<String>> {
        match self.actor().await {
            Ok(actor) => Ok(Some(actor)),
            Err(error @ PortError::Stopped { .. }) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// `POST /api/campaigns/{pause|start}`. Not keyed, no precondition on the status.
    pub(crate) async fn act(&self, campaign: CampaignId, action: &'static str) -> Result<()> {
        let path = format!("/api/campaigns/{action}");
        let reply =
            self.call(|| Call::write(Method::POST, path.clone(), json!({ "campaignId": campaign }))).await?;
        // The row is written before anything can fail, so a failure proves nothing, with two exceptions: the route's own
        // validation and the guard before it. The dispatcher's status is passed on as it is, so a 400, 401 or 403 of
        // its own looks like theirs, except that it comes with an `integration`.
        let unknown = |detail: String| reply.unusable(&detail);
        if !reply.is_success() {
            let refused_before = matches!(reply.status, 400 | 401) && !speaks_of_integration(&reply);
            let failure = reply.failure();
            return Err(if refused_before { failure } else { unknown(failure.to_string()) });
        }
        reply.expect::<Envelope>()?.healthy().map_err(unknown)
    }

    /// `POST /api/notifications/retry`, at most 50 ids. Queues, sends nothing itself.
    pub(crate) async fn retry(&self, ids: &[NotificationId]) -> Result<RetryAnswer> {
        let reply = self
            .call(|| Call::write(Method::POST, "/api/notifications/retry", json!({ "ids": ids })))
            .await?;
        let retried: Retried = reply.expect()?;
        Ok(RetryAnswer {
            queued: retried.queued,
            blocked: retried.blocked.into_iter().map(|one| one.cleaned(&reply)).collect(),
            missing: retried.missing,
        })
    }

    /// `POST /api/settings`: replaces all three fields. Says "saved" even when it is not so.
    pub(crate) async fn write_settings(&self, policy: &SendPolicy, opt_out: &Value) -> Result<()> {
        if policy.throttle_per_minute == 0 {
            return Err(PortError::Rejected {
                service: self.http.service(),
                call: "POST /api/settings".to_owned(),
                code: None,
                detail: "a throttle of 0 means unlimited there; give at least 1".to_owned(),
            });
        }
        let body = json!({
            "quietHours": {
                "start": policy.quiet_hours.start.strftime("%H:%M").to_string(),
                "end": policy.quiet_hours.end.strftime("%H:%M").to_string(),
            },
            "throttlePerMinute": policy.throttle_per_minute,
            "optOutList": opt_out,
        });
        let reply = self.call(|| Call::write(Method::POST, "/api/settings", body.clone())).await?;
        reply.expect::<Envelope>()?.healthy().map_err(|detail| reply.unusable(&detail))
    }

    /// Makes a call in our session.
    pub(crate) async fn call(&self, make: impl Fn() -> Call) -> Result<Reply> {
        let session = self.sign_in(None).await?;
        let reply = self.http.send(make().header("cookie", session.cookie.expose_secret())).await?;
        // Only the guard's own 401 is given before anything is acted upon; a dispatcher's that is passed on is not.
        if reply.status != 401 || speaks_of_integration(&reply) {
            return Ok(reply);
        }
        // The session has ended, so the call may be made again, once.
        let session = self.sign_in(Some(&session)).await?;
        self.http.send(make().header("cookie", session.cookie.expose_secret())).await
    }

    /// The session, made anew where there is none or `ended` is the one we have.
    async fn sign_in(&self, ended: Option<&Session>) -> Result<Session> {
        let mut current = self.session.lock().await;
        if let Some(session) = &*current
            && ended.is_none_or(|ended| ended.cookie.expose_secret() != session.cookie.expose_secret())
        {
            return Ok(session.clone());
        }
        let body = json!({ "token": self.token.expose_secret() });
        // Signing in changes nothing of the platform's data, so it counts as a read: it may be tried again.
        let reply = self.http.send(Call::read("/api/auth/login").posting(body)).await?;
        let login: Login = reply.expect()?;
        let cookie = reply
            .headers
            .get_all("set-cookie")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .filter_map(|value| value.split(';').next())
            .find(|pair| pair.starts_with("admin_session="))
            .ok_or_else(|| reply.unusable("signing in gave no session cookie"))?;
        let session = Session { cookie: cookie.to_owned().into(), actor: login.actor_id };
        self.http.keep_secret(&session.cookie);
        self.http.keep_secret(&cookie.trim_start_matches("admin_session=").into());
        *current = Some(session.clone());
        Ok(session)
    }
}

/// Whether an answer comes from behind the API: then its route had run.
fn speaks_of_integration(reply: &Reply) -> bool {
    reply.json().is_some_and(|body| !body["integration"].is_null())
}

#[async_trait]
impl StatusPage for AdminApi {
    /// `GET /api/integrations/status`. `?force=true` is not read by the platform, so it is not sent.
    async fn lights(&self) -> Result<Vec<StatusLight>> {
        let reply = self.call(|| Call::read("/api/integrations/status")).await?;
        let lights: std::collections::BTreeMap<String, Light> = reply.expect()?;
        let light = |(integration, light): (String, Light)| StatusLight {
            integration: self.http.clean(&integration),
            status: self.http.clean(&light.status),
            message: self.http.clean(&light.message),
        };
        Ok(lights.into_iter().map(light).collect())
    }
}
