//! The model that a node sends to a relay which stands behind it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fl_protocol::digest::{ChunkHashes, Digest, chunk_hash, model_hash};
use fl_protocol::identity::NodeId;

use super::arrivals::{Arrivals, BodyError};
use fl_protocol::parameters::from_le_bytes;

/// A model on its way, and whose it is.
#[derive(Debug)]
pub(super) struct ModelTransfer {
    node: NodeId,
    model: Digest,
    state: Mutex<ReceivedModel>,
}

#[derive(Debug)]
struct ReceivedModel {
    bytes: Vec<u8>,
    here: Arrivals<NodeId>,
}

impl ModelTransfer {
    /// Expects `node`'s model of `parameters` parameters with this hash.
    pub(super) fn new(node: NodeId, model: Digest, parameters: usize) -> Self {
        let bytes = 4 * parameters;
        Self {
            node,
            model,
            state: Mutex::new(ReceivedModel {
                bytes: Vec::with_capacity(bytes),
                here: Arrivals::new(bytes),
            }),
        }
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    pub(super) fn model_hash(&self) -> Digest {
        self.model
    }

    /// Checks the list of chunk hashes. Nobody has signed it: what counts is the hash of the whole.
    pub(super) fn begin(&self, first: usize, hashes: &ChunkHashes) -> Result<(), BodyError> {
        let here = &mut self.lock().here;
        here.expect(self.node, hashes.root());
        here.begin(self.node, first, hashes)
    }

    /// Length of chunk `index` in bytes.
    pub(super) fn chunk_len(&self, index: usize) -> usize {
        self.lock().here.chunk_len(index)
    }

    /// Returns the number of chunks.
    pub(super) fn chunks(&self) -> usize {
        self.lock().here.chunks()
    }

    /// Checks chunk `index` against `hash`, and takes it.
    pub(super) fn add(&self, index: usize, hash: &Digest, chunk: &[u8]) -> Result<(), BodyError> {
        if chunk_hash(chunk) != *hash {
            return Err(BodyError::Chunk(index));
        }
        let mut guard = self.lock();
        let state = &mut *guard;
        let here = state.here.next(self.node, index)?;
        state.bytes.extend_from_slice(chunk);
        *here += 1;
        Ok(())
    }

    /// Returns the model, if it is all here and the right one.
    pub(super) fn model(&self) -> Option<Vec<f32>> {
        let bytes = std::mem::take(&mut self.lock().bytes);
        let model = from_le_bytes(&bytes);
        (model_hash(&model) == self.model).then_some(model)
    }

    fn lock(&self) -> MutexGuard<'_, ReceivedModel> {
        // Nothing panics between two consistent states.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fl_protocol::digest::CHUNK_BYTES;
    use fl_protocol::parameters;

    #[test]
    fn only_the_very_model_is_taken() {
        let node = crate::pki::generate_identity().unwrap().node_id();
        let model: Vec<f32> = (0..CHUNK_BYTES / 4 + 3).map(|k| k as f32).collect();
        let mut other = model.clone();
        other[CHUNK_BYTES / 4] += 1.0;
        let transferred = |sent: &[f32], chunks: usize| {
            let transfer = ModelTransfer::new(node, model_hash(&model), model.len());
            let body = parameters::le_bytes(sent);
            let hashes = ChunkHashes::of(&body);
            transfer.begin(0, &hashes).unwrap();
            assert_eq!((transfer.chunks(), transfer.chunk_len(1)), (2, 12));
            for (index, chunk) in body.chunks(CHUNK_BYTES).enumerate().take(chunks) {
                let hash = &hashes.as_slice()[index];
                let wrong = transfer.add(index, hash, &chunk[1..]);
                assert_eq!(wrong, Err(BodyError::Chunk(index)));
                transfer.add(index, hash, chunk).unwrap();
                let again = transfer.add(index, hash, chunk);
                assert_eq!(again, Err(BodyError::Unasked), "never twice");
            }
            transfer.model()
        };
        assert_eq!(transferred(&model, 2), Some(model.clone()));
        assert_eq!(transferred(&other, 2), None);
        assert_eq!(transferred(&model, 1), None);
    }

    #[test]
    fn a_list_for_another_length_is_refused() {
        let node = crate::pki::generate_identity().unwrap().node_id();
        let transfer = ModelTransfer::new(node, Digest([0; 32]), 10);
        let hashes = ChunkHashes::of(&vec![0; CHUNK_BYTES + 1]);
        assert_eq!(transfer.begin(0, &hashes), Err(BodyError::Root));
    }
}
