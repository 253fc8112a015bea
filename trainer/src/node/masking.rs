//! A node's secrets of one attempt: seeds drawn and received, and the masked sum that comes of them.

use std::collections::BTreeMap;

use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::identity::NodeId;
use fl_protocol::round::{Hindrance, Refusal};
use fl_shaders::{Counters, FixedPoint, HEADER_WORDS, Tag};
use fl_sharing::{
    Blinding, DeviceError, Engine, EngineError, Mask, RoundKey, RoundingKey, SealError, Seed, Sign,
    masked_len, seal,
};

use super::verifying::TagVerifier;
use crate::{Evaluation, Layout, Update};

/// Shares by addressee, each sealed to its round key.
type SealedShares = Vec<(NodeId, Vec<u8>)>;

/// The seeds that this node drew for others in one attempt. Erased on drop.
pub(super) struct OwnSeeds {
    ctx: Digest,
    seeds: Vec<Seed>,
}

impl OwnSeeds {
    /// Draws a seed for each receiver and seals it to the receiver's round key. Gives the seeds and the sealed shares.
    pub(super) fn seal(
        ctx: Digest,
        own: NodeId,
        receivers: &[(NodeId, [u8; 32])],
    ) -> Result<(Self, SealedShares), Refusal> {
        let mut seeds = Vec::with_capacity(receivers.len());
        let mut sealed = Vec::with_capacity(receivers.len());
        for (to, round_key) in receivers {
            let seed =
                Seed::generate().map_err(|_| Refusal::CannotContribute(Hindrance::Randomness))?;
            let share = seal(
                round_key,
                ctx.as_bytes(),
                own.as_bytes(),
                to.as_bytes(),
                &seed,
            )
            .map_err(|error| match error {
                SealError::Randomness(_) => Refusal::CannotContribute(Hindrance::Randomness),
                _ => Refusal::RoundKey { of: *to },
            })?;
            seeds.push(seed);
            sealed.push((*to, share.to_vec()));
        }
        Ok((Self { ctx, seeds }, sealed))
    }
}

/// A masked vector, ready to be announced.
pub(super) struct Masked {
    pub(super) body: Vec<u8>,
    pub(super) hashes: ChunkHashes,
    /// What goes with it of the tags' sum.
    pub(super) tag: Tag,
}

/// Why there is no masked vector.
pub(super) enum MaskingError {
    /// As others may know it.
    Refused(Refusal),
    /// The engine's device failed.
    Device(DeviceError),
}

impl From<Refusal> for MaskingError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// An input, and what it is masked by.
pub(super) struct Masking<'a> {
    pub(super) engine: &'a dyn Engine,
    pub(super) tags: &'a TagVerifier,
    pub(super) format: &'a FixedPoint,
    pub(super) layout: &'a Layout,
    pub(super) own: NodeId,
    pub(super) update: &'a Update,
    pub(super) examples: u32,
    pub(super) before: Evaluation,
}

impl Masking<'_> {
    /// Opens the received shares and computes the masked sum of a participant, in `spare` if that is large enough.
    ///
    /// The keys and seeds are erased when this returns, whatever the outcome.
    pub(super) fn sum(
        &self,
        round_key: RoundKey,
        given: OwnSeeds,
        sealed: &BTreeMap<NodeId, Vec<u8>>,
        spare: Vec<u8>,
    ) -> Result<Masked, MaskingError> {
        let ctx = given.ctx;
        let mut received = Vec::with_capacity(sealed.len());
        for (from, sealed) in sealed {
            let seed = round_key
                .open(ctx.as_bytes(), from.as_bytes(), self.own.as_bytes(), sealed)
                .map_err(|_| Refusal::Share { from: *from })?;
            received.push(seed);
        }
        self.compute(ctx, &given.seeds, &received, spare)
    }

    /// Computes `x − Σ PRG(given) + Σ PRG(received)`, in `body`, and the same of the tags.
    pub(super) fn compute(
        &self,
        ctx: Digest,
        given: &[Seed],
        received: &[Seed],
        mut body: Vec<u8>,
    ) -> Result<Masked, MaskingError> {
        let elements = HEADER_WORDS + self.update.len();
        let (attempt, ctx) = (ctx, ctx.as_bytes());
        let tag_key = self.tags.key(attempt, elements);
        let mut tag = tag_key.blind(self.own.as_bytes());
        let mut masks = Vec::with_capacity(given.len() + received.len());
        for seed in given {
            tag -= seed.tag_mask(ctx);
            masks.push(Mask {
                key: seed.expand(ctx),
                sign: Sign::Minus,
            });
        }
        for seed in received {
            tag += seed.tag_mask(ctx);
            masks.push(Mask {
                key: seed.expand(ctx),
                sign: Sign::Plus,
            });
        }
        let rounding = RoundingKey::generate()
            .map_err(|_| Refusal::CannotContribute(Hindrance::Randomness))?;
        let counters = Counters {
            examples: self.examples.into(),
            test_examples: self.before.examples,
            correct: self.before.correct,
            loss: self.before.loss_sum,
            clipped: 0,
        };
        let blinding = Blinding {
            rounding: &rounding,
            masks: &masks,
            coefficients: tag_key.coefficients(),
        };
        body.resize(masked_len(self.format, self.update.len()), 0);
        let met = self
            .update
            .mask(self.engine, (self.format, counters), &blinding, &mut body)
            .map_err(|error| match error {
                EngineError::Device(error) => MaskingError::Device(error),
                _ => Refusal::CannotContribute(hindrance(&error, self.layout)).into(),
            })?;
        let hashes = ChunkHashes::of(&body);
        let tag = tag + met.tag;
        // The sum is checked with it.
        self.tags.keep(attempt, elements, tag_key);
        Ok(Masked { body, hashes, tag })
    }
}

/// The engine's error as others may know it: tensors have names, coordinates do not.
fn hindrance(error: &EngineError, layout: &Layout) -> Hindrance {
    match error {
        EngineError::NonFinite { coordinate } => {
            let index = usize::try_from(*coordinate).ok();
            let tensor = index.and_then(|index| layout.tensor_at(index));
            let tensor = tensor.map(|tensor| tensor.name.clone());
            Hindrance::NotFinite {
                tensor: tensor.unwrap_or_default(),
            }
        }
        EngineError::Examples(_) => Hindrance::Examples,
        _ => Hindrance::Computation,
    }
}
