//! Secrets that anyone can read: real ring arithmetic, with seeds that travel as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fl_shaders::cpu::{self, quantize};
use fl_shaders::{Beta, Coefficients, Counters, InputScale, Ring, Tag};

use super::secrets::{Masked, Secrets};
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::metrics::{AnswerTally, Tally};
use crate::round::committee::{CheckedSeeds, Envelope, Recipients, RevealOrder, Seats};
use crate::round::peer::{BoxOpener, CompleteShares};
use crate::round::{Check, Fault, Refusal, Verifier};

/// How inputs are tagged.
pub trait Tagging: Verifier {
    /// Returns the tag of a node's input.
    fn tag(&self, ctx: Digest, node: NodeId, input: &[u32]) -> Tag;

    /// Returns what a seed masks tags with.
    fn mask(&self, ctx: Digest, seed: &[u8; 32]) -> Tag;
}

/// The boxes of [`OpenSecrets`]: seeds as they are, that open by their length, whatever the key.
/// Round keys have 32 bytes, not all of them 0.
pub const OPEN_BOXES: BoxOpener = BoxOpener {
    is_public_key: |public| public.len() == 32 && public.iter().any(|byte| *byte != 0),
    public_key: |secret| Digest::sha256(&[b"public", secret]).0.to_vec(),
    opens: |_, _, sealed| sealed.len() == 32,
};

/// Draws updates, seeds and keys from a counter, and masks with what it has drawn.
pub struct OpenSecrets<T = OpenTags> {
    id: NodeId,
    manifest: Arc<Manifest>,
    tags: T,
    draws: u64,
    /// The encoded update that was trained from this model.
    update: Option<(Digest, Vec<u32>)>,
    given: Option<(Digest, BTreeMap<NodeId, [u8; 32]>)>,
    /// As a holder: seeds of contributors, by who lacks them.
    held: BTreeMap<(NodeId, Seats), [u8; 32]>,
    inputs: BTreeMap<Digest, Vec<u8>>,
    round_key: [u8; 32],
    /// How many of the next tags are to be wrong.
    pub wrong_tags: usize,
    /// In how many of the next attempts a share is to be one that does not open.
    pub wrong_boxes: usize,
}

impl<T: Tagging> OpenSecrets<T> {
    /// The secrets of the node with this id.
    pub fn new(manifest: Arc<Manifest>, id: NodeId, tags: T) -> Self {
        Self {
            id,
            manifest,
            tags,
            draws: 0,
            update: None,
            given: None,
            held: BTreeMap::new(),
            inputs: BTreeMap::new(),
            round_key: [0; 32],
            wrong_tags: 0,
            wrong_boxes: 0,
        }
    }

    /// Returns 32 bytes that no one else has, and the same in every run.
    fn draw(&mut self, what: &[u8]) -> [u8; 32] {
        self.draws += 1;
        Digest::sha256(&[what, self.id.as_bytes(), &self.draws.to_le_bytes()]).0
    }

    /// Masks the update in this context: subtracts what is expanded from `minus`, adds that from
    /// `plus`.
    fn masked(&mut self, ctx: Digest, minus: &[[u8; 32]], plus: &[[u8; 32]]) -> Masked {
        let (_, mut input) = self.update.clone().unwrap();
        self.inputs.insert(ctx, to_le_bytes(&input));
        let mask = |seed| self.tags.mask(ctx, seed);
        let mut tag = self.tags.tag(ctx, self.id, &input);
        tag = tag - minus.iter().map(mask).sum() + plus.iter().map(mask).sum();
        if let Some(left) = self.wrong_tags.checked_sub(1) {
            self.wrong_tags = left;
            tag += Tag::from_keystream(self.draw(b"tag"));
        }
        cpu::mask(&mut input, 0, minus, plus);
        let body = to_le_bytes(&input);
        Masked { body, tag }
    }
}

impl<T: Tagging> Secrets for OpenSecrets<T> {
    type Verifier = T;

    fn verifier(&self) -> &T {
        &self.tags
    }

    fn is_trained(&self, model: Digest) -> bool {
        let update = self.update.as_ref();
        update.is_some_and(|(base, _)| *base == model)
    }

    fn train(&mut self, model: Digest) {
        if self.is_trained(model) {
            return;
        }
        let draw = self.draw(b"update");
        let update: Vec<f32> = (0..self.manifest.parameters())
            .map(|e| (f32::from(draw[e % 32]) - 127.5) / 1e4)
            .collect();
        let right = u64::from(draw[1] % 41);
        let answers = AnswerTally {
            right,
            wrong: 40 - right,
            loss_sum: f64::from(draw[2]) / 16.0,
        };
        let counters = Counters {
            examples: 10 + u64::from(draw[0]),
            clipped: 0,
            tallies: Tally::Answers(answers).to_tallies(),
        };
        let rounding = self.draw(b"rounding");
        let plan = self.manifest.fixed_point();
        let scale = InputScale::new(plan, counters.examples).unwrap();
        let mut input = counters.to_header::<u32>(plan);
        input.resize(self.manifest.elements(), 0);
        quantize(
            &update,
            0,
            &scale,
            &rounding,
            &mut input[plan.header_words()..],
        );
        self.update = Some((model, input));
    }

    fn opener() -> BoxOpener {
        OPEN_BOXES
    }

    fn draw_round_key(&mut self) -> Vec<u8> {
        self.held.clear();
        self.round_key = self.draw(b"round key");
        (OPEN_BOXES.public_key)(&self.round_key)
    }

    fn publish_round_key(&self) -> [u8; 32] {
        self.round_key
    }

    fn seal(&mut self, ctx: Digest, receivers: &[(NodeId, Vec<u8>)]) -> Vec<(NodeId, Vec<u8>)> {
        let seeds = receivers.iter().map(|(id, _)| (*id, self.draw(b"seed")));
        let seeds: BTreeMap<_, _> = seeds.collect();
        let sealed = seeds.iter().map(|(id, seed)| (*id, seed.to_vec()));
        let mut sealed: Vec<_> = sealed.collect();
        if let Some(left) = self.wrong_boxes.checked_sub(1)
            && let Some((_, seed)) = sealed.last_mut()
        {
            self.wrong_boxes = left;
            seed.pop();
        }
        self.given = Some((ctx, seeds));
        sealed
    }

    fn mask(&mut self, shares: &CompleteShares) -> Result<Masked, Refusal> {
        let (ctx, given) = self.given.take().expect("seeds that were sealed");
        assert_eq!(ctx, shares.ctx());
        let mut received = Vec::new();
        for (from, sealed) in shares.sealed() {
            assert!(!given.contains_key(from), "one share a pair");
            let seed = sealed.as_slice().try_into();
            received.push(seed.map_err(|_| Refusal::Share { from: *from })?);
        }
        let given: Vec<_> = given.into_values().collect();
        Ok(self.masked(ctx, &given, &received))
    }

    fn contribute(&mut self, holders: &Recipients) -> (Masked, Envelope) {
        let classes = holders.committee().classes();
        let seeds: Vec<_> = (0..classes.count()).map(|_| self.draw(b"seed")).collect();
        let masked = self.masked(holders.ctx(), &seeds, &[]);
        let commitments = seeds.iter().enumerate();
        let commitments =
            commitments.map(|(class, seed)| commitment(classes.excluded(class), seed));
        // The seeds lie open, between two names.
        let boxes = holders.ids().map(|holder| {
            let held = holders.committee().held_by(holder);
            let seeds = held.iter().flat_map(|class| seeds[class]);
            let names = [*self.id.as_bytes(), *holder.as_bytes()].concat();
            names.into_iter().chain(seeds).collect()
        });
        let envelope = Envelope {
            commitments: commitments.take(holders.commitments()).collect(),
            boxes: boxes.collect(),
        };
        (masked, envelope)
    }

    fn open(&mut self, seeds_for: &CheckedSeeds) -> Result<(), Fault> {
        let from = seeds_for.entry().node;
        let (names, seeds) = seeds_for.sealed().split_at_checked(64).ok_or(Fault::Box)?;
        let (seeds, rest) = seeds.as_chunks::<32>();
        let mine = *names == [*from.as_bytes(), *self.id.as_bytes()].concat();
        if !mine || seeds.len() != seeds_for.seeds().len() || !rest.is_empty() {
            return Err(Fault::Box);
        }
        let both = seeds.iter().zip(seeds_for.seeds());
        for (seed, (excluded, committed)) in both.clone() {
            if committed.is_some_and(|committed| committed != commitment(*excluded, seed)) {
                return Err(Fault::Commitment);
            }
        }
        let seeds = both.map(|(seed, (excluded, _))| ((from, *excluded), *seed));
        self.held.extend(seeds);
        Ok(())
    }

    fn reveal(&mut self, order: &RevealOrder) -> Masked {
        let contributors = order.contributors().iter();
        let seeds = contributors.flat_map(|node| {
            let excluded = order.excluded().iter();
            excluded.map(|excluded| self.held[&(*node, *excluded)])
        });
        let seeds: Vec<_> = seeds.collect();
        let mut sum = vec![0; self.manifest.elements()];
        cpu::mask(&mut sum, 0, &[], &seeds);
        let tags = seeds.iter().map(|seed| self.tags.mask(order.ctx(), seed));
        Masked {
            body: to_le_bytes(&sum),
            tag: tags.sum(),
        }
    }

    fn input(&self, ctx: Digest) -> Option<&[u8]> {
        self.inputs.get(&ctx).map(Vec::as_slice)
    }

    fn disconnected(&mut self) {
        self.given = None;
    }

    fn restarted(&mut self) {
        self.update = None;
        self.held.clear();
    }
}

fn to_le_bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn commitment(excluded: Seats, seed: &[u8; 32]) -> Digest {
    Digest::sha256(&[b"commitment", &excluded.to_bytes(), seed])
}

/// Tags without a secret: no match for a relay that computes, but they tell one sum from another.
pub struct OpenTags;

impl Tagging for OpenTags {
    fn tag(&self, ctx: Digest, _: NodeId, input: &[u32]) -> Tag {
        let draw = |i: usize| {
            let draw = Digest::sha256(&[b"tag", ctx.as_bytes(), &i.to_le_bytes()]);
            Tag::from_keystream(draw.0)
        };
        let beta = Beta::new((0..input.len()).map(|i| draw(i + 1)));
        let coefficients = Coefficients {
            alpha: &[draw(0)],
            beta: &beta,
        };
        cpu::tag(input, 0, coefficients)
    }

    fn mask(&self, _: Digest, seed: &[u8; 32]) -> Tag {
        Tag::from_keystream(*seed)
    }
}

impl Verifier for OpenTags {
    type Check = OpenCheck;

    fn begin(&self, ctx: Digest, _: Ring, _: usize) -> OpenCheck {
        let words = Vec::new();
        OpenCheck { ctx, words }
    }
}

/// The check of one sum against open tags.
pub struct OpenCheck {
    ctx: Digest,
    words: Vec<u32>,
}

impl Check for OpenCheck {
    fn add(&mut self, chunk: &[u8]) {
        let words = chunk.as_chunks().0.iter();
        self.words.extend(words.map(|le| u32::from_le_bytes(*le)));
    }

    fn holds(self, nodes: &BTreeSet<NodeId>, tag: Tag) -> bool {
        let any = nodes.first();
        any.is_some_and(|node| OpenTags.tag(self.ctx, *node, &self.words) == tag)
    }
}
