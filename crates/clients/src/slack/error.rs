//! What Slack's error words mean, as tables (from the reference of each method that is called, and of incoming webhooks).

use allclear_core::PortError;
use allclear_core::error::StopReason;

use crate::http::Reply;

/// What a word comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    /// Too fast; `Retry-After` says how long to wait.
    Wait,
    /// Not now; nothing happened.
    Later,
    /// "It's possible some aspect of the operation succeeded": a write may have happened. A read may be made again.
    Unknown,
    /// The token is none, or is one no more.
    Key,
    /// The token, its app or its user may not do this.
    Permission,
    /// An administrator or a limit of the workspace forbids it.
    Policy,
    /// The channel or the thread is not there, or closed to us.
    Target,
    /// The message cannot be posted like this.
    Content,
    /// We call it wrongly.
    Ours,
}

use Means::{Content, Key, Later, Ours, Permission, Policy, Target, Unknown, Wait};

/// Every word that the reference lists for the methods we call, and the general ones.
const WORDS: &[(&str, Means)] = &[
    ("access_denied", Permission),
    ("accesslimited", Permission),
    ("account_inactive", Key),
    ("app_access_restricted", Permission),
    ("as_user_not_supported", Ours),
    ("attachment_payload_limit_exceeded", Content),
    ("cannot_reply_to_message", Target),
    ("channel_is_limited_access", Target),
    ("channel_not_found", Target),
    ("deprecated_endpoint", Ours),
    ("draft_already_deleted", Ours),
    ("draft_already_sent", Ours),
    ("draft_has_conflict", Ours),
    ("draft_not_found", Ours),
    ("duplicate_channel_not_found", Ours),
    ("duplicate_message_not_found", Ours),
    ("ekm_access_denied", Policy),
    ("enterprise_is_restricted", Permission),
    ("fatal_error", Unknown),
    ("internal_error", Unknown),
    ("invalid_arg_name", Ours),
    ("invalid_array_arg", Ours),
    ("invalid_auth", Key),
    ("invalid_blocks", Content),
    ("invalid_blocks_format", Content),
    ("invalid_charset", Ours),
    ("invalid_cursor", Ours),
    ("invalid_form_data", Ours),
    ("invalid_limit", Ours),
    ("invalid_metadata_filter_keys", Ours),
    ("invalid_metadata_format", Content),
    ("invalid_metadata_schema", Content),
    ("invalid_post_type", Ours),
    ("invalid_ts_latest", Ours),
    ("invalid_ts_oldest", Ours),
    ("invalid_types", Ours),
    ("is_archived", Target),
    ("is_bot", Ours),
    ("list_record_comment_fetch_failed", Target),
    ("markdown_text_conflict", Content),
    ("message_limit_exceeded", Policy),
    ("messages_tab_disabled", Target),
    ("metadata_must_be_sent_from_app", Content),
    ("metadata_too_large", Content),
    ("method_deprecated", Ours),
    ("method_not_supported_for_channel_type", Target),
    ("missing_file_data", Content),
    ("missing_post_type", Ours),
    ("missing_scope", Permission),
    ("msg_blocks_too_long", Content),
    ("no_permission", Permission),
    ("no_text", Content),
    ("not_allowed_token_type", Permission),
    ("not_authed", Key),
    ("not_in_channel", Target),
    ("org_login_required", Key),
    ("rate_limited", Wait),
    ("ratelimited", Wait),
    ("request_timeout", Unknown),
    ("restricted_action", Target),
    ("restricted_action_non_threadable_channel", Target),
    ("restricted_action_read_only_channel", Target),
    ("restricted_action_thread_locked", Target),
    ("restricted_action_thread_only_channel", Target),
    ("send_on_behalf_not_allowed", Ours),
    ("service_unavailable", Later),
    ("slack_connect_canvas_sharing_blocked", Content),
    ("slack_connect_file_link_sharing_blocked", Content),
    ("slack_connect_lists_sharing_blocked", Content),
    ("team_access_not_granted", Permission),
    ("team_added_to_org", Later),
    ("team_not_found", Target),
    ("thread_not_found", Target),
    ("token_expired", Key),
    ("token_revoked", Key),
    ("too_many_attachments", Content),
    ("too_many_contact_cards", Content),
    ("two_factor_setup_required", Key),
    ("unknown_method", Ours),
];

/// What incoming webhooks say, in plain text.
const WEBHOOK: &[(&str, Means)] = &[
    ("action_prohibited", Permission),
    ("channel_is_archived", Target),
    ("channel_not_found", Target),
    ("invalid_payload", Ours),
    ("invalid_token", Key),
    ("no_active_hooks", Key),
    ("no_service", Key),
    ("no_service_id", Key),
    ("no_team", Key),
    ("no_text", Content),
    ("posting_to_general_channel_denied", Permission),
    ("rollup_error", Unknown),
    ("team_disabled", Key),
    ("too_many_attachments", Content),
    ("user_not_found", Target),
];

impl Means {
    /// What to do about a word that is no more than refused.
    fn advice(self) -> &'static str {
        match self {
            Target => "check that the channel is there and open, and invite the bot",
            Content => "the message cannot be posted like this",
            _ => "the call is wrong, which is a defect of this program",
        }
    }

    fn error(self, reply: &Reply, word: &str) -> PortError {
        let (service, call, detail) = (reply.service, reply.call.clone(), format!("Slack says `{word}`"));
        let stopped = |reason| {
            let (call, detail) = (reply.call.clone(), detail.clone());
            PortError::Stopped { service, call, reason, detail }
        };
        match self {
            Wait => reply.rate_limited(detail),
            Unknown if reply.writes => PortError::OutcomeUnknown { service, call, detail },
            Later | Unknown => PortError::Unavailable { service, call, detail },
            Key => stopped(StopReason::Credential),
            Permission => stopped(StopReason::Permission),
            Policy => stopped(StopReason::Policy),
            Target | Content | Ours => {
                let detail = format!("{detail}; {}", self.advice());
                PortError::Rejected { service, call, code: Some(word.to_owned()), detail }
            }
        }
    }
}

fn meaning(table: &[(&str, Means)], word: &str) -> Option<Means> {
    table.iter().find(|(known, _)| *known == word).map(|(_, means)| *means)
}

/// What an `ok: false` means.
pub(super) fn classify(reply: &Reply, word: &str) -> PortError {
    let word = reply.clean(word);
    match meaning(WORDS, &word) {
        Some(means) => means.error(reply, &word),
        // It was not done, says `ok: false`; to try again what one does not understand helps nobody.
        None => reply.rejected(&word, &format!("Slack says `{word}`, which is a word that we do not know")),
    }
}

/// What an incoming webhook's refusal means.
pub(super) fn classify_webhook(reply: &Reply) -> PortError {
    let text = String::from_utf8_lossy(&reply.body);
    let word = reply.clean(text.trim());
    match meaning(WEBHOOK, &word) {
        Some(means) => means.error(reply, &word),
        None => reply.failure(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_have_each_word_once() {
        for table in [WORDS, WEBHOOK] {
            assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }
}
