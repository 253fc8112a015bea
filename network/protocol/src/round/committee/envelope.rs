//! A contributor's seeds on their way to the holders: sealed to each, and committed to for all.

use serde::{Deserialize, Serialize};

use super::classes::Seats;
use super::holders::Holders;
use super::message::{Contribution, ContributionId};
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::message::Signed;
use crate::round::refusal::{Kind, Refusal};

/// Longest box in bytes. Suite 2 takes 1136 and 32 for each seed.
pub const MAX_BOX_BYTES: usize = 4096;

/// What a contributor sends beside its [`Contribution`], for the relay to hand out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// A commitment to the seed of each class, in the order of the classes; none if a seed has one
    /// holder only.
    pub commitments: Vec<Digest>,
    /// Each holder's seeds, sealed to it, in ascending order of the holders' ids. Opaque here.
    pub boxes: Vec<Vec<u8>>,
}

/// What a holder gets of an envelope: enough to see that it is a part of what was signed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SealedSeeds {
    /// The contributor's word.
    pub contribution: Signed<Contribution>,
    /// The envelope's commitments.
    pub commitments: Vec<Digest>,
    /// SHA-256 of each of its boxes.
    pub boxes: Vec<Digest>,
    /// The holder's own box.
    pub sealed: Vec<u8>,
}

/// Sealed seeds that belong to a signed contribution. Their box remains to be opened, and they to
/// be compared.
#[derive(Clone, Debug)]
pub struct CheckedSeeds {
    ctx: Digest,
    entry: ContributionId,
    seeds: Vec<(Seats, Option<Digest>)>,
    sealed: Vec<u8>,
}

impl Envelope {
    /// SHA-256 of `"smpcfl/2 envelope"`, the numbers of commitments and boxes (LE64 each), the
    /// commitments, and SHA-256 of each box.
    pub fn digest(&self) -> Digest {
        digest(&self.commitments, &self.box_digests())
    }

    fn box_digests(&self) -> Vec<Digest> {
        self.boxes
            .iter()
            .map(|sealed| Digest::sha256(&[sealed]))
            .collect()
    }

    /// Checks that it is what `contribution`, which `holders` are to get, speaks of, with a box for
    /// each of them.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stale`] for another context, [`Refusal::Invalid`] for anything else.
    pub fn check(&self, contribution: &Contribution, holders: &Holders) -> Result<(), Refusal> {
        let (what, signer) = (Kind::Contribution, contribution.node);
        if contribution.ctx != holders.ctx() {
            return Err(Refusal::Stale { what, signer });
        }
        let fits = self.boxes.len() == holders.len()
            && self
                .boxes
                .iter()
                .all(|sealed| sealed.len() <= MAX_BOX_BYTES)
            && self.commitments.len() == holders.commitments();
        match fits && self.digest() == contribution.envelope {
            true => Ok(()),
            false => Err(Refusal::Invalid { what, signer }),
        }
    }

    /// Returns what the holder at `place` in the bundle gets; nothing if there is no box for it.
    pub fn seeds_for(
        &self,
        contribution: &Signed<Contribution>,
        place: usize,
    ) -> Option<SealedSeeds> {
        Some(SealedSeeds {
            contribution: contribution.clone(),
            commitments: self.commitments.clone(),
            boxes: self.box_digests(),
            sealed: self.boxes.get(place)?.clone(),
        })
    }
}

impl SealedSeeds {
    /// Checks that this is the holder `own`'s part of a signed envelope of this attempt.
    ///
    /// # Errors
    ///
    /// What [`Signed::verify`] refuses; [`Refusal::Stale`] for another context,
    /// [`Refusal::Invalid`] if it is not what the contributor signed, or not this holder's.
    pub fn verify(
        self,
        own: NodeId,
        holders: &Holders,
        manifest: &Manifest,
        unix_s: u64,
    ) -> Result<CheckedSeeds, Refusal> {
        let (contribution, _) = self.contribution.verify_tagged(manifest, unix_s)?;
        let (what, signer) = (Kind::Contribution, contribution.node);
        if contribution.ctx != holders.ctx() {
            return Err(Refusal::Stale { what, signer });
        }
        let mine = holders.place(own).and_then(|place| self.boxes.get(place));
        let fits = mine == Some(&Digest::sha256(&[&self.sealed]))
            && self.boxes.len() == holders.len()
            && self.commitments.len() == holders.commitments()
            && digest(&self.commitments, &self.boxes) == contribution.envelope;
        if !fits {
            return Err(Refusal::Invalid { what, signer });
        }
        let committee = holders.committee();
        let seeds = committee.held_by(own).iter().map(|class| {
            let excluded = committee.classes().excluded(class);
            (excluded, self.commitments.get(class).copied())
        });
        Ok(CheckedSeeds {
            ctx: holders.ctx(),
            entry: ContributionId::of(signer, &self.contribution),
            seeds: seeds.collect(),
            sealed: self.sealed,
        })
    }
}

impl CheckedSeeds {
    /// Returns the context of the attempt.
    pub fn ctx(&self) -> Digest {
        self.ctx
    }

    /// Whose, and which contribution.
    pub fn entry(&self) -> ContributionId {
        self.entry
    }

    /// Returns the seeds that the box must hold, in this order: T of each, and what it must be
    /// committed to as.
    pub fn seeds(&self) -> &[(Seats, Option<Digest>)] {
        &self.seeds
    }

    /// Returns the holder's box.
    pub fn sealed(&self) -> &[u8] {
        &self.sealed
    }
}

fn digest(commitments: &[Digest], boxes: &[Digest]) -> Digest {
    let lengths = [commitments.len() as u64, boxes.len() as u64].map(u64::to_le_bytes);
    let mut parts: Vec<&[u8]> = vec![b"smpcfl/2 envelope", &lengths[0], &lengths[1]];
    parts.extend(commitments.iter().chain(boxes).map(|digest| &digest.0[..]));
    Digest::sha256(&parts)
}
