//! What the relay publishes as the result of a round.

use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use super::message::{Keys, Signed};
use crate::digest::Digest;

/// The result of a round: everything but the bytes of X, which follow as a bulk body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Context of the attempt that succeeded.
    pub ctx: Digest,
    /// The keys of the participants, or of the holders.
    pub bundle: Vec<Signed<Keys>>,
    /// What was added up.
    pub parts: Evidence,
    /// [`ChunkHashes::root`](crate::digest::ChunkHashes::root) of X.
    pub root: Digest,
    /// Hash of the averaged model, as the relay has it.
    pub model: Digest,
}
