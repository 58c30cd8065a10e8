//! TLS for `tokio-postgres` by rustls, as libpq's modes mean it: rather than a crate that brings a parser of certificates for channel binding.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore,
    SignatureScheme, WantsVerifier,
};

use super::url::Roots;

/// Where systems keep their root certificates; libpq is given the same file, so both trust alike.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// The file of root certificates to trust.
pub(crate) fn roots_file(roots: &Roots) -> Result<PathBuf, String> {
    if let Roots::File(given) = roots {
        return Ok(given.clone());
    }
    let found = SYSTEM_ROOTS.iter().map(PathBuf::from).find(|path| path.exists());
    found.ok_or_else(|| "this system has no file of root certificates".to_owned())
}

/// Connects, and asks for as much of a certificate as a mode says.
#[derive(Clone)]
pub(crate) struct Rustls {
    config: Arc<ClientConfig>,
}

impl Rustls {
    /// Encrypts, whoever is at the other end.
    pub(crate) fn encrypting() -> Result<Self, String> {
        Self::asking(AnyName::of(None))
    }

    /// Trusts whatever one of the roots signed, for whatever name.
    pub(crate) fn signed_by(roots: &Path) -> Result<Self, String> {
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store(roots)?), provider()).build();
        Self::asking(AnyName::of(Some(verifier.map_err(|error| format!("{}: {error}", roots.display()))?)))
    }

    /// Trusts what one of the roots signed for the host.
    pub(crate) fn trusting(roots: &Path) -> Result<Self, String> {
        let config = builder()?.with_root_certificates(store(roots)?).with_no_client_auth();
        Ok(Self { config: Arc::new(config) })
    }

    fn asking(verifier: AnyName) -> Result<Self, String> {
        let dangerous = builder()?.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        Ok(Self { config: Arc::new(dangerous.with_no_client_auth()) })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, String> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    builder.map_err(|error| error.to_string())
}

fn store(roots: &Path) -> Result<RootCertStore, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", roots.display());
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(roots).map_err(|error| told(&error))? {
        // A system's bundle may hold certificates that rustls cannot read; the others still count.
        let _ = store.add(certificate.map_err(|error| told(&error))?);
    }
    Ok(store)
}

/// Does not ask for the host's name: libpq's `require` and `verify-ca`.
#[derive(Debug)]
struct AnyName {
    /// Who must have signed; nobody where it is none.
    signed: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyName {
    fn of(signed: Option<Arc<WebPkiServerVerifier>>) -> Self {
        Self { signed, algorithms: provider().signature_verification_algorithms }
    }
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(signed) = &self.signed else { return Ok(ServerCertVerified::assertion()) };
        match signed.verify_server_cert(certificate, between, host, ocsp, now) {
            // The name is looked at last.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Rustls {
    type Stream = Encrypted<S>;
    type TlsConnect = ToHost;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<ToHost> {
        let host = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(ToHost { connector: TlsConnector::from(Arc::clone(&self.config)), host })
    }
}

/// One handshake to make.
pub(crate) struct ToHost {
    connector: TlsConnector,
    host: ServerName<'static>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for ToHost {
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Encrypted<S>>>;

    fn connect(self, stream: S) -> Self::Future {
        async move { self.connector.connect(self.host, stream).await.map(Encrypted) }.boxed()
    }
}

/// An encrypted connection. Without channel binding, as libpq does without where a server does not offer it.
pub(crate) struct Encrypted<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
