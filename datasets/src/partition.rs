//! Dealing the examples of one data set out to the nodes of a simulation.

mod by_label;
mod dirichlet;
mod iid;

use std::fmt;
use std::str::FromStr;

use rand::SeedableRng;
use rand::rngs::ChaCha12Rng;

use crate::{Dataset, Error};

pub use dirichlet::Concentration;

/// How alike the nodes' data is.
///
/// Written `iid`, `dirichlet:0.3` or `by-label`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Partition {
    /// Every node has a random sample; sizes differ by at most one.
    Iid,
    /// For each class, the nodes' proportions are drawn from a symmetric Dirichlet distribution:
    /// the smaller the concentration, the more a node has of some classes and the less of others,
    /// and the more the nodes differ in size.
    ///
    /// Every node has at least 10 examples, or `len / nodes` rounded down where that is less: a
    /// node that the draw left with fewer takes random examples from the node that has the most at
    /// that moment.
    ///
    /// Source: Hsu, Qi and Brown, *Measuring the Effects of Non-Identical Data Distribution for
    /// Federated Visual Classification*, 2019; per class as in Yurochkin et al., *Bayesian
    /// Nonparametric Federated Learning of Neural Networks*, 2019.
    Dirichlet(Concentration),
    /// Sorted by label, cut into twice as many shards as nodes, two random shards to a node: most
    /// nodes see two classes or so.
    ///
    /// Source: McMahan et al., *Communication-Efficient Learning of Deep Networks from
    /// Decentralized Data*, 2017, section 3.
    ByLabel,
}

impl Partition {
    /// Returns, for each of `nodes` nodes, the ascending indexes of its examples in `data`. Those
    /// of one group are at one node; the parts are of groups then, as [`parts`](Self::parts) are
    /// of examples, by what most of a group's examples are.
    ///
    /// # Errors
    ///
    /// Those of [`parts`](Self::parts), in which groups count.
    pub fn of(&self, data: &Dataset, nodes: usize, seed: u64) -> Result<Vec<Vec<usize>>, Error> {
        let units = data.units();
        let parts = self.parts(units.strata(), nodes, seed)?;
        Ok(parts.iter().map(|part| units.rows(part)).collect())
    }

    /// For each of `nodes` nodes, the ascending indexes of its examples.
    ///
    /// Every example is in exactly one part and no part is empty. The same `seed` gives the same
    /// parts.
    ///
    /// # Errors
    ///
    /// [`Error::NoNodes`] for no nodes, [`Error::TooFewToPartition`] if there are fewer examples
    /// than nodes, or than two a node for [`ByLabel`](Self::ByLabel).
    pub fn parts(&self, labels: &[u32], nodes: usize, seed: u64) -> Result<Vec<Vec<usize>>, Error> {
        if nodes == 0 {
            return Err(Error::NoNodes);
        }
        let needed = match self {
            Self::Iid | Self::Dirichlet(_) => nodes,
            Self::ByLabel => nodes.saturating_mul(by_label::SHARDS),
        };
        if labels.len() < needed {
            return Err(Error::TooFewToPartition {
                examples: labels.len(),
                nodes,
                needed,
            });
        }
        let random = &mut ChaCha12Rng::seed_from_u64(seed);
        let mut parts = match self {
            Self::Iid => iid::parts(labels, nodes, random),
            Self::Dirichlet(alpha) => dirichlet::parts(labels, nodes, *alpha, random)?,
            Self::ByLabel => by_label::parts(labels, nodes, random),
        };
        for part in &mut parts {
            part.sort_unstable();
        }
        Ok(parts)
    }
}

/// Cuts `order` into `count` runs whose lengths differ by at most one.
fn runs(order: &[usize], count: usize) -> impl Iterator<Item = &[usize]> {
    let bound = move |i: usize| order.len() / count * i + (order.len() % count).min(i);
    (0..count).map(move |i| &order[bound(i)..bound(i + 1)])
}

impl FromStr for Partition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || Error::Partition(text.to_owned());
        match text {
            "iid" => Ok(Self::Iid),
            "by-label" => Ok(Self::ByLabel),
            _ => {
                let alpha = text.strip_prefix("dirichlet:").ok_or_else(unknown)?;
                let alpha = alpha.parse().map_err(|_| unknown())?;
                Ok(Self::Dirichlet(Concentration::new(alpha)?))
            }
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iid => write!(f, "iid"),
            Self::Dirichlet(alpha) => write!(f, "dirichlet:{}", alpha.value()),
            Self::ByLabel => write!(f, "by-label"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dirichlet(alpha: f64) -> Partition {
        Partition::Dirichlet(Concentration::new(alpha).unwrap())
    }

    fn balanced(len: u32) -> Vec<u32> {
        (0..len).map(|i| i % 10).collect()
    }

    /// The share of its examples that a node has of its most frequent label, averaged over nodes.
    fn skew(labels: &[u32], parts: &[Vec<usize>]) -> f64 {
        let largest = |part: &Vec<usize>| {
            let count = |label| part.iter().filter(|&&i| labels[i] == label).count();
            (0..10).map(count).max().unwrap() as f64 / part.len() as f64
        };
        parts.iter().map(largest).sum::<f64>() / parts.len() as f64
    }

    #[test]
    fn partitions_are_written_as_they_are_parsed() {
        for text in ["iid", "by-label", "dirichlet:0.3", "dirichlet:100"] {
            assert_eq!(text.parse::<Partition>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "IID",
            "dirichlet",
            "dirichlet:",
            "dirichlet:x",
            "by-label:2",
        ] {
            assert!(
                matches!(text.parse::<Partition>(), Err(Error::Partition(_))),
                "{text}"
            );
        }
        for text in [
            "dirichlet:0",
            "dirichlet:-1",
            "dirichlet:nan",
            "dirichlet:inf",
        ] {
            assert!(
                matches!(text.parse::<Partition>(), Err(Error::Concentration(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn rejects_no_nodes_and_too_few_examples() {
        let labels = balanced(5);
        assert!(matches!(
            Partition::Iid.parts(&labels, 0, 1),
            Err(Error::NoNodes)
        ));
        let most_nodes = [
            (Partition::Iid, 5),
            (dirichlet(0.3), 5),
            (Partition::ByLabel, 2),
        ];
        for (partition, most) in most_nodes {
            assert!(partition.parts(&labels, most, 1).is_ok());
            for nodes in [most + 1, usize::MAX] {
                let parts = partition.parts(&labels, nodes, 1);
                assert!(matches!(
                    parts,
                    Err(Error::TooFewToPartition { examples: 5, .. })
                ));
            }
        }
    }

    #[test]
    fn iid_parts_are_even_and_alike() {
        let labels = balanced(1000);
        let parts = Partition::Iid.parts(&labels, 3, 1).unwrap();
        assert_eq!(
            parts.iter().map(Vec::len).collect::<Vec<_>>(),
            [334, 333, 333]
        );
        assert!(skew(&labels, &parts) < 0.2);
    }

    #[test]
    fn by_label_gives_a_node_few_labels() {
        let labels = balanced(1000);
        for part in Partition::ByLabel.parts(&labels, 10, 1).unwrap() {
            assert_eq!(part.len(), 100);
            let mut seen: Vec<u32> = part.iter().map(|&i| labels[i]).collect();
            seen.sort_unstable();
            seen.dedup();
            assert!(seen.len() <= 2, "{seen:?}");
        }
    }

    #[test]
    fn the_concentration_goes_from_few_labels_to_all() {
        let labels = balanced(10_000);
        let skew = |alpha| skew(&labels, &dirichlet(alpha).parts(&labels, 10, 1).unwrap());
        let (sharp, usual, even) = (skew(1e-3), skew(0.3), skew(1e6));
        assert!(
            sharp > usual && usual > 0.2 && even < 0.11,
            "{sharp} {usual} {even}"
        );
    }

    #[test]
    fn dirichlet_leaves_every_node_ten_examples_if_it_can() {
        for (examples, nodes, minimum) in [(10_000, 100, 10), (500, 100, 5), (100, 100, 1)] {
            for seed in 0..20 {
                let parts = dirichlet(1e-3)
                    .parts(&balanced(examples), nodes, seed)
                    .unwrap();
                assert!(parts.iter().all(|part| part.len() >= minimum));
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_parts_for_ever() {
        let parts = |partition: Partition| partition.parts(&balanced(20), 3, 42).unwrap();
        let iid = [
            &[1, 2, 5, 13, 15, 16, 17][..],
            &[0, 3, 6, 8, 14, 18, 19],
            &[4, 7, 9, 10, 11, 12],
        ];
        let by_label = [
            &[4, 5, 8, 9, 14, 19][..],
            &[0, 1, 6, 10, 11, 15, 16],
            &[2, 3, 7, 12, 13, 17, 18],
        ];
        let skewed = [
            &[1, 2, 3, 15, 17, 19][..],
            &[5, 6, 7, 9, 10, 14],
            &[0, 4, 8, 11, 12, 13, 16, 18],
        ];
        assert_eq!(parts(Partition::Iid), iid);
        assert_eq!(parts(Partition::ByLabel), by_label);
        assert_eq!(parts(dirichlet(0.3)), skewed);
    }

    proptest! {
        #[test]
        fn every_example_is_in_one_part_and_no_part_is_empty(
            labels in prop::collection::vec(0_u32..12, 40..400),
            nodes in 1_usize..20,
            exponent in -3.0..6.0_f64,
            seed: u64,
        ) {
            for partition in [Partition::Iid, Partition::ByLabel, dirichlet(10_f64.powf(exponent))] {
                let parts = partition.parts(&labels, nodes, seed).unwrap();
                prop_assert_eq!(parts.len(), nodes);
                prop_assert!(parts.iter().all(|part| !part.is_empty() && part.is_sorted()));
                let mut all = parts.concat();
                all.sort_unstable();
                prop_assert_eq!(all, (0..labels.len()).collect::<Vec<_>>());
                prop_assert_eq!(parts, partition.parts(&labels, nodes, seed).unwrap());
            }
        }
    }
}
