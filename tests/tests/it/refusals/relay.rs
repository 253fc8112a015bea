//! Ports and nodes that the relay does not accept.

use fl_tests::deployed::Signal;

use crate::support::consortium::{DATA, NODES, consortium, ended, succeed};

#[test]
fn a_node_of_another_consortium_is_refused_and_the_relay_goes_on() {
    let (ours, theirs) = (consortium(), consortium());
    let (relay, address) = ours.relay(&["--rounds", "1"]);
    let stranger = theirs.node("a", address, DATA);
    // For all that it knows, somebody has taken its relay's address; so it waits for the relay.
    let line = stranger.line("has not shown that it is this consortium's relay");
    assert!(
        line.contains("another authority of the same name: check whose kit is used"),
        "{line}"
    );
    relay.line("turned away in the handshake");
    let nodes = NODES.map(|node| ours.node(node, address, DATA));
    succeed(nodes.into_iter().chain([relay]));
    stranger.signal(Signal::TERM);
    stranger.ended().succeeded();
    ours.assert_one_model(&NODES, 1);
}

#[test]
fn a_port_in_use_is_refused() {
    let consortium = consortium();
    let (_relay, address) = consortium.relay(&[]);
    let listen = address.to_string();
    let flags = ["--listen", &listen, "--state", "another"];
    ended(consortium.serve(&flags)).refused(&[&listen, "in use"]);
}
