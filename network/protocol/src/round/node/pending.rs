//! What a node's outbox holds.

use serde::{Deserialize, Serialize};

use super::action::Action;
use super::core::Core;
use crate::digest::Digest;
use crate::manifest::Manifest;
use crate::round::bundle::KeyBundle;
use crate::round::committee::{Prepared, StoredPrepared};
use crate::round::head::Head;
use crate::round::message::Signed;
use crate::round::peer::message::Sum;
use crate::round::peer::{PendingSum, StoredSum};
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
            Self::Sum(pending) => pending.frame(),
            Self::Contribution(prepared) => prepared.frame(),
        }
    }

    /// Returns what is to be done before its body leaves for the relay, which shows these signed
    /// sums.
    ///
    /// # Errors
    ///
    /// What [`PendingSum::open`] refuses.
    pub(in crate::round) fn open(
        &self,
        core: &mut Core,
        sums: Vec<Signed<Sum>>,
        unix_s: u64,
    ) -> Result<Vec<Action>, Refusal> {
        match self {
            Self::Sum(pending) => pending.open(core, sums, unix_s),
            // It opens only in a sum that holders vote for, and the record of that is theirs to
            // make.
            Self::Contribution(_) => Ok(Vec::new()),
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

    /// Returns it as it is kept on disk.
    pub fn stored(&self) -> StoredPending {
        match self {
            Self::Sum(pending) => StoredPending::Sum(pending.stored()),
            Self::Contribution(prepared) => StoredPending::Contribution(prepared.stored()),
        }
    }
}

/// A [`Pending`] as it is kept on disk: what it was made of, to be verified again.
#[derive(Serialize, Deserialize)]
pub enum StoredPending {
    /// A masked sum.
    Sum(StoredSum),
    /// A contribution.
    Contribution(StoredPrepared),
}

impl StoredPending {
    /// Verifies it as a node does that stands at `head`. Returns it with the root of its body.
    ///
    /// # Errors
    ///
    /// What [`StoredSum::verify`] and [`StoredPrepared::verify`] refuse.
    pub fn verify(self, manifest: &Manifest, head: &Head) -> Result<(Pending, Digest), Refusal> {
        match self {
            Self::Sum(stored) => {
                let (pending, root) = stored.verify(manifest, head)?;
                Ok((pending.into(), root))
            }
            Self::Contribution(stored) => {
                let (prepared, root) = stored.verify(manifest, head)?;
                Ok((prepared.into(), root))
            }
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
