//! What the relay's operator may choose.

use std::ops::RangeInclusive;

/// What the relay's operator may choose. All else stands in the manifest.
#[derive(Clone, Debug)]
pub struct Settings {
    rounds: u64,
    fraction_fit: f64,
    min_nodes: usize,
    patience: Option<u64>,
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
    /// A part of the nodes, where the manifest has all of them.
    #[error("every round of this consortium has every node; --fraction-fit must be 1, not {0}")]
    Everyone(f64),
    /// No round of patience.
    #[error("--patience must be at least 1")]
    Patience,
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
    /// Returns these settings. `rounds` are those to complete, those before a restart included;
    /// `fraction_fit` is the part of the available nodes that is asked to take part in a round, in
    /// (0, 1]; `min_nodes` is the least number of participants, and has to be in the range that is
    /// `allowed`, from the least number on which nodes insist to their number.
    ///
    /// # Errors
    ///
    /// The first choice that is out of its range.
    pub fn new(
        rounds: u64,
        fraction_fit: f64,
        min_nodes: usize,
        allowed: RangeInclusive<usize>,
    ) -> Result<Self, SettingsError> {
        if rounds == 0 {
            return Err(SettingsError::Rounds);
        }
        if !(fraction_fit > 0.0 && fraction_fit <= 1.0) {
            return Err(SettingsError::FractionFit(fraction_fit));
        }
        if !allowed.contains(&min_nodes) {
            return Err(SettingsError::MinNodes {
                chosen: min_nodes,
                allowed,
            });
        }
        Ok(Self {
            rounds,
            fraction_fit,
            min_nodes,
            patience: None,
        })
    }

    /// Returns these settings, by which all is done as well once the model has not got better for
    /// `patience` rounds: once its mean loss on what the participants hold back has not been lower
    /// than before.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Patience`] for 0.
    pub fn with_patience(self, patience: Option<u64>) -> Result<Self, SettingsError> {
        match patience {
            Some(0) => Err(SettingsError::Patience),
            patience => Ok(Self { patience, ..self }),
        }
    }

    /// Returns the number of rounds to complete, those before a restart included.
    pub fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Returns for how many rounds without a lower loss the operator waits, if there is an end.
    pub fn patience(&self) -> Option<u64> {
        self.patience
    }

    /// Returns the part of the available nodes that is asked to take part in a round, in (0, 1].
    pub fn fraction_fit(&self) -> f64 {
        self.fraction_fit
    }

    /// Returns the least number of participants that the operator wants. (Nodes insist on the
    /// manifest's.)
    pub fn min_nodes(&self) -> usize {
        self.min_nodes
    }
}
