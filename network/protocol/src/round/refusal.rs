//! Why an honest party does not go on. Refusals travel, so that node and relay show the same
//! reason.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::clock;
use crate::round::reason::Reason;

/// A reason not to go on with an attempt. The process that refuses keeps running.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    // The other side does not belong here.
    /// The manifests differ.
    #[error("the other side has another manifest (consortium id {theirs}, ours is {ours})")]
    Manifest {
        /// Our consortium id.
        ours: Digest,
        /// Their consortium id.
        theirs: Digest,
    },
    /// A signer or addressee who is not in the manifest, or not in this attempt.
    #[error("{0} does not belong to this round")]
    Stranger(NodeId),
    /// The manifest lists the node as expired.
    #[error("{0} has expired in the manifest")]
    Expired(NodeId),

    // A message is wrong in itself.
    /// A signature that does not verify, or a message that does not decode.
    #[error("a {what} message of {signer} is invalid")]
    Invalid {
        /// Kind of message.
        what: Kind,
        /// Who is said to have signed it.
        signer: NodeId,
    },
    /// Two messages where one is allowed.
    #[error("{signer} appears twice with a {what} message")]
    Duplicate {
        /// Kind of message.
        what: Kind,
        /// Signer.
        signer: NodeId,
    },
    /// A message for another context, round or attempt.
    #[error("a {what} message of {signer} belongs to another round or attempt")]
    Stale {
        /// Kind of message.
        what: Kind,
        /// Signer.
        signer: NodeId,
    },
    /// A frame that the protocol has no place for at this point.
    #[error("an unexpected {what} message")]
    Unexpected {
        /// Kind of message.
        what: Kind,
    },

    // The round is not one that the node may join.
    /// Fewer participants than the manifest's minimum.
    #[error("{found} participants are fewer than min_nodes = {min_nodes}")]
    TooFew {
        /// Participants offered.
        found: u32,
        /// The manifest's minimum.
        min_nodes: u32,
    },
    /// The bundle lacks this node's own keys, or has others in their place.
    #[error("the keys that this node sent are missing from the bundle, or were changed")]
    OwnKeys,
    /// A round key that has expired.
    #[error("the round key of {0} has expired")]
    KeyExpired(NodeId),
    /// Another model than the node's own.
    #[error("round {round} is to start from model {theirs}, but ours is {ours}")]
    Model {
        /// Round.
        round: u64,
        /// Our model.
        ours: Digest,
        /// Their model.
        theirs: Digest,
    },
    /// Another previous result than the node's own.
    #[error("round {round} builds on result {theirs}, but ours is {ours}")]
    Previous {
        /// Round.
        round: u64,
        /// Our previous result.
        ours: Digest,
        /// Their previous result.
        theirs: Digest,
    },
    /// Not the round that comes next, or an attempt that is over.
    #[error(
        "round {round}, attempt {attempt} is not next; this node is past round {done}, attempt {joined}"
    )]
    NotNext {
        /// Round offered.
        round: u64,
        /// Attempt offered.
        attempt: u32,
        /// Last round completed.
        done: u64,
        /// Last attempt joined in the round after it.
        joined: u32,
    },
    /// Too few organisations: those who collude with the relay could be all the others.
    #[error("participants of {found} organisations; at least {needed} are needed")]
    Organisations {
        /// Organisations found.
        found: u32,
        /// The least number.
        needed: u32,
    },
    /// The difference rule: sums over different participants on one model could be subtracted.
    #[error(
        "this node has already sent a sum on this model with {}; a rerun must have the very same participants",
        list(sent_with)
    )]
    Difference {
        /// Participants of the earlier sum.
        sent_with: Vec<NodeId>,
    },

    // A share or an update is unusable.
    /// A sealed share that does not open.
    #[error("the share from {from} does not open")]
    Share {
        /// Who sealed it.
        from: NodeId,
    },
    /// A node that was proven to have lied about a share.
    #[error(
        "{0} is proven to have lied about a share, and takes no part under this manifest any more"
    )]
    Convicted(NodeId),
    /// The node has no masked sum to give.
    #[error("the node cannot contribute: {0}")]
    CannotContribute(AbortReason),

    // The result is wrong.
    /// The root over the result's bytes differs from the announced one.
    #[error("the result's bytes hash to {found}, not to the announced {announced}")]
    ResultRoot {
        /// Announced root.
        announced: Digest,
        /// Root of what arrived.
        found: Digest,
    },
    /// The masked sum of this node is not the one it sent.
    #[error("the result lists another sum for this node than the one it sent")]
    OwnSum,
    /// A sum of a participant is missing from the result.
    #[error("the result lacks the sum of {0}")]
    MissingSum(NodeId),
    /// A coordinate beyond what the participants can add up to.
    #[error("coordinate {index} of the result is {value}; {limit} is the most that is possible")]
    OutOfRange {
        /// Index of the coordinate.
        index: u64,
        /// Its signed value.
        value: i64,
        /// B · Σn / n_max, rounded up, and a unit for each participant.
        limit: u64,
    },
    /// Counters that no honest participants can add up to.
    #[error("the result's counters are impossible: {}", Reason::new(.0.as_bytes()))]
    Counters(String),
    /// The relay announces another model than the average.
    #[error("the relay announces model {announced}, but the average is {computed}")]
    Averaged {
        /// Announced hash.
        announced: Digest,
        /// Hash of the node's own average.
        computed: Digest,
    },
    /// A checkpoint without enough valid acknowledgements.
    #[error(
        "the checkpoint of round {round} has {valid} valid acknowledgements; {needed} are needed"
    )]
    Checkpoint {
        /// Round.
        round: u64,
        /// Valid acknowledgements found.
        valid: u32,
        /// min_nodes.
        needed: u32,
    },
    /// The relay has neither the result nor a certified model that this node lacks.
    #[error("the relay is at round {relay} and cannot bring this node up from round {node}")]
    CannotCatchUp {
        /// Rounds that the relay has completed.
        relay: u64,
        /// Rounds that the node has completed.
        node: u64,
    },
    /// The sum does not fit the tags.
    #[error(
        "the result is not the sum of what its participants sent, or one of them lied about its part"
    )]
    Tag,

    // The committee.
    /// Keys of too few holders: they could not decide, or some seed would have nobody to hold it.
    #[error("keys of {found} holders; {needed} are needed")]
    Holders {
        /// Holders found.
        found: u32,
        /// Q.
        needed: u32,
    },
    /// A contribution that the holder cannot use.
    #[error("the contribution of {from} is unusable: {fault}")]
    Contribution {
        /// Whose contribution.
        from: NodeId,
        /// Why.
        fault: Fault,
    },
    /// Contributors to vote for of whom this holder has not accepted all.
    #[error("this holder has not accepted that contribution of {0}")]
    NotAccepted(NodeId),
    /// A holder that voted is asked to vote or to reveal for other contributors.
    #[error("this holder has voted for other contributors in this attempt")]
    Voted,
    /// A vote or a reveal for others than the result's contributors.
    #[error("a {what} message of {signer} is for other contributors")]
    OtherContributors {
        /// Kind of message.
        what: Kind,
        /// Signer.
        signer: NodeId,
    },
    /// Too few votes for a decision.
    #[error("{found} holders have voted for these contributors; {needed} are needed")]
    Votes {
        /// Votes found.
        found: u32,
        /// Q.
        needed: u32,
    },
    /// Classes that the holder does not hold, or was not asked for, or none at all.
    #[error("{holder} cannot reveal these classes")]
    Classes {
        /// Who.
        holder: NodeId,
    },
    /// Classes that nobody revealed.
    #[error("{missing} classes of seeds are not revealed")]
    NotRevealed {
        /// How many.
        missing: u32,
    },
    /// The contribution of this node is not the one it sent.
    #[error("the result lists another contribution for this node than the one it sent")]
    OwnContribution,
    /// Participants that are no whole cohorts of the manifest.
    #[error("{} of the manifest's cohorts {} missing", list(missing), match missing.len() { 1 => "is", _ => "are" })]
    Participation {
        /// Who would make them whole.
        missing: Vec<NodeId>,
    },
    /// Other signed sums than those on which this node has sent its own.
    #[error("this node has sent its sum on other signed sums than these")]
    OtherSums,
    /// A clock that is too far from the relay's: round keys would be taken for expired.
    #[error(
        "the node's clock is {} {} the relay's, and {} min are the most that rounds allow: \
         set the one that is wrong, for example with `timedatectl set-ntp true`",
        clock::in_words(*ahead_min),
        match ahead_min { ..0 => "behind", _ => "ahead of" },
        clock::CLOCK_TOLERANCE_S / 60
    )]
    Clock {
        /// By how many minutes the node's clock is ahead, or behind if this is negative.
        ahead_min: i64,
    },
}

impl Refusal {
    /// Returns whether there is no use in coming back: the two sides do not belong together.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Manifest { .. }
                | Self::Stranger(_)
                | Self::Expired(_)
                | Self::Convicted(_)
                | Self::Model { .. }
                | Self::Previous { .. }
        )
    }
}

/// What keeps a node from contributing. It travels, so it says no more than others may know: no
/// counts, no paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AbortReason {
    /// A NaN or an infinity in the update.
    #[error("the update of {} is not finite", Reason::new(.tensor.as_bytes()))]
    NotFinite {
        /// Name of the first such tensor.
        tensor: String,
    },
    /// Local training failed.
    #[error("local training failed; its own output says why")]
    Training,
    /// The node has no training examples, or more than the consortium agreed on.
    #[error("it has no training examples, or more than its examples_max in the manifest")]
    Examples,
    /// The outbox or the record of sent sums cannot be written.
    #[error("its disk cannot be written; its own output says why")]
    Disk,
    /// The operating system gives no random bytes.
    #[error("its operating system's random generator failed")]
    Randomness,
    /// The device or the program that computes failed.
    #[error("its computation failed; its own output says why")]
    Computation,
}

/// What is wrong with a contribution, as a holder sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Fault {
    /// The box does not open.
    #[error("its box does not open")]
    Box,
    /// A seed is not the one that was committed to.
    #[error("a seed is not the one that it commits to")]
    Commitment,
    /// It is the second of its contributor.
    #[error("it is not the first of its contributor")]
    Second,
}

/// Kind of message, for refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// First frame of a connection.
    Hello,
    /// Opening of a round.
    Open,
    /// Round keys.
    Keys,
    /// Sealed share.
    Share,
    /// Masked sum.
    Sum,
    /// Request for the body of a masked sum.
    Collect,
    /// Result of a round.
    Outcome,
    /// Acknowledgement of a result.
    Ack,
    /// Certified model.
    Checkpoint,
    /// A party's word that it does not go on.
    Refused,
    /// Request for the keys of the holders.
    Convene,
    /// A contributor's masked update, with the seeds of its masks.
    Contribution,
    /// A holder's word on a contribution.
    Receipt,
    /// Request for a vote.
    Ballot,
    /// A holder's vote.
    Vote,
    /// A sum of masks, or the request for it.
    Reveal,
    /// Request for a node's model.
    SendModel,
    /// A share of the tags' sum.
    TagShare,
    /// A participant's proof that a share does not open.
    Accusation,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Hello => "hello",
            Self::Open => "open",
            Self::Keys => "keys",
            Self::Share => "share",
            Self::Sum => "sum",
            Self::Collect => "collect",
            Self::Outcome => "result",
            Self::Ack => "acknowledgement",
            Self::Checkpoint => "checkpoint",
            Self::Refused => "refusal",
            Self::Convene => "convening",
            Self::Contribution => "contribution",
            Self::Receipt => "receipt",
            Self::Ballot => "ballot",
            Self::Vote => "vote",
            Self::Reveal => "reveal",
            Self::SendModel => "lending",
            Self::TagShare => "tag share",
            Self::Accusation => "accusation",
        })
    }
}

fn list(ids: &[NodeId]) -> String {
    let ids: Vec<_> = ids.iter().map(NodeId::to_string).collect();
    ids.join(", ")
}
