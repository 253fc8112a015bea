//! One relay and several nodes, each a process of its own.

use std::fs;

use fl_protocol::manifest::ManifestFile;
use fl_protocol::parameters::to_le_bytes;
use fl_tests::deployed::{Consortium, Process, data, fl_node};
use fl_trainer::Checkpoint;

use crate::support::consortium::{DATA, NODES, complete, consortium, ended, succeed};

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
    let consortium = Consortium::found("a=240,b=100,c=60", &["--data", sample.to_str().unwrap()]);
    let parts = [slice(0, 10), slice(10, 14), slice(14, 16)];
    let (relay, address) = consortium.relay(&["--rounds", "3", "--json"]);
    let nodes = NODES.iter().zip(parts).map(|(node, part)| {
        let data = data::csv(consortium.path(), &format!("{node}.csv"), part);
        consortium.node(node, address, &data)
    });
    succeed(nodes.collect::<Vec<_>>());
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
    let evaluated = ended(evaluate).succeeded();
    let [line] = &evaluated.json()[..] else {
        panic!("{}", evaluated.text());
    };
    assert_eq!(line["examples"], slice(16, 20).len());
    assert_eq!(line["model_round"], 3);
    assert!(line["accuracy"].as_f64().unwrap() > 0.92, "{line}");
}

#[test]
fn a_relay_ends_the_run_once_the_model_does_not_get_better() {
    let consortium = consortium();
    let (relay, address) = consortium.relay(&["--rounds", "500", "--patience", "2", "--json"]);
    let nodes = ["a", "b", "c"].map(|node| consortium.node(node, address, DATA));
    let ended = succeed([relay].into_iter().chain(nodes));
    let losses: Vec<_> = ended[0]
        .json()
        .iter()
        .map(|round| round["before"]["loss"].as_f64().unwrap())
        .collect();
    let (earlier, last) = losses.split_at(losses.len() - 2);
    let lowest = earlier.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(
        losses.len() < 500 && last.iter().all(|loss| *loss >= lowest),
        "{losses:?}"
    );
    let said = ended[0].text();
    for part in [
        "the model has not got better for 2 rounds",
        "rounds are done; the model is",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains("start again to go on"), "{said}");
}

#[test]
fn others_go_on_with_a_model_that_was_trained() {
    let founded = consortium();
    complete(&founded, NODES, 3);
    let model = founded.out("a").join("global.safetensors");

    let others = ["b", "c", "d", "e"];
    let next = Consortium::found(
        "b=500,c=500,d=500,e=500",
        &["--from", model.to_str().unwrap()],
    );
    let parameters = Checkpoint::read(&model).unwrap().parameters;
    let initial = fs::read(next.kit("e").join("initial.f32")).unwrap();
    assert_eq!(initial, to_le_bytes(&parameters));
    complete(&next, others, 1);
    // A model that was not trained has a loss of 0.7.
    let loss = next.run("d")["rounds"][0]["loss"].as_f64().unwrap();
    assert!(loss < 0.2, "{loss}");
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

#[test]
fn each_consortium_has_a_seed_of_its_own_unless_the_founder_says_one() {
    let folder = tempfile::tempdir().unwrap();
    let founded = |out: &str, flags: &[&str]| {
        let mut command = fl_node();
        command
            .current_dir(&folder)
            .args([
                "provision",
                "--nodes",
                "a=9,b=9,c=9",
                "--relay",
                "localhost:4433",
            ])
            .args(["--data", "breast-cancer", "--out", out])
            .args(flags);
        let said = ended(command).succeeded();
        let kit = folder.path().join(out).join("a");
        let text = fs::read_to_string(kit.join("task.toml")).unwrap();
        let task: toml::Table = toml::from_str(&text).unwrap();
        let seed = task["training"]["seed"].as_integer().unwrap();
        let says = format!("the seed is {seed};");
        assert!(said.text().contains(&says), "{}", said.text());
        (seed, fs::read(kit.join("initial.f32")).unwrap())
    };
    let (first, second) = (founded("first", &[]), founded("second", &[]));
    assert_ne!(first.0, second.0);
    assert!(first.1 != second.1, "the initial models are the same");
    let third = founded("third", &["--seed", &first.0.to_string()]);
    assert!(third == first, "the seed is not all that sets the model");
}
