//! What a node holds the consortium to, by what it sees itself: the model neither moves further in
//! a round than the members agreed, nor does it become far worse on the node's own held-back rows.
//!
//! Whoever steers a model so that its updates tell of single rows has to do one or the other. The
//! node then ends, and its operator learns why. What stays within these limits is not noticed.

use fl_protocol::manifest::LimitTable;
use fl_protocol::metrics::Tally;
use fl_protocol::round::training::Averaged;
use fl_shaders::FixedPoint;

use crate::node::NodeError;

/// By how much a model may move further than agreed, since its parameters are rounded to `f32`.
const SLACK: f64 = 1e-3;

/// The limits, and the best model so far.
pub(super) struct Guard {
    limits: LimitTable,
    /// The lowest mean loss on the held-back rows, in nats.
    lowest: Option<f64>,
}

impl Guard {
    /// Guards by the manifest's limits. `lowest` is what is known from former runs.
    pub(super) fn new(limits: LimitTable, lowest: Option<f64>) -> Self {
        Self { limits, lowest }
    }

    /// Looks at the global model of `round` on the held-back rows. Returns its mean loss if it is
    /// the lowest so far.
    ///
    /// # Errors
    ///
    /// [`NodeError::Worse`].
    pub(super) fn evaluated(
        &mut self,
        round: u64,
        evaluation: &Tally,
    ) -> Result<Option<f64>, NodeError> {
        let Some(loss) = evaluation.loss() else {
            return Ok(None);
        };
        let rise = self.limits.loss_rise;
        match self.lowest {
            // A loss that is no number is worse than any.
            Some(lowest) if loss.is_nan() || loss > lowest + rise => Err(NodeError::Worse {
                round,
                loss,
                lowest,
                rise,
            }),
            Some(lowest) if loss >= lowest => Ok(None),
            _ if loss.is_finite() => {
                self.lowest = Some(loss);
                Ok(Some(loss))
            }
            _ => Ok(None),
        }
    }

    /// Checks how far a round has moved the model.
    ///
    /// # Errors
    ///
    /// [`NodeError::Moved`].
    pub(super) fn moved(&self, averaged: &Averaged, format: &FixedPoint) -> Result<(), NodeError> {
        let norm = averaged.moved;
        let limit = self.limits.update_norm + rounding(averaged, format);
        match norm <= limit * (1.0 + SLACK) {
            true => Ok(()),
            false => Err(NodeError::Moved {
                round: averaged.head.round,
                norm,
                limit: self.limits.update_norm,
            }),
        }
    }
}

/// Returns the most that rounding can move a model: each participant rounds each coordinate by less
/// than a unit of the last place.
fn rounding(averaged: &Averaged, format: &FixedPoint) -> f64 {
    let parameters = averaged.model.len();
    let unit = (-f64::from(format.fraction_bits())).exp2();
    let weight = f64::from(format.examples_max()) / averaged.totals.examples.max(1) as f64;
    f64::from(averaged.nodes) * unit * weight * (parameters as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fl_protocol::digest::Digest;
    use fl_protocol::metrics::AnswerTally;
    use fl_protocol::round::Head;
    use fl_shaders::{Counters, Parameters, Ring};

    use super::*;

    fn guard(lowest: Option<f64>) -> (Guard, FixedPoint) {
        let limits = LimitTable {
            update_norm: 5.0,
            loss_rise: 0.5,
        };
        let format = FixedPoint::new(Parameters {
            ring: Ring::U32,
            clip: 1.0,
            fraction_bits: 23,
            nodes_max: 128,
            examples_max: 1000,
            tallies: 0,
        });
        (Guard::new(limits, lowest), format.unwrap())
    }

    fn evaluation(loss: f64) -> Tally {
        Tally::Answers(AnswerTally {
            right: 1,
            wrong: 3,
            loss_sum: 4.0 * loss,
        })
    }

    #[test]
    fn a_model_that_is_far_worse_than_the_best_so_far_ends_the_node() {
        let (mut guard, _) = guard(None);
        let mut after = |loss| guard.evaluated(1, &evaluation(loss));
        assert_eq!(after(2.0).unwrap(), Some(2.0));
        assert_eq!(after(2.4).unwrap(), None);
        assert_eq!(after(1.0).unwrap(), Some(1.0));
        assert_eq!(after(1.5).unwrap(), None);
        for loss in [1.6, 2.0, f64::INFINITY, f64::NAN] {
            assert!(
                matches!(after(loss), Err(NodeError::Worse { .. })),
                "{loss}"
            );
        }
        // A node that was started again knows what it had seen; one without held-back rows sees
        // nothing.
        let (mut again, _) = self::guard(Some(1.0));
        assert!(again.evaluated(1, &evaluation(2.0)).is_err());
        assert_eq!(again.evaluated(1, &Tally::default()).unwrap(), None);
    }

    #[test]
    fn a_model_that_moves_further_than_agreed_ends_the_node() {
        let (guard, format) = guard(None);
        let averaged = |moved: f64| Averaged {
            model: Arc::new(vec![1.0, -2.0, 0.5]),
            moved,
            head: Head {
                round: 7,
                previous: Digest([1; 32]),
                model: Digest([2; 32]),
            },
            root: Digest([3; 32]),
            totals: Counters {
                examples: 3000,
                ..Counters::default()
            },
            nodes: 3,
        };
        for by in [0.0, 1.0, 4.9, 5.0] {
            guard.moved(&averaged(by), &format).unwrap();
        }
        for by in [5.1, 100.0, f64::INFINITY, f64::NAN] {
            let found = guard.moved(&averaged(by), &format);
            assert!(
                matches!(found, Err(NodeError::Moved { round: 7, .. })),
                "{by}"
            );
        }
    }
}
