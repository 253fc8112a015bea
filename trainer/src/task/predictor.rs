//! Modules that predict something of feature rows.

use burn::module::Module;
use burn::tensor::Tensor;

/// A module that predicts something of feature rows.
pub trait Predictor: Module {
    /// Returns what is predicted of feature rows `[batch, features]`: `[batch, classes]`
    /// unnormalised log probabilities for a [`Classification`](crate::Classification), and
    /// `[batch, 1]` deviations from the mean for a [`Regression`](crate::Regression).
    ///
    /// A row holds one example's features in the order of the
    /// [`Dataset`](fl_datasets::Dataset); an image is channel by channel, row by row, so `reshape`
    /// to `[batch, channels, height, width]` restores it.
    fn outputs(&self, features: Tensor<2>) -> Tensor<2>;
}
