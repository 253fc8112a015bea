//! Real nodes under a relay that cheats them.

mod bytes;
mod decisions;
mod holders;
mod participants;
mod results;
