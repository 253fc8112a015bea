//! The committee scheme.

mod ballot;
mod certificate;
mod classes;
mod contributors;
mod envelope;
mod holders;
pub mod message;
mod schedule;

pub use classes::{ClassSet, Classes, MAX_CLASSES, MAX_HOLDERS, Seats};
pub use contributors::Contributors;
pub use envelope::{CheckedSlip, Envelope, MAX_BOX_BYTES, Slip};
pub use holders::Holders;
pub use schedule::Committee;
