//! Data, kits, addresses and state folders that a node does not accept.

use std::fs;
use std::io::Write;
use std::path::Path;

use fl_tests::deployed::{Consortium, Signal, data, fl_relay};

use super::{NOWHERE, refused};
use crate::support::consortium::{DATA, NODES, complete, consortium, ended};

/// Runs node a with this data, which must be refused before the node looks for its relay.
#[track_caller]
fn untrained(consortium: &Consortium, data: &str, parts: &[&str]) {
    ended(consortium.train("a", NOWHERE, data)).refused(parts);
}

#[test]
fn data_that_is_missing_empty_or_no_data_is_refused() {
    let consortium = consortium();
    let folder = consortium.path();
    untrained(&consortium, "nowhere.csv", &["nowhere.csv", "cannot read"]);
    fs::write(folder.join("empty.csv"), "").unwrap();
    untrained(&consortium, "empty.csv", &["empty.csv holds no examples"]);
    fs::write(folder.join("words.csv"), "some words\nand more\n").unwrap();
    untrained(&consortium, "words.csv", &["has a single column"]);
    fs::write(folder.join("data.xlsx"), "PK").unwrap();
    untrained(&consortium, "data.xlsx", &["data.xlsx is no known format"]);
    fs::write(folder.join("bytes.csv"), [0x31, 0x2c, 0xff, 0xfe, 0x0a]).unwrap();
    untrained(&consortium, "bytes.csv", &["line 1: the text is not UTF-8"]);
    fs::create_dir(folder.join("nothing")).unwrap();
    untrained(&consortium, "nothing", &["has no train-images-idx3-ubyte"]);
}

#[test]
fn a_node_with_more_examples_than_its_figure_is_told_so_at_its_start() {
    // Four fifths of 569 patients are for training. The figure of 300 is rounded up to 384.
    let consortium = Consortium::found("a=300,b=455,c=455", &["--data", DATA]);
    let parts = ["has 455 training examples", "1 to 384", "NAME=455"];
    untrained(&consortium, DATA, &parts);
    let node = consortium.node("b", NOWHERE, DATA);
    node.line("a (up to 384 examples), b (up to 512 examples), c (up to 512 examples)");
    node.line("no connection to the relay");
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
fn cells_that_are_no_numbers_and_labels_that_are_no_class_are_refused_with_their_line() {
    let consortium = consortium();
    let folder = consortium.path();
    let patients = data::patients();
    let changed = |name: &str, change: fn(&mut Vec<String>)| {
        let mut cells: Vec<_> = patients[1].split(',').map(str::to_owned).collect();
        change(&mut cells);
        data::csv(folder, name, [&patients[0], &cells.join(","), &patients[2]])
    };
    let nan = changed("nan.csv", |cells| cells[3] = "NaN".to_owned());
    untrained(&consortium, &nan, &["line 2, column 4: `NaN` is no value"]);
    let huge = changed("huge.csv", |cells| cells[0] = "1e39".to_owned());
    untrained(
        &consortium,
        &huge,
        &["line 2, column 1: `1e39` is not finite"],
    );
    let class = changed("class.csv", |cells| cells[30] = "perhaps".to_owned());
    untrained(
        &consortium,
        &class,
        &["line 2, column 31: `perhaps` is none of the agreed classes"],
    );
    let word = changed("word.csv", |cells| cells[2] = "high".to_owned());
    let parts = ["line 2, column 3: `high` is not a number"];
    untrained(&consortium, &word, &parts);
    let short = changed("short.csv", |cells| drop(cells.pop()));
    untrained(
        &consortium,
        &short,
        &["line 2: 30 cells where the first row has 31"],
    );
}

#[test]
fn data_of_another_shape_than_the_consortium_agreed_on_is_refused() {
    let consortium = consortium();
    fs::write(
        consortium.path().join("narrow.csv"),
        "1,2,benign\n3,4,malignant\n",
    )
    .unwrap();
    untrained(
        &consortium,
        "narrow.csv",
        &["narrow.csv has 2 columns", "30 are agreed on"],
    );
    untrained(&consortium, "digits", &["is wanted"]);
}

#[test]
fn a_kit_with_one_byte_changed_is_refused_whichever_file_it_is_in() {
    let consortium = consortium();
    for (file, part) in [
        ("manifest.toml", "not signed by this consortium's authority"),
        ("manifest.sig", "not signed by this consortium's authority"),
        ("initial.f32", "but the manifest says"),
        ("key.pem", "the kit in"),
        ("cert.pem", "the kit in"),
        ("authority.pem", "the kit in"),
        ("epoch.key", "is not the epoch key of this kit's manifest"),
        ("task.toml", "is not the task of this kit's manifest"),
    ] {
        let path = consortium.kit("a").join(file);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        // In the middle of a line of PEM, of the signature's digits, of the manifest's text.
        let middle = bytes.len() / 2;
        bytes[middle] = if bytes[middle] == b'a' { b'b' } else { b'a' };
        fs::write(&path, bytes).unwrap();
        untrained(&consortium, DATA, &[part]);
        fs::remove_file(&path).unwrap();
        untrained(&consortium, DATA, &["cannot read", file]);
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
    let (ours, theirs) = (consortium(), consortium());
    let put = |from: &Path, file: &str| {
        fs::copy(from.join(file), ours.kit("a").join(file)).unwrap();
    };
    put(&theirs.kit("a"), "authority.pem");
    untrained(&ours, DATA, &["not signed by this consortium's authority"]);
    put(&ours.kit("b"), "authority.pem");
    put(&theirs.kit("a"), "cert.pem");
    let mismatch = "the private key is not the one that the certificate is for";
    untrained(&ours, DATA, &[mismatch]);
    put(&theirs.kit("a"), "key.pem");
    untrained(&ours, DATA, &["belongs to none of the manifest's nodes"]);
    // Certificate and key of another node make this that node.
    put(&ours.kit("b"), "cert.pem");
    untrained(&ours, DATA, &[mismatch]);
}

#[test]
fn an_address_of_the_relay_without_a_port_is_refused_and_not_tried_again() {
    let consortium = consortium();
    for address in [
        "relay.example.org",
        "relay.example.org:",
        ":4433",
        "localhost:70000",
    ] {
        let kit = consortium.kit("a");
        let kit = kit.to_str().unwrap();
        let arguments = ["train", "--data", DATA, "--relay", address, "--kit", kit];
        let error = format!("the relay's address {address} is not host:port");
        refused(consortium.path(), &arguments, &[&error]);
    }
}

#[test]
fn a_node_cannot_use_the_relays_kit_nor_the_relay_a_nodes() {
    let consortium = consortium();
    ended(consortium.train("relay", NOWHERE, DATA))
        .refused(&["belongs to none of the manifest's nodes"]);
    ended(fl_relay().args(["serve", "--kit"]).arg(consortium.kit("a")))
        .refused(&["this is a node's kit"]);
}

#[test]
fn two_parties_with_one_state_folder_are_refused() {
    let consortium = consortium();
    let (relay, address) = consortium.relay(&[]);
    let node = consortium.node("a", address, DATA);
    node.line("connected to the relay");
    untrained(&consortium, DATA, &["in use by another process"]);
    let flags = ["--listen", "127.0.0.1:0"];
    ended(consortium.serve(&flags)).refused(&["in use by another process"]);
    for process in [node, relay] {
        process.signal(Signal::TERM);
        process.ended().succeeded();
    }
}

#[test]
fn state_of_another_consortium_is_refused() {
    let (ours, theirs) = (consortium(), consortium());
    complete(&theirs, NODES, 1);
    let state = theirs.state("a");
    let mut train = ours.train("a", NOWHERE, DATA);
    ended(train.arg("--state").arg(state)).refused(&["the state of another manifest", "--state"]);
}

#[test]
fn a_node_whose_training_diverges_says_which_tensor_and_everything_stays_up() {
    let consortium = Consortium::found("a,b,c", &["--learning-rate", "1e30"]);
    let (relay, address) = consortium.relay(&[]);
    let nodes = NODES.map(|node| consortium.node(node, address, "digits"));
    for node in &nodes {
        // The node is told what to do about it, the others only what is the matter.
        let line = node.line("lower the learning rate");
        assert!(line.contains("tensor "), "{line}");
        let line = node.line("refused: ");
        assert!(line.contains("is not finite"), "{line}");
    }
    for name in NODES {
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
