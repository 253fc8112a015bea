//! The signed keys that fix an attempt, and the context that binds everything to it.

use std::collections::{BTreeMap, BTreeSet};

use super::head::Head;
use super::message::{Keys, Signed};
use super::peer::BoxOpener;
use super::refusal::{Kind, Refusal};
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::wire::RelayFrame;

/// The round keys of an attempt, each signed by its node, all checked.
#[derive(Clone, Debug)]
pub struct KeyBundle {
    ctx: Digest,
    round: u64,
    attempt: u32,
    /// In order of node id.
    keys: Vec<Keys>,
    /// In the same order.
    signed: Vec<Signed<Keys>>,
}

impl KeyBundle {
    /// Checks a bundle against the manifest and the chain that the checker itself follows. The
    /// round keys may have expired: a result is taken whenever it comes. `eligible` says whether
    /// these nodes are the right ones for an attempt.
    ///
    /// The context is SHA-256 of `label`, the number of ring elements (LE64) and every Keys message
    /// in order of node id. Keys messages all have the same length, so their concatenation is
    /// unambiguous.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: a stranger, an expired or doubled signer, an invalid signature, what `eligible`
    /// refuses, another consortium, model or previous result, a round that is not next, or keys of
    /// different attempts.
    pub(super) fn check(
        bundle: Vec<Signed<Keys>>,
        label: &[u8],
        manifest: &Manifest,
        head: &Head,
        unix_s: u64,
        eligible: impl FnOnce(&BTreeSet<NodeId>) -> Result<(), Refusal>,
    ) -> Result<Self, Refusal> {
        let what = Kind::Keys;
        let mut signers = BTreeSet::new();
        let mut checked = Vec::with_capacity(bundle.len());
        for signed in bundle {
            let keys = signed.verify(manifest, unix_s)?;
            let signer = keys.node;
            if !signers.insert(signer) {
                return Err(Refusal::Duplicate { what, signer });
            }
            checked.push((keys, signed));
        }
        checked.sort_by_key(|(keys, _)| keys.node);
        eligible(&signers)?;
        let (keys, signed): (Vec<_>, Vec<_>) = checked.into_iter().unzip();
        let attempt = keys.first().map_or(0, |keys| keys.attempt);
        for keys in &keys {
            keys.check(manifest, head)?;
            if keys.attempt != attempt {
                let signer = keys.node;
                return Err(Refusal::Stale { what, signer });
            }
        }
        let elements = (manifest.elements() as u64).to_le_bytes();
        let mut parts = vec![label, &elements];
        parts.extend(signed.iter().map(Signed::bytes));
        Ok(Self {
            ctx: Digest::sha256(&parts),
            round: head.next_round(),
            attempt,
            keys,
            signed,
        })
    }

    /// Checks that no round key has expired at `unix_s`.
    ///
    /// # Errors
    ///
    /// [`Refusal::KeyExpired`].
    pub(super) fn check_unexpired(&self, unix_s: u64) -> Result<(), Refusal> {
        let mut keys = self.keys.iter();
        match keys.find(|keys| keys.expires_unix_s <= unix_s) {
            Some(keys) => Err(Refusal::KeyExpired(keys.node)),
            None => Ok(()),
        }
    }

    /// Returns the context of the attempt.
    pub fn ctx(&self) -> Digest {
        self.ctx
    }

    /// Returns the round, from 1.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// Returns the attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the number of nodes.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns false: an attempt has at least two nodes.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns whether `id` is one of the nodes.
    pub fn contains(&self, id: NodeId) -> bool {
        self.place(id).is_some()
    }

    /// Returns the place of a node among all, in order of node id, from 0.
    pub fn place(&self, id: NodeId) -> Option<usize> {
        self.keys.binary_search_by_key(&id, |keys| keys.node).ok()
    }

    /// Returns the nodes' ids, in order.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.keys.iter().map(|keys| keys.node)
    }

    /// Returns the nodes' ids as a set.
    pub fn set(&self) -> BTreeSet<NodeId> {
        self.ids().collect()
    }

    /// Returns SHA-256 of a node's public round key, if the node is there.
    pub fn round_key(&self, id: NodeId) -> Option<Digest> {
        self.keys_of(id).map(|keys| keys.round_key)
    }

    fn keys_of(&self, id: NodeId) -> Option<&Keys> {
        self.keys.get(self.place(id)?)
    }

    /// Returns the frame that shows the bundle to somebody who seals to the nodes `to`, among the
    /// nodes with these public round keys.
    pub(super) fn frame(
        &self,
        to: impl IntoIterator<Item = NodeId>,
        round_keys: &BTreeMap<NodeId, Vec<u8>>,
    ) -> RelayFrame {
        let to = to.into_iter();
        RelayFrame::Keys {
            bundle: self.signed.clone(),
            round_keys: to.filter_map(|id| round_keys.get(&id).cloned()).collect(),
        }
    }

    /// Returns the nodes `to` with their public round keys, which came in the same order.
    ///
    /// # Errors
    ///
    /// [`Refusal::Invalid`] naming whose key is not the one that it has signed, or missing, or none
    /// to which anything can be sealed; [`Refusal::Unexpected`] if there are more.
    pub(super) fn addressed(
        &self,
        to: impl IntoIterator<Item = NodeId>,
        round_keys: Vec<Vec<u8>>,
        opener: BoxOpener,
    ) -> Result<Vec<(NodeId, Vec<u8>)>, Refusal> {
        let mut round_keys = round_keys.into_iter();
        let mut addressed = Vec::new();
        for id in to {
            let keys = self.keys_of(id).ok_or(Refusal::Stranger(id))?;
            let round_key = round_keys.next().unwrap_or_default();
            keys.check_round_key(&round_key, opener)?;
            addressed.push((id, round_key));
        }
        let what = Kind::Keys;
        match round_keys.next() {
            Some(_) => Err(Refusal::Unexpected { what }),
            None => Ok(addressed),
        }
    }

    /// Returns the signed keys, in order of node id.
    pub fn bundle(&self) -> &[Signed<Keys>] {
        &self.signed
    }
}
