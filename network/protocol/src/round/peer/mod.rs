//! The peer scheme: of every two participants, one holds a share of the other's update.
//!
//! ```text
//!  node i                                  relay                                   the others
//!    │  hello: my chain, my outbox           │                                          │
//!    │──────────────────────────────────────►│◄─────────────────────────────────────────│
//!    │  open: round, attempt (a hint)        │                                          │
//!    │◄──────────────────────────────────────│─────────────────────────────────────────►│
//!    │  … local training …                   │                                          │
//!    │  keys (signed): chain, round key      │       whoever is ready by the deadline   │
//!    │──────────────────────────────────────►│◄─────────────────────────────────────────│
//!    │  the bundle of all keys = V, ctx      │                                          │
//!    │◄──────────────────────────────────────│─────────────────────────────────────────►│
//!    │  shares (signed, sealed), one a pair  │                                          │
//!    │──────────────────────────────────────►│◄─────────────────────────────────────────│
//!    │  shares sealed to i                   │       only when all are in               │
//!    │◄──────────────────────────────────────│─────────────────────────────────────────►│
//!    │  P_i computed, written to the outbox  │                                          │
//!    │  sum (signed): root of P_i            │                                          │
//!    │──────────────────────────────────────►│◄─────────────────────────────────────────│
//!    │  collect: all sums, from chunk k on   │       only when all hold their P         │
//!    │◄──────────────────────────────────────│─────────────────────────────────────────►│
//!    │  checks that all have committed       │                                          │
//!    │  tag share                            │       checked against its sum            │
//!    │──────────────────────────────────────►│◄─────────────────────────────────────────│
//!    │  P_i, chunk by chunk                  │       each checked and added on arrival  │
//!    │══════════════════════════════════════►│◄═════════════════════════════════════════│
//!    │  outcome: all sums, root of X, model  │                                          │
//!    │◄──────────────────────────────────────│─────────────────────────────────────────►│
//!    │  X                                    │                                          │
//!    │◄══════════════════════════════════════│═════════════════════════════════════════►│
//!    │  checks X, averages it itself         │                                          │
//!    │  ack (signed): result, next model     │       min_nodes of them: the checkpoint  │
//!    │──────────────────────────────────────►│◄─────────────────────────────────────────│
//! ```
//!
//! **What ends it.** A node lost before `collect` costs at most an attempt: the relay opens another
//! with those that remain, the trained update is kept, keys and seeds are fresh. Bodies are asked
//! for only when every participant has its masked sum in its outbox, so that a node lost later
//! restarts and sends the identical bytes; from then on the round goes on with these participants
//! or not at all. A node that refuses sits out the round, and its process runs on, unless the two
//! sides do not belong together.
//!
//! **Why it is so.** The signed sum precedes its body, so that no body travels before all are
//! recoverable, nor before all are committed to: each node sees to that itself, and takes no result
//! that rests on other sums than it has seen. The relay adds a body chunk by chunk, each checked
//! against the hashes behind the signed root, instead of holding it whole. Nothing is published
//! before all bodies are complete, so no partial sum is ever seen.
//!
//! **Who lies about a share.** A participant that cannot open a share publishes its round key, and
//! everybody sees whether the sender or the accuser lied ([`Proof`]). Whoever it was takes no part
//! any more.
//!
//! **What is not handled.** That a node feeds honest data, and that the relay serves anyone.

mod account;
mod accusation;
pub mod message;
pub(in crate::round) mod node;
mod pairing;
mod participants;
mod pending;
pub(in crate::round) mod relay;
mod sealed_share;
mod shares;
mod sums;
mod tag_share;

pub use accusation::{BoxOpener, Conviction, Proof};
pub use participants::Participants;
pub use pending::{PendingSum, StoredSum};
pub use sealed_share::{MAX_SEALED_BYTES, SealedShare};
pub use shares::CompleteShares;
pub use sums::sums_digest;
pub use tag_share::{OpenedSum, TagShare};

pub(crate) use sums::SumsCheck;
