//! The transcript: what a party saw and did, in a log that can be checked later, offline, by anyone
//! with the manifest.
//!
//! A log is a series of records, each chained to the one before by a digest ([`mod@format`]). Its
//! [`Entry`]s hold the signed messages of every round as they were transmitted; bodies stand in it
//! by their roots. The machines say what to log, in the line that accepts it and before the act
//! that it permits. [`verify`] reads a log again: first the chain of digests, which locates
//! whatever was altered afterwards, then what the protocol demands of its contents, which the one
//! who keeps the log cannot invent without the others' keys.
//!
//! **What is in it.** Nothing secret: shares without their boxes, roots, acknowledgements,
//! refusals, and times. No update, metric, seed or private key ever comes near, nor a sealed seed:
//! a log is kept for longer than a cipher may hold. The one box of a proof hides a seed that masks
//! nothing.
//!
//! **What it cannot show.** That it goes on to the end: whole records can be cut off there, and a
//! party may keep no log at all. The logs of the others are what that is compared with.

pub mod format;
mod record;
mod sent;
mod transcript;
mod verify;

pub use record::{Entry, Party, Record};
pub use sent::LoggedSums;
pub use transcript::{MAX_REFUSALS, Statement, Transcript};
pub use verify::{Flaw, Round, Summary, Taken, Unsound, Verdict, verify};
