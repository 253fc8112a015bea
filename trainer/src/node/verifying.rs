//! The check that an opened sum is what its participants agreed on: it takes the epoch key, which only nodes have.

use std::collections::BTreeSet;
use std::sync::Arc;

use fl_network::digest::Digest;
use fl_network::identity::NodeId;
use fl_network::round::{Check, Verifier};
use fl_shaders::{Ring, Tag};
use fl_sharing::{EpochKey, Verification};

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
    type Check = TagCheck;

    fn begin(&self, ctx: Digest, ring: Ring, elements: usize) -> TagCheck {
        TagCheck(self.0.tag_key(ctx.as_bytes(), elements).verify(ring))
    }
}

/// The check of one sum.
pub struct TagCheck(Verification);

impl Check for TagCheck {
    fn add(&mut self, chunk: &[u8]) {
        self.0.add(chunk);
    }

    fn holds(self, nodes: &BTreeSet<NodeId>, tag: Tag) -> bool {
        self.0.holds(nodes.iter().map(|node| node.as_bytes()), tag)
    }
}
