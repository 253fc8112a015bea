//! The relay's side of an attempt with a committee.
//!
//! ```text
//! Convening ─► Collecting ─► Voting ─► Revealing ─► (averaging)
//! ```
//!
//! Contributions are taken whole and kept apart until the holders have voted, since nobody knows before whose are in
//! the sum. From the first vote on, it is these contributors or nobody on this model (the difference rule).

mod attendance;
mod choice;
mod collecting;
mod convening;
mod revealing;
mod voting;

pub(in crate::round) use collecting::Collecting;
pub(in crate::round) use convening::Convening;
pub(in crate::round) use revealing::Revealing;
pub(in crate::round) use voting::Voting;
