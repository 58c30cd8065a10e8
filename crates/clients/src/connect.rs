//! All clients, wired into a platform.

use std::sync::Arc;

use allclear_core::{Clock, Platform, Service};

use crate::admin_api::{AdminApi, Previews};
use crate::artifacts::ArtifactFolder;
use crate::config::{ConfigError, Settings};
use crate::edge_functions::SendFunction;
use crate::management::Management;
use crate::pagerduty::PagerDuty;
use crate::provider::TicketIntake;
use crate::redemption_export::ExportedFiles;
use crate::slack::Slack;
use crate::supabase::Supabase;
use crate::times::AnsweredTimes;
use crate::whatsapp::GraphApi;
use crate::wiring::Wiring;

/// Wires all clients into a platform. Talks to nobody yet: the admin API is signed in to by the first call that needs it.
pub fn connect(settings: Settings, clock: &Arc<dyn Clock>) -> Result<Platform, ConfigError> {
    let wiring = Wiring::of(&settings, clock)?;
    let http = |service: Service, field: &'static str, base: &str| wiring.http(service, field, base);
    let Settings { endpoints, credentials, whatsapp, .. } = &settings;

    let admin = Arc::new(AdminApi::new(wiring.admin()?, credentials.admin_token.clone()));
    let supabase = Arc::new(Supabase::new(wiring.tables()?, Arc::clone(&admin)));
    let storage = http(Service::Storage, "supabase", &endpoints.supabase)?;
    let management =
        http(Service::SupabaseManagement, "supabase_management", &endpoints.supabase_management)?
            .bearer(&credentials.management_token);
    let management =
        Arc::new(Management::new(management, settings.supabase_project.clone(), settings.bundles.clone()));
    let functions = wiring.functions()?;
    let graph = http(Service::WhatsApp, "graph", &endpoints.graph)?.bearer(&credentials.graph_token);
    let mut slack =
        Slack::new(http(Service::Slack, "slack", &endpoints.slack)?.bearer(&credentials.slack_token));
    if let Some(address) = &credentials.slack_webhook {
        slack = slack.with_webhook(wiring.webhook(address)?, &settings.limits.ops_channel);
    }
    let intake =
        http(Service::Provider, "provider", &endpoints.provider)?.bearer(&credentials.provider_token);
    let pagerduty = PagerDuty::wired(&wiring, &settings, &credentials.pagerduty_routing_key)?;

    Ok(Platform {
        identity: settings.identity(),
        campaigns: supabase.clone(),
        targets: supabase.clone(),
        send_queue: supabase.clone(),
        send_log: supabase.clone(),
        notifications: supabase.clone(),
        policy: supabase.clone(),
        vouchers: supabase.clone(),
        replacements: supabase.clone(),
        redemptions: supabase.clone(),
        redemption_exports: Arc::new(ExportedFiles),
        stations: supabase.clone(),
        announcements: supabase.clone(),
        audit: supabase,
        times: Arc::new(AnsweredTimes::of(wiring.heard(), wiring.tables()?, wiring.admin()?)),
        previews: Arc::new(Previews::new(Arc::clone(&admin), storage)),
        functions: management.clone(),
        project: management,
        status_page: admin,
        sender: Arc::new(
            SendFunction::new(functions, &settings.send_function, whatsapp.clone())
                .in_region(settings.send_region.clone()),
        ),
        whatsapp: Arc::new(GraphApi::new(graph, whatsapp.clone())),
        provider: Arc::new(TicketIntake::new(intake)),
        chat: Arc::new(slack),
        paging: Arc::new(pagerduty),
        artifacts: Arc::new(ArtifactFolder::at(settings.artifacts.clone())),
        rehearsal: settings.rehearsed(),
        limits: settings.limits,
        // Databases and buckets are no HTTP services of the platform; whoever has them fills this in.
        recovery: None,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::Credentials;

    #[test]
    fn a_webhook_that_cannot_be_used_is_not_repeated() {
        let clock: Arc<dyn Clock> = Arc::new(allclear_core::VirtualClock::at(jiff::Timestamp::UNIX_EPOCH));
        for wrong in ["hooks.slack.example/hunter2", "http://hooks.slack.example/hunter2", "hunter2"] {
            let mut settings = crate::sandbox::settings("http://127.0.0.1:1", PathBuf::new()).unwrap();
            settings.credentials.slack_webhook = Some(wrong.into());
            assert!(!format!("{settings:?}").contains("hunter2"));
            let error = connect(settings, &clock).err().unwrap();
            assert_eq!(error, ConfigError::NotAWebhook);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_key_for_browsers_is_refused_before_anything_and_not_shown() {
        let clock: Arc<dyn Clock> = Arc::new(allclear_core::VirtualClock::at(jiff::Timestamp::UNIX_EPOCH));
        let refused = |change: &dyn Fn(&mut Credentials)| {
            let mut settings = crate::sandbox::settings("http://127.0.0.1:1", PathBuf::new()).unwrap();
            change(&mut settings.credentials);
            connect(settings, &clock).err().unwrap().to_string()
        };
        let anon = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.hunter2";
        for (key, kind) in [
            ("sb_publishable_hunter2", "publishable key"),
            (anon, "anon key"),
            ("sbp_hunter2", "personal access token"),
        ] {
            let error = refused(&|credentials| credentials.service_key = key.into());
            assert!(error.starts_with("credentials.service_key is") && error.contains(kind), "{error}");
            assert!(error.contains("sb_secret_…") && error.contains("service_role"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        for key in [anon, "sb_secret_hunter2"] {
            let error = refused(&|credentials| credentials.management_token = key.into());
            assert!(error.starts_with("credentials.management_token") && error.contains("sbp_…"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
