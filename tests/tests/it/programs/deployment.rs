//! One relay and several nodes, each a process of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use fl_datasets::{Schema, Shape};
use fl_protocol::manifest::ManifestFile;
use fl_protocol::parameters::to_le_bytes;
use fl_tests::deployed::{Consortium, Process, data, files_under, fl_node};
use fl_trainer::{Checkpoint, ModelKind, ModelSpec, TensorLayout};

const NODES: [&str; 3] = ["a", "b", "c"];

#[test]
fn three_nodes_train_one_model_and_every_line_of_json_is_an_object() {
    let consortium = Consortium::found("a,b,c", &[]);
    let (relay, address) = consortium.relay(&["--rounds", "3", "--json"]);
    let nodes = NODES.map(|node| {
        let mut train = consortium.train(node, address, "digits");
        train.arg("--json");
        Process::start(node, train)
    });
    let nodes = nodes.map(|node| node.ended().succeeded());
    let relay = relay.ended().succeeded();

    consortium.assert_one_model(&NODES, 3);
    let rounds = relay.json();
    assert_eq!(rounds.len(), 3, "{}", relay.text());
    let model = &consortium.stands("relay").unwrap()["model"];
    assert_eq!(&rounds[2]["model"], model);
    for (index, round) in rounds.iter().enumerate() {
        assert_eq!(round["round"], index + 1);
        assert_eq!(
            (&round["nodes"], &round["attempts"]),
            (&3.into(), &1.into())
        );
        // Each node splits the same 1,797 digits.
        assert_eq!(round["examples"], 3 * 1438);
    }
    for (name, node) in NODES.iter().zip(&nodes) {
        let lines = node.json();
        let run = consortium.run(name);
        assert_eq!(run["finished"], true);
        assert_eq!(run["rounds"].as_array(), Some(&lines), "{name}");
        assert_eq!(lines.len(), 3, "{name}");
        assert!(
            lines[2]["accuracy"].as_f64().unwrap() > 0.93,
            "{}",
            node.text()
        );
        assert!(
            lines
                .iter()
                .all(|line| line["bytes_up"].as_u64() > Some(20_000))
        );
    }
}

#[test]
fn nodes_with_unequal_data_of_their_own_train_one_model_that_others_can_evaluate() {
    let patients = data::patients();
    let slice = |from: usize, to: usize| {
        // Interleaved, since the file is in no order that a slice could rely on.
        let part = (0..patients.len()).filter(move |index| (from..to).contains(&(index % 20)));
        part.map(|index| &patients[index]).collect::<Vec<_>>()
    };
    let folder = tempfile::tempdir().unwrap();
    let sample = data::csv(folder.path(), "sample.csv", slice(0, 2));
    let sample = folder.path().join(sample);
    let consortium = Consortium::found("a,b,c", &["--data", sample.to_str().unwrap()]);
    let parts = [slice(0, 10), slice(10, 14), slice(14, 16)];
    let (relay, address) = consortium.relay(&["--rounds", "3", "--json"]);
    let nodes = NODES.iter().zip(parts).map(|(node, part)| {
        let data = data::csv(consortium.path(), &format!("{node}.csv"), part);
        consortium.node(node, address, &data)
    });
    for node in nodes.collect::<Vec<_>>() {
        node.ended().succeeded();
    }
    let relay = relay.ended().succeeded();
    consortium.assert_one_model(&NODES, 3);
    // Four fifths of 285, 116 and 57 patients.
    let examples = relay.json()[0]["examples"].as_u64().unwrap();
    assert!((360..=372).contains(&examples), "{examples}");

    data::csv(consortium.path(), "held-out.csv", slice(16, 20));
    let mut evaluate = fl_node();
    evaluate
        .current_dir(consortium.path())
        .args(["evaluate", "--data", "held-out.csv", "--json", "--model"])
        .arg(consortium.out("b").join("global.safetensors"));
    let evaluated = Process::start("evaluate", evaluate).ended().succeeded();
    let [line] = &evaluated.json()[..] else {
        panic!("{}", evaluated.text());
    };
    assert_eq!(line["examples"], slice(16, 20).len());
    assert_eq!(line["model_round"], 3);
    assert!(line["accuracy"].as_f64().unwrap() > 0.92, "{line}");
}

#[test]
fn others_go_on_with_a_model_that_was_trained() {
    let founded = Consortium::found("a,b,c", &["--data", "breast-cancer"]);
    let (relay, address) = founded.relay(&["--rounds", "3"]);
    let nodes = NODES.map(|node| founded.node(node, address, "breast-cancer"));
    for process in nodes.into_iter().chain([relay]) {
        process.ended().succeeded();
    }
    let model = founded.out("a").join("global.safetensors");
    let first = founded.run("a")["rounds"][0]["loss"].as_f64().unwrap();

    let others = ["b", "c", "d", "e"];
    let next = Consortium::found("b,c,d,e", &["--from", model.to_str().unwrap()]);
    let parameters = Checkpoint::read(&model).unwrap().parameters;
    let initial = fs::read(next.kit("e").join("initial.f32")).unwrap();
    assert_eq!(initial, to_le_bytes(&parameters));
    let (relay, address) = next.relay(&["--rounds", "1"]);
    let nodes = others.map(|node| next.node(node, address, "breast-cancer"));
    for process in nodes.into_iter().chain([relay]) {
        process.ended().succeeded();
    }
    next.assert_one_model(&others, 1);
    let again = next.run("d")["rounds"][0]["loss"].as_f64().unwrap();
    assert!(again < first, "{again}, and from the beginning {first}");
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
        let refused = |command: &str, flags: &[&str]| {
            let mut process = fl_node();
            process.current_dir(&folder).arg(command).args(flags);
            let ended = Process::start(command, process).ended();
            ended.refused(&[file, why]);
        };
        let founded = ["--nodes", "a,b,c", "--relay", "localhost:4433"];
        let flags = [&founded[..], &["--from", file, "--out", "consortium"]];
        refused("provision", &flags.concat());
        refused("evaluate", &["--model", file, "--data", "digits"]);
    }
    assert!(!folder.path().join("consortium").exists());
}

#[test]
fn private_keys_stand_in_their_own_files_which_only_their_owner_can_read() {
    let consortium = Consortium::found("a,b,c", &["--data", "breast-cancer"]);
    let files = files_under(&consortium.path().join("consortium"));
    let (mut keys, mut shared_keys) = (0, 0);
    for path in &files {
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read(path).unwrap();
        let key = text.windows(11).any(|part| part == b"PRIVATE KEY");
        assert_eq!(key, name.ends_with("key.pem"), "{name}");
        let shared = name == "epoch.key";
        assert!(
            !(key || shared) || mode == 0o600,
            "{}: {mode:o}",
            path.display()
        );
        keys += usize::from(key);
        shared_keys += usize::from(shared);
    }
    assert_eq!(keys, 5, "three nodes, the relay, the authority");
    assert_eq!(shared_keys, 3, "the nodes only");
}

#[test]
fn what_the_founder_says_stands_in_the_manifest() {
    let said = [
        "--collusion",
        "2",
        "--bandwidth-mbit-s",
        "2",
        "--training-s",
        "99",
    ];
    for (flags, expected) in [
        (&said[..], (2, 4, 250_000, 99)),
        (&[], (1, 3, 1_000_000, 600)),
    ] {
        let consortium = Consortium::found("a,b,c,d", flags);
        let text = fs::read_to_string(consortium.kit("b").join("manifest.toml")).unwrap();
        let file: ManifestFile = toml::from_str(&text).unwrap();
        let timeouts = &file.timeouts;
        let found = (
            file.collusion,
            file.min_nodes,
            timeouts.minimum_bandwidth_bytes_per_s,
            timeouts.training_s,
        );
        assert_eq!(found, expected);
    }
}
