//! The holders of an attempt, and the context that binds everything to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::schedule::Committee;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::chain::Chain;
use crate::round::message::{Keys, Signed};
use crate::round::participants::{CheckedKeys, count};
use crate::round::refusal::{Kind, Refusal};

/// The holders that offered a round key for an attempt, all checked.
#[derive(Clone, Debug)]
pub struct Holders {
    ctx: Digest,
    round: u64,
    attempt: u32,
    keys: BTreeMap<NodeId, Keys>,
    bundle: Vec<Signed<Keys>>,
    committee: Arc<Committee>,
}

impl Holders {
    /// Checks a bundle that is to be used at `unix_s`: what [`Holders::of_result`] checks, and that no round key has
    /// expired.
    ///
    /// # Errors
    /// What [`Holders::of_result`] refuses, or [`Refusal::KeyExpired`].
    pub fn verify(
        bundle: Vec<Signed<Keys>>,
        manifest: &Manifest,
        chain: &Chain,
        unix_s: u64,
    ) -> Result<Self, Refusal> {
        let holders = Self::of_result(bundle, manifest, chain, unix_s)?;
        let expired = |keys: &&Keys| keys.expires_unix_s <= unix_s;
        match holders.keys.values().find(expired) {
            Some(keys) => Err(Refusal::KeyExpired(keys.node)),
            None => Ok(holders),
        }
    }

    /// Checks a bundle of keys of holders against the manifest and the chain that the checker itself follows.
    ///
    /// At least Q holders must be there. Fewer could never decide. And Q are more than t, so that each class has a
    /// holder among them: Q − t at the least, of which all but one may be lost.
    ///
    /// The context is SHA-256 of `"smpcfl/1 committee ctx"`, the number of ring elements (LE64) and every Keys message
    /// in order of node id.
    ///
    /// # Errors
    /// [`Refusal`]: a signer who is no holder, or is expired, or is there twice; an invalid signature; fewer than Q;
    /// another session, model or previous result, a round that is not next, or keys of different attempts.
    pub fn of_result(
        bundle: Vec<Signed<Keys>>,
        manifest: &Manifest,
        chain: &Chain,
        unix_s: u64,
    ) -> Result<Self, Refusal> {
        let what = Kind::Keys;
        let committee = manifest.committee().ok_or(Refusal::Unexpected { what })?;
        let checked = CheckedKeys::collect(bundle, manifest, unix_s)?;
        if let Some(stranger) = checked.signers().find(|node| !committee.contains(*node)) {
            return Err(Refusal::Stranger(stranger));
        }
        let (found, needed) = (checked.signers().count(), committee.quorum());
        if found < needed {
            let (found, needed) = (count(found), count(needed));
            return Err(Refusal::Holders { found, needed });
        }
        let attempt = checked.attempt(manifest, chain)?;
        let ctx = checked.context(b"smpcfl/1 committee ctx", manifest);
        let (keys, bundle) = checked.into_parts();
        Ok(Self {
            ctx,
            round: chain.next_round(),
            attempt,
            keys,
            bundle,
            committee: Arc::new(committee.clone()),
        })
    }

    /// The context of the attempt.
    pub fn ctx(&self) -> Digest {
        self.ctx
    }

    /// Round, from 1.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// Attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The committee that they are of.
    pub fn committee(&self) -> &Committee {
        &self.committee
    }

    /// Number of holders.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never true: two holders are the least.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether `node` is a holder of this attempt.
    pub fn contains(&self, node: NodeId) -> bool {
        self.keys.contains_key(&node)
    }

    /// The holders' ids, in order.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.keys.keys().copied()
    }

    /// The place of a holder in that order, which is also that of its box.
    pub fn place(&self, node: NodeId) -> Option<usize> {
        self.keys.keys().position(|id| *id == node)
    }

    /// The holders with their round keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = (NodeId, [u8; 32])> + '_ {
        self.keys.iter().map(|(id, keys)| (*id, keys.round_key))
    }

    /// How many commitments a contribution has.
    pub fn commitments(&self) -> usize {
        match self.committee.commits() {
            true => self.committee.classes().count(),
            false => 0,
        }
    }

    /// The signed keys, in order of node id.
    pub fn bundle(&self) -> &[Signed<Keys>] {
        &self.bundle
    }
}
