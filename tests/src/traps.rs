//! How a participant makes a model's first layer remember single rows.
//!
//! A rectified neuron takes part in the gradient of the rows that activate it, and of no others.
//! The gradient of its weights is the row times a factor, and that of its bias is the factor. So if
//! one row of all participants alone activates a neuron, then what the round moves its weights by,
//! divided by what it moves its bias by, is that row, however many steps were taken. It does not
//! matter how large the neuron's weights are.

use std::ops::Range;

use fl_datasets::Scaling;
use fl_network::kit::Kit;
use fl_trainer::{ModelKind, ModelSpec};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::hostile_node::ReceivedSum;
use crate::statistics::dot;

/// Neurons of the first layer that become traps. The others go on to do what they are there for.
const TRAPS: usize = 48;

/// Where a trap begins to search for the row that is farthest out, in standard deviations.
const SEARCHED: Range<f64> = 0.0..14.0;

/// How close to that row a trap comes before it turns elsewhere.
const CLOSE: f64 = 0.15;

/// Least movement of a bias, times examples, that is not the rounding of fixed point.
const MOVED: f64 = 2e-2;

/// The part of its size by which a trap may be off its place.
const MISPLACED: f64 = 0.05;

/// A neuron that is to be activated by a single row.
struct Trap {
    /// Where it looks: a unit vector.
    direction: Vec<f64>,
    /// No row is as far out in its direction as the end; some row is farther out than the start.
    range: Range<f64>,
}

impl Trap {
    fn anywhere(columns: usize, rng: &mut StdRng) -> Self {
        let direction: Vec<f64> = (0..columns).map(|_| rng.random_range(-1.0..1.0)).collect();
        let norm = dot(&direction, &direction).sqrt();
        Self {
            direction: direction.iter().map(|value| value / norm).collect(),
            range: SEARCHED,
        }
    }

    /// How far out a row has to be to activate it.
    fn threshold(&self) -> f64 {
        f64::midpoint(self.range.start, self.range.end)
    }
}

/// The traps in the first layer of a multilayer perceptron for a table.
pub struct Traps {
    scaling: Scaling,
    /// Neurons of the first layer.
    neurons: usize,
    /// Examples that the participant claims.
    examples: f64,
    /// Norm of the weights of a trap.
    size: f64,
    rng: StdRng,
    traps: Vec<Trap>,
    /// The update that was given last.
    given: Vec<f32>,
    /// What may be rows, standardised.
    read: Vec<Vec<f64>>,
}

impl Traps {
    /// Returns traps whose weights have this norm, in the model of the consortium in which the
    /// participant claims so many examples.
    ///
    /// # Panics
    ///
    /// If the model is another.
    pub fn new(kit: &Kit, examples: u32, size: f64) -> Self {
        let model = &kit.task().unwrap()["model"];
        let spec: ModelSpec = model.clone().try_into().unwrap();
        assert_eq!(spec.kind(), ModelKind::Mlp);
        let layout = spec.layout().unwrap();
        let [weight, bias, ..] = layout.tensors() else {
            panic!("a model of {} tensors", layout.tensors().len());
        };
        let columns = spec.schema().shape().size();
        let neurons = bias.shape[0];
        assert_eq!(*weight.shape, [columns, neurons]);
        let mut rng = StdRng::seed_from_u64(1);
        Self {
            traps: (0..TRAPS)
                .map(|_| Trap::anywhere(columns, &mut rng))
                .collect(),
            given: vec![0.0; layout.len()],
            read: Vec::new(),
            scaling: model["scaling"].clone().try_into().unwrap(),
            examples: examples.into(),
            neurons,
            size,
            rng,
        }
    }

    /// Reads what the traps have caught in the last round, if there was one, and returns the update
    /// that leads this model to the next ones.
    pub fn steer(&mut self, model: &[f32], last: Option<&ReceivedSum>) -> Vec<f32> {
        if let Some(last) = last {
            self.look(last);
        }
        // Others have about as many examples as in the last round.
        let all = last.map_or(2.0 * self.examples, |last| last.sum.examples as f64);
        let mut update = vec![0.0; model.len()];
        for neuron in 0..self.traps.len() {
            for (place, target) in self.places(neuron) {
                let way = target - f64::from(model[place]);
                // As far as the clip of an update lets it come.
                let step = (way * all / self.examples).clamp(-1.0, 1.0);
                #[expect(clippy::cast_possible_truncation, reason = "rounds")]
                let step = step as f32;
                update[place] = step;
            }
        }
        self.given.clone_from(&update);
        update
    }

    /// Returns what was read: numbers in the units of the data, each time of what may be a row.
    pub fn rows(&self) -> Vec<Vec<f64>> {
        let in_units = |row: &Vec<f64>| {
            let units = self.scaling.mean().iter().zip(self.scaling.deviation());
            let columns = row.iter().zip(units);
            columns
                .map(|(value, (mean, deviation))| value * f64::from(*deviation) + f64::from(*mean))
                .collect()
        };
        self.read.iter().map(in_units).collect()
    }

    /// Where the weights and, last, the bias of a trap are in the model, and what they are to be.
    fn places(&self, neuron: usize) -> Vec<(usize, f64)> {
        let trap = &self.traps[neuron];
        let weights = trap.direction.iter().map(|value| value * self.size);
        let targets = weights.chain([-trap.threshold() * self.size]);
        // The bias stands behind the rows of the matrix of weights.
        let place = |(row, target)| (row * self.neurons + neuron, target);
        targets.enumerate().map(place).collect()
    }

    /// Looks at what moved the traps that were in their places.
    fn look(&mut self, last: &ReceivedSum) {
        for neuron in 0..self.traps.len() {
            let places = self.places(neuron);
            let slack = MISPLACED * self.size;
            let is_set = places
                .iter()
                .all(|(place, target)| (f64::from(last.model[*place]) - target).abs() < slack);
            if !is_set {
                continue;
            }
            // What the others have put in.
            let of_others = |(place, _): &(usize, _)| {
                last.sum.weighted[*place] - f64::from(self.given[*place]) * self.examples
            };
            let moved: Vec<_> = places.iter().map(of_others).collect();
            let (bias, weights) = moved.split_last().unwrap();
            let trap = &mut self.traps[neuron];
            let threshold = trap.threshold();
            if bias.abs() > MOVED {
                self.read
                    .push(weights.iter().map(|weight| weight / bias).collect());
                trap.range.start = threshold;
            } else {
                trap.range.end = threshold;
            }
            if trap.range.end - trap.range.start < CLOSE {
                *trap = Trap::anywhere(weights.len(), &mut self.rng);
            }
        }
    }
}
