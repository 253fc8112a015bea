//! The secrets of a node as the real one has them: sealed seeds, the engine's masks, tags under the
//! epoch key.

#![expect(
    clippy::expect_used,
    reason = "whatever fails here fails the test, since all nodes are honest"
)]

use std::sync::Arc;

use anyhow::Result;
use fl_network::kit::Kit;
use fl_network::opener::OPENER;
use fl_protocol::digest::Digest;
use fl_protocol::identity::NodeId;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::Refusal;
use fl_protocol::round::peer::{BoxOpener, CompleteShares};
use fl_protocol::sim::{Masked, Secrets};
use fl_shaders::{Counters, Tag};
use fl_sharing::{
    Blinding, CpuEngine, Engine, EpochKey, Input, Mask, RoundKey, RoundingKey, Seed, Sign,
    masked_len, seal,
};
use fl_trainer::node::TagVerifier;

use super::memory::Contribution;

/// What one node contributes, and its keys.
pub struct Sealing {
    /// Its round key, in every attempt.
    pub round_key: RoundKey,
    id: NodeId,
    manifest: Arc<Manifest>,
    epoch_key: [u8; 32],
    verifier: TagVerifier,
    /// What it contributes in the next round.
    pub update: Vec<f32>,
    counters: Counters,
    given: Vec<[u8; 32]>,
    /// How many of the next tags are to be wrong.
    pub wrong_tags: usize,
    /// The input that was masked last, and in which context.
    input: Option<(Digest, Vec<u8>)>,
}

impl Sealing {
    /// Returns the secrets of the node with this kit.
    ///
    /// # Errors
    ///
    /// If the system gives no random bytes, or the epoch key is not in the kit.
    pub fn new(kit: &Kit, (update, counters): Contribution) -> Result<Self> {
        let epoch_key = EpochKey::from_bytes(*kit.epoch_key()?);
        Ok(Self {
            round_key: RoundKey::generate()?,
            id: kit.id(),
            manifest: kit.manifest.clone(),
            epoch_key: *kit.epoch_key()?,
            verifier: TagVerifier::new(Arc::new(epoch_key)),
            update,
            counters,
            given: Vec::new(),
            wrong_tags: 0,
            input: None,
        })
    }

    /// The encoded update plus these masks, and its tag in this context.
    fn masked(&self, ctx: Digest, rounding: &RoundingKey, masks: &[Mask]) -> Masked {
        let format = self.manifest.fixed_point();
        let input = Input {
            format,
            counters: &self.counters,
            update: &self.update,
        };
        let epoch_key = EpochKey::from_bytes(self.epoch_key);
        let tag_key = epoch_key.tag_key(ctx.as_bytes(), self.manifest.elements());
        let blinding = Blinding {
            rounding,
            masks,
            coefficients: tag_key.coefficients(),
        };
        let mut body = vec![0; masked_len(format, self.update.len())];
        let met = CpuEngine.mask(&input, &blinding, &mut body);
        let tag = met.expect("a sound input").tag + tag_key.blind(self.id.as_bytes());
        Masked { body, tag }
    }
}

impl Secrets for Sealing {
    type Verifier = TagVerifier;

    fn verifier(&self) -> &TagVerifier {
        &self.verifier
    }

    fn is_trained(&self, _: Digest) -> bool {
        true
    }

    fn train(&mut self, _: Digest) {}

    fn opener() -> BoxOpener {
        OPENER
    }

    fn publish_round_key(&self) -> [u8; 32] {
        self.round_key.publish()
    }

    fn draw_round_key(&mut self) -> Vec<u8> {
        self.round_key.public().to_vec()
    }

    fn seal(&mut self, ctx: Digest, receivers: &[(NodeId, Vec<u8>)]) -> Vec<(NodeId, Vec<u8>)> {
        self.given.clear();
        let sealed = receivers.iter().map(|(to, key)| {
            let seed: [u8; 32] = rand::random();
            self.given.push(seed);
            let (from, seed) = (self.id.as_bytes(), Seed::from_bytes(seed));
            let sealed = seal(key, ctx.as_bytes(), from, to.as_bytes(), &seed);
            (*to, sealed.expect("a sound key").to_vec())
        });
        sealed.collect()
    }

    fn mask(&mut self, shares: &CompleteShares) -> Result<Masked, Refusal> {
        let (ctx, to) = (shares.ctx(), self.id.as_bytes());
        let mut tag = Tag::default();
        let mut masks = Vec::new();
        for seed in &self.given {
            let seed = Seed::from_bytes(*seed);
            tag -= seed.tag_mask(ctx.as_bytes());
            masks.push(Mask {
                key: seed.expand(ctx.as_bytes()),
                sign: Sign::Minus,
            });
        }
        for (from, sealed) in shares.sealed() {
            let seed = self
                .round_key
                .open(ctx.as_bytes(), from.as_bytes(), to, sealed);
            let seed = seed.map_err(|_| Refusal::Share { from: *from })?;
            tag += seed.tag_mask(ctx.as_bytes());
            masks.push(Mask {
                key: seed.expand(ctx.as_bytes()),
                sign: Sign::Plus,
            });
        }
        let rounding = RoundingKey::generate().expect("random bytes");
        self.input = Some((ctx, self.masked(ctx, &rounding, &[]).body));
        let mut masked = self.masked(ctx, &rounding, &masks);
        masked.tag += tag;
        if let Some(left) = self.wrong_tags.checked_sub(1) {
            self.wrong_tags = left;
            masked.tag += Tag::from_keystream([9; 32]);
        }
        Ok(masked)
    }

    fn input(&self, ctx: Digest) -> Option<&[u8]> {
        let input = self.input.as_ref().filter(|(of, _)| *of == ctx);
        input.map(|(_, bytes)| bytes.as_slice())
    }

    fn disconnected(&mut self) {
        self.given.clear();
    }

    fn restarted(&mut self) {}
}
