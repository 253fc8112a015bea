//! The learning side of a federation's node: models, local training, evaluation and checkpoints.
//!
//! [`node`] is where training, sharing and the network meet; [`simulation`] runs a whole federation
//! in one process, and [`provision`] founds one for several machines.
//!
//! A node's driver works with a [`LocalTrainer`]: parameters in as one flat vector, their local
//! change out. [`BurnTrainer`] is the one for Burn. It trains a [`Task`], which is a module with
//! data and a loss; [`Classification`] and [`Regression`] are the tasks for any module that
//! predicts classes or a quantity of feature rows, and [`ModelSpec`] makes the trainer of a
//! built-in model from datasets alone.

mod burn_trainer;
mod checkpoint;
mod compute;
mod data;
mod error;
mod evaluation;
#[cfg(feature = "gpu")]
mod gpu;
mod layout;
mod length;
mod local;
mod model;
pub mod node;
mod order;
pub mod provision;
mod report;
pub mod simulation;
mod state;
mod task;
mod training;
mod update;

pub use burn_trainer::BurnTrainer;
pub use checkpoint::Checkpoint;
pub use compute::Compute;
pub use data::data_digest;
pub use error::TrainError;
#[cfg(feature = "gpu")]
pub use gpu::Gpu;
pub use layout::{Layout, TensorLayout};
pub use local::{LocalTrainer, LocalUpdate, Progress};
pub use model::{Cnn, Mlp, ModelKind, ModelSpec};
pub use node::RoundReport;
pub use order::{OrderKey, OrderSeed, RepeatableOrder};
pub use provision::{AgreedNode, RoundParticipation, Sharing};
pub use report::{ClassReport, ClassificationReport};
pub use task::{Classification, Outcome, Part, Predictor, Regression, Score, Task};
pub use training::{Optimizer, Training};
pub use update::Update;

/// The CPU as a device for training.
pub fn cpu() -> burn::tensor::Device {
    burn::tensor::Device::flex()
}
