//! In which order a node goes through its examples.
//!
//! That is a secret of the node. If others knew it, a second consortium of the same nodes but one
//! would repeat the former sum, less the input of the one that is missing.

use std::ops::ControlFlow;

use fl_protocol::digest::Digest;
use fl_protocol::identity::Identity;
use fl_protocol::metrics::{Metrics, Tally};
use hkdf::Hkdf;
use rand::rngs::ChaCha12Rng;
use rand::{RngExt, SeedableRng};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{Layout, LocalTrainer, LocalUpdate, Part, Progress, TrainError};

/// HKDF label of the seeds of training (the protocol, section 5).
const LABEL: &[u8] = b"smpcfl/2 training";

/// What the orders of one node in one consortium follow from. The secret in it is the node's
/// private key.
#[derive(Clone, Debug)]
pub struct OrderKey {
    identity: Identity,
    consortium: Digest,
}

impl OrderKey {
    /// The key of the node with this identity, in the consortium with this id.
    pub fn new(identity: Identity, consortium: Digest) -> Self {
        Self {
            identity,
            consortium,
        }
    }

    /// Returns the seed of `round`, in which training begins with the model of this hash.
    ///
    /// It is HKDF-SHA256 (RFC 5869) with the consortium id as salt, the private key as input key,
    /// and "smpcfl/2 training", the round and the hash as info (the protocol, section 5).
    pub fn seed(&self, round: u64, model: Digest) -> OrderSeed {
        let info = [LABEL, &round.to_le_bytes(), model.as_bytes()];
        let mut seed = OrderSeed([0; 32]);
        #[expect(
            clippy::expect_used,
            reason = "HKDF-SHA256 expands to anything up to 8,160 bytes"
        )]
        Hkdf::<Sha256>::new(Some(self.consortium.as_bytes()), self.identity.expose())
            .expand_multi_info(&info, &mut seed.0)
            .expect("32 bytes");
        seed
    }
}

/// What the order of the examples in one round follows from, and whatever else training draws.
///
/// Whoever has it can repeat the training, given the data and the model. It does not print, and is
/// erased on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct OrderSeed([u8; 32]);

impl OrderSeed {
    /// The seed that follows from two numbers that are no secrets, for runs without an adversary
    /// that must be repeatable.
    pub fn of_numbers(seed: u64, round: u64) -> Self {
        let mut both = [0; 32];
        both[..8].copy_from_slice(&seed.to_le_bytes());
        both[8..16].copy_from_slice(&round.to_le_bytes());
        Self(both)
    }

    /// Returns the generator of the order.
    pub(crate) fn generator(&self) -> ChaCha12Rng {
        ChaCha12Rng::from_seed(self.0)
    }

    /// Returns a seed for the device's own generator, from other words than the order's.
    pub(crate) fn device_seed(&self) -> u64 {
        let mut other = self.generator();
        other.set_stream(1);
        other.random()
    }
}

/// A trainer whose orders follow from a number, whatever its node's secret is: for simulations and
/// experiments, in which nobody is to be protected from anybody.
pub struct RepeatableOrder {
    trainer: Box<dyn LocalTrainer>,
    seed: u64,
}

impl RepeatableOrder {
    /// `trainer`, with the orders that follow from `seed` and the rounds.
    pub fn new(trainer: Box<dyn LocalTrainer>, seed: u64) -> Self {
        Self { trainer, seed }
    }
}

impl LocalTrainer for RepeatableOrder {
    fn layout(&self) -> &Layout {
        self.trainer.layout()
    }

    fn initial(&mut self) -> Result<Vec<f32>, TrainError> {
        self.trainer.initial()
    }

    fn examples(&self) -> u64 {
        self.trainer.examples()
    }

    fn train(
        &mut self,
        global: &[f32],
        round: u64,
        _: &OrderSeed,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<LocalUpdate, TrainError> {
        let order = OrderSeed::of_numbers(self.seed, round);
        self.trainer.train(global, round, &order, progress)
    }

    fn metrics(&self) -> Metrics {
        self.trainer.metrics()
    }

    fn evaluate(&mut self, parameters: &[f32]) -> Result<Tally, TrainError> {
        self.trainer.evaluate(parameters)
    }

    fn pad(
        &mut self,
        part: Part,
        up_to: u32,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), TrainError> {
        self.trainer.pad(part, up_to, progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(private: u8, consortium: u8) -> OrderKey {
        OrderKey::new(
            Identity::from_secret(&[private; 32]),
            Digest([consortium; 32]),
        )
    }

    #[test]
    fn the_seed_of_a_round_is_that_of_the_protocol() {
        let seed = key(1, 2).seed(3, Digest([4; 32]));
        let known = "a9288632aed0f8aae24f906b1ada06476ab1c8b3a1eb795e05f8ea95f03078c6";
        assert_eq!(hex::encode(seed.0), known);
    }

    #[test]
    fn every_node_consortium_round_and_model_has_a_seed_of_its_own() {
        let seed = |node, consortium, round, model| {
            let seed = key(node, consortium).seed(round, Digest([model; 32]));
            seed.0
        };
        let first = seed(1, 1, 1, 1);
        assert_eq!(seed(1, 1, 1, 1), first);
        for other in [
            seed(2, 1, 1, 1),
            seed(1, 2, 1, 1),
            seed(1, 1, 2, 1),
            seed(1, 1, 1, 2),
        ] {
            assert_ne!(other, first);
        }
    }

    #[test]
    fn a_key_does_not_print() {
        let text = format!("{:?}", key(0xab, 1));
        assert!(
            !text.contains(&"ab".repeat(4)) && !text.contains("171"),
            "{text}"
        );
    }
}
