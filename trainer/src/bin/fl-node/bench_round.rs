//! `fl-node bench-round`: what a round costs beside training.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use fl_network::round::relay::Settings;
use fl_sharing::CpuEngine;
use fl_trainer::node::NodeEvent;
use fl_trainer::simulation::{Simulation, SimulationEvent};
use fl_trainer::{
    Evaluation, Layout, LocalTrainer, LocalUpdate, Progress, TensorLayout, TrainError,
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
    let (mut sent, mut received, mut reports) = (0, 0, 0);
    let mut sharing = 0.0f64;
    let observe = |event| {
        if let SimulationEvent::Node(index, NodeEvent::Round(report)) = event {
            sent += report.bytes_up;
            received += report.bytes_down;
            reports += 1;
            if index == 0 {
                sharing += report.times.sharing.as_secs_f64();
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
        "{} nodes x {} parameters, {} rounds: median {:.3} s a round (least {:.3}, most {:.3}); of which \
         masking and averaging at a node {:.3} s; a node sent {} and received {} a round; \
         peak memory of all parties together {}",
        args.nodes,
        args.params,
        args.rounds,
        seconds[seconds.len() / 2],
        seconds[0],
        seconds[seconds.len() - 1],
        sharing / args.rounds as f64,
        bytes(sent / reports),
        bytes(received / reports),
        peak_memory().map_or_else(|| "unknown".to_owned(), bytes),
    );
    Ok(())
}

/// The process's peak resident memory in bytes, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(1024 * kilobytes)
}
