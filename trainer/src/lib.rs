//! The learning side of a federation's node: models, local training, evaluation and checkpoints.

mod error;
mod layout;
mod local;

pub use error::TrainError;
pub use layout::{Layout, TensorLayout};
pub use local::{Evaluation, LocalTrainer, LocalUpdate, Progress};

/// Which part of a participant's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The examples that the model is trained on.
    Training,
    /// The examples held back for evaluation.
    Test,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Training => "training",
            Self::Test => "test",
        })
    }
}
