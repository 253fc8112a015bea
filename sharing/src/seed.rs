//! Secrets of 32 bytes: the seeds of shares, the keys that they expand to, and the key of
//! stochastic rounding.
//!
//! None of them prints, is cloned, or outlives its owner in memory.

use std::fmt;

use fl_shaders::{Tag, cpu};
use hkdf::Hkdf;
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// HKDF label of the key that makes the words of a vector share (the protocol, section 4).
const VECTOR_LABEL: &[u8] = b"smpcfl/2 prg vec";
/// HKDF label of the key that masks a tag (the protocol, section 4).
const TAG_LABEL: &[u8] = b"smpcfl/2 prg tag";
/// What a commitment begins with (the protocol, section 7).
const COMMIT_LABEL: &[u8] = b"smpcfl/2 seed commit";

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system's random generator failed")]
pub struct RandomnessError(#[from] rand::rngs::SysError);

/// A share that is not a vector: 32 bytes, known to the node that drew it and the node it is sealed
/// to.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

/// The ChaCha20 key of one vector share, bound to one attempt of one round.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct MaskKey([u8; 32]);

/// The private ChaCha20 key that rounds one update. Never shared, never derived from anything that
/// is.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct RoundingKey([u8; 32]);

impl Seed {
    /// Draws a fresh seed from the operating system.
    ///
    /// # Errors
    ///
    /// If the system's generator fails.
    pub fn generate() -> Result<Self, RandomnessError> {
        random_bytes().map(Self)
    }

    /// The seed with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key of this seed's vector share under `ctx`: HKDF-SHA256 (RFC 5869) with `ctx` as salt,
    /// the seed as input key and the label "smpcfl/2 prg vec" (the protocol, section 4).
    pub fn expand(&self, ctx: &[u8; 32]) -> MaskKey {
        self.key(ctx, VECTOR_LABEL)
    }

    /// Returns what masks a tag where this seed masks the vector: the first keystream bytes of the
    /// key with the label "smpcfl/2 prg tag" (the protocol, section 4).
    pub fn tag_mask(&self, ctx: &[u8; 32]) -> Tag {
        let key = self.key(ctx, TAG_LABEL);
        let mut stream = Zeroizing::new([0; Tag::KEYSTREAM_BYTES]);
        let words = cpu::chacha20::words(key.expose(), 0);
        for (bytes, word) in stream.chunks_exact_mut(size_of::<u32>()).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Tag::from_keystream(*stream)
    }

    /// Returns what the node that drew this seed commits to it as, for the class of holders without
    /// `excluded`: SHA-256 of "smpcfl/2 seed commit", `ctx`, `excluded` and the seed (the protocol,
    /// section 7).
    pub fn commitment(&self, ctx: &[u8; 32], excluded: [u8; 2]) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [COMMIT_LABEL, ctx, &excluded, &self.0] {
            hash.update(part);
        }
        hash.finalize().into()
    }

    fn key(&self, ctx: &[u8; 32], label: &[u8]) -> MaskKey {
        let mut key = MaskKey([0; 32]);
        #[expect(
            clippy::expect_used,
            reason = "HKDF-SHA256 expands to anything up to 8,160 bytes"
        )]
        Hkdf::<Sha256>::new(Some(ctx), &self.0)
            .expand(label, &mut key.0)
            .expect("32 bytes");
        key
    }

    /// Returns the secret bytes.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl MaskKey {
    /// Returns the secret bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl RoundingKey {
    /// Draws a fresh key from the operating system.
    ///
    /// # Errors
    ///
    /// If the system's generator fails.
    pub fn generate() -> Result<Self, RandomnessError> {
        random_bytes().map(Self)
    }

    /// The key with these bytes, for runs that must be reproducible. A key that rounds two updates
    /// reveals part of their difference.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the secret bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Returns 32 bytes from the operating system.
///
/// # Errors
///
/// If the system's generator fails.
pub fn random_bytes() -> Result<[u8; 32], RandomnessError> {
    let mut bytes = [0; 32];
    SysRng.try_fill_bytes(&mut bytes)?;
    Ok(bytes)
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskKey(..)")
    }
}

impl fmt::Debug for RoundingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoundingKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let seed = Seed::from_bytes([0xab; 32]);
        assert_eq!(format!("{seed:?}"), "Seed(..)");
        assert_eq!(format!("{:?}", seed.expand(&[0; 32])), "MaskKey(..)");
        assert_eq!(
            format!("{:?}", RoundingKey::from_bytes([0xab; 32])),
            "RoundingKey(..)"
        );
    }

    #[test]
    fn seeds_are_fresh() {
        let (a, b) = (Seed::generate().unwrap(), Seed::generate().unwrap());
        assert_ne!(a.expose(), b.expose());
        assert_ne!(a.expose(), &[0; 32]);
    }

    #[test]
    fn a_commitment_is_to_seed_class_and_ctx() {
        let commit = |seed, ctx, excluded| {
            Seed::from_bytes([seed; 32]).commitment(&[ctx; 32], [excluded, 0])
        };
        let reference = commit(1, 2, 3);
        let parts = [&b"smpcfl/2 seed commit"[..], &[2; 32], &[3, 0], &[1; 32]].concat();
        assert_eq!(reference, <[u8; 32]>::from(Sha256::digest(parts)));
        for other in [commit(2, 2, 3), commit(1, 3, 3), commit(1, 2, 4)] {
            assert_ne!(other, reference);
        }
    }

    #[test]
    fn keys_depend_on_every_byte_of_seed_and_ctx() {
        let key = |seed, ctx| *Seed::from_bytes(seed).expand(&ctx).expose();
        let reference = key([1; 32], [2; 32]);
        for i in 0..32 {
            let (mut seed, mut ctx) = ([1; 32], [2; 32]);
            seed[i] ^= 0x80;
            ctx[i] ^= 1;
            assert_ne!(key(seed, [2; 32]), reference, "seed byte {i}");
            assert_ne!(key([1; 32], ctx), reference, "ctx byte {i}");
        }
    }
}
