//! The frames of the control stream, one enum for each direction, and the headers of bulk bodies.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::committee::message::{Contribution, ContributionId, Receipt, Reveal, Vote};
use crate::round::committee::{ClassSet, Envelope, SealedSeeds};
use crate::round::message::{Keys, ResultAck, Signed};
use crate::round::peer::message::Sum;
use crate::round::peer::{Proof, SealedShare, TagShare};
use crate::round::{Checkpoint, Head, KeyOffer, Kind, Opening, Outcome, Refusal};

/// What a node tells the relay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum NodeFrame {
    /// First frame of a connection: where the node stands.
    Hello(Hello),
    /// The node has trained and offers a round key.
    Keys(KeyOffer),
    /// Sealed shares, one for each participant to which this one gives.
    Shares(Vec<SealedShare>),
    /// The masked sum is computed and kept; this is its root.
    Sum(Signed<Sum>),
    /// The result was checked and averaged.
    Ack(Signed<ResultAck>),
    /// The node takes no further part in this attempt.
    Refused {
        /// Round.
        round: u64,
        /// Attempt.
        attempt: u32,
        /// Why.
        refusal: Refusal,
    },
    /// A contribution, with the seeds of its masks for the relay to hand out.
    Contribution(Signed<Contribution>, Envelope),
    /// A holder's word on a contribution.
    Receipt(Signed<Receipt>),
    /// A holder's vote.
    Vote(Signed<Vote>),
    /// A sum of masks is computed; this is its root.
    Reveal(Signed<Reveal>),
    /// The share of the tags' sum that the node's [`Sum`] commits to; its body follows.
    TagShare {
        /// Context of the attempt.
        ctx: Digest,
        /// The share.
        share: TagShare,
    },
    /// A share does not open, with what proves it. A node says so again whenever it connects.
    Accusation(Proof),
}

impl NodeFrame {
    /// Returns what kind of message it carries.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::Keys(_) => Kind::Keys,
            Self::Shares(_) => Kind::Share,
            Self::Sum(_) => Kind::Sum,
            Self::Ack(_) => Kind::Ack,
            Self::Refused { .. } => Kind::Refused,
            Self::Contribution(..) => Kind::Contribution,
            Self::Receipt(_) => Kind::Receipt,
            Self::Vote(_) => Kind::Vote,
            Self::Reveal(_) => Kind::Reveal,
            Self::TagShare { .. } => Kind::TagShare,
            Self::Accusation(_) => Kind::Accusation,
        }
    }
}

/// Where a node stands when it connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// SHA-256 of the node's manifest.
    pub consortium_id: Digest,
    /// Where the node stands.
    pub head: Head,
    /// The context of a masked sum that the node holds in its outbox.
    pub pending: Option<Digest>,
    /// The context of an attempt of which the node has the round key as a holder.
    pub holding: Option<Digest>,
    /// For whom the node has voted as a holder on this model, in any attempt; nobody if it has not.
    pub voted_for: Vec<NodeId>,
    /// What the node's clock shows, in seconds of Unix time.
    pub unix_s: u64,
}

/// What the relay tells a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RelayFrame {
    /// A round begins. Only a hint: the node compares it with its own chain.
    Open {
        /// What the relay builds on.
        opening: Opening,
        /// When the relay goes on with whoever is ready, in milliseconds from now.
        deadline_ms: u64,
    },
    /// The keys of all participants, or of the holders.
    Keys {
        /// What they have signed.
        bundle: Vec<Signed<Keys>>,
        /// The public round keys of those to whom this node is to seal, in order of node id.
        round_keys: Vec<Vec<u8>>,
    },
    /// The shares sealed to this node.
    Shares(Vec<SealedShare>),
    /// Every participant holds its masked sum; send the body from this chunk on.
    Collect {
        /// Context of the attempt.
        ctx: Digest,
        /// First chunk that the relay does not have.
        first_chunk: u32,
        /// The signed sums of all participants; none with a committee.
        sums: Vec<Signed<Sum>>,
    },
    /// The result of a round; its body follows on a stream of its own.
    Outcome(Outcome),
    /// A model that `min_nodes` participants have acknowledged; its body follows on a stream of its
    /// own.
    Checkpoint(Checkpoint),
    /// The round cannot begin or go on; these nodes are missing.
    Waiting {
        /// Who is missing.
        missing: Vec<NodeId>,
        /// For how long, in seconds.
        for_s: u64,
    },
    /// The relay does not go on with this node.
    Refused(Refusal),
    /// All rounds are done.
    Finished {
        /// Rounds completed.
        rounds: u64,
    },
    /// The relay asks a holder for a round key. Only a hint, like the opening.
    Convene(Opening),
    /// A contributor's seeds for this holder.
    SealedSeeds(SealedSeeds),
    /// The whole contribution has arrived.
    Received {
        /// Context of the attempt.
        ctx: Digest,
    },
    /// The relay asks a holder to vote for these contributions.
    Ballot {
        /// Context of the attempt.
        ctx: Digest,
        /// The contributions, in ascending order of node id.
        entries: Vec<ContributionId>,
    },
    /// The holders have decided; this one is to sum up the masks of these classes.
    Reveal {
        /// Context of the attempt.
        ctx: Digest,
        /// What they decided on.
        entries: Vec<ContributionId>,
        /// That they did.
        votes: Vec<Signed<Vote>>,
        /// The classes.
        classes: ClassSet,
    },
    /// Send the sum of masks that has this root, from this chunk on.
    CollectReveal {
        /// Root.
        root: Digest,
        /// First chunk that the relay does not have.
        first_chunk: u32,
    },
    /// The relay stands behind its nodes: send the model on which this one stands.
    SendModel {
        /// Hash of the model.
        model: Digest,
    },
    /// Somebody is proven to have lied about a share.
    Convicted(Proof),
}

/// Greatest length of an encoded [`BulkHeader`].
pub const MAX_BULK_HEADER_BYTES: usize = 128;

impl RelayFrame {
    /// Asks a node for a body, from this chunk on, for a masked sum with the signed sums of all
    /// participants. A model is always sent whole, and a result is never asked for.
    pub fn request(body: BodyId, first_chunk: u32, sums: Vec<Signed<Sum>>) -> Self {
        let BodyId { kind, subject } = body;
        match kind {
            BodyKind::Sum | BodyKind::Result => Self::Collect {
                ctx: subject,
                first_chunk,
                sums,
            },
            BodyKind::Reveal => Self::CollectReveal {
                root: subject,
                first_chunk,
            },
            BodyKind::Model => Self::SendModel { model: subject },
        }
    }
}

/// What precedes the raw bytes of a bulk stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkHeader {
    /// What the body is.
    pub body: BodyId,
    /// First chunk that is sent.
    pub first_chunk: u32,
}

/// Which bulk body, among those of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BodyId {
    /// What it is.
    pub kind: BodyKind,
    /// Context of the attempt, the hash of the model, or the root of a sum of masks.
    pub subject: Digest,
}

impl BodyId {
    /// Returns a masked sum or a contribution, in the attempt with this context.
    pub const fn sum(ctx: Digest) -> Self {
        Self {
            kind: BodyKind::Sum,
            subject: ctx,
        }
    }

    /// The sum over all participants, in the attempt with this context.
    pub const fn result(ctx: Digest) -> Self {
        Self {
            kind: BodyKind::Result,
            subject: ctx,
        }
    }

    /// The model with this hash.
    pub const fn model(hash: Digest) -> Self {
        Self {
            kind: BodyKind::Model,
            subject: hash,
        }
    }

    /// The sum of masks with this root.
    pub const fn reveal(root: Digest) -> Self {
        Self {
            kind: BodyKind::Reveal,
            subject: root,
        }
    }
}

/// What a bulk body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BodyKind {
    /// Chunk hashes of a masked sum or a contribution (32 bytes each, all of them), then its chunks
    /// from `first_chunk` on.
    Sum,
    /// The sum over all participants.
    Result,
    /// The parameters of a model, little-endian `f32`. From a node behind their chunk hashes, like
    /// a masked sum.
    Model,
    /// A holder's sum of masks, like a masked sum.
    Reveal,
}
