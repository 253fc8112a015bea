//! Nodes that are killed, are cut off, or lose what they have kept.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;

use fl_tests::deployed::{ANY, Process, Proxy, Signal};

use super::{large, slow};
use crate::support::consortium::{DATA, NODES, complete, consortium, succeed};

#[test]
fn a_round_is_redone_without_a_node_lost_before_its_sum_and_the_node_catches_up_later() {
    let consortium = slow("a,b,c,d", &ANY);
    let (relay, address) = consortium.relay(&["--rounds", "3", "--json"]);
    let line = Proxy::to(address);
    let nodes = NODES.map(|node| consortium.node(node, address, "digits"));
    let lost = consortium.node("d", line.address, "digits");
    // Its keys still get through, so that it is counted in; the bundle of all keys does not reach
    // it.
    lost.line("round 1: training");
    line.down.cut_longer_than(200);
    let participants = relay.line(" take part");
    lost.kill();
    assert!(
        participants.contains("round 1: ") && participants.contains('d'),
        "{participants}"
    );
    assert!(!consortium.state("d").join("outbox.bin").exists());
    relay.line("round 1, attempt 1 is abandoned for want of d");
    relay.line("round 1, attempt 2: 3 nodes are asked to train");
    let back = consortium.node("d", address, "digits");
    succeed(nodes.into_iter().chain([back]));
    let relay = relay.ended().succeeded();
    let rounds = relay.json();
    assert_eq!(rounds.len(), 3);
    assert_eq!(
        (&rounds[0]["attempts"], &rounds[0]["nodes"]),
        (&2.into(), &3.into())
    );
    assert_eq!(
        (&rounds[2]["attempts"], &rounds[2]["nodes"]),
        (&1.into(), &4.into())
    );
    consortium.assert_one_model(&["a", "b", "c", "d"], 3);
}

#[test]
fn where_all_take_part_a_round_waits_for_a_lost_node_and_has_all_of_them() {
    let consortium = slow("a,b,c,d", &[]);
    let (relay, address) = consortium.relay(&["--rounds", "2", "--json"]);
    let line = Proxy::to(address);
    let nodes = NODES.map(|node| consortium.node(node, address, "digits"));
    let lost = consortium.node("d", line.address, "digits");
    lost.line("round 1: training");
    line.down.cut_longer_than(200);
    relay.line(" take part");
    lost.kill();
    relay.line("round 1, attempt 1 is abandoned for want of d");
    relay.line("waiting for d");
    let back = consortium.node("d", address, "digits");
    back.line("every round has every node");
    succeed(nodes.into_iter().chain([back]));
    let rounds = relay.ended().succeeded().json();
    assert_eq!(rounds.len(), 2);
    for round in &rounds {
        assert_eq!(round["nodes"], 4);
    }
    assert!(rounds[0]["attempts"].as_u64() > Some(1));
    consortium.assert_one_model(&["a", "b", "c", "d"], 2);
}

#[test]
fn a_node_killed_during_its_upload_sends_the_same_bytes_and_the_round_completes() {
    let (consortium, folder) = large();
    let data = folder.path().to_str().unwrap();
    let (relay, address) = consortium.relay(&["--rounds", "2", "--json"]);
    let others = ["a", "b"].map(|node| consortium.node(node, address, data));
    let line = Proxy::to(address);
    // All messages of a round are a few kilobytes: this is a third of the body.
    line.up.cut_after(3_400_000);
    let killed = consortium.node("c", line.address, data);
    line.up.wait_for_cut();
    killed.kill();
    let outbox = consortium.state("c").join("outbox.bin");
    let before = fs::read(&outbox).unwrap();
    assert!(before.len() > 10_000_000);

    let back = consortium.node("c", line.address, data);
    back.line("the masked sum of round 1 is still in the outbox");
    assert!(
        fs::read(&outbox).unwrap() == before,
        "other bytes than before"
    );
    line.up.mend();
    back.line("round 2: training");
    succeed(others.into_iter().chain([back]));
    let relay = relay.ended().succeeded();
    // The relay accepts only chunks that lead to the root signed before the loss.
    assert_eq!(relay.json()[0]["attempts"], 1, "{}", relay.text());
    assert_eq!(relay.json()[0]["nodes"], 3);
    consortium.assert_one_model(&NODES, 2);
}

#[test]
fn the_run_waits_for_a_node_that_it_needs_and_says_for_whom() {
    let consortium = slow("a,b,c", &[]);
    let (relay, address) = consortium.relay(&["--rounds", "3"]);
    let others = ["a", "b"].map(|node| consortium.node(node, address, "digits"));
    let lost = consortium.node("c", address, "digits");
    lost.line("round 2: training");
    lost.kill();
    relay.line("c disconnected");
    relay.line("waiting for c, for ");
    for node in &others {
        node.line("the relay waits for c, for ");
    }
    let back = consortium.node("c", address, "digits");
    succeed(others.into_iter().chain([back, relay]));
    consortium.assert_one_model(&NODES, 3);
}

#[test]
fn a_node_that_lost_its_outbox_begins_the_round_again_with_the_same_participants() {
    let (consortium, folder) = large();
    let data = folder.path().to_str().unwrap();
    let (relay, address) = consortium.relay(&["--rounds", "1", "--json"]);
    let others = ["a", "b"].map(|node| consortium.node(node, address, data));
    let line = Proxy::to(address);
    line.up.cut_after(3_400_000);
    let killed = consortium.node("c", line.address, data);
    line.up.wait_for_cut();
    killed.kill();
    let outbox = consortium.state("c").join("outbox.bin");
    let mut bytes = fs::read(&outbox).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&outbox, bytes).unwrap();

    let back = consortium.node("c", address, data);
    back.line("the outbox cannot be used, and is left aside: ");
    succeed(others.into_iter().chain([back]));
    let relay = relay.ended().succeeded();
    assert_eq!(relay.json()[0]["attempts"], 2, "{}", relay.text());
    assert_eq!(relay.json()[0]["nodes"], 3);
    consortium.assert_one_model(&NODES, 1);
}

#[test]
fn a_node_that_does_not_reach_its_relay_says_so_and_ends_cleanly() {
    let consortium = consortium();
    // Nobody else can take this port meanwhile, and nobody reads what arrives at it.
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = silent.local_addr().unwrap();
    let node = consortium.node("a", address, DATA);
    let line = node.line("no connection to the relay: ");
    assert!(
        line.contains("no answer") && line.contains("trying again in"),
        "{line}"
    );
    node.signal(Signal::INT);
    let node = node.ended().succeeded();
    assert!(
        node.stdout
            .last()
            .unwrap()
            .starts_with("stopped before the first round was done"),
        "{}",
        node.text()
    );
    assert!(!consortium.out("a").join("global.safetensors").exists());
}

#[test]
fn a_node_that_has_lost_its_state_is_brought_up_by_a_relay_that_was_restarted() {
    let consortium = consortium();
    complete(&consortium, NODES, 2);
    // All three are needed for a round, and for the word that the model is theirs.
    fs::remove_dir_all(consortium.state("c")).unwrap();
    complete(&consortium, NODES, 3);
}

#[test]
fn what_is_missing_from_a_state_folder_and_keys_that_others_can_read_are_noticed() {
    let consortium = consortium();
    let (relay, address) = consortium.relay(&["--rounds", "1"]);
    let nodes = NODES.map(|node| consortium.node(node, address, DATA));
    for node in succeed(nodes) {
        let text = node.text();
        assert!(!text.contains("WARN"), "the control: {text}");
    }
    relay.ended().succeeded();
    let key = consortium.kit("b").join("key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(consortium.state("b").join("audit.log")).unwrap();
    let b = consortium.node("b", address, DATA);
    b.line("key.pem is secret, and others may read it");
    b.line("audit.log is not there: the log begins anew, after round 1");
    fs::write(consortium.state("c").join("sent.log"), "").unwrap();
    let c = consortium.node("c", address, DATA).ended();
    c.refused(&["sent.log is of a former version", "provision --from"]);
}

#[test]
fn two_processes_with_one_kit_are_told_so_and_do_not_fight() {
    let consortium = consortium();
    let (_relay, address) = consortium.relay(&[]);
    let first = consortium.node("a", address, DATA);
    first.line("connected to the relay");
    let mut command = consortium.train("a", address, DATA);
    // As if from another machine, which has neither the state nor the record.
    command.args(["--state", "another", "--record", "another record"]);
    let _second = Process::start("a again", command);
    let said = first.line("only one process may use a kit");
    let wait = said.split("trying again in ").nth(1).unwrap();
    let wait: f64 = wait.trim_end_matches(" s").parse().unwrap();
    assert!((5.0..=10.0).contains(&wait), "{said}");
}
