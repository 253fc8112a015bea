//! What tests need in place of machines, disks and networks.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a simulator for tests may panic"
)]

mod consortium;
mod log;

pub use consortium::{Consortium, PARAMETERS, manifest_file};
pub use log::MemoryLog;
