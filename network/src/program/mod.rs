//! What the programs have in common: settings, folders, logging, signals.

pub mod choices;
pub mod config;
pub mod folders;
pub mod logging;
pub mod signals;

use tracing::warn;

/// Keeps the program's memory to itself, or says that it cannot: see [`crate::memory`].
pub fn conceal() {
    if let Err(error) = crate::memory::hide() {
        warn!(%error, "a core dump of this program would hold its secrets");
    }
}
