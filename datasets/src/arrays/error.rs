//! What can be wrong with arrays.

use std::path::PathBuf;

/// Why an array was not read.
///
/// `dimensions` are joined by ×, the number of examples first.
#[derive(Debug, thiserror::Error)]
pub enum ArrayError {
    /// Two files may be the one wanted.
    #[error("{folder} has {first} as well as {second}; leave the one that is meant")]
    Twice {
        /// The folder.
        folder: PathBuf,
        /// The name of one.
        first: String,
        /// The name of the other.
        second: String,
    },
    /// Two dimensions may be the channels.
    #[error(
        "{path} has the dimensions {dimensions}, of which both the second and the last may be the \
         channels; give a .safetensors file, where channels come second"
    )]
    TwoChannels {
        /// The file.
        path: PathBuf,
        /// Its dimensions.
        dimensions: String,
    },
    /// No dimension may be the channels.
    #[error(
        "{path} has the dimensions {dimensions}, of which neither the second nor the last is 1, 3 \
         or 4 channels; transpose it, or give a .safetensors file, where any number comes second"
    )]
    NoChannels {
        /// The file.
        path: PathBuf,
        /// Its dimensions.
        dimensions: String,
    },
    /// Channels seem to come last where they should come second.
    #[error(
        "{path}: `{tensor}` has the dimensions {dimensions}, with the channels last; transpose it \
         so that they come second, in numpy by .transpose(0, 3, 1, 2)"
    )]
    ChannelsLast {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: &'static str,
        /// Its dimensions.
        dimensions: String,
    },
    /// Labels are not integers.
    #[error("{path} has labels of the type {found}; store them as integers, one for each class")]
    Labels {
        /// The file.
        path: PathBuf,
        /// The type.
        found: String,
    },
    /// Not safetensors, or damaged.
    #[error("{path} is no safetensors file, or damaged ({said}); write or copy it again")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        said: String,
    },
    /// There is more or less data than the header says.
    #[error("{path} has {found} bytes of data where its header says {expected}; copy it again")]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes by the header.
        expected: usize,
        /// Bytes after the header.
        found: usize,
    },
    /// A tensor is missing.
    #[error("{path} has no tensor `{tensor}`; its tensors are [{found}]; store it by that name")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The name of the tensor.
        tensor: &'static str,
        /// The first names that are there.
        found: String,
    },
    /// There are tensors that nothing is known of.
    #[error(
        "{path} has other tensors than `features`, `labels`, `test_features` and `test_labels`: \
         {names}; rename or leave them out"
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The first names.
        names: String,
    },
    /// A tensor has other dimensions than it may have.
    #[error("{path}: `{tensor}` has the dimensions [{found}]; it needs {wanted}")]
    Dimensions {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: &'static str,
        /// Its dimensions.
        found: String,
        /// Those that it may have.
        wanted: &'static str,
    },
    /// A tensor is of a type that is not read.
    #[error("{path}: `{tensor}` is of the type {found}; store it as float32 or as integers")]
    Type {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: &'static str,
        /// Its type.
        found: String,
    },
    /// Two tensors differ in the number of examples.
    #[error("{path}: `{tensor}` has {features} examples but {labels} labels; store one for each")]
    Counts {
        /// The file.
        path: PathBuf,
        /// The tensor of features.
        tensor: &'static str,
        /// Examples in it.
        features: usize,
        /// Labels beside it.
        labels: usize,
    },
    /// A number is NaN, infinite, or too large for `f32`.
    #[error(
        "{path}: row {row}, feature {feature} of `{tensor}` is not finite as a 32-bit float; fill \
         in or drop the row, or change the unit"
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: &'static str,
        /// The row, counted from 1.
        row: usize,
        /// The feature, counted from 1.
        feature: usize,
    },
}
