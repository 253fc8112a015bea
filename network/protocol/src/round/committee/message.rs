//! The signed messages of the committee scheme.

use serde::{Deserialize, Serialize};

use super::classes::ClassSet;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::message::{Signed, message, tagged};
use crate::round::refusal::Fault;

/// A contributor's word for what it has uploaded. Small, for the result lists that of every
/// contributor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contribution {
    /// Context of the attempt.
    pub ctx: Digest,
    /// Who contributes.
    pub node: NodeId,
    /// [`ChunkHashes::root`](crate::digest::ChunkHashes::root) of the masked update.
    pub root: Digest,
    /// What is left of the input's tag without the masks of the seeds: both values of a
    /// [`Tag`](fl_shaders::Tag).
    pub tag: [u64; 2],
    /// [`Envelope::digest`](super::envelope::Envelope::digest).
    pub envelope: Digest,
}

/// A holder's word on a contribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Context of the attempt.
    pub ctx: Digest,
    /// Who has looked at it.
    pub holder: NodeId,
    /// Which contribution.
    pub entry: ContributionId,
    /// What is wrong with it, if anything is.
    pub fault: Option<Fault>,
}

/// A contribution in a list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContributionId {
    /// Who contributes.
    pub node: NodeId,
    /// SHA-256 of the encoded [`Contribution`], without its signature.
    pub contribution: Digest,
}

impl ContributionId {
    /// Returns what lists call a contribution that `node` has signed.
    pub(super) fn of(node: NodeId, contribution: &Signed<Contribution>) -> Self {
        let contribution = Digest::sha256(&[contribution.bytes()]);
        Self { node, contribution }
    }
}

/// A holder's vote: it will take part in the sum of these contributors, and of no others in this
/// attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Context of the attempt.
    pub ctx: Digest,
    /// Who votes.
    pub holder: NodeId,
    /// [`Contributors::digest`](super::contributors::Contributors::digest).
    pub contributors: Digest,
}

/// A holder has summed up the masks of some classes, over the contributors that were voted for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reveal {
    /// Context of the attempt.
    pub ctx: Digest,
    /// Who reveals.
    pub holder: NodeId,
    /// [`Contributors::digest`](super::contributors::Contributors::digest).
    pub contributors: Digest,
    /// Of which classes.
    pub classes: ClassSet,
    /// [`ChunkHashes::root`](crate::digest::ChunkHashes::root) of the sum's bytes.
    pub root: Digest,
    /// Sum of the tags' masks of these classes: both values of a [`Tag`](fl_shaders::Tag).
    pub tag: [u64; 2],
}

message!(Contribution, Contribution, node);
message!(Receipt, Receipt, holder);
message!(Vote, Vote, holder);
message!(Reveal, Reveal, holder);
tagged!(Contribution);
tagged!(Reveal);
