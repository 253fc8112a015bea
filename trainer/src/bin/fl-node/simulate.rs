//! `fl-node simulate`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use fl_datasets::{Partition, Source, Split};
use fl_network::program::choices::RoundChoices;
use fl_network::program::config;
use fl_network::program::logging::explain;
use fl_network::report_text::ReportFormatter;
use fl_network::run_report::Parties;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::relay::{Report, Settings};
use fl_trainer::node::{NodeEvent, RoundReport, RoundTimes};
use fl_trainer::simulation::{Simulation, SimulationEvent};
use fl_trainer::{Compute, LocalTrainer, RepeatableOrder, Training};

use super::args::Simulate;
use super::console::Console;
use super::devices;
use super::output::{Output, RoundLine};
use super::task::TaskTable;

pub(crate) fn run(args: Simulate) -> anyhow::Result<()> {
    let begun = Instant::now();
    let file = config::read(args.config.as_deref())?;
    let args: Simulate = args.or(file);
    let nodes = args.nodes.unwrap_or(3);
    let settings = settings(&args, nodes)?;
    let partition = args.partition.unwrap_or(Partition::Iid);
    let source = args.data.clone().unwrap_or(Source::Digits);
    let mut output = Output::open(
        args.out
            .clone()
            .unwrap_or_else(|| PathBuf::from("smpcfl-out")),
        Parties::simulated(nodes),
    )?;
    let seed = args.seed.unwrap_or(Training::default().seed);
    let console = Console::new(settings.rounds(), args.json);
    let note = |text: &str| console.note(text);
    let (task, split) = TaskTable::of(&source, &args.held_back, None, &args.task, seed, note)?;
    let compute = devices::open(args.gpu, |text| console.note(text))?;
    let trainers = trainers(&task, &split, partition, nodes, &compute)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let simulation = Simulation {
        trainers,
        engine: compute.engine(),
        settings: settings.clone(),
        sharing: args.scheme.unwrap_or_default(),
        training_at_once: cores,
    };

    console.note(&format!(
        "{nodes} nodes, {} rounds, {} on {}: {} training examples ({partition}), {} test examples",
        settings.rounds(),
        task.model.kind(),
        source,
        split.train.len(),
        split.test.len()
    ));
    if settings.fraction_fit() < 1.0 {
        console.note(
            "rounds have some of the nodes, which is safe here, where all are one; a deployment \
             needs `provision --participation cohorts:…` for it",
        );
    }
    let mut rounds = Rounds::new(nodes);
    let observe = |manifest: &Arc<Manifest>, event| match event {
        SimulationEvent::Relay(report) => relay(&console, manifest, &report),
        SimulationEvent::Node(index, event) => {
            if let Some(report) = rounds.observe(&console, manifest, index, event) {
                let line = RoundLine::new(&report);
                if let Err(error) = console.round(&line) {
                    console.note(&format!("a round cannot be printed: {error}"));
                }
                if let Err(error) = output.round(line, &report) {
                    console.note(&explain(error.as_ref()));
                }
            }
        }
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let run = async {
        simulation
            .run(observe, fl_network::program::signals::stop())
            .await
    };
    let ended = runtime.block_on(run)?;
    let figures = output.figures();
    let written = output.write(&task.model, &ended)?;
    let figures = figures.filter(|figures| figures.loss.is_some());
    let figures = figures.map(|figures| format!(": {figures}"));
    let stopped = match ended.is_finished() {
        true => "",
        false => "stopped: ",
    };
    let saved = written.map(|written| format!("; the model is in {written}"));
    console.finish(&format!(
        "{stopped}{} rounds with {nodes} nodes in {:.1} s{}{}",
        ended.round,
        begun.elapsed().as_secs_f64(),
        figures.unwrap_or_default(),
        saved.unwrap_or_default()
    ));
    Ok(())
}

fn settings(args: &Simulate, nodes: usize) -> anyhow::Result<Settings> {
    ensure!(
        nodes >= 3,
        "--nodes must be at least 3: a sum of fewer would not hide its parts"
    );
    let choices = RoundChoices {
        rounds: args.rounds,
        fraction_fit: args.fraction_fit,
        min_nodes: args.min_nodes,
        patience: args.patience,
    };
    Ok(choices.settings(3..=nodes)?)
}

/// One trainer a node: its part of the training data, and an even part of the test data.
fn trainers(
    task: &TaskTable,
    Split { train, test }: &Split,
    partition: Partition,
    nodes: usize,
    compute: &Compute,
) -> anyhow::Result<Vec<Box<dyn LocalTrainer>>> {
    let seed = task.training.seed;
    let train_parts = partition.of(train, nodes, seed)?;
    let test_parts = Partition::Iid.parts(&test.strata(), nodes, seed)?;
    let parts = train_parts.iter().zip(&test_parts);
    parts
        .map(|(train_part, test_part)| {
            let (train, test) = (train.select(train_part), test.select(test_part));
            let compute = compute.clone();
            let trainer = task.model.trainer(train, test, task.training, compute)?;
            // A node's own order is another in each run, since its key is.
            Ok(Box::new(RepeatableOrder::new(trainer, seed)) as _)
        })
        .collect()
}

/// What the relay has to say that a simulation's user wants to know.
fn relay(console: &Console, manifest: &Arc<Manifest>, report: &Report) {
    let line = ReportFormatter::new(manifest.clone()).tell(report);
    match report {
        Report::Opened { .. } => console.status(line.text),
        Report::Abandoned { .. }
        | Report::Waiting { .. }
        | Report::Refused(..)
        | Report::Convicted(_)
        | Report::RolledBack { .. } => console.note(&line.text),
        _ => {}
    }
}

/// Puts together what the nodes report of a round: the test data is spread over them.
struct Rounds {
    nodes: usize,
    open: BTreeMap<u64, (usize, RoundReport)>,
}

impl Rounds {
    fn new(nodes: usize) -> Self {
        Self {
            nodes,
            open: BTreeMap::new(),
        }
    }

    /// Takes in an event; gives the report of a round that all nodes have reported.
    fn observe(
        &mut self,
        console: &Console,
        manifest: &Manifest,
        index: usize,
        event: NodeEvent,
    ) -> Option<RoundReport> {
        let report = match event {
            NodeEvent::Round(report) => report,
            NodeEvent::Refused(refusal) => {
                let refusal = manifest.with_names(refusal);
                console.note(&format!("node-{}: {refusal}", index + 1));
                return None;
            }
            NodeEvent::Disconnected { reason, .. } | NodeEvent::Failed { reason } => {
                console.note(&format!("node-{}: {reason}", index + 1));
                return None;
            }
            _ => return None,
        };
        let round = report.round;
        let (reported, total) = match self.open.remove(&round) {
            None => (1, report),
            Some((reported, total)) => (reported + 1, add(total, &report)),
        };
        if reported < self.nodes {
            self.open.insert(round, (reported, total));
            return None;
        }
        let mut total = total;
        let nodes = self.nodes as u64;
        total.bytes_up /= nodes;
        total.bytes_down /= nodes;
        Some(total)
    }
}

/// Evaluations and bytes add up. Of the times the longest counts, but of the network's the
/// shortest: the last node to be ready waits for nobody, so only its time is all transfer.
fn add(mut total: RoundReport, report: &RoundReport) -> RoundReport {
    total.local.add(&report.local);
    total.bytes_up += report.bytes_up;
    total.bytes_down += report.bytes_down;
    total.times = match (total.took_part, report.took_part) {
        (true, true) => RoundTimes {
            training: total.times.training.max(report.times.training),
            sharing: total.times.sharing.max(report.times.sharing),
            network: total.times.network.min(report.times.network),
        },
        (false, _) => report.times,
        (true, false) => total.times,
    };
    total.took_part |= report.took_part;
    total
}
