//! A private bucket for what an exercise leaves behind.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::ports::{Artifact, EvidenceShelf};
use allclear_core::recovery::Link;
use allclear_core::{Clock, PortError};
use async_trait::async_trait;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::tus::{TYPE, Upload, Uploads};
use super::{Result, StorageAccess, checked, error, in_path, wire};
use crate::config::{ConfigError, Settings};
use crate::hex::hex;
use crate::http::{Call, Http};
use crate::wiring::Wiring;

/// Longer files are no logs and no reports.
const LONGEST: u64 = 64 << 20;

/// The bucket, which exists already and is private. Names are below one folder.
#[derive(Debug)]
pub struct EvidenceBucket {
    pub(super) http: Http,
    bucket: String,
    folder: String,
    uploads: Uploads,
}

impl EvidenceBucket {
    /// Wires it, with the bounds of the environment's other clients. `folder` is the run's. Talks to nobody yet.
    pub fn connect(
        settings: &Settings,
        access: &StorageAccess,
        bucket: &str,
        folder: &str,
        clock: &Arc<dyn Clock>,
    ) -> std::result::Result<Self, ConfigError> {
        let http = Wiring::of(settings, clock)?.storage(&access.endpoint, &access.key)?;
        let (bucket, folder) = (bucket.to_owned(), folder.to_owned());
        Ok(Self { http, bucket, folder, uploads: Uploads::default() })
    }

    fn object(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    fn path(&self, door: &str, name: &str) -> String {
        format!("/object/{door}/{}/{}", in_path(&self.bucket), in_path(&self.object(name)))
    }
}

#[async_trait]
impl EvidenceShelf for EvidenceBucket {
    fn address(&self, name: &str) -> String {
        format!("storage://{}/{}", self.bucket, self.object(name))
    }

    async fn keep(&self, name: &str, content: &[u8]) -> Result<Artifact> {
        let wanted = Artifact {
            name: name.to_owned(),
            bytes: content.len() as u64,
            sha256: hex(&Sha256::digest(content)),
        };
        let refused = |code: &str, detail: String| PortError::Rejected {
            service: self.http.service(),
            call: "POST /upload/resumable".to_owned(),
            code: Some(code.to_owned()),
            detail,
        };
        if wanted.bytes > LONGEST {
            return Err(refused("too long", format!("{name} is longer than {LONGEST} bytes")));
        }
        let upload =
            Upload { bucket: &self.bucket, name: &self.object(name), content, sha256: &wanted.sha256 };
        match self.uploads.upload(&self.http, &upload).await {
            Ok(()) => Ok(wanted),
            Err(PortError::AlreadyDone { .. }) => match self.find(name).await? {
                Some(found) if found == wanted => Ok(wanted),
                _ => {
                    Err(refused("other content", format!("another {name} is there, and it is left as it is")))
                }
            },
            Err(other) => Err(other),
        }
    }

    async fn find(&self, name: &str) -> Result<Option<Artifact>> {
        let (mut sum, mut bytes) = (Sha256::new(), 0);
        let take = |piece: &[u8]| {
            sum.update(piece);
            bytes += piece.len() as u64;
        };
        let reply = self.http.stream(Call::read(self.path("authenticated", name)), LONGEST, take).await?;
        if !reply.is_success() {
            return match error::classify(&reply) {
                PortError::NotFound { .. } => Ok(None),
                other => Err(other),
            };
        }
        // What is kept here has the type that it was given. A gateway's page has another.
        if !reply.header("content-type").is_some_and(|kind| kind.starts_with(TYPE)) {
            return Err(reply.unusable("it answers with another type of file than is kept here"));
        }
        Ok(Some(Artifact { name: name.to_owned(), bytes, sha256: hex(&sum.finalize()) }))
    }

    /// `POST /object/sign/{bucket}/{name}`. From then on no error of this client repeats its token.
    async fn link(&self, name: &str, valid: Duration) -> Result<Link> {
        let valid = Duration::from_secs(valid.as_secs().max(1));
        let body = json!({ "expiresIn": valid.as_secs() });
        let reply = checked(&self.http, Call::read(self.path("sign", name)).posting(body)).await?;
        let signed: wire::Signed = reply.expect()?;
        let token =
            signed.signed_url.split_once("token=").map(|(_, rest)| rest.split('&').next().unwrap_or(rest));
        let Some(token) = token.filter(|_| signed.signed_url.starts_with('/')) else {
            return Err(reply.unusable("the link has no token, or leads elsewhere"));
        };
        self.http.keep_secret(&token.into());
        // The service writes an object's name as it is, and a link with a space in it is none for whoever gets it.
        let url = reqwest::Url::parse(&format!("{}{}", self.http.base(), signed.signed_url));
        let url = url.map_err(|_| reply.unusable("the link is no address"))?;
        Ok(Link::new(url.into(), valid))
    }
}
