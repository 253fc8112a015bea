//! What can go wrong between a participant's data and a parameter vector.

use std::path::PathBuf;

use burn::tensor::TensorReadError;
use fl_network::files::FileError;
use fl_sharing::DeviceError;
use thiserror::Error;

use crate::Part;

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
    /// A module whose tensors are not those of the layout.
    #[error(
        "the tensors of this model are not those expected; \
         check that every node and the relay use the same model"
    )]
    OtherLayout,
    /// A name that is no built-in model.
    #[error("there is no model {name:?}; use cnn or mlp")]
    ModelName {
        /// The name.
        name: String,
    },
    /// A built-in model that cannot take examples of this shape.
    #[error("model cnn does not take {shape}, only images of 4×4 pixels or more; use mlp")]
    ModelShape {
        /// The shape of an example.
        shape: fl_datasets::Shape,
    },
    /// A scaling for another number of columns than the data has.
    #[error("the scaling has {columns} columns but the model takes {shape}; fit it on this data")]
    ScalingShape {
        /// Columns of the scaling.
        columns: usize,
        /// The shape of an example.
        shape: fl_datasets::Shape,
    },
    /// The quantity that is predicted has no scaling, or there is one although classes are told.
    #[error("a model of a quantity needs the quantity's scaling, and a model of classes has none")]
    QuantityScaling,
    /// Values may be missing, and there is no mean to stand in for them.
    #[error("values of a column may be missing, so the model needs a scaling; fit one on the data")]
    GapsWithoutScaling,

    // The data.
    /// Training without a training example.
    #[error("the training set is empty; give this node at least one example")]
    NoExamples,
    /// More examples than a federated average can weigh.
    #[error(
        "the {part} set has more than {} examples; split it over more nodes",
        u32::MAX
    )]
    TooManyExamples {
        /// The set.
        part: Part,
    },
    /// Data that could not be scaled.
    #[error("{part} set")]
    Scaling {
        /// The set.
        part: Part,
        /// What is wrong with it.
        source: Box<fl_datasets::Error>,
    },
    /// A test set that does not go with the training set or the model.
    #[error("the {part} set has {found} where the model has {expected}")]
    OtherData {
        /// The set.
        part: Part,
        /// What the model was made for.
        expected: String,
        /// What the data has.
        found: String,
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

    /// A task whose scores are of something else than it says.
    #[error("the task's scores are not of what its metrics say; mend `Task::score` or `metrics`")]
    OtherOutcome,

    // The run.
    /// The progress callback asked for training to end.
    #[error("training was stopped after {step} of {steps} steps")]
    Stopped {
        /// Optimizer steps done.
        step: usize,
        /// Optimizer steps planned.
        steps: usize,
    },
    /// The task panicked: the fault is in its model or in the learning framework.
    #[error("local training panicked; this is a bug in the model or in the learning framework")]
    Panicked,
    /// The device failed to hand a tensor back.
    #[error("the device failed while computing or reading {what}")]
    Device {
        /// What was read.
        what: &'static str,
        /// The framework's reason.
        source: TensorReadError,
    },

    /// More values than a GPU reaches at once.
    #[error(
        "the {what} takes {} MiB, and this GPU reaches {} MiB at once; train without it, or on another one",
        bytes.div_ceil(1 << 20),
        limit >> 20
    )]
    OutOfReach {
        /// What does not fit.
        what: String,
        /// Its size.
        bytes: u64,
        /// What fits.
        limit: u64,
    },
    /// The GPU failed.
    #[error(transparent)]
    Gpu(#[from] DeviceError),

    // The checkpoint file.
    /// A checkpoint could not be read from or written to disk.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file that is not a checkpoint of this program, or a damaged one.
    #[error("{} is not a valid checkpoint: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}
