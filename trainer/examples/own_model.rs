//! A module and data of one's own as a federated task.
//!
//! Three participants each hold points of two interleaved spirals. They train a small network
//! together by secure federated averaging, without showing each other a point or an update. Here
//! they run in one process; on machines of their own each would hand its trainer to a
//! [`Participant`](fl_trainer::node::Participant) with the kit that it was given.
//!
//! Run with `cargo run --release -p fl-trainer --example own_model`.

use std::f32::consts::PI;
use std::sync::Arc;

use anyhow::Result;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use fl_datasets::{Dataset, Schema, Shape};
use fl_protocol::round::relay::Settings;
use fl_sharing::CpuEngine;
use fl_trainer::node::NodeEvent;
use fl_trainer::simulation::{Simulation, SimulationEvent};
use fl_trainer::{BurnTrainer, Classification, LocalTrainer, Predictor, Sharing, Training};

/// Points of each spiral that a participant holds.
const POINTS: u16 = 60;

/// Any Burn module will do; this one bends the plane twice.
#[derive(Module, Debug)]
struct Net {
    hidden: [Linear; 2],
    output: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        Self {
            hidden: [linear(2, 32), linear(32, 32)],
            output: linear(32, 2),
        }
    }
}

/// What makes it a federated task. For a loss other than cross entropy, implement
/// `fl_trainer::Task` instead.
impl Predictor for Net {
    fn outputs(&self, points: Tensor<2>) -> Tensor<2> {
        let bend = |x, layer: &Linear| layer.forward(x).tanh();
        self.output.forward(self.hidden.iter().fold(points, bend))
    }
}

/// One participant's data: `count` points of each spiral, `[x, y]`. The offset, 0 to 1, sets them
/// apart from those of the others.
fn spirals(count: u16, offset: f32) -> Result<Dataset> {
    let classes = vec!["inner".to_owned(), "outer".to_owned()];
    let columns = vec!["x".to_owned(), "y".to_owned()];
    let schema = Schema::new(Shape::Table { columns: 2 }, columns, classes)?;
    let mut points = Vec::new();
    let mut labels = Vec::new();
    for i in 0..count {
        let radius = (f32::from(i) + offset) / f32::from(count);
        for label in [0_u8, 1] {
            let angle = 1.5 * PI * radius + PI * f32::from(label);
            points.extend([radius * angle.cos(), radius * angle.sin()]);
            labels.push(u32::from(label));
        }
    }
    Ok(Dataset::new(schema, points, labels)?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let device = Device::flex();
    let settings = Training {
        learning_rate: 0.1,
        epochs: 10,
        ..Training::default()
    };
    let test = spirals(200, 0.5)?;
    let trainers = (0..3_u8)
        .map(|node| {
            let training = spirals(POINTS, f32::from(node) / 3.0)?;
            let task = Classification::new(Net::new, &training, &test, &device)?;
            let trainer = BurnTrainer::new(task, settings, device.clone())?;
            Ok(Box::new(trainer) as Box<dyn LocalTrainer>)
        })
        .collect::<Result<Vec<_>>>()?;

    let simulation = Simulation {
        trainers,
        engine: Arc::new(CpuEngine),
        settings: Settings::new(10, 1.0, 3, 3..=3)?,
        sharing: Sharing::Peer,
        training_at_once: 1,
    };
    let observe = |_: &_, event| {
        if let SimulationEvent::Node(0, NodeEvent::Round(report)) = event
            && let (Some(accuracy), Some(loss)) = (report.local.accuracy(), report.local.loss())
        {
            let round = report.round;
            println!("round {round:2}  accuracy {accuracy:.3}  loss {loss:.4}");
        }
    };
    let ended = simulation.run(observe, std::future::pending()).await?;
    println!("the model has {} parameters", ended.model.len());
    Ok(())
}
