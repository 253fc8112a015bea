//! The committee scheme: some nodes hold the seeds of all, and all others may leave after their
//! upload.
//!
//! The K holders and the threshold t are the manifest's. The phases are those of the protocol,
//! section 7:
//!
//! ```text
//!  contributor i                           relay                                   holder h
//!    │  open: train                          │  convene: a round key                    │
//!    │◄──────────────────────────────────────│─────────────────────────────────────────►│
//!    │                                       │  keys (signed)                           │
//!    │                                       │◄─────────────────────────────────────────│
//!    │  the bundle of all holders' keys, ctx │                                          │
//!    │◄──────────────────────────────────────│─────────────────────────────────────────►│
//!    │  contribution (signed), seeds sealed  │                                          │
//!    │──────────────────────────────────────►│  sealed seeds: the box for h             │
//!    │  c_i, chunk by chunk                  │─────────────────────────────────────────►│
//!    │══════════════════════════════════════►│  receipt (signed): opens, or what not    │
//!    │  received: you may go                 │◄─────────────────────────────────────────│
//!    │◄──────────────────────────────────────│                                          │
//!    ╵                                       │  ballot: these contributors, U           │
//!                                            │─────────────────────────────────────────►│
//!                                            │  vote (signed), once, on record before   │
//!                                            │◄─────────────────────────────────────────│
//!                                            │  Q votes: the certificate; some classes  │
//!                                            │─────────────────────────────────────────►│
//!                                            │  reveal (signed), and its body           │
//!                                            │◄═════════════════════════════════════════│
//!                                            │  outcome, X: as in the peer scheme       │
//! ```
//!
//! **What ends it.** Lost contributors are left out, lost holders replaced by others of the class.
//! With fewer holders than the quorum, or a class without any, the attempt is over; and if a vote
//! was cast in it, only the very same contributors can try again on this model (the difference
//! rule).
//!
//! **Why it is so.** A vote is spent by value (`ballot`), a certificate is made of counted votes
//! only (`certificate`), and a [`RevealOrder`] of both: masks of two lists of contributors cannot
//! be asked for. The contribution that is signed is small, since the result lists them all; what is
//! large hangs on its digest.
//!
//! **What is not handled.** More than t holders that break the rules: they can open a single
//! contribution.

mod account;
mod ballot;
mod certificate;
mod classes;
mod contributors;
mod decision;
mod envelope;
mod holders;
pub mod message;
pub(in crate::round) mod node;
mod prepared;
mod recipients;
pub(in crate::round) mod relay;
mod reveal_order;
mod schedule;
#[cfg(test)]
pub(in crate::round) mod tests;

pub use classes::{ClassSet, Classes, MAX_CLASSES, MAX_HOLDERS, Seats};
pub use contributors::Contributors;
pub use decision::Decision;
pub use envelope::{CheckedSeeds, Envelope, MAX_BOX_BYTES, SealedSeeds};
pub use holders::Holders;
pub use prepared::{Prepared, StoredPrepared};
pub use recipients::Recipients;
pub use reveal_order::RevealOrder;
pub use schedule::Committee;
