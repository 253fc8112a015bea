//! The input vector of a node: header words, then the encoded update (the protocol, section 2).
//!
//! ```text
//! word  0    training examples n_i
//!       1    coordinates that were clipped
//!       2…   tallies: what is counted of the global model, before training, T words
//!       2+T… q_0 … q_{M−1}
//! ```
//!
//! The header is masked like everything else, so neither weights nor tallies travel in clear; only
//! their sums open. What the tallies count is for those who make them to say.

use crate::{FixedPoint, Word};

/// Bits of a tally that is a digit of a larger number, which then has several. Digits of as many
/// nodes as a format allows add up without wrapping.
pub const DIGIT_BITS: u32 = 16;

/// The counters of one node, or their sums over all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Training examples; the weight of the update.
    pub examples: u64,
    /// Coordinates of the update that were clipped to ±C.
    pub clipped: u64,
    /// What is counted of the global model, before training: T numbers.
    pub tallies: Vec<u64>,
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
    /// It has another length.
    #[error("a header of {words} words; it has {expected}")]
    Length {
        /// Words given.
        words: usize,
        /// [`FixedPoint::header_words`].
        expected: usize,
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
}

impl Counters {
    /// Returns the header words of one node's vector.
    ///
    /// A counter that exceeds `counter_max` is sent as `counter_max`. (`examples` is held to n_max
    /// by [`InputScale::new`](crate::InputScale::new).)
    pub fn to_header<W: Word>(&self, plan: &FixedPoint) -> Vec<W> {
        let own = [self.examples, self.clipped].into_iter();
        let counters = own.chain(self.tallies.iter().copied());
        let word = |counter: u64| W::from_signed(counter.min(plan.counter_max()).cast_signed());
        counters.map(word).collect()
    }

    /// Reads the header of the sum of these inputs.
    ///
    /// # Errors
    ///
    /// A [`TotalsError`] for the first word that no honest nodes can have added up to.
    pub fn from_header<W: Word>(
        header: &[W],
        plan: &FixedPoint,
        addends: Addends,
    ) -> Result<Self, TotalsError> {
        let nodes = addends.nodes;
        let nodes_max = plan.nodes_max();
        if nodes > nodes_max {
            return Err(TotalsError::Nodes { nodes, nodes_max });
        }
        let (words, expected) = (header.len(), plan.header_words());
        let [examples, counters @ ..] = header else {
            return Err(TotalsError::Length { words, expected });
        };
        if words != expected {
            return Err(TotalsError::Length { words, expected });
        }
        let within = |value: i64, limit: u64| value.try_into().ok().filter(|&v: &u64| v <= limit);

        let (examples, limit) = (examples.to_signed(), addends.examples_max);
        let examples = within(examples, limit)
            .filter(|&examples| examples > 0)
            .ok_or(TotalsError::Examples { examples, limit })?;

        // Does not wrap, and tags tell any two sums within it apart: counter_max < 2^59 / N_max.
        let limit = u64::from(nodes) * plan.counter_max();
        let counters = (1..).zip(counters).map(|(word, counter)| {
            let value = counter.to_signed();
            within(value, limit).ok_or(TotalsError::Counter { word, value, limit })
        });
        let mut tallies = counters.collect::<Result<Vec<_>, _>>()?;
        let clipped = tallies.remove(0);
        Ok(Self {
            examples,
            clipped,
            tallies,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Parameters, Ring};

    fn format(ring: Ring) -> FixedPoint {
        FixedPoint::new(Parameters {
            ring,
            clip: 1.0,
            fraction_bits: 8,
            nodes_max: 4,
            examples_max: 1_000,
            tallies: 3,
        })
        .unwrap()
    }

    fn addends(nodes: u32) -> Addends {
        Addends {
            nodes,
            examples_max: 900 * u64::from(nodes),
        }
    }

    fn counters() -> Counters {
        Counters {
            examples: 900,
            clipped: 5,
            tallies: vec![100, 73, 42_368],
        }
    }

    #[test]
    fn a_header_comes_back() {
        let narrow = format(Ring::U32);
        let header = counters().to_header::<u32>(&narrow);
        assert_eq!(header, [900, 5, 100, 73, 42_368]);
        assert_eq!(
            Counters::from_header(&header, &narrow, addends(1)),
            Ok(counters())
        );
        let wide = format(Ring::U64);
        let header = counters().to_header::<u64>(&wide);
        assert_eq!(
            Counters::from_header(&header, &wide, addends(4)),
            Ok(counters())
        );
    }

    #[test]
    fn counters_saturate() {
        let format = format(Ring::U32);
        let max = u32::try_from(format.counter_max()).unwrap();
        let counters = Counters {
            clipped: u64::MAX,
            tallies: vec![100, u64::from(max), u64::from(max) + 1],
            ..counters()
        };
        let header = counters.to_header::<u32>(&format);
        assert_eq!(header, [900, max, 100, max, max]);
    }

    #[test]
    fn a_header_that_no_nodes_sent_is_refused() {
        let format = format(Ring::U32);
        let max = u32::try_from(format.counter_max()).unwrap();
        let refuse = |header: &[u32], nodes| {
            Counters::from_header(header, &format, addends(nodes)).unwrap_err()
        };
        let nodes_max = 4;
        assert_eq!(
            refuse(&[1, 0, 0, 0, 0], 5),
            TotalsError::Nodes {
                nodes: 5,
                nodes_max
            }
        );
        for words in [0, 1, 4, 6] {
            let expected = 5;
            assert_eq!(
                refuse(&vec![1; words], 2),
                TotalsError::Length { words, expected }
            );
        }
        for (word, examples) in [(0, 0), (1_801, 1_801), (u32::MAX, -1)] {
            let error = TotalsError::Examples {
                examples,
                limit: 1_800,
            };
            assert_eq!(refuse(&[word, 0, 0, 0, 0], 2), error);
        }
        for word in 1..format.header_words() {
            for (counter, value) in [(u32::MAX, -1), (max + 1, i64::from(max) + 1)] {
                let mut header = [1, 0, 0, 0, 0];
                header[word] = counter;
                let limit = u64::from(max);
                assert_eq!(
                    refuse(&header, 1),
                    TotalsError::Counter { word, value, limit }
                );
            }
        }
    }
}
