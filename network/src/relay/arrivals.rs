//! Which chunks of which bodies are here.
//!
//! A chunk is either here or not, so that a node that is cut off goes on where it stopped.

use std::collections::BTreeMap;

use fl_protocol::digest::{CHUNK_BYTES, ChunkHashes, Digest};

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

/// Bodies of one length that are expected, and how far each has come.
#[derive(Debug)]
pub(super) struct Arrivals<K> {
    bytes: usize,
    bodies: BTreeMap<K, Body>,
}

#[derive(Debug)]
struct Body {
    root: Digest,
    chunks: usize,
}

impl<K: Copy + Ord> Arrivals<K> {
    /// None yet, of `bytes` bytes each.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            bytes,
            bodies: BTreeMap::new(),
        }
    }

    /// Expects a body with this root. Returns the first chunk that is missing.
    pub(super) fn expect(&mut self, key: K, root: Digest) -> usize {
        let body = self.bodies.entry(key).or_insert(Body { root, chunks: 0 });
        body.chunks
    }

    /// Checks the list of chunk hashes of a body that is to go on at chunk `first`.
    pub(super) fn begin(
        &self,
        key: K,
        first: usize,
        hashes: &ChunkHashes,
    ) -> Result<(), BodyError> {
        let body = self.bodies.get(&key).filter(|body| body.chunks == first);
        let body = body.ok_or(BodyError::Unasked)?;
        if hashes.root() != body.root || hashes.as_slice().len() != self.chunks() {
            return Err(BodyError::Root);
        }
        Ok(())
    }

    /// Returns how many chunks of this body are here, to be changed, if `index` is the next.
    pub(super) fn next(&mut self, key: K, index: usize) -> Result<&mut usize, BodyError> {
        let body = self.bodies.get_mut(&key);
        let chunks = body.map(|body| &mut body.chunks);
        chunks
            .filter(|chunks| **chunks == index)
            .ok_or(BodyError::Unasked)
    }

    /// Returns the number of chunks of a body.
    pub(super) fn chunks(&self) -> usize {
        ChunkHashes::count_for(self.bytes)
    }

    /// Length of chunk `index` in bytes.
    pub(super) fn chunk_len(&self, index: usize) -> usize {
        self.bytes
            .saturating_sub(index * CHUNK_BYTES)
            .min(CHUNK_BYTES)
    }

    /// Returns the number of chunks, from the first on, that are here of `count` bodies, which are
    /// all.
    pub(super) fn complete(&self, count: usize) -> usize {
        if self.bodies.len() < count {
            return 0;
        }
        let chunks = self.bodies.values().map(|body| body.chunks);
        chunks.min().unwrap_or(0)
    }

    /// Returns whose bodies are expected.
    pub(super) fn keys(&self) -> impl Iterator<Item = K> {
        self.bodies.keys().copied()
    }
}
