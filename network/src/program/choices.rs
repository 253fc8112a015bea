//! What an operator may choose of the rounds, with the defaults that all programs share.

use std::ops::RangeInclusive;

use fl_protocol::round::relay::{Settings, SettingsError};

/// Rounds to complete by default.
pub const ROUNDS: u64 = 10;
/// Part of the available nodes that is asked to take part in a round by default.
pub const FRACTION_FIT: f64 = 1.0;

/// The [`Settings`] as far as flags or a file name them.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundChoices {
    /// Rounds to complete, or [`ROUNDS`].
    pub rounds: Option<u64>,
    /// Part of the available nodes in (0, 1], or [`FRACTION_FIT`].
    pub fraction_fit: Option<f64>,
    /// Least number of participants, or the least that is possible.
    pub min_nodes: Option<usize>,
    /// Rounds without a lower loss after which all is done; otherwise only their number counts.
    pub patience: Option<u64>,
}

impl RoundChoices {
    /// Returns the settings where `min_nodes` can be in this range: from the least number on which
    /// nodes insist to their number.
    ///
    /// # Errors
    ///
    /// The first choice that is out of its range.
    pub fn settings(self, min_nodes: RangeInclusive<usize>) -> Result<Settings, SettingsError> {
        let settings = Settings::new(
            self.rounds.unwrap_or(ROUNDS),
            self.fraction_fit.unwrap_or(FRACTION_FIT),
            self.min_nodes.unwrap_or(*min_nodes.start()),
            min_nodes,
        )?;
        settings.with_patience(self.patience)
    }
}
