//! Training that draws more than an order. Burn has one generator for the whole process, so this is
//! one test in a process of its own.

use std::ops::ControlFlow;

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use fl_datasets::{LoadOptions, Source, load};
use fl_trainer::{BurnTrainer, Classification, LocalTrainer, OrderSeed, Predictor, Training, cpu};

/// A model half of whose inputs are dropped in training.
#[derive(Module, Debug)]
struct Forgetful {
    dropout: Dropout,
    output: Linear,
}

impl Forgetful {
    fn new(device: &Device) -> Self {
        Self {
            dropout: DropoutConfig::new(0.5).init(),
            output: LinearConfig::new(64, 10).init(device),
        }
    }
}

impl Predictor for Forgetful {
    fn outputs(&self, rows: Tensor<2>) -> Tensor<2> {
        self.output.forward(self.dropout.forward(rows))
    }
}

#[test]
fn what_a_model_drops_in_training_follows_from_the_seed_of_the_order() {
    let all = load(&Source::Digits, &LoadOptions::default())
        .unwrap()
        .train;
    let data = all.select(&[0]);
    let task = Classification::new(Forgetful::new, &data, &data, &cpu()).unwrap();
    let mut trainer = BurnTrainer::new(task, Training::default(), cpu()).unwrap();
    let global = trainer.initial().unwrap();
    // A single example has no order, so that all that differs is what was dropped.
    let mut update = |number| {
        let order = OrderSeed::of_numbers(number, 1);
        let trained = trainer.train(&global, 1, &order, &mut |_| ControlFlow::Continue(()));
        trained.unwrap().update.to_vec().unwrap()
    };
    let first = update(1);
    assert_ne!(update(2), first);
    assert_eq!(update(1), first);
}
