//! The keys of tags, and the check of an opened sum (the protocol, section 8).
//!
//! Every node of a consortium holds the epoch key, and the relay never does. The tag of node i's
//! input x is `Σ_e r_e · x_e + s_i`, where r and s_i are drawn from the epoch key anew in every
//! context. Tags are shared additively, like the inputs, so that only their sum opens: it fits the
//! sum of the inputs and, but for a chance of 2^−120, no other.

use std::fmt;

use fl_shaders::{Beta, Coefficients, Instructions, Ring, TAG_BLOCK, Tag};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::cpu;
use crate::seed::{RandomnessError, random_bytes};

const ALPHA_LABEL: &[u8] = b"smpcfl/2 tag alpha";
const BETA_LABEL: &[u8] = b"smpcfl/2 tag beta";
const BLIND_LABEL: &[u8] = b"smpcfl/2 tag blind";

/// The secret that the nodes of a manifest share, and the relay does not have.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct EpochKey([u8; 32]);

/// What the tags of one context are made with. Erased on drop.
#[derive(ZeroizeOnDrop)]
pub struct TagKey {
    alpha: Vec<Tag>,
    beta: Beta,
    /// What HKDF extracts of the epoch key in this context.
    extracted: [u8; 32],
}

impl EpochKey {
    /// Draws a fresh key from the operating system.
    ///
    /// # Errors
    ///
    /// If the system's generator fails.
    pub fn generate() -> Result<Self, RandomnessError> {
        random_bytes().map(Self)
    }

    /// The key with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the secret bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of the tags under `ctx`, for vectors of `elements` words, header included.
    pub fn tag_key(&self, ctx: &[u8; 32], elements: usize) -> TagKey {
        let (extracted, _) = Hkdf::<Sha256>::extract(Some(ctx), &self.0);
        let extracted = extracted.into();
        let stream = |label: &[u8], count: usize| {
            let key = expand(&extracted, &[label]);
            cpu::keystream_bytes(&key, count * Tag::KEYSTREAM_BYTES)
        };
        let alpha = stream(ALPHA_LABEL, elements.div_ceil(TAG_BLOCK));
        let beta = stream(BETA_LABEL, elements.min(TAG_BLOCK));
        TagKey {
            alpha: tags(&alpha).collect(),
            beta: Beta::new(tags(&beta)),
            extracted,
        }
    }
}

impl TagKey {
    /// Returns the coefficients r, for an [`Engine`](crate::Engine).
    pub fn coefficients(&self) -> Coefficients<'_> {
        Coefficients {
            alpha: &self.alpha,
            beta: &self.beta,
        }
    }

    /// s_i, which makes the tag of node `node` one-time.
    pub fn blind(&self, node: &[u8; 32]) -> Tag {
        Tag::from_keystream(*expand(&self.extracted, &[BLIND_LABEL, node]))
    }

    /// Begins to check a sum, little-endian words of `ring`, that arrives in parts.
    ///
    /// The caller has checked that every word is in the range of an honest sum: tags are of
    /// integers, not of ring words.
    pub fn verify(self, ring: Ring) -> Verification {
        Verification {
            key: self,
            ring,
            elements: 0,
            linear: Tag::default(),
        }
    }
}

/// The check of a sum that arrives in parts; see [`TagKey::verify`].
#[derive(Debug)]
pub struct Verification {
    key: TagKey,
    ring: Ring,
    /// Elements taken.
    elements: usize,
    linear: Tag,
}

impl Verification {
    /// Takes the next words of the sum: an even number of them, unless they are the last.
    pub fn add(&mut self, mut part: &[u8]) {
        let (with, word_bytes) = (Instructions::best(), self.ring.word_bytes());
        while !part.is_empty() {
            let left = (TAG_BLOCK - self.elements % TAG_BLOCK) * word_bytes;
            let (in_block, rest) = part.split_at(left.min(part.len()));
            let coefficients = self.key.coefficients();
            self.linear += match self.ring {
                Ring::U32 => cpu::tag_in_block::<u32>(with, in_block, self.elements, coefficients),
                Ring::U64 => cpu::tag_in_block::<u64>(with, in_block, self.elements, coefficients),
            };
            self.elements += in_block.len() / word_bytes;
            part = rest;
        }
    }

    /// Returns whether what was taken is the sum of the vectors of `nodes`, whose tags add up to
    /// `tag`.
    pub fn holds<'a>(self, nodes: impl Iterator<Item = &'a [u8; 32]>, tag: Tag) -> bool {
        self.linear + nodes.map(|node| self.key.blind(node)).sum() == tag
    }
}

/// The tags of a keystream.
fn tags(stream: &[u8]) -> impl ExactSizeIterator<Item = Tag> {
    let (tags, _) = stream.as_chunks();
    tags.iter().copied().map(Tag::from_keystream)
}

/// HKDF-Expand (RFC 5869) with the parts of a label one after the other.
fn expand(extracted: &[u8; 32], label: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    #[expect(
        clippy::expect_used,
        reason = "32 bytes are a key of SHA-256, and no more than it expands to"
    )]
    Hkdf::<Sha256>::from_prk(extracted)
        .and_then(|hkdf| {
            hkdf.expand_multi_info(label, &mut *bytes)
                .map_err(|_| hkdf::InvalidPrkLength)
        })
        .expect("32 bytes");
    bytes
}

impl fmt::Debug for EpochKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochKey(..)")
    }
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [[u8; 32]; 3] = [[1; 32], [2; 32], [3; 32]];
    const ELEMENTS: usize = 70_001;

    fn vector(salt: i64) -> Vec<i64> {
        (0..ELEMENTS as i64)
            .map(|e| (e * 7_919 + salt) % 20_001 - 10_000)
            .collect()
    }

    fn bytes(vector: &[i64], ring: Ring) -> Vec<u8> {
        let words = vector.iter().map(|x| x.to_le_bytes());
        words
            .flat_map(|le| le[..ring.word_bytes()].to_vec())
            .collect()
    }

    fn linear(key: &TagKey, vector: &[i64]) -> Tag {
        let words: Vec<u64> = vector.iter().map(|x| x.cast_unsigned()).collect();
        fl_shaders::cpu::tag(&words, 0, key.coefficients())
    }

    fn key(ctx: u8) -> TagKey {
        EpochKey::from_bytes([9; 32]).tag_key(&[ctx; 32], ELEMENTS)
    }

    /// The verification of `sum` that took it in parts of so many elements.
    fn taken(key: TagKey, ring: Ring, sum: &[i64], part: usize) -> Verification {
        let mut verification = key.verify(ring);
        for part in bytes(sum, ring).chunks(part * ring.word_bytes()) {
            verification.add(part);
        }
        verification
    }

    #[test]
    fn the_sum_verifies_and_nothing_else_does() {
        let inputs = [vector(0), vector(5), vector(11)];
        let tags = inputs
            .iter()
            .zip(&NODES)
            .map(|(x, node)| linear(&key(4), x) + key(4).blind(node));
        let tag: Tag = tags.sum();
        let sum: Vec<i64> = (0..ELEMENTS)
            .map(|e| inputs.iter().map(|x| x[e]).sum())
            .collect();
        for ring in [Ring::U32, Ring::U64] {
            let whole = |sum: &[i64]| taken(key(4), ring, sum, ELEMENTS);
            let verifies = |sum: &[i64], tag| whole(sum).holds(NODES.iter(), tag);
            assert!(verifies(&sum, tag));
            for part in [2, 6, 65_534, ELEMENTS - 1] {
                let in_parts = |tag| taken(key(4), ring, &sum, part).holds(NODES.iter(), tag);
                assert!(in_parts(tag), "in parts of {part}");
                assert!(!in_parts(tag + tag), "the control");
            }

            let mut other = sum.clone();
            other[66_000] += 1;
            assert!(!verifies(&other, tag), "X + 1");
            let doubled: Vec<_> = sum.iter().map(|x| 2 * x).collect();
            assert!(!verifies(&doubled, tag + tag), "2X with doubled tags");
            assert!(
                !verifies(&vec![0; ELEMENTS], Tag::default()),
                "zero with zero tags"
            );
            assert!(!verifies(&sum, tag + Tag::from_integers([1, 0])));
            assert!(!verifies(&sum, tag + Tag::from_integers([0, 1])));
            let others = whole(&sum).holds(NODES[..2].iter(), tag);
            assert!(!others, "other participants");
            let later = taken(key(5), ring, &sum, ELEMENTS);
            assert!(!later.holds(NODES.iter(), tag), "another ctx");
        }
    }

    #[test]
    fn the_tag_is_that_of_the_twin_for_extreme_words() {
        let extremes = [i64::MIN, i64::MAX, -1, 0, 1, 1 << 59, i64::MIN + 1];
        let wide: Vec<i64> = extremes.iter().copied().cycle().take(ELEMENTS).collect();
        assert_eq!(
            taken(key(4), Ring::U64, &wide, ELEMENTS).linear,
            linear(&key(4), &wide)
        );
        let extremes = [i32::MIN, i32::MAX, -1, 0, 1].map(i64::from);
        let narrow: Vec<i64> = extremes.iter().copied().cycle().take(ELEMENTS).collect();
        let tag = taken(key(4), Ring::U32, &narrow, ELEMENTS).linear;
        assert_eq!(tag, linear(&key(4), &narrow));
        // Negative control.
        assert_ne!(tag, linear(&key(4), &wide));
    }

    #[test]
    fn secrets_do_not_print() {
        let key = EpochKey::from_bytes([0xab; 32]);
        assert_eq!(format!("{key:?}"), "EpochKey(..)");
        assert_eq!(format!("{:?}", key.tag_key(&[0; 32], 1)), "TagKey(..)");
    }
}
