//! The input vector of a node: header words, then the encoded update (the protocol, section 2).
//!
//! ```text
//! word  0  training examples n_i
//!       1  test examples
//!       2  test examples that the global model got right, before training
//!       3  sum of the loss over the test examples, in units of 2^−loss_fraction_bits nats
//!       4  coordinates that were clipped
//!       5… q_0 … q_{M−1}
//! ```
//!
//! The header is masked like everything else, so neither weights nor metrics travel in clear; only
//! their sums open.

use crate::{FixedPoint, Word};

/// Number of words before the first coordinate.
pub const HEADER_WORDS: usize = 5;

/// The counters of one node, or their sums over all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counters {
    /// Training examples; the weight of the update.
    pub examples: u64,
    /// Test examples.
    pub test_examples: u64,
    /// Test examples that the global model got right, before training. At most `test_examples`.
    pub correct: u64,
    /// Sum of the global model's loss over the test examples, in nats, ≥ 0.
    pub loss: f64,
    /// Coordinates of the update that were clipped to ±C.
    pub clipped: u64,
}

/// Those whose inputs a sum adds up: what bounds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addends {
    /// |V|, the number of nodes.
    pub nodes: u32,
    /// The most training examples that they have together: the sum of each one's own figure.
    pub examples_max: u64,
}

/// Why the header of a sum cannot be the sum of honest headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TotalsError {
    /// More nodes than the format was planned for.
    #[error("a sum over {nodes} nodes; the format allows {nodes_max}")]
    Nodes {
        /// |V|.
        nodes: u32,
        /// N_max.
        nodes_max: u32,
    },
    /// Σn is not between 1 and the most examples of all nodes.
    #[error("the sum claims {examples} training examples; it must be between 1 and {limit}")]
    Examples {
        /// Signed word 0 of the sum.
        examples: i64,
        /// [`Addends::examples_max`].
        limit: u64,
    },
    /// A counter is negative or above `|V| · counter_max`.
    #[error("header word {word} of the sum is {value}; it must be between 0 and {limit}")]
    Counter {
        /// Index of the header word.
        word: usize,
        /// Its signed value.
        value: i64,
        /// `|V| · counter_max`.
        limit: u64,
    },
    /// More right answers than questions.
    #[error("the sum claims {correct} correct answers on {test_examples} test examples")]
    Correct {
        /// Word 2 of the sum.
        correct: u64,
        /// Word 1 of the sum.
        test_examples: u64,
    },
}

impl Counters {
    /// The header words of one node's vector.
    ///
    /// A counter that exceeds `counter_max` is sent as `counter_max`, and so is a loss that is not
    /// finite; a negative loss is sent as 0. (`examples` is held to n_max by
    /// [`InputScale::new`](crate::InputScale::new).)
    pub fn to_header<W: Word>(&self, plan: &FixedPoint) -> [W; HEADER_WORDS] {
        let counter_max = plan.counter_max();
        let loss = self.loss * exp2(plan.loss_fraction_bits());
        #[expect(clippy::cast_possible_truncation, reason = "whole units; 0 below 0")]
        let loss = if loss < counter_max as f64 {
            loss as u64
        } else {
            counter_max
        };
        [
            self.examples,
            self.test_examples,
            self.correct,
            loss,
            self.clipped,
        ]
        .map(|counter| W::from_signed(counter.min(counter_max).cast_signed()))
    }

    /// Reads the header of the sum of these inputs.
    ///
    /// # Errors
    ///
    /// A [`TotalsError`] for the first word that no honest nodes can have added up to.
    pub fn from_header<W: Word>(
        header: [W; HEADER_WORDS],
        plan: &FixedPoint,
        addends: Addends,
    ) -> Result<Self, TotalsError> {
        let nodes = addends.nodes;
        let nodes_max = plan.nodes_max();
        if nodes > nodes_max {
            return Err(TotalsError::Nodes { nodes, nodes_max });
        }
        let within = |value: i64, limit: u64| value.try_into().ok().filter(|&v: &u64| v <= limit);

        let [examples, test_examples, correct, loss, clipped] = header.map(W::to_signed);
        let limit = addends.examples_max;
        let examples = within(examples, limit)
            .filter(|&examples| examples > 0)
            .ok_or(TotalsError::Examples { examples, limit })?;

        // Does not wrap, and tags tell any two sums within it apart: counter_max < 2^59 / N_max.
        let limit = u64::from(nodes) * plan.counter_max();
        let counter =
            |word, value| within(value, limit).ok_or(TotalsError::Counter { word, value, limit });
        let test_examples = counter(1, test_examples)?;
        let correct = counter(2, correct)?;
        let loss = counter(3, loss)? as f64 * exp2(-plan.loss_fraction_bits());
        let clipped = counter(4, clipped)?;
        if correct > test_examples {
            return Err(TotalsError::Correct {
                correct,
                test_examples,
            });
        }
        Ok(Self {
            examples,
            test_examples,
            correct,
            loss,
            clipped,
        })
    }
}

/// 2^exponent; exact for the ±63 that a plan allows.
fn exp2(exponent: i32) -> f64 {
    2_f64.powi(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Parameters, Ring};

    fn format(ring: Ring, loss_fraction_bits: i32) -> FixedPoint {
        FixedPoint::new(Parameters {
            ring,
            clip: 1.0,
            fraction_bits: 8,
            nodes_max: 4,
            examples_max: 1_000,
            loss_fraction_bits,
        })
        .unwrap()
    }

    fn addends(nodes: u32) -> Addends {
        Addends {
            nodes,
            examples_max: 900 * u64::from(nodes),
        }
    }

    const COUNTERS: Counters = Counters {
        examples: 900,
        test_examples: 100,
        correct: 73,
        loss: 41.375,
        clipped: 5,
    };

    #[test]
    fn a_header_comes_back() {
        let narrow = format(Ring::U32, 10);
        let header = COUNTERS.to_header::<u32>(&narrow);
        assert_eq!(header, [900, 100, 73, 42_368, 5]);
        assert_eq!(
            Counters::from_header(header, &narrow, addends(1)),
            Ok(COUNTERS)
        );
        let wide = format(Ring::U64, 30);
        let header = COUNTERS.to_header::<u64>(&wide);
        assert_eq!(
            Counters::from_header(header, &wide, addends(4)),
            Ok(COUNTERS)
        );
        let coarse = format(Ring::U32, -3);
        let header = COUNTERS.to_header::<u32>(&coarse);
        let loss = Counters::from_header(header, &coarse, addends(1))
            .unwrap()
            .loss;
        assert_eq!(loss, 40.0);
    }

    #[test]
    fn counters_saturate() {
        let format = format(Ring::U32, 10);
        let max = u32::try_from(format.counter_max()).unwrap();
        for (loss, expected) in [
            (f64::NAN, max),
            (f64::INFINITY, max),
            (1e30, max),
            (-1.0, 0),
            (f64::NEG_INFINITY, 0),
        ] {
            let counters = Counters {
                loss,
                clipped: u64::MAX,
                ..COUNTERS
            };
            let header = counters.to_header::<u32>(&format);
            assert_eq!(header, [900, 100, 73, expected, max]);
        }
    }

    #[test]
    fn a_header_that_no_nodes_sent_is_refused() {
        let format = format(Ring::U32, 10);
        let max = u32::try_from(format.counter_max()).unwrap();
        let refuse = |header: [u32; HEADER_WORDS], nodes| {
            Counters::from_header(header, &format, addends(nodes)).unwrap_err()
        };
        let nodes_max = 4;
        assert_eq!(
            refuse([1, 0, 0, 0, 0], 5),
            TotalsError::Nodes {
                nodes: 5,
                nodes_max
            }
        );
        for (word, examples) in [(0, 0), (1_801, 1_801), (u32::MAX, -1)] {
            let error = TotalsError::Examples {
                examples,
                limit: 1_800,
            };
            assert_eq!(refuse([word, 0, 0, 0, 0], 2), error);
        }
        for word in 1..HEADER_WORDS {
            for (counter, value) in [(u32::MAX, -1), (max + 1, i64::from(max) + 1)] {
                let mut header = [1, 0, 0, 0, 0];
                header[word] = counter;
                let limit = u64::from(max);
                assert_eq!(
                    refuse(header, 1),
                    TotalsError::Counter { word, value, limit }
                );
            }
        }
        let error = TotalsError::Correct {
            correct: 8,
            test_examples: 7,
        };
        assert_eq!(refuse([1, 7, 8, 0, 0], 1), error);
    }
}
