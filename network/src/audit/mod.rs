//! A party's log on its disk: see [`fl_protocol::audit`] for what is in it.
//!
//! A [`Log`] is the file; a [`NodeJournal`] or a [`RelayJournal`] appends to it what the machine
//! says to log, once.

mod journal;
mod log;

pub use journal::{Logged, NodeJournal, RelayJournal};
pub use log::{Log, LogError};
