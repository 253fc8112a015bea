//! The check that an opened sum is what its participants agreed on: it takes the epoch key, which
//! only nodes have.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fl_protocol::digest::Digest;
use fl_protocol::identity::NodeId;
use fl_protocol::round::{Check, Verifier};
use fl_shaders::{Ring, Tag};
use fl_sharing::{EpochKey, TagKey, Verification};

/// Checks tags under a consortium's epoch key.
///
/// What the tags of an attempt are made with takes a while to derive, and a participant needs it
/// twice: to mask its input, and to check the sum. In between it is kept.
#[derive(Clone)]
pub struct TagVerifier {
    epoch_key: Arc<EpochKey>,
    kept: Arc<Mutex<Option<Kept>>>,
}

/// The key of an attempt, and for how many elements it was made.
struct Kept {
    ctx: Digest,
    elements: usize,
    key: TagKey,
}

impl TagVerifier {
    /// Checks under `key`.
    pub fn new(key: Arc<EpochKey>) -> Self {
        Self {
            epoch_key: key,
            kept: Arc::default(),
        }
    }

    /// The key of the tags of `elements` elements in the context `ctx`.
    pub(super) fn key(&self, ctx: Digest, elements: usize) -> TagKey {
        let kept = self.kept().take();
        let kept = kept.filter(|kept| kept.ctx == ctx && kept.elements == elements);
        match kept {
            Some(kept) => kept.key,
            None => self.epoch_key.tag_key(ctx.as_bytes(), elements),
        }
    }

    /// Keeps a key that will be needed again, in the place of any other.
    pub(super) fn keep(&self, ctx: Digest, elements: usize, key: TagKey) {
        *self.kept() = Some(Kept { ctx, elements, key });
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verifier for TagVerifier {
    type Check = TagCheck;

    fn begin(&self, ctx: Digest, ring: Ring, elements: usize) -> TagCheck {
        TagCheck(self.key(ctx, elements).verify(ring))
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

#[cfg(test)]
mod tests {
    use super::*;

    const ELEMENTS: usize = 100;

    #[test]
    fn a_kept_key_serves_its_own_attempt_only() {
        let epoch_key = Arc::new(EpochKey::from_bytes([7; 32]));
        let (ctx, other) = (Digest([1; 32]), Digest([2; 32]));
        let node = [3; 32];
        let derived = |ctx: Digest, elements| {
            let key = epoch_key.tag_key(ctx.as_bytes(), elements);
            key.blind(&node)
        };
        let tags = TagVerifier::new(epoch_key.clone());
        for (kept, asked, elements) in [(ctx, ctx, ELEMENTS), (ctx, other, ELEMENTS), (ctx, ctx, 3)]
        {
            tags.keep(kept, ELEMENTS, tags.key(kept, ELEMENTS));
            let key = tags.key(asked, elements);
            assert_eq!(key.blind(&node), derived(asked, elements));
            assert_eq!(key.coefficients().beta.len(), elements);
            // It is given away, whoever asks.
            assert!(tags.kept().is_none());
        }
    }
}
