//! Dealing the examples of one data set out to the nodes of a simulation.

mod by_label;
mod dirichlet;
mod iid;

use std::fmt;
use std::str::FromStr;

use rand::SeedableRng;
use rand::rngs::ChaCha12Rng;

use crate::Error;

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
