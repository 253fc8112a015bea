//! What makes a Burn module and its data a federated task.

mod classification;
mod features;
mod parts;
mod predictor;
mod regression;

use std::fmt;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use fl_protocol::metrics::Metrics;

pub use classification::Classification;
pub(crate) use features::check_schema;
pub use predictor::Predictor;
pub use regression::Regression;

/// Which part of a participant's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The examples that the model is trained on.
    Training,
    /// The examples held back for evaluation.
    Test,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Training => "training",
            Self::Test => "test",
        })
    }
}

/// A model, one participant's data for it, and how to score the one on the other.
///
/// [`BurnTrainer`](crate::BurnTrainer) turns a task into a [`LocalTrainer`](crate::LocalTrainer).
/// For modules that predict something of feature rows, [`Classification`] and [`Regression`] are
/// ready tasks.
pub trait Task: Send {
    /// The module that is trained. All its float state is federated ([`Layout`](crate::Layout)).
    type Model: Module;

    /// A freshly initialised model on `device`, whose random generator is already seeded.
    ///
    /// Nodes start from equal models only if this draws from nothing but that generator.
    fn model(&self, device: &Device) -> Self::Model;

    /// Returns what evaluations count: right and wrong answers unless it is said otherwise.
    fn metrics(&self) -> Metrics {
        Metrics::Answers
    }

    /// Returns how many examples a part of the data holds.
    fn examples(&self, part: Part) -> usize;

    /// Scores `model` on the examples of `part` at the given positions `[batch]`, each below
    /// [`examples`](Self::examples).
    ///
    /// For [`Part::Training`] the loss must follow the model's autodiff graph; the positions are a
    /// plain tensor.
    ///
    /// A layer that draws random numbers here, such as dropout, draws from a generator that each
    /// training seeds and that all trainers on the device share, so its runs are repeatable only
    /// one trainer at a time.
    fn score(&self, model: &Self::Model, part: Part, positions: Tensor<1, Int>) -> Score;
}

/// How a model did on each example of a batch.
#[derive(Clone, Debug)]
pub struct Score {
    /// Loss of each example, `[batch]`. Training follows the gradient of its mean.
    pub loss: Tensor<1>,
    /// What an evaluation counts of them.
    pub outcome: Outcome,
}

/// What an evaluation counts of a batch, as [`Task::metrics`] says.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// For [`Metrics::Answers`]: 1 for each example that is answered right and 0 for the others,
    /// `[batch]`.
    Answers(Tensor<1, Int>),
    /// For [`Metrics::Classes`].
    Classes {
        /// Log probabilities up to a constant, `[batch, classes]`.
        logits: Tensor<2>,
        /// The true classes, `[batch]`.
        labels: Tensor<1, Int>,
    },
    /// For [`Metrics::Quantity`], in deviations from the quantity's mean.
    Quantity {
        /// What is predicted, `[batch]`.
        predicted: Tensor<1>,
        /// What is so, `[batch]`.
        truth: Tensor<1>,
    },
}
