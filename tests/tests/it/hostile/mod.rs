//! Real nodes under a relay that cheats them, or beside a node that does.

mod bytes;
mod commitments;
mod decisions;
mod estimates;
mod holders;
mod nodes;
mod participants;
mod results;
mod rows;
