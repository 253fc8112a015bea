//! `bench-round`: what it counts, and what a round may cost in bytes.

use std::process::Command;

use fl_tests::deployed::Process;
use serde_json::Value;

const PARAMS: &str = "100000";
const PARAMETERS: u64 = 100_000;

/// `bench-round` with no arguments yet.
fn bench_round() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bench-round"))
}

/// Runs two rounds with these flags.
fn bench(flags: &[&str]) -> Value {
    let mut command = bench_round();
    command.args(["--rounds", "2", "--json"]).args(flags);
    let ended = Process::start("bench-round", command).ended().succeeded();
    serde_json::from_str(&ended.stdout[0]).unwrap()
}

/// Bytes that a `who` of the federation sent and received.
fn payload(bench: &Value, federation: &str, who: &str) -> [u64; 2] {
    let traffic = &bench[federation][who];
    ["sent", "received"].map(|way| traffic[way].as_u64().unwrap())
}

#[test]
fn a_node_sends_and_receives_hardly_more_than_in_the_open() {
    let bench = bench(&["--nodes", "4", "--params", PARAMS]);
    // One body, and the four bytes that say that it has no header.
    let open = 4 * PARAMETERS + 4;
    assert_eq!(payload(&bench, "bare", "node"), [open, open]);
    let secure = payload(&bench, "secure", "node");
    for bytes in secure {
        // Of each other node, its round key, a box, and what is signed.
        let most = 4 * PARAMETERS * 101 / 100 + 3 * 3072;
        assert!(bytes > open && bytes <= most, "{bytes}");
    }
    // The same messages: masks have no bytes.
    assert_eq!(payload(&bench, "plain", "node"), secure);
    assert!(bench["secure"]["holder"].is_null());
    assert_eq!(bench["secure"]["phases_s"].as_array().unwrap().len(), 8);
}

#[test]
fn holders_are_told_from_other_nodes() {
    let flags = ["--nodes", "5", "--params", PARAMS];
    let bench = bench(&[&flags[..], &["--scheme", "committee:4,1"]].concat());
    let [node, _] = payload(&bench, "secure", "node");
    let [holder, _] = payload(&bench, "secure", "holder");
    assert!((4 * PARAMETERS..6 * PARAMETERS).contains(&node), "{node}");
    // Its own contribution, and the masks that it reveals.
    assert!(holder > 8 * PARAMETERS, "{holder}");
    assert_eq!(payload(&bench, "plain", "holder")[0], holder);
    assert!(bench["bare"]["holder"].is_null());
}

#[test]
fn nodes_train_on_data_in_every_federation() {
    let trained = bench(&["--data", "digits"]);
    assert_eq!(trained["data"], "digits");
    // The control: as many parameters, and nothing to train them on.
    let parameters = trained["parameters"].to_string();
    let at_once = bench(&["--params", &parameters]);
    assert!(at_once["data"].is_null());
    for federation in ["secure", "plain", "bare"] {
        let cpu = |bench: &Value| bench[federation]["node_cpu_s"].as_f64().unwrap();
        let (trained, at_once) = (cpu(&trained), cpu(&at_once));
        assert!(
            trained > 2.0 * at_once,
            "{federation}: {trained}, {at_once}"
        );
    }
}

#[test]
fn data_decides_the_number_of_parameters() {
    let mut command = bench_round();
    command.args(["--data", "digits", "--params", "5"]);
    let ended = Process::start("bench-round", command).ended();
    assert_eq!(ended.code, Some(2));
}

#[test]
fn two_nodes_are_too_few() {
    let mut command = bench_round();
    command.args(["--nodes", "2"]);
    let ended = Process::start("bench-round", command).ended();
    assert_eq!(ended.code, Some(1));
    let said = ended.stderr.join("\n");
    assert!(said.contains("--nodes must be at least 3"), "{said}");
}
