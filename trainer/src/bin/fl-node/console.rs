//! What the user sees while a run goes on: bars in a terminal, plain lines elsewhere, JSON where
//! asked for.

use std::io::IsTerminal as _;
use std::time::Duration;

use fl_network::program::logging::{one_line, say};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::RoundLine;

/// Tells what must be read, where there is no [`Console`].
pub(crate) fn note(text: &str) {
    eprintln!("{}", one_line(text));
}

pub(crate) struct Console {
    bar: ProgressBar,
    json: bool,
}

impl Console {
    /// Returns a console for a run of so many rounds; 0 where that is not known.
    pub(crate) fn new(rounds: u64, json: bool) -> Self {
        let target = match !json && std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target((rounds > 0).then_some(rounds), target);
        let template = match rounds {
            0 => "{spinner} {msg}",
            _ => "{spinner} [{bar:24}] {pos}/{len} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, json }
    }

    /// What is going on just now; shown only in a terminal.
    pub(crate) fn status(&self, text: String) {
        self.bar.set_message(one_line(text));
    }

    /// Something that must be read: in a terminal, in a log, and beside JSON.
    pub(crate) fn note(&self, text: &str) {
        self.bar.suspend(|| note(text));
    }

    /// A completed round.
    pub(crate) fn round(&self, line: &RoundLine) -> anyhow::Result<()> {
        self.bar.set_position(line.round);
        let text = match self.json {
            true => serde_json::to_string(line)?,
            false => line.to_string(),
        };
        self.bar.suspend(|| say(text));
        Ok(())
    }

    /// The last words of a run.
    pub(crate) fn finish(&self, text: &str) {
        self.bar.finish_and_clear();
        match self.json {
            true => eprintln!("{text}"),
            false => say(text),
        }
    }
}
