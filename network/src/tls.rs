//! TLS 1.3 (RFC 8446) for QUIC: both sides authenticate by the consortium's authority, and by it
//! alone.
//!
//! No session is resumed and no data is sent early (0-RTT): each connection proves both keys
//! afresh.

use std::fmt;
use std::sync::Arc;

use fl_protocol::error::IdentityError;
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use rustls::client::{Resumption, VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{self, cipher_suite};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::Zeroize;

use crate::pki::{self, PkiError};
use crate::quic::ResetKey;

/// Application protocol (ALPN, RFC 7301) that both sides must name.
pub const ALPN: &[u8] = b"smpcfl/2";

/// Certificates from which no TLS configuration can be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority's certificate is unusable as a trust anchor.
    #[error("the authority's certificate cannot be trusted: {0}")]
    Anchor(#[source] rustls::Error),
    /// No verifier can be built on it.
    #[error("the authority's certificate cannot be verified against: {0}")]
    Verifier(#[from] VerifierBuilderError),
    /// The crypto provider does not speak TLS 1.3.
    #[error("the crypto provider does not offer TLS 1.3: {0}")]
    Version(#[source] rustls::Error),
    /// The crypto provider lacks AES-128-GCM, with which QUIC protects its first packets (RFC
    /// 9001).
    #[error(transparent)]
    InitialSuite(#[from] NoInitialCipherSuite),
}

/// A certificate and its private key: what one side shows of itself.
#[derive(Clone)]
pub struct Credentials {
    certified: Arc<SingleCertAndKey>,
    reset_key: Arc<ResetKey>,
}

/// TLS of a relay, and what it tells nodes by that it was restarted.
pub struct ServerTls {
    /// TLS.
    pub quic: QuicServerConfig,
    pub(crate) reset_key: Arc<ResetKey>,
}

impl Credentials {
    /// Reads a certificate and its PKCS#8 Ed25519 key, both in PEM.
    ///
    /// # Errors
    ///
    /// [`PkiError::Pem`], [`PkiError::Malformed`], [`PkiError::NotEd25519`] or [`PkiError::Key`] if
    /// either cannot be read, [`PkiError::KeyMismatch`] if they do not belong together.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let certificate = pki::certificate_from_pem(certificate_pem)?;
        pki::public_key(&certificate)?;
        let mut der = PrivatePkcs8KeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|_| IdentityError::PrivateKey)?;
        let reset_key = Arc::new(ResetKey::of(der.secret_pkcs8_der()));
        let key = ring::sign::any_eddsa_type(&der);
        der.zeroize();
        let key = key.map_err(|_| IdentityError::PrivateKey)?;
        let certified = CertifiedKey::new(vec![certificate], key);
        certified.keys_match().map_err(|_| PkiError::KeyMismatch)?;
        Ok(Self {
            certified: Arc::new(SingleCertAndKey::from(certified)),
            reset_key,
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// TLS of a relay: shows `relay`, and admits only clients that `authority` certified.
///
/// # Errors
///
/// [`TlsError::Anchor`] if `authority` is no certificate of an authority.
pub fn server(authority: &CertificateDer<'_>, relay: &Credentials) -> Result<ServerTls, TlsError> {
    let provider = provider();
    let clients =
        WebPkiClientVerifier::builder_with_provider(roots(authority)?, provider.clone()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Version)?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(relay.certified.clone());
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(ServerTls {
        quic: QuicServerConfig::try_from(config)?,
        reset_key: relay.reset_key.clone(),
    })
}

/// TLS of a node: shows `node`, and accepts only a relay that `authority` certified for the host
/// dialled.
///
/// # Errors
///
/// [`TlsError::Anchor`] if `authority` is no certificate of an authority.
pub fn client(
    authority: &CertificateDer<'_>,
    node: &Credentials,
) -> Result<QuicClientConfig, TlsError> {
    let provider = provider();
    let relays =
        WebPkiServerVerifier::builder_with_provider(roots(authority)?, provider.clone()).build()?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Version)?
        .with_webpki_verifier(relays)
        .with_client_cert_resolver(node.certified.clone());
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(QuicClientConfig::try_from(config)?)
}

fn roots(authority: &CertificateDer<'_>) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.clone().into_owned())
        .map_err(TlsError::Anchor)?;
    Ok(Arc::new(roots))
}

/// The three suites of TLS 1.3, the cheapest for this processor first. The client's order decides.
fn provider() -> Arc<CryptoProvider> {
    let mut cipher_suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    if !aes_in_hardware() {
        cipher_suites.reverse();
    }
    Arc::new(CryptoProvider {
        cipher_suites,
        ..ring::default_provider()
    })
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn aes_in_hardware() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn aes_in_hardware() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn aes_in_hardware() -> bool {
    false
}
