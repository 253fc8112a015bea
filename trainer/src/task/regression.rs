//! Regression: predicting a quantity of feature rows.

use burn::tensor::{Device, Int, Tensor, TensorData};
use fl_datasets::{Dataset, QuantityScaling};
use fl_protocol::metrics::Metrics;

use super::features::{Features, check_schema};
use super::parts::Parts;
use super::{Outcome, Part, Predictor, Score, Task};
use crate::TrainError;

/// Trains a [`Predictor`] of one output with the squared error on two datasets held on the device.
pub struct Regression<M> {
    init: Box<dyn Fn(&Device) -> M + Send>,
    deviation: f64,
    examples: Parts<Examples>,
}

/// Feature rows and their quantities, in deviations from the mean, `[examples]`.
struct Examples {
    features: Features,
    quantities: Tensor<1>,
}

impl<M: Predictor> Regression<M> {
    /// Returns a task on copies of the datasets on `device`, whose quantities are scaled by
    /// `scaling`. `init` makes the model, with as many features as the datasets have and one
    /// output; it must draw random numbers from the device only.
    ///
    /// # Errors
    ///
    /// The datasets differ in shape or in target.
    pub fn new(
        init: impl Fn(&Device) -> M + Send + 'static,
        training: &Dataset,
        test: &Dataset,
        scaling: QuantityScaling,
        device: &Device,
    ) -> Result<Self, TrainError> {
        check_schema(Part::Test, test.schema(), training.schema())?;
        let examples = |data: &Dataset| {
            let scaled = data.quantities().iter().map(|value| scaling.apply(*value));
            let quantities = TensorData::new(scaled.collect(), [data.len()]);
            Examples {
                features: Features::new(data, device),
                quantities: Tensor::from_data(quantities, device),
            }
        };
        Ok(Self {
            init: Box::new(init),
            deviation: scaling.deviation(),
            examples: Parts::of(training, test, examples),
        })
    }
}

impl<M: Predictor> Task for Regression<M> {
    type Model = M;

    fn model(&self, device: &Device) -> M {
        (self.init)(device)
    }

    fn metrics(&self) -> Metrics {
        Metrics::Quantity {
            deviation: self.deviation,
        }
    }

    fn examples(&self, part: Part) -> usize {
        self.examples.get(part).features.examples()
    }

    fn score(&self, model: &M, part: Part, positions: Tensor<1, Int>) -> Score {
        let Examples {
            features,
            quantities,
        } = self.examples.get(part);
        let truth = quantities.clone().select(0, positions.clone());
        let outputs = model.outputs(features.rows(part, positions));
        let predicted: Tensor<1> = outputs.squeeze_dim(1);
        Score {
            loss: (predicted.clone() - truth.clone()).square(),
            outcome: Outcome::Quantity { predicted, truth },
        }
    }
}
