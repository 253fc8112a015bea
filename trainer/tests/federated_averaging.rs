//! Plain federated averaging over real data: what the built-in models and the default settings
//! reach without any of the protocol.

use std::ops::ControlFlow;

use burn::tensor::Device;
use fl_datasets::{
    DEFAULT_TEST_FRACTION, Dataset, LoadOptions, Partition, Scaling, Shape, Source, Split, load,
};
use fl_trainer::{LocalTrainer, ModelKind, ModelSpec, Training};

const SEED: u64 = 42;

fn split(source: Source) -> Split {
    let loaded = load(&source, &LoadOptions::default()).unwrap();
    loaded.split(DEFAULT_TEST_FRACTION, SEED).unwrap()
}

fn spec(train: &Dataset) -> ModelSpec {
    let schema = train.schema().clone();
    let scaling = match schema.shape() {
        Shape::Image { .. } => None,
        Shape::Table { .. } => Some(Scaling::fit(train).unwrap()),
    };
    ModelSpec::new(ModelKind::for_shape(schema.shape()), schema, scaling).unwrap()
}

fn trainer(spec: &ModelSpec, train: Dataset, test: &Dataset) -> Box<dyn LocalTrainer> {
    let settings = Training::default();
    spec.trainer(train, test.clone(), settings, Device::flex()).unwrap()
}

/// Accuracy on the common test set after `rounds` rounds of averaging weighted by examples
/// (McMahan et al., algorithm 1).
fn accuracy(source: Source, partition: &str, nodes: usize, rounds: u64) -> f64 {
    let Split { train, test } = split(source);
    let spec = spec(&train);
    let partition: Partition = partition.parse().unwrap();
    let mut nodes: Vec<_> = partition
        .parts(train.labels(), nodes, SEED)
        .unwrap()
        .iter()
        .map(|part| trainer(&spec, train.select(part), &test))
        .collect();
    let mut global = nodes[0].initial().unwrap();
    for round in 0..rounds {
        let mut sum = vec![0.0; global.len()];
        let mut examples = 0.0;
        for node in &mut nodes {
            let local = node.train(&global, round, &mut |_| ControlFlow::Continue(())).unwrap();
            let weight = f64::from(local.examples);
            examples += weight;
            for (sum, value) in sum.iter_mut().zip(&local.update) {
                *sum += weight * f64::from(*value);
            }
        }
        for (value, sum) in global.iter_mut().zip(&sum) {
            *value += (sum / examples) as f32;
        }
    }
    spec.evaluate(&global, test, Device::flex()).unwrap().accuracy().unwrap()
}

#[test]
fn digits_reach_96_percent_in_ten_rounds_of_three_nodes() {
    let accuracy = accuracy(Source::Digits, "iid", 3, 10);
    assert!(accuracy >= 0.96, "{accuracy}");
}
