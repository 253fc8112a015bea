//! What the relay publishes, and the checks that a node makes before it believes any of it.

use std::collections::{BTreeMap, BTreeSet};

use fl_shaders::Tag;
use serde::{Deserialize, Serialize};

use super::chain::Chain;
use super::difference::organisations;
use super::message::{Keys, ResultAck, Signed, Sum};
use super::node::Pending;
use super::participants::{Participants, count};
use super::refusal::{Kind, Refusal};
use crate::digest::{Digest, model_hash};
use crate::manifest::Manifest;

/// The result of a round: everything but the bytes of X, which follow as a bulk body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Context of the attempt that succeeded.
    pub ctx: Digest,
    /// The keys of the participants.
    pub bundle: Vec<Signed<Keys>>,
    /// The signed sums of all participants.
    pub sums: Vec<Signed<Sum>>,
    /// [`ChunkHashes::root`](crate::digest::ChunkHashes::root) of X.
    pub root: Digest,
    /// Hash of the averaged model, as the relay has it.
    pub model: Digest,
}

/// An outcome whose participants and signatures hold. Only its bytes remain to be checked.
#[derive(Clone, Debug)]
pub struct CheckedOutcome {
    pub(super) participants: Participants,
    pub(super) chain: Chain,
    pub(super) root: Digest,
    /// Sum of the participants' tag shares.
    pub(super) tag: Tag,
    pub(super) announced: Digest,
}

impl CheckedOutcome {
    /// Who took part.
    pub fn participants(&self) -> &Participants {
        &self.participants
    }

    /// Checks the signatures of `outcome`.
    ///
    /// `own` is the masked sum that the checker itself holds, if any.
    ///
    /// # Errors
    /// What [`Participants::of_result`] refuses; an outcome without the sum of a participant, with a stranger's
    /// or a doubled one, with a sum of another context, or with another sum in the checker's name.
    pub fn verify(
        outcome: Outcome,
        own: Option<&Pending>,
        manifest: &Manifest,
        chain: &Chain,
        unix_s: u64,
    ) -> Result<Self, Refusal> {
        let participants = Participants::of_result(outcome.bundle, manifest, chain, unix_s)?;
        let mut sums = BTreeMap::new();
        let mut tag = Tag::default();
        for signed in &outcome.sums {
            let (sum, share) = Sum::verify(signed, manifest, unix_s)?;
            let signer = sum.node;
            if sum.ctx != participants.ctx() || sum.ctx != outcome.ctx {
                return Err(Refusal::Stale {
                    what: Kind::Sum,
                    signer,
                });
            }
            if !participants.contains(signer) {
                return Err(Refusal::Stranger(signer));
            }
            if sums.insert(signer, signed).is_some() {
                return Err(Refusal::Duplicate {
                    what: Kind::Sum,
                    signer,
                });
            }
            tag += share;
        }
        if let Some(missing) = participants.ids().find(|id| !sums.contains_key(id)) {
            return Err(Refusal::MissingSum(missing));
        }
        let own = own.filter(|own| own.participants.ctx() == participants.ctx());
        if own.is_some_and(|own| !outcome.sums.contains(&own.sum)) {
            return Err(Refusal::OwnSum);
        }
        let (root, announced) = (outcome.root, outcome.model);
        Ok(Self {
            participants,
            chain: *chain,
            root,
            tag,
            announced,
        })
    }
}

/// A model that enough participants have acknowledged, for nodes that missed more than one result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Where the relay stands.
    pub chain: Chain,
    /// Acknowledgements of that very state.
    pub acks: Vec<Signed<ResultAck>>,
}

/// A checkpoint that `min_nodes` participants have signed.
#[derive(Clone, Debug)]
pub struct CheckedCheckpoint(Chain);

impl Checkpoint {
    /// Checks the acknowledgements. Those that do not hold are not counted.
    ///
    /// # Errors
    /// [`Refusal::Checkpoint`] if fewer than `min_nodes` nodes of the manifest have signed this state.
    pub fn verify(self, manifest: &Manifest, unix_s: u64) -> Result<CheckedCheckpoint, Refusal> {
        let mut signers = BTreeSet::new();
        for signed in &self.acks {
            if let Ok(ack) = signed.verify(manifest, unix_s)
                && ack.sid == manifest.sid()
                && Chain::from_ack(&ack) == self.chain
            {
                signers.insert(ack.node);
            }
        }
        let enough = organisations(manifest, signers.iter()) >= manifest.min_organisations();
        if signers.len() < manifest.min_nodes() || !enough {
            return Err(Refusal::Checkpoint {
                round: self.chain.round,
                valid: count(signers.len()),
                needed: count(manifest.min_nodes()),
            });
        }
        Ok(CheckedCheckpoint(self.chain))
    }
}

impl CheckedCheckpoint {
    /// The state that was certified.
    pub fn chain(&self) -> Chain {
        self.0
    }

    /// Checks that `parameters` are the certified model.
    ///
    /// # Errors
    /// [`Refusal::Averaged`] if they hash to something else.
    pub fn check_model(&self, parameters: &[f32]) -> Result<(), Refusal> {
        let computed = model_hash(parameters);
        if computed != self.0.model {
            return Err(Refusal::Averaged {
                announced: self.0.model,
                computed,
            });
        }
        Ok(())
    }
}

impl Chain {
    /// The state that an acknowledgement speaks of.
    pub(crate) fn from_ack(ack: &ResultAck) -> Self {
        Self {
            round: ack.round,
            previous: ack.result,
            model: ack.model,
        }
    }
}
