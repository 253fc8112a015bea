//! A contributor's part in the committee scheme: a seed for each class, and the update masked with all of them.

use fl_protocol::digest::Digest;
use fl_protocol::round::committee::{Envelope, Holders};
use fl_protocol::round::{Hindrance, Refusal};
use fl_sharing::{SealError, Seed, seal_all};

use super::masking::{Masked, Masking, MaskingError};

impl Masking<'_> {
    /// Computes `x − Σ PRG(seed)` over the classes, in `spare` if that is large enough, and the same of the tag, and seals
    /// the seeds to the holders.
    ///
    /// The seeds are erased when this returns, whatever the outcome.
    pub(super) fn contribute(
        &self,
        holders: &Holders,
        spare: Vec<u8>,
    ) -> Result<(Masked, Envelope), MaskingError> {
        let classes = holders.committee().classes().count();
        // Fixed, because a vector that grows leaves seeds behind.
        let mut seeds = Vec::with_capacity(classes);
        for _ in 0..classes {
            let seed = Seed::generate();
            seeds.push(seed.map_err(|_| Refusal::CannotContribute(Hindrance::Randomness))?);
        }
        let envelope = self.seal(holders, &seeds)?;
        let masked = self.compute(holders.ctx(), &seeds, &[], spare)?;
        Ok((masked, envelope))
    }

    fn seal(&self, holders: &Holders, seeds: &[Seed]) -> Result<Envelope, Refusal> {
        let (ctx, committee) = (holders.ctx(), holders.committee());
        let own = self.own.as_bytes();
        let mut boxes = Vec::with_capacity(holders.len());
        for (holder, round_key) in holders.keys() {
            let held = committee.held_by(holder);
            let seeds = held.iter().filter_map(|class| seeds.get(class));
            let sealed = seal_all(&round_key, ctx.as_bytes(), own, holder.as_bytes(), seeds);
            boxes.push(sealed.map_err(|error| match error {
                SealError::Randomness(_) => Refusal::CannotContribute(Hindrance::Randomness),
                _ => Refusal::RoundKey { of: holder },
            })?);
        }
        let commitments = seeds.iter().enumerate().map(|(class, seed)| {
            let excluded = committee.classes().excluded(class);
            Digest(seed.commitment(ctx.as_bytes(), excluded.to_bytes()))
        });
        Ok(Envelope {
            commitments: commitments.take(holders.commitments()).collect(),
            boxes,
        })
    }
}
