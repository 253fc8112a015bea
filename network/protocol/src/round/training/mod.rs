//! What a round of training makes of its sum: the next global model.
//!
//! Who takes part, and how a sum comes about that hides its inputs, is the same for every kind of
//! round, and stands beside this folder. A round of another kind, which trains nothing, would be a
//! folder next to it.

mod average;

pub use average::{Averaged, Averaging, average};
