//! Two endpoints over real QUIC on loopback.

mod bulk;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fl_protocol::identity::Identity;
use fl_protocol::manifest::Pace;
use fl_protocol::round::Reason;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectError, Connection};
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;

use super::*;
use crate::pki::{Authority, Validity, certificate_from_pem};
use crate::tls::{self, Credentials};

const HOST: &str = "localhost";
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

struct Consortium {
    authority: Authority,
    root: CertificateDer<'static>,
}

impl Consortium {
    fn named(name: &str) -> Self {
        let authority = Authority::create(name, this_week()).unwrap();
        let root = certificate_from_pem(authority.certificate_pem()).unwrap();
        Self { authority, root }
    }

    fn node(&self, identity: &Identity, validity: Validity) -> Credentials {
        let key = identity.public_key();
        let certificate = self.authority.issue_node("clinic", &key, validity).unwrap();
        Credentials::from_pem(&certificate, &identity.to_pem().unwrap()).unwrap()
    }

    fn some_node(&self) -> Credentials {
        self.node(&crate::pki::generate_identity().unwrap(), this_week())
    }

    fn relay(&self, validity: Validity) -> Credentials {
        let hosts = [HOST.to_owned(), "127.0.0.1".to_owned()];
        let (certificate, key) = self.authority.issue_relay(&hosts, validity).unwrap();
        Credentials::from_pem(&certificate, &key).unwrap()
    }

    fn server(&self, relay: &Credentials) -> Server {
        Server::bind(ANY_PORT, tls::server(&self.root, relay).unwrap(), 1).unwrap()
    }

    fn client(&self, server: &Server, node: &Credentials) -> Client {
        let tls = tls::client(&self.root, node).unwrap();
        Client::bind(server.local_address().unwrap(), tls).unwrap()
    }
}

fn this_week() -> Validity {
    Validity::days(SystemTime::now(), 7).unwrap()
}

fn last_week() -> Validity {
    let day = Duration::from_secs(86_400);
    let now = SystemTime::now();
    Validity::between(now - 7 * day, now - day).unwrap()
}

fn pace() -> Pace {
    Pace {
        grace: Duration::from_secs(20),
        bytes_per_second: NonZeroU64::new(1 << 20).unwrap(),
    }
}

/// Returns what node and relay make of each other.
async fn meet(
    client: &Client,
    server: &Server,
    host: &str,
) -> (
    Result<Connection, TransportError>,
    Result<Connection, TransportError>,
) {
    let admit = async { server.accept().await.unwrap().handshake().await };
    let (node, relay) = tokio::join!(client.connect(host), admit);
    let node = match node {
        // The relay's judgement arrives after the node's side of the handshake.
        Ok(connection) if relay.is_err() => Err(connection.closed().await.into()),
        outcome => outcome,
    };
    (node, relay)
}

/// A pair of connected endpoints, which live as long as this does.
struct Pair {
    client: Client,
    server: Server,
    node: Connection,
    relay: Connection,
}

impl Pair {
    async fn new() -> Self {
        let consortium = Consortium::named("hospitals");
        let server = consortium.server(&consortium.relay(this_week()));
        let client = consortium.client(&server, &consortium.some_node());
        let (node, relay) = meet(&client, &server, HOST).await;
        Self {
            client,
            server,
            node: node.unwrap(),
            relay: relay.unwrap(),
        }
    }
}

#[tokio::test]
async fn each_side_learns_the_key_that_the_other_proved() {
    let consortium = Consortium::named("hospitals");
    let identity = crate::pki::generate_identity().unwrap();
    let server = consortium.server(&consortium.relay(this_week()));
    let client = consortium.client(&server, &consortium.node(&identity, this_week()));
    for host in [HOST, "127.0.0.1"] {
        let (node, relay) = meet(&client, &server, host).await;
        let (node, relay) = (node.unwrap(), relay.unwrap());
        assert_eq!(peer_public_key(&relay).unwrap(), identity.public_key());
        assert_ne!(peer_public_key(&node).unwrap(), identity.public_key());
        let (sent, received) = (
            ConnectionBytes::of(&node).sent,
            ConnectionBytes::of(&relay).received,
        );
        assert!(
            sent > 1200 && received > 1200,
            "{sent} sent, {received} received"
        );
    }
}

#[tokio::test]
async fn a_node_is_admitted_only_with_a_valid_certificate_of_this_consortium() {
    let ours = Consortium::named("hospitals");
    let namesake = Consortium::named("hospitals");
    let banks = Consortium::named("banks");
    let server = ours.server(&ours.relay(this_week()));
    let identity = crate::pki::generate_identity().unwrap();
    let cases = [
        (ours.node(&identity, last_week()), TransportFault::Expired),
        (
            banks.node(&identity, this_week()),
            TransportFault::UnknownAuthority,
        ),
        (
            namesake.node(&identity, this_week()),
            TransportFault::Signature,
        ),
        (ours.relay(this_week()), TransportFault::Purpose),
    ];
    for (shown, expected) in cases {
        let (node, relay) = meet(&ours.client(&server, &shown), &server, HOST).await;
        let relay = relay.unwrap_err();
        assert!(
            matches!(relay, TransportError::RefusedPeer { fault, .. } if fault == expected),
            "{relay}"
        );
        let node = node.unwrap_err();
        assert!(
            matches!(node, TransportError::RefusedByPeer { fault, .. } if fault == expected),
            "{node}"
        );
    }
    let (node, relay) = meet(
        &ours.client(&server, &ours.node(&identity, this_week())),
        &server,
        HOST,
    )
    .await;
    assert!(node.is_ok() && relay.is_ok());
}

#[tokio::test]
async fn a_node_without_certificate_or_protocol_is_refused() {
    let consortium = Consortium::named("hospitals");
    let server = consortium.server(&consortium.relay(this_week()));
    let dial = |alpn: &[u8]| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(consortium.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let tls = QuicClientConfig::try_from(config).unwrap();
        Client::bind(server.local_address().unwrap(), tls).unwrap()
    };
    for (alpn, expected) in [
        (tls::ALPN, TransportFault::NoCertificate),
        (b"h3", TransportFault::Protocol),
    ] {
        let (node, relay) = meet(&dial(alpn), &server, HOST).await;
        let relay = relay.unwrap_err();
        assert!(
            matches!(relay, TransportError::RefusedPeer { fault, .. } if fault == expected),
            "{relay}"
        );
        let node = node.unwrap_err();
        assert!(
            matches!(node, TransportError::RefusedByPeer { fault, .. } if fault == expected),
            "{node}"
        );
    }
}

#[tokio::test]
async fn a_relay_is_accepted_only_with_a_valid_certificate_for_the_host_dialled() {
    let ours = Consortium::named("hospitals");
    let namesake = Consortium::named("hospitals");
    let banks = Consortium::named("banks");
    let cases = [
        (ours.relay(last_week()), HOST, TransportFault::Expired),
        (
            banks.relay(this_week()),
            HOST,
            TransportFault::UnknownAuthority,
        ),
        (namesake.relay(this_week()), HOST, TransportFault::Signature),
        (ours.some_node(), HOST, TransportFault::Purpose),
        (
            ours.relay(this_week()),
            "elsewhere.example",
            TransportFault::HostName,
        ),
        (
            ours.relay(this_week()),
            "127.0.0.2",
            TransportFault::HostName,
        ),
    ];
    for (shown, host, expected) in cases {
        let server = ours.server(&shown);
        let (node, relay) = meet(&ours.client(&server, &ours.some_node()), &server, host).await;
        let node = node.unwrap_err();
        assert!(
            matches!(node, TransportError::RefusedPeer { fault, .. } if fault == expected),
            "{node}"
        );
        let relay = relay.unwrap_err();
        assert!(
            matches!(relay, TransportError::RefusedByPeer { fault, .. } if fault == expected),
            "{relay}"
        );
    }
    let server = ours.server(&ours.relay(this_week()));
    let client = ours.client(&server, &ours.some_node());
    assert!(meet(&client, &server, HOST).await.0.is_ok());
    let unnameable = client.connect("not a host").await.unwrap_err();
    assert!(matches!(
        unnameable,
        TransportError::Dial(ConnectError::InvalidServerName(_))
    ));
}

#[tokio::test]
async fn an_address_that_cannot_be_bound_is_named() {
    let consortium = Consortium::named("hospitals");
    let relay = consortium.relay(this_week());
    let bind = |address| Server::bind(address, tls::server(&consortium.root, &relay).unwrap(), 1);
    let first = bind(ANY_PORT).unwrap();
    let taken = first.local_address().unwrap();
    let error = bind(taken).unwrap_err();
    assert!(matches!(error, TransportError::AddressInUse { address } if address == taken));
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    // TEST-NET-1 (RFC 5737) belongs to nobody.
    let foreign = SocketAddr::from(([192, 0, 2, 1], 4433));
    let error = bind(foreign).unwrap_err();
    assert!(matches!(error, TransportError::AddressUnavailable { address } if address == foreign));
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_does_not_answer_is_unreachable() {
    let consortium = Consortium::named("hospitals");
    let mute = std::net::UdpSocket::bind(ANY_PORT).unwrap();
    let relay = mute.local_addr().unwrap();
    let tls = tls::client(&consortium.root, &consortium.some_node()).unwrap();
    let error = Client::bind(relay, tls)
        .unwrap()
        .connect(HOST)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Unreachable { address, .. } if address == relay));
}

#[tokio::test]
async fn control_frames_travel_whole_and_in_order_both_ways() {
    let pair = Pair::new().await;
    let (mut to_relay, mut from_relay) = control::open(&pair.node).await.unwrap();
    let frames: [&[u8]; 4] = [b"hello", b"", &[7; 100_000], b"bye"];
    for frame in frames {
        to_relay.send(frame).await.unwrap();
    }
    let (mut to_node, mut from_node) = control::accept(&pair.relay).await.unwrap();
    for frame in frames {
        assert_eq!(from_node.recv(100_000).await.unwrap().unwrap(), frame);
    }
    to_node.send(b"answer").await.unwrap();
    to_node.finish().await.unwrap();
    assert_eq!(from_relay.recv(6).await.unwrap().unwrap(), &b"answer"[..]);
    assert_eq!(from_relay.recv(6).await.unwrap(), None);
    assert_eq!(from_relay.recv(6).await.unwrap(), None);
}

#[tokio::test]
async fn a_frame_over_the_limit_is_refused_before_its_payload_arrives() {
    let pair = Pair::new().await;
    let (mut raw, _) = pair.node.open_bi().await.unwrap();
    raw.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    let (_, mut from_node) = control::accept(&pair.relay).await.unwrap();
    for _ in 0..2 {
        let error = from_node.recv(1000).await.unwrap_err();
        let TransportError::FrameTooLong { length, limit } = error else {
            panic!("{error}")
        };
        assert_eq!((length, limit), (u32::MAX.into(), 1000));
    }
}

#[tokio::test]
async fn a_stream_that_ends_or_breaks_inside_a_frame_is_told_apart_from_its_end() {
    let whole = [&5u32.to_le_bytes()[..], b"hello"].concat();
    for cut in 1..whole.len() {
        let pair = Pair::new().await;
        let (mut raw, _recv) = pair.node.open_bi().await.unwrap();
        raw.write_all(&whole[..cut]).await.unwrap();
        raw.finish().unwrap();
        let (_, mut from_node) = control::accept(&pair.relay).await.unwrap();
        let error = from_node.recv(10).await.unwrap_err();
        let TransportError::Truncated { expected, received } = error else {
            panic!("{error}")
        };
        assert_eq!(
            (expected, received),
            (if cut < 4 { 4 } else { 9 }, cut as u64)
        );
    }
    let pair = Pair::new().await;
    let (mut raw, _recv) = pair.node.open_bi().await.unwrap();
    raw.write_all(&whole[..6]).await.unwrap();
    let (_, mut from_node) = control::accept(&pair.relay).await.unwrap();
    raw.reset(7u32.into()).unwrap();
    let error = from_node.recv(10).await.unwrap_err();
    assert!(
        matches!(error, TransportError::StreamReset { code: 7 }),
        "{error}"
    );
}

#[tokio::test]
async fn a_cancelled_receive_loses_nothing() {
    let pair = Pair::new().await;
    let (mut raw, _recv) = pair.node.open_bi().await.unwrap();
    let bytes = [
        &5u32.to_le_bytes()[..],
        b"hello",
        &2u32.to_le_bytes(),
        b"hi",
    ]
    .concat();
    raw.write_all(&bytes[..1]).await.unwrap();
    let (_, mut from_node) = control::accept(&pair.relay).await.unwrap();
    let mut frames = Vec::new();
    for next in 1..=bytes.len() {
        // Each of these sees one byte more, and most give up inside a frame.
        while let Ok(frame) = timeout(Duration::from_millis(30), from_node.recv(5)).await {
            frames.push(frame.unwrap().unwrap());
        }
        raw.write_all(&bytes[next..bytes.len().min(next + 1)])
            .await
            .unwrap();
    }
    // However late the last byte was.
    while frames.len() < 2 {
        frames.push(from_node.recv(5).await.unwrap().unwrap());
    }
    assert_eq!(frames, [&b"hello"[..], b"hi"]);
}

#[tokio::test]
async fn a_cancelled_send_does_not_tear_its_frame() {
    let pair = Pair::new().await;
    let (mut to_relay, _recv) = control::open(&pair.node).await.unwrap();
    let large = vec![1; 20 << 20];
    let blocked = timeout(Duration::from_millis(300), to_relay.send(&large)).await;
    assert!(
        blocked.is_err(),
        "more than a window was taken without a reader"
    );
    let rest = tokio::spawn(async move {
        to_relay.send(b"next").await.unwrap();
        to_relay
    });
    let (_, mut from_node) = control::accept(&pair.relay).await.unwrap();
    assert_eq!(from_node.recv(large.len()).await.unwrap().unwrap(), large);
    assert_eq!(from_node.recv(4).await.unwrap().unwrap(), &b"next"[..]);
    rest.await.unwrap();
}

#[tokio::test]
async fn a_close_carries_its_code_and_a_bounded_reason() {
    let pair = Pair::new().await;
    let (mut to_relay, mut from_relay) = control::open(&pair.node).await.unwrap();
    to_relay.send(b"hello").await.unwrap();
    close(
        &pair.relay,
        3,
        &format!("unknown node\n{}", "é".repeat(500)),
    );
    let error = from_relay.recv(10).await.unwrap_err();
    let TransportError::ClosedByPeer { code: 3, reason } = error else {
        panic!("{error}")
    };
    let reason = reason.to_string();
    assert!(reason.starts_with("unknown node\\né"), "{reason}");
    assert!(
        reason.len() <= Reason::MAX + 1 && !reason.contains('\u{fffd}'),
        "{reason}"
    );
    let here = control::accept(&pair.relay).await.unwrap_err();
    assert!(matches!(here, TransportError::ClosedHere), "{here}");
    pair.client.shutdown(0, "done").await;
}

#[tokio::test]
async fn a_shut_down_server_tells_its_nodes_and_accepts_no_more() {
    let pair = Pair::new().await;
    let (told, ()) = tokio::join!(pair.node.closed(), pair.server.shutdown(1, "maintenance"));
    let told = TransportError::from(told);
    assert!(
        matches!(told, TransportError::ClosedByPeer { code: 1, .. }),
        "{told}"
    );
    assert!(pair.server.accept().await.is_none());
}
