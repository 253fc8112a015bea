//! Right and wrong answers.

use super::real;

/// Right and wrong answers, and their loss.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AnswerTally {
    /// Examples that were answered right.
    pub right: u64,
    /// Those that were not.
    pub wrong: u64,
    /// Sum of the loss over all of them, ≥ 0.
    pub loss_sum: f64,
}

impl AnswerTally {
    pub(super) const TALLIES: u32 = 2 + real::DIGITS;

    /// Counts an example of this loss.
    pub fn add(&mut self, is_right: bool, loss: f64) {
        match is_right {
            true => self.right += 1,
            false => self.wrong += 1,
        }
        self.loss_sum += loss;
    }

    pub(super) fn to_tallies(self) -> Vec<u64> {
        let answers = [self.right, self.wrong].into_iter();
        answers.chain(real::digits(self.loss_sum)).collect()
    }

    pub(super) fn read(tallies: &mut impl Iterator<Item = u64>) -> Self {
        let mut next = || tallies.next().unwrap_or_default();
        Self {
            right: next(),
            wrong: next(),
            loss_sum: real::read(tallies),
        }
    }
}
