//! What is counted of a model on held-back examples, as sums: those of several nodes add up, and
//! only the sums of all open.
//!
//! A node counts ([`Tally`]), and its counts travel as the tallies of the masked header. From their
//! sum, whoever has it computes the [`Figures`] that people judge a model by.

mod answers;
mod classes;
mod counted;
mod figures;
mod quantity;
mod real;
mod scores;
mod share;
mod totals;

use serde::{Deserialize, Serialize};

pub use answers::AnswerTally;
pub use classes::{ClassTally, Confusion, likeliest};
pub use counted::TallyError;
pub use figures::{Figures, significant};
pub use quantity::QuantityTally;
pub use scores::{Auroc, CalibrationPoint, ScoreHistogram};
pub use share::Share;
pub use totals::Totals;

use crate::error::ManifestError;
use counted::CountedTally;

/// What is counted. Written in the manifest, so that all who read a sum know what its tallies are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Metrics {
    /// Right and wrong answers, and the loss.
    #[default]
    Answers,
    /// How examples of these classes are told apart.
    Classes {
        /// Number of classes, from 2 to [`Metrics::CLASSES_MAX`].
        classes: u32,
    },
    /// How far predictions of a quantity are off.
    Quantity {
        /// The standard deviation of the quantity, in its own unit: models predict multiples of
        /// it. Above 0.
        deviation: f64,
    },
}

impl Metrics {
    /// The most classes that are counted each by itself.
    pub const CLASSES_MAX: u32 = 2_048;

    /// Returns what is counted of a classifier of so many classes: no single class if they are too
    /// many for that.
    pub fn of_classes(classes: usize) -> Self {
        match u32::try_from(classes) {
            Ok(classes) if (2..=Self::CLASSES_MAX).contains(&classes) => Self::Classes { classes },
            _ => Self::Answers,
        }
    }

    /// Returns the number of tallies.
    pub fn tallies(&self) -> u32 {
        match *self {
            Self::Answers => AnswerTally::TALLIES,
            Self::Classes { classes } => ClassTally::tallies(classes),
            Self::Quantity { .. } => QuantityTally::TALLIES,
        }
    }

    /// Checks the numbers.
    pub(crate) fn check(&self) -> Result<(), ManifestError> {
        match *self {
            Self::Classes { classes } if !(2..=Self::CLASSES_MAX).contains(&classes) => {
                let text = format!("{classes} classes; there are 2 to {}", Self::CLASSES_MAX);
                Err(ManifestError::Metrics(text))
            }
            Self::Quantity { deviation } if !(deviation > 0.0 && deviation.is_finite()) => {
                let text = format!("a deviation of {deviation}; it is a finite number above 0");
                Err(ManifestError::Metrics(text))
            }
            _ => Ok(()),
        }
    }
}

/// What was counted, by one node or by all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "CountedTally", try_from = "CountedTally")]
pub enum Tally {
    /// Of [`Metrics::Answers`].
    Answers(AnswerTally),
    /// Of [`Metrics::Classes`].
    Classes(ClassTally),
    /// Of [`Metrics::Quantity`].
    Quantity(QuantityTally),
}

impl Default for Tally {
    fn default() -> Self {
        Self::Answers(AnswerTally::default())
    }
}

impl Tally {
    /// Returns a tally of nothing.
    pub fn new(metrics: Metrics) -> Self {
        match metrics {
            Metrics::Answers => Self::Answers(AnswerTally::default()),
            Metrics::Classes { classes } => Self::Classes(ClassTally::new(classes)),
            Metrics::Quantity { deviation } => Self::Quantity(QuantityTally::new(deviation)),
        }
    }

    /// Returns what is counted.
    pub fn metrics(&self) -> Metrics {
        match self {
            Self::Answers(_) => Metrics::Answers,
            Self::Classes(tally) => Metrics::Classes {
                classes: tally.classes(),
            },
            Self::Quantity(tally) => Metrics::Quantity {
                deviation: tally.deviation(),
            },
        }
    }

    /// Returns the tallies of the header: [`Metrics::tallies`] of them.
    pub fn to_tallies(&self) -> Vec<u64> {
        match self {
            Self::Answers(tally) => tally.to_tallies(),
            Self::Classes(tally) => tally.to_tallies(),
            Self::Quantity(tally) => tally.to_tallies(),
        }
    }

    /// Reads tallies, of a node or in sum; those that are lacking count as 0.
    pub fn from_tallies(metrics: Metrics, tallies: &[u64]) -> Self {
        let mut tallies = tallies.iter().copied();
        match metrics {
            Metrics::Answers => Self::Answers(AnswerTally::read(&mut tallies)),
            Metrics::Classes { classes } => Self::Classes(ClassTally::read(classes, &mut tallies)),
            Metrics::Quantity { deviation } => {
                Self::Quantity(QuantityTally::read(deviation, &mut tallies))
            }
        }
    }

    /// Adds what another node counted.
    ///
    /// # Panics
    ///
    /// If it counted something else.
    pub fn add(&mut self, other: &Self) {
        assert_eq!(self.metrics(), other.metrics(), "the same is counted");
        let sums = self.to_tallies().into_iter().zip(other.to_tallies());
        let sums: Vec<_> = sums.map(|(own, other)| own.saturating_add(other)).collect();
        *self = Self::from_tallies(self.metrics(), &sums);
    }

    /// Returns the number of examples.
    pub fn examples(&self) -> u64 {
        match self {
            Self::Answers(tally) => tally.right + tally.wrong,
            Self::Classes(tally) => tally.confusion().examples(),
            Self::Quantity(tally) => tally.examples(),
        }
    }

    /// Returns the mean loss per example, unless there are none: cross entropy in nats for
    /// classes, the squared error in squared deviations for a quantity.
    pub fn loss(&self) -> Option<f64> {
        let examples = self.examples();
        let sum = match self {
            Self::Answers(tally) => tally.loss_sum,
            Self::Classes(tally) => tally.loss_sum(),
            Self::Quantity(tally) => tally.square_sum(),
        };
        (examples > 0).then(|| sum / examples as f64)
    }

    /// Returns the share of the examples that were answered right, 0 to 1; nothing for a quantity
    /// or without examples.
    pub fn accuracy(&self) -> Option<f64> {
        let right = match self {
            Self::Answers(tally) => tally.right,
            Self::Classes(tally) => tally.confusion().right(),
            Self::Quantity(_) => return None,
        };
        let examples = self.examples();
        (examples > 0).then(|| right as f64 / examples as f64)
    }

    /// Returns the figures that people judge a model by.
    pub fn figures(&self) -> Figures {
        Figures::of(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Metrics; 5] = [
        Metrics::Answers,
        Metrics::Classes { classes: 2 },
        Metrics::Classes { classes: 7 },
        Metrics::Classes { classes: 40 },
        Metrics::Quantity { deviation: 2.5 },
    ];

    /// A tally of random examples.
    fn tally(metrics: Metrics, examples: u32) -> Tally {
        let mut tally = Tally::new(metrics);
        for example in 0..examples {
            let drawn = |k: u32| (example + 7 * k).wrapping_mul(2_654_435_761) >> 8;
            let value = |k: u32| f64::from(drawn(k)) / 1e6;
            match &mut tally {
                Tally::Answers(tally) => tally.add(example % 3 > 0, value(0)),
                Tally::Classes(tally) => {
                    let classes = tally.classes();
                    let logits: Vec<_> = (0..classes).map(|k| drawn(k) as f32 / 1e6).collect();
                    tally.add(&logits, example % classes, value(1));
                }
                Tally::Quantity(tally) => tally.add(value(0) - 8.0, value(1) - 8.0),
            }
        }
        tally
    }

    #[test]
    fn tallies_come_back_and_add_up_like_their_examples() {
        for metrics in KINDS {
            let (one, other) = (tally(metrics, 50), tally(metrics, 81));
            let tallies = one.to_tallies();
            assert_eq!(tallies.len(), metrics.tallies() as usize, "{metrics:?}");
            let back = Tally::from_tallies(metrics, &tallies);
            assert_eq!((back.metrics(), back.examples()), (metrics, 50));
            assert!((back.loss().unwrap() - one.loss().unwrap()).abs() < 1e-6);

            let mut both = one.clone();
            both.add(&other);
            let sums: Vec<_> = tallies
                .iter()
                .zip(other.to_tallies())
                .map(|(a, b)| a + b)
                .collect();
            let opened = Tally::from_tallies(metrics, &sums);
            assert_eq!(opened.examples(), 131);
            assert_eq!(opened.figures(), both.figures(), "{metrics:?}");
        }
    }

    #[test]
    fn a_tally_of_nothing_has_no_figures() {
        for metrics in KINDS {
            let nothing = Tally::new(metrics);
            assert_eq!((nothing.loss(), nothing.accuracy()), (None, None));
            assert_eq!(nothing.figures(), Figures::default());
        }
    }

    #[test]
    fn whatever_a_sum_holds_the_figures_are_in_their_ranges() {
        for metrics in KINDS {
            for pattern in [0_u64, 1, 77, (1 << 59) - 1] {
                let tallies: Vec<_> = (0..metrics.tallies())
                    .map(|place| pattern * u64::from(place % 3) / 2)
                    .collect();
                let figures = Tally::from_tallies(metrics, &tallies).figures();
                for share in [
                    figures.accuracy,
                    figures.majority,
                    figures.balanced_accuracy,
                    figures.sensitivity,
                    figures.specificity,
                    figures.precision,
                    figures.f1,
                    figures.auroc.map(|auroc| auroc.value),
                ] {
                    assert!(
                        share.is_none_or(|share| (0.0..=1.0).contains(&share)),
                        "{share:?}"
                    );
                }
                for number in [figures.loss, figures.brier, figures.mae, figures.rmse] {
                    assert!(number.is_none_or(|number| number >= 0.0), "{figures:?}");
                }
                assert!(figures.r2.is_none_or(|r2| r2 <= 1.0), "{figures:?}");
            }
        }
    }

    #[test]
    fn metrics_are_written_as_tables_and_checked() {
        let text = |metrics: Metrics| toml::to_string(&metrics).unwrap();
        assert_eq!(text(KINDS[1]), "kind = \"classes\"\nclasses = 2\n");
        for metrics in KINDS {
            assert_eq!(toml::from_str::<Metrics>(&text(metrics)).unwrap(), metrics);
            metrics.check().unwrap();
        }
        for metrics in [
            Metrics::Classes { classes: 1 },
            Metrics::Classes { classes: 2_049 },
            Metrics::Quantity { deviation: 0.0 },
            Metrics::Quantity {
                deviation: f64::NAN,
            },
        ] {
            assert!(metrics.check().is_err(), "{metrics:?}");
        }
        assert_eq!(Metrics::of_classes(2_049), Metrics::Answers);
        assert!(Metrics::of_classes(2_048).tallies() <= 8_192);
    }
}
