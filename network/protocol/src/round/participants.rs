//! V, the participants of an attempt, and the context that binds everything they do to it.

use std::collections::{BTreeMap, BTreeSet};

use super::chain::Chain;
use super::message::{Keys, Signed};
use super::minima::check_minima;
use super::pairing::gives;
use super::refusal::{Kind, Refusal};
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;

/// The participants of an attempt, whose keys were all checked.
#[derive(Clone, Debug)]
pub struct Participants {
    ctx: Digest,
    round: u64,
    attempt: u32,
    members: BTreeMap<NodeId, Member>,
    bundle: Vec<Signed<Keys>>,
}

#[derive(Clone, Debug)]
struct Member {
    /// Among the ids in order, from 0.
    place: usize,
    keys: Keys,
}

impl Participants {
    /// Checks a bundle of keys that is to be used at `unix_s`: what [`Participants::of_result`] checks, and that
    /// no round key has expired.
    ///
    /// # Errors
    /// What [`Participants::of_result`] refuses, or [`Refusal::KeyExpired`].
    pub fn verify(
        bundle: Vec<Signed<Keys>>,
        manifest: &Manifest,
        chain: &Chain,
        unix_s: u64,
    ) -> Result<Self, Refusal> {
        let participants = Self::of_result(bundle, manifest, chain, unix_s)?;
        let mut keys = participants.members.values().map(|member| &member.keys);
        match keys.find(|keys| keys.expires_unix_s <= unix_s) {
            Some(keys) => Err(Refusal::KeyExpired(keys.node)),
            None => Ok(participants),
        }
    }

    /// Checks a bundle of keys against the manifest and the chain that the checker itself follows. The round keys
    /// may have expired: a result is taken whenever it comes.
    ///
    /// The context is SHA-256 of `"smpcfl/1 ctx"`, the number of ring elements (LE64) and every Keys message in
    /// order of node id. Keys messages all have the same length, so their concatenation is unambiguous.
    ///
    /// # Errors
    /// [`Refusal`]: a stranger, an expired or doubled signer, an invalid signature, fewer than `min_nodes`,
    /// another session, model or previous result, a round that is not next, or keys of different attempts.
    pub fn of_result(
        bundle: Vec<Signed<Keys>>,
        manifest: &Manifest,
        chain: &Chain,
        unix_s: u64,
    ) -> Result<Self, Refusal> {
        let checked = CheckedKeys::collect(bundle, manifest, unix_s)?;
        check_minima(manifest, checked.0.keys())?;
        let attempt = checked.attempt(manifest, chain)?;
        let ctx = checked.context(b"smpcfl/1 ctx", manifest);
        let (keys, bundle) = checked.into_parts();
        let members = keys
            .into_iter()
            .enumerate()
            .map(|(place, (id, keys))| (id, Member { place, keys }))
            .collect();
        Ok(Self {
            ctx,
            round: chain.next_round(),
            attempt,
            members,
            bundle,
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

    /// Number of participants.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Never true: an attempt has at least three participants.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether `id` takes part.
    pub fn contains(&self, id: NodeId) -> bool {
        self.members.contains_key(&id)
    }

    /// The participants' ids, in order.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.keys().copied()
    }

    /// The participants' ids as a set.
    pub fn set(&self) -> BTreeSet<NodeId> {
        self.members.keys().copied().collect()
    }

    /// Whether `from` gives `to` a share. Of two participants one gives and the other receives; nobody else does either.
    pub fn gives(&self, from: NodeId, to: NodeId) -> bool {
        let place = |id| self.members.get(&id).map(|member: &Member| member.place);
        place(from)
            .zip(place(to))
            .is_some_and(|(from, to)| gives(from, to, self.len()))
    }

    /// Whom `id` gives a share, with their round keys.
    pub fn receivers_from(&self, id: NodeId) -> Vec<(NodeId, [u8; 32])> {
        let receivers = self.members.iter().filter(|(to, _)| self.gives(id, **to));
        receivers
            .map(|(to, member)| (*to, member.keys.round_key))
            .collect()
    }

    /// Number of shares that `id` receives.
    pub fn shares_due_to(&self, id: NodeId) -> usize {
        self.ids().filter(|from| self.gives(*from, id)).count()
    }

    /// The signed keys, in order of node id.
    pub fn bundle(&self) -> &[Signed<Keys>] {
        &self.bundle
    }
}

/// Keys messages whose signatures hold, one a signer.
pub(super) struct CheckedKeys(BTreeMap<NodeId, (Keys, Signed<Keys>)>);

impl CheckedKeys {
    /// Checks each message by itself, and that nobody is there twice.
    pub(super) fn collect(
        bundle: Vec<Signed<Keys>>,
        manifest: &Manifest,
        unix_s: u64,
    ) -> Result<Self, Refusal> {
        let mut checked = BTreeMap::new();
        for signed in bundle {
            let keys = signed.verify(manifest, unix_s)?;
            let signer = keys.node;
            if checked.insert(signer, (keys, signed)).is_some() {
                return Err(Refusal::Duplicate {
                    what: Kind::Keys,
                    signer,
                });
            }
        }
        Ok(Self(checked))
    }

    /// Who has signed, in order.
    pub(super) fn signers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.keys().copied()
    }

    /// Checks that all build on `chain`, and gives the one attempt that they are for.
    pub(super) fn attempt(&self, manifest: &Manifest, chain: &Chain) -> Result<u32, Refusal> {
        let mut attempt = None;
        for (signer, (keys, _)) in &self.0 {
            chain.check(manifest, keys)?;
            if *attempt.get_or_insert(keys.attempt) != keys.attempt {
                return Err(Refusal::Stale {
                    what: Kind::Keys,
                    signer: *signer,
                });
            }
        }
        Ok(attempt.unwrap_or_default())
    }

    /// SHA-256 of `label`, the number of ring elements (LE64) and every message in order of node id. All have the same
    /// length, so their concatenation is unambiguous.
    pub(super) fn context(&self, label: &[u8], manifest: &Manifest) -> Digest {
        let elements = (manifest.elements() as u64).to_le_bytes();
        let mut parts = vec![label, &elements];
        parts.extend(self.0.values().map(|(_, signed)| signed.bytes()));
        Digest::sha256(&parts)
    }

    pub(super) fn into_parts(self) -> (BTreeMap<NodeId, Keys>, Vec<Signed<Keys>>) {
        let parts = self.0.into_iter();
        parts
            .map(|(node, (keys, signed))| ((node, keys), signed))
            .unzip()
    }
}

/// A number of nodes as it travels. Rosters are far smaller than 2^32.
pub(super) fn count(nodes: usize) -> u32 {
    u32::try_from(nodes).unwrap_or(u32::MAX)
}
