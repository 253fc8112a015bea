//! Nodes, relays and networks that fail in the middle of a run.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;

use fl_tests::deployed::{Consortium, Ended, Process, Proxy, Signal, data, fl_node, wait_until};
use tempfile::TempDir;

const NODES: [&str; 3] = ["a", "b", "c"];

/// A consortium that trains long enough for something to happen meanwhile: a second a round, or some.
fn slow(nodes: &str) -> Consortium {
    Consortium::found(nodes, &["--local-epochs", "15"])
}

/// A consortium with a body of 10 MB, and the folder of its data.
fn large() -> (Consortium, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    data::images(folder.path(), 20, 200);
    let path = folder.path().to_str().unwrap();
    let flags = ["--data", path, "--model", "mlp", "--local-epochs", "1"];
    // Steps that keep 40,000 inputs from blowing the model up.
    let consortium = Consortium::found(
        "a,b,c",
        &[&flags[..], &["--learning-rate", "0.00001"]].concat(),
    );
    (consortium, folder)
}

#[test]
fn a_round_is_redone_without_a_node_lost_before_its_sum_and_the_node_catches_up_later() {
    let consortium = slow("a,b,c,d");
    let (relay, address) = consortium.relay(&["--rounds", "3", "--json"]);
    let line = Proxy::to(address);
    let nodes = NODES.map(|node| consortium.node(node, address, "digits"));
    let lost = consortium.node("d", line.address, "digits");
    // Its keys still get through, so that it is counted in; the bundle of all keys does not reach it.
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
    for node in nodes.into_iter().chain([back]) {
        node.ended().succeeded();
    }
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
    for node in others.into_iter().chain([back]) {
        node.ended().succeeded();
    }
    let relay = relay.ended().succeeded();
    // The relay accepts only chunks that lead to the root signed before the loss.
    assert_eq!(relay.json()[0]["attempts"], 1, "{}", relay.text());
    assert_eq!(relay.json()[0]["nodes"], 3);
    consortium.assert_one_model(&NODES, 2);
}

#[test]
fn the_run_waits_for_a_node_that_it_needs_and_says_for_whom() {
    let consortium = slow("a,b,c");
    let (relay, address) = consortium.relay(&["--rounds", "3"]);
    let others = ["a", "b"].map(|node| consortium.node(node, address, "digits"));
    let lost = consortium.node("c", address, "digits");
    lost.line("round 2: training");
    lost.kill();
    relay.line("c is gone");
    relay.line("waiting for c, for ");
    for node in &others {
        node.line("the relay waits for c, for ");
    }
    let back = consortium.node("c", address, "digits");
    for node in others.into_iter().chain([back, relay]) {
        node.ended().succeeded();
    }
    consortium.assert_one_model(&NODES, 3);
}

#[test]
fn signals_end_everything_cleanly_and_a_restart_finishes_the_run() {
    let consortium = slow("a,b,c");
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

#[test]
fn a_relay_whose_state_is_lost_takes_over_the_nodes_model() {
    let consortium = slow("a,b,c");
    let rounds = ["--rounds", "4"];
    let (relay, address) = consortium.relay(&rounds);
    let nodes = NODES.map(|node| consortium.node(node, address, "digits"));
    relay.line("round 3, attempt 1: 3 nodes are asked to train");
    relay.kill();
    fs::remove_dir_all(consortium.state("relay")).unwrap();

    let (relay, _) = consortium.relay_at(address, &rounds);
    relay.line("has round 2 already, of which this relay knows nothing");
    relay.line("the nodes' model of round 2 is taken over");
    for process in nodes.into_iter().chain([relay]) {
        process.ended().succeeded();
    }
    consortium.assert_one_model(&NODES, 4);

    // It tells how it came to stand there, and goes on with it after another start.
    let mut command = fl_node();
    command.arg("verify-log");
    command.arg(consortium.state("relay").join("audit.log"));
    let verified = Process::start("verify-log", command).ended().succeeded();
    let lines = verified.stdout.join("\n");
    assert!(lines.contains("round 2: "), "{lines}");
    assert!(!lines.contains("round 1: "), "{lines}");
    finish(&consortium, address, &["--rounds", "5"]);
    consortium.assert_one_model(&NODES, 5);
}

/// Starts everything again, on the same port.
fn finish(consortium: &Consortium, address: SocketAddr, rounds: &[&str]) -> Vec<Ended> {
    let (relay, _) = consortium.relay_at(address, rounds);
    let nodes = NODES.map(|node| consortium.node(node, address, "digits"));
    let all = nodes.into_iter().chain([relay]);
    all.map(|process| process.ended().succeeded()).collect()
}

#[test]
fn ctrl_c_ends_a_relay_that_nodes_are_connected_to_and_they_come_back_to_it() {
    let consortium = slow("a,b,c");
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
    for process in nodes.into_iter().chain([relay]) {
        process.ended().succeeded();
    }
    consortium.assert_one_model(&NODES, 3);
}

#[test]
fn nodes_come_back_to_a_relay_that_was_killed_and_the_run_completes() {
    let consortium = slow("a,b,c");
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
    for process in nodes.into_iter().chain([relay]) {
        process.ended().succeeded();
    }
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
    for process in nodes.into_iter().chain([relay]) {
        process.ended().succeeded();
    }
    consortium.assert_one_model(&NODES, 2);
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
    for node in others.into_iter().chain([back]) {
        node.ended().succeeded();
    }
    let relay = relay.ended().succeeded();
    assert_eq!(relay.json()[0]["attempts"], 2, "{}", relay.text());
    assert_eq!(relay.json()[0]["nodes"], 3);
    consortium.assert_one_model(&NODES, 1);
}

#[test]
fn a_node_that_does_not_reach_its_relay_says_so_and_ends_cleanly() {
    let consortium = Consortium::found("a,b,c", &["--data", "breast-cancer"]);
    // Nobody else can take this port meanwhile, and nobody reads what arrives at it.
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = silent.local_addr().unwrap();
    let node = consortium.node("a", address, "breast-cancer");
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

/// Processes are killed on drop, which a test that fails relies on.
#[test]
fn a_dropped_process_is_gone() {
    let consortium = Consortium::found("a,b,c", &["--data", "breast-cancer"]);
    let (relay, address) = consortium.relay(&[]);
    drop(relay);
    // The port and the lock are free again.
    let (relay, _) = consortium.relay_at(address, &[]);
    drop::<Process>(relay);
}

#[test]
fn a_node_that_has_lost_its_state_is_brought_up_by_a_relay_that_was_restarted() {
    let consortium = Consortium::found("a,b,c", &["--data", "breast-cancer"]);
    let run = |rounds: &str| {
        let (relay, address) = consortium.relay(&["--rounds", rounds]);
        let nodes = NODES.map(|node| consortium.node(node, address, "breast-cancer"));
        nodes.into_iter().chain([relay]).for_each(|process| {
            process.ended().succeeded();
        });
        consortium.assert_one_model(&NODES, rounds.parse().unwrap());
    };
    run("2");
    // All three are needed for a round, and for the word that the model is theirs.
    fs::remove_dir_all(consortium.state("c")).unwrap();
    run("3");
}

#[test]
fn a_folder_with_the_model_of_another_run_is_refused_and_the_model_is_left_alone() {
    let consortium = Consortium::found("a,b,c", &["--data", "breast-cancer"]);
    let folder = consortium.path();
    let simulate = ["simulate", "--data", "breast-cancer", "--rounds", "1"];
    let run = |arguments: &[&str]| {
        let mut command = fl_node();
        command.current_dir(folder).args(arguments);
        Process::start(arguments[0], command).ended()
    };
    for _ in 0..2 {
        run(&simulate).succeeded();
    }
    let model = || fs::read(folder.join("smpcfl-out/global.safetensors")).unwrap();
    let before = model();
    let kit = consortium.kit("a");
    let kit = ["--kit", kit.to_str().unwrap()];
    let train = [&["train", "--data", "breast-cancer"][..], &kit].concat();
    run(&train).refused(&["smpcfl-out", "another run", "--out"]);
    fs::remove_file(folder.join("smpcfl-out/run.json")).unwrap();
    run(&simulate).refused(&["smpcfl-out", "another run", "--out"]);
    assert_eq!(model(), before);
}

#[test]
fn what_is_missing_from_a_state_folder_and_keys_that_others_can_read_are_noticed() {
    let consortium = Consortium::found("a,b,c", &["--data", "breast-cancer"]);
    let (relay, address) = consortium.relay(&["--rounds", "1"]);
    let nodes = NODES.map(|node| consortium.node(node, address, "breast-cancer"));
    for node in nodes {
        let text = node.ended().succeeded().text();
        assert!(!text.contains("WARN"), "the control: {text}");
    }
    relay.ended().succeeded();
    let key = consortium.kit("b").join("key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(consortium.state("b").join("audit.log")).unwrap();
    let b = consortium.node("b", address, "breast-cancer");
    b.line("key.pem is secret, and others may read it");
    b.line("audit.log is not there: the log begins anew, after round 1");
    fs::remove_file(consortium.state("c").join("sent.json")).unwrap();
    let c = consortium.node("c", address, "breast-cancer").ended();
    c.refused(&["sent.json is damaged: it is gone", "provision --from"]);
}

#[test]
fn two_processes_with_one_kit_are_told_so_and_do_not_fight() {
    let consortium = Consortium::found("a,b,c", &["--data", "breast-cancer"]);
    let (_relay, address) = consortium.relay(&[]);
    let first = consortium.node("a", address, "breast-cancer");
    first.line("connected to the relay");
    let mut command = consortium.train("a", address, "breast-cancer");
    command.args(["--state", "another"]);
    let _second = Process::start("a again", command);
    let said = first.line("only one process may use a kit");
    assert!(said.contains("trying again in 10.0 s"), "{said}");
}
