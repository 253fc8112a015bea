//! A module and data of one's own as a federated task.
//!
//! Three participants each hold points of two interleaved spirals. They train a small network
//! together by federated averaging, without showing each other a point.
//!
//! Run with `cargo run --release --example own_model`.

use std::f32::consts::PI;
use std::ops::ControlFlow;

use anyhow::Result;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use fl_datasets::{Dataset, Schema, Shape};
use fl_trainer::{BurnTrainer, Classification, Classifier, LocalTrainer, Training};

const ROUNDS: u64 = 10;

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
impl Classifier for Net {
    fn logits(&self, points: Tensor<2>) -> Tensor<2> {
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

fn main() -> Result<()> {
    let device = Device::flex();
    let settings = Training {
        learning_rate: 0.1,
        epochs: 10,
        ..Training::default()
    };
    let test = spirals(200, 0.5)?;
    let mut nodes = (0..3_u8)
        .map(|node| {
            let training = spirals(60, f32::from(node) / 3.0)?;
            let task = Classification::new(Net::new, &training, &test, &device)?;
            Ok(BurnTrainer::new(task, settings, device.clone())?)
        })
        .collect::<Result<Vec<_>>>()?;

    let mut global = nodes[0].initial()?;
    for round in 0..ROUNDS {
        let mut sum = vec![0.0; global.len()];
        let mut examples = 0.0;
        for node in &mut nodes {
            let local = node.train(&global, round, &mut |_| ControlFlow::Continue(()))?;
            let weight = local.examples as f32;
            examples += weight;
            for (sum, update) in sum.iter_mut().zip(&local.update) {
                *sum += weight * update;
            }
        }
        for (parameter, sum) in global.iter_mut().zip(&sum) {
            *parameter += sum / examples;
        }
        let score = nodes[0].evaluate(&global)?;
        if let (Some(accuracy), Some(loss)) = (score.accuracy(), score.loss()) {
            println!(
                "round {:2}  accuracy {accuracy:.3}  loss {loss:.4}",
                round + 1
            );
        }
    }
    Ok(())
}
