//! Classification of feature rows, the task of the built-in models.

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use fl_datasets::{Dataset, Schema};
use fl_protocol::metrics::Metrics;

use crate::{Outcome, Part, Score, Task, TrainError};

/// A module that tells classes apart.
pub trait Classifier: Module {
    /// Unnormalised log probabilities `[batch, classes]` of feature rows `[batch, features]`.
    ///
    /// A row holds one example's features in the order of the
    /// [`Dataset`]; an image is channel by channel, row by row, so `reshape` to
    /// `[batch, channels, height, width]` restores it.
    fn logits(&self, features: Tensor<2>) -> Tensor<2>;
}

/// Trains a [`Classifier`] with cross entropy on two datasets held on the device.
pub struct Classification<M> {
    init: Box<dyn Fn(&Device) -> M + Send>,
    classes: usize,
    training: Examples,
    test: Examples,
}

impl<M: Classifier> Classification<M> {
    /// Returns a task on copies of the datasets on `device`. `init` makes the model, with as many
    /// features and classes as the datasets have; it must draw random numbers from the device only.
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
        Ok(Self {
            init: Box::new(init),
            classes: training.schema().classes().len(),
            training: Examples::new(training, device),
            test: Examples::new(test, device),
        })
    }

    fn part(&self, part: Part) -> &Examples {
        match part {
            Part::Training => &self.training,
            Part::Test => &self.test,
        }
    }
}

impl<M: Classifier> Task for Classification<M> {
    type Model = M;

    fn model(&self, device: &Device) -> M {
        (self.init)(device)
    }

    fn metrics(&self) -> Metrics {
        Metrics::of_classes(self.classes)
    }

    fn examples(&self, part: Part) -> usize {
        self.part(part).labels.dims()[0]
    }

    fn score(&self, model: &M, part: Part, positions: Tensor<1, Int>) -> Score {
        let Examples { features, labels } = self.part(part);
        let features = features.clone().select(0, positions.clone());
        let labels = labels.clone().select(0, positions);
        let logits = model.logits(match part {
            // Layers such as batch normalisation read the mode off their input.
            Part::Training => features.autodiff(),
            Part::Test => features,
        });
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

/// A dataset on the device: features `[examples, features]` and labels `[examples]`.
struct Examples {
    features: Tensor<2>,
    labels: Tensor<1, Int>,
}

impl Examples {
    fn new(data: &Dataset, device: &Device) -> Self {
        let shape = [data.len(), data.schema().shape().size()];
        let features = TensorData::new(data.features().to_vec(), shape);
        let labels = TensorData::new(data.labels().to_vec(), [data.len()]);
        Self {
            features: Tensor::from_data(features, device),
            labels: Tensor::from_data(labels, device),
        }
    }
}

/// Fails if a set has examples of another shape or other classes than the model. Names of columns
/// may differ: a file without a header has none.
pub(crate) fn check_schema(part: Part, found: &Schema, model: &Schema) -> Result<(), TrainError> {
    if found.shape() == model.shape() && found.classes() == model.classes() {
        return Ok(());
    }
    let text = |schema: &Schema| {
        let classes = schema.target_in_words();
        format!("{} and the classes {classes}", schema.shape())
    };
    Err(TrainError::OtherData {
        part,
        expected: text(model),
        found: text(found),
    })
}
