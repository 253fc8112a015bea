//! Whole federations in memory: what tests need in place of disks, networks and clocks.
//!
//! [`NodeHost`] and [`RelayHost`] are the processes around the two machines. They do what a driver
//! does: they log, keep and compute, and what they cannot do alone they give back as effects.
//! [`Secrets`] is the part of a node that depends on keys and data; [`OpenSecrets`] has real masks,
//! and seeds that anyone can read.
//!
//! [`Network`] connects hosts under virtual time. Everything in it follows from its seed and from a
//! fault policy, [`Faults`], that sees each delivery before it takes place. While it runs it checks
//! what no run may violate: a sum is that of its participants' inputs, a round has one model, and a
//! node signs and sends nothing twice (see [`Ledger`]). At the end it checks every party's log.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a simulator for tests may panic"
)]

mod consortium;
mod faults;
mod ledger;
mod log;
mod network;
mod node;
mod open;
mod relay;
mod secrets;

pub use consortium::{Consortium, EPOCH, HEADER_WORDS, PARAMETERS, manifest_file, settings};
pub use faults::{AnyFaults, Content, Delivery, Faults, Moment, Verdict, Way, peace};
pub use ledger::{Ledger, assert_taken};
pub use log::MemoryLog;
pub use network::{Member, Network, Seen, Timing};
pub use node::{Disk, Effect, NodeHost, Work};
pub use open::{OPEN_BOXES, OpenSecrets, OpenTags, Tagging};
pub use relay::{BodyFault, RelayDisk, RelayEffect, RelayHost};
pub use secrets::{Masked, Secrets};
