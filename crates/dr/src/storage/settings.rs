//! Where a bucket is, and the client that speaks to it.

use std::sync::Arc;

use allclear_core::error::InvalidValue;
use http::Uri;
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use secrecy::{ExposeSecret as _, SecretString};

use super::transport::{Connector, Transport};

/// An S3 server and the key to it.
#[derive(Debug, Clone)]
pub struct S3Access {
    /// `https://...`; plain `http://` only on loopback, since keys sign and do not hide.
    pub endpoint: String,
    /// The region that requests are signed for, e.g. `eu-west-1`.
    pub region: String,
    /// The access key's id.
    pub access_key: String,
    /// The access key's secret.
    pub secret_key: SecretString,
    /// Whether the bucket stands in the path (most servers, Supabase) or in the host (AWS).
    pub path_style: bool,
}

/// The bucket that backups are kept in.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The server and the key.
    pub access: S3Access,
    /// The bucket, which exists already.
    pub bucket: String,
    /// The folder in it, e.g. `supabase`; empty for the bucket's root.
    pub prefix: String,
}

/// A bucket, ready to be spoken to.
#[derive(Debug, Clone)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    name: String,
    prefix: Path,
}

impl S3Access {
    /// The endpoint's scheme and authority and path, without a trailing slash.
    pub(super) fn base(&self) -> Result<Uri, InvalidValue> {
        let bad = |fix| InvalidValue { field: "endpoint", value: self.endpoint.clone(), fix };
        let uri: Uri = self
            .endpoint
            .trim_end_matches('/')
            .parse()
            .map_err(|_| bad("give an address such as `https://s3.eu-west-1.amazonaws.com`"))?;
        let host = uri.host().unwrap_or_default();
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            let value = host.to_owned();
            let fix = "leave the key out of the address; it has a setting of its own";
            return Err(InvalidValue { field: "endpoint", value, fix });
        }
        match uri.scheme_str() {
            Some("https") if !host.is_empty() => Ok(uri),
            Some("http") if matches!(host, "127.0.0.1" | "localhost" | "[::1]") => Ok(uri),
            _ => Err(bad("give an `https://` address; `http://` is taken on loopback only")),
        }
    }

    /// Refuses what cannot be signed with.
    fn check_key(&self) -> Result<(), InvalidValue> {
        let fits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
        if !fits(&self.access_key) || !fits(self.secret_key.expose_secret()) {
            return Err(InvalidValue {
                field: "access key",
                value: "(not shown)".into(),
                fix: "give the key's id and secret, without spaces",
            });
        }
        Ok(())
    }
}

/// Connects to the bucket. Nothing is sent yet: whether it is there and lets us in shows with the first request.
pub fn connect(settings: &S3Settings) -> Result<Bucket, InvalidValue> {
    let base = settings.access.base()?;
    settings.access.check_key()?;
    let name = &settings.bucket;
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) {
        let fix = "give a bucket's name: letters, digits, `-`, `.` and `_`";
        return Err(InvalidValue { field: "bucket", value: name.clone(), fix });
    }
    let prefix = Path::parse(&settings.prefix).map_err(|_| InvalidValue {
        field: "prefix",
        value: settings.prefix.clone(),
        fix: "give a folder such as `supabase/nightly`, without `..` and empty parts",
    })?;
    let endpoint = endpoint_of(&base, name, settings.access.path_style);
    let store = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_virtual_hosted_style_request(!settings.access.path_style)
        .with_region(&settings.access.region)
        .with_bucket_name(name)
        .with_access_key_id(&settings.access.access_key)
        .with_secret_access_key(settings.access.secret_key.expose_secret())
        .with_allow_http(true)
        // The SHA-256 that we keep is computed once, on reading. For the way to the server CRC64 is enough and costs nothing,
        // and the server checks it; S3 has it since 2024, and servers that do not know it pass over the header.
        .with_unsigned_payload(true)
        .with_checksum_algorithm(Checksum::CRC64NVME)
        // Retries are our transport's, which knows `Retry-After` and keeps to one budget.
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .with_http_connector(Connector(Transport::new(base.scheme_str() == Some("https"))?))
        .build()
        .map_err(|_| InvalidValue {
            field: "endpoint",
            value: settings.access.endpoint.clone(),
            fix: "check endpoint, region and bucket",
        })?;
    Ok(Bucket { store: Arc::new(store), name: name.clone(), prefix })
}

fn endpoint_of(base: &Uri, bucket: &str, path_style: bool) -> String {
    let text = base.to_string();
    let text = text.trim_end_matches('/');
    match (path_style, text.split_once("://")) {
        (false, Some((scheme, rest))) => format!("{scheme}://{bucket}.{rest}"),
        _ => text.to_owned(),
    }
}

impl Bucket {
    /// The bucket through `object_store`, for those who keep other things in it. It retries what passes by itself; what
    /// an error means is told by [`port_error`](super::port_error).
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::<AmazonS3>::clone(&self.store)
    }

    /// The folder that everything goes into.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// A place below the folder, as people write it: `s3://bucket/folder/place`.
    pub fn address(&self, place: &str) -> String {
        let prefix = if self.prefix.is_root() { String::new() } else { format!("{}/", self.prefix) };
        format!("s3://{}/{prefix}{place}", self.name)
    }

    pub(super) fn s3(&self) -> &AmazonS3 {
        &self.store
    }

    pub(super) fn path(&self, place: &str) -> Path {
        place.split('/').fold(self.prefix.clone(), Path::join)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(endpoint: &str) -> S3Settings {
        S3Settings {
            access: S3Access {
                endpoint: endpoint.into(),
                region: "eu-west-1".into(),
                access_key: "key".into(),
                secret_key: "very-secret".into(),
                path_style: true,
            },
            bucket: "backups".into(),
            prefix: "supabase".into(),
        }
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        assert!(connect(&settings("http://127.0.0.1:9000")).is_ok());
        for bad in
            ["http://s3.example.com", "ftp://127.0.0.1", "s3.example.com", "http://127.0.0.1.evil.example"]
        {
            assert!(connect(&settings(bad)).is_err(), "{bad}");
        }
        let error = connect(&settings("https://key:very-secret@s3.example.com")).unwrap_err().to_string();
        assert!(!error.contains("very-secret"), "{error}");
        assert!(!format!("{:?}", settings("https://s3.example.com")).contains("very-secret"));
    }

    #[test]
    fn places_are_written_as_people_write_them() {
        let bucket = connect(&settings("http://localhost:9000")).unwrap();
        assert_eq!(bucket.address("dr-1"), "s3://backups/supabase/dr-1");
        assert_eq!(
            bucket.path("dr-1/storage/manifest.jsonl").as_ref(),
            "supabase/dr-1/storage/manifest.jsonl"
        );
    }
}
