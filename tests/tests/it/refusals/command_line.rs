//! Flags, configuration files, models and output folders that a command does not accept.

use std::fs;
use std::path::Path;
use std::process::Command;

use fl_datasets::{Schema, Shape};
use fl_tests::deployed::{fl_node, fl_relay};
use fl_trainer::{Checkpoint, ModelKind, ModelSpec, TensorLayout};

use super::refused;
use crate::support::consortium::{DATA, consortium, ended};

/// `fl-node provision` in `folder`. The caller adds the data, and which folder below it is made.
fn provision(folder: &Path, nodes: &str, relay: &str) -> Command {
    let mut command = fl_node();
    command
        .current_dir(folder)
        .args(["provision", "--nodes", nodes, "--relay", relay]);
    command
}

#[test]
fn unknown_settings_in_a_configuration_file_are_refused_by_name() {
    let consortium = consortium();
    let folder = consortium.path();
    fs::write(folder.join("bad.toml"), "rouns = 3\n").unwrap();
    let parts = ["bad.toml", "unknown field `rouns`"];
    refused(folder, &["simulate", "--config", "bad.toml"], &parts);
    refused(folder, &["train", "--config", "bad.toml"], &parts);
    ended(
        fl_relay()
            .current_dir(folder)
            .args(["serve", "--config", "bad.toml"]),
    )
    .refused(&parts);
    refused(
        folder,
        &["simulate", "--config", "none.toml"],
        &["cannot read none.toml"],
    );
    fs::write(folder.join("odd.toml"), "partition = \"by-magic\"\n").unwrap();
    refused(
        folder,
        &["simulate", "--config", "odd.toml"],
        &["odd.toml", "`by-magic` is no partition"],
    );
}

#[test]
fn settings_out_of_range_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (flags, part) in [
        (&["--nodes", "2"][..], "--nodes must be at least 3"),
        (&["--rounds", "0"], "--rounds must be at least 1"),
        (&["--fraction-fit", "0"], "--fraction-fit must be above 0"),
        (
            &["--fraction-fit", "1.5"],
            "--fraction-fit must be above 0 and at most 1",
        ),
        (&["--fraction-fit", "NaN"], "--fraction-fit must be above 0"),
        (
            &["--min-nodes", "4"],
            "--min-nodes must be between 3 and 3, the number of nodes, not 4",
        ),
        (&["--min-nodes", "2"], "--min-nodes must be between 3"),
        (
            &["--partition", "dirichlet:0"],
            "concentration 0 is not within",
        ),
        (&["--batch-size", "0"], "batch_size is 0"),
        (&["--local-epochs", "0"], "epochs is 0"),
        (&["--learning-rate", "inf"], "learning_rate is inf"),
        (&["--seed", "18446744073709551615"], "less than 2^63"),
        (
            &["--nodes", "2000"],
            "1438 examples are too few for 2000 nodes",
        ),
        (&["--data", "nowhere.csv"], "cannot read nowhere.csv"),
    ] {
        refused(folder.path(), &[&["simulate"], flags].concat(), &[part]);
    }
    let consortium = consortium();
    for (flags, part) in [
        (
            &["--min-nodes", "4"][..],
            "--min-nodes must be between 3 and 3, the number of nodes, not 4",
        ),
        (&["--min-nodes", "2"], "--min-nodes must be between"),
        (&["--fraction-fit", "0"], "--fraction-fit must be above 0"),
        (&["--rounds", "0"], "--rounds must be at least 1"),
    ] {
        ended(consortium.serve(flags)).refused(&[part]);
    }
    refused(folder.path(), &["train"], &["--kit DIR is missing"]);
    ended(fl_relay().arg("serve")).refused(&["--kit DIR is missing"]);
}

#[test]
fn folders_that_cannot_be_written_are_refused_before_the_work_begins() {
    let consortium = consortium();
    let folder = consortium.path();
    // Not even root can make a folder below a file.
    fs::write(folder.join("file"), "").unwrap();
    let parts = ["file", "cannot be written"];
    refused(folder, &["simulate", "--out", "file/out"], &parts);
    let kit = consortium.kit("a");
    let train = ["train", "--data", DATA, "--kit", kit.to_str().unwrap()];
    refused(folder, &[&train[..], &["--out", "file"]].concat(), &parts);
    refused(
        folder,
        &[&train[..], &["--record", "record", "--state", "file/state"]].concat(),
        &["cannot write", "file/state"],
    );
    refused(
        folder,
        &[&train[..], &["--record", "file/record"]].concat(),
        &["cannot write", "file/record"],
    );
    ended(consortium.serve(&["--state", "file/state"])).refused(&["cannot write", "file/state"]);
    ended(provision(folder, "a=9,b=9,c=9", "localhost:1").args([
        "--out",
        "file/kits",
        "--data",
        "digits",
    ]))
    .refused(&["cannot write", "file/kits"]);
}

#[test]
fn nothing_is_provisioned_into_a_folder_that_is_in_use() {
    let consortium = consortium();
    let before = fs::read(consortium.kit("a").join("key.pem")).unwrap();
    let mut again = provision(consortium.path(), "a=9,b=9,c=9", "localhost:1");
    ended(again.args(["--out", "consortium", "--data", "digits"]))
        .refused(&["consortium exists and is not empty"]);
    assert_eq!(
        fs::read(consortium.kit("a").join("key.pem")).unwrap(),
        before
    );
}

#[test]
fn a_consortium_that_cannot_work_is_not_founded() {
    let folder = tempfile::tempdir().unwrap();
    let many = (0..1001)
        .map(|index| format!("n{index}=9"))
        .collect::<Vec<_>>()
        .join(",");
    for (nodes, flags, parts) in [
        ("a=9,b=9", &[][..], &["2 nodes", "only from 3 nodes on"][..]),
        (
            "a=9,b=9,a=9",
            &[],
            &["cannot be called \"a\"", "another party's folder"],
        ),
        (
            "a=9,b=9,A=9",
            &[],
            &["cannot be called \"A\"", "another party's folder"],
        ),
        ("a=9,b=9,../c=9", &[], &["letters, digits"]),
        (
            "a=9,b=9,c@=9",
            &[],
            &["write NAME=EXAMPLES or NAME@ORGANISATION=EXAMPLES"],
        ),
        (
            "a@St. Mary=9,b@st.  MARY=9,c@other=9",
            &[],
            &["2 organisations; at least 3"],
        ),
        (
            "a@St. Mary=9,b@St.\u{200b} Mary=9,c@other=9",
            &[],
            &["node \"b\"", "characters that print"],
        ),
        ("a=9,b=9,relay=9", &[], &["cannot be called \"relay\""]),
        (
            "a=9,b=9,Authority=9",
            &[],
            &["cannot be called \"Authority\""],
        ),
        (&many, &[], &["1001 nodes are listed", "nodes_max = 1000"]),
        (
            "a=9,b=9,c",
            &[],
            &["\"c\" is not a node", "the most training examples"],
        ),
        ("a=9,b=9,c=many", &[], &["\"c=many\" is not a node"]),
        ("a=9,b=9,c=16777216", &[], &["exceeds 16777215"]),
        ("a=9,b=9,c=0", &[], &["node \"c\"", "examples_max is 0"]),
        (
            "a=9,b=9,c=9",
            &["--min-nodes", "2"],
            &["min_nodes = 2 is too small"],
        ),
        (
            "a=9,b=9,c=9",
            &["--min-nodes", "4"],
            &["3 nodes are listed", "min_nodes = 4"],
        ),
        (
            "a=9,b=9,c=9",
            &["--collusion", "2"],
            &["3 nodes are listed", "min_nodes = 4"],
        ),
        (
            "a=9,b=9,c=9,d=9",
            &["--collusion", "2", "--min-nodes", "3"],
            &["min_nodes = 3 is too small", "at least 4"],
        ),
        (
            "a=9,b=9,c=9",
            &["--bandwidth-mbit-s", "0"],
            &["--bandwidth-mbit-s"],
        ),
        (
            "a=9,b=9,c=9",
            &["--training-s", "0"],
            &["training_s must be greater than 0"],
        ),
        (
            "a=9,b=9,c=9",
            &["--learning-rate", "0"],
            &["learning_rate is 0"],
        ),
        ("a=9,b=9,c=9", &["--optimizer", "lion"], &["sgd", "adam"]),
        ("a=9,b=9,c=9", &["--valid-days", "0"], &["0 is not in 1.."]),
        (
            "a=9,b=9,c=9",
            &["--data", DATA, "--model", "cnn"],
            &["cnn does not take"],
        ),
        (
            "a=9,b=9,c=9",
            &["--label", "diagnosis"],
            &["for which a label's column has a meaning"],
        ),
    ] {
        let mut command = provision(folder.path(), nodes, "localhost:1");
        command.args(["--out", "kits"]).args(flags);
        if !flags.contains(&"--data") {
            command.args(["--data", "digits"]);
        }
        ended(&mut command).refused(parts);
        assert!(!folder.path().join("kits").exists(), "{nodes} {flags:?}");
    }
    for (relay, part) in [
        ("localhost", "localhost is not host:port"),
        ("localhost:99999", "localhost:99999 is not host:port"),
        (":4433", ":4433 is not host:port"),
        ("no host:1", "neither a DNS name nor an IP address"),
        ("localhost:00", "localhost:00 is not host:port"),
        ("::1:4433", "::1:4433 is not host:port"),
    ] {
        let mut command = provision(folder.path(), "a=9,b=9,c=9", relay);
        ended(command.args(["--out", "kits", "--data", "digits"])).refused(&[part]);
        assert!(!folder.path().join("kits").exists(), "{relay}");
    }
    let mut command = provision(folder.path(), "a=9,b=9,c=9", "localhost:1");
    ended(command.args(["--out", "kits"]))
        .refused(&["required arguments were not provided", "--data <SOURCE>"]);
}

#[test]
fn a_model_that_is_none_cannot_be_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let evaluate = ["evaluate", "--data", "digits", "--model", "m.safetensors"];
    refused(folder.path(), &evaluate, &["m.safetensors", "No such file"]);
    for bytes in [&b""[..], b"{}", &[0xff; 100]] {
        fs::write(folder.path().join("m.safetensors"), bytes).unwrap();
        refused(
            folder.path(),
            &evaluate,
            &["m.safetensors is not a valid checkpoint"],
        );
    }
}

#[test]
fn what_is_no_model_is_neither_gone_on_from_nor_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("junk.safetensors"), "junk").unwrap();
    let shape = Shape::Table { columns: 2 };
    let schema = Schema::new(shape, vec![], vec!["no".into(), "yes".into()]).unwrap();
    let (name, shape) = ("weight".to_owned(), vec![2]);
    let other = Checkpoint {
        round: 1,
        model: Some(ModelSpec::new(ModelKind::Mlp, schema, None).unwrap()),
        layout: vec![TensorLayout { name, shape }].try_into().unwrap(),
        parameters: vec![0.0; 2],
    };
    other
        .write(&folder.path().join("other.safetensors"))
        .unwrap();
    for (file, why) in [
        ("junk.safetensors", "is not a valid checkpoint"),
        ("other.safetensors", "it has other tensors than its model"),
        ("nothing.safetensors", "cannot read"),
    ] {
        let mut provision = provision(folder.path(), "a=9,b=9,c=9", "localhost:4433");
        provision.args(["--from", file, "--out", "consortium"]);
        ended(provision).refused(&[file, why]);
        let evaluate = ["evaluate", "--model", file, "--data", "digits"];
        refused(folder.path(), &evaluate, &[file, why]);
    }
    assert!(!folder.path().join("consortium").exists());
}

#[test]
fn a_folder_with_the_model_of_another_run_is_refused_and_the_model_is_left_alone() {
    let consortium = consortium();
    let folder = consortium.path();
    let simulate = ["simulate", "--data", DATA, "--rounds", "1"];
    for _ in 0..2 {
        ended(fl_node().current_dir(folder).args(simulate)).succeeded();
    }
    let model = || fs::read(folder.join("smpcfl-out/global.safetensors")).unwrap();
    let before = model();
    let kit = consortium.kit("a");
    let kit = ["--kit", kit.to_str().unwrap()];
    let train = [&["train", "--data", DATA][..], &kit].concat();
    let parts = ["smpcfl-out", "another run", "--out"];
    refused(folder, &train, &parts);
    fs::remove_file(folder.join("smpcfl-out/run.json")).unwrap();
    refused(folder, &simulate, &parts);
    assert_eq!(model(), before);
}
