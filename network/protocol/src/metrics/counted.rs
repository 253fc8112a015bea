//! A tally as it is written to a file.

use serde::{Deserialize, Serialize};

use super::{Metrics, Tally};
use crate::error::ManifestError;

/// What is counted, and the tallies of it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CountedTally {
    metrics: Metrics,
    tallies: Vec<u64>,
}

/// Tallies that are not those of what is counted.
#[derive(Debug, thiserror::Error)]
pub enum TallyError {
    /// Nothing of this kind can be counted.
    #[error(transparent)]
    Metrics(#[from] ManifestError),
    /// There are too many, or too few.
    #[error("{found} tallies instead of {needed}")]
    Length {
        /// Tallies found.
        found: usize,
        /// Tallies of what is counted.
        needed: u32,
    },
}

impl From<Tally> for CountedTally {
    fn from(tally: Tally) -> Self {
        Self {
            metrics: tally.metrics(),
            tallies: tally.to_tallies(),
        }
    }
}

impl TryFrom<CountedTally> for Tally {
    type Error = TallyError;

    fn try_from(counted: CountedTally) -> Result<Self, TallyError> {
        counted.metrics.check()?;
        let (found, needed) = (counted.tallies.len(), counted.metrics.tallies());
        match found == needed as usize {
            true => Ok(Self::from_tallies(counted.metrics, &counted.tallies)),
            false => Err(TallyError::Length { found, needed }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_tally_comes_back_and_tallies_of_another_kind_do_not() {
        let mut tally = Tally::new(Metrics::Classes { classes: 3 });
        if let Tally::Classes(classes) = &mut tally {
            classes.add(&[0.5, 2.0, -1.0], 1, 0.25);
        }
        let text = toml::to_string(&tally).unwrap();
        let back: Tally = toml::from_str(&text).unwrap();
        assert_eq!(back.to_tallies(), tally.to_tallies());
        assert_eq!(back.metrics(), tally.metrics());

        for (spoilt, fault) in [
            (
                text.replace("classes = 3", "classes = 4"),
                "tallies instead of",
            ),
            (text.replace("classes = 3", "classes = 1"), "1 classes"),
            (text.replace("[0,", "[-1,"), "invalid value"),
            (text.replace("metrics", "metric"), "unknown field"),
        ] {
            let error = toml::from_str::<Tally>(&spoilt).unwrap_err();
            assert!(error.to_string().contains(fault), "{spoilt}: {error}");
        }
    }
}
