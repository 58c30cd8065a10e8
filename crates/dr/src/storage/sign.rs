//! AWS Signature Version 4 for reads of a source.
//!
//! `object_store` signs too, but it cannot name every key: its paths know no leading slash, no empty part and no `..`, and it
//! takes the URL apart with rules that resolve them. A copy that leaves out what is oddly named is not whole, so the source
//! is read with the keys as the server lists them.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderValue, Method, Uri};
use jiff::Timestamp;
use object_store::client::{HttpRequest, HttpRequestBody};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use super::hex;
use super::settings::S3Access;

const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const IN_PATH: &AsciiSet = &IN_QUERY.remove(b'/');
const NO_BODY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A signed read. `query` is in the order of its names.
pub(super) fn read(
    access: &S3Access,
    base: &Uri,
    method: Method,
    (bucket, key): (&str, &str),
    query: &[(&str, &str)],
    now: Timestamp,
) -> HttpRequest {
    let authority = base.authority().map_or("", |authority| authority.as_str());
    let host = if access.path_style { authority.to_owned() } else { format!("{bucket}.{authority}") };
    let folder = base.path().trim_end_matches('/');
    let folder = if access.path_style { format!("{folder}/{bucket}") } else { folder.to_owned() };
    let path = format!("{folder}/{}", utf8_percent_encode(key, IN_PATH));
    let path = if key.is_empty() && access.path_style { folder } else { path };
    let query = query
        .iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, IN_QUERY)))
        .collect::<Vec<_>>()
        .join("&");
    let at = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let canonical = format!(
        "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{NO_BODY}\nx-amz-date:{at}\n\n\
         host;x-amz-content-sha256;x-amz-date\n{NO_BODY}"
    );
    let scope = format!("{}/{}/s3/aws4_request", &at[..8], access.region);
    let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let signature = hex(&mac(&signing_key(access, &at[..8]), &to_sign));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}",
        access.access_key
    );
    let mut address = format!("{}://{host}{path}", base.scheme_str().unwrap_or("https"));
    if !query.is_empty() {
        let _ = write!(address, "?{query}");
    }
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = method;
    *request.uri_mut() = address.parse().expect("every other byte is percent-encoded");
    for (name, value) in
        [("x-amz-content-sha256", NO_BODY), ("x-amz-date", &at), ("authorization", &authorization)]
    {
        // Key and region were checked when the source was made.
        if let Ok(value) = HeaderValue::from_str(value) {
            request.headers_mut().insert(name, value);
        }
    }
    request
}

fn signing_key(access: &S3Access, day: &str) -> Vec<u8> {
    let first = format!("AWS4{}", access.secret_key.expose_secret());
    [day, &access.region, "s3", "aws4_request"].iter().fold(first.into_bytes(), |key, part| mac(&key, part))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_vendors_example() {
        // "GET Bucket (List Objects)" of Amazon's page "Signature Calculations for the Authorization Header".
        let access = S3Access {
            endpoint: "https://s3.amazonaws.com".into(),
            region: "us-east-1".into(),
            access_key: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            path_style: false,
        };
        let base = access.base().unwrap();
        let query = [("max-keys", "2"), ("prefix", "J")];
        let now = "2013-05-24T00:00:00Z".parse().unwrap();
        let request = read(&access, &base, Method::GET, ("examplebucket", ""), &query, now);
        let header = request.headers()["authorization"].to_str().unwrap();
        let expected = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7";
        assert!(header.ends_with(expected), "{header}");
    }

    #[test]
    fn a_key_is_sent_as_it_is() {
        let access = S3Access {
            endpoint: "http://127.0.0.1:1/s3".into(),
            region: "r".into(),
            access_key: "k".into(),
            secret_key: "s".into(),
            path_style: true,
        };
        let base = access.base().unwrap();
        let request = read(&access, &base, Method::GET, ("b", "/a//../ü +?"), &[], Timestamp::UNIX_EPOCH);
        assert_eq!(request.uri().path(), "/s3/b//a//../%C3%BC%20%2B%3F");
    }
}
