//! What a log holds.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::committee::message::{Contribution, ContributionId, Receipt, Reveal, Vote};
use crate::round::message::{Keys, ResultAck, Signed};
use crate::round::peer::message::{Share, Sum};
use crate::round::peer::{Proof, SealedShare};
use crate::round::{Checkpoint, Head, Opening, Outcome, Refusal};

/// One record: what happened, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Seconds of Unix time, by the clock of the party that keeps the log.
    pub unix_s: u64,
    /// What happened.
    pub entry: Entry,
}

/// Who keeps a log, or refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Party {
    /// The relay.
    Relay,
    /// A node.
    Node(NodeId),
}

/// What happened. A new kind of message is a variant here, and a check in [`super::verify`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    /// The party's process has started. The first record of every log.
    Started {
        /// SHA-256 of the manifest.
        consortium_id: Digest,
        /// Whose log this is.
        party: Party,
        /// Where the party stands.
        head: Head,
        /// Bytes of a record that a crash had cut short, and that were removed from the log's end.
        dropped: u64,
    },
    /// An attempt was opened: the relay asked for it, or the node answered.
    Opened(Opening),
    /// The bundle that fixes the participants of an attempt.
    Keys(Vec<Signed<Keys>>),
    /// Shares as one node sent them or got them, without their boxes.
    Shares(Vec<Signed<Share>>),
    /// The signed root of a masked sum.
    Sum(Signed<Sum>),
    /// The body of a masked sum: this node is about to send it, or the relay has it whole.
    Body {
        /// Context of the attempt.
        ctx: Digest,
        /// Whose.
        node: NodeId,
    },
    /// A result that the party has checked, and takes.
    Outcome(Outcome),
    /// An acknowledgement of the result that the party stands at.
    Ack(Signed<ResultAck>),
    /// A certified model that the node takes, having missed results.
    Adopted(Checkpoint),
    /// Somebody does not go on with `to`.
    Refused {
        /// Who refuses.
        by: Party,
        /// Whom.
        to: Party,
        /// Why.
        refusal: Refusal,
    },
    /// A contribution, with a committee.
    Contribution(Signed<Contribution>),
    /// A holder's word on a contribution.
    Receipt(Signed<Receipt>),
    /// A holder's vote.
    Vote(Signed<Vote>),
    /// A holder's word for its sum of masks.
    Reveal(Signed<Reveal>),
    /// The relay goes back behind the last result, which too few have taken.
    RolledBack,
    /// The signed sums of all participants, on which a node sends its own.
    Sums(Vec<Signed<Sum>>),
    /// Somebody is proven to have lied about a share.
    Convicted(Proof),
    /// Those for whose sum a holder decides, before it votes or follows the votes of others.
    Ballot {
        /// Context of the attempt.
        ctx: Digest,
        /// Their contributions.
        contributors: Vec<ContributionId>,
    },
}

impl Entry {
    /// Returns the entry for these shares.
    pub(crate) fn shares(shares: &[SealedShare]) -> Self {
        let signed = shares.iter().map(|sealed| sealed.share.clone());
        Self::Shares(signed.collect())
    }
}
