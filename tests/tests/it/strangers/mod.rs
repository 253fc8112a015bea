//! Real relays and nodes, and someone on the network without any key: half-open handshakes, forged
//! packets, another server at the relay's address.

mod flood;
mod forger;
mod half_open;
mod impostor;

use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use rustls::RootCertStore;

/// TLS of somebody who has no certificate, and does not ask for one that he could check.
fn without_a_key() -> QuicClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![fl_network::tls::ALPN.to_vec()];
    QuicClientConfig::try_from(config).unwrap()
}
