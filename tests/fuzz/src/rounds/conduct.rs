//! How the nodes of a round keep the protocol.

use std::collections::BTreeSet;

use fl_protocol::digest::Digest;
use fl_protocol::identity::{Identity, NodeId};
use fl_protocol::round::{Check, SentSums, Verifier};
use fl_protocol::sim::{NodeHost, OpenSecrets, Tagging};
use fl_shaders::{Ring, Tag};

use crate::fixture::consortium;
use crate::tags;

/// How a node keeps the protocol.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// To the letter.
    Sound,
    /// But with a disk that loses with whom it has sent sums.
    Forgetful,
    /// But for the tags, which it does not check.
    Credulous,
}

impl Conduct {
    pub(super) fn secrets(self, identity: &Identity) -> OpenSecrets<Self> {
        OpenSecrets::new(consortium().manifest.clone(), identity.node_id(), self)
    }

    /// A node's process is about to start again.
    pub(crate) fn forget<S>(self, host: &mut NodeHost<S>) {
        if self == Self::Forgetful {
            host.disk.sent = SentSums::default();
        }
    }
}

impl Tagging for Conduct {
    fn tag(&self, ctx: Digest, node: NodeId, input: &[u32]) -> Tag {
        tags::tag(ctx, node, input)
    }

    fn mask(&self, ctx: Digest, seed: &[u8; 32]) -> Tag {
        tags::mask(ctx, seed)
    }
}

impl Verifier for Conduct {
    type Check = Opinion;

    fn begin(&self, ctx: Digest, _: Ring, elements: usize) -> Opinion {
        Opinion {
            conduct: *self,
            check: tags::Check::new(ctx, elements),
        }
    }
}

/// What a node thinks of a sum.
pub(crate) struct Opinion {
    conduct: Conduct,
    check: tags::Check,
}

impl Check for Opinion {
    fn add(&mut self, chunk: &[u8]) {
        self.check.add(chunk);
    }

    fn holds(self, nodes: &BTreeSet<NodeId>, tag: Tag) -> bool {
        self.conduct == Conduct::Credulous || self.check.holds(nodes, tag)
    }
}
