//! What can go wrong between a participant's data and a parameter vector.

use std::path::PathBuf;

use burn::tensor::TensorReadError;
use thiserror::Error;

/// Failure of local training, evaluation, or a checkpoint.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    // The parameters handed in, by the relay or a file.
    /// A flat vector of the wrong length.
    #[error(
        "the model has {expected} parameters but {found} were given; \
         check that every node and the relay use the same model"
    )]
    Length {
        /// Values in the layout.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// A value that is NaN or infinite, in the parameters handed in or after training.
    #[error("tensor {tensor} holds {value}; if training diverged, lower the learning rate")]
    NotFinite {
        /// Tensor that holds the value.
        tensor: String,
        /// The value.
        value: f32,
    },

    // The model.
    /// A tensor without a name, or with the name of another one.
    #[error("tensor name {name:?} is empty or used twice; each tensor needs a name of its own")]
    TensorName {
        /// The name.
        name: String,
    },
    /// A model that has no floating-point parameter.
    #[error("the model has no floating-point parameters, so there is nothing to train")]
    NoParameters,
    /// A model with more than [`u32::MAX`] parameters.
    #[error("the model has more than {} parameters; use a smaller one", u32::MAX)]
    TooManyParameters,
    /// A built-in model that cannot take data of this shape.
    #[error("model {model} does not take {shape}; {hint}")]
    ModelShape {
        /// Name of the model.
        model: &'static str,
        /// The shape of an example.
        shape: String,
        /// What to do.
        hint: &'static str,
    },

    // The data.
    /// Data that no model can be trained on.
    #[error("{part} set: {reason}")]
    Data {
        /// Which of the sets, `training` or `test`.
        part: crate::Part,
        /// What is wrong with it.
        reason: String,
    },

    // The settings.
    /// A training setting out of its range.
    #[error("{setting} is {value}; it must be {range}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// The values that it may have.
        range: &'static str,
    },

    // The run.
    /// The progress callback asked for training to end.
    #[error("training was stopped after {step} of {steps} steps")]
    Stopped {
        /// Optimizer steps done.
        step: usize,
        /// Optimizer steps planned.
        steps: usize,
    },
    /// The device failed to hand a tensor back.
    #[error("the device failed while computing or reading {tensor}")]
    Device {
        /// What was read.
        tensor: String,
        /// The framework's reason.
        source: TensorReadError,
    },

    // The checkpoint file.
    /// A checkpoint could not be read from or written to disk.
    #[error("checkpoint {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file that is not a checkpoint of this program, or a damaged one.
    #[error("{} is not a valid checkpoint: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}
