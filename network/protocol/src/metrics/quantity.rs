//! How far predictions of a quantity are off.

use super::real;

/// What a true value counts as at most, in deviations: the sums stay small enough to be exact.
const TRUTH_MAX: f64 = 1_024.0;
/// What an error counts as at most, in deviations.
const ERROR_MAX: f64 = 65_536.0;

/// How far predictions of a quantity are off. Sums are in deviations of the quantity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantityTally {
    deviation: f64,
    examples: u64,
    error_sum: f64,
    square_sum: f64,
    /// Of the true values above [`TRUTH_MAX`] below 0, so that it is none below 0.
    truth_sum: f64,
    truth_square_sum: f64,
}

impl QuantityTally {
    pub(super) const TALLIES: u32 = 1 + 4 * real::DIGITS;

    pub(super) fn new(deviation: f64) -> Self {
        Self {
            deviation,
            examples: 0,
            error_sum: 0.0,
            square_sum: 0.0,
            truth_sum: 0.0,
            truth_square_sum: 0.0,
        }
    }

    /// Counts an example. Both values are in deviations from any agreed middle, which a mean near
    /// that of the data makes exact.
    pub fn add(&mut self, predicted: f64, truth: f64) {
        let error = (predicted - truth).abs();
        // What is no number is as wrong as can be.
        let error = if error < ERROR_MAX { error } else { ERROR_MAX };
        let truth = truth.clamp(-TRUTH_MAX, TRUTH_MAX);
        self.examples += 1;
        self.error_sum += error;
        self.square_sum += error * error;
        self.truth_sum += truth + TRUTH_MAX;
        self.truth_square_sum += truth * truth;
    }

    pub(super) fn to_tallies(self) -> Vec<u64> {
        let sums = [
            self.error_sum,
            self.square_sum,
            self.truth_sum,
            self.truth_square_sum,
        ];
        let sums = sums.into_iter().flat_map(real::digits);
        std::iter::once(self.examples).chain(sums).collect()
    }

    pub(super) fn read(deviation: f64, tallies: &mut impl Iterator<Item = u64>) -> Self {
        Self {
            deviation,
            examples: tallies.next().unwrap_or_default(),
            error_sum: real::read(tallies),
            square_sum: real::read(tallies),
            truth_sum: real::read(tallies),
            truth_square_sum: real::read(tallies),
        }
    }

    /// Returns the standard deviation of the quantity, in its own unit.
    pub fn deviation(&self) -> f64 {
        self.deviation
    }

    /// Returns the number of examples.
    pub fn examples(&self) -> u64 {
        self.examples
    }

    /// Returns the sum of the squared errors, in squared deviations.
    pub fn square_sum(&self) -> f64 {
        self.square_sum
    }

    /// Returns the mean absolute error, in the quantity's unit, unless there are no examples.
    pub fn mae(&self) -> Option<f64> {
        self.mean(self.error_sum).map(|mean| mean * self.deviation)
    }

    /// Returns the root of the mean squared error, in the quantity's unit, unless there are no
    /// examples.
    pub fn rmse(&self) -> Option<f64> {
        self.mean(self.square_sum)
            .map(|mean| mean.sqrt() * self.deviation)
    }

    /// Returns R²: the share of the quantity's variance that the predictions explain, at most 1;
    /// below 0 if its mean would predict it better. Nothing if the quantity does not vary.
    pub fn r2(&self) -> Option<f64> {
        let mean = self.mean(self.truth_sum)? - TRUTH_MAX;
        let variance = self.mean(self.truth_square_sum)? - mean * mean;
        // Of the sums' own resolution.
        (variance > 1e-5).then(|| 1.0 - self.square_sum / self.examples as f64 / variance)
    }

    fn mean(&self, sum: f64) -> Option<f64> {
        (self.examples > 0).then(|| sum / self.examples as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // Computed with scikit-learn 1.9: mean_absolute_error, root_mean_squared_error, r2_score.
        let truth = [3.0, -0.5, 2.0, 7.0];
        let predicted = [2.5, 0.0, 2.0, 8.0];
        let mut tally = QuantityTally::new(10.0);
        for (predicted, truth) in predicted.into_iter().zip(truth) {
            tally.add(predicted / 10.0, truth / 10.0);
        }
        let tally = QuantityTally::read(10.0, &mut tally.to_tallies().into_iter());
        let close = |found: Option<f64>, value: f64| (found.unwrap() - value).abs() < 1e-4;
        assert!(close(tally.mae(), 0.5));
        assert!(close(tally.rmse(), 0.612_372_435));
        assert!(close(tally.r2(), 0.948_608_137), "{:?}", tally.r2());
    }

    #[test]
    fn what_is_no_number_is_as_wrong_as_can_be_and_a_constant_has_no_variance() {
        let mut tally = QuantityTally::new(1.0);
        tally.add(f64::NAN, 0.25);
        assert_eq!((tally.mae(), tally.r2()), (Some(ERROR_MAX), None));
        assert_eq!(QuantityTally::new(1.0).mae(), None);
    }
}
