//! What the operator sees in the terminal.

use fl_network::program::logging::say;
use fl_network::report_text::LogLine;
use tracing::{Level, debug, info, warn};

/// Prints what is told: completed rounds as JSON on standard output if that is wanted, all else as
/// log lines.
pub(crate) fn show(line: &LogLine, json: bool) {
    match &line.round {
        Some(round) if json => match serde_json::to_string(round) {
            Ok(line) => say(line),
            Err(error) => warn!(%error, "a round cannot be printed"),
        },
        _ => match line.level {
            Level::WARN => warn!("{}", line.text),
            Level::INFO => info!("{}", line.text),
            _ => debug!("{}", line.text),
        },
    }
}
