//! What an organisation remembers, whatever becomes of its nodes' kits and states.

use std::fs;
use std::path::PathBuf;

use fl_tests::deployed::{Consortium, Process, Signal, data};

use crate::support::consortium::{DATA, NODES, complete, consortium, ended, succeed};

/// An address at which nobody is: what is refused is refused before.
const NOWHERE: &str = "127.0.0.1:1";

/// Starts the node `a` with further flags, where no relay is.
fn alone(consortium: &Consortium, flags: &[&str]) -> Process {
    let mut train = consortium.train("a", NOWHERE.parse().unwrap(), DATA);
    train.args(flags);
    Process::start("a", train)
}

/// Stops a node that goes on.
fn stop(node: Process) {
    node.line("no connection to the relay");
    node.signal(Signal::TERM);
    node.ended().succeeded();
}

#[test]
fn a_lost_record_is_rebuilt_from_the_log_and_a_lost_state_is_noticed() {
    for scheme in ["peer", "committee:3,2"] {
        let flags = ["--data", DATA, "--scheme", scheme];
        let consortium = Consortium::found("a,b,c", &flags);
        complete(&consortium, NODES, 2);
        fs::remove_dir_all(consortium.record()).unwrap();
        let (relay, address) = consortium.relay(&["--rounds", "3"]);
        let nodes = NODES.map(|node| consortium.node(node, address, DATA));
        for node in &nodes {
            node.line("the record lacked 2 sums that this node's log tells of");
        }
        succeed(nodes.into_iter().chain([relay]));

        let record = || {
            let files = fs::read_dir(consortium.record()).unwrap();
            let files = files.map(|file| file.unwrap().path());
            let is_log = |path: &PathBuf| path.extension().is_some_and(|name| name == "log");
            let mut files: Vec<_> = files.filter(is_log).collect();
            files.sort();
            files.into_iter().map(|path| fs::read(path).unwrap())
        };
        let before: Vec<_> = record().collect();
        assert_eq!(before.len(), 3);
        // The state of one node is emptied, and that of another is an older one.
        let older = consortium.path().join("older");
        let state = consortium.state("b");
        fs::create_dir(&older).unwrap();
        for file in fs::read_dir(&state).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), older.join(file.file_name())).unwrap();
        }
        complete(&consortium, NODES, 5);
        fs::remove_dir_all(consortium.state("a")).unwrap();
        fs::remove_dir_all(&state).unwrap();
        fs::rename(&older, &state).unwrap();
        let (relay, address) = consortium.relay(&["--rounds", "6"]);
        let [a, b, c] = NODES.map(|node| consortium.node(node, address, DATA));
        a.line("5 sums are on record that its log does not tell of");
        b.line("2 sums are on record that its log does not tell of");
        let [.., c] = &succeed([a, b, c])[..] else {
            panic!("three nodes")
        };
        let noticed = c.text().contains("that its log does not tell of");
        assert!(!noticed, "the control: {}", c.text());
        relay.ended().succeeded();
        consortium.assert_one_model(&NODES, 6);
        for (before, after) in before.iter().zip(record()) {
            assert!(after.starts_with(before), "the record only grows");
        }
    }
}

#[test]
fn the_state_of_another_node_and_one_within_the_kit_are_refused() {
    let consortium = consortium();
    complete(&consortium, NODES, 1);
    let theirs = consortium.state("b");
    let ended = alone(&consortium, &["--state", theirs.to_str().unwrap()]).ended();
    ended.refused(&["audit.log is the log of another party", "--state"]);
    for flag in ["--state", "--record"] {
        let within = consortium.kit("a").join("state");
        let ended = alone(&consortium, &[flag, within.to_str().unwrap()]).ended();
        ended.refused(&["lie in one another", flag]);
        assert!(!within.exists());
    }
    let within = consortium.kit("relay").join("state");
    let serve = consortium.serve(&["--state", within.to_str().unwrap()]);
    self::ended(serve).refused(&["lie in one another", "--state"]);
    stop(alone(&consortium, &[]));
}

#[test]
fn a_row_more_is_given_away_with_a_word_only() {
    let folder = tempfile::tempdir().unwrap();
    let patients = data::patients();
    let sample = data::csv(folder.path(), "sample.csv", &patients[..]);
    let sample = folder.path().join(sample);
    let consortium = Consortium::found("a,b,c", &["--data", sample.to_str().unwrap()]);
    let part = |name: &str, rows: usize| data::csv(consortium.path(), name, &patients[..rows]);
    let (former, more) = (part("former.csv", 200), part("more.csv", 201));
    let rounds = |rounds: &str, data: &str, flags: &[&str]| {
        let (relay, address) = consortium.relay(&["--rounds", rounds]);
        let nodes = NODES.map(|node| {
            let own = if node == "a" { data } else { &former };
            let mut train = consortium.train(node, address, own);
            if node == "a" {
                train.args(flags);
            }
            Process::start(node, train)
        });
        let ended = nodes.map(Process::ended);
        (relay, ended)
    };
    let (relay, ended) = rounds("1", &former, &[]);
    for node in ended {
        node.succeeded();
    }
    relay.ended().succeeded();

    let refused = |data: &str| {
        let train = consortium.train("a", NOWHERE.parse().unwrap(), data);
        self::ended(train).refused(&[
            "this node's data is not what it has given sums of",
            "--accept-differences",
        ]);
    };
    refused(&more);
    // The same rows in another file are the same data.
    fs::copy(
        consortium.path().join(&former),
        consortium.path().join("copy.csv"),
    )
    .unwrap();
    let train = consortium.train("a", NOWHERE.parse().unwrap(), "copy.csv");
    stop(Process::start("a", train));

    let (relay, [a, b, c]) = rounds("2", &more, &["--accept-differences"]);
    let a = a.succeeded();
    assert!(
        a.text().contains("accepted: this node's data"),
        "{}",
        a.text()
    );
    for node in [b, c] {
        node.succeeded();
    }
    relay.ended().succeeded();
    refused(&former);
}

#[test]
fn a_consortium_without_a_former_member_is_joined_with_a_word_only() {
    let former = Consortium::found("a,b,c,d", &["--data", DATA, "--name", "study one"]);
    complete(&former, ["a", "b", "c", "d"], 1);
    let record = former.record();
    let record = ["--record", record.to_str().unwrap()];
    let without = Consortium::found("a,b,c", &["--data", DATA]);
    let ended = alone(&without, &record).ended();
    ended.refused(&["study one", "d of d", "--accept-differences"]);
    let accepts = [&record[..], &["--accept-differences"]].concat();
    let a = alone(&without, &accepts);
    a.line("accepted: this organisation has given sums in study one");
    stop(a);
    // The controls: the same members again, and an organisation that has given no sums.
    let again = Consortium::found("a,b,c,d", &["--data", DATA]);
    stop(alone(&again, &record));
    stop(alone(&without, &[]));
}
