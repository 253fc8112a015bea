//! A few labels for every node.

use rand::rngs::ChaCha12Rng;
use rand::seq::SliceRandom;

/// Shards a node gets.
pub(super) const SHARDS: usize = 2;

/// Sorts the examples by label, in random order within each, and deals shards out.
pub(super) fn parts(labels: &[u32], nodes: usize, random: &mut ChaCha12Rng) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.shuffle(random);
    order.sort_by_key(|&i| labels[i]);
    let mut shards: Vec<&[usize]> = super::runs(&order, nodes * SHARDS).collect();
    shards.shuffle(random);
    shards.chunks(SHARDS).map(<[&[usize]]>::concat).collect()
}
