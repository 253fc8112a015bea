//! The integration tests: one binary, since each binary links the whole workspace.
//!
//! Folders are subjects:
//!
//! * `protocol`: rounds of the real state machines, and the vectors that others made.
//! * `privacy`: what a party sees of the others, and where keys are written.
//! * `hostile`: real nodes under a relay that cheats them.
//! * `strangers`: real relays and nodes, and somebody on the network without any key.
//! * `faults`: processes, networks, disks and memory that fail.
//! * `refusals`: what a program does not accept, and what it says about it.
//! * `programs`: what users see of the programs.
//! * `repository`: the sources and the documents themselves.
//!
//! Under `cargo test` all tests are threads of one process, under `cargo nextest` each is a
//! process. So no test changes what a process has only once, such as its environment, its current
//! directory or its panic hook, and none depends on how much memory or processor time its own
//! process takes. A test that needs any of these starts a child process.

// The types of the GPU's library are nested deeply.
#![recursion_limit = "256"]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod faults;
mod hostile;
mod privacy;
mod programs;
mod protocol;
mod refusals;
mod repository;
mod strangers;
mod support;
