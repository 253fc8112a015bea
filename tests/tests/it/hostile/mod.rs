//! Real nodes under a relay that cheats them.

mod bytes;
mod commitments;
mod decisions;
mod holders;
mod participants;
mod results;
