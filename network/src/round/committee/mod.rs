//! The committee scheme.

mod ballot;
mod certificate;
mod classes;
mod contributor;
mod contributors;
mod decision;
mod envelope;
mod holder;
mod holders;
pub mod message;
pub(in crate::round) mod relay;
mod schedule;

pub use classes::{ClassSet, Classes, MAX_CLASSES, MAX_HOLDERS, Seats};
pub use contributor::Prepared;
pub use contributors::Contributors;
pub use decision::Decision;
pub use envelope::{CheckedSlip, Envelope, MAX_BOX_BYTES, Slip};
pub use holder::RevealOrder;
pub use holders::Holders;
pub use schedule::Committee;

pub(in crate::round) use contributor::Contributor;
pub(in crate::round) use holder::Holder;

#[cfg(test)]
mod tests;
