//! Bad data, bad settings, bad folders: each ends in an error that says what is wrong, and none in a panic.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use fl_tests::deployed::{Consortium, Ended, Process, Signal, data, fl_node, fl_relay};

const NOWHERE: &str = "127.0.0.1:9";

/// Runs a command to its end.
fn ended(command: &mut Command) -> Ended {
    let command = std::mem::replace(command, Command::new("true"));
    Process::start("the command", command).ended()
}

/// Runs `fl-node` with these arguments in `folder`, and expects an error with `parts` in it.
#[track_caller]
fn refused(folder: &Path, arguments: &[&str], parts: &[&str]) {
    ended(fl_node().current_dir(folder).args(arguments)).refused(parts);
}

fn tables() -> Consortium {
    Consortium::found("a,b,c", &["--data", "breast-cancer"])
}

/// `fl-node provision` in `folder`; into which one below it, and for what data, is for the caller to add.
fn provision(folder: &Path, nodes: &str, relay: &str) -> Command {
    let mut command = fl_node();
    command
        .current_dir(folder)
        .args(["provision", "--nodes", nodes, "--relay", relay]);
    command
}

/// A train command against a relay that is not there: it must not get that far.
#[track_caller]
fn untrained(consortium: &Consortium, data: &str, parts: &[&str]) {
    ended(&mut consortium.train("a", NOWHERE.parse().unwrap(), data)).refused(parts);
}

#[test]
fn data_that_is_missing_empty_or_no_data_is_refused() {
    let consortium = tables();
    let folder = consortium.path();
    untrained(&consortium, "nowhere.csv", &["nowhere.csv", "cannot read"]);
    fs::write(folder.join("empty.csv"), "").unwrap();
    untrained(&consortium, "empty.csv", &["empty.csv holds no examples"]);
    fs::write(folder.join("words.csv"), "1,2,x\n3,word,y\n").unwrap();
    untrained(
        &consortium,
        "words.csv",
        &["row 2, column 2 is not a number"],
    );
    fs::write(folder.join("data.xlsx"), "PK").unwrap();
    untrained(&consortium, "data.xlsx", &["data.xlsx is no known format"]);
    fs::write(folder.join("bytes.csv"), [0x31, 0x2c, 0xff, 0xfe, 0x0a]).unwrap();
    untrained(&consortium, "bytes.csv", &["not CSV text in UTF-8"]);
    fs::create_dir(folder.join("nothing")).unwrap();
    untrained(&consortium, "nothing", &["has no train-images-idx3-ubyte"]);
}

#[test]
fn truncated_files_are_refused() {
    let consortium = Consortium::found("a,b,c", &[]);
    let folder = consortium.path();
    let whole = fs::read(data::embedded("digits.csv.gz")).unwrap();
    fs::write(folder.join("cut.csv.gz"), &whole[..whole.len() / 2]).unwrap();
    untrained(
        &consortium,
        "cut.csv.gz",
        &["cut.csv.gz is a gzip file that is cut short"],
    );
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"1,2,0\n").unwrap();
    let mut damaged = gzip.finish().unwrap();
    let last = damaged.len() - 6;
    damaged[last] ^= 1;
    fs::write(folder.join("damaged.csv.gz"), damaged).unwrap();
    untrained(&consortium, "damaged.csv.gz", &["cut short or damaged"]);

    data::images(&folder.join("idx"), 10, 8);
    let images = folder.join("idx/train-images-idx3-ubyte");
    let whole = fs::read(&images).unwrap();
    for (bytes, part) in [
        (whole.len() - 1, "of data where its header says"),
        (7, "header"),
        (0, "header"),
    ] {
        fs::write(&images, &whole[..bytes]).unwrap();
        untrained(&consortium, "idx", &["train-images-idx3-ubyte", part]);
    }
    fs::write(&images, &whole).unwrap();
    fs::write(folder.join("idx/train-labels-idx1-ubyte"), &whole).unwrap();
    untrained(
        &consortium,
        "idx",
        &["train-labels-idx1-ubyte", "0x00000803"],
    );
}

#[test]
fn cells_that_are_not_finite_and_labels_that_are_no_class_are_refused_with_their_row() {
    let consortium = tables();
    let folder = consortium.path();
    let patients = data::patients();
    let changed = |name: &str, change: fn(&mut Vec<String>)| {
        let mut cells: Vec<_> = patients[1].split(',').map(str::to_owned).collect();
        change(&mut cells);
        data::csv(folder, name, [&patients[0], &cells.join(","), &patients[2]])
    };
    let nan = changed("nan.csv", |cells| cells[3] = "NaN".to_owned());
    untrained(&consortium, &nan, &["row 2, column 4 is not finite"]);
    let huge = changed("huge.csv", |cells| cells[0] = "1e39".to_owned());
    untrained(&consortium, &huge, &["row 2, column 1 is not finite"]);
    let class = changed("class.csv", |cells| cells[30] = "perhaps".to_owned());
    untrained(
        &consortium,
        &class,
        &["the label is none of the classes benign, malignant"],
    );
    let label = changed("label.csv", |cells| cells[30] = String::new());
    untrained(&consortium, &label, &["row 2: the label is empty"]);
    let short = changed("short.csv", |cells| drop(cells.pop()));
    untrained(
        &consortium,
        &short,
        &["row 2: 30 cells where the first row has 31"],
    );
}

#[test]
fn data_of_another_shape_than_the_consortium_agreed_on_is_refused() {
    let consortium = tables();
    fs::write(
        consortium.path().join("narrow.csv"),
        "1,2,benign\n3,4,malignant\n",
    )
    .unwrap();
    untrained(
        &consortium,
        "narrow.csv",
        &["narrow.csv has examples of", "is wanted"],
    );
    untrained(&consortium, "digits", &["is wanted"]);
}

#[test]
fn a_kit_with_one_byte_changed_is_refused_whichever_file_it_is_in() {
    let consortium = tables();
    for (file, part) in [
        ("manifest.toml", "not signed by this consortium's authority"),
        ("manifest.sig", "not signed by this consortium's authority"),
        ("initial.f32", "but the manifest says"),
        ("key.pem", "the kit in"),
        ("cert.pem", "the kit in"),
        ("authority.pem", "the kit in"),
        ("epoch.key", "is not the epoch key of this kit's manifest"),
    ] {
        let path = consortium.kit("a").join(file);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        // In the middle of a line of PEM, of the signature's digits, of the manifest's text.
        let middle = bytes.len() / 2;
        bytes[middle] = if bytes[middle] == b'a' { b'b' } else { b'a' };
        fs::write(&path, bytes).unwrap();
        untrained(&consortium, "breast-cancer", &[part]);
        fs::remove_file(&path).unwrap();
        untrained(&consortium, "breast-cancer", &["cannot read", file]);
        fs::write(&path, whole).unwrap();
    }
    let nowhere = consortium.path().join("nowhere");
    refused(
        consortium.path(),
        &[
            "train",
            "--data",
            "digits",
            "--kit",
            nowhere.to_str().unwrap(),
        ],
        &["nowhere", "cannot be used"],
    );
}

#[test]
fn kits_put_together_from_two_consortia_or_two_nodes_are_refused() {
    let (ours, theirs) = (tables(), tables());
    let put = |from: &Path, file: &str| {
        fs::copy(from.join(file), ours.kit("a").join(file)).unwrap();
    };
    put(&theirs.kit("a"), "authority.pem");
    untrained(
        &ours,
        "breast-cancer",
        &["not signed by this consortium's authority"],
    );
    put(&ours.kit("b"), "authority.pem");
    put(&theirs.kit("a"), "cert.pem");
    let mismatch = "the private key is not the one that the certificate is for";
    untrained(&ours, "breast-cancer", &[mismatch]);
    put(&theirs.kit("a"), "key.pem");
    untrained(
        &ours,
        "breast-cancer",
        &["belongs to none of the manifest's nodes"],
    );
    // Certificate and key of another node make this that node.
    put(&ours.kit("b"), "cert.pem");
    untrained(&ours, "breast-cancer", &[mismatch]);
}

#[test]
fn an_address_of_the_relay_without_a_port_is_refused_and_not_tried_again() {
    let consortium = tables();
    for address in [
        "relay.example.org",
        "relay.example.org:",
        ":4433",
        "localhost:70000",
    ] {
        let kit = consortium.kit("a");
        let kit = kit.to_str().unwrap();
        let arguments = [
            "train",
            "--data",
            "breast-cancer",
            "--relay",
            address,
            "--kit",
            kit,
        ];
        let error = format!("the relay's address {address} is not host:port");
        refused(consortium.path(), &arguments, &[&error]);
    }
}

#[test]
fn a_node_cannot_use_the_relays_kit_nor_the_relay_a_nodes() {
    let consortium = tables();
    ended(&mut consortium.train("relay", NOWHERE.parse().unwrap(), "breast-cancer"))
        .refused(&["belongs to none of the manifest's nodes"]);
    ended(fl_relay().args(["serve", "--kit"]).arg(consortium.kit("a")))
        .refused(&["this is a node's kit"]);
}

#[test]
fn a_node_of_another_consortium_is_refused_and_the_relay_goes_on() {
    let (ours, theirs) = (tables(), tables());
    let (relay, address) = ours.relay(&["--rounds", "1"]);
    let stranger = theirs.node("a", address, "breast-cancer").ended();
    stranger.refused(&["another authority of the same name"]);
    relay.line("turned away in the handshake");
    let nodes = ["a", "b", "c"].map(|node| ours.node(node, address, "breast-cancer"));
    for process in nodes.into_iter().chain([relay]) {
        process.ended().succeeded();
    }
    ours.assert_one_model(&["a", "b", "c"], 1);
}

#[test]
fn unknown_settings_in_a_configuration_file_are_refused_by_name() {
    let consortium = tables();
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
fn a_port_in_use_is_refused() {
    let consortium = tables();
    let (_relay, address) = consortium.relay(&[]);
    let listen = address.to_string();
    let flags = ["--listen", &listen, "--state", "another"];
    ended(&mut consortium.serve(&flags)).refused(&[&listen, "in use"]);
}

#[test]
fn folders_that_cannot_be_written_are_refused_before_the_work_begins() {
    let consortium = tables();
    let folder = consortium.path();
    // Not even root can make a folder below a file.
    fs::write(folder.join("file"), "").unwrap();
    let parts = ["file", "cannot be written"];
    refused(folder, &["simulate", "--out", "file/out"], &parts);
    let kit = consortium.kit("a");
    let train = [
        "train",
        "--data",
        "breast-cancer",
        "--kit",
        kit.to_str().unwrap(),
    ];
    refused(folder, &[&train[..], &["--out", "file"]].concat(), &parts);
    refused(
        folder,
        &[&train[..], &["--state", "file/state"]].concat(),
        &["cannot write", "file/state"],
    );
    ended(&mut consortium.serve(&["--state", "file/state"]))
        .refused(&["cannot write", "file/state"]);
    ended(provision(folder, "a,b,c", "localhost:1").args([
        "--out",
        "file/kits",
        "--data",
        "digits",
    ]))
    .refused(&["cannot write", "file/kits"]);
}

#[test]
fn two_parties_with_one_state_folder_are_refused() {
    let consortium = tables();
    let (relay, address) = consortium.relay(&[]);
    let node = consortium.node("a", address, "breast-cancer");
    node.line("connected to the relay");
    untrained(
        &consortium,
        "breast-cancer",
        &["in use by another process", "--state"],
    );
    let flags = ["--listen", "127.0.0.1:0"];
    ended(&mut consortium.serve(&flags)).refused(&["in use by another process"]);
    for process in [node, relay] {
        process.signal(Signal::TERM);
        process.ended().succeeded();
    }
}

#[test]
fn state_of_another_consortium_is_refused() {
    let (ours, theirs) = (tables(), tables());
    let (relay, address) = theirs.relay(&["--rounds", "1"]);
    let nodes = ["a", "b", "c"].map(|node| theirs.node(node, address, "breast-cancer"));
    for process in nodes.into_iter().chain([relay]) {
        process.ended().succeeded();
    }
    let state = theirs.state("a");
    let mut train = ours.train("a", NOWHERE.parse().unwrap(), "breast-cancer");
    ended(train.arg("--state").arg(state)).refused(&["the state of another manifest", "--state"]);
}

#[test]
fn nothing_is_provisioned_into_a_folder_that_is_in_use() {
    let consortium = tables();
    let before = fs::read(consortium.kit("a").join("key.pem")).unwrap();
    let mut again = provision(consortium.path(), "a,b,c", "localhost:1");
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
        .map(|index| format!("n{index}"))
        .collect::<Vec<_>>()
        .join(",");
    for (nodes, flags, parts) in [
        ("a,b", &[][..], &["2 nodes", "only from 3 nodes on"][..]),
        (
            "a,b,a",
            &[],
            &["cannot be called \"a\"", "another party's folder"],
        ),
        (
            "a,b,A",
            &[],
            &["cannot be called \"A\"", "another party's folder"],
        ),
        ("a,b,../c", &[], &["letters, digits"]),
        ("a,b,c@", &[], &["write NAME or NAME@ORGANISATION"]),
        ("a,b,relay", &[], &["cannot be called \"relay\""]),
        ("a,b,Authority", &[], &["cannot be called \"Authority\""]),
        (&many, &[], &["1001 nodes are listed", "nodes_max = 1000"]),
        (
            "a,b,c",
            &["--examples-max", "16777216"],
            &["exceeds 16777215"],
        ),
        ("a,b,c", &["--examples-max", "0"], &["examples_max is 0"]),
        (
            "a,b,c",
            &["--min-nodes", "2"],
            &["min_nodes = 2 is too small"],
        ),
        (
            "a,b,c",
            &["--min-nodes", "4"],
            &["3 nodes are listed", "min_nodes = 4"],
        ),
        (
            "a,b,c",
            &["--collusion", "2"],
            &["3 nodes are listed", "min_nodes = 4"],
        ),
        (
            "a,b,c,d",
            &["--collusion", "2", "--min-nodes", "3"],
            &["min_nodes = 3 is too small", "at least 4"],
        ),
        (
            "a,b,c",
            &["--bandwidth-mbit-s", "0"],
            &["--bandwidth-mbit-s"],
        ),
        (
            "a,b,c",
            &["--training-s", "0"],
            &["training_s must be greater than 0"],
        ),
        ("a,b,c", &["--learning-rate", "0"], &["learning_rate is 0"]),
        ("a,b,c", &["--optimizer", "lion"], &["sgd", "adam"]),
        ("a,b,c", &["--valid-days", "0"], &["0 is not in 1.."]),
        (
            "a,b,c",
            &["--data", "breast-cancer", "--model", "cnn"],
            &["cnn does not take"],
        ),
        (
            "a,b,c",
            &["--label", "diagnosis"],
            &["no column `diagnosis`"],
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
        let mut command = provision(folder.path(), "a,b,c", relay);
        ended(command.args(["--out", "kits", "--data", "digits"])).refused(&[part]);
        assert!(!folder.path().join("kits").exists(), "{relay}");
    }
    let mut command = provision(folder.path(), "a,b,c", "localhost:1");
    ended(command.args(["--out", "kits"]))
        .refused(&["required arguments were not provided", "--data <SOURCE>"]);
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
    let consortium = tables();
    for (flags, part) in [
        (
            &["--min-nodes", "4"][..],
            "--min-nodes must be between 3 and 3, the number of nodes, not 4",
        ),
        (&["--min-nodes", "2"], "--min-nodes must be between"),
        (&["--fraction-fit", "0"], "--fraction-fit must be above 0"),
        (&["--rounds", "0"], "--rounds must be at least 1"),
    ] {
        ended(&mut consortium.serve(flags)).refused(&[part]);
    }
    refused(folder.path(), &["train"], &["--kit DIR is missing"]);
    ended(fl_relay().arg("serve")).refused(&["--kit DIR is missing"]);
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
fn a_node_whose_training_diverges_says_which_tensor_and_everything_stays_up() {
    let consortium = Consortium::found("a,b,c", &["--learning-rate", "1e30"]);
    let (relay, address) = consortium.relay(&[]);
    let nodes = ["a", "b", "c"].map(|node| consortium.node(node, address, "digits"));
    for node in &nodes {
        // The node is told what to do about it, the others only what is the matter.
        let line = node.line("lower the learning rate");
        assert!(line.contains("tensor "), "{line}");
        let line = node.line("refused: ");
        assert!(line.contains("is not finite"), "{line}");
    }
    for name in ["a", "b", "c"] {
        relay.line(&format!(
            "{name}: the node cannot contribute: the update of "
        ));
    }
    relay.line("waiting for ");
    for process in nodes.into_iter().chain([relay]) {
        process.signal(Signal::TERM);
        process.ended().succeeded();
    }
}

#[test]
fn the_configuration_files_in_the_readme_hold() {
    let consortium = Consortium::found("a,b,c,d", &[]);
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let samples: Vec<_> = readme.split("```toml\n").skip(1).collect();
    assert!(!samples.is_empty());
    for sample in samples {
        let text = sample.split("```").next().unwrap();
        let table: toml::Table = text.parse().unwrap();
        // Each says for which command it is.
        assert!(text.contains("for `fl-relay serve"), "{text}");
        fs::write(consortium.path().join("sample.toml"), text).unwrap();
        // The ports are the machine's, not the test's. A flag wins over the file.
        let mut serve = fl_relay();
        serve
            .current_dir(consortium.path())
            .args(["serve", "--config", "sample.toml"]);
        serve.args(["--listen", "127.0.0.1:0", "--dashboard", "127.0.0.1:0"]);
        let relay = Process::start("relay", serve);
        let rounds = table["rounds"].as_integer().unwrap();
        relay.line(&format!("serving {rounds} rounds on 127.0.0.1:"));
        let dashboard = relay.line("the dashboard is http://127.0.0.1:");
        assert!(!dashboard.ends_with(table["dashboard"].as_str().unwrap()));
        relay.signal(Signal::TERM);
        relay.ended().succeeded();
    }
}
