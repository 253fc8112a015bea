//! What the header of an opened sum says.

use fl_shaders::Counters;

use super::{Metrics, Tally};

/// What the participants of a round have together.
#[derive(Clone, Debug, PartialEq)]
pub struct Totals {
    /// Training examples.
    pub examples: u64,
    /// Coordinates of updates that were clipped.
    pub clipped: u64,
    /// How the model before the round did on their held-back examples.
    pub tally: Tally,
}

impl Totals {
    /// Reads the counters of a sum.
    pub fn of(counters: &Counters, metrics: Metrics) -> Self {
        Self {
            examples: counters.examples,
            clipped: counters.clipped,
            tally: Tally::from_tallies(metrics, &counters.tallies),
        }
    }
}
