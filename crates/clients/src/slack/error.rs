//! What Slack's error words mean (from its method reference).

use allclear_core::PortError;
use allclear_core::error::StopReason;

use crate::http::Reply;

pub(super) fn classify(reply: &Reply, word: &str) -> PortError {
    let word = reply.clean(word);
    let word = word.as_str();
    let (service, call, detail) = (reply.service, reply.call.clone(), format!("Slack says `{word}`"));
    match word {
        "ratelimited" | "rate_limited" => reply.rate_limited(detail),
        "service_unavailable" | "team_added_to_org" => PortError::Unavailable { service, call, detail },
        // Slack: part of it may have happened.
        "fatal_error" | "internal_error" | "request_timeout" => reply.unusable(&detail),
        "not_authed" | "invalid_auth" | "account_inactive" | "token_revoked" | "token_expired"
        | "org_login_required" => {
            PortError::Stopped { service, call, reason: StopReason::Credential, detail }
        }
        "missing_scope" | "not_allowed_token_type" | "no_permission" => {
            PortError::Stopped { service, call, reason: StopReason::Permission, detail }
        }
        "message_limit_exceeded" | "ekm_access_denied" => {
            PortError::Stopped { service, call, reason: StopReason::Policy, detail }
        }
        _ => PortError::Rejected { service, call, code: Some(word.to_owned()), detail },
    }
}
