//! Real programs whose state is on a full file system: they say so, lose nothing, and go on when
//! there is room again.
//!
//! The model has 25,096 bytes. So a disk of 16 KiB takes a log and little else, one of 48 KiB one
//! vector of that size, and not two. Where nothing can be mounted the tests are skipped, loudly,
//! but not in CI.

use std::fs;

use fl_network::audit::Log;
use fl_network::kit::Kit;
use fl_protocol::audit::{Entry, Party, Record};
use fl_protocol::round::Head;
use fl_tests::deployed::{Consortium, Signal, SmallDisk, fl_node, wait_until};

use crate::support::consortium::{DATA, NODES, ended, succeed};

const FULL: &str = "No space left on device";
const LITTLE: u32 = 16;
const HALF: u32 = 48;
const ENOUGH: u32 = 16 * 1024;

fn consortium(flags: &[&str]) -> Consortium {
    let flags = [&["--data", DATA, "--local-epochs", "1"], flags].concat();
    Consortium::found("a,b,c", &flags)
}

/// Checks that a party's log holds, to the end.
#[track_caller]
fn assert_sound(consortium: &Consortium, party: &str) {
    let told = ended(consortium.verify_log(party)).succeeded();
    assert!(
        told.stdout.last().unwrap().starts_with("sound: "),
        "{}",
        told.text()
    );
}

#[test]
fn a_node_whose_outbox_or_model_finds_no_room_loses_nothing_and_goes_on() {
    let consortium = consortium(&[]);
    let Some(disk) = SmallDisk::mount(&consortium.state("a"), LITTLE) else {
        return;
    };
    let (relay, address) = consortium.relay(&["--rounds", "3"]);
    let [a, b, c] = NODES.map(|node| consortium.node(node, address, DATA));
    // The masked sum does not go into the outbox, so it is not announced; the others wait.
    a.line("outbox.bin");
    let said = a.line(FULL);
    assert!(said.contains("cannot write "), "{said}");
    relay.line("cannot contribute");
    assert!(!consortium.state("a").join("outbox.bin").exists());

    // Now it does, but the model has no room beside it. The process ends; what it has sent is still
    // there.
    disk.resize(HALF);
    let ended = a.ended().refused(&["cannot write ", "model-1.f32", FULL]);
    assert!(!ended.text().contains("panicked"));
    assert!(
        consortium
            .stands("a")
            .is_none_or(|stands| stands["round"] == 0)
    );
    let outbox = fs::read(consortium.state("a").join("outbox.bin")).unwrap();
    assert!(outbox.len() > 25_096);
    // What it has checked is not lost with it.
    assert_eq!(consortium.run("a")["rounds"][0]["round"], 1);
    assert!(consortium.out("a").join("global.safetensors").exists());

    disk.resize(ENOUGH);
    let a = consortium.node("a", address, DATA);
    succeed([a, b, c, relay]);
    consortium.assert_one_model(&NODES, 3);
    assert_sound(&consortium, "a");
}

#[test]
fn a_consortium_that_finds_no_room_is_not_there_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path(), HALF) else {
        return;
    };
    let provision = || {
        let mut command = fl_node();
        command.current_dir(&folder);
        command.args([
            "provision",
            "--nodes",
            "a=9,b=9,c=9",
            "--relay",
            "localhost:1",
        ]);
        command.args(["--data", DATA, "--out", "consortium"]);
        ended(command)
    };
    provision().refused(&["cannot write consortium/", FULL]);
    let left = fs::read_dir(folder.path().join("consortium")).unwrap();
    assert_eq!(left.count(), 0);
    disk.resize(ENOUGH);
    provision().succeeded();
}

#[test]
fn a_node_that_cannot_write_its_log_steps_back_and_goes_on() {
    let consortium = consortium(&[]);
    let Some(disk) = SmallDisk::mount(&consortium.state("a"), ENOUGH) else {
        return;
    };
    // A log that fills its last page but for a record or two: the node starts, and is asked for a
    // round.
    let kit = Kit::load(&consortium.kit("a")).unwrap();
    let (manifest, path) = (&kit.manifest, consortium.state("a").join("audit.log"));
    let (mut log, _) = Log::open(&path, manifest.consortium_id()).unwrap();
    let entry = Entry::Started {
        consortium_id: manifest.consortium_id(),
        party: Party::Node(kit.node_identity().unwrap().node_id()),
        head: Head::start(manifest),
        dropped: 0,
    };
    let length = || fs::metadata(&path).unwrap().len();
    let (mut record, mut appended) = (0, 0);
    while appended == 0 || length() + 2 * record < 4096 {
        let unix_s = fl_network::time::unix_s();
        let entry = entry.clone();
        log.append(&Record { unix_s, entry }).unwrap();
        record = length() / (appended + 1);
        appended += 1;
    }
    drop(log);
    // Its page, and that of the lowest loss.
    disk.resize(8);

    let (relay, address) = consortium.relay(&["--rounds", "2"]);
    let [a, b, c] = NODES.map(|node| consortium.node(node, address, DATA));
    let said = a.line(FULL);
    assert!(said.contains("audit.log"), "{said}");
    relay.line("cannot contribute");
    assert!(length() <= 4096);
    assert_sound(&consortium, "a");

    disk.resize(ENOUGH);
    succeed([a, b, c, relay]);
    consortium.assert_one_model(&NODES, 2);
    assert_sound(&consortium, "a");
}

#[test]
fn a_relay_whose_result_or_model_finds_no_room_waits_and_loses_nothing_even_if_it_is_killed() {
    let consortium = consortium(&[]);
    let Some(disk) = SmallDisk::mount(&consortium.state("relay"), LITTLE) else {
        return;
    };
    let stands = |party: &str| {
        let stands = consortium.stands(party);
        stands.map_or(0, |stands| stands["round"].as_u64().unwrap())
    };
    let (mut relay, address) = consortium.relay(&["--rounds", "4"]);
    let nodes = NODES.map(|node| consortium.node(node, address, DATA));
    // There is room for neither; then for the result alone, which nodes then take. No node is ever
    // further.
    for (said, round) in [
        ("the result is not on disk; nothing goes on until it is", 0),
        (
            "the new model is not on disk; nothing goes on until it is",
            1,
        ),
    ] {
        for _ in 0..2 {
            let line = relay.line(said);
            assert!(line.contains(FULL), "{line}");
        }
        wait_until("state of the nodes", || {
            NODES.iter().all(|node| stands(node) >= round)
        });
        relay.signal(Signal::KILL);
        drop(relay);
        assert_eq!(NODES.map(stands), [round; 3], "{said}");
        disk.resize(HALF);
        (relay, _) = consortium.relay_at(address, &["--rounds", "4"]);
    }
    // There is still no room for the model: no node gets further without it.
    let line = relay.line("the new model is not on disk; nothing goes on until it is");
    assert!(line.contains(FULL), "{line}");
    assert_eq!(NODES.map(stands), [1; 3]);
    disk.resize(ENOUGH);
    succeed(nodes.into_iter().chain([relay]));
    consortium.assert_one_model(&NODES, 4);
    for party in ["a", "b", "c", "relay"] {
        assert_sound(&consortium, party);
    }
}

#[test]
fn a_relay_without_room_for_contributions_says_so_and_takes_them_when_there_is_some() {
    let consortium = consortium(&["--scheme", "committee:3,2"]);
    let Some(disk) = SmallDisk::mount(&consortium.state("relay"), LITTLE) else {
        return;
    };
    let (relay, address) = consortium.relay(&["--rounds", "2"]);
    let nodes = NODES.map(|node| consortium.node(node, address, DATA));
    let said = relay.line("a contribution or a sum of masks cannot be kept");
    assert!(said.contains(FULL), "{said}");
    assert!(NODES.iter().all(|node| {
        let stands = consortium.stands(node);
        stands.is_none_or(|stands| stands["round"] == 0)
    }));
    disk.resize(ENOUGH);
    succeed(nodes.into_iter().chain([relay]));
    consortium.assert_one_model(&NODES, 2);
    assert_sound(&consortium, "relay");
}
