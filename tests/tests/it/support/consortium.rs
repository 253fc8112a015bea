//! Consortia whose parties are processes.

use std::borrow::BorrowMut;
use std::path::Path;
use std::process::Command;

use fl_datasets::{DEFAULT_TEST_FRACTION, LoadOptions, Source, Split, load};
use fl_network::kit::Kit;
use fl_tests::deployed::{Consortium, Ended, Process, fl_node};
use fl_trainer::{ModelSpec, Training};

/// The nodes of most consortia.
pub(crate) const NODES: [&str; 3] = ["a", "b", "c"];

/// The data of most nodes: the embedded set that trains fastest.
pub(crate) const DATA: &str = "breast-cancer";

/// Provisions a consortium of [`NODES`] that train on [`DATA`].
pub(crate) fn consortium() -> Consortium {
    Consortium::found("a,b,c", &["--data", DATA])
}

/// What a node makes of a file in its consortium's folder: the model, the settings of training, and
/// the rows that it trains on and those that it holds back.
pub(crate) fn local_task(
    consortium: &Consortium,
    node: &str,
    file: &str,
) -> (ModelSpec, Training, Split) {
    let kit = Kit::load(&consortium.kit(node)).unwrap();
    let task = kit.task().unwrap();
    let training: Training = task["training"].clone().try_into().unwrap();
    let spec: ModelSpec = task["model"].clone().try_into().unwrap();
    let options = LoadOptions {
        schema: Some(spec.schema().clone()),
        ..LoadOptions::default()
    };
    let data = load(&Source::Path(consortium.path().join(file)), &options).unwrap();
    let split = data.split(DEFAULT_TEST_FRACTION, training.seed).unwrap();
    (spec, training, split)
}

/// Runs a command to its end.
pub(crate) fn ended(command: impl BorrowMut<Command>) -> Ended {
    Process::start("the command", command).ended()
}

/// Waits until all processes have succeeded. Returns what they left behind, in their order.
pub(crate) fn succeed(processes: impl IntoIterator<Item = Process>) -> Vec<Ended> {
    let ended = processes.into_iter().map(|process| process.ended());
    ended.map(Ended::succeeded).collect()
}

/// Completes so many rounds among `nodes`, each a process that trains on [`DATA`], after which all
/// hold one model.
pub(crate) fn complete<const N: usize>(consortium: &Consortium, nodes: [&str; N], rounds: u64) {
    let (relay, address) = consortium.relay(&["--rounds", &rounds.to_string()]);
    let processes = nodes.map(|node| consortium.node(node, address, DATA));
    succeed(processes.into_iter().chain([relay]));
    consortium.assert_one_model(&nodes, rounds);
}

/// Runs `fl-node verify-log` on a log.
pub(crate) fn verify_log(log: &Path, flags: &[&str]) -> Ended {
    let mut command = fl_node();
    command.arg("verify-log").arg(log).args(flags);
    ended(command)
}
