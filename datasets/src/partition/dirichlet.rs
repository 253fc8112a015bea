//! Proportions of each class drawn from a Dirichlet distribution.

use std::collections::BinaryHeap;

use rand::rngs::ChaCha12Rng;
use rand::seq::SliceRandom;
use rand_distr::{Beta, Distribution};

use crate::Error;
use crate::split::by_label;

/// The parameter α of a symmetric Dirichlet distribution, from 0.001 (a class goes to one node) to
/// 1,000,000 (as good as even).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Concentration(f64);

impl Concentration {
    /// The concentration `alpha`.
    ///
    /// # Errors
    ///
    /// [`Error::Concentration`] if `alpha` is out of range.
    pub fn new(alpha: f64) -> Result<Self, Error> {
        if (1e-3..=1e6).contains(&alpha) {
            Ok(Self(alpha))
        } else {
            Err(Error::Concentration(alpha))
        }
    }

    /// Returns the number α.
    pub fn value(&self) -> f64 {
        self.0
    }
}

/// The least examples of a node, where there are enough of them.
const MINIMUM: usize = 10;

/// Divides each class by its own draw, then tops small nodes up.
pub(super) fn parts(
    labels: &[u32],
    nodes: usize,
    alpha: Concentration,
    random: &mut ChaCha12Rng,
) -> Result<Vec<Vec<usize>>, Error> {
    let mut parts = vec![vec![]; nodes];
    for mut class in by_label(labels) {
        class.shuffle(random);
        let mut from = 0;
        for (part, to) in parts
            .iter_mut()
            .zip(cuts(class.len(), nodes, alpha, random)?)
        {
            part.extend_from_slice(&class[from..to]);
            from = to;
        }
    }
    for part in &mut parts {
        part.shuffle(random);
    }
    top_up(&mut parts, MINIMUM.min(labels.len() / nodes));
    Ok(parts)
}

/// Returns where each node's run of `len` examples ends.
///
/// Breaks a stick: node `i` of `n` takes the share `Beta(α, α (n - i - 1))` of what the nodes
/// before it left. Unlike normalised gamma variates, this does not underflow when α is small.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a share of `len` is no more than `len`"
)]
fn cuts(
    len: usize,
    nodes: usize,
    alpha: Concentration,
    random: &mut ChaCha12Rng,
) -> Result<Vec<usize>, Error> {
    let mut left = 1.0;
    let mut cuts = Vec::with_capacity(nodes);
    for after in (1..nodes).rev() {
        let share = Beta::new(alpha.0, alpha.0 * after as f64)
            .map_err(|_| Error::Concentration(alpha.0))?
            .sample(random);
        left *= 1.0 - share;
        cuts.push(len - (left * len as f64).round() as usize);
    }
    cuts.push(len);
    Ok(cuts)
}

/// Moves examples from the largest part until every part has `minimum`, which must be no more than
/// the mean: then whoever is largest has some to spare.
fn top_up(parts: &mut [Vec<usize>], minimum: usize) {
    let mut by_size: BinaryHeap<(usize, usize)> = parts
        .iter()
        .enumerate()
        .map(|(node, part)| (part.len(), node))
        .collect();
    for node in 0..parts.len() {
        while parts[node].len() < minimum {
            let Some((_, donor)) = by_size.pop() else {
                return;
            };
            let spared = parts[donor].pop();
            parts[node].extend(spared);
            by_size.push((parts[donor].len(), donor));
        }
    }
}
