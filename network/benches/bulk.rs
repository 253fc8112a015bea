//! What a body costs on its way: our bulk streams, quinn as it comes, and TLS over TCP, over
//! loopback and in one run.
//!
//! `cargo bench -p fl-network --bench bulk [-- MEGABYTES]` sends that much (256), from one node and
//! from three at a time, and prints MB/s, the median and the best turn, and the part of our own
//! rate that each median is:
//!
//! * `bodies`: [`send_bulk`] into [`BulkBody::next_piece`](fl_network::quic::BulkBody::next_piece),
//!   chunk by chunk, as the relay takes a body;
//! * `quinn, our settings`: a bare stream of quinn's on connections that are set up as ours are;
//! * `quinn, its settings`: the same on its default configuration;
//! * `TLS over TCP`: TLS 1.3 of the same suite, with certificates of both sides as well;
//! * `memcpy`: the same bytes copied chunk by chunk.
//!
//! Sender and receiver share the processor. All routes take turns, so that a busy machine slows
//! them alike.
#![allow(clippy::unwrap_used, reason = "a bench may panic")]

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use fl_network::pki::{Authority, Validity, certificate_from_pem};
use fl_network::quic::{BulkReceiver, Client, Server, send_bulk};
use fl_network::tls::{self, Credentials};
use fl_protocol::digest::CHUNK_BYTES;
use fl_protocol::manifest::Pace;
use quinn::Connection;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

const TURNS: usize = 7;
const MEGABYTES: usize = 256;
const SENDERS: [usize; 2] = [1, 3];
/// What quinn and TCP are handed at a time.
const WRITE_BYTES: usize = 1 << 20;
const HOST: &str = "localhost";
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[tokio::main]
async fn main() {
    // Cargo adds `--bench`.
    let given = std::env::args().find_map(|arg| arg.parse().ok());
    let megabytes: usize = given.unwrap_or(MEGABYTES);
    let parties = Parties::new();
    println!("senders  route                  median    best MB/s   of bodies");
    for senders in SENDERS {
        let body = Bytes::from(vec![0x5a; megabytes * 1_000_000 / senders]);
        let routes = [
            ("bodies", Route::bodies(&parties, senders).await),
            (
                "quinn, our settings",
                Route::tuned_quinn(&parties, senders).await,
            ),
            (
                "quinn, its settings",
                Route::default_quinn(&parties, senders).await,
            ),
            ("TLS over TCP", Route::tcp(&parties, senders).await),
            ("memcpy", Route::Memory(senders)),
        ];
        let mut routes = routes.map(|(name, route)| (name, route, Vec::new()));
        // The first turn finds out how large packets may be, and is not counted.
        for turn in 0..=TURNS {
            for (_, route, rates) in &mut routes {
                let begun = Instant::now();
                route.carry(&body).await;
                let rate = (body.len() * senders) as f64 / begun.elapsed().as_secs_f64() / 1e6;
                if turn > 0 {
                    rates.push(rate);
                }
            }
        }
        let mut ours = None;
        for (name, _, rates) in &mut routes {
            rates.sort_by(f64::total_cmp);
            let (median, best) = (rates[rates.len() / 2], rates[rates.len() - 1]);
            let ours = *ours.get_or_insert(median);
            println!(
                "{senders:7}  {name:20}  {median:7.0}  {best:7.0}        {:8.2}",
                median / ours
            );
        }
    }
}

/// The authority's certificate, and what relay and node show of themselves.
struct Parties {
    root: CertificateDer<'static>,
    relay: Pem,
    node: Pem,
}

struct Pem {
    certificate: String,
    key: String,
}

impl Pem {
    fn credentials(&self) -> Credentials {
        Credentials::from_pem(&self.certificate, &self.key).unwrap()
    }

    fn head(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        (
            vec![certificate_from_pem(&self.certificate).unwrap()],
            key.clone_key(),
        )
    }
}

impl Parties {
    fn new() -> Self {
        let validity = Validity::days(SystemTime::now(), 1).unwrap();
        let authority = Authority::create("bench", validity).unwrap();
        let identity = fl_network::pki::generate_identity().unwrap();
        let node = authority.issue_node("node", &identity.public_key(), validity);
        let relay = authority.issue_relay(&[HOST.to_owned()], validity).unwrap();
        Self {
            root: certificate_from_pem(authority.certificate_pem()).unwrap(),
            relay: Pem {
                certificate: relay.0,
                key: relay.1.to_string(),
            },
            node: Pem {
                certificate: node.unwrap(),
                key: identity.to_pem().unwrap().to_string(),
            },
        }
    }

    /// Connections of nodes to one relay as the programs make them: the node's end and the relay's.
    async fn connections(&self, count: usize) -> Vec<(Connection, Connection)> {
        let tls = tls::server(&self.root, &self.relay.credentials()).unwrap();
        let server = Server::bind(LOOPBACK, tls, count).unwrap();
        let mut connections = Vec::new();
        for _ in 0..count {
            let tls = tls::client(&self.root, &self.node.credentials()).unwrap();
            let client = Client::bind(server.local_address().unwrap(), tls).unwrap();
            let admit = async { server.accept().await.unwrap().handshake().await };
            let (node, relay) = tokio::join!(client.connect(HOST), admit);
            connections.push((node.unwrap(), relay.unwrap()));
        }
        connections
    }
}

/// A way for bytes, with its connections: the sender's end and the receiver's.
enum Route {
    Bodies(Vec<(Connection, Connection)>),
    Quinn(Vec<(Connection, Connection)>),
    Tcp(Vec<(TlsStream<TcpStream>, TlsStream<TcpStream>)>),
    Memory(usize),
}

impl Route {
    async fn bodies(parties: &Parties, senders: usize) -> Self {
        Self::Bodies(parties.connections(senders).await)
    }

    async fn tuned_quinn(parties: &Parties, senders: usize) -> Self {
        Self::Quinn(parties.connections(senders).await)
    }

    async fn default_quinn(parties: &Parties, senders: usize) -> Self {
        let tls = tls::server(&parties.root, &parties.relay.credentials())
            .unwrap()
            .quic;
        let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
        let server = quinn::Endpoint::server(config, LOOPBACK).unwrap();
        let address = server.local_addr().unwrap();
        let mut connections = Vec::new();
        for _ in 0..senders {
            let tls = tls::client(&parties.root, &parties.node.credentials()).unwrap();
            let config = quinn::ClientConfig::new(Arc::new(tls));
            let client = quinn::Endpoint::client(LOOPBACK).unwrap();
            let dial = client.connect_with(config, address, HOST).unwrap();
            let admit = async { server.accept().await.unwrap().await };
            let (node, relay) = tokio::join!(dial, admit);
            connections.push((node.unwrap(), relay.unwrap()));
        }
        Self::Quinn(connections)
    }

    async fn tcp(parties: &Parties, senders: usize) -> Self {
        let suites = vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
        let provider = Arc::new(CryptoProvider {
            cipher_suites: suites,
            ..ring::default_provider()
        });
        let mut roots = rustls::RootCertStore::empty();
        roots.add(parties.root.clone()).unwrap();
        let roots = Arc::new(roots);
        let nodes =
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
        let (head, key) = parties.relay.head();
        let server = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(nodes.unwrap())
            .with_single_cert(head, key);
        let (head, key) = parties.node.head();
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(head, key);
        let acceptor = TlsAcceptor::from(Arc::new(server.unwrap()));
        let connector = TlsConnector::from(Arc::new(client.unwrap()));
        let listener = TcpListener::bind(LOOPBACK).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections = Vec::new();
        for _ in 0..senders {
            let dial = async {
                let stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let host = ServerName::try_from(HOST).unwrap();
                connector.connect(host, stream).await.unwrap()
            };
            let admit = async {
                let (stream, _) = listener.accept().await.unwrap();
                acceptor.accept(stream).await.unwrap()
            };
            let (node, relay) = tokio::join!(dial, admit);
            connections.push((TlsStream::from(node), TlsStream::from(relay)));
        }
        Self::Tcp(connections)
    }

    /// Carries `body` over each connection at once; returns when all of it is there.
    async fn carry(&mut self, body: &Bytes) {
        let expected = body.len();
        match self {
            Self::Bodies(connections) => {
                let transfers = connections.iter().map(|(node, relay)| {
                    let (node, relay, body) = (node.clone(), relay.clone(), body.clone());
                    let send = async move { send_bulk(&node, b"header", [body]).await.unwrap() };
                    (tokio::spawn(send), tokio::spawn(take_body(relay, expected)))
                });
                for (sent, received) in transfers.collect::<Vec<_>>() {
                    sent.await.unwrap();
                    received.await.unwrap();
                }
            }
            Self::Quinn(connections) => {
                let transfers = connections.iter().map(|(node, relay)| {
                    let (node, relay, body) = (node.clone(), relay.clone(), body.clone());
                    (
                        tokio::spawn(send_stream(node, body)),
                        tokio::spawn(take_stream(relay, expected)),
                    )
                });
                for (sent, received) in transfers.collect::<Vec<_>>() {
                    sent.await.unwrap();
                    received.await.unwrap();
                }
            }
            Self::Tcp(connections) => {
                let transfers = connections.drain(..).map(|(mut node, mut relay)| {
                    let body = body.clone();
                    let send = async move {
                        for piece in body.chunks(WRITE_BYTES) {
                            node.write_all(piece).await.unwrap();
                        }
                        node.flush().await.unwrap();
                        node
                    };
                    let take = async move {
                        let mut chunk = vec![0; CHUNK_BYTES];
                        let mut left = expected;
                        while left > 0 {
                            let piece = &mut chunk[..CHUNK_BYTES.min(left)];
                            left -= relay.read_exact(piece).await.unwrap();
                            black_box(piece);
                        }
                        relay
                    };
                    (tokio::spawn(send), tokio::spawn(take))
                });
                let transfers: Vec<_> = transfers.collect();
                for (sent, received) in transfers {
                    connections.push((sent.await.unwrap(), received.await.unwrap()));
                }
            }
            Self::Memory(senders) => {
                let mut chunk = vec![0; CHUNK_BYTES];
                for _ in 0..*senders {
                    for piece in body.chunks(CHUNK_BYTES) {
                        chunk[..piece.len()].copy_from_slice(piece);
                        black_box(&chunk);
                    }
                }
            }
        }
    }
}

/// Takes a body as the relay does.
async fn take_body(relay: Connection, expected: usize) {
    let pace = Pace {
        grace: Duration::from_secs(60),
        bytes_per_second: NonZeroU64::new(1 << 20).unwrap(),
    };
    let receiver = BulkReceiver::accept(&relay, pace).await.unwrap();
    let (_, mut body) = receiver.header(64).await.unwrap();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut left = expected;
    while left > 0 {
        let piece = &mut chunk[..CHUNK_BYTES.min(left)];
        body.next_piece(piece).await.unwrap();
        black_box(&*piece);
        left -= piece.len();
    }
    body.end().await.unwrap();
}

async fn send_stream(node: Connection, body: Bytes) {
    let mut stream = node.open_uni().await.unwrap();
    for at in (0..body.len()).step_by(WRITE_BYTES) {
        let piece = body.slice(at..body.len().min(at + WRITE_BYTES));
        stream.write_chunk(piece).await.unwrap();
    }
    stream.finish().unwrap();
}

/// Takes a stream as quinn's own benchmark does: packet by packet, in whatever order they come.
async fn take_stream(relay: Connection, expected: usize) {
    let mut stream = relay.accept_uni().await.unwrap();
    let mut taken = 0;
    while let Some(chunk) = stream.read_chunk(usize::MAX, false).await.unwrap() {
        taken += black_box(&chunk.bytes).len();
    }
    assert_eq!(taken, expected);
}
