//! U, the contributors whose sum is opened.

use std::collections::BTreeSet;

use super::message::ContributionId;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::cohort_minimum::check_participants;
use crate::round::refusal::{Kind, Refusal};

/// A list of contributions, each of another contributor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Contributors {
    entries: Vec<ContributionId>,
    digest: Digest,
}

impl Contributors {
    /// The list under `ctx`; `what` is the message that it came with.
    ///
    /// # Errors
    ///
    /// [`Refusal::Duplicate`] if the ids do not ascend: there is one order, and nobody is in it
    /// twice.
    pub fn new(ctx: Digest, entries: Vec<ContributionId>, what: Kind) -> Result<Self, Refusal> {
        let disorder = entries.windows(2).find(|pair| pair[0].node >= pair[1].node);
        if let Some([_, ContributionId { node: signer, .. }]) = disorder {
            let signer = *signer;
            return Err(Refusal::Duplicate { what, signer });
        }
        let length = (entries.len() as u64).to_le_bytes();
        let mut parts: Vec<&[u8]> = vec![b"smpcfl/2 contributors", ctx.as_bytes(), &length];
        for entry in &entries {
            parts.extend([&entry.node.as_bytes()[..], entry.contribution.as_bytes()]);
        }
        let digest = Digest::sha256(&parts);
        Ok(Self { entries, digest })
    }

    /// SHA-256 of `"smpcfl/2 contributors"`, ctx, the number of contributors (LE64), and each one's
    /// id and contribution.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the list, in ascending order of node id.
    pub fn entries(&self) -> &[ContributionId] {
        &self.entries
    }

    /// Returns who they are.
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        self.entries.iter().map(|entry| entry.node).collect()
    }

    /// Checks that a sum can be made of them: they are enough, and the manifest has them take part
    /// without others.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooFew`], [`Refusal::Organisations`] or [`Refusal::Participation`].
    pub fn check_participants(&self, manifest: &Manifest) -> Result<(), Refusal> {
        // Only shares between participants can prove a lie.
        check_participants(manifest, &self.nodes(), &BTreeSet::new())
    }
}
