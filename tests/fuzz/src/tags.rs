//! Tags of inputs under the consortium's epoch key (the protocol, section 8).

use std::collections::BTreeSet;

use fl_protocol::digest::Digest;
use fl_protocol::identity::NodeId;
use fl_shaders::{Ring, Tag};
use fl_sharing::{EpochKey, Seed, TagKey, Verification};

/// The nodes' secret. Anyone can read it here; a hostile relay of these targets does not.
pub(crate) const EPOCH_KEY: [u8; 32] = [0x6b; 32];

fn key(ctx: Digest, elements: usize) -> TagKey {
    EpochKey::from_bytes(EPOCH_KEY).tag_key(ctx.as_bytes(), elements)
}

/// The tag of a node's input.
pub(crate) fn tag(ctx: Digest, node: NodeId, input: &[u32]) -> Tag {
    let key = key(ctx, input.len());
    fl_shaders::cpu::tag(input, 0, key.coefficients()) + key.blind(node.as_bytes())
}

/// What a seed masks tags with.
pub(crate) fn mask(ctx: Digest, seed: &[u8; 32]) -> Tag {
    Seed::from_bytes(*seed).tag_mask(ctx.as_bytes())
}

/// The check whether an opened sum fits its tags.
pub(crate) struct Check(Verification);

impl Check {
    pub(crate) fn new(ctx: Digest, elements: usize) -> Self {
        Self(key(ctx, elements).verify(Ring::U32))
    }

    pub(crate) fn add(&mut self, chunk: &[u8]) {
        self.0.add(chunk);
    }

    pub(crate) fn holds(self, nodes: &BTreeSet<NodeId>, tag: Tag) -> bool {
        self.0.holds(nodes.iter().map(NodeId::as_bytes), tag)
    }
}
