//! The holders of an attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;

use super::schedule::Committee;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::bundle::KeyBundle;
use crate::round::cohort_minimum::count;
use crate::round::head::Head;
use crate::round::message::{Keys, Signed};
use crate::round::refusal::{Kind, Refusal};
use crate::wire::RelayFrame;

/// The holders that offered a round key for an attempt, all checked: enough of them to decide.
#[derive(Clone, Debug)]
pub struct Holders {
    bundle: KeyBundle,
    committee: Arc<Committee>,
}

impl Holders {
    /// Checks a bundle that is to be used at `unix_s`: what [`Holders::of_result`] checks, and that
    /// no round key has expired.
    ///
    /// # Errors
    ///
    /// What [`Holders::of_result`] refuses, or [`Refusal::KeyExpired`].
    pub fn verify(
        bundle: Vec<Signed<Keys>>,
        manifest: &Manifest,
        head: &Head,
        unix_s: u64,
    ) -> Result<Self, Refusal> {
        let holders = Self::of_result(bundle, manifest, head, unix_s)?;
        holders.check_unexpired(unix_s)?;
        Ok(holders)
    }

    /// Checks a bundle of keys of holders against the manifest and the chain that the checker
    /// itself follows.
    ///
    /// At least Q holders must be there. Fewer could never decide. And Q are more than t, so that
    /// each class has a holder among them: Q − t at the least, of which all but one may be lost.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: a signer who is no holder, or is expired, or is there twice; an invalid
    /// signature; fewer than Q; another consortium, model or previous result, a round that is not
    /// next, or keys of different attempts.
    pub fn of_result(
        bundle: Vec<Signed<Keys>>,
        manifest: &Manifest,
        head: &Head,
        unix_s: u64,
    ) -> Result<Self, Refusal> {
        let what = Kind::Keys;
        let committee = manifest.committee().ok_or(Refusal::Unexpected { what })?;
        let label = b"smpcfl/2 committee ctx";
        let bundle = KeyBundle::check(bundle, label, manifest, head, unix_s, |nodes| {
            check_quorum(nodes, committee)
        })?;
        Ok(Self {
            bundle,
            committee: Arc::new(committee.clone()),
        })
    }

    /// Returns the frame that shows them to a contributor or a holder.
    pub fn to_frame(&self, round_keys: &BTreeMap<NodeId, Vec<u8>>) -> RelayFrame {
        self.frame(self.ids(), round_keys)
    }

    /// Returns the committee that they are of.
    pub fn committee(&self) -> &Committee {
        &self.committee
    }

    /// Returns how many commitments a contribution has.
    pub fn commitments(&self) -> usize {
        match self.committee.commits() {
            true => self.committee.classes().count(),
            false => 0,
        }
    }
}

impl Deref for Holders {
    type Target = KeyBundle;

    fn deref(&self) -> &KeyBundle {
        &self.bundle
    }
}

/// Checks that these are holders of the committee, and enough of them to decide.
fn check_quorum(nodes: &BTreeSet<NodeId>, committee: &Committee) -> Result<(), Refusal> {
    if let Some(stranger) = nodes.iter().find(|node| !committee.contains(**node)) {
        return Err(Refusal::Stranger(*stranger));
    }
    let (found, needed) = (nodes.len(), committee.quorum());
    match found < needed {
        true => Err(Refusal::Holders {
            found: count(found),
            needed: count(needed),
        }),
        false => Ok(()),
    }
}
