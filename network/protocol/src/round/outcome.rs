//! What the relay publishes as the result of a round.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::committee::Decision;
use super::message::{Keys, Message, Signed, WHENEVER};
use super::peer::OpenedSum;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;

/// The result of a round: everything but the bytes of X, which follow as a bulk body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Context of the attempt that succeeded.
    pub ctx: Digest,
    /// The keys of the participants, or of the holders.
    pub bundle: Vec<Signed<Keys>>,
    /// What was added up.
    pub parts: Evidence,
    /// [`ChunkHashes::root`](crate::digest::ChunkHashes::root) of X.
    pub root: Digest,
    /// Hash of the averaged model, as the relay has it.
    pub model: Digest,
}

/// What a result is the sum of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Evidence {
    /// In the peer scheme, the signed sums of all participants, with the tag shares that these
    /// commit to.
    Sums(Vec<OpenedSum>),
    /// In the committee scheme, contributions and reveals.
    Decision(Decision),
}

impl Evidence {
    /// Returns how many inputs are in it.
    pub fn len(&self) -> usize {
        match self {
            Self::Sums(sums) => sums.len(),
            Self::Decision(decision) => decision.contributions.len(),
        }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those whose inputs are in it, as far as signatures hold.
    pub(super) fn nodes(&self, manifest: &Manifest) -> BTreeSet<NodeId> {
        match self {
            Self::Sums(sums) => signers(sums.iter().map(|opened| &opened.sum), manifest),
            Self::Decision(decision) => signers(&decision.contributions, manifest),
        }
    }
}

fn signers<'a, T: Message + 'a>(
    signed: impl IntoIterator<Item = &'a Signed<T>>,
    manifest: &Manifest,
) -> BTreeSet<NodeId> {
    let messages = signed
        .into_iter()
        .filter_map(|signed| signed.verify(manifest, WHENEVER).ok());
    messages.map(|message| message.signer()).collect()
}
