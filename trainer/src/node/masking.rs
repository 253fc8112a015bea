//! A node's masked vector: the update, with what the seeds of an attempt expand to taken off or
//! added.

use std::collections::BTreeMap;
use std::sync::Arc;

use fl_protocol::digest::Digest;
use fl_protocol::identity::NodeId;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::committee::{Envelope, Recipients};
use fl_protocol::round::peer::TagShare;
use fl_protocol::round::{AbortReason, Kind, Refusal};
use fl_shaders::{Counters, Tag};
use fl_sharing::{
    Blinding, DeviceError, Engine, EngineError, Mask, RoundKey, RoundingKey, SealError, Seed, Sign,
    masked_len, random_bytes, seal,
};

use super::contributing::ClassSeeds;
use super::job::{HashedBody, TrainedUpdate};
use super::verifying::TagVerifier;
use crate::Layout;

/// Shares by addressee, each sealed to its round key.
type SealedShares = Vec<(NodeId, Vec<u8>)>;

/// The seeds that this node drew for others in one attempt. Erased on drop.
pub(super) struct OwnSeeds {
    ctx: Digest,
    seeds: Vec<Seed>,
}

impl OwnSeeds {
    /// Draws a seed for each receiver and seals it to the receiver's round key. Returns the seeds
    /// and the sealed shares.
    pub(super) fn seal(
        ctx: Digest,
        own: NodeId,
        receivers: &[(NodeId, Vec<u8>)],
    ) -> Result<(Self, SealedShares), Refusal> {
        let mut seeds = Vec::with_capacity(receivers.len());
        let mut sealed = Vec::with_capacity(receivers.len());
        for (to, round_key) in receivers {
            let seed =
                Seed::generate().map_err(|_| Refusal::CannotContribute(AbortReason::Randomness))?;
            let share = seal(
                round_key,
                ctx.as_bytes(),
                own.as_bytes(),
                to.as_bytes(),
                &seed,
            )
            .map_err(|error| match error {
                SealError::Randomness(_) => Refusal::CannotContribute(AbortReason::Randomness),
                _ => Refusal::Invalid {
                    what: Kind::Keys,
                    signer: *to,
                },
            })?;
            seeds.push(seed);
            sealed.push((*to, share.to_vec()));
        }
        Ok((Self { ctx, seeds }, sealed))
    }
}

/// A masked vector, ready to be announced.
pub(super) enum MaskedUpdate {
    /// A participant's.
    Sum {
        body: HashedBody,
        /// What goes with it of the tags' sum.
        tag_share: TagShare,
    },
    /// A contributor's.
    Contribution {
        body: HashedBody,
        /// What goes with it of the tags' sum.
        tag: Tag,
        /// The seeds, sealed to the holders.
        envelope: Envelope,
    },
}

/// Why there is no masked vector.
pub(super) enum MaskingError {
    /// As others may know it.
    Refused(Refusal),
    /// A share does not open with this round key.
    Box { from: NodeId, round_key: RoundKey },
    /// The engine's device failed.
    Device(DeviceError),
}

impl From<Refusal> for MaskingError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What a node masks its updates with, and checks their sums with.
#[derive(Clone)]
pub(super) struct Masker {
    pub(super) own: NodeId,
    pub(super) manifest: Arc<Manifest>,
    pub(super) layout: Arc<Layout>,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) tags: TagVerifier,
}

impl Masker {
    /// Opens the received shares and computes the masked sum of a participant, in `spare` if that
    /// is large enough.
    ///
    /// The seeds are erased when this returns, whatever the outcome, and the round key, unless a
    /// share does not open with it.
    pub(super) fn sum(
        &self,
        update: &TrainedUpdate,
        (round_key, given): (RoundKey, OwnSeeds),
        sealed: &BTreeMap<NodeId, Vec<u8>>,
        spare: Vec<u8>,
    ) -> Result<MaskedUpdate, MaskingError> {
        let ctx = given.ctx;
        let mut received = Vec::with_capacity(sealed.len());
        for (from, sealed) in sealed {
            let own = self.own.as_bytes();
            match round_key.open(ctx.as_bytes(), from.as_bytes(), own, sealed) {
                Ok(seed) => received.push(seed),
                Err(_) => {
                    let from = *from;
                    return Err(MaskingError::Box { from, round_key });
                }
            }
        }
        let nonce = random_bytes();
        let nonce = nonce.map_err(|_| Refusal::CannotContribute(AbortReason::Randomness))?;
        let (body, tag) = self.mask(update, ctx, (&given.seeds, &received), spare)?;
        let tag_share = TagShare::new(tag, nonce);
        Ok(MaskedUpdate::Sum { body, tag_share })
    }

    /// Computes `x − Σ PRG(seed)` over the classes of a contributor, in `spare` if that is large
    /// enough, and the same of the tag, and seals the seeds to the holders.
    ///
    /// The seeds are erased when this returns, whatever the outcome.
    pub(super) fn contribute(
        &self,
        update: &TrainedUpdate,
        holders: &Recipients,
        spare: Vec<u8>,
    ) -> Result<MaskedUpdate, MaskingError> {
        let seeds = ClassSeeds::generate(holders)?;
        let envelope = seeds.seal(self.own, holders)?;
        let (body, tag) = self.mask(update, holders.ctx(), (seeds.as_slice(), &[]), spare)?;
        Ok(MaskedUpdate::Contribution {
            body,
            tag,
            envelope,
        })
    }

    /// Computes `x − Σ PRG(given) + Σ PRG(received)`, in `body`, and the same of the tags.
    fn mask(
        &self,
        TrainedUpdate { local, before, .. }: &TrainedUpdate,
        ctx: Digest,
        (given, received): (&[Seed], &[Seed]),
        mut body: Vec<u8>,
    ) -> Result<(HashedBody, Tag), MaskingError> {
        let format = self.manifest.fixed_point();
        let agreed = self.manifest.addends([&self.own]).examples_max;
        if u64::from(local.examples) > agreed {
            // The others would refuse the sum.
            return Err(Refusal::CannotContribute(AbortReason::Examples).into());
        }
        let elements = format.header_words() + local.update.len();
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
            .map_err(|_| Refusal::CannotContribute(AbortReason::Randomness))?;
        let counters = Counters {
            examples: local.examples.into(),
            clipped: 0,
            tallies: before.to_tallies(),
        };
        let blinding = Blinding {
            rounding: &rounding,
            masks: &masks,
            coefficients: tag_key.coefficients(),
        };
        body.resize(masked_len(format, local.update.len()), 0);
        let met = local
            .update
            .mask(&*self.engine, (format, &counters), &blinding, &mut body)
            .map_err(|error| match error {
                EngineError::Device(error) => MaskingError::Device(error),
                _ => Refusal::CannotContribute(abort_reason(&error, &self.layout)).into(),
            })?;
        let body = HashedBody::of(body.into());
        // The sum is checked with it.
        self.tags.keep(attempt, elements, tag_key);
        Ok((body, tag + met.tag))
    }
}

/// The engine's error as others may know it: tensors have names, coordinates do not.
fn abort_reason(error: &EngineError, layout: &Layout) -> AbortReason {
    match error {
        EngineError::NonFinite { coordinate } => {
            let index = usize::try_from(*coordinate).ok();
            let tensor = index.and_then(|index| layout.tensor_at(index));
            let tensor = tensor.map(|tensor| tensor.name.clone());
            AbortReason::NotFinite {
                tensor: tensor.unwrap_or_default(),
            }
        }
        EngineError::Examples(_) => AbortReason::Examples,
        _ => AbortReason::Computation,
    }
}
