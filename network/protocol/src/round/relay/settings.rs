//! What the relay's operator may choose.

use std::ops::RangeInclusive;

/// What the relay's operator may choose. All else stands in the manifest.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Rounds to complete, those before a restart included.
    pub rounds: u64,
    /// Part of the available nodes that is asked to take part in a round, in (0, 1].
    pub fraction_fit: f64,
    /// Least number of participants; never under the manifest's.
    pub min_nodes: usize,
}

/// A choice out of its range, by the name of its flag.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No round.
    #[error("--rounds must be at least 1")]
    Rounds,
    /// No part of the nodes.
    #[error("--fraction-fit must be above 0 and at most 1, not {0}")]
    FractionFit(f64),
    /// Fewer participants than keep an update secret, or more than there are.
    #[error(
        "--min-nodes must be between {} and {}, the number of nodes, not {chosen}",
        allowed.start(),
        allowed.end()
    )]
    MinNodes {
        /// The choice.
        chosen: usize,
        /// From the least number on which nodes insist to their number.
        allowed: RangeInclusive<usize>,
    },
}

impl Settings {
    /// Returns them back if each is in its range, `min_nodes` in that from what nodes insist on to
    /// their number.
    ///
    /// # Errors
    ///
    /// The first that is not.
    pub fn check(self, min_nodes: RangeInclusive<usize>) -> Result<Self, SettingsError> {
        if self.rounds == 0 {
            return Err(SettingsError::Rounds);
        }
        if !(self.fraction_fit > 0.0 && self.fraction_fit <= 1.0) {
            return Err(SettingsError::FractionFit(self.fraction_fit));
        }
        if !min_nodes.contains(&self.min_nodes) {
            return Err(SettingsError::MinNodes {
                chosen: self.min_nodes,
                allowed: min_nodes,
            });
        }
        Ok(self)
    }
}
