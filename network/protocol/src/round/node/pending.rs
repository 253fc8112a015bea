//! What a node's outbox holds.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::manifest::Manifest;
use crate::round::bundle::KeyBundle;
use crate::round::committee::message::Contribution;
use crate::round::committee::{Envelope, Holders, Prepared};
use crate::round::head::Head;
use crate::round::message::{Keys, Signed, WHENEVER};
use crate::round::peer::message::Sum;
use crate::round::peer::{Participants, PendingSum, TagShare};
use crate::round::refusal::Refusal;
use crate::wire::NodeFrame;

/// A masked vector that was computed and not yet accounted for by a result.
#[derive(Clone, Debug)]
pub enum Pending {
    /// A masked sum of the peer scheme.
    Sum(PendingSum),
    /// A contribution of the committee scheme.
    Contribution(Prepared),
}

impl Pending {
    /// Returns the keys that fix its attempt.
    pub fn bundle(&self) -> &KeyBundle {
        match self {
            Self::Sum(pending) => &pending.participants,
            Self::Contribution(prepared) => &prepared.holders,
        }
    }

    /// Returns the context of the attempt.
    pub fn ctx(&self) -> Digest {
        self.bundle().ctx()
    }

    /// Returns the round, from 1.
    pub fn round(&self) -> u64 {
        self.bundle().round()
    }

    /// Returns the attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.bundle().attempt()
    }

    /// Returns what announces it to the relay.
    pub(in crate::round) fn frame(&self) -> NodeFrame {
        match self {
            Self::Sum(pending) => NodeFrame::Sum(pending.sum.clone()),
            Self::Contribution(prepared) => {
                NodeFrame::Contribution(prepared.contribution.clone(), prepared.envelope.clone())
            }
        }
    }

    /// Returns the masked sum, if it is one.
    pub(in crate::round) fn sum(&self) -> Option<&PendingSum> {
        match self {
            Self::Sum(pending) => Some(pending),
            Self::Contribution(_) => None,
        }
    }

    /// Returns the contribution, if it is one.
    pub(in crate::round) fn contribution(&self) -> Option<&Prepared> {
        match self {
            Self::Sum(_) => None,
            Self::Contribution(prepared) => Some(prepared),
        }
    }
}

/// A [`Pending`] as it is kept on disk: what it was made of, to be verified again.
#[derive(Serialize, Deserialize)]
pub enum StoredPending {
    /// A masked sum.
    Sum {
        /// The keys of the participants.
        bundle: Vec<Signed<Keys>>,
        /// The signed root.
        sum: Signed<Sum>,
        /// The share that it commits to.
        tag_share: TagShare,
    },
    /// A contribution.
    Contribution {
        /// The keys of the holders.
        bundle: Vec<Signed<Keys>>,
        /// The signed root.
        contribution: Signed<Contribution>,
        /// The seeds.
        envelope: Envelope,
    },
}

impl StoredPending {
    /// Verifies it as a node does that stands at `head`. Returns it with the root of its body.
    ///
    /// # Errors
    ///
    /// What the keys and signatures meet; [`Refusal::MissingSum`], [`Refusal::Invalid`] or
    /// [`Refusal::OwnContribution`] if its parts do not belong together.
    pub fn verify(self, manifest: &Manifest, head: &Head) -> Result<(Pending, Digest), Refusal> {
        match self {
            Self::Sum {
                bundle,
                sum,
                tag_share,
            } => {
                let participants = Participants::of_outbox(bundle, manifest, head)?;
                let message = sum.verify(manifest, WHENEVER)?;
                if message.ctx != participants.ctx() {
                    return Err(Refusal::MissingSum(message.node));
                }
                tag_share.open(&message)?;
                let pending = PendingSum {
                    participants,
                    sum,
                    tag_share,
                };
                Ok((pending.into(), message.root))
            }
            Self::Contribution {
                bundle,
                contribution,
                envelope,
            } => {
                let holders = Holders::verify(bundle, manifest, head, WHENEVER)?;
                let message = contribution.verify(manifest, WHENEVER)?;
                if envelope.check(&message, &holders).is_err() {
                    return Err(Refusal::OwnContribution);
                }
                let prepared = Prepared {
                    holders,
                    contribution,
                    envelope,
                };
                Ok((prepared.into(), message.root))
            }
        }
    }
}

impl From<&Pending> for StoredPending {
    fn from(pending: &Pending) -> Self {
        let bundle = pending.bundle().bundle().to_vec();
        match pending {
            Pending::Sum(pending) => Self::Sum {
                bundle,
                sum: pending.sum.clone(),
                tag_share: pending.tag_share,
            },
            Pending::Contribution(prepared) => Self::Contribution {
                bundle,
                contribution: prepared.contribution.clone(),
                envelope: prepared.envelope.clone(),
            },
        }
    }
}

impl From<PendingSum> for Pending {
    fn from(pending: PendingSum) -> Self {
        Self::Sum(pending)
    }
}

impl From<Prepared> for Pending {
    fn from(prepared: Prepared) -> Self {
        Self::Contribution(prepared)
    }
}
