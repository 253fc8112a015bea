//! Relays that are stopped, are killed, or lose their state.

use std::fs;
use std::net::SocketAddr;

use fl_tests::deployed::{Consortium, Process, Proxy, Signal, wait_until};

use super::{large, slow};
use crate::support::consortium::{NODES, consortium, ended, succeed};

#[test]
fn a_relay_whose_state_is_lost_takes_over_the_nodes_model() {
    let consortium = slow("a,b,c", &[]);
    let rounds = ["--rounds", "4"];
    let (relay, address) = consortium.relay(&rounds);
    let nodes = NODES.map(|node| consortium.node(node, address, "digits"));
    relay.line("round 3, attempt 1: 3 nodes are asked to train");
    relay.kill();
    fs::remove_dir_all(consortium.state("relay")).unwrap();

    let (relay, _) = consortium.relay_at(address, &rounds);
    relay.line("has round 2 already, of which this relay knows nothing");
    relay.line("the nodes' model of round 2 is taken over");
    succeed(nodes.into_iter().chain([relay]));
    consortium.assert_one_model(&NODES, 4);

    // It tells how it came to stand there, and goes on with it after another start.
    let verified = ended(consortium.verify_log("relay")).succeeded();
    let lines = verified.stdout.join("\n");
    assert!(lines.contains("round 2: "), "{lines}");
    assert!(!lines.contains("round 1: "), "{lines}");
    finish(&consortium, address, &["--rounds", "5"]);
    consortium.assert_one_model(&NODES, 5);
}

#[test]
fn ctrl_c_ends_a_relay_that_nodes_are_connected_to_and_they_come_back_to_it() {
    let consortium = slow("a,b,c", &[]);
    let rounds = ["--rounds", "3"];
    let (relay, address) = consortium.relay(&rounds);
    let nodes = NODES.map(|node| consortium.node(node, address, "digits"));
    relay.line("round 2, attempt 1: 3 nodes are asked to train");
    relay.signal(Signal::INT);
    relay.ended().succeeded();
    for node in &nodes {
        node.line("no connection to the relay: ");
    }
    let (relay, _) = consortium.relay_at(address, &rounds);
    succeed(nodes.into_iter().chain([relay]));
    consortium.assert_one_model(&NODES, 3);
}

#[test]
fn nodes_come_back_to_a_relay_that_was_killed_and_the_run_completes() {
    let consortium = slow("a,b,c", &[]);
    let rounds = ["--rounds", "3"];
    let (relay, address) = consortium.relay(&rounds);
    let nodes = NODES.map(|node| consortium.node(node, address, "digits"));
    relay.line("round 2, attempt 1: 3 nodes are asked to train");
    relay.kill();
    let (relay, _) = consortium.relay_at(address, &rounds);
    // It is the same relay, which tells them what happened.
    for node in &nodes {
        node.line("the peer has restarted");
    }
    succeed(nodes.into_iter().chain([relay]));
    consortium.assert_one_model(&NODES, 3);
}

#[test]
fn a_relay_killed_before_its_result_was_delivered_still_has_it_after_a_restart() {
    let (consortium, folder) = large();
    let data = folder.path().to_str().unwrap();
    let rounds = ["--rounds", "2"];
    let (relay, address) = consortium.relay(&rounds);
    let lines = NODES.map(|_| Proxy::to(address));
    let nodes = NODES.iter().zip(&lines).map(|(node, line)| {
        // A tenth of a result, and all messages.
        line.down.cut_after(1_000_000);
        consortium.node(node, line.address, data)
    });
    let nodes: Vec<_> = nodes.collect();
    relay.line("round 1 is complete");
    wait_until("result of the relay", || {
        consortium.state("relay").join("result.bin").exists()
    });
    relay.kill();
    let parties = NODES.iter().chain(&["relay"]);
    assert!(
        parties
            .cloned()
            .all(|party| consortium.stands(party).is_none()),
        "somebody has taken it"
    );
    lines.iter().for_each(|line| line.down.mend());
    let (relay, _) = consortium.relay_at(address, &rounds);
    succeed(nodes.into_iter().chain([relay]));
    consortium.assert_one_model(&NODES, 2);
}

#[test]
fn signals_end_everything_cleanly_and_a_restart_finishes_the_run() {
    let consortium = slow("a,b,c", &[]);
    let rounds = ["--rounds", "5"];
    let (relay, address) = consortium.relay(&rounds);
    let nodes = NODES.map(|node| consortium.node(node, address, "digits"));
    relay.line("round 3, attempt 1: 3 nodes are asked to train");
    for node in &nodes {
        node.line("round 3: training");
    }
    let signals = [Signal::INT, Signal::TERM, Signal::INT];
    for (node, signal) in nodes.iter().zip(signals) {
        node.signal(signal);
    }
    for (name, node) in NODES.iter().zip(nodes) {
        let node = node.ended().succeeded();
        assert!(
            node.stdout
                .last()
                .unwrap()
                .starts_with("stopped after round 2"),
            "{}",
            node.text()
        );
        assert_eq!(consortium.run(name)["finished"], false);
    }
    relay.signal(Signal::TERM);
    let relay = relay.ended().succeeded();
    assert!(
        relay
            .stderr
            .last()
            .unwrap()
            .contains("stopped after round 2 of 5"),
        "{}",
        relay.text()
    );
    consortium.assert_one_model(&NODES, 2);

    finish(&consortium, address, &rounds);
    consortium.assert_one_model(&NODES, 5);
    for name in NODES {
        let run = consortium.run(name);
        let rounds = run["rounds"].as_array().unwrap().iter();
        let rounds: Vec<_> = rounds.map(|round| round["round"].as_u64()).collect();
        assert_eq!(rounds, (1..=5).map(Some).collect::<Vec<_>>(), "{name}");
        assert_eq!(run["finished"], true);
    }
}

/// Starts everything again, on the same port.
fn finish(consortium: &Consortium, address: SocketAddr, rounds: &[&str]) {
    let (relay, _) = consortium.relay_at(address, rounds);
    let nodes = NODES.map(|node| consortium.node(node, address, "digits"));
    succeed(nodes.into_iter().chain([relay]));
}

/// Processes are killed on drop, which a test that fails relies on.
#[test]
fn a_dropped_process_is_gone() {
    let consortium = consortium();
    let (relay, address) = consortium.relay(&[]);
    drop(relay);
    // The port and the lock are free again.
    let (relay, _) = consortium.relay_at(address, &[]);
    drop::<Process>(relay);
}
