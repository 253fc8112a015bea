//! What a node's driver computes with secrets and data, which its machine leaves to it.

use fl_shaders::Tag;

use crate::digest::{ChunkHashes, Digest};
use crate::identity::NodeId;
use crate::round::committee::{CheckedSeeds, Envelope, Recipients, RevealOrder};
use crate::round::peer::{BoxOpener, CompleteShares, TagShare};
use crate::round::{Fault, Refusal, Verifier};

/// A masked vector, or a sum of masks, and the tag that is signed with it.
#[derive(Clone, Debug)]
pub struct Masked {
    /// Little-endian ring words.
    pub body: Vec<u8>,
    /// The share of the tags' sum.
    pub tag: Tag,
}

impl Masked {
    /// Returns the root that is signed.
    pub fn root(&self) -> Digest {
        ChunkHashes::of(&self.body).root()
    }

    /// Returns the share as it is committed to, with a nonce that follows from the body, so that a
    /// simulation runs the same every time.
    pub fn tag_share(&self) -> TagShare {
        let nonce = Digest::sha256(&[b"nonce", self.root().as_bytes()]);
        TagShare::new(self.tag, nonce.0)
    }
}

/// The part of a node that depends on its keys and on its data.
///
/// The functions for holders are called in the committee scheme alone, [`Secrets::seal`] and
/// [`Secrets::mask`] in the peer scheme alone.
pub trait Secrets {
    /// Tells a sum that fits its tags from any other.
    type Verifier: Verifier;

    /// Returns what results are checked with.
    fn verifier(&self) -> &Self::Verifier;

    /// Returns whether the update from the model with this hash is at hand.
    fn is_trained(&self, model: Digest) -> bool;

    /// Trains from the model with this hash, unless the update is at hand.
    fn train(&mut self, model: Digest);

    /// Returns what opens the boxes that such nodes seal, with a round key that was published.
    fn opener() -> BoxOpener;

    /// Draws a round key in place of the former one, and returns its public half.
    fn draw_round_key(&mut self) -> Vec<u8>;

    /// Returns the secret half of the last round key, to prove that a share does not open with it.
    fn publish_round_key(&self) -> [u8; 32];

    /// Draws a seed for each receiver, and seals it.
    fn seal(&mut self, ctx: Digest, receivers: &[(NodeId, Vec<u8>)]) -> Vec<(NodeId, Vec<u8>)>;

    /// Opens the shares, and masks the update.
    ///
    /// # Errors
    ///
    /// A share that does not open.
    fn mask(&mut self, shares: &CompleteShares) -> Result<Masked, Refusal>;

    /// Masks the update with a seed for each class, and seals these to the holders.
    fn contribute(&mut self, _: &Recipients) -> (Masked, Envelope) {
        panic!("these secrets are of the peer scheme")
    }

    /// Opens a contributor's box, and keeps its seeds.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    fn open(&mut self, _: &CheckedSeeds) -> Result<(), Fault> {
        panic!("these secrets are of the peer scheme")
    }

    /// Sums up masks.
    fn reveal(&mut self, _: &RevealOrder) -> Masked {
        panic!("these secrets are of the peer scheme")
    }

    /// Returns the input that was masked in this context, if one was: what simulations check sums
    /// against.
    fn input(&self, ctx: Digest) -> Option<&[u8]>;

    /// Forgets what belongs to a connection.
    fn disconnected(&mut self);

    /// Forgets what belongs to a process, the update included.
    fn restarted(&mut self);
}
