//! Somebody who answers at the relay's address, and is not the relay.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use fl_tests::deployed::{Consortium, Process, own_address};
use quinn::{ClientConfig, ConnectionError, Endpoint};

use super::forger::{Forger, UNKNOWN_CA};
use super::without_a_key;
use crate::support::consortium::{DATA, NODES, consortium, succeed};

const UNPROVEN: &str = "has not shown that it is this consortium's relay";

/// Starts all nodes, of which each says so of whoever answers.
fn put_off(consortium: &Consortium, address: SocketAddr, reason: &str) -> [Process; 3] {
    let nodes = NODES.map(|node| consortium.node(node, address, DATA));
    for node in &nodes {
        let line = node.line(UNPROVEN);
        assert!(line.contains(reason), "{line}");
        assert!(line.contains("trying again in"), "{line}");
    }
    nodes
}

/// Starts the relay that `nodes` have waited for, and checks that they take part.
fn take_part(consortium: &Consortium, address: SocketAddr, nodes: [Process; 3]) {
    let (relay, _) = consortium.relay_at(address, &["--rounds", "1"]);
    succeed(nodes.into_iter().chain([relay]));
    consortium.assert_one_model(&NODES, 1);
}

/// The control: nothing in QUIC itself tells a forged close from the relay's.
#[tokio::test]
async fn a_forged_close_ends_the_handshake_of_a_bare_client_as_if_the_server_had_said_it() {
    let forger = Forger::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let client = Endpoint::client(any).unwrap();
    let config = ClientConfig::new(Arc::new(without_a_key()));
    let connecting = client.connect_with(config, forger.address, "localhost");
    let ended = connecting.unwrap().await.unwrap_err();
    let ConnectionError::ConnectionClosed(close) = ended else {
        panic!("{ended}")
    };
    assert_eq!(u64::from(close.error_code), UNKNOWN_CA);
}

#[test]
fn nodes_whose_handshakes_forged_packets_close_go_on_and_take_part_once_these_stop() {
    let consortium = consortium();
    let forger = Forger::at(own_address());
    let address = forger.address;
    let nodes = put_off(
        &consortium,
        address,
        "is not from this consortium's authority",
    );
    drop(forger);
    take_part(&consortium, address, nodes);
}

#[test]
fn nodes_that_meet_another_server_at_their_relays_address_go_on_until_it_is_the_relay() {
    let (ours, theirs) = (consortium(), consortium());
    let (impostor, address) = theirs.relay(&[]);
    let nodes = put_off(&ours, address, "another authority of the same name");
    impostor.kill();
    take_part(&ours, address, nodes);
}
