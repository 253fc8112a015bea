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

impl Split {
    /// Keeps `fraction` of the examples for testing, of each label, or of each tenth of a quantity,
    /// as nearly that share as whole examples allow. The same `seed` gives the same split; both
    /// parts keep the order of `data`.
    ///
    /// Examples of one group are on one side, and count as one example for all of this.
    ///
    /// The number of test examples is `fraction * len`, rounded, but at least 1 and at most
    /// `len - 1`. A label of `n` examples has `fraction * n` of them, rounded down or up: those
    /// that lose most by rounding down are rounded up first (largest remainder).
    ///
    /// # Errors
    ///
    /// [`Error::TestFraction`] unless `0 < fraction < 1`, [`Error::TooFewToSplit`] if there are
    /// fewer than two examples, [`Error::OneGroup`] if all are of one group.
    pub fn of(data: &Dataset, fraction: f64, seed: u64) -> Result<Self, Error> {
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(Error::TestFraction(fraction));
        }
        if data.len() < 2 {
            return Err(Error::TooFewToSplit(data.len()));
        }
        let units = data.units();
        if units.strata().len() < 2 {
            return Err(Error::OneGroup);
        }
        let mut groups = by_label(units.strata());
        let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        let (mut train, mut test) = (vec![], vec![]);
        for (group, quota) in groups.iter_mut().zip(quotas(&sizes, fraction)) {
            group.shuffle(&mut random);
            let (kept, rest) = group.split_at(quota);
            test.extend_from_slice(kept);
            train.extend_from_slice(rest);
        }
        Ok(Self {
            train: data.select(&units.rows(&train)),
            test: data.select(&units.rows(&test)),
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

/// Returns how many test examples to take of groups of the given sizes, by largest remainder.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Schema, Shape};

    /// Returns a data set whose only feature is the index of the example.
    fn numbered(labels: Vec<u32>) -> Dataset {
        let classes = (0..5).map(|class: u32| class.to_string()).collect();
        let schema = Schema::new(Shape::Table { columns: 1 }, vec![], classes).unwrap();
        let features = labels
            .iter()
            .zip(0_u16..)
            .map(|(_, i)| f32::from(i))
            .collect();
        Dataset::new(schema, features, labels).unwrap()
    }

    #[test]
    fn rejects_fractions_and_sizes_that_leave_a_part_empty() {
        for fraction in [0.0, 1.0, -0.1, 1.1, f64::NAN, f64::INFINITY] {
            let split = Split::of(&numbered(vec![0; 10]), fraction, 1);
            assert!(matches!(split, Err(Error::TestFraction(_))), "{fraction}");
        }
        assert!(matches!(
            Split::of(&numbered(vec![0]), 0.2, 1),
            Err(Error::TooFewToSplit(1))
        ));
    }

    #[test]
    fn rows_of_one_group_are_on_one_side() {
        let labels: Vec<u32> = (0..200).map(|row| row / 20 % 2).collect();
        let groups: Vec<u32> = (0..200).map(|row| row / 20).collect();
        let data = numbered(labels).grouped(groups).unwrap();
        let Split { train, test } = Split::of(&data, 0.3, 1).unwrap();
        assert_eq!((train.len(), test.len()), (140, 60));
        let held = |group: &u32| test.groups().unwrap().contains(group);
        assert!(!train.groups().unwrap().iter().any(held));
        // The control: rows by themselves are divided.
        let alone = Split::of(&numbered(data.labels().to_vec()), 0.3, 1).unwrap();
        let patients = |part: &Dataset| -> Vec<_> {
            let patient = |row: &f32| (row / 20.0).floor();
            part.features().iter().map(patient).collect()
        };
        let (train, test) = (patients(&alone.train), patients(&alone.test));
        assert!(train.iter().any(|patient| test.contains(patient)));
        let one = numbered(vec![0, 1]).grouped(vec![3, 3]).unwrap();
        assert!(matches!(Split::of(&one, 0.5, 1), Err(Error::OneGroup)));
    }

    #[test]
    fn the_seed_decides() {
        let data = numbered((0..100).map(|i| i % 5).collect());
        assert_eq!(
            Split::of(&data, 0.2, 7).unwrap(),
            Split::of(&data, 0.2, 7).unwrap()
        );
        assert_ne!(
            Split::of(&data, 0.2, 7).unwrap(),
            Split::of(&data, 0.2, 8).unwrap()
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_split_for_ever() {
        let data = numbered((0..20).map(|i| i % 2).collect());
        let Split { test, .. } = Split::of(&data, 0.2, 42).unwrap();
        assert_eq!(test.features(), [7.0, 12.0, 16.0, 17.0]);
    }

    #[test]
    fn rare_labels_share_the_test_set_by_largest_remainder() {
        let labels = [vec![0; 3], vec![1; 3], vec![2; 4]].concat();
        let split = Split::of(&numbered(labels), 0.2, 1).unwrap();
        // Shares 0.6, 0.6 and 0.8 of a total of 2.
        assert_eq!(split.test.len(), 2);
        assert!(split.test.labels().contains(&2));
    }

    proptest! {
        #[test]
        fn every_label_is_split_in_proportion(
            labels in prop::collection::vec(0_u32..5, 2..300),
            fraction in prop_oneof![1e-9..1.0_f64, Just(1.0 - f64::EPSILON / 2.0)],
            seed: u64,
        ) {
            let data = numbered(labels);
            let Split { train, test } = Split::of(&data, fraction, seed).unwrap();
            prop_assert!(!train.is_empty() && !test.is_empty());
            let mut all = [train.features(), test.features()].concat();
            all.sort_by(f32::total_cmp);
            prop_assert_eq!(all.as_slice(), data.features());

            for label in 0..5 {
                let count = |data: &Dataset| data.labels().iter().filter(|&&l| l == label).count();
                let (share, tested) = (count(&data) as f64 * fraction, count(&test) as f64);
                prop_assert!((tested - share).abs() <= 1.0 + 1e-9, "{tested} for {share}");
            }
            let share = (data.len() as f64 * fraction).round().clamp(1.0, data.len() as f64 - 1.0);
            prop_assert_eq!(test.len() as f64, share);
        }
    }
}
