//! Plain federated averaging over real data: what the built-in models and the default settings
//! reach without any of the protocol.

use std::ops::ControlFlow;

use anyhow::{Context, Result};
use burn::tensor::Device;
use fl_datasets::{DEFAULT_TEST_FRACTION, LoadOptions, Partition, Source, Split, load};
use fl_trainer::{ModelSpec, OrderSeed, Training};

const SEED: u64 = 42;

/// Accuracy on the test set after `rounds` of averaging weighted by examples
/// (McMahan et al., algorithm 1).
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounds the average to the parameters' type"
)]
fn accuracy(source: &Source, partition: &str, nodes: usize, rounds: u64) -> Result<f64> {
    let loaded = load(source, &LoadOptions::default())?;
    let Split { train, test } = loaded.split(DEFAULT_TEST_FRACTION, SEED)?;
    let spec = ModelSpec::for_data(&train, None)?;
    let mut nodes = partition
        .parse::<Partition>()?
        .parts(train.labels(), nodes, SEED)?
        .iter()
        .map(|part| {
            let train = train.select(part);
            Ok(spec.trainer(train, test.clone(), Training::default(), Device::flex())?)
        })
        .collect::<Result<Vec<_>>>()?;
    let mut global = nodes[0].initial()?;
    for round in 0..rounds {
        let mut sum = vec![0.0; global.len()];
        let mut examples = 0.0;
        for node in &mut nodes {
            let order = OrderSeed::of_numbers(SEED, round);
            let keep_on = &mut |_| ControlFlow::Continue(());
            let local = node.train(&global, round, &order, keep_on)?;
            let weight = f64::from(local.examples);
            examples += weight;
            for (sum, update) in sum.iter_mut().zip(local.update.to_vec()?) {
                *sum += weight * f64::from(update);
            }
        }
        for (parameter, sum) in global.iter_mut().zip(&sum) {
            *parameter += (sum / examples) as f32;
        }
    }
    let evaluation = spec.evaluate(&global, test, Device::flex())?;
    evaluation.accuracy().context("the test set is empty")
}

#[test]
fn digits_reach_96_percent_in_ten_rounds_of_three_nodes() -> Result<()> {
    let accuracy = accuracy(&Source::Digits, "iid", 3, 10)?;
    assert!(accuracy >= 0.96, "{accuracy}");
    Ok(())
}

#[test]
fn digits_reach_95_percent_in_fifteen_rounds_of_ten_nodes_with_different_classes() -> Result<()> {
    let accuracy = accuracy(&Source::Digits, "dirichlet:0.3", 10, 15)?;
    assert!(accuracy >= 0.95, "{accuracy}");
    Ok(())
}

#[test]
fn breast_cancer_reaches_95_percent_in_ten_rounds_of_three_nodes() -> Result<()> {
    let accuracy = accuracy(&Source::BreastCancer, "iid", 3, 10)?;
    assert!(accuracy >= 0.95, "{accuracy}");
    Ok(())
}
