//! Where bodies go as they arrive: into the sum itself, or aside until it is known whose are in it.

use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::identity::NodeId;
use fl_protocol::wire::{BodyId, BodyKind};

use super::accumulator::Accumulator;
use super::arrivals::BodyError;
use super::model_transfer::ModelTransfer;
use super::spool::Spool;

/// Whose body, and which.
pub(super) type BodySource = (NodeId, BodyId);

/// The bodies of one attempt.
#[derive(Debug)]
pub(super) enum Intake {
    /// In the peer scheme all participants are known, and their bodies are added on arrival.
    Sum(Box<Accumulator>),
    /// With a committee, contributors are chosen among those whose bodies are here.
    Spool(Spool),
    /// Before any attempt, a node's model, if the relay stands behind.
    Model(ModelTransfer),
}

impl Intake {
    /// Returns the context of the attempt, or the hash of the model.
    pub(super) fn subject(&self) -> Digest {
        match self {
            Self::Sum(sum) => sum.ctx(),
            Self::Spool(spool) => spool.ctx(),
            Self::Model(transfer) => transfer.model_hash(),
        }
    }

    /// Returns whether `node` can have such a body in this attempt.
    pub(super) fn admits(&self, node: NodeId, body: BodyId) -> bool {
        let fits = body.subject == self.subject();
        match (self, body.kind) {
            (Self::Sum(_) | Self::Spool(_), BodyKind::Sum) => fits,
            (Self::Spool(_), BodyKind::Reveal) => true,
            (Self::Model(transfer), BodyKind::Model) => fits && node == transfer.node(),
            _ => false,
        }
    }

    /// Expects a body with this root. Returns the first chunk that is missing.
    pub(super) fn expect(&self, source: BodySource, root: Digest) -> usize {
        match self {
            Self::Sum(sum) => sum.expect(source.0, root),
            Self::Spool(spool) => spool.expect(source, root),
            // Whatever its root is.
            Self::Model(_) => 0,
        }
    }

    /// Checks the list of chunk hashes of a body that is to go on at chunk `first`.
    pub(super) fn begin(
        &self,
        source: BodySource,
        first: usize,
        hashes: &ChunkHashes,
    ) -> Result<(), BodyError> {
        match self {
            Self::Sum(sum) => sum.begin(source.0, first, hashes),
            Self::Spool(spool) => spool.begin(source, first, hashes),
            Self::Model(transfer) => transfer.begin(first, hashes),
        }
    }

    /// Length of chunk `index` in bytes.
    pub(super) fn chunk_len(&self, index: usize) -> usize {
        match self {
            Self::Sum(sum) => sum.chunk_len(index),
            Self::Spool(spool) => spool.chunk_len(index),
            Self::Model(transfer) => transfer.chunk_len(index),
        }
    }

    /// Returns the number of chunks of a body.
    pub(super) fn chunks(&self) -> usize {
        match self {
            Self::Sum(sum) => sum.chunks(),
            Self::Spool(spool) => spool.chunks(),
            Self::Model(transfer) => transfer.chunks(),
        }
    }

    /// Checks chunk `index` of a body against `hash`, and takes it.
    pub(super) fn add(
        &self,
        source: BodySource,
        index: usize,
        hash: &Digest,
        chunk: &[u8],
    ) -> Result<(), BodyError> {
        match self {
            Self::Sum(sum) => sum.add(source.0, index, hash, chunk),
            Self::Spool(spool) => spool.add(source, index, hash, chunk),
            Self::Model(transfer) => transfer.add(index, hash, chunk),
        }
    }
}
