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
        // Slack: part of it may have happened. A read may be made again.
        "fatal_error" | "internal_error" | "request_timeout" if reply.writes => {
            PortError::OutcomeUnknown { service, call, detail }
        }
        "fatal_error" | "internal_error" | "request_timeout" => {
            PortError::Unavailable { service, call, detail }
        }
        "not_authed"
        | "invalid_auth"
        | "account_inactive"
        | "token_revoked"
        | "token_expired"
        | "org_login_required"
        | "two_factor_setup_required" => {
            PortError::Stopped { service, call, reason: StopReason::Credential, detail }
        }
        "missing_scope"
        | "not_allowed_token_type"
        | "no_permission"
        | "access_denied"
        | "accesslimited"
        | "app_access_restricted"
        | "enterprise_is_restricted"
        | "team_access_not_granted" => {
            PortError::Stopped { service, call, reason: StopReason::Permission, detail }
        }
        "message_limit_exceeded" | "ekm_access_denied" => {
            PortError::Stopped { service, call, reason: StopReason::Policy, detail }
        }
        _ => PortError::Rejected { service, call, code: Some(word.to_owned()), detail },
    }
}
