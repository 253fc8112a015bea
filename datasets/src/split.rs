//! Setting a test set aside.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::rngs::ChaCha12Rng;
use rand::seq::SliceRandom;

use crate::{Dataset, Error};

/// The usual share of examples that are kept for testing.
pub const DEFAULT_TEST_FRACTION: f64 = 0.2;

/// Two disjoint parts of one data set, neither empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// What the model learns from.
    pub train: Dataset,
    /// What it is judged by.
    pub test: Dataset,
}

impl Dataset {
    /// Keeps `fraction` of the examples for testing, of each label as nearly that share as whole
    /// examples allow. The same `seed` gives the same split; both parts keep the order of `self`.
    ///
    /// The number of test examples is `fraction * len`, rounded, but at least 1 and at most
    /// `len - 1`. A label of `n` examples has `fraction * n` of them, rounded down or up: those
    /// that lose most by rounding down are rounded up first (largest remainder).
    ///
    /// # Errors
    ///
    /// [`Error::TestFraction`] unless `0 < fraction < 1`, [`Error::TooFewToSplit`] if there are
    /// fewer than two examples.
    pub fn split(&self, fraction: f64, seed: u64) -> Result<Split, Error> {
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(Error::TestFraction(fraction));
        }
        if self.len() < 2 {
            return Err(Error::TooFewToSplit(self.len()));
        }
        let mut groups = by_label(self.labels());
        let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        let (mut train, mut test) = (vec![], vec![]);
        for (group, quota) in groups.iter_mut().zip(quotas(&sizes, fraction)) {
            group.shuffle(&mut random);
            let (kept, rest) = group.split_at(quota);
            test.extend_from_slice(kept);
            train.extend_from_slice(rest);
        }
        train.sort_unstable();
        test.sort_unstable();
        Ok(Split {
            train: self.select(&train),
            test: self.select(&test),
        })
    }
}

/// The indexes of each label's examples, ascending, in the order of labels.
pub(crate) fn by_label(labels: &[u32]) -> Vec<Vec<usize>> {
    let mut groups = BTreeMap::<u32, Vec<usize>>::new();
    for (i, &label) in labels.iter().enumerate() {
        groups.entry(label).or_default().push(i);
    }
    groups.into_values().collect()
}

/// How many test examples to take of groups of the given sizes, by largest remainder.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a share of a count is no more than the count"
)]
fn quotas(sizes: &[usize], fraction: f64) -> Vec<usize> {
    let share = |size: usize| size as f64 * fraction;
    let len = sizes.iter().sum::<usize>();
    let wanted = (share(len).round() as usize).clamp(1, len - 1);

    let mut quotas: Vec<usize> = sizes.iter().map(|&size| share(size) as usize).collect();
    let mut by_loss: Vec<usize> = (0..sizes.len()).collect();
    by_loss.sort_by(|&a, &b| share(sizes[b]).fract().total_cmp(&share(sizes[a]).fract()));
    let missing = wanted.saturating_sub(quotas.iter().sum());
    for &group in by_loss.iter().take(missing) {
        quotas[group] += 1;
    }
    quotas
}
