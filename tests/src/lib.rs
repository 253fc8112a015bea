//! Tests of the whole: what only several crates together can show.
//!
//! [`deployed`] runs real processes, [`federation`] the same parties in one process, over a network
//! that misbehaves. [`hostile_relay`] is a relay that cheats real nodes, [`hostile_node`] a node
//! that cheats a real relay and the others, [`workspace`] is about the sources. [`plain_sum`],
//! [`statistics`] and [`traps`] tell what attackers learn.

// What goes wrong in a harness fails the test that uses it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod deployed;
pub mod federation;
pub mod hostile_node;
pub mod hostile_relay;
pub mod plain_sum;
pub mod statistics;
pub mod traps;
pub mod workspace;
