//! The running sum of one attempt: bodies are checked and added chunk by chunk as they arrive.
//!
//! However many nodes upload at the same time, there is one model-sized buffer. A node that is cut off goes on
//! where it stopped, since a chunk is either added or not.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fl_shaders::Ring;

use crate::digest::{CHUNK_BYTES, ChunkHashes, Digest, chunk_hash};
use crate::identity::NodeId;
use crate::words;

/// A body that is not what was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Nobody asked for it, or another stream is ahead.
    #[error("the body was not asked for")]
    Unasked,
    /// The chunk hashes do not lead to the signed root.
    #[error("the chunk hashes do not lead to the signed root")]
    Root,
    /// A chunk differs from its hash.
    #[error("chunk {0} differs from its hash")]
    Chunk(usize),
    /// The relay cannot keep it.
    #[error("the relay's disk cannot be written")]
    Disk,
}

/// The sum so far, and how far each node's body has been added.
#[derive(Debug)]
pub(super) struct Accumulator {
    ctx: Digest,
    ring: Ring,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    sum: Vec<u8>,
    bodies: BTreeMap<NodeId, Body>,
}

#[derive(Debug)]
struct Body {
    root: Digest,
    added: usize,
}

impl Accumulator {
    /// An empty sum of `bytes` bytes.
    pub(super) fn new(ctx: Digest, ring: Ring, bytes: usize) -> Self {
        let state = State {
            sum: vec![0; bytes],
            bodies: BTreeMap::new(),
        };
        Self {
            ctx,
            ring,
            state: Mutex::new(state),
        }
    }

    pub(super) fn ctx(&self) -> Digest {
        self.ctx
    }

    /// Expects a body with this root of `node`. Gives the first chunk that is missing.
    pub(super) fn expect(&self, node: NodeId, root: Digest) -> usize {
        let mut state = self.lock();
        let body = state.bodies.entry(node).or_insert(Body { root, added: 0 });
        body.added
    }

    /// Checks the list of chunk hashes of a body that is to go on at chunk `first`.
    pub(super) fn begin(
        &self,
        node: NodeId,
        first: usize,
        hashes: &ChunkHashes,
    ) -> Result<(), BodyError> {
        let state = self.lock();
        let body = state.bodies.get(&node).filter(|body| body.added == first);
        let body = body.ok_or(BodyError::Unasked)?;
        if hashes.root() != body.root || hashes.as_slice().len() != state.chunks() {
            return Err(BodyError::Root);
        }
        Ok(())
    }

    /// Length of chunk `index` in bytes.
    pub(super) fn chunk_len(&self, index: usize) -> usize {
        let bytes = self.lock().sum.len();
        bytes.saturating_sub(index * CHUNK_BYTES).min(CHUNK_BYTES)
    }

    /// Checks chunk `index` of `node`'s body against `hash`, and adds it.
    pub(super) fn add(
        &self,
        node: NodeId,
        index: usize,
        hash: &Digest,
        chunk: &[u8],
    ) -> Result<(), BodyError> {
        if chunk_hash(chunk) != *hash {
            return Err(BodyError::Chunk(index));
        }
        let mut state = self.lock();
        let state = &mut *state;
        let body = state
            .bodies
            .get_mut(&node)
            .filter(|body| body.added == index);
        let body = body.ok_or(BodyError::Unasked)?;
        let start = index * CHUNK_BYTES;
        let target = state
            .sum
            .get_mut(start..start + chunk.len())
            .ok_or(BodyError::Unasked)?;
        words::add(self.ring, target, chunk);
        body.added += 1;
        Ok(())
    }

    /// Takes the sum out.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.lock().sum)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two consistent states.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn chunks(&self) -> usize {
        ChunkHashes::count_for(self.sum.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    fn node() -> NodeId {
        Identity::generate().unwrap().node_id()
    }

    #[test]
    fn bodies_add_up_chunk_by_chunk_and_go_on_where_they_stopped() {
        let ctx = Digest([0; 32]);
        let bytes = CHUNK_BYTES + 8;
        let sum = Accumulator::new(ctx, Ring::U32, bytes);
        for value in [1u8, 2] {
            let body = vec![value; bytes];
            let hashes = ChunkHashes::of(&body);
            let node = node();
            assert_eq!(sum.expect(node, hashes.root()), 0);
            sum.begin(node, 0, &hashes).unwrap();
            sum.add(node, 0, &hashes.as_slice()[0], &body[..CHUNK_BYTES])
                .unwrap();
            assert_eq!(sum.expect(node, hashes.root()), 1, "an interruption");
            assert_eq!(sum.begin(node, 0, &hashes), Err(BodyError::Unasked));
            sum.begin(node, 1, &hashes).unwrap();
            assert_eq!(sum.chunk_len(1), 8);
            sum.add(node, 1, &hashes.as_slice()[1], &body[CHUNK_BYTES..])
                .unwrap();
        }
        assert!(sum.take().iter().all(|byte| *byte == 3));
    }

    #[test]
    fn other_bytes_than_signed_are_never_added() {
        let sum = Accumulator::new(Digest([0; 32]), Ring::U32, 8);
        let (body, other) = ([1; 8], [2; 8]);
        let (hashes, others) = (ChunkHashes::of(&body), ChunkHashes::of(&other));
        let node = node();
        sum.expect(node, hashes.root());
        assert_eq!(sum.begin(node, 0, &others), Err(BodyError::Root));
        assert_eq!(
            sum.add(node, 0, &hashes.as_slice()[0], &other),
            Err(BodyError::Chunk(0))
        );
        assert_eq!(
            sum.add(node, 1, &hashes.as_slice()[0], &body),
            Err(BodyError::Unasked)
        );
        let stranger = self::node();
        assert_eq!(
            sum.add(stranger, 0, &hashes.as_slice()[0], &body),
            Err(BodyError::Unasked)
        );
        sum.add(node, 0, &hashes.as_slice()[0], &body).unwrap();
        let again = sum.add(node, 0, &hashes.as_slice()[0], &body);
        assert_eq!(again, Err(BodyError::Unasked), "never twice");
        assert_eq!(sum.take(), body);
    }
}
