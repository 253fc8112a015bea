//! A whole federation in one process.

use std::fs;
use std::path::Path;
use std::process::Command;

use fl_tests::deployed::{Ended, Process, Signal, fl_node};
use serde_json::Value;

/// `fl-node simulate` into `folder`.
fn simulate(folder: &Path, flags: &[&str]) -> Command {
    let mut command = fl_node();
    command
        .current_dir(folder)
        .args(["simulate", "--out", "out"])
        .args(flags);
    command
}

/// Runs it to its end. Returns what it printed and its `run.json`.
fn simulated(flags: &[&str]) -> (Ended, Value) {
    let folder = tempfile::tempdir().unwrap();
    let ended = Process::start("simulate", simulate(folder.path(), flags));
    let ended = ended.ended().succeeded();
    assert!(folder.path().join("out/global.safetensors").exists());
    let read = |name: &str| fs::read_to_string(folder.path().join("out").join(name)).unwrap();
    let run: Value = serde_json::from_str(&read("run.json")).unwrap();
    // What was written as it happened is what was put together.
    let lines = read("metrics.jsonl");
    let lines: Vec<Value> = lines
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(run["rounds"], Value::from(lines));
    assert!(read("report.html").contains("</html>"));
    (ended, run)
}

/// Accuracy after the last of `rounds` rounds.
#[track_caller]
fn accuracy(run: &Value, rounds: usize) -> f64 {
    assert_eq!(run["finished"], true);
    let lines = run["rounds"].as_array().unwrap();
    assert_eq!(lines.len(), rounds, "{run}");
    lines[rounds - 1]["accuracy"].as_f64().unwrap()
}

#[test]
fn the_defaults_learn_digits_to_96_percent_in_ten_rounds() {
    let (ended, run) = simulated(&[]);
    let accuracy = accuracy(&run, 10);
    assert!(accuracy >= 0.96, "{accuracy}");
    let last = ended.stdout.last().unwrap();
    assert!(last.starts_with("10 rounds with 3 nodes in "), "{last}");
    let printed = format!("accuracy {:.2} %", 100.0 * accuracy);
    assert!(last.contains(&printed), "{last}");
}

#[test]
fn a_run_ends_once_the_model_does_not_get_better_and_knows_the_best() {
    let (ended, run) = simulated(&[
        "--data",
        "breast-cancer",
        "--rounds",
        "200",
        "--patience",
        "3",
        "--local-epochs",
        "10",
    ]);
    let lines = run["rounds"].as_array().unwrap();
    assert!(
        run["finished"] == true && lines.len() < 200,
        "{}",
        lines.len()
    );
    let best = &run["best"];
    let round = usize::try_from(best["round"].as_u64().unwrap()).unwrap();
    // A round tells the loss of the model before it, and three more were waited for.
    assert_eq!(round + 4, lines.len());
    let loss_before = |at: usize| lines[at - 1]["before"]["loss"].as_f64().unwrap();
    let lowest = best["loss"].as_f64().unwrap();
    assert_eq!(loss_before(round + 1), lowest);
    assert!((2..=lines.len()).all(|at| loss_before(at) >= lowest));
    let last = ended.stdout.last().unwrap();
    let told = format!("and the best, that of round {round}, in out/best.safetensors");
    assert!(last.contains(&told), "{last}");
}

#[test]
fn tables_are_learned_to_95_percent() {
    let (_, run) = simulated(&["--data", "breast-cancer"]);
    let accuracy = accuracy(&run, 10);
    assert!(accuracy >= 0.95, "{accuracy}");
}

#[test]
fn ten_nodes_with_skewed_data_learn_together() {
    let (_, run) = simulated(&["--nodes", "10", "--partition", "dirichlet:0.3"]);
    let accuracy = accuracy(&run, 10);
    assert!(accuracy >= 0.85, "{accuracy}");
    assert!(
        run["rounds"]
            .as_array()
            .unwrap()
            .iter()
            .all(|line| line["nodes"] == 10)
    );
}

#[test]
fn half_of_eight_nodes_take_part_in_each_round() {
    let (_, run) = simulated(&["--nodes", "8", "--fraction-fit", "0.5"]);
    let accuracy = accuracy(&run, 10);
    // Who takes part is random: of 70 runs the worst ended at 91.6 %. One that does not learn ends
    // at 10 %.
    assert!(accuracy >= 0.85, "{accuracy}");
    let lines = run["rounds"].as_array().unwrap();
    assert!(lines.iter().all(|line| line["nodes"] == 4), "{run}");
    let examples = lines.iter().map(|line| line["examples"].as_u64().unwrap());
    assert!(
        examples.clone().all(|sum| (718..=720).contains(&sum)),
        "{run}"
    );
}

#[test]
fn json_is_one_object_a_round_and_nothing_else_on_standard_output() {
    let (ended, run) = simulated(&["--rounds", "3", "--json", "--data", "breast-cancer"]);
    assert_eq!(run["rounds"].as_array(), Some(&ended.json()));
    assert_eq!(ended.json().len(), 3);
}

#[test]
fn training_that_diverges_whenever_it_is_tried_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--data", "breast-cancer", "--learning-rate", "1e30"];
    // Where the keys of its parties lie while it runs.
    let scratch = tempfile::tempdir().unwrap();
    let mut command = simulate(folder.path(), &flags);
    command.env("TMPDIR", scratch.path());
    let process = Process::start("simulate", command);
    process.line("holds NaN");
    assert_ne!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    process.ended().refused(&[
        "training from the same model has failed 3 times",
        "lower the learning rate",
    ]);
    assert!(!folder.path().join("out/global.safetensors").exists());
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn ctrl_c_ends_it_with_the_model_so_far() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start("simulate", simulate(folder.path(), &["--rounds", "100000"]));
    process.line("round   2: ");
    process.signal(Signal::INT);
    let ended = process.ended().succeeded();
    let run = fs::read_to_string(folder.path().join("out/run.json")).unwrap();
    let run: Value = serde_json::from_str(&run).unwrap();
    assert_eq!(run["finished"], false);
    assert!(
        run["rounds"].as_array().unwrap().len() >= 2,
        "{}",
        ended.text()
    );
    let mut evaluate = fl_node();
    evaluate.current_dir(folder.path()).args([
        "evaluate",
        "--model",
        "out/global.safetensors",
        "--data",
        "digits",
        "--json",
    ]);
    let evaluated = Process::start("evaluate", evaluate).ended().succeeded();
    assert!(evaluated.json()[0]["accuracy"].as_f64() > Some(0.9));
}
