//! 32-byte digests, and the two hashes in use: SHA-256 for transcripts, BLAKE3 for bulk.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::parameters::le_bytes;

/// A 32-byte digest. Prints its first 8 hexadecimal digits; [`Digest::to_hex`] gives all 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns all 64 hexadecimal digits.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// SHA-256 of the concatenated `parts`. The caller sees to it that no two inputs concatenate
    /// alike.
    pub fn sha256(parts: &[&[u8]]) -> Self {
        let mut hash = sha2::Sha256::new();
        for part in parts {
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.0[..4] {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not the 64 hexadecimal digits of a digest.
#[derive(Debug, thiserror::Error)]
#[error("not 64 hexadecimal digits")]
pub struct DigestError;

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| DigestError)?;
        Ok(Self(bytes))
    }
}

/// Hash of a model: BLAKE3 of its parameters as little-endian `f32`, in the order of the layout.
pub fn model_hash(parameters: &[f32]) -> Digest {
    let mut hash = ModelHasher::default();
    hash.add(parameters);
    hash.finish()
}

/// A [`model_hash`] in the making.
#[derive(Clone, Debug, Default)]
pub struct ModelHasher(blake3::Hasher);

impl ModelHasher {
    /// Takes the next parameters.
    pub fn add(&mut self, parameters: &[f32]) {
        self.0.update(&le_bytes(parameters));
    }

    /// Returns the hash of all that was taken.
    pub fn finish(&self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// BLAKE3 of each chunk of a bulk body, and the root over them that is signed.
///
/// A chunk is [`CHUNK_BYTES`] long, the last one shorter. With the list at hand each chunk can be
/// checked as it arrives, in any order, and an interrupted upload goes on at a chunk's edge. The
/// list costs 32 bytes a chunk, 0.012 % of the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChunkHashes(Vec<Digest>);

/// Length of a chunk in bytes: 65,536 words of the keystream.
pub const CHUNK_BYTES: usize = 4 * fl_shaders::CHUNK_WORDS;

impl ChunkHashes {
    /// Hashes `body`.
    pub fn of(body: &[u8]) -> Self {
        Self(body.chunks(CHUNK_BYTES).map(chunk_hash).collect())
    }

    /// The list as received, to be checked with [`ChunkHashes::root`].
    pub fn from_list(list: Vec<Digest>) -> Self {
        Self(list)
    }

    /// Returns how many chunks a body of `bytes` has.
    pub fn count_for(bytes: usize) -> usize {
        bytes.div_ceil(CHUNK_BYTES)
    }

    /// Returns the digests, in order.
    pub fn as_slice(&self) -> &[Digest] {
        &self.0
    }

    /// BLAKE3 over `"smpcfl/2 chunk root"`, the number of chunks and their digests.
    pub fn root(&self) -> Digest {
        let mut hash = blake3::Hasher::new();
        hash.update(b"smpcfl/2 chunk root");
        hash.update(&(self.0.len() as u64).to_le_bytes());
        for digest in &self.0 {
            hash.update(digest.as_bytes());
        }
        Digest(hash.finalize().into())
    }
}

/// BLAKE3 of one chunk.
pub fn chunk_hash(chunk: &[u8]) -> Digest {
    Digest(blake3::hash(chunk).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_hash_is_over_the_bits() {
        let parameters: Vec<f32> = (0..5000u16).map(f32::from).collect();
        let bytes: Vec<u8> = parameters.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(model_hash(&parameters), Digest(blake3::hash(&bytes).into()));
        assert_ne!(model_hash(&[0.0]), model_hash(&[-0.0]));
    }

    #[test]
    fn the_chunk_root_binds_order_and_number() {
        let body = vec![7; CHUNK_BYTES + 1];
        let hashes = ChunkHashes::of(&body);
        assert_eq!(hashes.as_slice().len(), ChunkHashes::count_for(body.len()));
        let mut reversed = hashes.as_slice().to_vec();
        reversed.reverse();
        assert_ne!(ChunkHashes::from_list(reversed).root(), hashes.root());
        let shorter = hashes.as_slice()[..1].to_vec();
        assert_ne!(ChunkHashes::from_list(shorter).root(), hashes.root());
        assert_eq!(ChunkHashes::of(&[]).as_slice().len(), 0);
    }

    #[test]
    fn hex_round_trip() {
        let digest = Digest::sha256(&[b"a", b"b"]);
        assert_eq!(digest.to_hex().parse::<Digest>().unwrap(), digest);
        assert!("xyz".parse::<Digest>().is_err());
    }
}
