//! Handshakes that are begun and never completed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use fl_network::kit::Kit;
use fl_tests::deployed::{PATIENCE, Process, Signal};
use quinn::{Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::flood::Flood;
use crate::support::consortium::{DATA, NODES, consortium, succeed};

/// Where nodes of these tests dial from.
const OWN: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Another address of their /24, and one of another /24.
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const FAR: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);

/// A relay with so many places for handshakes, first come, first served, and no limit to how long
/// one may take. It ends with the runtime. The receiver hears of each handshake that is completed.
fn without_a_budget(kit: &Kit, places: usize) -> (Runtime, SocketAddr, Receiver<()>) {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(None);
    let mut config = ServerConfig::with_crypto(Arc::new(kit.server_tls().unwrap().quic));
    config.transport_config(Arc::new(transport));
    let runtime = Runtime::new().unwrap();
    let socket = std::net::UdpSocket::bind((OWN, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let (completed, heard) = channel();
    runtime.spawn(async move {
        let (own, tokio) = (EndpointConfig::default(), Arc::new(TokioRuntime));
        let endpoint = Endpoint::new(own, Some(config), socket, tokio).unwrap();
        let mut handshakes = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = handshakes.join_next() => {}
                Some(incoming) = endpoint.accept() => {
                    if handshakes.len() >= places {
                        incoming.refuse();
                        continue;
                    }
                    let completed = completed.clone();
                    handshakes.spawn(async move {
                        let connecting = incoming.accept().ok()?;
                        let _connection = connecting.await.ok()?;
                        completed.send(()).ok()
                    });
                }
            }
        }
    });
    (runtime, address, heard)
}

/// How long a node takes from when it is ready to dial to when it is connected.
fn way_in(node: &Process) -> Duration {
    node.line(" training and ");
    let begun = Instant::now();
    node.line("connected to the relay");
    begun.elapsed()
}

/// The control.
#[test]
fn without_a_budget_seventy_half_open_handshakes_from_one_address_keep_a_node_out() {
    let consortium = consortium();
    let kit = Kit::load(&consortium.kit("relay")).unwrap();
    let (_relay, address, completed) = without_a_budget(&kit, 70);
    let flood = Flood::standing(&[OWN], address, 70);
    let node = consortium.node("a", address, DATA);
    node.line("no connection to the relay: ");
    assert!(completed.try_recv().is_err(), "somebody got in");
    // As long as they last, and no longer.
    drop(flood);
    completed.recv_timeout(PATIENCE).unwrap();
    node.signal(Signal::TERM);
    node.ended().succeeded();
}

#[test]
fn seventy_half_open_handshakes_from_one_address_keep_no_node_out() {
    let consortium = consortium();
    let (relay, address) = consortium.relay(&["--rounds", "1"]);
    let flood = Flood::standing(&[OWN], address, 70);
    let nodes = NODES.map(|node| consortium.node(node, address, DATA));
    succeed(nodes.into_iter().chain([relay]));
    consortium.assert_one_model(&NODES, 1);
    assert!(flood.unheard() > 0);
}

/// Five seconds are what is promised. A node takes some milliseconds; a machine that is slow enough
/// to need more than a hundred times as long would not complete the rounds either.
#[test]
fn rounds_go_on_beside_two_thousand_half_open_handshakes_and_a_node_that_restarts_gets_in() {
    let consortium = consortium();
    let (relay, address) = consortium.relay(&["--rounds", "30"]);
    let flood = Flood::rolling(&[NEIGHBOUR, FAR], address, 2_000);
    let [a, b, c] = NODES.map(|node| consortium.node(node, address, DATA));
    relay.line("round 10 is complete");
    a.kill();
    let a = consortium.node("a", address, DATA);
    let took = way_in(&a);
    assert!(took < Duration::from_secs(5), "{took:?}");
    let (begun, unheard) = (flood.begun(), flood.unheard());
    let ended = succeed([a, b, c, relay]);
    consortium.assert_one_model(&NODES, 30);
    assert!(flood.begun() > begun && flood.unheard() > unheard);
    let relay = ended.last().unwrap().text();
    assert!(relay.contains("those of the busiest addresses"), "{relay}");
}

/// Nothing tells the node from the flood here, so that only the pace at which handshakes change
/// places lets it in: there is no promise how soon.
#[test]
fn nodes_get_in_even_from_the_address_of_a_flood() {
    let consortium = consortium();
    let (relay, address) = consortium.relay(&["--rounds", "3"]);
    let _flood = Flood::rolling(&[OWN], address, 2_000);
    let nodes = NODES.map(|node| consortium.node(node, address, DATA));
    succeed(nodes.into_iter().chain([relay]));
    consortium.assert_one_model(&NODES, 3);
}
