//! Real nodes and a real relay beside a participant that cheats.

use fl_protocol::manifest::LimitTable;
use fl_tests::deployed::Process;
use fl_tests::hostile_node::{HostileNode, Misdeed};
use fl_tests::hostile_relay::everyone;

const DATA: &str = "breast-cancer";
const HONEST: [&str; 3] = ["a", "b", "c"];

/// Runs a round of the honest nodes and `d`, which cheats. Returns what the relay said.
fn round_with(misdeed: Misdeed) -> String {
    let consortium = everyone("a,b,c,d");
    let (relay, address) = consortium.relay(&["--rounds", "1"]);
    let nodes = HONEST.map(|name| consortium.node(name, address, DATA));
    let _cheat = HostileNode::start(&consortium, "d", address, misdeed);
    nodes
        .into_iter()
        .for_each(|node| drop(Process::ended(node).succeeded()));
    let relay = relay.ended().succeeded();
    consortium.assert_one_model(&HONEST, 1);
    relay.text()
}

#[test]
fn a_participant_that_spoils_results_and_acknowledges_them_stops_nobody() {
    let taken_back = "round 1 begins again, with the same participants: its result is refused by \
                      a, b, c, and acknowledged by d";
    let said = round_with(Misdeed::Spoil(2));
    assert_eq!(said.matches(taken_back).count(), 2, "{said}");
    // The control: whose tags are right is waited for once.
    let said = round_with(Misdeed::Spoil(0));
    assert!(!said.contains("begins again"), "{said}");
}

#[test]
fn a_participant_that_accuses_another_falsely_is_left_out_and_the_others_complete() {
    let said = round_with(Misdeed::Accuse);
    let proven = said
        .lines()
        .find(|line| line.contains("d is proven to have lied"));
    let proven = proven.unwrap_or_else(|| panic!("{said}"));
    assert!(
        proven.contains("it accused ") && proven.contains("that does open"),
        "{proven}"
    );
    assert!(said.contains("round 1: a, b, c take part"), "{said}");
}

#[test]
fn nodes_end_when_a_participant_steers_the_model_further_than_agreed_or_makes_it_far_worse() {
    // Whoever steers is not there for a second round.
    let run = |limits: LimitTable, rounds: &str| {
        let consortium = everyone("a,b,c,d");
        consortium.amend(|manifest| manifest.limits = limits);
        let (relay, address) = consortium.relay(&["--rounds", rounds]);
        let nodes = HONEST.map(|name| consortium.node(name, address, DATA));
        let _cheat = HostileNode::start(&consortium, "d", address, Misdeed::Steer);
        (nodes.map(Process::ended), relay)
    };
    let none = LimitTable {
        update_norm: 1e9,
        loss_rise: 1e9,
    };
    let (nodes, _relay) = run(LimitTable::default(), "2");
    for node in nodes {
        node.refused(&["round 1 moved the model by", "than the 10 that"]);
    }
    let far = LimitTable {
        update_norm: 1e9,
        ..LimitTable::default()
    };
    let (nodes, _relay) = run(far, "2");
    for node in nodes {
        node.refused(&["after round 1 the model has a loss of", "the rise of 1 "]);
    }
    // The control: without limits nobody notices.
    let (nodes, relay) = run(none, "1");
    for node in nodes {
        node.succeeded();
    }
    relay.ended().succeeded();
}
