//! What is never divided: the rows of one group, or a row by itself.

use std::collections::BTreeMap;

/// The rows of a data set, by what is never divided.
pub(crate) struct Units {
    /// For each unit, the ascending indexes of its rows.
    rows: Vec<Vec<usize>>,
    /// For each unit, what most of its rows are.
    strata: Vec<u32>,
}

impl Units {
    /// Returns the units of rows of these strata: a group each, if there are groups.
    pub(crate) fn of(strata: Vec<u32>, groups: Option<&[u32]>) -> Self {
        let Some(groups) = groups else {
            return Self {
                rows: (0..strata.len()).map(|row| vec![row]).collect(),
                strata,
            };
        };
        let mut rows = BTreeMap::<u32, Vec<usize>>::new();
        for (row, group) in groups.iter().enumerate() {
            rows.entry(*group).or_default().push(row);
        }
        let rows: Vec<_> = rows.into_values().collect();
        Self {
            strata: rows.iter().map(|rows| most_common(rows, &strata)).collect(),
            rows,
        }
    }

    /// Returns what most of the rows of each unit are.
    pub(crate) fn strata(&self) -> &[u32] {
        &self.strata
    }

    /// Returns the ascending indexes of the rows of these units.
    pub(crate) fn rows(&self, units: &[usize]) -> Vec<usize> {
        let mut rows: Vec<_> = units
            .iter()
            .flat_map(|unit| &self.rows[*unit])
            .copied()
            .collect();
        rows.sort_unstable();
        rows
    }
}

/// The stratum that most of the rows have, the least of several.
fn most_common(rows: &[usize], strata: &[u32]) -> u32 {
    let mut counts = BTreeMap::<u32, usize>::new();
    for row in rows {
        *counts.entry(strata[*row]).or_default() += 1;
    }
    let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
    most.map_or(0, |(stratum, _)| stratum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_one_unit_and_a_row_without_groups_too() {
        let alone = Units::of(vec![1, 0], None);
        assert_eq!((alone.strata(), alone.rows(&[1])), (&[1, 0][..], vec![1]));
        let grouped = Units::of(vec![1, 0, 1, 1, 0], Some(&[7, 3, 7, 3, 9]));
        // Groups 3, 7 and 9; of the first, as many rows are of one stratum as of the other.
        assert_eq!(grouped.strata(), [0, 1, 0]);
        assert_eq!(grouped.rows(&[2, 0]), [1, 3, 4]);
    }
}
