//! The logs that real programs leave, and `fl-node verify-log` on them.

use std::fs;
use std::path::Path;

use fl_tests::deployed::{Signal, wait_until};
use fl_tests::federation::{Kits, Synthetic};
use fl_tests::workspace::root;
use serde_json::Value;

use crate::support::consortium::{DATA, NODES, complete, consortium, ended, verify_log};
use crate::support::federation::{federation, member, verified};

const PARTIES: [&str; 4] = ["relay", "a", "b", "c"];

/// The exit code and the one line of `verify-log --json`.
fn json(log: &Path, flags: &[&str]) -> (Option<i32>, Value) {
    let ended = verify_log(log, &[flags, &["--json"]].concat());
    let [line] = &ended.json()[..] else {
        panic!("{}", ended.text());
    };
    (ended.code, line.clone())
}

#[test]
fn every_log_of_a_deployment_is_sound_and_a_flipped_byte_is_located() {
    let consortium = consortium();
    complete(&consortium, NODES, 2);
    let path = |party: &str| consortium.state(party).join("audit.log");
    let model = consortium.stands("relay").unwrap()["model"].clone();
    for party in PARTIES {
        let told = ended(consortium.verify_log(party)).succeeded();
        let text = told.stdout.join("\n");
        assert!(
            text.contains("round 2: a, b, c; 1 attempt; result "),
            "{text}"
        );
        assert!(told.stdout.last().unwrap().starts_with("sound: "), "{text}");
        let kit = consortium.kit(party);
        let (code, told) = json(&path(party), &["--kit", kit.to_str().unwrap()]);
        assert_eq!((code, &told["sound"]), (Some(0), &true.into()));
        let rounds = told["rounds"].as_array().unwrap();
        assert_eq!(rounds.len(), 2);
        assert_eq!(rounds[1]["model"], model);
        assert_eq!(
            told["party"],
            if party == "relay" { "the relay" } else { party }
        );
    }
    // Anyone can check it, with nothing but the manifest.
    let kit = consortium.kit("b");
    let manifest = kit.join("manifest.toml");
    for flags in [
        ["--kit", kit.to_str().unwrap()],
        ["--manifest", manifest.to_str().unwrap()],
    ] {
        verify_log(&path("relay"), &flags).succeeded();
    }
    // The kit of nobody, and a file that is not there.
    verify_log(&path("relay"), &["--kit", "nowhere"]).refused(&["nowhere"]);
    let nowhere = verify_log(Path::new("nowhere"), &["--kit", kit.to_str().unwrap()]);
    assert_eq!(nowhere.code, Some(2));

    let log = fs::read(path("a")).unwrap();
    let changed = consortium.path().join("changed.log");
    let kit = ["--kit", kit.to_str().unwrap()];
    let mut ends = vec![0];
    while let Some(length) = log[ends[ends.len() - 1]..].first_chunk::<4>() {
        ends.push(ends[ends.len() - 1] + 36 + u32::from_le_bytes(*length) as usize);
    }
    for byte in [0, 40, log.len() / 3, log.len() / 2, log.len() - 1] {
        let mut bytes = log.clone();
        bytes[byte] ^= 4;
        fs::write(&changed, bytes).unwrap();
        let record = ends.partition_point(|end| *end <= byte);
        let place = format!("record {record}, at byte {}: ", ends[record - 1]);
        let told = verify_log(&changed, &kit);
        assert_eq!(told.code, Some(1), "{}", told.text());
        assert!(
            told.text().contains(&format!("NOT SOUND: {place}")),
            "{}",
            told.text()
        );
        let (code, told) = json(&changed, &kit);
        assert_eq!((code, &told["flaw"]["record"]), (Some(1), &record.into()));
    }
    fs::write(&changed, &log[..log.len() - 5]).unwrap();
    let (code, told) = json(&changed, &kit);
    assert_eq!((code, &told["sound"]), (Some(0), &true.into()));
    assert!(told["incomplete_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn a_node_goes_on_with_its_log_unless_that_was_changed() {
    let consortium = consortium();
    let (relay, address) = consortium.relay(&["--rounds", "40"]);
    let start = |node| consortium.node(node, address, DATA);
    let nodes = NODES.map(start);
    wait_until("first result", || consortium.stands("a").is_some());
    for process in nodes.into_iter().chain([relay]) {
        process.signal(Signal::TERM);
        process.ended().succeeded();
    }
    let path = consortium.state("a").join("audit.log");
    let kit = consortium.kit("a");
    let sound = |path: &Path| json(path, &["--kit", kit.to_str().unwrap()]).1;
    let before = sound(&path);
    assert_eq!(before["sound"], true, "{before}");
    let log = fs::read(&path).unwrap();

    let mut changed = log.clone();
    changed[50] ^= 1;
    fs::write(&path, changed).unwrap();
    let ended = start("a").ended();
    ended.refused(&["audit.log is not as it was written: record 1, at byte 0"]);

    // A crash in mid-append.
    let is_cut = "5 bytes, which a crash had cut short, are taken off";
    fs::write(&path, [&log[..], &[99, 0, 0, 0, 1]].concat()).unwrap();
    let rounds = before["rounds"].as_array().unwrap().len() + 2;
    let (relay, address) = consortium.relay(&["--rounds", &rounds.to_string()]);
    let nodes = NODES.map(|node| consortium.node(node, address, DATA));
    for (process, party) in [relay].into_iter().chain(nodes).zip(PARTIES) {
        let text = process.ended().succeeded().text();
        assert_eq!(text.contains(is_cut), party == "a", "{text}");
        let told = sound(&consortium.state(party).join("audit.log"));
        assert_eq!(told["dropped_bytes"], if party == "a" { 5 } else { 0 });
        assert_eq!(
            (&told["sound"], &told["incomplete_bytes"]),
            (&true.into(), &0.into())
        );
        let last = told["rounds"]
            .as_array()
            .unwrap()
            .iter()
            .rfind(|round| round["result"].is_string());
        assert_eq!(last.unwrap()["round"], rounds, "{told}");
    }
}

/// What the protocol says in section 9.
#[tokio::test(flavor = "multi_thread")]
async fn a_round_takes_as_many_bytes_in_each_log_as_it_should() {
    const ROUNDS: u64 = 3;
    for nodes in [3, 10] {
        let count = usize::try_from(nodes).unwrap();
        let kits = Kits::of_zeros(count, 5, 100).unwrap();
        let members = (0..nodes).map(|node| member(Box::new(Synthetic::new(5, 50, node).unwrap())));
        let federation = federation(members.collect(), ROUNDS);
        federation.run_with(&kits, |_| (), |_| ()).await.unwrap();
        let size = |party: &str| {
            verified(&kits, party).unwrap();
            let log = kits.folder().join(party).join("state/audit.log");
            fs::metadata(log).unwrap().len()
        };
        // The first record says whose log it is; a node has an id.
        let relay = (size("relay") - 164) / ROUNDS;
        let node = (size("node-0") - 196) / ROUNDS;
        println!("{nodes} nodes, a round: {relay} bytes in the relay's log, {node} in a node's");
        assert_eq!(relay, 100 * nodes * (nodes - 1) + 1424 * nodes + 344);
        assert_eq!(node, 1152 * nodes + 928);
        if nodes == 3 {
            let readme = fs::read_to_string(root().join("README.md")).unwrap();
            let log = format!(" {} bytes, up to digest", size("node-0"));
            assert!(readme.contains(&log), "the README has another log");
        }
    }
}
