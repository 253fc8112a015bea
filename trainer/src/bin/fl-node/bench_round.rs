//! `fl-node bench-round`: what a round costs beside training.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use fl_network::round::relay::Settings;
use fl_sharing::CpuEngine;
use fl_trainer::node::{NodeEvent, RoundReport};
use fl_trainer::simulation::{Simulation, SimulationEvent};
use fl_trainer::{
    Evaluation, Layout, LocalTrainer, LocalUpdate, Progress, Sharing, TensorLayout, TrainError,
};

use super::args::BenchRound;
use super::output::bytes;

/// A node that has its update at once.
struct Instantly {
    layout: Layout,
    update: Vec<f32>,
}

impl LocalTrainer for Instantly {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn initial(&mut self) -> Result<Vec<f32>, TrainError> {
        Ok(vec![0.0; self.layout.len()])
    }

    fn train(
        &mut self,
        _global: &[f32],
        _round: u64,
        _progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<LocalUpdate, TrainError> {
        Ok(LocalUpdate {
            update: self.update.clone().into(),
            examples: 1000,
        })
    }

    fn evaluate(&mut self, _parameters: &[f32]) -> Result<Evaluation, TrainError> {
        Ok(Evaluation::default())
    }
}

pub(crate) fn run(args: BenchRound) -> anyhow::Result<()> {
    ensure!(args.nodes >= 3, "--nodes must be at least 3");
    ensure!(args.params > 0, "--params must be at least 1");
    let tensor = TensorLayout {
        name: "parameters".to_owned(),
        shape: vec![args.params],
    };
    let layout = Layout::try_from(vec![tensor])?;
    let trainers = (0..args.nodes).map(|node| -> Box<dyn LocalTrainer> {
        let update = (0..args.params)
            .map(|k| 0.01 * ((k * 31 + node) as f32).sin())
            .collect();
        Box::new(Instantly {
            layout: layout.clone(),
            update,
        })
    });
    let simulation = Simulation {
        trainers: trainers.collect(),
        engine: Arc::new(CpuEngine),
        settings: Settings {
            rounds: args.rounds,
            fraction_fit: 1.0,
            min_nodes: 3,
        },
        sharing: args.scheme,
        examples_max: 1000,
        training_at_once: args.nodes,
    };
    let mut seconds = Vec::new();
    let mut last = Instant::now();
    let holders = match args.scheme {
        Sharing::Peer => 0,
        Sharing::Committee { holders, .. } => holders,
    };
    let (mut ordinary, mut holding) = (Costs::default(), Costs::default());
    let observe = |event| {
        if let SimulationEvent::Node(index, NodeEvent::Round(report)) = event {
            match index < holders {
                true => holding.add(&report),
                false => ordinary.add(&report),
            }
            if index == 0 {
                seconds.push(last.elapsed().as_secs_f64());
                last = Instant::now();
            }
        }
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let run = async { simulation.run(observe, fl_network::signals::stop()).await };
    let ended = runtime.block_on(run)?;
    ensure!(ended.finished && !seconds.is_empty(), "stopped");
    seconds.sort_by(f64::total_cmp);
    println!(
        "{} nodes x {} parameters, {} rounds: median {:.3} s a round (least {:.3}, most {:.3}); peak memory of all \
         parties together {}",
        args.nodes,
        args.params,
        args.rounds,
        seconds[seconds.len() / 2],
        seconds[0],
        seconds[seconds.len() - 1],
        peak_memory().map_or_else(|| "unknown".to_owned(), bytes),
    );
    for (who, costs) in [("a node", ordinary), ("a holder", holding)] {
        if costs.reports > 0 {
            println!("{who}, a round: {costs}");
        }
    }
    Ok(())
}

/// What rounds cost nodes of one kind, in all.
#[derive(Default)]
struct Costs {
    reports: u32,
    sharing: Duration,
    sent: u64,
    received: u64,
}

impl Costs {
    fn add(&mut self, report: &RoundReport) {
        self.reports += 1;
        self.sharing += report.times.sharing;
        self.sent += report.bytes_up;
        self.received += report.bytes_down;
    }
}

impl fmt::Display for Costs {
    /// The mean of a node and round.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reports = self.reports.max(1);
        write!(
            f,
            "masking and averaging {:.3} s, sent {}, received {}",
            (self.sharing / reports).as_secs_f64(),
            bytes(self.sent / u64::from(reports)),
            bytes(self.received / u64::from(reports)),
        )
    }
}

/// The process's peak resident memory in bytes, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(1024 * kilobytes)
}
