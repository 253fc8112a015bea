//! The learning side of a federation's node: models, local training, evaluation and checkpoints.
//!
//! A node's driver works with a [`LocalTrainer`]: parameters in as one flat vector, their local
//! change out. [`BurnTrainer`] is the one for Burn. It trains a [`Task`], which is a module with
//! data and a loss; [`Classification`] is the task for any module that tells classes apart, and
//! [`ModelSpec`] makes the trainer of a built-in model from datasets alone.

mod burn_trainer;
mod checkpoint;
mod classification;
mod error;
mod layout;
mod local;
mod model;
mod state;
mod task;
mod training;

pub use burn_trainer::BurnTrainer;
pub use checkpoint::Checkpoint;
pub use classification::{Classification, Classifier};
pub use error::TrainError;
pub use layout::{Layout, TensorLayout};
pub use local::{Evaluation, LocalTrainer, LocalUpdate, Progress};
pub use model::{Cnn, Mlp, ModelKind, ModelSpec};
pub use task::{Part, Score, Task};
pub use training::{Optimizer, Training};
