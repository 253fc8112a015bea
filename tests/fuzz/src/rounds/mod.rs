//! Whole rounds with arbitrary trouble: an honest relay behind a hostile network, and honest nodes
//! before a hostile relay.
//!
//! An input is a list of steps of three bytes: what happens, to whom, and which of several. Time,
//! keys and updates follow from it alone.

mod conduct;
pub(crate) mod hostile;
mod lies;
pub(crate) mod network;
pub(crate) mod trouble;

pub(crate) use conduct::Conduct;

use fl_protocol::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;

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

/// The frame with one bit of its encoding flipped, if that is a frame.
fn altered<T: Serialize + DeserializeOwned>(frame: &T, which: usize) -> Option<T> {
    let mut bytes = wire::encode(frame).ok()?;
    let at = which * 7919 % bytes.len();
    bytes[at] ^= 1 << (which % 8);
    wire::decode(&bytes).ok()
}
