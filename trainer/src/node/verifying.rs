//! The check that an opened sum is what its participants agreed on: it takes the epoch key, which only nodes have.

use std::sync::Arc;

use fl_network::round::{Opened, Verifier};
use fl_sharing::EpochKey;

/// Checks tags under a consortium's epoch key.
#[derive(Clone)]
pub struct TagVerifier(Arc<EpochKey>);

impl TagVerifier {
    /// Checks under `key`.
    pub fn new(key: Arc<EpochKey>) -> Self {
        Self(key)
    }
}

impl Verifier for TagVerifier {
    fn verifies(&self, opened: &Opened<'_>) -> bool {
        let elements = opened.sum.len() / opened.ring.word_bytes();
        let tag_key = self.0.tag_key(opened.ctx.as_bytes(), elements);
        let nodes = opened.nodes.iter().map(|node| node.as_bytes());
        tag_key.verifies(opened.ring, opened.sum, nodes, opened.tag)
    }
}
