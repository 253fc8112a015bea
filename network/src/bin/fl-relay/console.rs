//! What the operator sees in the terminal.

use fl_network::program::logging::say;
use fl_network::told::Told;
use tracing::{Level, debug, info, warn};

/// Prints what is told: completed rounds as JSON on standard output if that is wanted, all else as log lines.
pub(crate) fn show(told: &Told, json: bool) {
    match &told.round {
        Some(round) if json => match serde_json::to_string(round) {
            Ok(line) => say(line),
            Err(error) => warn!(%error, "a round cannot be printed"),
        },
        _ => match told.level {
            Level::WARN => warn!("{}", told.text),
            Level::INFO => info!("{}", told.text),
            _ => debug!("{}", told.text),
        },
    }
}
