//! What the relay publishes, and the checks that a node makes before it believes any of it.

use std::collections::{BTreeMap, BTreeSet};

use fl_shaders::Tag;
use serde::{Deserialize, Serialize};

use super::chain::Chain;
use super::committee::{Decision, Holders};
use super::message::{Keys, Message, ResultAck, Signed, Sum, WHENEVER};
use super::minima::check_minima;
use super::node::{Pending, PendingSum};
use super::participants::Participants;
use super::refusal::{Kind, Refusal};
use crate::digest::{Digest, model_hash};
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
    pub parts: Parts,
    /// [`ChunkHashes::root`](crate::digest::ChunkHashes::root) of X.
    pub root: Digest,
    /// Hash of the averaged model, as the relay has it.
    pub model: Digest,
}

/// What a result is the sum of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Parts {
    /// In the peer scheme, the signed sums of all participants.
    Sums(Vec<Signed<Sum>>),
    /// In the committee scheme, contributions and reveals.
    Decision(Decision),
}

impl Parts {
    /// How many inputs are in it.
    pub fn len(&self) -> usize {
        match self {
            Self::Sums(sums) => sums.len(),
            Self::Decision(decision) => decision.contributions.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those whose inputs are in it, as far as signatures hold.
    pub(super) fn nodes(&self, manifest: &Manifest) -> BTreeSet<NodeId> {
        match self {
            Self::Sums(sums) => signers(sums, manifest),
            Self::Decision(decision) => signers(&decision.contributions, manifest),
        }
    }
}

fn signers<T: Message>(signed: &[Signed<T>], manifest: &Manifest) -> BTreeSet<NodeId> {
    let messages = signed
        .iter()
        .filter_map(|signed| signed.verify(manifest, WHENEVER).ok());
    messages.map(|message| message.signer()).collect()
}

/// An outcome whose participants and signatures hold. Only its bytes remain to be checked.
#[derive(Clone, Debug)]
pub struct CheckedOutcome {
    pub(super) ctx: Digest,
    pub(super) nodes: BTreeSet<NodeId>,
    pub(super) chain: Chain,
    pub(super) root: Digest,
    /// Sum of the tag shares that were signed.
    pub(super) tag: Tag,
    pub(super) announced: Digest,
}

impl CheckedOutcome {
    /// Context of the attempt.
    pub fn ctx(&self) -> Digest {
        self.ctx
    }

    /// Those whose inputs are in the sum.
    pub fn nodes(&self) -> &BTreeSet<NodeId> {
        &self.nodes
    }

    /// The state after the round, if the sum and the model are those that were announced.
    pub(super) fn leads_to(&self) -> Chain {
        self.chain.next(self.ctx, self.root, self.announced)
    }

    /// Checks the signatures of `outcome`.
    ///
    /// `own` is the checker, with the masked vector that it holds, if any.
    ///
    /// # Errors
    /// In the peer scheme, what [`Participants::of_result`] refuses; an outcome without the sum of a participant, with a
    /// stranger's or a doubled one, with a sum of another context, or with another sum in the checker's name. In the
    /// committee scheme, what [`Holders::of_result`] and [`Decision::verify`] refuse.
    /// [`Refusal::Unexpected`] for an outcome of the other scheme.
    pub fn verify(
        outcome: Outcome,
        own: Option<(NodeId, &Pending)>,
        manifest: &Manifest,
        chain: &Chain,
        unix_s: u64,
    ) -> Result<Self, Refusal> {
        let (bundle, what) = (outcome.bundle, Kind::Outcome);
        let (ctx, nodes, tag) = match (manifest.committee(), &outcome.parts) {
            (None, Parts::Sums(sums)) => {
                let participants = Participants::of_result(bundle, manifest, chain, unix_s)?;
                let own = own.and_then(|(_, own)| match own {
                    Pending::Sum(own) => Some(own),
                    Pending::Contribution(_) => None,
                });
                let tag = check_sums(sums, outcome.ctx, &participants, own, manifest, unix_s)?;
                (participants.ctx(), participants.set(), tag)
            }
            (Some(_), Parts::Decision(decision)) => {
                let holders = Holders::of_result(bundle, manifest, chain, unix_s)?;
                let own = own.and_then(|(node, own)| match own {
                    Pending::Sum(_) => None,
                    Pending::Contribution(own) => Some((node, own)),
                });
                let (nodes, tag) = decision.verify(outcome.ctx, &holders, own, manifest, unix_s)?;
                (holders.ctx(), nodes, tag)
            }
            _ => return Err(Refusal::Unexpected { what }),
        };
        let (root, announced) = (outcome.root, outcome.model);
        Ok(Self {
            ctx,
            nodes,
            chain: *chain,
            root,
            tag,
            announced,
        })
    }
}

/// Checks that there is one sum of each participant, and of nobody else. Gives the sum of their tag shares.
fn check_sums(
    signed: &[Signed<Sum>],
    announced: Digest,
    participants: &Participants,
    own: Option<&PendingSum>,
    manifest: &Manifest,
    unix_s: u64,
) -> Result<Tag, Refusal> {
    let mut sums = BTreeMap::new();
    let mut tag = Tag::default();
    for signed in signed {
        let (sum, share) = signed.verify_tagged(manifest, unix_s)?;
        let signer = sum.node;
        if sum.ctx != participants.ctx() || sum.ctx != announced {
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
    match own.is_some_and(|own| !signed.contains(&own.sum)) {
        true => Err(Refusal::OwnSum),
        false => Ok(tag),
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
    /// The acknowledgements that hold, by signer.
    pub(super) fn valid_acks(
        &self,
        manifest: &Manifest,
        unix_s: u64,
    ) -> BTreeMap<NodeId, Signed<ResultAck>> {
        let acks = self.acks.iter().filter_map(|signed| {
            let ack = signed.verify(manifest, unix_s).ok()?;
            let here = ack.sid == manifest.sid() && Chain::from_ack(&ack) == self.chain;
            here.then(|| (ack.node, signed.clone()))
        });
        acks.collect()
    }

    /// Checks the acknowledgements. Those that do not hold are not counted.
    ///
    /// # Errors
    /// [`Refusal::Checkpoint`] if fewer than `min_nodes` nodes of the manifest have signed this state,
    /// [`Refusal::Organisations`] if they are of too few organisations.
    pub fn verify(self, manifest: &Manifest, unix_s: u64) -> Result<CheckedCheckpoint, Refusal> {
        let acks = self.valid_acks(manifest, unix_s);
        check_minima(manifest, acks.keys()).map_err(|refusal| match refusal {
            Refusal::TooFew { found, min_nodes } => Refusal::Checkpoint {
                round: self.chain.round,
                valid: found,
                needed: min_nodes,
            },
            refusal => refusal,
        })?;
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
