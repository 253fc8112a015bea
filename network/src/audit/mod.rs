//! A party's log on its disk: see [`fl_protocol::audit`] for what is in it.
//!
//! A [`Log`] is the file; a [`Journal`] appends to it what the machine says to log, once.

mod journal;
mod log;

pub use journal::{Journal, Logged, RelayJournal};
pub use log::{Log, LogError};
