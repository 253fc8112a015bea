//! Classification of feature rows.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use fl_datasets::Dataset;
use fl_protocol::metrics::Metrics;

use super::features::{Features, check_schema};
use super::parts::Parts;
use super::{Outcome, Part, Predictor, Score, Task};
use crate::TrainError;

/// Trains a [`Predictor`] with cross entropy on two datasets held on the device.
pub struct Classification<M> {
    init: Box<dyn Fn(&Device) -> M + Send>,
    classes: usize,
    examples: Parts<Examples>,
}

/// Feature rows and their labels `[examples]`.
struct Examples {
    features: Features,
    labels: Tensor<1, Int>,
}

impl<M: Predictor> Classification<M> {
    /// Returns a task on copies of the datasets on `device`. `init` makes the model, with as many
    /// features and outputs as the datasets have features and classes; it must draw random numbers
    /// from the device only.
    ///
    /// # Errors
    ///
    /// The datasets differ in shape or in classes.
    pub fn new(
        init: impl Fn(&Device) -> M + Send + 'static,
        training: &Dataset,
        test: &Dataset,
        device: &Device,
    ) -> Result<Self, TrainError> {
        check_schema(Part::Test, test.schema(), training.schema())?;
        let examples = |data: &Dataset| {
            let labels = TensorData::new(data.labels().to_vec(), [data.len()]);
            Examples {
                features: Features::new(data, device),
                labels: Tensor::from_data(labels, device),
            }
        };
        Ok(Self {
            init: Box::new(init),
            classes: training.schema().classes().len(),
            examples: Parts::of(training, test, examples),
        })
    }
}

impl<M: Predictor> Task for Classification<M> {
    type Model = M;

    fn model(&self, device: &Device) -> M {
        (self.init)(device)
    }

    fn metrics(&self) -> Metrics {
        Metrics::of_classes(self.classes)
    }

    fn examples(&self, part: Part) -> usize {
        self.examples.get(part).features.examples()
    }

    fn score(&self, model: &M, part: Part, positions: Tensor<1, Int>) -> Score {
        let Examples { features, labels } = self.examples.get(part);
        let labels = labels.clone().select(0, positions.clone());
        let logits = model.outputs(features.rows(part, positions));
        let loss = log_softmax(logits.clone(), 1)
            .gather(1, labels.clone().unsqueeze_dim(1))
            .squeeze_dim(1)
            .neg();
        let outcome = match self.metrics() {
            Metrics::Classes { .. } => Outcome::Classes { logits, labels },
            // There are too many classes to count each.
            _ => Outcome::Answers(logits.argmax(1).squeeze_dim(1).equal(labels).int()),
        };
        Score { loss, outcome }
    }
}
