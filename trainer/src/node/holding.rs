//! A holder's part in the committee scheme: the round key of an attempt, the seeds that it opens,
//! and the sums of masks that are asked for. In memory only: a holder that is restarted is lost for
//! the attempt.

use std::collections::BTreeMap;

use fl_protocol::digest::Digest;
use fl_protocol::identity::NodeId;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::Fault;
use fl_protocol::round::committee::{CheckedSeeds, RevealOrder, Seats};
use fl_shaders::Tag;
use fl_sharing::{DeviceError, Engine, MaskKey, RandomnessError, RoundKey, Seed};

use super::job::HashedBody;

/// What a holder has of one attempt. Secrets are erased on drop.
pub(super) struct Holding {
    round_key: RoundKey,
    seeds: BTreeMap<NodeId, Opened>,
    /// Sums of masks that were announced, by root.
    pub(super) reveals: BTreeMap<Digest, HashedBody>,
}

/// The seeds of one contributor, where they were opened: what is moved leaves a copy behind.
struct Opened {
    /// Whose holders do not have the seed, for each.
    excluded: Vec<Seats>,
    seeds: Vec<Seed>,
}

/// The keys of masks that are to be summed up, and the sum of the tags' masks.
pub(super) struct Masks {
    keys: Vec<MaskKey>,
    pub(super) tag: Tag,
}

impl Holding {
    /// Draws a round key.
    pub(super) fn generate() -> Result<Self, RandomnessError> {
        Ok(Self {
            round_key: RoundKey::generate()?,
            seeds: BTreeMap::new(),
            reveals: BTreeMap::new(),
        })
    }

    /// Returns the public part of the round key.
    pub(super) fn public(&self) -> &[u8] {
        self.round_key.public()
    }

    /// Opens a contributor's box, and keeps the seeds if they are what the contributor has
    /// committed to.
    pub(super) fn open(&mut self, own: NodeId, seeds_for: &CheckedSeeds) -> Result<(), Fault> {
        let (ctx, from, expected) = (seeds_for.ctx(), seeds_for.entry().node, seeds_for.seeds());
        let (ctx, sealed) = (ctx.as_bytes(), seeds_for.sealed());
        let (sender, count) = (from.as_bytes(), expected.len());
        let opened = self
            .round_key
            .open_all(ctx, sender, own.as_bytes(), count, sealed);
        let seeds = opened.map_err(|_| Fault::Box)?;
        let differs = |(seed, (excluded, committed)): (&Seed, &(Seats, Option<Digest>))| {
            let commitment = || Digest(seed.commitment(ctx, excluded.to_bytes()));
            committed.is_some_and(|committed| committed != commitment())
        };
        if seeds.iter().zip(expected).any(differs) {
            return Err(Fault::Commitment);
        }
        let excluded = expected.iter().map(|(excluded, _)| *excluded).collect();
        self.seeds.insert(from, Opened { excluded, seeds });
        Ok(())
    }

    /// The masks that are asked for; nothing if this process lacks one of them.
    pub(super) fn masks(&self, order: &RevealOrder) -> Option<Masks> {
        let ctx = order.ctx();
        let count = order.contributors().len() * order.excluded().len();
        let (mut keys, mut tag) = (Vec::with_capacity(count), Tag::default());
        for node in order.contributors() {
            let opened = self.seeds.get(node)?;
            for class in order.excluded() {
                let place = opened
                    .excluded
                    .iter()
                    .position(|excluded| excluded == class)?;
                let seed = opened.seeds.get(place)?;
                keys.push(seed.expand(ctx.as_bytes()));
                tag += seed.tag_mask(ctx.as_bytes());
            }
        }
        Some(Masks { keys, tag })
    }
}

impl Masks {
    /// The sum of the masks.
    pub(super) fn sum(
        self,
        engine: &dyn Engine,
        manifest: &Manifest,
    ) -> Result<HashedBody, DeviceError> {
        let mut sum = vec![0; manifest.body_bytes()];
        engine.sum(manifest.fixed_point().ring(), &self.keys, &mut sum)?;
        Ok(HashedBody::of(sum.into()))
    }
}
