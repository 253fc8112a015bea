//! Whole rounds with arbitrary trouble: an honest relay behind a hostile network, and honest nodes before a hostile
//! relay.
//!
//! An input is a list of steps of three bytes: what happens, to whom, and which of several. Time, keys and updates
//! follow from it alone.

pub(crate) mod hostile;
mod lies;
pub(crate) mod network;
mod site;
pub(crate) mod trouble;

pub(crate) use site::Conduct;

use crate::Seed;

/// What happens, to whom, and which of several.
pub(crate) type Step = [u8; 3];

/// The steps of an input: as many as a run is worth.
pub(crate) fn steps(data: &[u8]) -> impl Iterator<Item = &Step> {
    data.as_chunks::<3>().0.iter().take(200)
}

pub(crate) fn seed(name: &str, steps: &[Step]) -> Seed {
    (name.to_owned(), steps.concat())
}
