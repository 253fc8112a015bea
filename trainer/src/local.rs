//! What a federation asks of the learning side of a node, without any type of the learning
//! framework.
//!
//! The node driver sees a model as one flat vector of `f32` with a [`Layout`]. It hands the global
//! vector to a [`LocalTrainer`] and gets back the local change of it, which is what is then encoded
//! and shared.

use std::ops::ControlFlow;

use fl_protocol::metrics::{Metrics, Tally};

use crate::{Layout, OrderSeed, Part, TrainError, Update};

/// A model with one participant's data, trained a round at a time.
///
/// Implemented by [`BurnTrainer`](crate::BurnTrainer) for every [`Task`](crate::Task). All methods
/// block until the device has finished, so call them off the async runtime.
pub trait LocalTrainer: Send {
    /// Names, shapes and order of the tensors behind the flat vector. The same on every node of a
    /// federation.
    fn layout(&self) -> &Layout;

    /// Parameters of the freshly initialised model, [`Layout::len`] values: the same on every node
    /// with the same seed.
    fn initial(&mut self) -> Result<Vec<f32>, TrainError>;

    /// Returns the number of examples in the local training set.
    fn examples(&self) -> u64;

    /// Trains on the local training set, starting from `global`, and returns what changed.
    ///
    /// `order` sets the order of the examples in this `round`, and all else that is random, so that
    /// whoever has it can repeat the round exactly, and nobody else. `progress` is called after
    /// every optimizer step; when it breaks, training ends with [`TrainError::Stopped`].
    ///
    /// # Errors
    ///
    /// `global` does not fit the layout or holds a non-finite value, training was stopped, or it
    /// diverged to a non-finite value (the error names the tensor).
    fn train(
        &mut self,
        global: &[f32],
        round: u64,
        order: &OrderSeed,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<LocalUpdate, TrainError>;

    /// Does the work by which training, or an evaluation, would take longer if this `part` of the
    /// data had `up_to` examples, and discards what comes of it: whoever sees how long a node takes
    /// is not to learn how many it has. `progress` is called after every step of training; when it
    /// breaks, the work ends.
    ///
    /// # Errors
    ///
    /// The device failed.
    fn pad(
        &mut self,
        part: Part,
        up_to: u32,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), TrainError>;

    /// Returns what evaluations count: right and wrong answers unless it is said otherwise. The
    /// same on every node of a federation.
    fn metrics(&self) -> Metrics {
        Metrics::Answers
    }

    /// Evaluates `parameters` on the local test set, and counts its [`metrics`](Self::metrics).
    ///
    /// # Errors
    ///
    /// `parameters` does not fit the layout or holds a non-finite value.
    fn evaluate(&mut self, parameters: &[f32]) -> Result<Tally, TrainError>;
}

/// How far one call of [`LocalTrainer::train`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Optimizer steps done, from 1 to `steps`.
    pub step: usize,
    /// Optimizer steps in all: epochs × batches in the local training set.
    pub steps: usize,
}

/// The result of one round of local training.
#[derive(Clone, Debug)]
pub struct LocalUpdate {
    /// Local parameters minus global parameters; every value is finite.
    pub update: Update,
    /// Examples in the local training set: the weight of this update in the federated average.
    pub examples: u32,
}
