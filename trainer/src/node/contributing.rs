//! A contributor's seeds in the committee scheme, one for each class of holders.

use fl_protocol::digest::Digest;
use fl_protocol::identity::NodeId;
use fl_protocol::round::committee::{Envelope, Holders, Recipients};
use fl_protocol::round::{AbortReason, Kind, Refusal};
use fl_sharing::{SealError, Seed, seal_all};

/// A contributor's seeds, by class. Erased on drop.
pub(super) struct ClassSeeds(Vec<Seed>);

impl ClassSeeds {
    /// Draws a seed for each class of `holders`.
    pub(super) fn generate(holders: &Holders) -> Result<Self, Refusal> {
        let classes = holders.committee().classes().count();
        // Fixed, because a vector that grows leaves seeds behind.
        let mut seeds = Vec::with_capacity(classes);
        for _ in 0..classes {
            let seed = Seed::generate();
            seeds.push(seed.map_err(|_| Refusal::CannotContribute(AbortReason::Randomness))?);
        }
        Ok(Self(seeds))
    }

    /// Seals to each holder the seeds of its classes, and commits to all of them in `own`'s name.
    pub(super) fn seal(&self, own: NodeId, holders: &Recipients) -> Result<Envelope, Refusal> {
        let (ctx, committee) = (holders.ctx(), holders.committee());
        let own = own.as_bytes();
        let mut boxes = Vec::with_capacity(holders.len());
        for (holder, round_key) in holders.round_keys() {
            let held = committee.held_by(*holder);
            let seeds = held.iter().filter_map(|class| self.0.get(class));
            let sealed = seal_all(round_key, ctx.as_bytes(), own, holder.as_bytes(), seeds);
            boxes.push(sealed.map_err(|error| match error {
                SealError::Randomness(_) => Refusal::CannotContribute(AbortReason::Randomness),
                _ => Refusal::Invalid {
                    what: Kind::Keys,
                    signer: *holder,
                },
            })?);
        }
        let commitments = self.0.iter().enumerate().map(|(class, seed)| {
            let excluded = committee.classes().excluded(class);
            Digest(seed.commitment(ctx.as_bytes(), excluded.to_bytes()))
        });
        Ok(Envelope {
            commitments: commitments.take(holders.commitments()).collect(),
            boxes,
        })
    }

    /// Returns the seeds in the order of the classes.
    pub(super) fn as_slice(&self) -> &[Seed] {
        &self.0
    }
}
