//! A participant's share of the tags' sum: signed as a commitment, opened with its body.

use fl_shaders::Tag;
use serde::{Deserialize, Serialize};

use super::message::Sum;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::message::Signed;
use crate::round::refusal::{Kind, Refusal};

/// A share of the tags' sum, with what hides it until it is opened.
///
/// The masks of the other participants hide the share alone only as long as their seeds stay
/// secret. The nonce hides it whatever becomes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagShare {
    /// Both values of a [`Tag`].
    pub tag: [u64; 2],
    /// Random bytes.
    pub nonce: [u8; 32],
}

/// A masked sum's signed root, and the share that it commits to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenedSum {
    /// What was signed before any body was sent.
    pub sum: Signed<Sum>,
    /// What was sent with the body.
    pub tag_share: TagShare,
}

impl TagShare {
    /// Returns a share that a fresh `nonce` hides.
    pub fn new(tag: Tag, nonce: [u8; 32]) -> Self {
        let tag = tag.values();
        Self { tag, nonce }
    }

    /// Returns what `node` signs in its place in the attempt with this context: SHA-256 of
    /// `"smpcfl/2 tag share"`, ctx, node, both values (LE64) and the nonce.
    pub fn commitment(&self, ctx: Digest, node: NodeId) -> Digest {
        let [first, second] = self.tag.map(u64::to_le_bytes);
        Digest::sha256(&[
            b"smpcfl/2 tag share",
            ctx.as_bytes(),
            node.as_bytes(),
            &first,
            &second,
            &self.nonce,
        ])
    }

    /// Returns the share, if it is the one that `sum` commits to.
    ///
    /// # Errors
    ///
    /// [`Refusal::Invalid`] for another one, and for values that are not below the field's modulus.
    pub(in crate::round) fn open(&self, sum: &Sum) -> Result<Tag, Refusal> {
        let committed = self.commitment(sum.ctx, sum.node) == sum.tag_commitment;
        Tag::new(self.tag)
            .filter(|_| committed)
            .ok_or(Refusal::Invalid {
                what: Kind::TagShare,
                signer: sum.node,
            })
    }
}
