//! Whole rounds with a committee, what holders can lose, attacks on each side, and a model of the
//! vote.

mod holder_fixture;
mod hostile_contributors;
mod hostile_relay;
mod hostile_results;
mod logs;
mod losses;
mod model;
mod rounds;

use crate::manifest::{CommitteeTable, ManifestFile, Scheme};
use crate::sim::Consortium;

/// `n` nodes of different organisations, of which the first `k` are holders.
fn consortium(n: usize, k: usize, threshold: u32) -> Consortium {
    Consortium::with(n, |file| committee_of(file, k, threshold))
}

/// Has the first `k` nodes be holders.
pub(in crate::round) fn committee_of(file: &mut ManifestFile, k: usize, threshold: u32) {
    file.scheme = Scheme::Committee;
    let holders = (0..k).map(|k| format!("node-{k}")).collect();
    file.committee = Some(CommitteeTable { holders, threshold });
}
