//! A round, as pure state machines: no sockets, no threads, no clock. Time and randomness are
//! arguments.
//!
//! [`node`] and [`relay`] are the machines, and know what every round has in common: who is there,
//! what comes next, results and who has them. How a sum comes about that hides its inputs is a
//! scheme, a folder of its own with both sides in it: [`peer`] or [`committee`]. What is made of
//! the sum is the kind of the round: [`training`]. The relay is trusted for nothing.

mod bundle;
mod checked_outcome;
mod checkpoint;
mod clock;
mod cohort_minimum;
pub mod committee;
mod difference;
mod evidence;
mod head;
mod key_offer;
pub mod message;
pub mod node;
mod opening;
mod outcome;
pub mod peer;
mod reason;
mod refusal;
pub mod relay;
#[cfg(test)]
mod tests;
pub mod training;

pub use bundle::KeyBundle;
pub use checked_outcome::{Check, CheckedOutcome, ResultCheck, Verifier};
pub use checkpoint::{CheckedCheckpoint, Checkpoint};
pub use clock::CLOCK_TOLERANCE_S;
pub use difference::{SentSum, SentSums};
pub use evidence::Evidence;
pub use head::Head;
pub use key_offer::KeyOffer;
pub use opening::Opening;
pub use outcome::Outcome;
pub use reason::Reason;
pub use refusal::{AbortReason, Fault, Kind, Refusal};

pub(crate) use cohort_minimum::{check_cohort, count};
