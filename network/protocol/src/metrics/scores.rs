//! Histograms of scores: what ranking and calibration follow from.

use serde::{Deserialize, Serialize};

use super::Share;

/// Scores are log odds; those beyond ±this fall into the outermost bins.
const LOG_ODDS_MAX: f64 = 8.0;

/// How often a class got which score, for its examples and for all others.
///
/// A score is the log odds of the class, ln(p / (1 − p)), in bins of equal width from −8 to 8, so
/// that scores near 0 and 1 are told apart as well as those between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoreHistogram {
    /// Examples of the class, by bins.
    positives: Vec<u64>,
    /// Examples of other classes, by bins.
    negatives: Vec<u64>,
}

/// The area under the ROC curve: the chance that an example of the class has a higher score than
/// another one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Auroc {
    /// The area, 0 to 1; a tie within a bin counts as half a chance.
    pub value: f64,
    /// By how much that can be off, since scores of one bin are not told apart.
    pub error: f64,
}

/// How often a class is right where it gets about the same probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CalibrationPoint {
    /// The probability in the middle of the bin, 0 to 1.
    pub predicted: f64,
    /// Share of its examples that are of the class.
    pub observed: Share,
    /// Examples in the bin.
    pub examples: u64,
}

impl ScoreHistogram {
    /// Counts an example, of the class or not. No number counts as the lowest.
    pub(super) fn add(&mut self, log_odds: f64, is_positive: bool) {
        let bins = self.positives.len();
        let place = (log_odds + LOG_ODDS_MAX) / (2.0 * LOG_ODDS_MAX) * bins as f64;
        #[expect(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
        let bin = (place.floor().max(0.0) as usize).min(bins - 1);
        match is_positive {
            true => self.positives[bin] += 1,
            false => self.negatives[bin] += 1,
        }
    }

    pub(super) fn tallies(&self) -> impl Iterator<Item = u64> {
        self.positives.iter().chain(&self.negatives).copied()
    }

    pub(super) fn read(bins: u32, tallies: &mut impl Iterator<Item = u64>) -> Self {
        let mut half = || -> Vec<_> {
            (0..bins)
                .map(|_| tallies.next().unwrap_or_default())
                .collect()
        };
        Self {
            positives: half(),
            negatives: half(),
        }
    }

    /// Returns the area under the ROC curve, unless all examples are of one kind.
    pub fn auroc(&self) -> Option<Auroc> {
        let total = |bins: &[u64]| bins.iter().map(|count| *count as f64).sum::<f64>();
        let pairs = total(&self.positives) * total(&self.negatives);
        let (mut below, mut area, mut ties) = (0.0, 0.0, 0.0);
        for (positives, negatives) in self.positives.iter().zip(&self.negatives) {
            let (positives, negatives) = (*positives as f64, *negatives as f64);
            area += positives * below;
            ties += positives * negatives / 2.0;
            below += negatives;
        }
        (pairs > 0.0).then(|| Auroc {
            value: ((area + ties) / pairs).min(1.0),
            error: ties / pairs,
        })
    }

    /// Returns a point for each bin that has examples, the lowest probability first.
    pub fn calibration(&self) -> Vec<CalibrationPoint> {
        let width = 2.0 * LOG_ODDS_MAX / self.positives.len() as f64;
        let bins = self.positives.iter().zip(&self.negatives).enumerate();
        let point = |(bin, (positives, negatives)): (usize, (&u64, &u64))| {
            let examples = positives.saturating_add(*negatives);
            let middle = (bin as f64 + 0.5) * width - LOG_ODDS_MAX;
            Some(CalibrationPoint {
                predicted: 1.0 / (1.0 + (-middle).exp()),
                observed: Share::of(*positives, examples)?,
                examples,
            })
        };
        bins.filter_map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(bins: u32) -> ScoreHistogram {
        ScoreHistogram::read(bins, &mut std::iter::empty())
    }

    /// The area under the ROC curve by its definition.
    fn by_pairs(scores: &[(f64, bool)]) -> f64 {
        let of = |kind| scores.iter().filter(move |(_, is)| *is == kind);
        let pairs = of(true).flat_map(|(a, _)| of(false).map(move |(b, _)| (a, b)));
        let won =
            |(a, b): (&f64, &f64)| f64::from(u8::from(a > b)) + f64::from(u8::from(a == b)) / 2.0;
        let (count, sum) = pairs
            .map(won)
            .fold((0.0, 0.0), |(n, sum), won| (n + 1.0, sum + won));
        sum / count
    }

    #[test]
    fn the_area_is_within_its_error_of_that_of_the_scores() {
        for spread in [0.3, 3.0, 30.0] {
            let score = |k: u32| {
                let random = f64::from(k.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 24);
                let is_positive = k.is_multiple_of(3);
                (
                    spread * (random - 0.5 + f64::from(u8::from(is_positive)) / 4.0),
                    is_positive,
                )
            };
            let scores: Vec<_> = (1..2_000).map(score).collect();
            let mut histogram = nothing(64);
            for (score, is_positive) in &scores {
                histogram.add(*score, *is_positive);
            }
            let Auroc { value, error } = histogram.auroc().unwrap();
            let exact = by_pairs(&scores);
            assert!((value - exact).abs() <= error, "{value} ± {error}: {exact}");
            assert!(error > 0.0 && value > 0.6, "{value} ± {error}");
        }
    }

    #[test]
    fn scores_out_of_range_count_in_the_outermost_bins() {
        let mut histogram = nothing(4);
        for score in [f64::NEG_INFINITY, f64::NAN, -8.0, -100.0] {
            histogram.add(score, false);
        }
        for score in [f64::INFINITY, 7.9, 8.0, 100.0] {
            histogram.add(score, true);
        }
        assert_eq!(histogram.negatives, [4, 0, 0, 0]);
        assert_eq!(histogram.positives, [0, 0, 0, 4]);
        let area = histogram.auroc().unwrap();
        assert_eq!((area.value, area.error), (1.0, 0.0));
        assert_eq!(nothing(4).auroc(), None);
    }

    #[test]
    fn calibration_compares_the_middle_of_a_bin_with_what_was_so() {
        let mut histogram = nothing(16);
        for k in 0..10 {
            histogram.add(0.5, k < 7);
        }
        let [point] = histogram.calibration()[..] else {
            panic!("a point for the only bin");
        };
        assert!((point.predicted - 0.622_459).abs() < 1e-6);
        assert_eq!((point.observed.value, point.examples), (0.7, 10));
    }
}
