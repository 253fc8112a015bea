//! A random sample for every node.

use rand::rngs::ChaCha12Rng;
use rand::seq::SliceRandom;

/// Shuffles all examples and cuts them into parts of even size.
pub(super) fn parts(labels: &[u32], nodes: usize, random: &mut ChaCha12Rng) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.shuffle(random);
    super::runs(&order, nodes).map(<[usize]>::to_vec).collect()
}
