//! V, the participants of an attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use super::pairing::gives;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::bundle::KeyBundle;
use crate::round::cohort_minimum::{check_cohort, check_participants};
use crate::round::head::Head;
use crate::round::message::{Keys, Signed, WHENEVER};
use crate::round::refusal::Refusal;
use crate::wire::RelayFrame;

/// Label of the context.
const LABEL: &[u8] = b"smpcfl/2 ctx";

/// The participants of an attempt, whose keys were all checked: at least `min_nodes`, of enough
/// organisations, and such as the manifest has take part together.
#[derive(Clone, Debug)]
pub struct Participants(KeyBundle);

impl Participants {
    /// Checks a bundle of keys that is to be used at `unix_s`: what [`Participants::of_result`]
    /// checks, that no round key has expired, and that nobody takes part who is `convicted`.
    ///
    /// # Errors
    ///
    /// What [`Participants::of_result`] refuses, [`Refusal::KeyExpired`] or
    /// [`Refusal::Convicted`].
    pub fn verify(
        bundle: Vec<Signed<Keys>>,
        manifest: &Manifest,
        head: &Head,
        unix_s: u64,
        convicted: &BTreeSet<NodeId>,
    ) -> Result<Self, Refusal> {
        let participants = Self::of_result(bundle, manifest, head, unix_s, convicted)?;
        participants.check_unexpired(unix_s)?;
        let liar = participants.ids().find(|id| convicted.contains(id));
        match liar {
            Some(liar) => Err(Refusal::Convicted(liar)),
            None => Ok(participants),
        }
    }

    /// Checks a bundle of keys against the manifest and the chain that the checker itself follows.
    /// The round keys may have expired, and participants may have been convicted since: a result is
    /// taken whenever it comes. Those that are `convicted` may be missing.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: a stranger, an expired or doubled signer, an invalid signature, fewer than
    /// `min_nodes`, others than whole cohorts, another consortium, model or previous result, a
    /// round that is not next, or keys of different attempts.
    pub fn of_result(
        bundle: Vec<Signed<Keys>>,
        manifest: &Manifest,
        head: &Head,
        unix_s: u64,
        convicted: &BTreeSet<NodeId>,
    ) -> Result<Self, Refusal> {
        let bundle = KeyBundle::check(bundle, LABEL, manifest, head, unix_s, |nodes| {
            check_participants(manifest, nodes, convicted)
        })?;
        Ok(Self(bundle))
    }

    /// Checks the keys of a masked sum that the checker has made itself: what
    /// [`Participants::of_result`] checks, but for who is missing, which it has checked before.
    ///
    /// # Errors
    ///
    /// What [`Participants::of_result`] refuses.
    pub(in crate::round) fn of_outbox(
        bundle: Vec<Signed<Keys>>,
        manifest: &Manifest,
        head: &Head,
    ) -> Result<Self, Refusal> {
        let bundle = KeyBundle::check(bundle, LABEL, manifest, head, WHENEVER, |nodes| {
            check_cohort(manifest, nodes.iter())
        })?;
        Ok(Self(bundle))
    }

    /// Returns whether `from` gives `to` a share. Of two participants one gives and the other
    /// receives; nobody else does either.
    pub fn gives(&self, from: NodeId, to: NodeId) -> bool {
        let places = self.place(from).zip(self.place(to));
        places.is_some_and(|(from, to)| gives(from, to, self.len()))
    }

    /// Returns whom `id` gives a share, in order of node id.
    pub fn receivers_from(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.ids().filter(move |to| self.gives(id, *to))
    }

    /// Returns the frame that shows them to `id`, with the round keys of those to whom it gives a
    /// share.
    pub fn frame_for(&self, id: NodeId, round_keys: &BTreeMap<NodeId, Vec<u8>>) -> RelayFrame {
        self.frame(self.receivers_from(id), round_keys)
    }

    /// Returns the number of shares that `id` receives.
    pub fn shares_due_to(&self, id: NodeId) -> usize {
        self.ids().filter(|from| self.gives(*from, id)).count()
    }
}

impl Deref for Participants {
    type Target = KeyBundle;

    fn deref(&self) -> &KeyBundle {
        &self.0
    }
}
